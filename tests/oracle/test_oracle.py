"""The rules as small cases, expected results reasoned by hand from the text."""

import datetime
import json
import os
import random
import sys
import tempfile
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import hostile
import sources
from admission import OUTCOMES, REASONS
from fields import Fault, read_money, read_record, read_time, zone_of
from jsontext import NotJson, Num, Obj, parse
from oracle import Settings, compute

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MONDAY = 1_705_276_800_000  # 2024-01-15T00:00:00Z
TEN = MONDAY + 10 * HOUR


def iso(instant):
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=instant)
    return moment.isoformat(timespec="milliseconds") + "Z"


def sale(**changes):
    fields = {
        "transaction_id": "t1",
        "user_id": "u1",
        "product_id": "p1",
        "quantity": 2,
        "unit_price": "12.50",
        "total_amount": 25,
        "payment_method": "card",
        "timestamp": TEN,
        "store_id": "s1",
        "category": "books",
        **changes,
    }
    if isinstance(fields["timestamp"], int):
        fields["timestamp"] = iso(fields["timestamp"])
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def event(kind="page_view", timestamp=TEN, user="u1", session="s", **more):
    fields = {"user_id": user, "activity_type": kind, "timestamp": iso(timestamp), "session_id": session, **more}
    return json.dumps(fields).encode()


def stock(product="p1", units=5, level=10, timestamp=TEN, warehouse="w1", **more):
    fields = {
        "product_id": product,
        "current_stock": units,
        "reorder_level": level,
        "last_updated": iso(timestamp),
        "warehouse_id": warehouse,
        "category": "books",
        **more,
    }
    return json.dumps(fields).encode()


def log(*values):
    """A partition: values without key and Kafka timestamp, or whole (timestamp, key, value) records."""
    records = [value if isinstance(value, tuple) else (None, None, value) for value in values]
    return [(offset, *record) for offset, record in enumerate(records)]


def tombstone(key):
    return (TEN, key, None)


def of_sales(*values, **more):
    return compute({("sales", 0): log(*values), **more})


def outcomes(topic, *values, settings=None):
    result = compute({(topic, 0): log(*values)}, settings)
    return [result.raw_data[f"{topic}|0|{offset}"]["outcome"] for offset in range(len(values))]


def reason(topic, value):
    try:
        read_record(topic, value, None)
    except Fault as fault:
        return fault.reason
    return None


class JsonText(unittest.TestCase):
    def test_numbers_keep_their_text(self):
        self.assertEqual(parse(" [1.50, -0,1E+2] "), [Num("1.50"), Num("-0"), Num("1E+2")])

    def test_repeated_names_stay(self):
        self.assertEqual(parse('{"a":1,"\\u0061":2}'), Obj([("a", Num("1")), ("a", Num("2"))]))

    def test_surrogates_in_pairs_only(self):
        self.assertEqual(parse('"\\ud83d\\uDE00"'), "\U0001f600")
        for text in ('"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', '"\\ud800\\ud800"', '"\\ud800x"', '{"\\udfff":1}'):
            self.assertRaises(NotJson, parse, text)

    def test_nesting_counts_the_outermost(self):
        parse("[" * 128 + "]" * 128)
        parse('{"a":' * 128 + "1" + "}" * 128)
        self.assertRaises(NotJson, parse, "[" * 129 + "]" * 129)
        self.assertRaises(NotJson, parse, '{"a":' * 129 + "1" + "}" * 129)
        self.assertRaises(NotJson, parse, '{"a":' + "[" * 128 + "]" * 128 + "}")
        self.assertRaises(NotJson, parse, "[" * 1_000_000)

    def test_depth_is_not_a_count(self):
        parse("[" + "[]," * 500 + "[]]")

    def test_agrees_with_another_parser(self):
        """On mutations of JSON the two agree on what is JSON, but for what the other one is lenient in."""
        pick = random.Random(5)
        alphabet = '{}[]:,"\\ \n\t0123456789.eE+-abtrufalsn/\u00e9\ufeff\u0001\x0bNI'
        seeds = [sale().decode(), '{"a":[1,2.5e-3,true,null,"x\\n\\u00e9"],"b":{"c":""}}', "[]", '"\\ud83d\\ude00"', "-0.0"]
        agreed_good = 0
        for _ in range(40_000):
            text = list(pick.choice(seeds))
            for _ in range(pick.randrange(4)):
                at = pick.randrange(len(text) + 1)
                text[at : at + pick.randrange(3)] = pick.choices(alphabet, k=pick.randrange(3))
            text = "".join(text)
            try:
                other = json.loads(text, parse_constant=lambda word: self.fail_to_parse())
                json.dumps(other, ensure_ascii=False).encode("utf-8")
                good = True
            except (ValueError, UnicodeEncodeError):
                good = False
            try:
                parse(text)
                mine = True
            except NotJson:
                mine = False
            self.assertEqual(mine, good, repr(text))
            agreed_good += good
        self.assertGreater(agreed_good, 5_000)

    @staticmethod
    def fail_to_parse():
        raise ValueError


class Money(unittest.TestCase):
    def units(self, text):
        number = read_money(Num(text), None)
        self.assertEqual(read_money(text, None), number, "a string that is exactly the number is the same")
        return number

    def fault(self, value):
        with self.assertRaises(Fault) as caught:
            read_money(value, None)
        return caught.exception.reason

    def test_half_to_even_at_four_places(self):
        for text, units in (
            ("0.00005", 0),
            ("0.00015", 2),
            ("0.00025", 2),
            ("0.00035", 4),
            ("-0.00015", -2),
            ("-0.00005", 0),
            ("0.000050000000000000000000000000000001", 1),
            ("0.00004999999999999999999999999", 0),
            ("2.675", 26750),
            ("1.00005", 10000),
            ("1.00015", 10002),
            ("9.99995", 100000),
        ):
            self.assertEqual(self.units(text), units, text)

    def test_exponents(self):
        for text, units in (
            ("1e2", 1_000_000),
            ("1E+2", 1_000_000),
            ("12.5e-1", 12_500),
            ("1e-4", 1),
            ("5e-5", 0),
            ("15e-5", 2),
            ("0e99999999999999999999999", 0),
            ("1e-99999999999999999999999", 0),
            ("-0", 0),
            ("-0.0e5", 0),
            ("0." + "0" * 5000 + "1e5001", 10_000),
            ("1" + "0" * 5000 + "e-5000", 10_000),
            ("1" + "0" * 5000 + "e-05000", 10_000),
        ):
            self.assertEqual(self.units(text), units, text[:40])

    def test_the_bound_is_judged_after_rounding(self):
        for text in ("100000000000", "1e11", "100000000000.00005", "99999999999.99995", "-100000000000.00005"):
            self.assertEqual(abs(self.units(text)), 10**15, text)
        huge = ("100000000000.0001", "100000000000.00005000001", "1e12", "-1e11111111111111111111", "9" * 5000)
        for text in huge:
            self.assertEqual(self.fault(Num(text)), "out_of_range", text[:40])
            self.assertEqual(self.fault(text), "out_of_range", text[:40])

    def test_strings_are_exactly_numbers(self):
        for text in ("", " 1", "1 ", "+1", "01", "1.", ".5", "1,5", "NaN", "1e", "0x1", "١", "1\n"):
            self.assertEqual(self.fault(text), "bad_money", text)
        for value in (True, [], Obj([])):
            self.assertEqual(self.fault(value), "wrong_type")

    def test_agrees_with_decimal(self):
        pick = random.Random(3)
        for _ in range(20_000):
            digits = "".join(pick.choices("0123456789", k=pick.randrange(1, 14)))
            text = str(int(digits))
            if pick.random() < 0.8:
                text += "." + "".join(pick.choices("0459", k=pick.randrange(1, 9)))
            if pick.random() < 0.3:
                text += f"e{pick.randrange(-8, 4)}"
            exact = Decimal(text).quantize(Decimal("0.0001"))  # ROUND_HALF_EVEN is its default
            if exact <= 10**11:
                self.assertEqual(self.units(text), int(exact.scaleb(4)), text)
            else:
                self.assertEqual(self.fault(text), "out_of_range", text)


class Times(unittest.TestCase):
    def test_spellings_of_one_instant(self):
        for text in (
            "2024-01-15T10:00:00Z",
            "2024-01-15t10:00:00z",
            "2024-01-15 10:00:00",
            "2024-01-15T10:00:00",
            "2024-01-15T10:00:00.0009999",
            "2024-01-15T11:30:00+01:30",
            "2024-01-14T10:01:00.000-23:59",
            "2024-01-15T10:00:00-00:00",
            "2024-01-15 10:00:00Z",
        ):
            self.assertEqual(read_time(text, None), TEN, text)

    def test_cut_not_rounded(self):
        self.assertEqual(read_time("2024-01-15T10:00:00.9999Z", None), TEN + 999)
        self.assertEqual(read_time("2024-01-15T10:00:00.5Z", None), TEN + 500)

    def test_the_ends_of_time(self):
        self.assertEqual(read_time("1970-01-01T00:00:00Z", None), 0)
        self.assertEqual(read_time("1969-12-31T23:30:00-00:30", None), 0)
        self.assertEqual(read_time("9999-12-31T23:59:59.9999Z", None), 253_402_300_799_999)
        self.assertEqual(read_time("2000-02-29T00:00:00Z", None), 951_782_400_000)

    def test_what_is_no_time(self):
        for text in hostile.BAD_TIMES:
            with self.assertRaises(Fault, msg=text) as caught:
                read_time(text, None)
            self.assertEqual(caught.exception.reason, "bad_timestamp", text)

    def test_zones_touch_only_zone_less_times(self):
        berlin = zone_of("Europe/Berlin")
        self.assertEqual(read_time("2024-01-15T11:00:00", berlin), TEN)
        self.assertEqual(read_time("2024-01-15T10:00:00Z", berlin), TEN)

    def test_a_time_that_occurs_twice_is_the_earlier(self):
        # 2024-10-27 03:00 CEST becomes 02:00 CET: the first 02:30 is CEST, 00:30 UTC.
        berlin = zone_of("Europe/Berlin")
        self.assertEqual(read_time("2024-10-27 02:30:00", berlin), read_time("2024-10-27T00:30:00Z", None))

    def test_a_skipped_time_moves_forward_by_the_gap(self):
        # 2024-03-31 02:00 CET becomes 03:00 CEST: 02:30 is 03:30 CEST, 01:30 UTC.
        berlin = zone_of("Europe/Berlin")
        self.assertEqual(read_time("2024-03-31T02:30:00", berlin), read_time("2024-03-31T01:30:00Z", None))
        # Lord Howe moves by half an hour: 02:15 is 02:45 at +11:00.
        lord_howe = zone_of("Australia/Lord_Howe")
        self.assertEqual(read_time("2024-10-06T02:15:00", lord_howe), read_time("2024-10-06T02:45:00+11:00", None))


class Reasons(unittest.TestCase):
    def test_good_ones(self):
        self.assertIsNone(reason("sales", sale()))
        self.assertIsNone(reason("user_activity", event(ip_address=None, user_agent="", product_id="p", amount="1")))
        self.assertIsNone(reason("inventory", stock(status="")))
        self.assertIsNone(reason("inventory", stock(units=-3, level=-1, status="x" * 1000)))

    def test_the_order_from_the_top(self):
        self.assertEqual(reason("sales", b"\xff" * ((1 << 20) + 1)), "too_large")
        self.assertEqual(reason("sales", b"\xff" * (1 << 20)), "invalid_utf8")
        self.assertIsNone(reason("sales", sale().ljust(1 << 20)))
        self.assertEqual(reason("sales", b'{"a":NaN,"a":1}'), "invalid_json")
        self.assertEqual(reason("sales", b"[]"), "wrong_type")
        self.assertEqual(reason("sales", b'{"x":1,"\\u0078":1}'), "duplicate_field")
        self.assertEqual(reason("sales", b"{}"), "missing_field")
        self.assertEqual(reason("sales", b""), "invalid_json")
        self.assertEqual(reason("sales", b"null"), "wrong_type")
        self.assertEqual(reason("sales", b"\xef\xbb\xbf{}"), "invalid_json")

    def test_nested_repetitions_are_no_fault(self):
        self.assertIsNone(reason("sales", sale()[:-1] + b',"more":{"a":1,"a":2}}'))

    def test_all_missing_fields_before_any_content(self):
        self.assertEqual(reason("sales", sale(transaction_id=5, category=...)), "missing_field")
        self.assertEqual(reason("sales", sale(transaction_id=5, category=None)), "missing_field")

    def test_the_first_field_at_fault_decides(self):
        self.assertEqual(reason("sales", sale(quantity=0, unit_price="x")), "out_of_range")
        self.assertEqual(reason("sales", sale(unit_price="x", category=1)), "bad_money")
        self.assertEqual(reason("sales", sale(timestamp="x", store_id=1)), "bad_timestamp")
        self.assertEqual(reason("sales", sale(store_id=1, category="")), "wrong_type")
        self.assertEqual(reason("sales", sale(total_amount=[], payment_method="")), "wrong_type")
        # The table's order, not that of the object, and optional fields come last.
        self.assertEqual(reason("user_activity", event(amount="x", session="")), "out_of_range")
        # last_updated stands before warehouse_id in the table.
        self.assertEqual(reason("inventory", stock(warehouse="").replace(iso(TEN).encode(), b"x")), "bad_timestamp")

    def test_identifiers(self):
        self.assertIsNone(reason("sales", sale(user_id="é" * 128)))
        self.assertEqual(reason("sales", sale(user_id="é" * 128 + "x")), "too_large")
        self.assertEqual(reason("sales", sale(user_id="")), "out_of_range")
        self.assertEqual(reason("user_activity", event(product_id="")), "out_of_range")
        self.assertIsNone(reason("user_activity", event(product_id=None)))
        self.assertIsNone(reason("user_activity", event(user_agent="x" * 1000)))
        self.assertEqual(reason("user_activity", event(user_agent=1)), "wrong_type")

    def test_integers(self):
        def quantity(text):
            return reason("sales", sale(quantity=77).replace(b"77", text))

        self.assertIsNone(quantity(b"1000000000"))
        self.assertIsNone(quantity(b"-1000000000"))
        self.assertEqual(quantity(b"1000000001"), "out_of_range")
        self.assertEqual(quantity(b"-1000000001"), "out_of_range")
        self.assertEqual(quantity(b"9" * 5000), "out_of_range")
        self.assertEqual(quantity(b"0"), "out_of_range")
        self.assertEqual(quantity(b"-0"), "out_of_range")
        for text in (b"2.0", b"1e2", b'"3"', b"true", b"-0.0"):
            self.assertEqual(quantity(text), "wrong_type", text)
        self.assertIsNone(reason("inventory", stock(units=77).replace(b"77", b"-0")))


class Outcomes(unittest.TestCase):
    def test_late_is_strictly_before_the_window(self):
        first, edge, over = sale(), sale(transaction_id="t2", timestamp=TEN - 48 * HOUR), TEN - 48 * HOUR - 1
        self.assertEqual(outcomes("sales", first, edge), ["accepted", "accepted"])
        self.assertEqual(outcomes("sales", first, sale(transaction_id="t2", timestamp=over)), ["accepted", "late"])
        self.assertEqual(outcomes("user_activity", event(), event(timestamp=over)), ["accepted", "late"])
        self.assertEqual(outcomes("inventory", stock(), stock(timestamp=0)), ["accepted", "accepted"])

    def test_partitions_have_clocks_of_their_own(self):
        result = compute({("sales", 0): log(sale()), ("sales", 1): log(sale(timestamp=TEN - 90 * DAY))})
        self.assertEqual(result.outcomes["accepted"], 2)
        self.assertEqual(result.as_of, TEN)

    def test_future_is_strictly_after_the_allowance(self):
        def at(kafka_timestamp):
            return outcomes("sales", (kafka_timestamp, None, sale()))

        self.assertEqual(at(TEN - 10 * MINUTE), ["accepted"])
        self.assertEqual(at(TEN - 10 * MINUTE - 1), ["quarantined"])
        self.assertEqual(at(None), ["accepted"])
        self.assertEqual(at(-1), ["accepted"])
        self.assertEqual(outcomes("inventory", (TEN - DAY, None, stock())), ["quarantined"])

    def test_a_quarantined_record_moves_no_clock_and_is_not_known(self):
        early = sale(timestamp=TEN - 30 * DAY, transaction_id="t0")
        self.assertEqual(
            outcomes("sales", (TEN - DAY, None, sale()), early, (TEN, None, sale(user_id="other"))),
            ["quarantined", "accepted", "accepted"],
        )

    def test_late_comes_before_quarantined(self):
        old = TEN - 48 * HOUR - 1
        self.assertEqual(outcomes("sales", sale(), (old - DAY, None, sale(timestamp=old))), ["accepted", "late"])

    def test_duplicates_in_other_spellings(self):
        again = (
            b' {"category":"b\\u006foks","note":1,"store_id":"s1","timestamp":"2024-01-15 11:00:00.0009+01:00",'
            b'"payment_method":"card","total_amount":"2.5e1","unit_price":12.50004,"quantity":2,"product_id":"p1",'
            b'"user_id":"u1","transaction_id":"t1"}'
        )
        self.assertEqual(outcomes("sales", sale(), (TEN, b"another key", again)), ["accepted", "duplicate"])

    def test_any_other_content_is_a_correction(self):
        others = {"user_id": "u", "product_id": "p", "quantity": 3, "unit_price": 1, "total_amount": 1}
        others |= {"payment_method": "cash", "timestamp": TEN + 1, "store_id": "s", "category": "c"}
        for name, value in others.items():
            self.assertEqual(outcomes("sales", sale(), sale(**{name: value})), ["accepted", "correction"], name)

    def test_a_correction_moves_the_row_everywhere_and_the_clock(self):
        moved = sale(timestamp=TEN + HOUR, store_id="s2", category="toys", total_amount=30)
        result = of_sales(sale(), moved)
        self.assertEqual(result.as_of, TEN + HOUR)
        hours = [name for name in result.aggregated_data if "|hour|" in name and "by" not in name]
        self.assertEqual(sorted(hours), ["customers", "sales_total|hour|2024-01-15T11:00:00Z"][1:])
        self.assertNotIn("sales_by_store|day|2024-01-15T00:00:00Z|s1", result.aggregated_data)
        day = result.aggregated_data["sales_by_category|day|2024-01-15T00:00:00Z|toys"]
        self.assertEqual((day["transactions"], day["revenue"]), (1, Decimal(30)))

    def test_back_and_forth_is_a_correction_each_time(self):
        self.assertEqual(outcomes("sales", sale(), sale(quantity=5), sale()), ["accepted", "correction", "correction"])

    def test_the_clock_never_goes_back(self):
        moved_back = sale(timestamp=TEN - 47 * HOUR)
        late = sale(transaction_id="t2", timestamp=TEN - 48 * HOUR - 1)
        self.assertEqual(outcomes("sales", sale(), moved_back, late), ["accepted", "correction", "late"])

    def test_known_until_the_clock_is_past_the_window(self):
        def after(advance):
            other = sale(transaction_id="t2", timestamp=TEN + advance)
            return outcomes("sales", sale(), other, sale(timestamp=TEN + 48 * HOUR))

        self.assertEqual(after(48 * HOUR), ["accepted", "accepted", "correction"])
        self.assertEqual(after(48 * HOUR + 1), ["accepted", "accepted", "accepted"])

    def test_expiry_is_judged_by_the_clock_before_the_record(self):
        self.assertEqual(outcomes("sales", sale(), sale(timestamp=TEN + 90 * DAY)), ["accepted", "correction"])

    def test_a_forgotten_row_stays_in_force(self):
        other = sale(transaction_id="t2", timestamp=TEN + 48 * HOUR + 1)
        result = of_sales(sale(), other, sale(timestamp=TEN + 48 * HOUR), tombstone(b"t1"))
        self.assertEqual(result.real_time_metrics["metric|sales_all"]["transactions"], 2)
        self.assertIn("sales_total|hour|2024-01-15T10:00:00Z", result.aggregated_data)

    def test_the_current_rows_time_counts_for_expiry(self):
        moved_back = sale(timestamp=TEN - 40 * HOUR)
        other = sale(transaction_id="t2", timestamp=TEN + 10 * HOUR)
        self.assertEqual(outcomes("sales", sale(), moved_back, other, sale())[-1], "accepted")

    def test_cancelling(self):
        result = of_sales(sale(), tombstone(b"t1"), tombstone(b"t1"), tombstone(b"\xff"), sale())
        self.assertEqual(result.outcomes["cancelled"], 3)
        self.assertEqual(result.outcomes["accepted"], 2)
        self.assertEqual(result.real_time_metrics["metric|sales_all"]["transactions"], 1)
        self.assertEqual(of_sales(sale(), tombstone(b"t1")).aggregated_data, {})

    def test_a_cancelled_sale_leaves_the_clock(self):
        result = of_sales(sale(), tombstone(b"t1"), sale(transaction_id="t2", timestamp=TEN - 48 * HOUR - 1))
        self.assertEqual((result.as_of, result.outcomes["late"]), (TEN, 1))

    def test_the_value_identifies_not_the_key(self):
        result = of_sales((TEN, b"zzz", sale()), tombstone(b"zzz"))
        self.assertEqual(result.real_time_metrics["metric|sales_all"]["transactions"], 1)

    def test_null_values_without_key(self):
        for topic in ("sales", "inventory"):
            self.assertEqual(outcomes(topic, tombstone(None), tombstone(b"")), ["rejected", "rejected"])
        self.assertEqual(outcomes("user_activity", tombstone(b"u1")), ["rejected"])
        result = compute({("sales", 0): log(tombstone(b""))})
        self.assertEqual(result.reasons["null_value"], 1)

    def test_the_same_id_in_two_partitions_is_two(self):
        result = compute({("sales", 0): log(sale()), ("sales", 1): log(sale(), tombstone(b"t1"), sale())})
        self.assertEqual(result.outcomes["accepted"], 3)
        self.assertEqual(result.real_time_metrics["metric|sales_all"]["transactions"], 2)

    def test_settings(self):
        short = Settings(correction_window_ms=1000, max_future_ms=0)
        values = (TEN, None, sale()), (TEN, None, sale(transaction_id="t2", timestamp=TEN - 1001))
        self.assertEqual(outcomes("sales", *values, settings=short), ["accepted", "late"])
        self.assertEqual(outcomes("sales", (TEN - 1, None, sale()), settings=short), ["quarantined"])

    def test_every_record_has_one_outcome(self):
        records = hostile.history(11, 3000)
        result = compute(hostile.as_partitions(records))
        self.assertEqual(sum(result.outcomes.values()), len(records))
        self.assertEqual(len(result.raw_data), len(records))
        refused = sum(result.outcomes[name] for name in ("rejected", "late", "quarantined"))
        self.assertEqual(len(result.dead_letters), refused)
        self.assertEqual(sum(result.reasons.values()), refused)


class Inventory(unittest.TestCase):
    def units(self, *partitions):
        result = compute({("inventory", number): log(*values) for number, values in enumerate(partitions)})
        return {row["_id"]: row["current_stock"] for row in result.real_time_metrics.values() if row["type"] == "stock"}

    def test_greatest_last_updated_then_partition_then_offset(self):
        older, newer = stock(units=1, timestamp=TEN), stock(units=2, timestamp=TEN + 1)
        self.assertEqual(self.units([newer, older]), {"stock|p1|w1": 2})
        self.assertEqual(self.units([newer], [older]), {"stock|p1|w1": 2})
        self.assertEqual(self.units([stock(units=3)], [stock(units=4)]), {"stock|p1|w1": 4})
        self.assertEqual(self.units([stock(units=3), stock(units=5)]), {"stock|p1|w1": 5})
        self.assertEqual(self.units([stock(units=3), stock(units=5)], [stock(units=4)]), {"stock|p1|w1": 4})

    def test_a_tombstone_takes_what_its_partition_gave_before(self):
        gone = tombstone(b"p1")
        self.assertEqual(self.units([stock(), stock(warehouse="w2"), stock("p2"), gone]), {"stock|p2|w1": 5})
        self.assertEqual(self.units([stock(units=1, timestamp=TEN - DAY)], [stock(units=2), gone]), {"stock|p1|w1": 1})
        self.assertEqual(self.units([stock(), gone, stock(units=9, timestamp=TEN - 90 * DAY)]), {"stock|p1|w1": 9})
        self.assertEqual(self.units([stock(), tombstone(b"p9")]), {"stock|p1|w1": 5})

    def test_summary(self):
        result = compute({("inventory", 0): log(stock(units=-3), stock(warehouse="w2"), stock("p2", 11))})
        summary = result.real_time_metrics["metric|inventory_summary"]
        wanted = {"products": 2, "rows": 3, "units": 13, "out_of_stock": 1, "low_stock": 1}
        self.assertEqual({name: summary[name] for name in wanted}, wanted)


class Windows(unittest.TestCase):
    def document(self, identity, result):
        return result.aggregated_data[identity]

    def test_a_whole_document(self):
        result = of_sales(sale(category="a|b\\c"), sale(transaction_id="t2", category="a|b\\c", total_amount="0.0001"))
        identity = "sales_by_category|hour|2024-01-15T10:00:00Z|a\\|b\\\\c"
        self.assertEqual(
            self.document(identity, result),
            {
                "_id": identity,
                "type": "sales_by_category",
                "granularity": "hour",
                "timestamp": TEN,
                "window_end": TEN + HOUR,
                "key": {"category": "a|b\\c"},
                "final": False,
                "transactions": 2,
                "units": 4,
                "revenue": Decimal("25.0001"),
                "average_order_value": Decimal("12.5000"),
            },
        )

    def test_which_granularities(self):
        result = compute({("sales", 0): log(sale()), ("user_activity", 0): log(event(product_id="p"))})
        found = {}
        for document in result.aggregated_data.values():
            found.setdefault(document["type"], set()).add(document["granularity"])
        every, coarse, daily = {"minute", "hour", "day"}, {"hour", "day"}, {"day"}
        self.assertEqual(
            found,
            {
                "sales_total": every,
                "sales_by_category": every,
                "sales_by_store": every,
                "sales_by_payment_method": every,
                "sales_by_product": coarse,
                "activity_by_type": every,
                "active_users": coarse,
                "sessions": coarse,
                "funnel": coarse,
                "product_interest": daily,
                "customers": daily,
            },
        )

    def test_average_half_to_even(self):
        # 0.0005 / 2 = 0.00025 -> 0.0002; 0.0003 / 2 = 0.00015 -> 0.0002; the same below zero.
        for total, average in ((5, "0.0002"), (3, "0.0002"), (-5, "-0.0002"), (-3, "-0.0002"), (7, "0.0004")):
            result = of_sales(sale(total_amount=f"{total}e-4"), sale(transaction_id="t2", total_amount=0))
            found = self.document("sales_total|minute|2024-01-15T10:00:00Z", result)["average_order_value"]
            self.assertEqual(found, Decimal(average))

    def test_rows_that_cancel_out_still_make_a_document(self):
        result = of_sales(sale(), sale(transaction_id="t2", quantity=-2, total_amount=-25))
        document = self.document("sales_total|day|2024-01-15T00:00:00Z", result)
        self.assertEqual((document["transactions"], document["units"], document["revenue"]), (2, 0, Decimal(0)))

    def test_final_needs_every_partition_past_the_end_and_the_window(self):
        def final(*clocks):
            logs = {("sales", 0): log(sale(), sale(transaction_id="x", timestamp=clocks[0]))}
            for number, clock in enumerate(clocks[1:], start=1):
                value = sale(timestamp=clock) if isinstance(clock, int) else clock
                logs["sales", number] = log(value)
            return self.document("sales_total|hour|2024-01-15T10:00:00Z", compute(logs))["final"]

        end = TEN + HOUR + 48 * HOUR
        self.assertTrue(final(end))
        self.assertFalse(final(end - 1))
        self.assertFalse(final(end, end - 1))
        self.assertTrue(final(end, end))
        self.assertFalse(final(end, b"unreadable"))
        self.assertFalse(final(end, tombstone(b"t9")))

    def test_final_looks_at_the_topics_of_the_view(self):
        end = MONDAY + DAY + 48 * HOUR
        past = sale(transaction_id="x", timestamp=end)
        logs = {("sales", 0): log(sale(), past), ("inventory", 0): log(b"unreadable")}
        interest = "product_interest|day|2024-01-15T00:00:00Z|p1"
        customers = "customers|day|2024-01-15T00:00:00Z"
        self.assertTrue(compute(logs).aggregated_data[interest]["final"])
        logs["user_activity", 0] = log(event())
        self.assertFalse(compute(logs).aggregated_data[interest]["final"])
        self.assertTrue(compute(logs).aggregated_data[customers]["final"])
        logs["user_activity", 0] = log(event(), event(timestamp=end))
        self.assertTrue(compute(logs).aggregated_data[interest]["final"])

    def test_sessions_are_final_when_their_day_is(self):
        def finals(clock):
            result = compute({("user_activity", 0): log(event(), event(timestamp=clock, session="later"))})
            names = ("sessions", "funnel", "active_users")
            return [self.document(f"{name}|hour|2024-01-15T10:00:00Z", result)["final"] for name in names]

        self.assertEqual(finals(TEN + HOUR + 48 * HOUR), [False, False, True])
        self.assertEqual(finals(MONDAY + DAY + 48 * HOUR - 1), [False, False, True])
        self.assertEqual(finals(MONDAY + DAY + 48 * HOUR), [True, True, True])

    def test_activity(self):
        events = (event(), event(user="u2", amount="1.5"), event("odd one", user="u2", amount="-0.5"))
        result = compute({("user_activity", 0): log(*events)})
        views = self.document("activity_by_type|minute|2024-01-15T10:00:00Z|page_view", result)
        self.assertEqual((views["events"], views["amount"]), (2, Decimal("1.5")))
        self.assertIn("activity_by_type|day|2024-01-15T00:00:00Z|odd one", result.aggregated_data)
        self.assertEqual(self.document("active_users|hour|2024-01-15T10:00:00Z", result)["users"], 2)

    def test_sessions(self):
        events = (
            event("purchase", TEN + 30 * MINUTE, session="a"),
            event("page_view", TEN - 1, session="a", user="someone else"),
            event("login", TEN, session="b"),
            event("page_view", MONDAY + DAY - 1, session="c"),
            event("page_view", MONDAY + DAY, session="c"),
        )
        result = compute({("user_activity", 0): log(*events)})
        day = self.document("sessions|day|2024-01-15T00:00:00Z", result)
        wanted = {"sessions": 3, "bounced": 2, "converted": 1, "page_views": 2, "duration_seconds": Decimal("1800.001")}
        self.assertEqual({name: day[name] for name in wanted}, wanted)
        nine = self.document("sessions|hour|2024-01-15T09:00:00Z", result)
        self.assertEqual((nine["sessions"], nine["page_views"]), (1, 1))
        self.assertEqual(self.document("sessions|day|2024-01-16T00:00:00Z", result)["bounced"], 1)

    def test_funnel(self):
        events = (
            event("page_view", TEN, session="same instant", product_id="p"),
            event("purchase", TEN, session="same instant"),
            event("purchase", TEN, session="too early"),
            event("page_view", TEN + 1, session="too early"),
            event("purchase", TEN, session="again"),
            event("page_view", TEN + 1, session="again"),
            event("purchase", TEN + 2, session="again"),
            event("purchase", TEN, session="never viewed", product_id="p"),
        )
        day = self.document("funnel|day|2024-01-15T00:00:00Z", compute({("user_activity", 0): log(*events)}))
        wanted = {"sessions": 4, "viewed": 3, "viewed_product": 1, "purchased": 2}
        self.assertEqual({name: day[name] for name in wanted}, wanted)

    def test_product_interest(self):
        events = (event(product_id="p1"), event("purchase", product_id="p1"), event("add_to_cart", product_id="p2"))
        result = compute({("user_activity", 0): log(*events, event()), ("sales", 0): log(sale())})
        day = self.document("product_interest|day|2024-01-15T00:00:00Z|p1", result)
        wanted = {"views": 1, "purchases": 1, "units_sold": 2, "revenue": Decimal(25)}
        self.assertEqual({name: day[name] for name in wanted}, wanted)
        self.assertNotIn("product_interest|day|2024-01-15T00:00:00Z|p2", result.aggregated_data)

    def test_customers(self):
        values = (
            sale(transaction_id="b", total_amount=1),
            sale(transaction_id="a", total_amount=10),  # as early as b, and before it by id
            sale(transaction_id="c", total_amount=100, timestamp=TEN + DAY),
            sale(transaction_id="d", total_amount=1000, timestamp=TEN + DAY, user_id="u2"),
        )
        result = of_sales(*values)

        def day(date):
            document = self.document(f"customers|day|{date}T00:00:00Z", result)
            names = ("new_customers", "returning_customers", "new_revenue", "returning_revenue")
            return [document[name] for name in names]

        self.assertEqual(day("2024-01-15"), [1, 0, Decimal(10), Decimal(1)])
        self.assertEqual(day("2024-01-16"), [1, 1, Decimal(1000), Decimal(100)])

    def test_first_sale_by_partition_last(self):
        one, two = sale(total_amount=1), sale(total_amount=2)
        result = compute({("sales", 1): log(one), ("sales", 0): log(two)})
        self.assertEqual(self.document("customers|day|2024-01-15T00:00:00Z", result)["new_revenue"], Decimal(2))

    def test_a_cancelled_first_sale_passes_the_honour_on(self):
        later = sale(transaction_id="t2", timestamp=TEN + DAY)
        result = of_sales(sale(), later, tombstone(b"t1"))
        self.assertEqual(self.document("customers|day|2024-01-16T00:00:00Z", result)["new_customers"], 1)


class Live(unittest.TestCase):
    def metric(self, result, name):
        return result.real_time_metrics[f"metric|{name}"]

    def test_nothing_at_all(self):
        result = compute({})
        self.assertIsNone(result.as_of)
        self.assertEqual(len(result.real_time_metrics), 10)
        empty = self.metric(result, "sales_last_hour")
        self.assertEqual((empty["transactions"], empty["revenue"]), (0, Decimal(0)))
        self.assertNotIn("average_order_value", empty)
        quality = self.metric(result, "data_quality")
        self.assertEqual(quality["outcomes"], dict.fromkeys(OUTCOMES, 0))
        self.assertEqual(quality["reasons"], dict.fromkeys(REASONS, 0))

    def test_as_of_is_the_greatest_clock_of_all_topics(self):
        result = compute({("sales", 0): log(sale()), ("inventory", 2): log(stock(timestamp=TEN + 5))})
        self.assertEqual(result.as_of, TEN + 5)

    def test_sixty_whole_minutes_and_twenty_four_whole_hours(self):
        now = TEN + 30 * MINUTE + 29_000

        def counts(timestamp):
            result = of_sales(sale(transaction_id="now", timestamp=now), sale(timestamp=timestamp))
            names = ("sales_last_hour", "sales_last_24h", "sales_all")
            return [self.metric(result, name)["transactions"] for name in names]

        self.assertEqual(counts(TEN - 29 * MINUTE), [2, 2, 2])
        self.assertEqual(counts(TEN - 29 * MINUTE - 1), [1, 2, 2])
        self.assertEqual(counts(TEN - 23 * HOUR), [1, 2, 2])
        self.assertEqual(counts(TEN - 23 * HOUR - 1), [1, 1, 2])

    def test_activity_last_hour_splits_sessions_at_midnight(self):
        midnight = MONDAY + DAY
        events = (
            event("purchase", midnight - 2 * HOUR, session="a"),
            event("page_view", midnight - 1, session="a"),
            event("page_view", midnight, session="a", user="u2"),
            event("purchase", midnight + 1, session="b"),
        )
        found = self.metric(compute({("user_activity", 0): log(*events)}), "activity_last_hour")
        wanted = {"events": 3, "users": 2, "sessions": 3, "converted": 1}
        self.assertEqual({name: found[name] for name in wanted}, wanted)

    def test_top_products(self):
        values = [sale(transaction_id=f"t{n}", product_id=f"p{n:02}", total_amount=n % 3) for n in range(12)]
        values.append(sale(transaction_id="x", product_id="\uff5e", total_amount=2))
        values.append(sale(transaction_id="y", product_id="\U0001f600", total_amount=2))
        products = self.metric(of_sales(*values), "top_products_last_24h")["products"]
        names = ["p02", "p05", "p08", "p11", "\uff5e", "\U0001f600", "p01", "p04", "p07", "p10"]
        self.assertEqual([product["product_id"] for product in products], names)
        self.assertEqual(products[0], {"rank": 1, "product_id": "p02", "revenue": Decimal(2), "units": 2})
        self.assertEqual([product["rank"] for product in products], list(range(1, 11)))

    def test_arithmetic_mismatch_by_more_than_a_cent(self):
        def mismatches(total, quantity=2):
            result = of_sales(sale(total_amount=total, quantity=quantity))
            return self.metric(result, "arithmetic_mismatch")["transactions"]

        self.assertEqual([mismatches(total) for total in ("25.01", "25.0101", "24.99", "24.9899")], [0, 1, 0, 1])
        self.assertEqual([mismatches("-25", quantity) for quantity in (-2, 2)], [0, 1])

    def test_purchases_unmatched(self):
        def unmatched(purchases, sold):
            events = [event("purchase", TEN + at, product_id="p1", amount=25) for at in purchases]
            values = [sale(transaction_id=f"t{n}", timestamp=TEN + at) for n, at in enumerate(sold)]
            found = self.metric(
                compute({("user_activity", 0): log(*events), ("sales", 0): log(*values)}), "purchases_unmatched"
            )
            return found["purchases"], found["sales"]

        five = 5 * MINUTE
        self.assertEqual(unmatched([0], [five]), (0, 0))
        self.assertEqual(unmatched([0], [five + 1]), (1, 1))
        self.assertEqual(unmatched([five], [0]), (0, 0))
        # The head of the sales pairs with the first purchase, though the second is nearer.
        self.assertEqual(unmatched([0, MINUTE], [MINUTE]), (1, 0))
        self.assertEqual(unmatched([0, 10 * MINUTE], [8 * MINUTE, 30 * MINUTE]), (1, 1))
        self.assertEqual(unmatched([], [0]), (0, 1))

    def test_purchases_without_amount_or_product_are_no_side(self):
        events = (event("purchase", product_id="p1"), event("purchase", amount=25), event("page_view", amount=25))
        found = self.metric(compute({("user_activity", 0): log(*events)}), "purchases_unmatched")
        self.assertEqual((found["purchases"], found["sales"]), (0, 0))

    def test_supply(self):
        def days(units, sold):
            values = [sale(quantity=quantity, transaction_id=f"t{n}") for n, quantity in enumerate(sold)]
            result = compute({("sales", 0): log(*values), ("inventory", 0): log(stock(units=units))})
            return result.real_time_metrics["supply|p1"].get("days_of_supply")

        self.assertEqual(days(10, [7]), Decimal("10.0"))
        self.assertEqual(days(1, [20]), Decimal("0.4"))  # 0.35 -> 0.4
        self.assertEqual(days(3, [20, 8]), Decimal("0.8"))  # 0.75 -> 0.8
        self.assertEqual(days(1, [28]), Decimal("0.2"))  # 0.25 -> 0.2
        self.assertEqual(days(-1, [28]), Decimal("-0.2"))
        self.assertIsNone(days(10, [5, -5]))
        self.assertIsNone(days(10, [-5]))
        self.assertIsNone(days(10, []))

    def test_supply_counts_168_hour_buckets(self):
        edge = TEN - 167 * HOUR
        for timestamp, units in ((edge, 2), (edge - 1, None)):
            logs = {("sales", 0): log(sale(timestamp=timestamp)), ("inventory", 0): log(stock())}
            supply = compute(logs).real_time_metrics["supply|p1"]
            self.assertEqual(supply["units_sold_7d"], units or 0)


class Alerts(unittest.TestCase):
    def kinds(self, result):
        return sorted(alert["kind"] for alert in result.alerts.values())

    def test_stock(self):
        def kinds(units, level, **more):
            return self.kinds(compute({("inventory", 0): log(stock(units=units, level=level, **more))}))

        self.assertEqual(kinds(0, 10), ["out_of_stock"])
        self.assertEqual(kinds(-1, -5), ["out_of_stock"])
        self.assertEqual(kinds(1, 10), ["low_stock"])
        self.assertEqual(kinds(10, 10), ["low_stock"])
        self.assertEqual(kinds(11, 10), [])
        self.assertEqual(kinds(1, 0), [])
        self.assertEqual(kinds(0, 10, status="out_of_stock"), ["out_of_stock"])
        self.assertEqual(kinds(0, 10, status="low_stock"), ["out_of_stock", "status_mismatch"])
        self.assertEqual(kinds(11, 10, status="out_of_stock"), ["status_mismatch"])
        self.assertEqual(kinds(11, 10, status="in_stock"), [])
        self.assertEqual(kinds(0, 10, status="fine"), ["out_of_stock"])

    def test_a_whole_alert(self):
        result = compute({("inventory", 0): log(stock("a|b", 0))})
        self.assertEqual(
            result.alerts,
            {
                "alert|out_of_stock|a\\|b|w1": {
                    "_id": "alert|out_of_stock|a\\|b|w1",
                    "kind": "out_of_stock",
                    "severity": "critical",
                    "product_id": "a|b",
                    "warehouse_id": "w1",
                }
            },
        )

    def test_stock_out_soon(self):
        def kinds(sold, *rows):
            return self.kinds(compute({("sales", 0): log(sale(quantity=sold)), ("inventory", 0): log(*rows)}))

        self.assertEqual(kinds(7, stock(units=3, level=0)), [])  # exactly 3 days
        self.assertEqual(kinds(7, stock(units=2, level=0)), ["stock_out_soon"])
        self.assertEqual(kinds(71, stock(units=30, level=0)), ["stock_out_soon"])  # 2.958, rounded 3.0
        self.assertEqual(kinds(7, stock(units=2, level=5)), ["low_stock"])
        self.assertEqual(kinds(70, stock(units=9, level=0), stock(units=0, warehouse="w2")), ["out_of_stock"])
        self.assertEqual(kinds(-7, stock(units=2, level=0)), [])

    def anomaly(self, judged, hours):
        """Revenue of the last whole hour and of the 24 before it, oldest first; None is an hour without rows."""
        last = TEN - HOUR
        values = [sale(transaction_id="now", category="other")]
        if judged is not None:
            values.insert(0, sale(transaction_id="judged", total_amount=judged, timestamp=last))
        for n, revenue in enumerate(hours):
            if revenue is not None:
                at = last - (24 - n) * HOUR
                values.insert(0, sale(transaction_id=f"t{n}", total_amount=revenue, timestamp=at))
        return "alert|revenue_anomaly|books" in of_sales(*values).alerts

    def test_revenue_anomaly(self):
        # Twelve hours of 1 and twelve empty ones: mean 0.5, population deviation 0.5: more than 2, or less than -1.
        hours = [1, None] * 12
        self.assertFalse(self.anomaly(2, hours))
        self.assertTrue(self.anomaly("2.0001", hours))
        self.assertFalse(self.anomaly(-1, hours))
        self.assertTrue(self.anomaly("-1.0001", hours))
        self.assertFalse(self.anomaly(None, hours))

    def test_revenue_anomaly_needs_twelve_hours_that_are_not_empty(self):
        self.assertFalse(self.anomaly(1000, [1] * 11 + [None] * 13))
        self.assertTrue(self.anomaly(1000, [1] * 12 + [None] * 12))
        # Rows that sum to nothing are rows.
        self.assertTrue(self.anomaly(1000, [0] * 12 + [None] * 12))

    def test_revenue_anomaly_in_a_silent_hour(self):
        self.assertTrue(self.anomaly(None, [1] * 24))
        self.assertFalse(self.anomaly(1, [1] * 24))


class RawData(unittest.TestCase):
    def test_documents(self):
        late = sale(transaction_id="t2", timestamp=TEN - 3 * DAY)
        result = of_sales((TEN + 7, b"t1", sale()), (TEN + 8, b"k", b"{"), (None, b"t2", late), (TEN + 9, b"t1", None))
        self.assertEqual(
            result.raw_data["sales|0|0"],
            {
                "_id": "sales|0|0",
                "topic": "sales",
                "partition": 0,
                "offset": 0,
                "key": b"t1",
                "kafka_timestamp": TEN + 7,
                "timestamp": TEN,
                "outcome": "accepted",
                "value": sale(),
            },
        )
        self.assertEqual(result.raw_data["sales|0|1"]["timestamp"], TEN + 8)
        self.assertEqual(result.raw_data["sales|0|2"]["timestamp"], TEN - 3 * DAY)
        self.assertNotIn("kafka_timestamp", result.raw_data["sales|0|2"])
        self.assertEqual(result.raw_data["sales|0|2"]["reason"], "late")
        self.assertEqual(result.raw_data["sales|0|3"]["timestamp"], TEN + 9)
        self.assertNotIn("value", result.raw_data["sales|0|3"])
        self.assertEqual(
            result.dead_letters["sales|0|1"],
            {
                "_id": "sales|0|1",
                "topic": "sales",
                "partition": 0,
                "offset": 1,
                "key": b"k",
                "kafka_timestamp": TEN + 8,
                "reason": "invalid_json",
                "value": b"{",
            },
        )
        self.assertEqual(sorted(result.dead_letters), ["sales|0|1", "sales|0|2"])


class Sources(unittest.TestCase):
    def test_murmur2_as_the_java_client(self):
        # The values that Kafka's own unit tests pin.
        for key, wanted in (
            (b"21", -973932308),
            (b"foobar", -790332482),
            (b"a-little-bit-long-string", -985981536),
            (b"a-little-bit-longer-string", -1486304829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            (b"abc", 479470107),
        ):
            self.assertEqual(sources.murmur2(key), wanted & 0xFFFFFFFF, key)

    def test_plain_lines(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sales.ndjson"), "wb") as file:
                file.write(b"{bad\n" + sale() + b"\n\n" + sale(transaction_id="t2"))
            partitions = sources.read_plain(folder, Settings())
        self.assertEqual(partitions["sales", 0][:2], [(0, None, None, b"{bad"), (1, None, None, b"")])
        placed = {key: (number, timestamp) for (_, number), log in partitions.items() for _, timestamp, key, _ in log}
        self.assertEqual(placed[b"t1"], (sources.partition_of(b"t1"), TEN))
        self.assertEqual(placed[b"t2"], (sources.partition_of(b"t2"), TEN))

    def test_envelopes(self):
        lines = (
            b'{"partition":1,"offset":42,"timestamp_ms":7,"key":"k","value": {"a" : 1.50} }',
            b'{"value":null,"key":"k","partition":1,"offset":43}',
            b'{"partition":0,"timestamp_ms":-1,"key_base64":"/w==","value_base64":"AP8="}',
            b'{"partition":0,"value":"text","key":null}',
        )
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "sales.ndjson"), "wb") as file:
                file.write(b"\n".join(lines))
            partitions = sources.read_envelopes(folder)
        self.assertEqual(
            partitions,
            {
                ("sales", 1): [(42, 7, b"k", b'{"a" : 1.50}'), (43, None, b"k", None)],
                ("sales", 0): [(0, None, b"\xff", b"\x00\xff"), (1, None, None, b'"text"')],
            },
        )

    def test_hostile_files_read_back_as_written(self):
        records = hostile.history(4, 4000)
        with tempfile.TemporaryDirectory() as folder:
            hostile.write_envelopes(folder, records)
            self.assertEqual(sources.read_envelopes(folder), hostile.as_partitions(records))


class Hostile(unittest.TestCase):
    def test_the_same_seed_gives_the_same_history(self):
        self.assertEqual(hostile.history(9, 500), hostile.history(9, 500))
        self.assertNotEqual(hostile.history(9, 500), hostile.history(10, 500))

    def test_all_that_can_happen_happens(self):
        kinds, finals = set(), set()
        outcomes, reasons = dict.fromkeys(OUTCOMES, 0), dict.fromkeys(REASONS, 0)
        for seed in (2, 4):
            result = compute(hostile.as_partitions(hostile.history(seed, 12_000)))
            kinds |= {alert["kind"] for alert in result.alerts.values()}
            finals |= {document["final"] for document in result.aggregated_data.values()}
            for name, count in result.outcomes.items():
                outcomes[name] += count
            for name, count in result.reasons.items():
                reasons[name] += count
        self.assertEqual([name for name, count in {**outcomes, **reasons}.items() if not count], [])
        self.assertEqual(finals, {True, False})
        self.assertEqual(len(kinds), 5)

    def test_sums_agree_across_dimensions(self):
        result = compute(hostile.as_partitions(hostile.history(6, 6000)))
        for granularity in ("minute", "hour", "day"):
            sums = {}
            for document in result.aggregated_data.values():
                if document["type"].startswith("sales_") and document["granularity"] == granularity:
                    held = sums.setdefault(document["type"], {}).setdefault(document["timestamp"], [0, 0, 0])
                    for i, name in enumerate(("transactions", "units", "revenue")):
                        held[i] += document[name]
            for name, windows in sums.items():
                self.assertEqual(windows, sums["sales_total"], f"{name} {granularity}")


if __name__ == "__main__":
    unittest.main()

"""How texts, money, times and records are read, and why some are not."""

import json
import os
import random
import sys
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cases import TEN, event, iso, reason, sale, stock
from fields import Fault, read_money, read_time, zone_of
from hostile_values import BAD_TIMES
from jsontext import NotJson, Num, Obj, parse


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
        seeds = [sale().decode(), "[]", '"\\ud83d\\ude00"', "-0.0"]
        seeds.append('{"a":[1,2.5e-3,true,null,"x\\n\\u00e9"],"b":{"c":""}}')
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
        for text in BAD_TIMES:
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


if __name__ == "__main__":
    unittest.main()

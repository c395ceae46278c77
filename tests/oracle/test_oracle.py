"""What becomes of records: outcomes, stock rows, raw_data and dead letters."""

import os
import sys
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import hostile
from cases import DAY, HOUR, MINUTE, TEN, event, log, of_sales, outcomes, sale, stock, tombstone
from oracle import Settings, compute
from targets import as_partitions


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

    def test_what_had_left_memory_when_a_partition_began_is_late(self):
        begun = Settings(correction_window_ms=1000, late_before={("sales", 0): TEN, ("inventory", 0): TEN})
        values = sale(timestamp=TEN - 1), sale(timestamp=TEN), sale(timestamp=TEN + 1), sale(timestamp=TEN - 1)
        self.assertEqual(outcomes("sales", *values, settings=begun), ["late", "accepted", "correction", "late"])
        self.assertEqual(outcomes("inventory", stock(timestamp=TEN - 1), settings=begun), ["accepted"])

    def test_every_record_has_one_outcome(self):
        records = hostile.history(11, 3000)
        result = compute(as_partitions(records))
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


if __name__ == "__main__":
    unittest.main()

"""Live metrics, supply and the conditions of alerts, reasoned by hand."""

import os
import sys
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from admission import OUTCOMES, REASONS
from cases import DAY, HOUR, MINUTE, MONDAY, TEN, event, log, of_sales, sale, stock
from oracle import compute


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


if __name__ == "__main__":
    unittest.main()

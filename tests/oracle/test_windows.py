"""aggregated_data, reasoned by hand."""

import os
import sys
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cases import DAY, HOUR, MINUTE, MONDAY, TEN, event, log, of_sales, sale, tombstone
from oracle import compute


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


if __name__ == "__main__":
    unittest.main()

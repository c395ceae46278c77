"""real_time_metrics: metrics, stock, supply, and which alerts hold."""

from decimal import Decimal

from documents import DAY, HOUR, MINUTE, half_even, joined, money, sales_measures
from fields import MONEY_UNIT

PAIRING_MS = 5 * MINUTE
METRICS = (
    "sales_all",
    "sales_last_hour",
    "sales_last_24h",
    "activity_last_hour",
    "top_products_last_hour",
    "top_products_last_24h",
    "inventory_summary",
    "data_quality",
    "arithmetic_mismatch",
    "purchases_unmatched",
)
SEVERITIES = {
    "out_of_stock": "critical",
    "low_stock": "warning",
    "stock_out_soon": "warning",
    "status_mismatch": "info",
    "revenue_anomaly": "warning",
}
SUBJECTS = {
    "out_of_stock": ("product_id", "warehouse_id"),
    "low_stock": ("product_id", "warehouse_id"),
    "stock_out_soon": ("product_id",),
    "status_mismatch": ("product_id", "warehouse_id"),
    "revenue_anomaly": ("category",),
}


class Live:
    """The ranges that end with the bucket which holds as_of; without as_of they hold nothing."""

    def __init__(self, as_of):
        self.as_of = as_of

    def since(self, width, buckets):
        """Rows at or after this time are in the last `buckets` of `width`."""
        if self.as_of is None:
            return float("inf")
        return self.as_of - self.as_of % width - (buckets - 1) * width

    def rows(self, rows, width, buckets):
        since = self.since(width, buckets)
        return [row for row in rows if row.record.timestamp >= since]


def real_time(names, as_of, sales, activities, stock, outcomes, reasons):
    """{_id: document} of the metrics, of stock and supply, as far as `names` asks for them."""
    live = Live(as_of)
    hour_sales = live.rows(sales, MINUTE, 60)
    day_sales = live.rows(sales, HOUR, 24)
    makers = {
        "sales_all": lambda: _sales(sales),
        "sales_last_hour": lambda: _sales(hour_sales),
        "sales_last_24h": lambda: _sales(day_sales),
        "activity_last_hour": lambda: _activity(live.rows(activities, MINUTE, 60)),
        "top_products_last_hour": lambda: _top_products(hour_sales),
        "top_products_last_24h": lambda: _top_products(day_sales),
        "inventory_summary": lambda: _inventory_summary(stock),
        "data_quality": lambda: {"outcomes": dict(outcomes), "reasons": dict(reasons)},
        "arithmetic_mismatch": lambda: _arithmetic_mismatch(sales),
        "purchases_unmatched": lambda: _purchases_unmatched(live.rows(activities, HOUR, 24), day_sales),
    }
    documents = {}
    for name, maker in makers.items():
        if name in names:
            identity = f"metric|{name}"
            documents[identity] = {"_id": identity, "type": "metric", "name": name, **maker()}
    if "stock" in names:
        for row in stock:
            identity = joined("stock", row.product_id, row.warehouse_id)
            documents[identity] = {
                "_id": identity,
                "type": "stock",
                "product_id": row.product_id,
                "warehouse_id": row.warehouse_id,
                "category": row.category,
                "current_stock": row.current_stock,
                "reorder_level": row.reorder_level,
                "last_updated": row.timestamp,
                **({} if row.status is None else {"status": row.status}),
            }
    if "supply" in names:
        for product, (units_in_stock, units_sold, _) in supply_of(live, stock, sales).items():
            identity = joined("supply", product)
            documents[identity] = {
                "_id": identity,
                "type": "supply",
                "product_id": product,
                "stock": units_in_stock,
                "units_sold_7d": units_sold,
            }
            if units_sold > 0:
                days = half_even(units_in_stock * 7 * 10, units_sold)
                documents[identity]["days_of_supply"] = Decimal(days).scaleb(-1)
    return documents


def _sales(rows):
    units = sum(row.record.quantity for row in rows)
    revenue = sum(row.record.total_amount for row in rows)
    return sales_measures(len(rows), units, revenue)


def _activity(rows):
    sessions, converted = set(), set()
    for activity, _, _ in rows:
        session = (activity.session_id, activity.timestamp // DAY)
        sessions.add(session)
        if activity.activity_type == "purchase":
            converted.add(session)
    return {
        "events": len(rows),
        "users": len({row.record.user_id for row in rows}),
        "sessions": len(sessions),
        "converted": len(converted),
    }


def _top_products(rows):
    sums = {}
    for sale, _, _ in rows:
        held = sums.setdefault(sale.product_id, [0, 0])
        held[0] += sale.total_amount
        held[1] += sale.quantity
    ranked = sorted(sums.items(), key=lambda item: (-item[1][0], item[0].encode("utf-8")))[:10]
    return {
        "products": [
            {"rank": rank, "product_id": product, "revenue": money(revenue), "units": units}
            for rank, (product, (revenue, units)) in enumerate(ranked, start=1)
        ]
    }


def is_out(row):
    return row.current_stock <= 0


def is_low(row):
    return 0 < row.current_stock <= row.reorder_level


def _inventory_summary(stock):
    return {
        "products": len({row.product_id for row in stock}),
        "rows": len(stock),
        "units": sum(row.current_stock for row in stock),
        "out_of_stock": sum(1 for row in stock if is_out(row)),
        "low_stock": sum(1 for row in stock if is_low(row)),
    }


def _arithmetic_mismatch(sales):
    tolerance = MONEY_UNIT // 100
    return {
        "transactions": sum(
            1 for sale, _, _ in sales if abs(sale.total_amount - sale.quantity * sale.unit_price) > tolerance
        )
    }


def _purchases_unmatched(activities, sales):
    sides = {}
    for activity, partition, offset in activities:
        if activity.activity_type == "purchase" and activity.product_id is not None and activity.amount is not None:
            group = (activity.user_id, activity.product_id, activity.amount)
            sides.setdefault(group, ([], []))[0].append((activity.timestamp, partition, offset))
    for sale, partition, offset in sales:
        group = (sale.user_id, sale.product_id, sale.total_amount)
        sides.setdefault(group, ([], []))[1].append((sale.timestamp, partition, offset))
    unmatched = [0, 0]
    for purchases, sold in sides.values():
        purchases.sort()
        sold.sort()
        i = j = 0
        while i < len(purchases) and j < len(sold):
            apart = purchases[i][0] - sold[j][0]
            if abs(apart) <= PAIRING_MS:
                i += 1
                j += 1
            elif apart < 0:
                unmatched[0] += 1
                i += 1
            else:
                unmatched[1] += 1
                j += 1
        unmatched[0] += len(purchases) - i
        unmatched[1] += len(sold) - j
    return {"purchases": unmatched[0], "sales": unmatched[1]}


def supply_of(live, stock, sales):
    """product -> (units in stock, units sold in 7 days, whether one of its rows is low or out)."""
    sold = {}
    for sale, _, _ in live.rows(sales, HOUR, 168):
        sold[sale.product_id] = sold.get(sale.product_id, 0) + sale.quantity
    supply = {}
    for row in stock:
        units, units_sold, short = supply.get(row.product_id, (0, sold.get(row.product_id, 0), False))
        supply[row.product_id] = (units + row.current_stock, units_sold, short or is_out(row) or is_low(row))
    return supply


def alerts(kinds, as_of, stock, sales):
    """{_id: {kind, severity, subject fields}} of the conditions that hold."""
    live = Live(as_of)
    holding = {}

    def hold(kind, *subject):
        if kind in kinds:
            identity = joined("alert", kind, *subject)
            fields = dict(zip(SUBJECTS[kind], subject))
            holding[identity] = {"_id": identity, "kind": kind, "severity": SEVERITIES[kind], **fields}

    for row in stock:
        status = "out_of_stock" if is_out(row) else "low_stock" if is_low(row) else "in_stock"
        if status != "in_stock":
            hold(status, row.product_id, row.warehouse_id)
        if row.status in ("in_stock", "low_stock", "out_of_stock") and row.status != status:
            hold("status_mismatch", row.product_id, row.warehouse_id)
    if "stock_out_soon" in kinds:
        for product, (units, units_sold, short) in supply_of(live, stock, sales).items():
            if units_sold > 0 and units * 7 < 3 * units_sold and not short:
                hold("stock_out_soon", product)
    if "revenue_anomaly" in kinds and as_of is not None:
        for category in _anomalous_categories(as_of, sales):
            hold("revenue_anomaly", category)
    return holding


def _anomalous_categories(as_of, sales):
    judged = as_of - as_of % HOUR - HOUR
    hours = {}
    for sale, _, _ in sales:
        start = sale.timestamp - sale.timestamp % HOUR
        if judged - 24 * HOUR <= start <= judged:
            revenue = hours.setdefault(sale.category, {})
            revenue[start] = revenue.get(start, 0) + sale.total_amount
    for category, revenue in hours.items():
        value = revenue.pop(judged, 0)
        if len(revenue) < 12:
            continue
        total = sum(revenue.values())
        squares = sum(amount * amount for amount in revenue.values())
        # |x - S/24| > 3 sqrt(24Q - S^2) / 24, squared: no root, no rounding.
        if (24 * value - total) ** 2 > 9 * (24 * squares - total * total):
            yield category

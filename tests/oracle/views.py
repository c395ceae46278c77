"""aggregated_data: every view of the table, from the rows in force."""

from decimal import Decimal

from documents import DAY, GRANULARITIES, joined, money, sales_measures, window_name

ALL = ("minute", "hour", "day")
SALES_VIEWS = {
    "sales_total": (None, ALL),
    "sales_by_category": ("category", ALL),
    "sales_by_store": ("store_id", ALL),
    "sales_by_payment_method": ("payment_method", ALL),
    "sales_by_product": ("product_id", ("hour", "day")),
}
VIEWS = {
    **{name: ("sales",) for name in SALES_VIEWS},
    "activity_by_type": ("user_activity",),
    "active_users": ("user_activity",),
    "sessions": ("user_activity",),
    "funnel": ("user_activity",),
    "product_interest": ("user_activity", "sales"),
    "customers": ("sales",),
}
SESSION_DATED = ("sessions", "funnel")


def aggregated(names, sales, activities, horizons, correction_window_ms):
    """{_id: document} of the views named.

    `sales` and `activities` are lists of admission.Row; `horizons` gives for each topic the least clock of its
    partitions: below everything if one has none yet, above everything if the topic has given nothing.
    """
    documents = {}

    def put(view, granularity, start, key, measures):
        end = start + GRANULARITIES[granularity]
        settled = start - start % DAY + DAY if view in SESSION_DATED else end
        identity = joined(view, granularity, window_name(start), *key.values())
        documents[identity] = {
            "_id": identity,
            "type": view,
            "granularity": granularity,
            "timestamp": start,
            "window_end": end,
            "key": key,
            "final": all(horizons[topic] >= settled + correction_window_ms for topic in VIEWS[view]),
            **measures,
        }

    for view, (dimension, granularities) in SALES_VIEWS.items():
        if view in names:
            _sales_view(put, view, dimension, granularities, sales)
    if "activity_by_type" in names:
        _activity_by_type(put, activities)
    if "active_users" in names:
        _active_users(put, activities)
    if "sessions" in names or "funnel" in names:
        sessions = sessions_of(activities)
        if "sessions" in names:
            _sessions(put, sessions)
        if "funnel" in names:
            _funnel(put, sessions)
    if "product_interest" in names:
        _product_interest(put, activities, sales)
    if "customers" in names:
        _customers(put, sales)
    return documents


def _sales_view(put, view, dimension, granularities, sales):
    # Summed per minute or hour first: every coarser window is a sum of whole finer ones.
    width = GRANULARITIES[granularities[0]]
    finest = {}
    for sale, _, _ in sales:
        value = getattr(sale, dimension) if dimension else None
        _add(finest, (sale.timestamp - sale.timestamp % width, value), 1, sale.quantity, sale.total_amount)
    for granularity in granularities:
        width = GRANULARITIES[granularity]
        sums = {}
        for (start, value), (transactions, units, revenue) in finest.items():
            _add(sums, (start - start % width, value), transactions, units, revenue)
        for (start, value), (transactions, units, revenue) in sums.items():
            key = {dimension: value} if dimension else {}
            put(view, granularity, start, key, sales_measures(transactions, units, revenue))


def _add(sums, at, *amounts):
    held = sums.get(at)
    if held is None:
        sums[at] = list(amounts)
    else:
        for i, amount in enumerate(amounts):
            held[i] += amount


def _activity_by_type(put, activities):
    for granularity in ALL:
        width = GRANULARITIES[granularity]
        sums = {}
        for activity, _, _ in activities:
            start = activity.timestamp - activity.timestamp % width
            _add(sums, (start, activity.activity_type), 1, activity.amount or 0)
        for (start, kind), (events, amount) in sums.items():
            measures = {"events": events, "amount": money(amount)}
            put("activity_by_type", granularity, start, {"activity_type": kind}, measures)


def _active_users(put, activities):
    for granularity in ("hour", "day"):
        width = GRANULARITIES[granularity]
        users = {}
        for activity, _, _ in activities:
            users.setdefault(activity.timestamp - activity.timestamp % width, set()).add(activity.user_id)
        for start, distinct in users.items():
            put("active_users", granularity, start, {}, {"users": len(distinct)})


def sessions_of(activities):
    """The events of each (session_id, UTC day)."""
    sessions = {}
    for activity, _, _ in activities:
        day = activity.timestamp - activity.timestamp % DAY
        sessions.setdefault((activity.session_id, day), []).append(activity)
    return sessions


def _windows_of_sessions(sessions):
    for granularity in ("hour", "day"):
        width = GRANULARITIES[granularity]
        windows = {}
        for events in sessions.values():
            first = min(event.timestamp for event in events)
            windows.setdefault(first - first % width, []).append(events)
        for start, within in windows.items():
            yield granularity, start, within


def _count(kind, events):
    return sum(1 for event in events if event.activity_type == kind)


def _sessions(put, sessions):
    for granularity, start, within in _windows_of_sessions(sessions):
        duration = sum(max(e.timestamp for e in events) - min(e.timestamp for e in events) for events in within)
        measures = {
            "sessions": len(within),
            "bounced": sum(1 for events in within if len(events) == 1),
            "converted": sum(1 for events in within if _count("purchase", events)),
            "page_views": sum(_count("page_view", events) for events in within),
            "duration_seconds": Decimal(duration).scaleb(-3),
        }
        put("sessions", granularity, start, {}, measures)


def _funnel(put, sessions):
    for granularity, start, within in _windows_of_sessions(sessions):
        viewed = viewed_product = purchased = 0
        for events in within:
            views = [event for event in events if event.activity_type == "page_view"]
            if views:
                viewed += 1
                first_view = min(event.timestamp for event in views)
                purchased += any(e.activity_type == "purchase" and e.timestamp >= first_view for e in events)
            viewed_product += any(event.product_id is not None for event in views)
        measures = {"sessions": len(within), "viewed": viewed, "viewed_product": viewed_product, "purchased": purchased}
        put("funnel", granularity, start, {}, measures)


def _product_interest(put, activities, sales):
    sums = {}
    for activity, _, _ in activities:
        if activity.product_id is None or activity.activity_type not in ("page_view", "purchase"):
            continue
        viewed = activity.activity_type == "page_view"
        at = (activity.timestamp - activity.timestamp % DAY, activity.product_id)
        _add(sums, at, int(viewed), int(not viewed), 0, 0)
    for sale, _, _ in sales:
        at = (sale.timestamp - sale.timestamp % DAY, sale.product_id)
        _add(sums, at, 0, 0, sale.quantity, sale.total_amount)
    for (start, product), (views, purchases, units, revenue) in sums.items():
        measures = {"views": views, "purchases": purchases, "units_sold": units, "revenue": money(revenue)}
        put("product_interest", "day", start, {"product_id": product}, measures)


def _customers(put, sales):
    first = {}
    for row in sales:
        sale = row.record
        rank = (sale.timestamp, sale.transaction_id, row.partition)
        if sale.user_id not in first or rank < first[sale.user_id][0]:
            first[sale.user_id] = (rank, row)
    days = {}
    for row in sales:
        sale = row.record
        day = days.setdefault(sale.timestamp - sale.timestamp % DAY, {"new": set(), "all": set(), "revenue": [0, 0]})
        is_first = first[sale.user_id][1] is row
        day["all"].add(sale.user_id)
        if is_first:
            day["new"].add(sale.user_id)
        day["revenue"][0 if is_first else 1] += sale.total_amount
    for start, day in days.items():
        measures = {
            "new_customers": len(day["new"]),
            "returning_customers": len(day["all"] - day["new"]),
            "new_revenue": money(day["revenue"][0]),
            "returning_revenue": money(day["revenue"][1]),
        }
        put("customers", "day", start, {}, measures)

"""Records for the tests, made with as few words as possible."""

import datetime
import json

from fields import Fault, read_record
from oracle import compute

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

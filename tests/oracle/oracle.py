"""Records and settings in, every document out.

The records of a partition are a list of (offset, kafka_timestamp or None, key bytes or None, value bytes or None) in
offset order; a kafka_timestamp is in milliseconds.
"""

from dataclasses import dataclass, field
from typing import Optional

import metrics
import views
from admission import OUTCOMES, REASONS, Partition
from documents import HOUR, MINUTE, joined
from fields import TOPICS, zone_of

ALERTS = tuple(metrics.SEVERITIES)
ALL_VIEWS = (*views.VIEWS, *metrics.METRICS, "stock", "supply", *ALERTS, "raw_data", "dead_letters")
FIRST = (
    *views.SALES_VIEWS,
    "activity_by_type",
    "active_users",
    "stock",
    "out_of_stock",
    "low_stock",
    "sales_all",
    "sales_last_hour",
    "sales_last_24h",
    "top_products_last_hour",
    "top_products_last_24h",
    "inventory_summary",
    "data_quality",
    "raw_data",
    "dead_letters",
)

PROFILES = {None: ALL_VIEWS, "first": FIRST}


@dataclass
class Settings:
    correction_window_ms: int = 48 * HOUR
    max_future_ms: int = 10 * MINUTE
    timezone: Optional[str] = None
    # (topic, partition) -> milliseconds: its first record came when windows before had left memory; what is older is late
    late_before: dict = field(default_factory=dict)

    def __post_init__(self):
        self.zone = zone_of(self.timezone)


@dataclass
class Result:
    as_of: Optional[int] = None
    clocks: dict = field(default_factory=dict)  # (topic, partition) -> clock, for partitions that gave a record
    outcomes: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)
    raw_data: dict = field(default_factory=dict)
    dead_letters: dict = field(default_factory=dict)
    aggregated_data: dict = field(default_factory=dict)
    real_time_metrics: dict = field(default_factory=dict)  # metrics, stock, supply
    alerts: dict = field(default_factory=dict)  # those whose condition holds
    stock: list = field(default_factory=list)  # current StockLevels


def compute(partitions, settings=None, names=ALL_VIEWS):
    """Everything the rules say about `partitions`: {(topic, partition): records}, as far as `names` asks for it."""
    settings = settings or Settings()
    result = Result(outcomes=dict.fromkeys(OUTCOMES, 0), reasons=dict.fromkeys(REASONS, 0))
    rows = {topic: [] for topic in TOPICS}
    horizons = {topic: float("inf") for topic in TOPICS}
    for (topic, number), records in sorted(partitions.items()):
        if not records:
            continue
        partition = Partition(topic, number, settings)
        _admit(partition, records, result, names)
        rows[topic].extend(partition.rows.values())
        result.clocks[topic, number] = partition.clock
        horizons[topic] = min(horizons[topic], float("-inf") if partition.clock is None else partition.clock)
    result.as_of = max((clock for clock in result.clocks.values() if clock is not None), default=None)
    sales, activities, stock = rows["sales"], rows["user_activity"], current_stock(rows["inventory"])
    result.stock = stock
    result.aggregated_data = views.aggregated(names, sales, activities, horizons, settings.correction_window_ms)
    result.real_time_metrics = metrics.real_time(
        names, result.as_of, sales, activities, stock, result.outcomes, result.reasons
    )
    result.alerts = metrics.alerts([kind for kind in ALERTS if kind in names], result.as_of, stock, sales)
    return result


def current_stock(rows):
    """Of each (product, warehouse) the record with the greatest (last_updated, partition, offset)."""
    current = {}
    for row in rows:
        place = (row.record.product_id, row.record.warehouse_id)
        rank = (row.record.timestamp, row.partition, row.offset)
        if place not in current or rank > current[place][0]:
            current[place] = (rank, row.record)
    return [record for _, record in current.values()]


def _admit(partition, records, result, names):
    keep_raw = "raw_data" in names
    topic, number = partition.topic, partition.number
    for offset, kafka_timestamp, key, value in records:
        if kafka_timestamp is not None and kafka_timestamp < 0:
            kafka_timestamp = None
        verdict = partition.offer(offset, kafka_timestamp, key, value)
        result.outcomes[verdict.outcome] += 1
        if verdict.reason:
            result.reasons[verdict.reason] += 1
        if not keep_raw and not verdict.reason:
            continue
        origin = {"_id": joined(topic, str(number), str(offset)), "topic": topic, "partition": number, "offset": offset}
        if key:
            origin["key"] = key
        if kafka_timestamp is not None:
            origin["kafka_timestamp"] = kafka_timestamp
        if keep_raw:
            document = {**origin, "outcome": verdict.outcome}
            timestamp = kafka_timestamp if verdict.record is None else verdict.record.timestamp
            if timestamp is not None:
                document["timestamp"] = timestamp
            if verdict.reason:
                document["reason"] = verdict.reason
            if value is not None:
                document["value"] = value
            result.raw_data[origin["_id"]] = document
        if verdict.reason:
            letter = {**origin, "reason": verdict.reason}
            if value is not None:
                letter["value"] = value
            result.dead_letters[origin["_id"]] = letter

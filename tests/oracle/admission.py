"""The outcome of each record, from the record and the earlier records of its own partition alone."""

from typing import NamedTuple, Optional

from fields import Fault, read_record

OUTCOMES = ("rejected", "late", "quarantined", "cancelled", "duplicate", "correction", "accepted")
REASONS = (
    "too_large",
    "null_value",
    "invalid_utf8",
    "invalid_json",
    "wrong_type",
    "duplicate_field",
    "missing_field",
    "out_of_range",
    "bad_money",
    "bad_timestamp",
    "late",
    "future_timestamp",
)


class Verdict(NamedTuple):
    outcome: str
    reason: Optional[str]
    record: Optional[tuple]  # what was read, if it could be


class Row(NamedTuple):
    """A record in force and the record of the log that put it there."""

    record: tuple
    partition: int
    offset: int


class Partition:
    """One partition of a topic: feed it with `offer` in offset order."""

    def __init__(self, topic, number, settings):
        self.topic = topic
        self.number = number
        self.settings = settings
        self.clock = None
        late_before = settings.late_before.get((topic, number))
        if late_before is not None and topic != "inventory":
            self.clock = late_before + settings.correction_window_ms
        self.rows = {}  # in force: serial -> Row; for inventory (product, warehouse) -> Row
        self.known = {}  # sales: transaction_id -> serial of its current row
        self._serial = 0

    def floor(self):
        """Times below are late, rows below are not known any more; None before the first accepted record."""
        return None if self.clock is None else self.clock - self.settings.correction_window_ms

    def known_row(self, transaction_id):
        """The serial of the row that a record with this id would repeat or correct, or None."""
        serial = self.known.get(transaction_id)
        if serial is not None and self.rows[serial].record.timestamp < self.floor():
            del self.known[transaction_id]
            return None
        return serial

    def offer(self, offset, kafka_timestamp, key, value):
        if value is None:
            return self._tombstone(key)
        try:
            record = read_record(self.topic, value, self.settings.zone)
        except Fault as fault:
            return Verdict("rejected", fault.reason, None)
        floor = self.floor()
        if self.topic != "inventory" and floor is not None and record.timestamp < floor:
            return Verdict("late", "late", record)
        if kafka_timestamp is not None and record.timestamp > kafka_timestamp + self.settings.max_future_ms:
            return Verdict("quarantined", "future_timestamp", record)
        outcome = self._admit(Row(record, self.number, offset))
        if outcome != "duplicate":
            self.clock = record.timestamp if self.clock is None else max(self.clock, record.timestamp)
        return Verdict(outcome, None, record)

    def _tombstone(self, key):
        if self.topic == "user_activity" or not key:
            return Verdict("rejected", "null_value", None)
        try:
            name = key.decode("utf-8")
        except UnicodeDecodeError:
            return Verdict("cancelled", None, None)
        if self.topic == "sales":
            serial = self.known_row(name)
            if serial is not None:
                del self.rows[serial]
                del self.known[name]
        else:
            for place in [place for place in self.rows if place[0] == name]:
                del self.rows[place]
        return Verdict("cancelled", None, None)

    def _admit(self, row):
        record = row.record
        if self.topic == "inventory":
            place = (record.product_id, record.warehouse_id)
            held = self.rows.get(place)
            if held is None or (record.timestamp, row.offset) > (held.record.timestamp, held.offset):
                self.rows[place] = row
            return "accepted"
        outcome = "accepted"
        if self.topic == "sales":
            serial = self.known_row(record.transaction_id)
            if serial is not None:
                if self.rows[serial].record == record:
                    return "duplicate"
                del self.rows[serial]
                outcome = "correction"
            self.known[record.transaction_id] = self._serial
        self.rows[self._serial] = row
        self._serial += 1
        return outcome

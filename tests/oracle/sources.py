"""Records of a source: {(topic, partition): [(offset, kafka_timestamp or None, key or None, value or None)]}."""

import base64
import os
import time

from fields import KEY_FIELDS, TOPICS, Fault, read_record
from jsontext import NotJson, Num, parse, slices

PLAIN_PARTITIONS = 3
KAFKA_SILENCE_SECONDS = 60


class SourceError(Exception):
    """The source cannot be read."""


def up_to(partitions, offsets):
    """(records below the offsets, how many are not): `offsets` is {(topic, partition): next offset}."""
    below = {}
    above = 0
    for place, records in partitions.items():
        kept = [record for record in records if record[0] < offsets.get(place, 0)]
        above += len(records) - len(kept)
        below[place] = kept
    return below, above


def murmur2(data):
    """The hash that Kafka's own clients choose a partition by, as an unsigned 32-bit number."""
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    length = len(data)
    mixed = (0x9747B28C ^ length) & mask
    whole = length - length % 4
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        mixed = mixed * factor & mask ^ word
    rest = data[whole:]
    if rest:
        mixed = (mixed ^ int.from_bytes(rest, "little")) * factor & mask
    mixed = (mixed ^ mixed >> 13) * factor & mask
    return mixed ^ mixed >> 15


def partition_of(key, partitions=PLAIN_PARTITIONS):
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def lines_of(folder, topic):
    path = os.path.join(folder, f"{topic}.ndjson")
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        lines = (line.removesuffix(b"\r") for line in file.read().split(b"\n"))
        return [line for line in lines if line]


def read_plain(folder, settings):
    """Files whose lines are values: key, partition and Kafka timestamp come from the record itself."""
    partitions = {}
    for topic in TOPICS:
        for line in lines_of(folder, topic):
            try:
                record = read_record(topic, line, settings.zone)
            except Fault:
                number, timestamp, key = 0, None, None
            else:
                key = getattr(record, KEY_FIELDS[topic]).encode("utf-8")
                number, timestamp = partition_of(key), record.timestamp
            records = partitions.setdefault((topic, number), [])
            records.append((len(records), timestamp, key, line))
    return partitions


def read_envelopes(folder):
    """Files whose lines say all that Kafka would say of a record."""
    partitions = {}
    for topic in TOPICS:
        for turn, line in enumerate(lines_of(folder, topic), start=1):
            try:
                fields = slices(line.decode("utf-8"))
                number = _integer(fields, "partition")
                if number is None:
                    raise ValueError("no partition")
                records = partitions.setdefault((topic, number), [])
                offset = _integer(fields, "offset")
                timestamp = _integer(fields, "timestamp_ms")
                record = (
                    len(records) if offset is None else offset,
                    None if timestamp is None or timestamp < 0 else timestamp,
                    _key(fields),
                    _value(fields),
                )
            except (UnicodeDecodeError, NotJson, ValueError) as error:
                raise SourceError(f"{topic}.ndjson, line {turn}: {error}") from error
            if records and records[-1][0] >= record[0]:
                raise SourceError(f"{topic}.ndjson, line {turn}: offset {record[0]} does not rise")
            records.append(record)
    return partitions


def _field(fields, name):
    return parse(fields[name]) if name in fields else None


def _integer(fields, name):
    value = _field(fields, name)
    if value is None:
        return None
    if not isinstance(value, Num):
        raise ValueError(f"{name} is no integer")
    return int(value.text)


def _bytes(fields, name):
    value = _field(fields, name)
    return None if value is None else base64.b64decode(value, validate=True)


def _key(fields):
    key = _field(fields, "key")
    return _bytes(fields, "key_base64") if key is None else key.encode("utf-8")


def _value(fields):
    text = fields.get("value", "null")
    return _bytes(fields, "value_base64") if text == "null" else text.encode("utf-8")


def read_kafka(bootstrap, prefix, offsets, properties=None):
    """The topics' partitions from their first record.

    Partitions in `offsets` ({(topic, partition): next offset}) are read up to there, and `above` counts what lies
    between there and their end; partitions that are not in it only add to `above`. Returns (partitions, above).
    """
    import confluent_kafka as kafka

    consumer = kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "tillflow-oracle",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "fetch.message.max.bytes": 4 << 20,
            **(properties or {}),
        }
    )
    try:
        return _consume(kafka, consumer, prefix, offsets)
    finally:
        consumer.close()


def _consume(kafka, consumer, prefix, offsets):
    partitions = {}
    ends = {}
    above = 0
    for topic in TOPICS:
        described = consumer.list_topics(prefix + topic, timeout=30).topics.get(prefix + topic)
        if described is None or described.error is not None:
            raise SourceError(f"topic {prefix + topic}: {described.error if described else 'unknown'}")
        for number in described.partitions:
            place = (topic, number)
            low, high = consumer.get_watermark_offsets(kafka.TopicPartition(prefix + topic, number), timeout=30)
            end = min(offsets.get(place, 0), high)
            above += max(high - max(end, low), 0)
            partitions[place] = []
            if low < end:
                ends[place] = (low, end)
    consumer.assign([kafka.TopicPartition(prefix + topic, number, low) for (topic, number), (low, _) in ends.items()])
    left = set(ends)
    heard = time.monotonic()
    while left:
        # It waits for as many as it may give, so the wait is short.
        messages = consumer.consume(1000, timeout=0.05)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > KAFKA_SILENCE_SECONDS:
            raise SourceError(f"the broker was silent for {KAFKA_SILENCE_SECONDS} s, {sorted(left)} not yet read")
        for message in messages:
            place = (message.topic()[len(prefix) :], message.partition())
            error = message.error()
            if error is not None:
                if error.code() != kafka.KafkaError._PARTITION_EOF:
                    raise SourceError(str(error))
                left.discard(place)
                continue
            if message.offset() < ends[place][1]:
                kind, timestamp = message.timestamp()
                if kind == kafka.TIMESTAMP_NOT_AVAILABLE or timestamp < 0:
                    timestamp = None
                partitions[place].append((message.offset(), timestamp, message.key(), message.value()))
            if message.offset() >= ends[place][1] - 1:
                left.discard(place)
    return partitions, above

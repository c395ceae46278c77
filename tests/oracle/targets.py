"""Where a history goes: `--envelope` files or Kafka."""

import base64
import json
import os
import random

from fields import TOPICS
from jsontext import NotJson, parse

PARTITIONS = 3


def as_partitions(records):
    partitions = {}
    for topic, number, offset, kafka_timestamp, key, value in records:
        partitions.setdefault((topic, number), []).append((offset, kafka_timestamp, key, value))
    return partitions


def envelope(record, pick):
    """One line of an --envelope file; bytes that are no JSON or text, and some that are, as base64."""
    _, number, offset, kafka_timestamp, key, value = record
    fields = [f'"partition":{number}', f'"offset":{offset}']
    if kafka_timestamp is not None:
        fields.append(f'"timestamp_ms":{kafka_timestamp}')
    elif pick.random() < 0.5:
        fields.append(f'"timestamp_ms":{pick.choice((-1, "null"))}')
    if key is not None:
        try:
            text = json.dumps(key.decode("utf-8"), ensure_ascii=pick.random() < 0.5)
            fields.append(f'"key":{text}')
        except UnicodeDecodeError:
            fields.append(f'"key_base64":"{base64.b64encode(key).decode()}"')
    elif pick.random() < 0.5:
        fields.append('"key":null')
    if value is None:
        fields.append('"value":null')
    elif _is_slice(value) and pick.random() < 0.9:
        fields.append(f'"value":{value.decode("utf-8")}')
    else:
        fields.append(f'"value_base64":"{base64.b64encode(value).decode()}"')
    return "{" + ",".join(fields) + "}"


def _is_slice(value):
    """The value can stand in a line as it is, and any reader of JSON will find its bytes again."""
    try:
        text = value.decode("utf-8")
        sent = parse(text)
    except (UnicodeDecodeError, NotJson):
        return False
    # Well below the depth at which a reader may refuse the line rather than the record.
    shallow = text.count("[") + text.count("{") < 100
    return shallow and sent is not None and text == text.strip(" \t\r\n") and "\n" not in text


def write_envelopes(folder, records, seed=0):
    os.makedirs(folder, exist_ok=True)
    pick = random.Random(seed)
    files = {
        topic: open(os.path.join(folder, f"{topic}.ndjson"), "w", encoding="utf-8", newline="\n") for topic in TOPICS
    }
    try:
        for record in records:
            files[record[0]].write(envelope(record, pick) + "\n")
    finally:
        for file in files.values():
            file.close()


def write_kafka(bootstrap, prefix, records, create=True):
    """To Kafka, partitions and timestamps as given; topics are created so that old timestamps stay."""
    import confluent_kafka as kafka
    from confluent_kafka.admin import AdminClient, NewTopic

    if create:
        admin = AdminClient({"bootstrap.servers": bootstrap})
        keep = {
            "retention.ms": "-1",
            "max.message.bytes": str(2 << 20),
            "message.timestamp.after.max.ms": str(2**63 - 1),
        }
        wanted = [NewTopic(prefix + topic, PARTITIONS, 1, config=keep) for topic in TOPICS]
        for future in admin.create_topics(wanted).values():
            try:
                future.result(30)
            except kafka.KafkaException as error:
                if error.args[0].code() != kafka.KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
    producer = kafka.Producer(
        {"bootstrap.servers": bootstrap, "message.max.bytes": 4 << 20, "enable.idempotence": True, "linger.ms": 20}
    )
    failed = []
    for topic, number, _, kafka_timestamp, key, value in records:
        while True:
            try:
                producer.produce(
                    prefix + topic,
                    value=value,
                    key=key,
                    partition=number,
                    timestamp=kafka_timestamp,
                    on_delivery=lambda error, _: failed.append(error) if error else None,
                )
                break
            except BufferError:
                producer.poll(0.5)
        producer.poll(0)
    if producer.flush(120) or failed:
        raise RuntimeError(f"not all was delivered: {failed[:1]}")

"""What is read from real services is what was written to them. Skipped where none are named in the environment."""

import io
import os
import sys
import tempfile
import time
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import compare
import hostile
import sources
import stores
import targets
from test_compare import EPOCH, Written

UNIQUE = f"oracle-{os.getpid()}-{int(time.time())}"


@unittest.skipUnless(os.environ.get("KAFKA_BOOTSTRAP_SERVERS"), "KAFKA_BOOTSTRAP_SERVERS is not set")
class Kafka(unittest.TestCase):
    def test_a_history_comes_back_byte_for_byte(self):
        from confluent_kafka.admin import AdminClient

        servers = os.environ["KAFKA_BOOTSTRAP_SERVERS"]
        prefix = UNIQUE + "-"
        records = hostile.history(21, 2000, kafka_timestamps=True)
        wanted = targets.as_partitions(records)
        admin = AdminClient({"bootstrap.servers": servers})
        try:
            targets.write_kafka(servers, prefix, records)
            ends = {place: log[-1][0] + 1 for place, log in wanted.items()}
            found, above = sources.read_kafka(servers, prefix, ends)
            self.assertEqual(above, 0)
            self.assertEqual({place: log for place, log in found.items() if log}, wanted)
            found, above = sources.read_kafka(servers, prefix, {("sales", 0): 10})
            self.assertEqual((above, found["sales", 0]), (len(records) - 10, wanted["sales", 0][:10]))
        finally:
            for future in admin.delete_topics([prefix + topic for topic in sources.TOPICS]).values():
                future.result(30)


@unittest.skipUnless(os.environ.get("MONGO_URI"), "MONGO_URI is not set")
class Mongo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import pymongo

        cls.client = pymongo.MongoClient(os.environ["MONGO_URI"])
        cls.database = cls.client[UNIQUE]
        cls.addClassCleanup(cls.client.close)
        cls.addClassCleanup(cls.client.drop_database, UNIQUE)
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.written = Written(cls.folder.name)
        for collection, documents in cls.written.collections.items():
            found = [
                {name: cls.as_bson(name, value) for name, value in document.items() if name != "value"}
                | ({"value": document["value"]} if "value" in document else {})
                for document in documents
            ]
            cls.database[collection].insert_many(found)
            for field in stores.INDEXES.get(collection, ()):
                cls.database[collection].create_index(field)

    @classmethod
    def as_bson(cls, name, value):
        from bson import Binary, Decimal128, Int64
        from bson.datetime_ms import DatetimeMS

        if isinstance(value, dict):
            return {inner: cls.as_bson(inner, item) for inner, item in value.items()}
        if isinstance(value, list):
            return [cls.as_bson(name, item) for item in value]
        if isinstance(value, Decimal):
            return Decimal128(value)
        if isinstance(value, bytes):
            return Binary(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        return DatetimeMS(value) if name in stores.TIMES else Int64(value)

    def compare(self):
        source = f"ndjson:{os.path.join(self.written.folder, 'in')}"
        options = ["--from", source, "--envelope", "--store", "mongodb", "--database", UNIQUE, "--final", "--complete"]
        out = io.StringIO()
        equal = compare.compare(compare.arguments([*options, "--raw-data", "on"]), out)
        return equal, out.getvalue()

    def test_what_is_right_and_what_is_not(self):
        from bson import Decimal128

        # raw_data values are written here as text or bytes, which a document should not be.
        self.database["raw_data"].update_many({}, {"$unset": {"value": 1}})
        equal, text = self.compare()
        self.assertFalse(equal)
        kinds = text.splitlines()[-1]
        self.assertRegex(kinds, r"^\d+ differences: \d+ raw_data.value$")

        metrics = self.database["real_time_metrics"]
        changes = (
            ("sales_all", "transactions", 5),
            ("sales_all", "revenue", 1.5),
            ("sales_last_hour", "revenue", "1.5000"),
            ("sales_last_24h", "revenue", Decimal128("1.50001")),
            ("inventory_summary", "timestamp", EPOCH),
            ("data_quality", "users", 3),
        )
        for metric, name, value in changes:
            metrics.update_one({"_id": f"metric|{metric}"}, {"$set": {name: value}})
        self.database["dead_letters"].drop_index("reason_1")
        _, text = self.compare()
        for metric, name, _ in changes:
            self.assertIn(f"real_time_metrics {metric}.{name}: ", text)
        self.assertIn("1 index missing", text)


if __name__ == "__main__":
    unittest.main()

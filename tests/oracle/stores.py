"""The documents of a store as plain dicts in one form, whichever store holds them.

Times are integers of milliseconds, money and other decimals `Decimal`, counts `int`, flags `bool`, bytes `bytes`; a
field that is absent or NULL is left out. What is not stored as it should be stays as an `Odd`, which equals nothing:
then the comparison shows it.
"""

import json
import re
import sqlite3
from decimal import Decimal

COLLECTIONS = ("raw_data", "aggregated_data", "real_time_metrics", "dead_letters", "pipeline_state")
INDEXES = {
    "raw_data": ("timestamp", "topic"),
    "aggregated_data": ("timestamp", "type"),
    "real_time_metrics": ("timestamp",),
    "dead_letters": ("reason", "kafka_timestamp"),
}
DECIMALS = {
    **dict.fromkeys(("revenue", "average_order_value", "amount", "new_revenue", "returning_revenue"), 4),
    "duration_seconds": 3,
    "days_of_supply": 1,
}
TIMES = {"timestamp", "window_end", "as_of", "last_updated", "opened_at", "resolved_at", "committed_at"}
TIMES.add("kafka_timestamp")
NESTED = {"products", "outcomes", "reasons", "offsets", "late_before_ms"}
SMALL_INTEGERS = {"partition", "rank"}
UNTOUCHED = {("raw_data", "value"), ("pipeline_state", "instance"), ("pipeline_state", "fence")}


class StoreError(Exception):
    """The store cannot be read."""


class Odd:
    """A value that is not of the kind it should be."""

    def __init__(self, value, why):
        self.value = value
        self.why = why

    def __repr__(self):
        return f"{self.value!r} ({self.why})"


def open_store(store, database, mongo_uri):
    """`sqlite:FILE` or `mongodb`."""
    if store.startswith("sqlite:"):
        return Sqlite(store[len("sqlite:") :])
    if store == "mongodb":
        return Mongo(mongo_uri, database)
    raise StoreError(f"{store}: neither sqlite:FILE nor mongodb")


class Sqlite:
    def __init__(self, path):
        try:
            self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            self._connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
            self._tables = {name for (name,) in self._query("SELECT name FROM sqlite_master WHERE type = 'table'")}
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error

    def _query(self, statement):
        return self._connection.execute(statement)

    def begin(self):
        """All that is read from here to the end is of one instant."""
        self._query("BEGIN")

    def close(self):
        self._connection.close()

    def documents(self, collection):
        if collection not in self._tables:
            return
        rows = self._query(f'SELECT * FROM "{collection}"')
        names = [column[0] for column in rows.description]
        for row in rows:
            yield {
                name: self._decoded(collection, name, value) for name, value in zip(names, row) if value is not None
            }

    def missing_indexes(self):
        for collection, fields in INDEXES.items():
            if collection not in self._tables:
                continue
            leading = set()
            for index in self._query(f'PRAGMA index_list("{collection}")').fetchall():
                leading.add(self._query(f'PRAGMA index_info("{index[1]}")').fetchone()[2])
            for field in ("_id", *fields):
                if field not in leading and not (field == "_id" and self._is_primary_key(collection)):
                    yield collection, field

    def _is_primary_key(self, collection):
        return any(row[1] == "_id" and row[5] == 1 for row in self._query(f'PRAGMA table_info("{collection}")'))

    def _decoded(self, collection, name, value):
        if (collection, name) in UNTOUCHED:
            return value
        if name in DECIMALS:
            return _decimal_text(value, DECIMALS[name])
        if name in TIMES:
            return value if isinstance(value, int) else Odd(value, "a time should be integer milliseconds")
        if name == "final":
            return bool(value) if value in (0, 1) and isinstance(value, int) else Odd(value, "should be 0 or 1")
        if (name in NESTED and not isinstance(value, int)) or (name == "key" and collection == "aggregated_data"):
            return _nested_text(value)
        return value


def _decimal_text(value, places):
    if isinstance(value, str) and re.fullmatch(rf"(?!-0\.0+$)-?(0|[1-9][0-9]*)\.[0-9]{{{places}}}", value):
        return Decimal(value)
    return Odd(value, f"should be text with {places} decimals")


def _nested_text(value):
    try:
        return _nested(json.loads(value)) if isinstance(value, str) else Odd(value, "should be JSON text")
    except ValueError as error:
        return Odd(value, f"should be JSON text: {error}")


def _nested(value):
    if isinstance(value, list):
        return [_nested(item) for item in value]
    if isinstance(value, dict):
        return {
            name: _decimal_text(item, DECIMALS[name]) if name in DECIMALS else _nested(item)
            for name, item in value.items()
        }
    return value


class Mongo:
    def __init__(self, uri, database):
        import pymongo
        from bson.codec_options import CodecOptions, DatetimeConversion

        self._bson_kinds()
        # DATETIME_MS: a window may end in the year 10000, which Python's own datetime does not know.
        options = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
        try:
            self._client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10_000)
            self._client.admin.command("ping")
            self._database = self._client.get_database(database, codec_options=options)
            self._present = set(self._database.list_collection_names())
        except pymongo.errors.PyMongoError as error:
            raise StoreError(f"database {database}: {error}") from error

    def _bson_kinds(self):
        from bson.datetime_ms import DatetimeMS
        from bson.decimal128 import Decimal128
        from bson.int64 import Int64

        self._date, self._decimal, self._int64 = DatetimeMS, Decimal128, Int64

    def begin(self):
        """Nothing: whoever compares waits until nobody writes."""

    def close(self):
        self._client.close()

    def documents(self, collection):
        for document in self._database[collection].find({}, batch_size=5000):
            yield {
                name: value if (collection, name) in UNTOUCHED else self._decoded(name, value)
                for name, value in document.items()
                if value is not None
            }

    def missing_indexes(self):
        for collection, fields in INDEXES.items():
            if collection in self._present:
                indexes = self._database[collection].index_information().values()
                leading = {index["key"][0][0] for index in indexes}
                yield from ((collection, field) for field in fields if field not in leading)

    def _decoded(self, name, value):
        if isinstance(value, dict):
            return {inner: self._decoded(inner, item) for inner, item in value.items()}
        if isinstance(value, list):
            return [self._decoded(name, item) for item in value]
        if isinstance(value, self._date):
            return int(value) if name in TIMES else Odd(value, "a Date where none should be")
        if name in TIMES:
            return Odd(value, "should be a Date")
        if isinstance(value, self._decimal):
            return value.to_decimal() if name in DECIMALS else Odd(value, "a Decimal128 where none should be")
        if name in DECIMALS:
            return Odd(value, "should be a Decimal128")
        if isinstance(value, self._int64):
            return int(value)
        if type(value) is int and name not in SMALL_INTEGERS:
            return Odd(value, "should be an Int64")
        return value

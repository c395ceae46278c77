"""The comparison finds nothing in a store that is right, and each thing that is wrong in one that is not."""

import contextlib
import io
import json
import os
import sqlite3
import sys
import tempfile
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import compare
import hostile
import metrics
import oracle
import rawvalue
import stores
import targets

EPOCH = 7
BYTES = {"dead_letters": ("key", "value"), "raw_data": ("key",)}


def as_sqlite(name, value):
    """A value as the rules want it in a SQLite column."""
    if isinstance(value, Decimal):
        return f"{value:.{stores.DECIMALS[name]}f}"
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, default=str)
    return value


def raw_value(value):
    try:
        return value.decode() if value is not None and rawvalue.parse(value.decode()) is not None else value
    except (UnicodeDecodeError, rawvalue.NotJson):
        return value


class Written:
    """A SQLite store that holds what the oracle says of a history, and the history beside it."""

    def __init__(self, folder, seed=3, count=250):
        records = hostile.history(seed, count)
        targets.write_envelopes(os.path.join(folder, "in"), records)
        self.folder = folder
        self.path = os.path.join(folder, "store.db")
        result = self.result = oracle.compute(targets.as_partitions(records))
        stamps = {"epoch": EPOCH, "as_of": result.as_of}
        alive = {"state": "open", "message": "m", "opened_at": result.as_of, "times_opened": 1}
        gone = {
            "_id": "alert|low_stock|gone|w",
            "kind": "low_stock",
            "severity": "warning",
            "product_id": "gone",
            "warehouse_id": "w",
        }
        gone |= {**alive, "state": "resolved", "resolved_at": result.as_of}
        live = {"timestamp": result.as_of, **stamps}
        collections = {
            "aggregated_data": [{**document, **stamps} for document in result.aggregated_data.values()],
            "real_time_metrics": [{**document, **live} for document in result.real_time_metrics.values()]
            + [{**alert, **alive, **live, "type": "alert"} for alert in result.alerts.values()]
            + [{**gone, **live, "type": "alert"}],
            "dead_letters": [{**letter, "detail": "d", "epoch": EPOCH} for letter in result.dead_letters.values()],
            "raw_data": [
                {**document, **({"value": raw_value(document["value"])} if "value" in document else {})}
                for document in result.raw_data.values()
            ],
        }
        offsets = {}
        for topic, number, offset, *_ in records:
            offsets.setdefault(topic, {})[str(number)] = offset + 1
        progress = {"_id": "progress", **stamps, "offsets": offsets, "committed_at": 1, "instance": "i", "fence": 1}
        collections["pipeline_state"] = [progress]
        self.collections = collections
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            for collection, documents in collections.items():
                self._write(connection, collection, documents)
            connection.commit()

    def _write(self, connection, collection, documents):
        names = sorted({name for document in documents for name in document} - {"_id"})
        columns = ", ".join(f'"{name}"' for name in names)
        connection.execute(f'CREATE TABLE {collection} ("_id" PRIMARY KEY, {columns})')
        marks = ", ".join("?" * (len(names) + 1))
        rows = [[as_sqlite(name, document.get(name)) for name in ("_id", *names)] for document in documents]
        connection.executemany(f'INSERT INTO {collection} ("_id", {columns}) VALUES ({marks})', rows)
        for field in stores.INDEXES.get(collection, ()):
            connection.execute(f"CREATE INDEX {collection}_{field} ON {collection} ({field})")

    def compare(self, *more, change=None):
        """(equal?, what was printed) after the statement `change`, which is undone again."""
        with contextlib.closing(sqlite3.connect(self.path)) as connection:
            before = connection.serialize()
        try:
            if change:
                with contextlib.closing(sqlite3.connect(self.path)) as connection:
                    changed = connection.execute(change).rowcount
                    connection.commit()
                if changed == 0:
                    raise AssertionError(f"{change} changed nothing")
            source = f"ndjson:{os.path.join(self.folder, 'in')}"
            options = ["--from", source, "--envelope", "--store", f"sqlite:{self.path}", *more]
            out = io.StringIO()
            equal = compare.compare(compare.arguments(options), out)
            return equal, out.getvalue()
        finally:
            with open(self.path, "wb") as file:
                file.write(before)


class Comparison(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.written = Written(cls.folder.name)

    def finds(self, kind, change, *more):
        equal, text = self.written.compare("--final", "--complete", *more, change=change)
        self.assertFalse(equal, change)
        self.assertIn(kind, text, change)

    def test_nothing_in_a_store_that_is_right(self):
        for more in ([], ["--final", "--complete"], ["--profile", "first"], ["--views", "sales_total,stock"]):
            equal, text = self.written.compare(*more)
            self.assertTrue(equal, text)
            self.assertIn("compared: ", text)

    def test_every_field_of_every_kind_of_document(self):
        seen = set()
        documents = {
            "aggregated_data": self.written.result.aggregated_data,
            "real_time_metrics": self.written.result.real_time_metrics,
            "dead_letters": self.written.result.dead_letters,
        }
        for collection, by_id in documents.items():
            for identity, document in by_id.items():
                kind = document.get("name") or document.get("type") or "letter"
                for name, value in document.items():
                    if name == "_id" or (kind, name) in seen:
                        continue
                    seen.add((kind, name))
                    other = {bytes: "x'00'", int: "12345678901"}.get(type(value), "'x'")
                    escaped = identity.replace("'", "''")
                    if "\0" in identity:
                        continue
                    change = f"UPDATE {collection} SET \"{name}\" = {other} WHERE _id = '{escaped}'"
                    wanted = collection if name in ("type", "name") else name
                    with self.subTest(kind=kind, field=name):
                        self.finds(wanted, change)
        self.assertGreater(len(seen), 100)

    def test_documents_missing_and_too_many(self):
        for collection in ("aggregated_data", "real_time_metrics", "dead_letters", "raw_data"):
            some = f"(SELECT min(_id) FROM {collection} WHERE _id NOT LIKE 'alert|%')"
            self.finds("missing", f"DELETE FROM {collection} WHERE _id = {some}")
            self.finds("unexpected", f"UPDATE {collection} SET _id = _id || 'x' WHERE _id = {some}")

    def test_kinds_of_values(self):
        view = "aggregated_data SET {} WHERE _id = (SELECT min(_id) FROM aggregated_data WHERE type = 'sales_total')"
        for change in (
            "revenue = CAST(revenue AS REAL)",
            "revenue = substr(revenue, 1, length(revenue) - 1)",
            "transactions = CAST(transactions AS TEXT)",
            "timestamp = '2024-01-15T10:00:00Z'",
            "final = CAST(final AS TEXT)",
            "final = 1 - final",
            "key = x'7b7d'",
            "key = '{\"a\":1}'",
            "average_order_value = NULL",
            "users = 1",
        ):
            name = change.split(" ")[0]
            self.finds(f"aggregated_data sales_total.{name}", f"UPDATE {view.format(change)}")

    def test_final_only_when_asked(self):
        equal, text = self.written.compare(change="UPDATE aggregated_data SET final = 1 - final")
        self.assertTrue(equal, text)

    def test_stamps(self):
        one = "WHERE _id = (SELECT min(_id) FROM {})"
        for collection in ("aggregated_data", "real_time_metrics"):
            where = one.format(collection)
            self.finds(".epoch", f"UPDATE {collection} SET epoch = {EPOCH + 1} {where}")
            self.finds(".epoch", f"UPDATE {collection} SET epoch = 0 {where}")
            self.finds(".epoch", f"UPDATE {collection} SET epoch = NULL {where}")
            self.finds(".as_of", f"UPDATE {collection} SET as_of = as_of + 1 {where}")
            self.finds("as_of within an epoch", f"UPDATE {collection} SET as_of = as_of - 1 {where}")
        self.finds(".timestamp", "UPDATE real_time_metrics SET timestamp = 1 WHERE name = 'sales_all'")
        later = "SET epoch = CASE WHEN name = 'sales_all' THEN 5 ELSE 6 END, as_of = as_of - (name IS NOT 'sales_all')"
        self.finds("as_of falls", f"UPDATE real_time_metrics {later}")
        self.finds("dead_letters.epoch", f"UPDATE dead_letters SET epoch = 0 {one.format('dead_letters')}")
        self.finds("dead_letters.detail", f"UPDATE dead_letters SET detail = '' {one.format('dead_letters')}")

    def test_progress(self):
        self.finds("progress.as_of", "UPDATE pipeline_state SET as_of = as_of - 1")
        fewer = "json_set(offsets, '$.sales.0', json_extract(offsets, '$.sales.0') - 1)"
        self.finds("not complete", f"UPDATE pipeline_state SET offsets = {fewer}")
        more = fewer.replace("- 1)", "+ 1)")
        self.finds("progress.offsets", f"UPDATE pipeline_state SET offsets = {more}")
        self.finds("no progress", "DELETE FROM pipeline_state")

    def test_raw_data_above_progress_does_not_count(self):
        extra = "INSERT INTO raw_data (_id, topic, partition, offset) VALUES ('sales|0|99999999', 'sales', 0, 99999999)"
        equal, text = self.written.compare(change=extra)
        self.assertTrue(equal, text)
        self.assertIn("raw_data above progress", text)

    def test_raw_data(self):
        good = "WHERE _id = (SELECT min(_id) FROM raw_data WHERE outcome = 'accepted')"
        bad = "WHERE _id = (SELECT min(_id) FROM raw_data WHERE reason IN ('invalid_utf8', 'invalid_json'))"
        self.finds("raw_data.value", f"UPDATE raw_data SET value = '{{}}' {good}")
        self.finds("raw_data.value", f"UPDATE raw_data SET value = NULL {good}")
        self.finds("raw_data.value", f"UPDATE raw_data SET value = CAST(value AS BLOB) {good}")
        self.finds("raw_data.value", f"UPDATE raw_data SET value = CAST(value AS TEXT) {bad}")
        self.finds("raw_data.outcome", f"UPDATE raw_data SET outcome = 'late' {good}")
        self.finds("raw_data.reason", f"UPDATE raw_data SET reason = NULL {bad}")
        self.finds("raw_data.timestamp", f"UPDATE raw_data SET timestamp = timestamp + 1 {good}")
        self.finds("raw_data unexpected", None, "--raw-data", "off")

    def test_alerts(self):
        held = "WHERE state = 'open' AND kind = 'low_stock'"
        gone = "WHERE state = 'resolved'"
        update = "UPDATE real_time_metrics SET"
        self.finds("alert low_stock.state", f"{update} state = 'resolved', resolved_at = opened_at {held}")
        self.finds("alert low_stock.state", f"{update} state = 'open', resolved_at = NULL {gone}")
        self.finds("alert low_stock missing", f"DELETE FROM real_time_metrics {held}")
        self.finds("alert low_stock.severity", f"{update} severity = 'critical' {held}")
        self.finds("alert low_stock.severity", f"{update} severity = 'critical' {gone}")
        self.finds("alert low_stock.message", f"{update} message = NULL {held}")
        self.finds("alert low_stock.times_opened", f"{update} times_opened = 0 {held}")
        self.finds("alert low_stock.opened_at", f"{update} opened_at = as_of + 1 {held}")
        self.finds("alert low_stock.resolved_at", f"{update} resolved_at = NULL {gone}")
        self.finds("alert low_stock.resolved_at", f"{update} resolved_at = opened_at + 1 {held}")
        self.finds("alert low_stock subject", f"{update} warehouse_id = NULL {held}")
        self.finds("alert of an unknown kind", f"{update} kind = 'strange' {gone}")
        equal, text = self.written.compare(change=f"DELETE FROM real_time_metrics {gone}")
        self.assertTrue(equal, text)

    def test_indexes(self):
        for collection, fields in stores.INDEXES.items():
            for field in fields:
                equal, text = self.written.compare(change=f"DROP INDEX {collection}_{field}")
                self.assertFalse(equal)
                self.assertIn("index missing", text)

    def test_a_profile_leaves_the_rest_alone(self):
        for change in (
            "UPDATE aggregated_data SET sessions = 1234567 WHERE type = 'sessions'",
            "DELETE FROM real_time_metrics WHERE name = 'purchases_unmatched' OR type = 'supply'",
            "DELETE FROM real_time_metrics WHERE kind NOT IN ('out_of_stock', 'low_stock')",
        ):
            equal, text = self.written.compare("--profile", "first", change=change)
            self.assertTrue(equal, text)
            self.assertFalse(self.written.compare(change=change)[0])

    def test_other_settings_show(self):
        equal, _ = self.written.compare("--correction-window", "1h")
        self.assertFalse(equal)

    def test_exit_codes(self):
        source = f"ndjson:{os.path.join(self.written.folder, 'in')}"
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            good = ["--from", source, "--envelope", "--store", f"sqlite:{self.written.path}"]
            self.assertEqual(compare.main(good), 0)
            self.assertEqual(compare.main([*good, "--max-future", "0"]), 1)
            self.assertEqual(compare.main([*good[:-1], "sqlite:/nowhere/at.all"]), 2)
            self.assertEqual(compare.main(["--from", "ndjson:/nowhere", *good[2:]]), 2)


class RawValues(unittest.TestCase):
    def bson(self, stored, sent):
        return rawvalue.is_what_was_sent(stored, sent.encode(), json_text=False)

    def test_numbers_in_bson(self):
        self.assertTrue(self.bson({"a": 12}, '{"a":12}'))
        self.assertTrue(self.bson({"a": Decimal("12.50")}, '{"a":12.5}'))
        self.assertTrue(self.bson({"a": 0.1}, '{"a":0.1}'))
        self.assertTrue(self.bson({"a": 1}, '{"a":1.0e0}'))
        self.assertFalse(self.bson({"a": 0.1}, '{"a":0.1000000000000000055511151231257827}'))
        self.assertFalse(self.bson({"a": "12"}, '{"a":12}'))
        self.assertFalse(self.bson({"a": True}, '{"a":1}'))
        self.assertFalse(self.bson({"a": 12}, '{"a":"12"}'))

    def test_what_bson_cannot_hold_is_its_text(self):
        wide = '{"a":1234567890123456789012345678901234567890.5}'
        self.assertTrue(self.bson(wide, wide))
        self.assertTrue(self.bson({"a": "1234567890123456789012345678901234567890.5"}, wide))
        self.assertFalse(self.bson({"a": 1.2345678901234568e39}, wide))
        zeros = '{"a":1' + 40 * "0" + "}"
        self.assertTrue(self.bson(zeros, zeros))
        self.assertTrue(self.bson({"a": Decimal("1e40")}, zeros))
        self.assertTrue(self.bson('{"a":1e6120}', '{"a":1e6120}'))
        self.assertFalse(self.bson('{"a":1e40}', '{"a":1e40}'))
        self.assertTrue(self.bson('{"a":1,"a":2}', '{"a":1,"a":2}'))
        self.assertTrue(self.bson('{"a\\u0000":1}', '{"a\\u0000":1}'))
        self.assertFalse(self.bson('{"a":1}', '{"a":1}'))
        self.assertTrue(self.bson("text", '"text"'))

    def test_bytes_and_nothing(self):
        self.assertTrue(rawvalue.is_what_was_sent(b"\xff", b"\xff", False))
        self.assertTrue(rawvalue.is_what_was_sent(b"", b"", True))
        self.assertFalse(rawvalue.is_what_was_sent(None, b"", True))
        self.assertTrue(rawvalue.is_what_was_sent(None, None, True))
        self.assertFalse(rawvalue.is_what_was_sent(b"{}", b"{}", False))

    def test_json_text(self):
        def same(stored, sent):
            return rawvalue.is_what_was_sent(stored, sent.encode(), json_text=True)

        self.assertTrue(same('{"b":[1.5],"a":"x"}', ' {"a":"\\u0078", "b":[15e-1]} '))
        self.assertFalse(same('{"a":1e400}', '{"a":1e401}'))
        self.assertFalse(same('{"a":1}', '{"a":1,"a":1}'))
        self.assertFalse(same('{"a":"1"}', '{"a":1}'))


class Names(unittest.TestCase):
    def test_durations(self):
        for text, wanted in (("48h", 172_800_000), ("10min", 600_000), ("1h30m", 5_400_000), ("0", 0), ("5 s", 5000)):
            self.assertEqual(compare.duration(text), wanted)
        for text in ("", "h", "5", "5 parsecs", "-5s"):
            self.assertRaises(compare.argparse.ArgumentTypeError, compare.duration, text)

    def test_the_first_profile_is_part_of_the_whole(self):
        self.assertLess(set(oracle.FIRST), set(oracle.ALL_VIEWS))
        self.assertEqual(set(metrics.SEVERITIES), set(metrics.SUBJECTS))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Holds every document of a store against the oracle, field by field, up to the offsets in `progress`.

Exit codes: 0 equal, 1 different, 2 the comparison could not be made.
"""

import argparse
import collections
import contextlib
import gc
import os
import re
import sys
import traceback

import metrics
import oracle
import rawvalue
import sources
import stores
import views

SHOWN = 20
SHOWN_PER_KIND = 5
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
STAMPS = ("epoch", "as_of")
STOCK_OF_ALERT = ("category", "current_stock", "reorder_level", "status")


def duration(text):
    """`48h`, `10min`, `1h30m`, `0` in milliseconds."""
    if text == "0":
        return 0
    parts = re.findall(r"([0-9]+)\s*([a-z]+)", text)
    if not parts or "".join("".join(part) for part in parts) != text.replace(" ", ""):
        raise argparse.ArgumentTypeError(f"{text}: not a duration such as 48h")
    try:
        return sum(int(number) * UNITS[unit] for number, unit in parts)
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"{text}: unknown unit {error}") from None


class Report:
    """Counts differences by kind and keeps the first of each."""

    def __init__(self):
        self.counts = collections.Counter()
        self.samples = []

    def differs(self, kind, text):
        self.counts[kind] += 1
        if len(self.samples) < SHOWN and self.counts[kind] <= SHOWN_PER_KIND:
            self.samples.append(f"{kind}: {text}")


class Progress:
    """The store's own account of what its documents describe."""

    def __init__(self, document):
        self.epoch = document.get("epoch")
        self.as_of = document.get("as_of")
        self.offsets = {}
        offsets = document.get("offsets")
        if not isinstance(self.epoch, int) or not isinstance(offsets, dict):
            raise stores.StoreError(f"progress has no epoch or no offsets: {document}")
        for topic, partitions in offsets.items():
            for number, offset in partitions.items():
                if not isinstance(offset, int):
                    raise stores.StoreError(f"progress has an offset that is no integer: {document}")
                self.offsets[topic, int(number)] = offset

    def __eq__(self, other):
        return (self.epoch, self.offsets) == (other.epoch, other.offsets)


def read_progress(store):
    for document in store.documents("pipeline_state"):
        if document.get("_id") == "progress":
            return Progress(document)
    return None


def read_late_before(store):
    """What `origin` says of partitions that began when windows had left memory."""
    for document in store.documents("pipeline_state"):
        if document.get("_id") == "origin":
            partitions = document.get("late_before_ms") or {}
            return {
                (topic, int(number)): late_before
                for topic, numbers in partitions.items()
                for number, late_before in numbers.items()
            }
    return {}


def shown(value):
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + f"… ({len(text)} characters)"


def same(left, right):
    """Equal and of the same kind, to the innermost."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


class Comparison:
    def __init__(self, report, progress, names, with_final, correction_window_ms, added=()):
        self.report = report
        self.progress = progress
        self.names = frozenset(names)
        self.added = frozenset(added)
        self.with_final = with_final
        self.correction_window_ms = correction_window_ms
        self.compared = collections.Counter()
        self.left_out = collections.Counter()
        self._as_of_by_epoch = {}

    def fields(self, collection, expected, stored, besides=()):
        """Every field of the two, but those named in `besides`."""
        for name in sorted(expected.keys() | stored.keys()):
            if name in besides or (name in expected and name in stored and same(expected[name], stored[name])):
                continue
            wanted = shown(expected[name]) if name in expected else "no such field"
            found = shown(stored[name]) if name in stored else "absent"
            self.report.differs(f"{collection}.{name}", f"{stored['_id']}: expected {wanted}, found {found}")

    def all_of(self, collection, expected, stored_documents, one):
        """Pairs documents by _id and gives each pair to `one`."""
        seen = set()
        for stored in stored_documents:
            identity = stored.get("_id")
            self.compared[collection] += 1
            if identity in seen:
                self.report.differs(f"{collection} twice", identity)
            elif identity not in expected:
                self.report.differs(f"{collection} unexpected", f"{identity}: {shown(stored)}")
            else:
                one(expected[identity], stored)
            seen.add(identity)
        for identity, document in expected.items():
            if identity not in seen:
                self.report.differs(f"{collection} missing", f"{identity}: {shown(document)}")

    def stamps(self, collection, stored):
        """epoch and as_of: possible, and agreeing with all other documents of that epoch."""
        epoch, as_of = stored.get("epoch"), stored.get("as_of")
        self.epoch_only(collection, stored)
        bound = self.progress.as_of
        if not isinstance(bound, int) or not bound:
            if as_of:
                self.report.differs(f"{collection}.as_of", f"{stored['_id']}: {shown(as_of)} before any as_of")
        elif not isinstance(as_of, int) or not 1 <= as_of <= bound:
            # Only a document from before the first accepted record has none.
            if as_of or epoch == self.progress.epoch:
                self.report.differs(f"{collection}.as_of", f"{stored['_id']}: {shown(as_of)} of at most {bound}")
        if isinstance(epoch, int):
            other = self._as_of_by_epoch.setdefault(epoch, as_of)
            if other != as_of:
                text = f"{stored['_id']}: {shown(as_of)}, but another document of epoch {epoch} says {shown(other)}"
                self.report.differs(f"{collection}.as_of within an epoch", text)

    def epoch_only(self, collection, stored):
        epoch = stored.get("epoch")
        if type(epoch) is not int or not 1 <= epoch <= self.progress.epoch:
            text = f"{stored['_id']}: {shown(epoch)} of at most {self.progress.epoch}"
            self.report.differs(f"{collection}.epoch", text)

    def as_of_rises(self):
        history = sorted((epoch, as_of) for epoch, as_of in self._as_of_by_epoch.items() if isinstance(as_of, int))
        for (before, earlier), (epoch, later) in zip(history, history[1:]):
            if later < earlier:
                self.report.differs("as_of falls", f"{earlier} at epoch {before}, {later} at epoch {epoch}")

    def aggregated_data(self, expected, documents):
        besides = STAMPS if self.with_final else (*STAMPS, "final")

        def one(document, stored):
            view = f"aggregated_data {document['type']}"
            self.fields(view, document, stored, besides)
            self.stamps(view, stored)
            if self.with_final and stored.get("final") is True and isinstance(stored.get("as_of"), int):
                if stored["as_of"] < document["window_end"] + self.correction_window_ms:
                    self.report.differs(f"{view}.as_of", f"{stored['_id']}: final before any clock was past it")

        self.all_of("aggregated_data", expected, self._chosen(documents, views.VIEWS), one)

    def _chosen(self, documents, known):
        for document in documents:
            kind = document.get("type")
            if kind in self.added or (kind in known and kind not in self.names):
                self.left_out[kind] += 1
            else:
                yield document

    def real_time_metrics(self, expected, conditions, stock, documents):
        plain, alerts = [], {}
        for document in documents:
            kind, name = document.get("type"), document.get("name")
            if kind == "alert":
                if document.get("kind") in self.names or document.get("kind") not in oracle.ALERTS:
                    alerts[document["_id"]] = document
                else:
                    self.left_out[f"alert {document['kind']}"] += 1
            elif (kind == "metric" and name in metrics.METRICS and name not in self.names) or (
                kind in ("stock", "supply") and kind not in self.names
            ):
                self.left_out[name or kind] += 1
            else:
                plain.append(document)

        def one(document, stored):
            view = f"real_time_metrics {document.get('name', document['type'])}"
            besides = (*STAMPS, "timestamp")
            if document["type"] == "supply" and "product_id" not in stored:
                besides = (*besides, "product_id")
            self.fields(view, document, stored, besides)
            self._live_stamps(view, stored)

        self.all_of("real_time_metrics", expected, plain, one)
        self._alerts(conditions, alerts, stock)

    def _live_stamps(self, view, stored):
        self.stamps(view, stored)
        if stored.get("timestamp") != stored.get("as_of"):
            text = f"{stored['_id']}: {shown(stored.get('timestamp'))}, as_of {shown(stored.get('as_of'))}"
            self.report.differs(f"{view}.timestamp", text)

    def _alerts(self, conditions, alerts, stock):
        levels = {(row.product_id, row.warehouse_id): row for row in stock}
        for identity, condition in conditions.items():
            if identity not in alerts:
                self.report.differs(f"alert {condition['kind']} missing", shown(condition))
        for identity, stored in alerts.items():
            self.compared["alerts"] += 1
            view = f"alert {stored.get('kind')}"
            kind = stored.get("kind")
            if kind not in metrics.SEVERITIES:
                self.report.differs("alert of an unknown kind", identity)
                continue
            should_be = "open" if identity in conditions else "resolved"
            if stored.get("state") != should_be:
                self.report.differs(f"{view}.state", f"{identity}: expected {should_be}, found {stored.get('state')}")
            subject = {name: stored.get(name) for name in metrics.SUBJECTS[kind]}
            if not all(isinstance(value, str) for value in subject.values()):
                self.report.differs(f"{view} subject", f"{identity}: {subject}")
                continue
            wanted = {
                "_id": oracle.joined("alert", kind, *subject.values()),
                "type": "alert",
                "kind": kind,
                "severity": metrics.SEVERITIES[kind],
                **subject,
            }
            free = (*STAMPS, "timestamp", "state", "message", "opened_at", "resolved_at", "times_opened")
            row = levels.get((subject.get("product_id"), subject.get("warehouse_id")))
            if should_be == "open" and row is not None:
                wanted |= {name: getattr(row, name) for name in STOCK_OF_ALERT if name in stored}
            elif kind != "revenue_anomaly":
                free = (*free, *STOCK_OF_ALERT)
            self.fields(view, wanted, stored, free)
            self._live_stamps(view, stored)
            self._alert_history(view, stored)

    def _alert_history(self, view, stored):
        identity = stored["_id"]
        opened, resolved, as_of = stored.get("opened_at"), stored.get("resolved_at"), stored.get("as_of")
        if not isinstance(stored.get("message"), str) or not stored["message"]:
            self.report.differs(f"{view}.message", f"{identity}: {shown(stored.get('message'))}")
        if type(stored.get("times_opened")) is not int or stored["times_opened"] < 1:
            self.report.differs(f"{view}.times_opened", f"{identity}: {shown(stored.get('times_opened'))}")
        if type(opened) is not int or type(as_of) is not int or not 1 <= opened <= as_of:
            self.report.differs(f"{view}.opened_at", f"{identity}: {shown(opened)}, as_of {shown(as_of)}")
            return
        if stored.get("state") == "resolved":
            right = type(resolved) is int and opened <= resolved <= as_of
        else:
            right = resolved is None or (type(resolved) is int and resolved <= opened)
        if not right:
            text = f"{identity}: {shown(resolved)}, opened_at {opened}, as_of {as_of}"
            self.report.differs(f"{view}.resolved_at", text)

    def dead_letters(self, expected, documents):
        def one(document, stored):
            stored = _without_empty_key(stored)
            self.fields("dead_letters", document, stored, ("epoch", "detail"))
            self.epoch_only("dead_letters", stored)
            if not isinstance(stored.get("detail"), str) or not stored["detail"]:
                self.report.differs("dead_letters.detail", f"{stored['_id']}: {shown(stored.get('detail'))}")

        self.all_of("dead_letters", expected, documents, one)

    def raw_data(self, expected, documents, json_text):
        def counted():
            for stored in documents:
                place = (stored.get("topic"), stored.get("partition"))
                offset = stored.get("offset")
                if isinstance(offset, int) and offset >= self.progress.offsets.get(place, 0):
                    self.left_out["raw_data above progress"] += 1
                else:
                    yield stored

        def one(document, stored):
            if isinstance(stored.get("key"), str):
                stored = {**stored, "key": stored["key"].encode("utf-8")}
            stored = _without_empty_key(stored)
            self.fields("raw_data", document, stored, ("value",))
            if not rawvalue.is_what_was_sent(stored.get("value"), document.get("value"), json_text):
                text = f"{stored['_id']}: sent {shown(document.get('value'))}, found {shown(stored.get('value'))}"
                self.report.differs("raw_data.value", text)

        self.all_of("raw_data", expected, counted(), one)


def _without_empty_key(stored):
    return {name: value for name, value in stored.items() if not (name == "key" and value == b"")}


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", required=True, metavar="kafka|ndjson:DIR")
    parser.add_argument("--envelope", action="store_true", help="the lines of the ndjson files are envelopes")
    parser.add_argument("--store", required=True, metavar="sqlite:FILE|mongodb")
    parser.add_argument("--views", help="only these: view types, metrics, alert kinds, stock, supply, raw_data, …")
    parser.add_argument("--added", default="", help="types of documents that are there beside the contract's")
    parser.add_argument("--profile", choices=["first"], help="only the views of the first release")
    parser.add_argument("--final", action="store_true", help="compare `final` too")
    parser.add_argument("--complete", action="store_true", help="records above the committed offsets are a difference")
    parser.add_argument("--raw-data", choices=["on", "off"], default="on")
    parser.add_argument("--correction-window", type=duration, default=duration("48h"))
    parser.add_argument("--max-future", type=duration, default=duration("10min"))
    parser.add_argument("--timezone")
    env = os.environ.get
    parser.add_argument("--topic-prefix", default="")
    parser.add_argument("--bootstrap-servers", default=env("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"))
    parser.add_argument("-X", dest="properties", action="append", default=[], metavar="key=value")
    parser.add_argument("--mongo-uri", default=env("MONGO_URI", "mongodb://localhost:27017/"))
    parser.add_argument("--database", default=env("MONGO_DATABASE", "kafka_pipeline"))
    return parser.parse_args(argv)


def chosen_names(options):
    names = oracle.PROFILES[options.profile]
    if options.views:
        wanted = options.views.split(",")
        unknown = set(wanted) - set(oracle.ALL_VIEWS)
        if unknown:
            raise sources.SourceError(f"unknown views: {', '.join(sorted(unknown))}")
        names = wanted
    return tuple(name for name in names if name != "raw_data" or options.raw_data == "on")


def read_source(options, settings, offsets):
    """(records up to the offsets, how many lie above)."""
    if options.source == "kafka":
        properties = dict(item.split("=", 1) for item in options.properties)
        return sources.read_kafka(options.bootstrap_servers, options.topic_prefix, offsets, properties)
    if not options.source.startswith("ndjson:"):
        raise sources.SourceError(f"{options.source}: neither kafka nor ndjson:DIR")
    folder = options.source[len("ndjson:") :]
    if not os.path.isdir(folder):
        raise sources.SourceError(f"{folder}: no such folder")
    partitions = sources.read_envelopes(folder) if options.envelope else sources.read_plain(folder, settings)
    return sources.up_to(partitions, offsets)


def compare(options, out=None):
    """True if the store says what the oracle says; prints what differs."""
    out = out or sys.stdout
    settings = oracle.Settings(options.correction_window, options.max_future, options.timezone)
    names = chosen_names(options)
    with contextlib.closing(stores.open_store(options.store, options.database, options.mongo_uri)) as store:
        store.begin()
        return _compare(options, settings, names, store, out)


def _compare(options, settings, names, store, out):
    progress = read_progress(store)
    report = Report()
    if progress is None:
        _, above = read_source(options, settings, {})
        if above:
            report.differs("progress missing", f"the store has no progress, the source {above} records")
        return _tell(report, None, above, out)
    partitions, above = read_source(options, settings, progress.offsets)
    if above and options.complete:
        report.differs("not complete", f"{above} records of the source are above the committed offsets")
    for (topic, number), offset in sorted(progress.offsets.items()):
        records = partitions.get((topic, number), [])
        if offset and options.source != "kafka" and (not records or records[-1][0] != offset - 1):
            report.differs("progress.offsets", f"{topic} {number}: {offset} is not one after any record of the source")
    settings.late_before = read_late_before(store)
    result = oracle.compute(partitions, settings, names)
    if (progress.as_of or None) != result.as_of:
        report.differs("progress.as_of", f"expected {result.as_of}, found {progress.as_of}")
    comparison = Comparison(report, progress, names, options.final, options.correction_window, options.added.split(","))
    comparison.aggregated_data(result.aggregated_data, store.documents("aggregated_data"))
    comparison.real_time_metrics(
        result.real_time_metrics, result.alerts, result.stock, store.documents("real_time_metrics")
    )
    comparison.as_of_rises()
    if "dead_letters" in names:
        comparison.dead_letters(result.dead_letters, store.documents("dead_letters"))
    if "raw_data" in names:
        comparison.raw_data(result.raw_data, store.documents("raw_data"), isinstance(store, stores.Sqlite))
    elif options.raw_data == "off":
        for stored in store.documents("raw_data"):
            report.differs("raw_data unexpected", f"{stored.get('_id')}, though raw_data is off")
    for collection, field in store.missing_indexes():
        report.differs("index missing", f"{collection}.{field}")
    if read_progress(store) != progress:
        raise stores.StoreError("the store was written while it was read: stop the writer first")
    return _tell(report, (result, comparison), above, out)


def _tell(report, done, above, out):
    if done is not None:
        result, comparison = done
        outcomes = ", ".join(f"{count} {name}" for name, count in result.outcomes.items() if count)
        print(f"records: {outcomes or 'none'}; {above} above the committed offsets", file=out)
        print("compared: " + ", ".join(f"{n} {name}" for name, n in comparison.compared.items()), file=out)
        if comparison.left_out:
            print("left out: " + ", ".join(f"{n} {name}" for name, n in comparison.left_out.items()), file=out)
    for sample in report.samples:
        print(sample, file=out)
    if report.counts:
        total = sum(report.counts.values())
        print(f"{total} differences: " + ", ".join(f"{n} {kind}" for kind, n in report.counts.most_common()), file=out)
    else:
        print("equal", file=out)
    return not report.counts


def main(argv=None):
    options = arguments(argv)
    gc.disable()  # hundreds of thousands of small documents, no cycles: the collector would only walk them
    try:
        return 0 if compare(options) else 1
    except (sources.SourceError, stores.StoreError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    except Exception:
        # Python's own exit code for this would be 1, "different".
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())

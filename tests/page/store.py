"""Reads the SQLite store beside tillflow, as any other program would.

store.py FILE watch    a line of JSON for each epoch that is seen, until standard input ends
store.py FILE dump     a line of JSON for each document of the views

Nothing is interpreted here beyond SQLite's own types: times are milliseconds, money is text, documents are JSON text.
"""

import json
import os
import sqlite3
import sys
import threading
import time

NESTED = {"key", "products", "outcomes", "reasons", "offsets"}


def connect(path):
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=5)
    connection.row_factory = sqlite3.Row
    return connection


def document(row):
    fields = {}
    for name in row.keys():
        value = row[name]
        if value is None:
            continue
        if name in NESTED and isinstance(value, str):
            value = json.loads(value)
        fields[name] = value
    return fields


def count(connection, where):
    return connection.execute(f"select count(*) from real_time_metrics where {where}").fetchone()[0]


def epoch(connection, progress):
    metrics = connection.execute("select * from real_time_metrics where type = 'metric'")
    severities = connection.execute(
        "select severity, count(*) from real_time_metrics where type = 'alert' and state = 'open' group by severity"
    )
    return {
        "epoch": progress["epoch"],
        "progress": document(progress),
        "metrics": {row["name"]: document(row) for row in metrics},
        "alerts": {severity: number for severity, number in severities},
        "stock": count(connection, "type = 'stock'"),
    }


def watch(path):
    def wait_for_the_end():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    connection = None
    version = seen = None
    while True:
        try:
            connection = connection or connect(path)
            current = connection.execute("pragma data_version").fetchone()[0]
            if current != version:
                connection.execute("begin")
                progress = connection.execute("select * from pipeline_state where _id = 'progress'").fetchone()
                found = None
                if progress is not None and progress["epoch"] != seen:
                    found = epoch(connection, progress)
                connection.execute("commit")
                version = current
                if found:
                    seen = found["epoch"]
                    print(json.dumps(found), flush=True)
        except sqlite3.OperationalError:
            # Not there yet, or without its tables.
            connection = None
        time.sleep(0.01)


def dump(path):
    connection = connect(path)
    connection.execute("begin")
    for collection in ("aggregated_data", "real_time_metrics", "pipeline_state"):
        for row in connection.execute(f"select * from {collection}"):
            print(json.dumps({"collection": collection, "document": document(row)}))


if __name__ == "__main__":
    {"watch": watch, "dump": dump}[sys.argv[2]](sys.argv[1])

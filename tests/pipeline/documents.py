#!/usr/bin/env python3
"""Prints every document of a store, one a line, as JSON: decimals as text, bytes in hexadecimal."""

import argparse
import contextlib
import json
import os
import sys
from decimal import Decimal

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

import stores


def plain(value):
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return repr(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", required=True)
    parser.add_argument("--database", default="")
    parser.add_argument("--mongo-uri", default="")
    options = parser.parse_args()
    with contextlib.closing(stores.open_store(options.store, options.database, options.mongo_uri)) as store:
        store.begin()
        for collection in stores.COLLECTIONS:
            for document in store.documents(collection):
                # A lone surrogate stands for a byte that is no UTF-8; ASCII carries it as an escape.
                print(json.dumps([collection, document["_id"], document], default=plain, sort_keys=True))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Sends a part of a hostile history to Kafka, at a pace. The same seed and count make the same history each time."""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "oracle"))

import hostile
import targets


def paced(records, rate):
    """The records, so many a second; 0 is as fast as it goes."""
    begun = time.monotonic()
    for turn, record in enumerate(records):
        if rate and turn % 20 == 0:
            time.sleep(max(begun + turn / rate - time.monotonic(), 0))
        yield record


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True)
    parser.add_argument("--topic-prefix", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, required=True, help="of the whole history")
    parser.add_argument("--first", type=float, default=0.0, help="where the part begins, from 0 to 1")
    parser.add_argument("--last", type=float, default=1.0, help="where it ends")
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    records = hostile.history(options.seed, options.count, kafka_timestamps=True)
    part = records[round(options.first * len(records)) : round(options.last * len(records))]
    targets.write_kafka(options.bootstrap_servers, options.topic_prefix, paced(part, options.rate))
    print(f"{len(part)} records sent")


if __name__ == "__main__":
    main()

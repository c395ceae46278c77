#!/usr/bin/env python3
"""Histories made to break things: every kind of bad input, every boundary, several days of event time.

The same seed and settings give the same history. It goes to `--envelope` files or to Kafka, with the same partitions,
keys, values and (where Kafka can carry it) timestamps.
"""

import argparse
import datetime
import json
import os
import random
import sys
from decimal import Decimal

from admission import Partition
from compare import duration
from documents import DAY, HOUR, MINUTE
from fields import TIME_MAX, TOPICS, Fault, Sale, read_time
from hostile_values import (
    BAD_MONEY_TEXTS,
    BAD_TIMES,
    BROKEN_VALUES,
    EDGE_MONEY,
    HUGE_MONEY,
    NOT_INTEGERS,
    ODD_NAMES,
)
from oracle import Settings
from targets import PARTITIONS, write_envelopes, write_kafka

START = "2024-01-15T00:00:00Z"


def utc(instant):
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=instant)


def within_time(instant):
    return min(max(instant, 0), TIME_MAX)


class History:
    """Grows record by record; asks admission where the clocks stand, to aim at the boundaries."""

    def __init__(self, seed, settings, start, days, count, kafka_timestamps=False):
        self.random = random.Random(seed)
        self.settings = settings
        self.start = start
        self.count = count
        self.step = max(days * DAY // max(count, 1), 1)
        self.kafka_timestamps = kafka_timestamps
        self.now = start
        self.serial = 0
        self.records = []  # (topic, partition, offset, kafka_timestamp or None, key, value)
        self.partitions = {
            (topic, number): Partition(topic, number, settings) for topic in TOPICS for number in range(PARTITIONS)
        }
        self.next_offset = dict.fromkeys(self.partitions, 0)
        self.purchase = None
        pick = self.random
        self.quiet = {topic: pick.random() < 0.3 for topic in TOPICS}  # its last partition stops early
        odd = list(ODD_NAMES)
        pick.shuffle(odd)
        self.users = [f"user-{n}" for n in range(40)] + odd[:6]
        self.products = [f"product-{n}" for n in range(25)] + odd[6:12]
        self.categories = ["books", "garden", "toys"] + odd[12:15]
        self.stores = ["north", "south"] + odd[15:17]
        self.methods = ["card", "cash"] + odd[17:19]
        self.warehouses = ["W1", "W2"] + odd[19:21]
        self.types = ["login", "logout", "page_view", "page_view", "page_view", "search", "purchase", "add_to_cart"]
        self.types += ["checkout", *odd[21:23]]

    def run(self):
        while len(self.records) < self.count:
            if self.ending():
                # The live ranges, the last hour first of all, should hold more than a handful.
                self.now += self.random.randrange(2 * max(2 * HOUR // max(self.count // 6, 1), 1))
            else:
                self.now += self.random.randrange(2 * self.step)
                if self.random.random() < 0.0005:
                    self.now += self.random.choice((HOUR, 6 * HOUR, DAY))
            self.now = min(self.now, TIME_MAX)
            action = self.random.choices(ACTIONS, WEIGHTS)[0]
            action(self)
        return self.records

    def ending(self):
        return len(self.records) > self.count - self.count // 6

    # What every record goes through.

    def partition(self, topic):
        if self.quiet[topic] and len(self.records) > self.count // 8:
            return self.random.randrange(PARTITIONS - 1)
        return self.random.randrange(PARTITIONS)

    def give(self, topic, number, key, value, event_time=None, kafka_timestamp="near"):
        if kafka_timestamp == "near":
            kafka_timestamp = (event_time or self.now) + self.random.randrange(5000)
            if self.random.random() < 0.04 and not self.kafka_timestamps:
                kafka_timestamp = None
        place = (topic, number)
        offset = self.next_offset[place]
        # A compacted topic has gaps; Kafka itself counts without them, so only files can be given any.
        gap = self.random.randrange(1, 50) if self.random.random() < 0.01 and not self.kafka_timestamps else 0
        offset += gap
        self.next_offset[place] = offset + 1
        self.partitions[place].offer(offset, kafka_timestamp, key, value)
        self.records.append((topic, number, offset, kafka_timestamp, key, value))

    # Spelling.

    def time_text(self, instant):
        """One of the many ways to write an instant."""
        pick = self.random
        moment = utc(instant)
        if self.settings.zone is None and pick.random() < 0.3:
            offset = ""
        elif pick.random() < 0.6:
            offset = pick.choice("ZZZz")
        else:
            minutes = pick.choice((0, 60, -300, 330, 345, 1439, -1439, -210))
            # At the ends of time the local year may not be one of four digits.
            minutes = minutes if 0 <= instant + minutes * MINUTE <= TIME_MAX else 0
            moment += datetime.timedelta(minutes=minutes)
            offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
            if minutes == 0 and pick.random() < 0.5:
                offset = "-00:00"
        text = moment.strftime("%Y-%m-%d") + pick.choice("TTTTt ") + moment.strftime("%H:%M:%S")
        thousandths = instant % 1000
        if thousandths or pick.random() < 0.3:
            digits = f"{thousandths:03}"
            digits = digits.rstrip("0") or "0" if pick.random() < 0.3 else digits
            if len(digits) == 3:
                digits += pick.choice(("", "0", "9", "999999", "499999999999"))
            text += "." + digits
        return text + offset

    def money_text(self, units):
        """JSON text of an amount in 1/10,000."""
        pick = self.random
        plain = str(Decimal(units).scaleb(-4))
        forms = [plain, plain + "0", plain + "00000", f"{units}e-4", f"{units}E-04", f"{units * 10}e-5"]
        if units % 10_000 == 0:
            forms += [str(units // 10_000), f"{units // 10_000}.0", f"{units // 10_000}e0"]
        text = pick.choice(forms)
        return f'"{text}"' if pick.random() < 0.4 else text

    def string_text(self, value):
        pick = self.random
        form = pick.random()
        if form < 0.6:
            return json.dumps(value, ensure_ascii=False)
        if form < 0.8:
            return json.dumps(value)
        units = value.encode("utf-16-be")
        escapes = [f"\\u{units[i]:02{pick.choice('xX')}}{units[i + 1]:02x}" for i in range(0, len(units), 2)]
        return '"' + "".join(escapes) + '"'

    def spelled(self, fields, unknown=True):
        """The bytes of an object: (name, JSON text) pairs in any order, with blanks and unknown fields."""
        pick = self.random
        pairs = list(fields)
        if unknown and pick.random() < 0.15:
            pairs.append(
                pick.choice(
                    (
                        ("note", '"ignored"'),
                        ("", "0"),
                        ("nested", '{"a":[1,{"b":null}],"a":2}'),
                        ("big", "123456789012345678901234567890123456789012345678901234567890"),
                        ("beyond", "1e400"),
                        ("$where", '"x"'),
                        ("a.b", "true"),
                        ("zero\\u0000", "-0"),
                        ("Timestamp", '"not the one"'),
                        ("deep", "[" * 127 + "]" * 127),
                        ("long", "12345678901234567.25"),
                        ("unit", "[0.1,1e-7,-2.5E+3]"),
                    )
                )
            )
        if pick.random() < 0.4:
            pick.shuffle(pairs)
        blank = pick.choice(("", "", "", " ", "\n", " \t\r\n"))
        names = [
            f'"\\u{ord(name[0]):04x}{name[1:]}"' if name and pick.random() < 0.02 and "\\" not in name else f'"{name}"'
            for name, _ in pairs
        ]
        body = f"{blank},{blank}".join(f"{name}{blank}:{blank}{text}" for name, (_, text) in zip(names, pairs))
        return (blank + "{" + blank + body + blank + "}" + blank).encode("utf-8")

    def sale_texts(self, sale):
        return [
            ("transaction_id", self.string_text(sale.transaction_id)),
            ("user_id", self.string_text(sale.user_id)),
            ("product_id", self.string_text(sale.product_id)),
            ("quantity", str(sale.quantity)),
            ("unit_price", self.money_text(sale.unit_price)),
            ("total_amount", self.money_text(sale.total_amount)),
            ("payment_method", self.string_text(sale.payment_method)),
            ("timestamp", json.dumps(self.time_text(sale.timestamp))),
            ("store_id", self.string_text(sale.store_id)),
            ("category", self.string_text(sale.category)),
        ]

    # Records.

    def new_sale(self, timestamp=None, transaction_id=None):
        pick = self.random
        self.serial += 1
        quantity = pick.choice((1, 1, 2, 3, 5, -1, -2))
        price = pick.choice((19_900, 125_000, 49_999, 1, 10_000, 333_333))
        total = quantity * price + pick.choice((0, 0, 0, 0, 0, 100, -100, 101, -101, 5_000))
        if transaction_id is None:
            stem = "tx-" if pick.random() < 0.95 else pick.choice(ODD_NAMES)[:50]
            transaction_id = f"{stem}{self.serial}"
        return Sale(
            transaction_id,
            pick.choice(self.users),
            pick.choice(self.products),
            quantity,
            price,
            total,
            pick.choice(self.methods),
            within_time(self.now - pick.randrange(3 * MINUTE)) if timestamp is None else timestamp,
            pick.choice(self.stores),
            pick.choice(self.categories),
        )

    def give_sale(self, number, sale, kafka_timestamp="near", fields=None):
        key = sale.transaction_id.encode("utf-8")
        if self.random.random() < 0.1:
            key = self.random.choice((None, b"", b"k"))
        value = self.spelled(fields or self.sale_texts(sale))
        self.give("sales", number, key, value, sale.timestamp, kafka_timestamp)

    def known(self, number):
        """A sale that the partition knows, or None."""
        partition = self.partitions["sales", number]
        if not partition.known:
            return None
        recent = list(partition.known)[-200:]
        serial = partition.known_row(self.random.choice(recent))
        return None if serial is None else partition.rows[serial].record

    def sale(self):
        number = self.partition("sales")
        sale = self.new_sale()
        if self.purchase is not None and self.random.random() < 0.5:
            user, product, amount, at = self.purchase
            self.purchase = None
            gap = self.random.choice((0, 1000, 5 * MINUTE, -5 * MINUTE, 5 * MINUTE + 1, -5 * MINUTE - 1))
            sale = sale._replace(user_id=user, product_id=product, total_amount=amount, timestamp=within_time(at + gap))
        self.give_sale(number, sale)

    def same_id_elsewhere(self):
        number = self.partition("sales")
        sale = self.known(number)
        if sale is not None:
            self.give_sale((number + 1) % (PARTITIONS - 1), sale)

    def duplicate(self):
        number = self.partition("sales")
        sale = self.known(number)
        if sale is not None:
            self.give_sale(number, sale)

    def correction(self):
        pick = self.random
        number = self.partition("sales")
        sale = self.known(number)
        if sale is None:
            return
        changes = {
            "quantity": -sale.quantity,
            "total_amount": sale.total_amount + pick.choice((1, -1, 10_000)),
            "unit_price": sale.unit_price + 1,
            "user_id": pick.choice(self.users),
            "product_id": pick.choice(self.products),
            "store_id": pick.choice(self.stores),
            "category": pick.choice(self.categories),
            "payment_method": pick.choice(self.methods),
            "timestamp": within_time(
                sale.timestamp + pick.choice((1, -1, -MINUTE, HOUR, -HOUR, DAY, -DAY, -2 * DAY))
            ),
        }
        if changes["timestamp"] > self.now and (self.ending() or pick.random() < 0.9):
            changes["timestamp"] = within_time(sale.timestamp - HOUR)
        names = pick.sample(sorted(changes), pick.choice((1, 1, 2, 4)))
        changed = sale._replace(**{name: changes[name] for name in names})
        self.give_sale(number, changed, kafka_timestamp=max(self.now, changed.timestamp) + 1000)

    def cancel(self):
        number = self.partition("sales")
        sale = self.known(number)
        if sale is None:
            return
        self.give("sales", number, sale.transaction_id.encode("utf-8"), None)
        if self.random.random() < 0.5:
            self.give_sale(number, sale if self.random.random() < 0.5 else self.new_sale(None, sale.transaction_id))

    def cancel_unknown(self):
        key = self.random.choice((b"never-seen", b"\xff\xfe", b"tx-1", b"|", "é".encode()))
        self.give("sales", self.partition("sales"), key, None)

    def no_key(self):
        topic = self.random.choice(TOPICS)
        self.give(topic, self.partition(topic), self.random.choice((None, b"")), None)

    def null_activity(self):
        self.give("user_activity", self.partition("user_activity"), b"user-1", None)

    def late(self):
        """On the boundary (taken), and a millisecond before it (late)."""
        topic = self.random.choice(("sales", "user_activity"))
        number = self.partition(topic)
        floor = self.partitions[topic, number].floor()
        if floor is None or floor < DAY:
            return
        timestamp = floor - self.random.choice((0, 0, 1, 1, HOUR, DAY))
        if topic == "sales":
            self.give_sale(number, self.new_sale(timestamp), kafka_timestamp=self.now)
        else:
            self.give_activity(number, self.new_activity(timestamp), kafka_timestamp=self.now)

    def future(self):
        """On the boundary (taken), and a millisecond after it (quarantined)."""
        topic = self.random.choice(TOPICS)
        number = self.partition(topic)
        beyond = self.random.choice((0, 0, 1, 1, DAY, 3650 * DAY))
        timestamp = within_time(self.now + self.settings.max_future_ms + beyond)
        if topic == "sales":
            self.give_sale(number, self.new_sale(timestamp), kafka_timestamp=self.now)
        elif topic == "user_activity":
            self.give_activity(number, self.new_activity(timestamp), kafka_timestamp=self.now)
        else:
            self.give_stock(number, self.new_stock(timestamp), timestamp, kafka_timestamp=self.now)

    def late_and_future(self):
        """Older than the window and yet beyond its own Kafka timestamp: late decides."""
        floor = self.partitions["sales", 0].floor()
        if floor is not None and floor > 2 * DAY:
            self.give_sale(0, self.new_sale(floor - 1), kafka_timestamp=floor - DAY)

    def expiry(self):
        """A row at the very end of being known, then a millisecond past it."""
        number = self.partition("sales")
        partition = self.partitions["sales", number]
        if partition.clock is None or partition.clock > self.now:
            return
        window = self.settings.correction_window_ms
        old = self.new_sale(within_time(partition.clock + 1 - window))
        self.give_sale(number, old, kafka_timestamp=self.now + window)
        reach = within_time(old.timestamp + window + self.random.choice((0, 0, 1, 1)))
        self.give_sale(number, self.new_sale(reach), kafka_timestamp=reach)
        follow = self.random.random()
        if follow < 0.3:
            self.give("sales", number, old.transaction_id.encode("utf-8"), None)
        elif follow < 0.6:
            self.give_sale(number, old._replace(timestamp=reach, quantity=7), kafka_timestamp=reach)
        else:
            self.give_sale(number, old, kafka_timestamp=reach)

    def huge(self):
        number = self.partition("sales")
        sale = self.new_sale()
        texts = dict(self.sale_texts(sale))
        for name in ("unit_price", "total_amount"):
            text = self.random.choice(EDGE_MONEY)
            texts[name] = f'"{text}"' if self.random.random() < 0.5 else text
        texts["quantity"] = self.random.choice(("1000000000", "-1000000000", "999999999", "1"))
        self.give_sale(number, sale, fields=list(texts.items()))

    def new_activity(self, timestamp=None):
        pick = self.random
        timestamp = within_time(self.now - pick.randrange(2 * MINUTE)) if timestamp is None else timestamp
        user = pick.choice(self.users)
        # A session lives for some hours of the user, across midnight too, and now and then two users share one.
        session = f"s-{user[:20]}-{(timestamp + 7 * HOUR) // (6 * HOUR)}" if pick.random() < 0.95 else "shared"
        kind = pick.choice(self.types)
        activity = {"user_id": user, "activity_type": kind, "timestamp": timestamp, "session_id": session}
        if kind in ("page_view", "purchase", "add_to_cart") and pick.random() < 0.7:
            activity["product_id"] = pick.choice(self.products)
        if kind == "purchase" and pick.random() < 0.8:
            activity["amount"] = pick.choice((19_900, 125_000, 49_999))
        return activity

    def give_activity(self, number, activity, kafka_timestamp="near", more=()):
        pick = self.random
        fields = [
            (name, self.string_text(activity[name]))
            for name in ("user_id", "activity_type", "session_id", "product_id")
            if name in activity
        ]
        fields.insert(2, ("timestamp", json.dumps(self.time_text(activity["timestamp"]))))
        if "amount" in activity:
            fields.append(("amount", self.money_text(activity["amount"])))
        for name in ("ip_address", "user_agent"):
            if pick.random() < 0.3:
                fields.append((name, pick.choice(("null", '"10.0.0.1"', '""', json.dumps("long" * 200)))))
        if "product_id" not in activity and pick.random() < 0.2:
            fields.append(("product_id", "null"))
        key = activity["user_id"].encode("utf-8")
        value = self.spelled(fields + list(more))
        self.give("user_activity", number, key, value, activity["timestamp"], kafka_timestamp)

    def activity(self):
        activity = self.new_activity()
        if "amount" in activity and "product_id" in activity:
            self.purchase = (activity["user_id"], activity["product_id"], activity["amount"], activity["timestamp"])
        self.give_activity(self.partition("user_activity"), activity)

    def new_stock(self, timestamp=None):
        pick = self.random
        level = pick.choice((0, 10, 50))
        stock = pick.choice((-3, 0, 1, level, level + 1, 200, 1_000_000_000))
        product = pick.choice(self.products)
        if product in self.products[:5]:
            stock = level + pick.choice((1, 2))  # never low, yet gone in a day or two
        return {
            "product_id": product,
            "current_stock": stock,
            "reorder_level": level,
            "last_updated": within_time(self.now - pick.randrange(MINUTE)) if timestamp is None else timestamp,
            "warehouse_id": pick.choice(self.warehouses),
            "category": pick.choice(self.categories),
            "status": pick.choice((None, "null", "in_stock", "low_stock", "out_of_stock", "IN_STOCK", "", "x" * 300)),
        }

    def give_stock(self, number, stock, timestamp, kafka_timestamp="near"):
        fields = [
            ("product_id", self.string_text(stock["product_id"])),
            ("current_stock", str(stock["current_stock"] or self.random.choice(("0", "-0")))),
            ("reorder_level", str(stock["reorder_level"])),
            ("last_updated", json.dumps(self.time_text(timestamp))),
            ("warehouse_id", self.string_text(stock["warehouse_id"])),
            ("category", self.string_text(stock["category"])),
        ]
        if stock["status"] == "null":
            fields.append(("status", "null"))
        elif stock["status"] is not None:
            fields.append(("status", self.string_text(stock["status"])))
        key = stock["product_id"].encode("utf-8")
        self.give("inventory", number, key, self.spelled(fields), timestamp, kafka_timestamp)

    def stock(self):
        stock = self.new_stock()
        self.give_stock(self.partition("inventory"), stock, stock["last_updated"])

    def stock_out_of_order(self):
        """An older reading, days older too: inventory is never late."""
        timestamp = within_time(self.now - self.random.choice((MINUTE, HOUR, DAY, 30 * DAY)))
        self.give_stock(self.partition("inventory"), self.new_stock(), timestamp, kafka_timestamp=self.now)

    def stock_tie(self):
        """The same last_updated twice in a partition, and in another partition."""
        number = self.partition("inventory")
        stock = self.new_stock()
        for place in (number, number, (number + 1) % (PARTITIONS - 1)):
            self.give_stock(place, {**stock, "current_stock": self.random.randrange(100)}, stock["last_updated"])

    def stock_gone(self):
        number = self.partition("inventory")
        product = self.random.choice([*self.products, "never-seen"])
        self.give("inventory", number, product.encode("utf-8"), None)
        if self.random.random() < 0.5:
            timestamp = within_time(self.now - 40 * DAY)
            stock = {**self.new_stock(), "product_id": product}
            self.give_stock(number, stock, timestamp, kafka_timestamp=self.now)

    # What cannot be read.

    def broken(self):
        topic = self.random.choice(TOPICS)
        value = self.random.choice(BROKEN_VALUES)
        if self.random.random() < 0.3:
            value = self.random.randbytes(self.random.randrange(40))
        key = self.random.choice((None, b"", b"key", b"\xff", "é".encode()))
        self.give(topic, self.partition(topic), key, value)

    def bad_field(self):
        """A good record with one field or two at fault."""
        pick = self.random
        topic = pick.choice(TOPICS)
        texts = dict(self.template(topic))
        for _ in range(pick.choice((1, 1, 1, 2))):
            name = pick.choice(sorted(texts))
            texts[name] = self.fault(name)
        fields = [(name, text) for name, text in texts.items() if text is not None]
        if pick.random() < 0.15:
            name, text = pick.choice(fields) if fields else ("x", "1")
            fields.append((pick.choice((name, f"\\u{ord(name[0]):04x}{name[1:]}")), text))
        self.give(topic, self.partition(topic), b"key", self.spelled(fields, unknown=False))

    def fault(self, name):
        pick = self.random
        if pick.random() < 0.3:
            return pick.choice((None, "null"))
        if name in ("timestamp", "last_updated"):
            return pick.choice([json.dumps(text) for text in BAD_TIMES] + ["1705312200", "true", "[]"])
        if name in ("quantity", "current_stock", "reorder_level"):
            return pick.choice((*NOT_INTEGERS, "0", "-0", "1000000001", "-1000000001", "9" * 30))
        if name in ("unit_price", "total_amount", "amount"):
            bad = [json.dumps(text) for text in BAD_MONEY_TEXTS] + ["true", "[]", "{}"]
            return pick.choice(bad + list(HUGE_MONEY) + [f'"{text}"' for text in HUGE_MONEY] + list(EDGE_MONEY))
        if name in ("ip_address", "user_agent", "status"):
            return pick.choice(("1", "[]", "{}", "false", '""'))
        long = pick.choice(("x" * 256, "x" * 257, "é" * 128, "é" * 128 + "x", "\U0001f600" * 65))
        return pick.choice(("1", "true", "[]", "{}", '""', json.dumps(long), json.dumps(long, ensure_ascii=False)))

    def template(self, topic):
        if topic == "sales":
            return self.sale_texts(self.new_sale())
        when = json.dumps(self.time_text(self.now))
        if topic == "inventory":
            return [
                ("product_id", '"product-1"'),
                ("current_stock", "5"),
                ("reorder_level", "10"),
                ("last_updated", when),
                ("warehouse_id", '"W1"'),
                ("category", '"books"'),
                ("status", '"low_stock"'),
            ]
        return [
            ("user_id", '"user-1"'),
            ("activity_type", '"purchase"'),
            ("timestamp", when),
            ("session_id", '"session-1"'),
            ("ip_address", '"::1"'),
            ("user_agent", '"curl"'),
            ("product_id", '"product-1"'),
            ("amount", "12.50"),
        ]

    def local_time(self):
        """Zone-less times on and around the hours where clocks are changed."""
        pick = self.random
        local = utc(self.now)
        local = local.replace(hour=pick.choice((0, 1, 2, 3, local.hour)), minute=pick.choice((0, 29, 30, 59)))
        text = local.strftime(f"%Y-%m-%d{pick.choice('T ')}%H:%M:%S") + pick.choice(("", ".25", ".9999"))
        try:
            timestamp = read_time(text, self.settings.zone)
        except Fault:
            return
        sale = self.new_sale(timestamp)
        texts = dict(self.sale_texts(sale))
        texts["timestamp"] = json.dumps(text)
        self.give_sale(self.partition("sales"), sale, max(self.now, timestamp), fields=list(texts.items()))

    def large(self):
        """A value of exactly 1 MiB, and one a byte longer."""
        value = self.spelled(self.sale_texts(self.new_sale()))
        length = (1 << 20) + self.random.choice((0, 1))
        if self.random.random() < 0.3:
            value = b"\xff"
        self.give("sales", self.partition("sales"), b"large", value.ljust(length))


ACTIONS, WEIGHTS = zip(
    (History.sale, 300),
    (History.activity, 300),
    (History.stock, 80),
    (History.duplicate, 60),
    (History.correction, 80),
    (History.same_id_elsewhere, 10),
    (History.cancel, 20),
    (History.cancel_unknown, 5),
    (History.no_key, 6),
    (History.null_activity, 3),
    (History.late, 30),
    (History.future, 20),
    (History.late_and_future, 3),
    (History.expiry, 5),
    (History.huge, 3),
    (History.stock_out_of_order, 15),
    (History.stock_tie, 8),
    (History.stock_gone, 10),
    (History.broken, 30),
    (History.bad_field, 60),
    (History.local_time, 5),
    (History.large, 0.1),
)


def history(seed, count, days=6, start=START, settings=None, kafka_timestamps=False):
    """`count` records or a few more, in the order in which they are sent."""
    settings = settings or Settings()
    return History(seed, settings, read_time(start, None), days, count, kafka_timestamps).run()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=6, help="of event time")
    parser.add_argument("--start", default=START)
    parser.add_argument("--to", required=True, metavar="ndjson:DIR|kafka")
    parser.add_argument("--correction-window", type=duration, default=duration("48h"))
    parser.add_argument("--max-future", type=duration, default=duration("10min"))
    parser.add_argument("--timezone")
    parser.add_argument("--topic-prefix", default="")
    parser.add_argument("--bootstrap-servers", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092"))
    options = parser.parse_args(argv)
    settings = Settings(options.correction_window, options.max_future, options.timezone)
    to_kafka = options.to == "kafka"
    if not to_kafka and not options.to.startswith("ndjson:"):
        parser.error(f"{options.to}: neither ndjson:DIR nor kafka")
    records = history(options.seed, options.count, options.days, options.start, settings, to_kafka)
    if to_kafka:
        write_kafka(options.bootstrap_servers, options.topic_prefix, records)
    else:
        write_envelopes(options.to[len("ndjson:") :], records, options.seed)
    print(f"{len(records)} records, seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

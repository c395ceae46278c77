"""A value's bytes to a record, or to the reason why it cannot be one.

Money is an integer in 1/10,000; a time is an integer of milliseconds since 1970 UTC.
"""

import datetime
import re
import zoneinfo
from typing import NamedTuple, Optional

from jsontext import NotJson, Num, Obj, parse

VALUE_BYTES_MAX = 1 << 20
IDENTIFIER_BYTES_MAX = 256
INTEGER_MAX = 10**9
MONEY_UNIT = 10**4
MONEY_MAX = 10**11 * MONEY_UNIT

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_MONEY = re.compile(r"(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:([Zz])|([+-])([0-9]{2}):([0-9]{2}))?"
)
_EPOCH_DAY = datetime.date(1970, 1, 1).toordinal()
TIME_MAX = (datetime.date(9999, 12, 31).toordinal() + 1 - _EPOCH_DAY) * 86_400_000 - 1


class Fault(Exception):
    """A record cannot be read: `reason` is one of the rules' names, `field` where it lies, if in a field."""

    def __init__(self, reason, field=None):
        super().__init__(f"{reason} {field or ''}")
        self.reason = reason
        self.field = field


class Sale(NamedTuple):
    transaction_id: str
    user_id: str
    product_id: str
    quantity: int
    unit_price: int
    total_amount: int
    payment_method: str
    timestamp: int
    store_id: str
    category: str


class Activity(NamedTuple):
    user_id: str
    activity_type: str
    timestamp: int
    session_id: str
    ip_address: Optional[str]
    user_agent: Optional[str]
    product_id: Optional[str]
    amount: Optional[int]


class StockLevel(NamedTuple):
    product_id: str
    current_stock: int
    reorder_level: int
    timestamp: int  # last_updated
    warehouse_id: str
    category: str
    status: Optional[str]


def read_identifier(value, _zone):
    if not isinstance(value, str):
        raise Fault("wrong_type")
    if len(value.encode("utf-8")) > IDENTIFIER_BYTES_MAX:
        raise Fault("too_large")
    if value == "":
        raise Fault("out_of_range")
    return value


def read_text(value, _zone):
    if not isinstance(value, str):
        raise Fault("wrong_type")
    return value


def read_integer(value, _zone):
    if not isinstance(value, Num) or not _INTEGER.fullmatch(value.text):
        raise Fault("wrong_type")
    if len(value.text) > 11 or abs(int(value.text)) > INTEGER_MAX:
        raise Fault("out_of_range")
    return int(value.text)


def read_quantity(value, zone):
    quantity = read_integer(value, zone)
    if quantity == 0:
        raise Fault("out_of_range")
    return quantity


def read_money(value, _zone):
    if isinstance(value, Num):
        text = value.text
    elif isinstance(value, str):
        text = value
    else:
        raise Fault("wrong_type")
    number = _MONEY.fullmatch(text)
    if number is None:
        raise Fault("bad_money")
    sign, whole, fraction, exponent = number.groups()
    if exponent is None and len(whole) <= 12 and len(fraction or "") <= 4:
        units = int(whole) * MONEY_UNIT + int((fraction or "").ljust(4, "0"))
    else:
        units = _round_to_units(whole + (fraction or ""), _small_int(exponent or "0") - len(fraction or ""))
    if units > MONEY_MAX:
        raise Fault("out_of_range")
    return -units if sign else units


def _small_int(text):
    """The integer, or one with the same sign that is just as hopeless."""
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lstrip("0") or "0"
    return sign * (int(digits) if len(digits) <= 18 else 10**18)


def _round_to_units(digits, exponent):
    """digits * 10^exponent in units of 1/10,000, half to even; beyond the bound anything beyond it."""
    digits = digits.lstrip("0")
    if not digits:
        return 0
    kept = len(digits) + exponent + 4  # how many digits stand before the rounding place
    if kept > 17:
        return MONEY_MAX + 1
    if kept < 0:
        return 0
    head = int(digits[:kept].ljust(kept, "0") or "0")
    tail = digits[kept:].rstrip("0")
    if tail > "5" or (tail == "5" and head % 2 == 1):
        head += 1
    return head


def read_time(value, zone):
    if not isinstance(value, str):
        raise Fault("wrong_type")
    match = _TIME.fullmatch(value)
    if match is None:
        raise Fault("bad_timestamp")
    year, month, day, hour, minute, second, fraction, zulu, sign, off_hours, off_minutes = match.groups()
    try:
        date = datetime.date(int(year), int(month), int(day))
    except ValueError:
        raise Fault("bad_timestamp") from None
    hour, minute, second = int(hour), int(minute), int(second)
    if hour > 23 or minute > 59 or second > 59:
        raise Fault("bad_timestamp")
    seconds = (date.toordinal() - _EPOCH_DAY) * 86400 + hour * 3600 + minute * 60 + second
    if sign:
        if int(off_hours) > 23 or int(off_minutes) > 59:
            raise Fault("bad_timestamp")
        offset = int(off_hours) * 3600 + int(off_minutes) * 60
        seconds -= offset if sign == "+" else -offset
    elif not zulu and zone is not None:
        # fold=0: the earlier of two, and a skipped time with the offset from before the gap, so forward by the gap.
        local = datetime.datetime(date.year, date.month, date.day, hour, minute, second, tzinfo=zone)
        seconds -= int(local.utcoffset().total_seconds())
    instant = seconds * 1000 + int((fraction or "")[:3].ljust(3, "0"))
    if not 0 <= instant <= TIME_MAX:
        raise Fault("bad_timestamp")
    return instant


def zone_of(name):
    """The zone that zone-less times are in: None for UTC."""
    return None if name in (None, "", "UTC") else zoneinfo.ZoneInfo(name)


_SHAPES = {
    "sales": (
        Sale,
        [
            ("transaction_id", read_identifier),
            ("user_id", read_identifier),
            ("product_id", read_identifier),
            ("quantity", read_quantity),
            ("unit_price", read_money),
            ("total_amount", read_money),
            ("payment_method", read_identifier),
            ("timestamp", read_time),
            ("store_id", read_identifier),
            ("category", read_identifier),
        ],
        [],
    ),
    "user_activity": (
        Activity,
        [
            ("user_id", read_identifier),
            ("activity_type", read_identifier),
            ("timestamp", read_time),
            ("session_id", read_identifier),
        ],
        [
            ("ip_address", read_text),
            ("user_agent", read_text),
            ("product_id", read_identifier),
            ("amount", read_money),
        ],
    ),
    "inventory": (
        StockLevel,
        [
            ("product_id", read_identifier),
            ("current_stock", read_integer),
            ("reorder_level", read_integer),
            ("last_updated", read_time),
            ("warehouse_id", read_identifier),
            ("category", read_identifier),
        ],
        [("status", read_text)],
    ),
}
TOPICS = tuple(_SHAPES)
KEY_FIELDS = {"sales": "transaction_id", "user_activity": "user_id", "inventory": "product_id"}


def read_record(topic, value, zone):
    """The record in `value` (bytes, not None); raises Fault with the first reason that applies."""
    if len(value) > VALUE_BYTES_MAX:
        raise Fault("too_large")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise Fault("invalid_utf8") from None
    try:
        sent = parse(text)
    except NotJson:
        raise Fault("invalid_json") from None
    if not isinstance(sent, Obj):
        raise Fault("wrong_type")
    fields = dict(sent.pairs)
    if len(fields) != len(sent.pairs):
        raise Fault("duplicate_field")
    shape, required, optional = _SHAPES[topic]
    for name, _ in required:
        if fields.get(name) is None:
            raise Fault("missing_field", name)
    read = []
    for name, reader in required + optional:
        given = fields.get(name)
        if given is None:
            read.append(None)
            continue
        try:
            read.append(reader(given, zone))
        except Fault as fault:
            fault.field = name
            raise
    return shape(*read)

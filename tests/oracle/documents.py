"""What documents are made of: ids, windows, decimals.

A document here is a dict: times are integers of milliseconds, money and other decimals are `Decimal`, absent fields
are left out.
"""

import datetime
import functools
from decimal import Decimal

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
GRANULARITIES = {"minute": MINUTE, "hour": HOUR, "day": DAY}


def escaped(value):
    return value.replace("\\", "\\\\").replace("|", "\\|")


def joined(*parts):
    return "|".join(escaped(part) for part in parts)


@functools.lru_cache(maxsize=1 << 17)
def window_name(start):
    """2024-01-15T10:00:00Z"""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=start)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year > 999 else moment.isoformat() + "Z"


def half_even(dividend, divisor):
    """dividend / divisor as the nearest integer, a tie to the even one; divisor > 0."""
    quotient, rest = divmod(dividend, divisor)
    if rest * 2 > divisor or (rest * 2 == divisor and quotient % 2 == 1):
        quotient += 1
    return quotient


def money(units):
    return Decimal(units).scaleb(-4)


def sales_measures(transactions, units, revenue):
    measures = {"transactions": transactions, "units": units, "revenue": money(revenue)}
    if transactions:
        measures["average_order_value"] = money(half_even(revenue, transactions))
    return measures

"""Is a stored raw_data `value` what was sent?"""

from decimal import Decimal

from fields import VALUE_BYTES_MAX
from jsontext import NotJson, Num, Obj, parse

# MongoDB refuses documents nested deeper than 100; a store may give up some levels earlier.
DEPTH_SURE = 90
INT64 = range(-(1 << 63), 1 << 63)


def is_what_was_sent(stored, value, json_text):
    """`stored` as the store gives it, None if absent; `json_text`: the store holds documents as JSON text (SQLite)."""
    if value is None:
        return stored is None
    if stored == value and isinstance(stored, bytes) and len(value) > VALUE_BYTES_MAX:
        return True
    try:
        text = value.decode("utf-8")
        sent = parse(text)
    except (UnicodeDecodeError, NotJson):
        return isinstance(stored, bytes) and stored == value
    if json_text:
        return _same_in_json_text(stored, sent, text)
    if isinstance(stored, str) and stored == text:
        return isinstance(sent, str) or not _fits(sent, 1) or len(value) > VALUE_BYTES_MAX
    return _same(stored, sent)


def _same_in_json_text(stored, sent, text):
    if sent is None:
        return stored in (None, "null")
    if stored == text or (isinstance(sent, str) and stored == sent):
        return True
    if isinstance(stored, (int, float)) and isinstance(sent, bool):
        return stored == int(sent)
    if isinstance(stored, (int, float)):
        return _same(stored, sent)
    try:
        return isinstance(stored, str) and _same_text(parse(stored), sent)
    except NotJson:
        return False


def _same_text(stored, sent):
    if isinstance(stored, Num) and isinstance(sent, Num):
        return canonical(stored.text) == canonical(sent.text)
    if isinstance(sent, Num):
        return isinstance(stored, str) and stored == sent.text and not _holds(sent)
    if isinstance(stored, Obj) and isinstance(sent, Obj):
        if len(stored.pairs) != len(sent.pairs):
            return False
        # A stable sort: fields given twice stay in their order.
        by_name = [sorted(pairs, key=lambda pair: pair[0]) for pairs in (stored.pairs, sent.pairs)]
        return all(a[0] == b[0] and _same_text(a[1], b[1]) for a, b in zip(*by_name))
    if isinstance(stored, list) and isinstance(sent, list):
        return len(stored) == len(sent) and all(map(_same_text, stored, sent))
    return type(stored) is type(sent) and stored == sent


def _same(stored, sent):
    """`stored` is a BSON value."""
    if isinstance(sent, Obj):
        if isinstance(stored, dict):
            # A reader of BSON sees the last of two fields of one name; whether both are there cannot be seen from here.
            last = dict(sent.pairs)
            return stored.keys() == last.keys() and all(_same(stored[name], last[name]) for name in last)
        return False
    if isinstance(sent, list):
        return isinstance(stored, list) and len(stored) == len(sent) and all(map(_same, stored, sent))
    if isinstance(sent, Num):
        return _same_number(stored, sent)
    if isinstance(sent, bool) or sent is None:
        return stored is sent
    return isinstance(stored, str) and stored == sent


def _same_number(stored, sent):
    if isinstance(stored, bool):
        return False
    if isinstance(stored, str):
        return stored == sent.text and not _holds(sent)
    if isinstance(stored, int):
        return canonical(str(int(stored))) == canonical(sent.text)
    if isinstance(stored, float):
        return canonical(repr(stored)) == canonical(sent.text) or (_short(sent) and float(sent.text) == stored)
    if hasattr(stored, "to_decimal"):
        stored = stored.to_decimal()
    return isinstance(stored, Decimal) and stored.is_finite() and canonical(str(stored)) == canonical(sent.text)


def canonical(text):
    """(is negative, significant digits, exponent): the same for all spellings of a number; text is a JSON number."""
    mantissa, _, exponent = text.lower().partition("e")
    negative = mantissa.startswith("-")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return (False, "", 0)
    kept = digits.rstrip("0")
    return (negative, kept, _exponent(exponent) - len(fraction) + len(digits) - len(kept))


def _exponent(text):
    # Exponents of thousands of digits are compared by sign and length alone: Python reads no such integers.
    sign = -1 if text.startswith("-") else 1
    digits = text.lstrip("+-").lstrip("0") or "0"
    return sign * (int(digits) if len(digits) <= 1000 else 10 ** len(digits))


def _short(sent):
    """A double tells it from its neighbours: at most 15 digits, and far from where doubles end."""
    _, digits, exponent = canonical(sent.text)
    return len(digits) <= 15 and -300 < exponent < 290


def _holds(sent):
    """Int64 or Decimal128 hold the number exactly."""
    _, digits, exponent = canonical(sent.text)
    if len(digits) <= 34 and -6176 <= exponent and exponent + len(digits) <= 6145:
        return True
    return len(digits) + exponent <= 19 and exponent >= 0 and int(digits + "0" * exponent) in INT64


def _holds_as_written(sent):
    """The same with every digit: 40 zeros after a 1 are a number that Decimal128 holds, but not as it was sent."""
    mantissa, _, exponent = sent.text.lower().partition("e")
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    return _holds(sent) and len(digits) <= 34 and -6176 <= _exponent(exponent) - len(fraction) <= 6111


def _fits(sent, depth):
    """BSON holds the value as it was sent, in every server's eyes."""
    if depth > DEPTH_SURE:
        return False
    if isinstance(sent, Num):
        return _holds_as_written(sent)
    if isinstance(sent, list):
        return all(_fits(item, depth + 1) for item in sent)
    if isinstance(sent, Obj):
        names = [name for name, _ in sent.pairs]
        plain = not any("\0" in name or "." in name or name.startswith("$") for name in names)
        return plain and len(set(names)) == len(names) and all(_fits(item, depth + 1) for _, item in sent.pairs)
    return True

"""JSON text to values, as strictly as the rules ask.

Numbers stay texts (`Num`), objects stay lists of pairs (`Obj`), so that nothing of what was sent is lost: neither a
digit, nor a field given twice.
"""

import re

DEPTH_MAX = 128

_BLANK = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
# A whole field with a plain name and a plain string or a number, and what follows it: most of what is ever read.
_FIELD = re.compile(
    r'"([^"\\\x00-\x1f]*)"[ \t\n\r]*:[ \t\n\r]*'
    r'(?:"([^"\\\x00-\x1f]*)"|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?))[ \t\n\r]*([,}])[ \t\n\r]*'
)
_TOKEN = re.compile(r'([{}\[\],:]|"(?:[^"\\\x00-\x1f]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null)')
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}


class NotJson(Exception):
    """The text is not JSON, or nested too deeply."""


class Num:
    """A number as it was written."""

    __slots__ = ("text",)

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Num) and self.text == other.text

    __hash__ = None

    def __repr__(self):
        return f"Num({self.text})"


class Obj:
    """An object: its (name, value) pairs in the order given, repeated names included."""

    __slots__ = ("pairs",)

    def __init__(self, pairs):
        self.pairs = pairs

    def __eq__(self, other):
        return isinstance(other, Obj) and self.pairs == other.pairs

    __hash__ = None

    def __repr__(self):
        return f"Obj({self.pairs!r})"


def parse(text):
    """The value that `text` spells; raises NotJson."""
    value, at = _value(text, _BLANK.match(text).end(), 0)
    if _BLANK.match(text, at).end() != len(text):
        raise NotJson(f"something follows the value at character {at}")
    return value


def slices(text):
    """The fields of the object that `text` spells: name -> its value's text, which may be no value any more itself.

    Only where a value ends is looked at: lone surrogates and depth are for its own reader to judge.
    """
    at = _BLANK.match(text).end()
    if text[at : at + 1] != "{":
        raise NotJson("not an object")
    fields = {}
    while text[at : at + 1] != "}":
        at = _BLANK.match(text, at + 1).end()
        if text[at : at + 1] != '"':
            raise NotJson(f"no field name at character {at}")
        name, at = _string(text, at)
        at = _BLANK.match(text, at).end()
        if text[at : at + 1] != ":":
            raise NotJson(f"no colon at character {at}")
        start = _BLANK.match(text, at + 1).end()
        end = _extent(text, start)
        fields[name] = text[start:end]
        at = _BLANK.match(text, end).end()
        if text[at : at + 1] not in (",", "}") or at == len(text):
            raise NotJson(f"neither comma nor end of object at character {at}")
    if _BLANK.match(text, at + 1).end() != len(text):
        raise NotJson(f"something follows the object at character {at}")
    return fields


def _extent(text, at):
    """Where the value ends that starts at `at`."""
    depth = 0
    while True:
        token = _TOKEN.match(text, at)
        if token is None:
            raise NotJson(f"no value at character {at}")
        at = token.end()
        first = token.group(1)
        depth += (first in ("{", "[")) - (first in ("}", "]"))
        if depth <= 0:
            return at if first not in (",", ":") else len(text)
        at = _BLANK.match(text, at).end()


def _value(text, at, depth):
    first = text[at : at + 1]
    if first == '"':
        return _string(text, at)
    if first == "{":
        _descend(depth)
        return _object(text, at, depth + 1)
    if first == "[":
        _descend(depth)
        return _list(text, at, depth + 1)
    if first in _WORDS and first:
        word, value = _WORDS[first]
        if text.startswith(word, at):
            return value, at + len(word)
        raise NotJson(f"unknown word at character {at}")
    number = _NUMBER.match(text, at)
    if number is None:
        raise NotJson(f"no value at character {at}")
    return Num(number.group()), number.end()


def _descend(depth):
    if depth >= DEPTH_MAX:
        raise NotJson(f"nested deeper than {DEPTH_MAX}")


def _object(text, at, depth):
    pairs = []
    at = _BLANK.match(text, at + 1).end()
    if text[at : at + 1] == "}":
        return Obj(pairs), at + 1
    while True:
        field = _FIELD.match(text, at)
        if field is not None:
            name, string, number, mark = field.groups()
            pairs.append((name, Num(number) if string is None else string))
            if mark == "}":
                return Obj(pairs), field.end(4)
            at = field.end()
            continue
        if text[at : at + 1] != '"':
            raise NotJson(f"no field name at character {at}")
        name, at = _string(text, at)
        at = _BLANK.match(text, at).end()
        if text[at : at + 1] != ":":
            raise NotJson(f"no colon at character {at}")
        start = _BLANK.match(text, at + 1).end()
        value, end = _value(text, start, depth)
        pairs.append((name, value))
        at = _BLANK.match(text, end).end()
        mark = text[at : at + 1]
        if mark == "}":
            return Obj(pairs), at + 1
        if mark != ",":
            raise NotJson(f"neither comma nor end of object at character {at}")
        at = _BLANK.match(text, at + 1).end()


def _list(text, at, depth):
    values = []
    at = _BLANK.match(text, at + 1).end()
    if text[at : at + 1] == "]":
        return values, at + 1
    while True:
        value, at = _value(text, at, depth)
        values.append(value)
        at = _BLANK.match(text, at).end()
        mark = text[at : at + 1]
        if mark == "]":
            return values, at + 1
        if mark != ",":
            raise NotJson(f"neither comma nor end of list at character {at}")
        at = _BLANK.match(text, at + 1).end()


def _string(text, at):
    plain = _PLAIN.match(text, at + 1)
    at = plain.end()
    mark = text[at : at + 1]
    if mark == '"':
        return plain.group(), at + 1
    parts = [plain.group()]
    while mark == "\\":
        escape = text[at + 1 : at + 2]
        if escape == "u":
            unit, at = _unit(text, at)
            if 0xD800 <= unit < 0xDC00:
                if text[at : at + 2] != "\\u":
                    raise NotJson(f"lone surrogate before character {at}")
                low, at = _unit(text, at)
                if not 0xDC00 <= low < 0xE000:
                    raise NotJson(f"lone surrogate before character {at}")
                unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            elif 0xDC00 <= unit < 0xE000:
                raise NotJson(f"lone surrogate before character {at}")
            parts.append(chr(unit))
        elif escape in _ESCAPES and escape:
            parts.append(_ESCAPES[escape])
            at += 2
        else:
            raise NotJson(f"unknown escape at character {at}")
        plain = _PLAIN.match(text, at)
        parts.append(plain.group())
        at = plain.end()
        mark = text[at : at + 1]
    if mark != '"':
        raise NotJson(f"string not ended at character {at}")
    return "".join(parts), at + 1


def _unit(text, at):
    digits = _HEX4.match(text, at + 2)
    if digits is None:
        raise NotJson(f"no four hexadecimal digits at character {at}")
    return int(digits.group(), 16), digits.end()

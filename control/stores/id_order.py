"""MongoDB's order of `_id`s, from their exact bytes.

Rules:

- It is the order in which an index with the simple collation gives them. Values that differ in their bytes may have the
  same place: `1` and `1.0`.
- Nothing fails here. What has no place that is known here (an unknown type, bytes that are no value) has the key None,
  and whoever compares has to do without.

>>> id_order(bson.encode({"_id": 1})) == id_order(bson.encode({"_id": 1.0}))     # doctest: +SKIP
True

Source: MongoDB manual, "Comparison/Sort Order"; details as in the server's `bsonelement.cpp` (`compareElements`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from bson.decimal128 import Decimal128

from .raw import NotBsonError, spans

Key = tuple[Any, ...]  # the class of the type, then what decides inside of it

_CLASSES = {
    0xFF: 0, 0x06: 1, 0x0A: 2, 0x01: 3, 0x10: 3, 0x12: 3, 0x13: 3, 0x02: 4, 0x0E: 4, 0x03: 5, 0x04: 6, 0x05: 7, 0x07: 8,
    0x08: 9, 0x09: 10, 0x11: 11, 0x0B: 12, 0x0C: 13, 0x0D: 14, 0x0F: 15, 0x7F: 16,
}  # fmt: skip
_NOT_A_NUMBER: Key = (0,)  # before all numbers
_double, _int32, _int64 = (struct.Struct(code).unpack_from for code in ("<d", "<i", "<q"))


def id_order(ident: bytes) -> Key | None:
    """Where MongoDB's order puts an `_id` (as `id_bytes`); None where that is not known."""
    try:
        kind = ident[4]
        if kind == 0x07:  # most are
            return 8, ident[9:-1]
        return _CLASSES[kind], _KEYS[kind](ident, 9, len(ident) - 1)
    except (LookupError, ValueError, ArithmeticError, struct.error, RecursionError):
        return None


def _nothing(_raw: bytes, _start: int, _end: int) -> Key:
    return ()


def _bytes(raw: bytes, start: int, end: int) -> bytes:
    return raw[start:end]


def _text(raw: bytes, start: int, end: int) -> bytes:
    return raw[start + 4 : end - 1]


def _number(value: Any) -> Key:
    return (1, value) if value == value else _NOT_A_NUMBER


def _of_decimal(raw: bytes, start: int, end: int) -> Key:
    found = Decimal128.from_bid(raw[start:end]).to_decimal()
    return _NOT_A_NUMBER if found.is_nan() else (1, found)


def _binary(raw: bytes, start: int, end: int) -> Key:
    return end - start - 5, raw[start + 4], raw[start + 5 : end]


def _fields(raw: bytes, start: int, end: int) -> Key:
    return tuple((_CLASSES[kind], name, _KEYS[kind](raw, at, stop)) for kind, name, at, stop in spans(raw, start, end))


def _elements(raw: bytes, start: int, end: int) -> Key:
    return tuple((_CLASSES[kind], _KEYS[kind](raw, at, stop)) for kind, _, at, stop in spans(raw, start, end))


def _pattern(raw: bytes, start: int, end: int) -> Key:
    pattern, flags, _ = raw[start:end].split(b"\0")
    return pattern, flags


def _pointer(raw: bytes, start: int, end: int) -> Key:
    return end - start, raw[start:end]


def _code_with_scope(raw: bytes, start: int, end: int) -> Key:
    at = start + 8 + _int32(raw, start + 4)[0]
    if not start + 8 < at <= end:
        raise NotBsonError("a length that cannot be")
    return raw[start + 8 : at - 1], _fields(raw, at, end)


# Numbers of different types compare by their value, which Python does exactly, as the server does.
_KEYS: dict[int, Callable[[bytes, int, int], Any]] = {
    0xFF: _nothing, 0x06: _nothing, 0x0A: _nothing, 0x7F: _nothing,
    0x01: lambda raw, start, _: _number(_double(raw, start)[0]),
    0x10: lambda raw, start, _: _number(_int32(raw, start)[0]),
    0x12: lambda raw, start, _: _number(_int64(raw, start)[0]),
    0x13: _of_decimal,
    0x02: _text, 0x0E: _text, 0x0D: _text,
    0x03: _fields, 0x04: _elements,
    0x05: _binary,
    0x07: _bytes, 0x08: _bytes,
    0x09: lambda raw, start, _: _int64(raw, start)[0],
    0x11: lambda raw, start, end: int.from_bytes(raw[start:end], "little"),
    0x0B: _pattern, 0x0C: _pointer, 0x0F: _code_with_scope,
}  # fmt: skip

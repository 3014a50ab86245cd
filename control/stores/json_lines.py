"""Canonical extended JSON of documents, a line each, read back and compared.

Rules:

- Each line is read back: only where that gives the same bytes it counts as exact. What JSON cannot hold exactly stands
  there all the same, as near as can be, and is named.
- This room imports little: it also runs in helper programs (`json_program.py`).

>>> lines_of(bson.encode({"_id": 1})).text
b'{ "_id" : { "$numberInt" : "1" } }\\n'
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import bsonjs

_length_at = struct.Struct("<i").unpack_from
_LONGEST_ID = 500  # characters of it that are told
_NOT_UTF8 = "holds text that is not UTF-8"
_NOT_EXACT = "holds a value that JSON has no exact form for"


# A document that JSON cannot hold exactly: its line (from 1), its `_id` as JSON, and why.
Remark = tuple[int, str, str]


class Lines(NamedTuple):
    """The lines of some documents, one per document, and which of them are not exact."""

    text: bytes
    inexact: tuple[Remark, ...] = ()


def lines_of(raw: bytes) -> Lines:
    """The lines of whole documents, one after another."""
    dumps, loads, mode = bsonjs.dumps, bsonjs.loads, bsonjs.CANONICAL
    found: list[bytes] = []
    inexact: list[Remark] = []
    at, end = 0, len(raw)
    while at < end:
        size = _length_at(raw, at)[0]
        document = raw[at : at + size]  # no copy where it is all of it
        at += size
        # bsonjs raises on invalid UTF-8 and alters a few values.
        try:
            line = dumps(document, mode=mode)
            if loads(line) == document:
                found.append(line.encode("utf-8", "surrogatepass"))
                continue
        except (ValueError, UnicodeError):
            pass
        line, one = _nearest(document, len(found) + 1)
        found.append(line.encode("utf-8", "surrogatepass"))
        inexact.append(one)
    found.append(b"")
    return Lines(b"\n".join(found), tuple(inexact))


def _nearest(document: bytes, line: int) -> tuple[str, Remark]:
    """The nearest that JSON has, by the driver: slower, and hardly ever needed."""
    from bson import decode, json_util
    from bson.codec_options import CodecOptions, DatetimeConversion
    from bson.errors import InvalidBSON

    late = DatetimeConversion.DATETIME_AUTO
    lenient: CodecOptions[dict[str, object]] = CodecOptions(
        unicode_decode_error_handler="replace", datetime_conversion=late
    )
    content = decode(document, lenient)
    try:
        decode(document, CodecOptions(datetime_conversion=late))
        reason = _NOT_EXACT
    except (InvalidBSON, UnicodeError):
        reason = _NOT_UTF8
    text = json_util.dumps(content, json_options=json_util.CANONICAL_JSON_OPTIONS)
    ident = json_util.dumps(content.get("_id"), json_options=json_util.CANONICAL_JSON_OPTIONS)
    return text, (line, ident[:_LONGEST_ID], reason)

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
from collections.abc import Mapping
from typing import Any, NamedTuple

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


def document_of_line(line: str) -> bytes:
    """The document that a line stands for, exactly where the line is exact."""
    try:
        return bytes(bsonjs.loads(line))
    except ValueError:  # what the driver wrote, in forms that bsonjs does not read
        from bson import encode, json_util
        from bson.codec_options import DatetimeConversion

        options = json_util.JSONOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
        return encode(json_util.loads(line, json_options=options))


def _nearest(document: bytes, line: int) -> tuple[str, Remark]:
    """The nearest that JSON has, by the driver: slower, and hardly ever needed."""
    from bson import decode
    from bson.codec_options import CodecOptions, DatetimeConversion
    from bson.errors import InvalidBSON

    late = DatetimeConversion.DATETIME_AUTO
    lenient: CodecOptions[Mapping[str, Any]] = CodecOptions(
        unicode_decode_error_handler="replace", datetime_conversion=late
    )
    try:
        text, ident = _texts(decode(document, lenient))
    except Exception:  # whatever the driver cannot represent, the record is in the snapshot all the same
        return _field_by_field(document, line, lenient)
    try:
        decode(document, CodecOptions(datetime_conversion=late))
        reason = _NOT_EXACT
    except (InvalidBSON, UnicodeError):
        reason = _NOT_UTF8
    return text, (line, ident[:_LONGEST_ID], reason)


def _field_by_field(document: bytes, line: int, lenient: Any) -> tuple[str, Remark]:
    """What of a document the driver can represent; the bytes of any other value, as a binary.

    MongoDB stores, for one, binaries of the old subtype without the length that belongs into them.
    """
    from bson import Binary, decode

    from .raw import NotBsonError, document_of, fields

    texts: list[str] = []
    ident = "null"
    try:
        for kind, name, value in fields(document):
            try:
                text, one = _texts(decode(document_of([(kind, name, value)]), lenient))
            except Exception:  # as above
                text, one = _texts({name.decode("utf-8", "replace"): Binary(value)})
            texts.append(text[1:-1])
            ident = one if name == b"_id" else ident
    except NotBsonError:
        texts.append(_texts({"": Binary(document)})[0][1:-1])
    return "{" + ", ".join(texts) + "}", (line, ident[:_LONGEST_ID], _NOT_EXACT)


def _texts(content: Mapping[str, Any]) -> tuple[str, str]:
    """A document and its `_id` as canonical JSON."""
    from bson import json_util

    options = json_util.CANONICAL_JSON_OPTIONS
    return json_util.dumps(content, json_options=options), json_util.dumps(content.get("_id"), json_options=options)

"""Documents as bytes: what is needed of them, without decoding the rest.

Rules:

- A record may hold what no driver of Python can represent (dates beyond the year 9999, text that is not UTF-8, the
  same name twice): nothing here fails because of it, and nothing is ever encoded again.
- Bytes that are no document at all raise `NotBsonError`.

>>> id_text(id_bytes(bson.encode({"_id": 5, "title": "A"})))
'5'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

# Bytes of a value by its type. Source: bsonspec.org, version 1.1.
_FIXED = {
    0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0,
}  # fmt: skip
# Beside the length that stands in front: of strings the length field itself, of binaries the subtype too.
_EXTRA = {0x02: 4, 0x03: 0, 0x04: 0, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}
_STRING, _DOCUMENT, _ARRAY, _TIMESTAMP = 0x02, 0x03, 0x04, 0x11
_BOOLEAN, _POINTER, _CODE_WITH_SCOPE = 0x08, 0x0C, 0x0F
_STRINGS = (_STRING, 0x0D, 0x0E)
_SMALLEST = 5  # bytes of a document
DEEPEST = 181  # levels, that of the document too. Source: the server's `bson_depth.h`; tried with MongoDB 6.0
_ZERO = bytes(8)
_LONGEST_TITLE = 120
LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)

Field = tuple[int, bytes, bytes]  # type, name, value


class NotBsonError(ValueError):
    """The bytes are no BSON document."""


def fields(raw: bytes) -> Iterator[Field]:
    """The fields of a document, those inside others not."""
    return ((kind, name, raw[at:end]) for kind, name, at, end in spans(raw, 0, len(raw)))


def spans(raw: bytes, start: int, stop: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Type and name of the fields of the document `raw[start:stop]`, and where their values begin and end in `raw`."""
    at, end = start + 4, stop - 1
    try:
        while at < end:
            kind = raw[at]
            name_end = raw.index(b"\0", at + 1)
            value_end = name_end + 1 + _size_of_value(raw, kind, name_end + 1)
            if value_end > end:
                raise NotBsonError("a value is longer than its document")
            yield kind, raw[at + 1 : name_end], name_end + 1, value_end
            at = value_end
    except (KeyError, ValueError, IndexError) as error:
        raise NotBsonError("not a BSON document") from error


def _size_of_value(raw: bytes, kind: int, at: int) -> int:
    if kind in _FIXED:
        return _FIXED[kind]
    if kind == 0x0B:  # regular expression: two C strings
        return raw.index(b"\0", raw.index(b"\0", at) + 1) + 1 - at
    length = int.from_bytes(raw[at : at + 4], "little")
    return length + _EXTRA[kind]


def field(raw: bytes, path: str) -> bytes | None:
    """The first field of that name (dots lead into documents inside), as the document `{_id: value}`, or None."""
    first, _, rest = path.partition(".")
    for kind, name, value in fields(raw):
        if name == first.encode():
            if rest:
                return field(value, rest) if kind == _DOCUMENT else None
            return document_of([(kind, b"_id", value)])
    return None


MISSING: Field = (0x0A, b"", b"")  # what an index has where a field is not there


def values_at(raw: bytes, path: str) -> Iterator[Field]:
    """What an index has of a document at a path, through arrays, as fields without name; more rather than less."""
    return _values(_DOCUMENT, raw, path.split("."))


def _values(kind: int, value: bytes, path: Sequence[str]) -> Iterator[Field]:
    if not path:
        yield kind, b"", value
        if kind == _ARRAY:
            yield from ((one, b"", inside) for one, _, inside in fields(value))
        return
    first, rest = path[0].encode(), path[1:]
    if kind == _DOCUMENT:
        own = next((one for one in fields(value) if one[1] == first), None)
        yield from [MISSING] if own is None else _values(own[0], own[2], rest)
        return
    members = list(fields(value)) if kind == _ARRAY else []
    if not members:
        yield MISSING
    for one, name, inside in members:
        if name == first:  # a place in the array
            yield from _values(one, inside, rest)
        yield from _values(one, inside, path) if one == _DOCUMENT else [MISSING]


def id_bytes(raw: bytes) -> bytes:
    """The `_id` of a document, exactly: the bytes of the document `{_id: …}`, cut out, not encoded again."""
    if raw[5:9] == b"_id\0":  # it stands first in nearly all documents
        end = 9 + _checked_size(raw, raw[4])
        return (end + 1).to_bytes(4, "little") + raw[4:end] + b"\0"
    found = field(raw, "_id")
    if found is None:
        raise NotBsonError("a document without _id")
    return found


def _checked_size(raw: bytes, kind: int) -> int:
    """The size of the value of an `_id` that stands first."""
    try:
        size = _size_of_value(raw, kind, 9)
    except (KeyError, ValueError, IndexError) as error:
        raise NotBsonError("not a BSON document") from error
    if 9 + size > len(raw) - 1:
        raise NotBsonError("a value is longer than its document")
    return size


def id_text(ident: bytes) -> str:
    """The value that `id_bytes` or `field` stand for, for people and to compare it with ids that are text."""
    try:
        return str(bson.decode(ident, LENIENT)["_id"])
    except Exception:  # whatever Python cannot represent has a name all the same
        return ident[9:-1].hex()


def title_of(raw: bytes) -> str:
    """What people call a document: its title, name or user, where it has one."""
    for key in ("title", "name", "user"):
        if f"\x02{key}\0".encode() in raw and (found := field(raw, key)) is not None and found[4] == _STRING:
            return id_text(found)[:_LONGEST_TITLE]
    return ""


def is_whole(raw: bytes) -> bool:
    """Whether bytes are one document, and whatever is in it is whole, too, and not deeper than the server takes it."""
    waiting = [(0, len(raw), 1)]  # documents, and how deep each lies
    try:
        while waiting:
            start, stop, level = waiting.pop()
            is_framed = stop - start >= _SMALLEST and int.from_bytes(raw[start : start + 4], "little") == stop - start
            if not is_framed or raw[stop - 1] or level > DEEPEST:
                return False
            end = start + 4
            for kind, _, begin, end in spans(raw, start, stop):
                if kind in (_DOCUMENT, _ARRAY):
                    waiting.append((begin, end, level + 1))
                elif kind == _CODE_WITH_SCOPE:
                    at = begin + 8 + int.from_bytes(raw[begin + 4 : begin + 8], "little")
                    if not begin + 8 < at < end or raw[at - 1]:
                        return False
                    waiting.append((at, end, level + 1))
                elif not _is_value(raw, kind, begin, end):
                    return False
            if end != stop - 1:
                return False
    except NotBsonError:
        return False
    return True


def _is_value(raw: bytes, kind: int, start: int, end: int) -> bool:
    """Whether a value that is no document ends as it has to."""
    if kind in _STRINGS:
        return end - start > 4 and not raw[end - 1]
    if kind == _POINTER:
        return end - start > 16 and not raw[end - 13]
    return kind != _BOOLEAN or raw[start] < 2


def has_zero_timestamp(raw: bytes) -> bool:
    """Whether a field of the document, none inside others, is Timestamp(0, 0)."""
    if _ZERO not in raw:  # which is seen at once
        return False
    return any(kind == _TIMESTAMP and not any(value) for kind, _, value in fields(raw))


def is_one(ident: bytes) -> RawBSONDocument:
    """The filter for the record with this very `_id`."""
    return RawBSONDocument(ident)


def is_in(idents: Iterable[bytes]) -> RawBSONDocument:
    """The filter `{_id: {$in: […]}}` for these, each as `id_bytes`."""
    values = [(ident[4], str(number).encode(), ident[9:-1]) for number, ident in enumerate(idents)]
    wanted = document_of([(_ARRAY, b"$in", document_of(values))])
    return RawBSONDocument(document_of([(_DOCUMENT, b"_id", wanted)]))


def document_of(content: Iterable[Field]) -> bytes:
    """The document of these fields."""
    body = b"".join(bytes([kind]) + name + b"\0" + value for kind, name, value in content)
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"

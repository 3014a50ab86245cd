"""Whether the documents of a dump are such as a collection can hold: BSON through and through, each with its own `_id`.

A dump whose digest is right may still be one that nobody dumped. The server would refuse it half-way, when the live
collection is being filled; here it is found while the dump is read.

Rules:

- Of a collection that comes back as a whole each document is looked at and its place (`Soundness`); else each record
  that will be written (`fault_of`).
- What the server takes is never refused here: a snapshot that was made is one that can be restored.
- Documents come in the order of `_id` (`id_order`), so that one that comes twice is next to itself; of dumps in another
  order the ids go into an index on the disk. Nothing else is held.

>>> soundness = Soundness()
>>> soundness.add(run), soundness.fault            # doctest: +SKIP
(None, 'two records with the _id 5')
"""

from __future__ import annotations

import re

import bson
from bson.codec_options import CodecOptions, DatetimeConversion

from .documents import Run, Source
from .id_order import Key, id_order
from .idents import NO_ID, key_text, shown_id
from .pair_index import PairIndex
from .raw import DEEPEST, NotBsonError, fields, id_bytes, is_whole

_LARGEST = 1 << 24  # bytes of a document. Source: MongoDB manual, "MongoDB Limits and Thresholds"
_DOCUMENT, _ARRAY = 0x03, 0x04
_REFERENCE = (b"$ref", b"$id", b"$db")
_SHOWN = 100  # characters of an `_id`
_LEVEL = 7  # bytes that each level needs at least
_AN_ID = re.compile(rb"[\x01-\x13\x7f\xff]_id\x00")
# Only whether it can be decoded is of interest, and this is the fastest way.
_FAST: CodecOptions[dict[str, object]] = CodecOptions(
    unicode_decode_error_handler="replace", datetime_conversion=DatetimeConversion.DATETIME_MS
)


class Soundness:
    """Looks at the documents of one dump, one after another; `fault` is what is wrong with the first that cannot be."""

    def __init__(self, index: PairIndex | None = None) -> None:
        """`index` is for a dump that is in another order than that of `_id`."""
        self.fault = ""
        self._index = index
        self._last: Key | None = None
        self._last_id = b""

    def add(self, run: Run) -> None:
        """The next documents. Raises OSError where the disk does not take the index."""
        if self.fault:
            return
        begin, end = run.start, run.ends[-1]
        has_more_ids = len(_AN_ID.findall(run.raw, begin, end)) > run.count
        for _, raw in run.documents():
            self.fault = _fault_of(raw, has_more_ids=has_more_ids) or self._fault_of_place(id_bytes(raw))
            if self.fault:
                return

    def _fault_of_place(self, ident: bytes) -> str:
        if self._index is not None:
            return "" if self._index.is_new(key_text(ident)) else _twice(ident)
        key, last, last_id = id_order(ident), self._last, self._last_id
        self._last, self._last_id = key, ident
        if key is None or last is None or last < key:
            return ""
        return _twice(ident) if key == last else f"the record {shown_id(ident)} behind {shown_id(last_id)}"


def fault_of(raw: bytes) -> str:
    """Why no collection can hold a document that has an `_id`, and which one it is; empty: it can."""
    found = _fault_of(raw, has_more_ids=len(_AN_ID.findall(raw)) > 1)
    return f"{found} ({shown_id(id_bytes(raw))[:_SHOWN]})" if found else ""


def unsound(source: Source, fault: str) -> Exception:
    """The error for documents of which one has a fault."""
    return source.broken("collection-cut", f"holds what no collection can: {fault}")


def _twice(ident: bytes) -> str:
    return f"two records with the _id {shown_id(ident)}"


def _fault_of(raw: bytes, *, has_more_ids: bool) -> str:
    """Why no collection can hold a document; empty: it can."""
    if len(raw) > _LARGEST:
        return "a record that is larger than MongoDB takes"
    try:
        bson.decode(raw, _FAST)
    except Exception:  # whatever Python cannot represent may be right all the same
        is_bson = is_whole(raw)
    else:  # one that is very deep is long, and has as many bytes that begin a level
        may_be_deep = len(raw) > DEEPEST * _LEVEL and raw.count(b"\x03") + raw.count(b"\x04") >= DEEPEST
        is_bson = not may_be_deep or is_whole(raw)
    if not is_bson:
        return "a record that is not BSON"
    try:
        ident = id_bytes(raw)
    except NotBsonError:
        return "a record without _id"
    if has_more_ids and sum(name == b"_id" for _, name, _ in fields(raw)) > 1:
        return "a record with two _ids"
    if ident[4] in NO_ID:
        return "a record with an _id of a kind that none can have"
    if ident[4] == _DOCUMENT and any(_is_operator(name) for _, name, _ in fields(ident[9:-1])):
        return "a record with an _id of a kind that none can have"
    return ""


def _is_operator(name: bytes) -> bool:
    return name.startswith(b"$") and name not in _REFERENCE

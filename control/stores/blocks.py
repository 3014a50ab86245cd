"""Documents in stretches of about a megabyte: cut out of a server's reply or a dump, told apart by their lengths only.

Rules:

- Nothing is decoded and no object is made per document beyond its bytes: a block is as fast as memory.
- A block ends where a document ends.

>>> batch_of(bson.encode({"cursor": {"firstBatch": [{"_id": 1}], "id": bson.Int64(0)}}))[0].ends
[14]
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .raw import NotBsonError, spans

BLOCK = 1 << 20  # bytes; a single document may be larger
LONGEST = 1 << 26  # no document of MongoDB is as long
_length_at = struct.Struct("<i").unpack_from


@dataclass(frozen=True, slots=True)
class Block:
    """Whole documents, one after another, and where each of them ends; no ends: whoever made it did not look."""

    raw: bytes
    ends: list[int]

    def documents(self) -> Iterator[bytes]:
        at = 0
        for end in self.ends:
            yield self.raw[at:end]
            at = end


def batch_of(reply: bytes) -> tuple[Block, int]:
    """The documents in the reply to `find` or `getMore`, and the number of the cursor (0: there are no more)."""
    cursor = next(((at, end) for _, name, at, end in spans(reply, 0, len(reply)) if name == b"cursor"), None)
    if cursor is None:
        raise NotBsonError("a reply without cursor")
    block, number = Block(b"", []), 0
    for _, name, at, end in spans(reply, *cursor):
        if name in (b"firstBatch", b"nextBatch"):
            block = _elements(reply, at, end)
        elif name == b"id":
            number = int.from_bytes(reply[at:end], "little", signed=True)
    return block, number


def _elements(reply: bytes, start: int, stop: int) -> Block:
    """The documents of an array: between them stand a type, the index as text and a NUL."""
    at, end = start + 4, stop - 1
    digits, enough = 1, 10
    pieces: list[bytes] = []
    ends: list[int] = []
    total = 0
    while at < end:
        at += 2 + digits
        size = _length_at(reply, at)[0]
        pieces.append(reply[at : at + size])
        at += size
        total += size
        ends.append(total)
        if len(ends) == enough:
            digits, enough = digits + 1, enough * 10
    return Block(b"".join(pieces) if len(pieces) != 1 else pieces[0], ends)


def whole_documents(raw: bytes, start: int = 0) -> list[int]:
    """Where the documents in `raw` from `start` on end, as far as they are whole.

    Raises
    ------
    NotBsonError: a length that no document has.
    """
    ends: list[int] = []
    at, most = start, len(raw)
    while at + 4 <= most:
        size = _length_at(raw, at)[0]
        if not 5 <= size <= LONGEST:
            raise NotBsonError("not the length of a document")
        at += size
        if at > most:
            break
        ends.append(at)
    return ends


def documents_of(batches: Iterable[bytes]) -> Iterator[bytes]:
    """The documents of raw batches, as `find_raw_batches` gives them."""
    for raw in batches:
        yield from Block(raw, whole_documents(raw)).documents()


def blocks_of(path: Path, start: int = 0) -> Iterator[Block]:
    """The documents of a dump, from so many bytes on. Raises NotBsonError where it is not whole documents, OSError."""
    rest = b""
    with open(path, "rb") as file:
        file.seek(start)
        while chunk := file.read(BLOCK):
            rest += chunk
            ends = whole_documents(rest)
            if ends:
                yield Block(rest[: ends[-1]], ends)
                rest = rest[ends[-1] :]
    if rest:
        raise NotBsonError("ends too early")

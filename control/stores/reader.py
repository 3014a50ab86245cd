"""Reading documents at one cluster time, in stretches of bytes.

Rules:

- `_id` order, simple collation: two readings can be merged as streams. Where a collection's own collation is another
  one its index has another order, and the server sorts, on its disk where its memory for that is used up.
- Capped collections are read in their own order, as they are now: the server has no snapshots of them.
- What the server keeps for a reading (its cursor) goes when the reading ends, however it ends.

>>> for block in reader.blocks("edition", {}): ...        # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ..model import Instant
from .blocks import BLOCK, Block, batch_of
from .mongo_errors import translated

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
SIMPLE = {"locale": "simple"}
_FIRST = 500  # documents of the first batch; it tells how large they are
_MOST = 50_000


class Reader:
    """Reads the database at one cluster time. Made by `Mongo.pinned`."""

    def __init__(self, database: Database[Any], session: ClientSession, at: Timestamp) -> None:
        self._database = database
        self._session = session
        self._at = at
        self.instant = instant_of(at)

    def blocks(self, collection: str, where: Mapping[str, Any]) -> Iterator[Block]:
        """The documents that match, in stretches, in `_id` order.

        Raises
        ------
        ReadAgainError: the collection is another one than at the instant. UnavailableError: the server, or its history
        of that instant, is gone.
        """
        return self._blocks(
            collection,
            {
                "find": collection,
                "filter": where,
                "sort": {"_id": 1},
                "collation": SIMPLE,
                "allowDiskUse": True,
                "batchSize": _FIRST,
                "noCursorTimeout": True,
                "readConcern": {"level": "snapshot", "atClusterTime": self._at},
            },
        )

    def natural(self, collection: str) -> Iterator[Block]:
        """All documents of a capped collection, in the order in which they came: as they are now, not at the instant.

        Raises
        ------
        ReadAgainError: it was overwritten faster than it could be read.
        """
        return self._blocks(
            collection,
            {
                "find": collection,
                "hint": {"$natural": 1},
                "batchSize": _FIRST,
                "readConcern": {"level": "majority", "afterClusterTime": self._at},
            },
        )

    def _blocks(self, collection: str, command: dict[str, Any]) -> Iterator[Block]:
        block, number = self._ask(collection, command)
        try:
            while True:
                if block.ends:
                    yield block
                if not number:
                    return
                size = len(block.raw) // len(block.ends) if block.ends else BLOCK
                more = {
                    "getMore": bson.Int64(number),
                    "collection": collection,
                    "batchSize": max(1, min(_MOST, BLOCK // size)),
                }
                block, number = self._ask(collection, more)
        finally:
            if number:
                with contextlib.suppress(PyMongoError):
                    self._database.command(
                        {"killCursors": collection, "cursors": [bson.Int64(number)]}, session=self._session
                    )

    def _ask(self, collection: str, command: dict[str, Any]) -> tuple[Block, int]:
        with translated(f"collection {collection}"):
            reply: Any = self._database.command(command, codec_options=RAW, session=self._session)
        return batch_of(reply.raw)


def instant_of(at: Timestamp) -> Instant:
    """A cluster time as a snapshot has it."""
    return Instant(at.time, at.inc, datetime.fromtimestamp(at.time, UTC))

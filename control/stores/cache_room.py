"""How much a transaction may change before the server's cache is too small for it.

Rules:

- What a transaction has changed stays in the cache until it ends, and by the page: one record dirties all of its page.
  When a fifth of the cache is dirty, whoever writes must make room first; a transaction whose own pages are in the way
  is ended by the server, after half a minute of trying.
- A server that tells nothing about its cache is believed to have room; whoever writes finds out.

Sources: WiredTiger, "Cache and eviction tuning" (eviction_dirty_trigger, 20 %); mongodb/mongo,
wiredtiger_record_store.cpp (leaf_page_max=32KB) and wiredtiger_index.cpp (leaf_page_max=16KB). That 12,000 records
spread over a collection of 300 MB do not fit into a cache of 1 GB, and do into one of 2 GB, was measured.

>>> CacheRoom(mongo).holds({"edition": 12_000})      # doctest: +SKIP
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pymongo.errors import OperationFailure

from .mongo import Mongo
from .mongo_errors import translated

_DIRTY = 0.2  # of the cache
_PAGE, _INDEX_PAGE = 32_768, 16_384  # bytes
_TOUCHED = 100_000  # bytes that become dirty for a record with a few indexes
_FEWEST = 100  # records


class CacheRoom:
    """What the server's cache is believed to hold; it is asked once."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo
        self._room = self._told()

    def holds(self, changes: Mapping[str, int]) -> bool:
        """Whether one transaction can carry so many changes of records, by collection."""
        if self._room is None:
            return True
        return sum(self._dirtied(name, count) for name, count in changes.items()) <= self._room

    def batch(self, most: int) -> int:
        """How many records may travel at once, up to `most`."""
        return most if self._room is None else max(min(_FEWEST, most), min(most, self._room // _TOUCHED))

    def _told(self) -> int | None:
        with translated("server"):
            try:
                status = self._mongo.database.command("serverStatus", repl=0, metrics=0, locks=0)
            except OperationFailure:  # not everybody may ask
                return None
        size = status.get("wiredTiger", {}).get("cache", {}).get("maximum bytes configured")
        return None if size is None else int(size * _DIRTY)

    def _dirtied(self, name: str, count: int) -> int:
        """Bytes, where the records are spread by chance: of a small collection or index all of it at most."""
        with translated(f"collection {name}"):
            told = self._mongo.database.command("collStats", name)
        if not told.get("count"):
            return 0  # what comes into an empty collection comes page by page
        indexes = told.get("indexSizes", {}).values()
        return _spread(count, int(told.get("size", 0)), _PAGE) + sum(
            _spread(count, int(size), _INDEX_PAGE) for size in indexes
        )


def _spread(count: int, size: int, page: int) -> int:
    """The bytes of the pages that so many entries lie in, where they are spread by chance."""
    pages = size / page
    return int(size * -math.expm1(-count / pages)) if pages else 0

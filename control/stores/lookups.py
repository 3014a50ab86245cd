"""Looking up live records by their ids, as they are now.

>>> found(mongo, "edition", [item_id])       # doctest: +SKIP
{b'...': b'...'}
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..model import Scope
from .mongo import Mongo
from .mongo_errors import translated
from .raw import id_bytes, is_in
from .reader import RAW, SIMPLE

_MOST, _MOST_BYTES = 2_000, 4_000_000  # ids that one command names


def found(mongo: Mongo, collection: str, ids: Iterable[bytes], only: Sequence[str] = ()) -> dict[bytes, bytes]:
    """The records that are there, by id (as `id_bytes`).

    Parameters
    ----------
    only: the fields that are wanted; none: all of each record.
    """
    wanted = dict.fromkeys(("_id", *only), 1) if only else None
    live = mongo.database.get_collection(collection, codec_options=RAW)
    records: dict[bytes, bytes] = {}
    with translated(f"collection {collection}"):
        for batch in batches(ids):
            raws = (bytes(row.raw) for row in live.find(is_in(batch), wanted, collation=SIMPLE))
            records |= {id_bytes(raw): raw for raw in raws}
    return records


def has_others(mongo: Mongo, owners: Sequence[Scope], collection: str) -> bool:
    """Whether a record of a collection belongs to none of these projects."""
    return _has_any(mongo, collection, {"$nor": [mongo.where(owners, collection)]})


def is_empty(mongo: Mongo, collection: str) -> bool:
    """Whether a collection has no record, as far as all who wrote until now are concerned."""
    return not _has_any(mongo, collection, {})


def _has_any(mongo: Mongo, collection: str, where: dict[str, Any]) -> bool:
    live = mongo.database.get_collection(collection, codec_options=RAW)
    with translated(f"collection {collection}"):
        return next(iter(live.find(where, {"_id": 1}, collation=SIMPLE).limit(1)), None) is not None


def batches(ids: Iterable[bytes]) -> Iterator[list[bytes]]:
    """As many as one command can name: an id may be as large as a record."""
    batch: list[bytes] = []
    size = 0
    for one in ids:
        if batch and (len(batch) >= _MOST or size + len(one) > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one)
    if batch:
        yield batch

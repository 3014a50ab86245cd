"""Scratch collections: where the server judges records that are not in the database yet.

Rules:

- One lies in the control database, holds only the fields that matter, and goes at once. One that was left behind by a
  crash goes with the next.

>>> index = '{"key": {"at": 1}, "partialFilterExpression": {"done": true}}'
>>> meant(mongo, index, raws)       # doctest: +SKIP
{b'...'}
"""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from .mongo import Mongo
from .mongo_errors import translated
from .mongo_write import parts_of
from .raw import document_of, fields, id_bytes
from .reader import RAW, SIMPLE

SUBJECT = "scratch collection"
_NAME = "scratch_"
_LEFT_BEHIND = 3600  # seconds


@contextlib.contextmanager
def scratch_collection(mongo: Mongo, **options: Any) -> Iterator[Collection[RawBSONDocument]]:
    """A new collection with these options, for as long as it is needed."""
    database = mongo.control
    name = f"{_NAME}{int(time.time())}_{secrets.token_hex(6)}"
    with translated(SUBJECT):
        for old in database.list_collection_names(filter={"name": {"$regex": f"^{_NAME}"}}):
            if time.time() - int(old.split("_")[1]) > _LEFT_BEHIND:
                database.drop_collection(old)
        database.command({"create": name, **options})
    try:
        yield database.get_collection(name, codec_options=RAW)
    finally:
        with contextlib.suppress(OperationFailure):
            database.drop_collection(name)


def tops_of(names: Iterable[str], expression: Any) -> frozenset[bytes]:
    """The fields at the top of a record that an index of these names, or its filter (as extended JSON), looks at."""
    every = (*names, *_names_in(expression), "_id")
    return frozenset(name.partition(".")[0].encode() for name in every)


def pruned(raw: bytes, tops: frozenset[bytes]) -> RawBSONDocument:
    """A record with these fields only."""
    return RawBSONDocument(document_of([one for one in fields(raw) if one[1] in tops]))


def meant(mongo: Mongo, index: str, raws: Iterable[bytes]) -> set[bytes]:
    """The `_id`s (as `id_bytes`) of those records that a partial index is about; `index` is its description."""
    filter_text = json.loads(index)["partialFilterExpression"]
    parts = parts_of(index)
    tops = tops_of((), filter_text)
    documents = [pruned(raw, tops) for raw in raws]
    if not documents:
        return set()
    collation = dict(parts.get("collation", SIMPLE))
    with scratch_collection(mongo) as target, translated(SUBJECT):
        target.insert_many(documents, ordered=False)
        found = target.find(parts["partialFilterExpression"], {"_id": 1}, collation=collation)
        return {id_bytes(bytes(one.raw)) for one in found}


def _names_in(expression: Any) -> Iterator[str]:
    if isinstance(expression, dict):
        for name, inside in expression.items():
            if name.startswith("$"):
                yield from _names_in(inside)
            else:
                yield name
    elif isinstance(expression, list):
        for one in expression:
            yield from _names_in(one)

"""Unique indexes: which live records may hold a unique value that others want, and whether they do.

Rules:

- The server judges. Questions are asked in the collation of the index, and find too much rather than too little; what
  they find is then put beside the wanted records into a scratch collection (`scratch.py`) with the same index.
- Every value may be asked for, with whatever type: nothing of a record is decoded or encoded again.

Source: MongoDB manual, "Unique Indexes", "Sparse Indexes", "Multikey Indexes": a field that is missing counts as null,
unless the index is sparse and all are missing; each member of an array counts, and an empty array.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from .mongo import Mongo
from .mongo_errors import translated
from .mongo_write import parts_of
from .raw import MISSING, Field, document_of, id_bytes, is_in, values_at
from .reader import RAW, SIMPLE
from .scratch import SUBJECT, pruned, scratch_collection, tops_of

_DOCUMENT, _ARRAY, _UNDEFINED, _NULL, _REGEX = 0x03, 0x04, 0x06, 0x0A, 0x0B
_AS_ONE = (_DOCUMENT, _ARRAY, _REGEX)  # `$in` would look into these, or refuse them
_NOT_PLAIN = (*_AS_ONE, _NULL, _UNDEFINED)
_MOST_COMBINATIONS = 4  # of values, for each record that is asked for
_DUPLICATE = 11000
_RULES = ("key", "unique", "prepareUnique", "sparse", "partialFilterExpression", "collation")
_ID = "_id_"
# Numbers; strings and symbols; documents, and code that has one.
_WITH_EQUALS = (0x01, 0x10, 0x12, 0x13, 0x02, 0x0E, _DOCUMENT, 0x0F)


@dataclass(frozen=True, slots=True)
class UniqueIndex:
    """One unique index of a collection; `text` is its description, `rules` what decides about what is unique."""

    name: str
    text: str
    fields: tuple[str, ...]
    rules: str

    @property
    def collation(self) -> Any:
        return dict(parts_of(self.text).get("collation", SIMPLE))

    @property
    def is_sparse(self) -> bool:
        return bool(json.loads(self.text).get("sparse"))

    @property
    def partial(self) -> Any:
        """The filter for the records that it is about; None: all."""
        return parts_of(self.text).get("partialFilterExpression")

    @property
    def tops(self) -> frozenset[bytes]:
        """The fields at the top of a record that it looks at."""
        return tops_of(self.fields, json.loads(self.text).get("partialFilterExpression", {}))


ID_INDEX = UniqueIndex(_ID, json.dumps({"key": {"_id": {"$numberInt": "1"}}, "name": _ID}), ("_id",), "")
"""That of `_id` in each collection: of ids that differ in bytes it takes some for the same."""


def may_have_equals(ident: bytes) -> bool:
    """Whether an `_id` of other bytes (as `id_bytes`) may be the same one to the server: 5 and 5.0, {a: 5} and
    {a: 5.0}, a text and a symbol."""
    return ident[4] in _WITH_EQUALS


def unique_indexes(descriptions: str) -> tuple[UniqueIndex, ...]:
    """Those of a collection, from the JSON list of its indexes. That of `_id` only where it has a collation: then more
    ids are equal than by `ID_INDEX`."""
    found = []
    for one in json.loads(descriptions):
        unique = one.get("unique") or one.get("prepareUnique") or (one["name"] == _ID and "collation" in one)
        if unique and not one.get("clustered") and all(isinstance(kind, dict) for kind in one["key"].values()):
            rules = json.dumps({key: one.get(key) for key in _RULES})
            found.append(UniqueIndex(one["name"], json.dumps(one), tuple(one["key"]), rules))
    return tuple(found)


# --- asking


def holders(mongo: Mongo, collection: str, index: UniqueIndex, wanted: Iterable[bytes]) -> set[bytes]:
    """The `_id`s (as `id_bytes`) of the live records that may hold what these records need under an index."""
    return _holders(mongo.database.get_collection(collection, codec_options=RAW), index, wanted)


def _holders(live: Collection[RawBSONDocument], index: UniqueIndex, wanted: Iterable[bytes]) -> set[bytes]:
    clauses = _clauses(index, wanted)
    if not clauses:
        return set()
    parts: list[Any] = [clauses[0] if len(clauses) == 1 else {"$or": clauses}]
    if (partial := index.partial) is not None:
        parts.append(partial)
    with translated(f"collection {live.name}"):
        rows = live.find({"$and": parts}, {"_id": 1}, collation=index.collation)
        return {id_bytes(bytes(row.raw)) for row in rows}


def _clauses(index: UniqueIndex, wanted: Iterable[bytes]) -> list[Any]:
    """The filters for whatever may hold the same as these records, of which any may match.

    Records with plain values only are asked for together, each field by all of its values: the server plans one such
    question a hundred times as fast as one for each record. That finds other combinations too; where there are many
    of these, each record is asked for by itself.
    """
    together: list[list[list[Field]]] = []
    clauses = []
    for raw in wanted:
        values = [list(values_at(raw, path)) for path in index.fields]
        if index.is_sparse and all(all(one is MISSING for one in some) for some in values):
            continue
        if all(one[0] not in _NOT_PLAIN for some in values for one in some):
            together.append(values)
        else:
            clauses.append(_clause(index, values))
    merged = [list(dict.fromkeys(itertools.chain(*some))) for some in zip(*together, strict=True)]
    if math.prod(map(len, merged)) <= _MOST_COMBINATIONS * len(together):
        return [*clauses, *([_clause(index, merged)] if together else [])]
    return clauses + [_clause(index, values) for values in together]


def _clause(index: UniqueIndex, values: Iterable[Sequence[Field]]) -> Any:
    conditions = [_condition(path, some) for path, some in zip(index.fields, values, strict=True)]
    return conditions[0] if len(conditions) == 1 else {"$and": conditions}


def _condition(path: str, values: Sequence[Field]) -> Any:
    name = path.encode()
    plain = [one for one in values if one[0] not in _NOT_PLAIN]
    ways: list[Any] = [
        RawBSONDocument(document_of([(_DOCUMENT, name, document_of([(kind, b"$eq", value)]))]))
        for kind, _, value in values
        if kind in _AS_ONE
    ]
    if plain:
        members = document_of([(kind, str(at).encode(), value) for at, (kind, _, value) in enumerate(plain)])
        ways.append(RawBSONDocument(document_of([(_DOCUMENT, name, document_of([(_ARRAY, b"$in", members)]))])))
    if any(kind in (_NULL, _UNDEFINED) for kind, _, _ in values):
        ways += [{path: None}, {path: {"$exists": False}}]
    return ways[0] if len(ways) == 1 else {"$or": ways}


# --- judging


class Scratch:
    """A collection with one index of another, to see what of records goes together."""

    def __init__(self, target: Collection[RawBSONDocument], index: UniqueIndex) -> None:
        self._target = target
        self._index = index

    def put(self, raws: Iterable[bytes]) -> list[int]:
        """Put records in; the places, in `raws`, of those that the index refuses."""
        documents = [pruned(raw, self._index.tops) for raw in raws]
        with translated(SUBJECT):
            try:
                if documents:
                    self._target.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                failed = error.details.get("writeErrors", [])
                if not failed or any(one["code"] != _DUPLICATE for one in failed):
                    raise
                return sorted(one["index"] for one in failed)
        return []

    def take(self, ids: Iterable[bytes]) -> None:
        """Take records out again."""
        with translated(SUBJECT):
            self._target.delete_many(is_in(ids), collation=SIMPLE)

    def holders(self, raws: Iterable[bytes]) -> set[bytes]:
        """The records in it that may hold what these need."""
        return _holders(self._target, self._index, raws)


@contextlib.contextmanager
def scratch(mongo: Mongo, index: UniqueIndex) -> Iterator[Scratch]:
    """A scratch collection, for as long as it is needed."""
    parts = parts_of(index.text)
    own = {"collation": index.collation} if index.name == _ID else {}
    with scratch_collection(mongo, **own) as target:
        if index.name != _ID:
            with translated(SUBJECT):
                indexes = [{"collation": SIMPLE, **parts}]
                mongo.control.command({"createIndexes": target.name, "indexes": indexes})
        yield Scratch(target, index)

"""A project that comes to be in the application's database: its id, its records, and their removal if it shall not be.

Rules:

- Its own record comes last, in the transaction that makes it visible: who finds that record finds all of them.
- What is removed is found by the project's id in the configured field, and nothing else is.

>>> NewProject(mongo, writer, Scope.project("65a1…")).require_free()        # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import InvalidError, NotFoundError
from ..model import Scope
from ..scope_settings import ProjectSettings
from .mongo import DURABLE, Mongo
from .mongo_errors import translated
from .mongo_write import MongoWriter, RecordChange
from .raw import id_bytes, is_in
from .reader import RAW, SIMPLE

_MOST_CHANGES, _MOST_BYTES = 50_000, 16_000_000  # of one transaction; as a restore has them
_LOOKUP = 500

Stored = tuple[str, bytes]  # collection, document


class NewProject:
    """One project; `scope` is the one that it shall be."""

    def __init__(self, mongo: Mongo, writer: MongoWriter, project: ProjectSettings, scope: Scope) -> None:
        self._mongo = mongo
        self._writer = writer
        self._scope = scope
        self._own = project.own_collection or "project"
        self._collections = tuple(project.collections)

    def require_free(self) -> None:
        """Raise InvalidError where the id is that of a project, or of records that belong to none."""
        try:
            found = [name for name in self._collections if self._first(name)]
        except NotFoundError as error:  # no id of the configured kind
            hint = "Leave it out, and one is chosen; nothing was made."
            raise InvalidError("This cannot be the id of a project.", subject="new_id", hint=hint) from error
        if found:
            raise InvalidError(
                f"There are records of a project {self._scope.project_id} already (in {', '.join(found)}).",
                subject="new_id",
                hint="Choose another id, or leave it out; nothing was changed.",
            )

    def _first(self, name: str) -> bool:
        where = self._mongo.where((self._scope,), name)
        with translated(f"collection {name}"):
            return self._mongo.database[name].find_one(where, {"_id": 1}) is not None

    def exists(self) -> bool:
        """Whether the project is there, wholly."""
        return self._mongo.project_exists(self._scope)

    def insert(self, records: Iterable[Stored]) -> None:
        """Put the records in; that of the project comes last."""
        batch: list[RecordChange] = []
        size = 0
        for collection, raw in records:
            length = 2 * len(raw)  # at most: the `_id` counts, too
            if batch and (len(batch) >= _MOST_CHANGES or size + length > 2 * _MOST_BYTES):
                self._writer.write(batch, (self._scope,))
                batch, size = [], 0
            batch.append(RecordChange(collection, id_bytes(raw), raw, b""))
            size += length
        self._writer.write(batch, (self._scope,))

    def differing(self, records: Iterable[Stored]) -> int:
        """How many of these records are not there byte for byte, and how many others are."""
        wrong = 0
        counts = dict.fromkeys(self._collections, 0)
        for collection, raws in _batches(records):
            counts[collection] += len(raws)
            wanted = {id_bytes(raw): raw for raw in raws}
            with translated(f"collection {collection}"):
                there = self._mongo.database.get_collection(collection, codec_options=RAW)
                found = {bytes(one.raw) for one in there.find(is_in(wanted), collation=SIMPLE)}
            wrong += len(set(wanted.values()) ^ found)
        for collection, number in counts.items():
            with translated(f"collection {collection}"):
                where = self._mongo.where((self._scope,), collection)
                wrong += abs(self._mongo.database[collection].count_documents(where) - number)
        return wrong

    def remove(self) -> None:
        """Take all of its records away again, its own first: nobody sees a part."""
        for name in sorted(self._collections, key=lambda one: one != self._own):
            with translated(f"collection {name}"):
                there = self._mongo.database.get_collection(name, write_concern=DURABLE)
                there.delete_many(self._mongo.where((self._scope,), name))


def _batches(records: Iterable[Stored]) -> Iterator[tuple[str, list[bytes]]]:
    """Stretches of records of one collection."""
    name, raws, size = "", list[bytes](), 0
    for collection, raw in records:
        if raws and (collection != name or len(raws) >= _LOOKUP or size > _MOST_BYTES):
            yield name, raws
            raws, size = [], 0
        name = collection
        raws.append(raw)
        size += len(raw)
    if raws:
        yield name, raws

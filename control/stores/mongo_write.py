"""Writing to the application's database: records byte for byte, collections, options, indexes.

Rules:

- Every write is acknowledged by the majority and journaled, and can be repeated without harm.
- A project's scope stands in every filter: a record that now belongs to another project is never touched.
- Replacing is deletion and insertion: a replacement refuses `$`-names at the top level, and unique values that swap
  between two records cannot be replaced one by one. A pipeline would take all, but aborts the server (6.0.5) where the
  new document has two fields of one name that the old one had not.

>>> MongoWriter(mongo).write([RecordChange("edition", id_bytes(raw), raw, have=digest)], owners)   # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, OperationFailure

from ..errors import CancelledError, ChangedError, UnavailableError
from ..model import SYSTEM_JS, Fence, Scope
from .blocks import documents_of
from .jobs import JobStore
from .json_lines import document_of_line
from .lookups import batches
from .mongo import DURABLE, Mongo
from .mongo_errors import translated
from .open_transactions import OpenTransactions
from .raw import document_of, fields, has_zero_timestamp, id_bytes, is_in, is_one
from .reader import RAW, SIMPLE

_FILL_BYTES = 8_000_000
_TOO_LARGE = 359  # TransactionTooLargeForCache, since MongoDB 6.2
_LONG = 5.0  # seconds for each try
_HINT = "Give MongoDB a larger cache (storage.wiredTiger.engineConfig.cacheSizeGB)."


@dataclass(frozen=True, slots=True)
class RecordChange:
    """One record to be written: `id` exact (see `id_bytes`), `raw` the wanted bytes or None for away, and `have` the
    SHA-256 of the bytes that are there now (empty: none). Is something else there by then, it is left alone."""

    collection: str
    id: bytes
    raw: bytes | None
    have: bytes


def parts_of(description: str) -> dict[str, Any]:
    """Options or an index as parts of a command; what is inside of them exactly as it was."""
    found: dict[str, Any] = {}
    for kind, name, value in fields(document_of_line(description)):
        whole = RawBSONDocument(document_of([(kind, name, value)]))
        found[name.decode()] = whole[name.decode()]
    return found


class TooMuchError(UnavailableError):
    """The server has not the memory for a transaction: with fewer changes it may."""

    def __init__(self) -> None:
        super().__init__("has not the memory for so many changes in one transaction.", subject="server", hint=_HINT)


class Tries:
    """The tries of one transaction. A foreign one in the way ends a try at once; a cache that is full, after long."""

    def __init__(self) -> None:
        self._count = 0
        self._begun = time.monotonic()

    def next(self) -> None:
        """Count a try; TooMuchError where those before took long."""
        if self._count and time.monotonic() - self._begun > _LONG * self._count:
            raise TooMuchError()
        self._count += 1


class MongoWriter:
    """Changes the application's database; what is read stays with `Mongo`."""

    def __init__(self, mongo: Mongo, open_transactions: OpenTransactions | None = None) -> None:
        self._mongo = mongo
        self._open = open_transactions

    def end_lost(self) -> None:
        """End the transactions of processes that were killed: what they have written is locked until then."""
        if self._open is not None:
            self._open.end_lost(self._mongo)

    def create(self, name: str, options: str, *, is_new: bool = False) -> None:
        """Create a collection or view with these options; one that is there already is left.

        Raises
        ------
        ChangedError: it `is_new`, and somebody has made one meanwhile.
        """
        command = {"create": name, **parts_of(options)}
        with translated(f"collection {name}"):
            try:
                self._mongo.database.command({**command, "writeConcern": DURABLE.document})
            except OperationFailure as error:
                if error.code != 48:  # NamespaceExists
                    raise
                if is_new:
                    raise ChangedError("was made by somebody meanwhile.", subject=f"collection {name}") from error

    def drop(self, name: str) -> None:
        """Drop a collection or view; one that is not there is fine. system.js is emptied: it cannot go."""
        with translated(f"collection {name}"):
            target = self._mongo.database.get_collection(name, write_concern=DURABLE)
            if name == SYSTEM_JS:
                target.delete_many({}, collation=SIMPLE)
            else:
                target.drop()

    def fill(self, name: str, documents: Iterable[bytes]) -> None:
        """Put documents into a collection that was just made, in this order."""
        with (
            translated(f"collection {name}"),
            ThreadPoolExecutor(1) as pool,
        ):  # while the server takes one, the next is read
            target = self._mongo.database.get_collection(name, codec_options=RAW, write_concern=DURABLE)
            taken: Future[None] | None = None
            for batch in _stretches(documents):
                if taken is not None:
                    taken.result()
                taken = pool.submit(self._put, target, batch)
            if taken is not None:
                taken.result()

    @staticmethod
    def _put(target: Collection[RawBSONDocument], raws: list[bytes], session: ClientSession | None = None) -> None:
        documents = [RawBSONDocument(raw) for raw in raws]
        try:
            # A document that no longer satisfies the validator is put back as it was all the same.
            target.insert_many(documents, bypass_document_validation=True, session=session)
        except BulkWriteError as error:
            if error.has_error_label("TransientTransactionError"):  # the transaction is tried again
                raise
            with translated(f"collection {target.name}"):  # here it is known which collection it was
                raise
        for raw in raws:
            if has_zero_timestamp(raw):
                # The server sets Timestamp(0, 0) at the top level to its clock on insertion, not in a pipeline.
                target.update_one(
                    is_one(id_bytes(raw)),
                    [{"$replaceWith": {"$literal": RawBSONDocument(raw)}}],
                    bypass_document_validation=True,
                    session=session,
                )

    def modify(self, name: str, options: str) -> None:
        """Give a collection these validation options."""
        wanted = parts_of(options)
        command: dict[str, Any] = {
            "collMod": name,
            "validator": wanted.get("validator", {}),
            "validationLevel": wanted.get("validationLevel", "strict"),
            "validationAction": wanted.get("validationAction", "error"),
        }
        with translated(f"collection {name}"):
            self._mongo.database.command({**command, "writeConcern": DURABLE.document})

    def drop_index(self, collection: str, name: str) -> None:
        """Drop an index; one that is not there is fine."""
        with translated(f"index {name} of {collection}"):
            try:
                command = {"dropIndexes": collection, "index": name, "writeConcern": DURABLE.document}
                self._mongo.database.command(command)
            except OperationFailure as error:
                if error.code not in (26, 27):  # NamespaceNotFound, IndexNotFound
                    raise

    def create_index(self, collection: str, index: str) -> None:
        """Create an index as it was described (canonical extended JSON)."""
        wanted = parts_of(index)
        if wanted.get("v", 2) > 1:  # older ones know none, and were not made where the collection has one
            # Without one of its own an index would get the collation of its collection.
            wanted.setdefault("collation", SIMPLE)
        with translated(f"index {wanted['name']} of {collection}"):
            command = {"createIndexes": collection, "indexes": [wanted], "writeConcern": DURABLE.document}
            self._mongo.database.command(command)

    def write(self, changes: Iterable[RecordChange], owners: Sequence[Scope], fence: Fence | None = None) -> bytes:
        """Bring records to the bytes given: all deletions first, then all insertions, in one transaction.

        The scope's field stands in every filter, so that a record that now belongs to another project is never touched.

        Returns
        -------
        The id of the session, as change streams tell it; nobody else has one.

        Raises
        ------
        CancelledError: the job of `fence` has been taken over by another worker; nothing was written.
        TooMuchError: the server has not the memory for so much at once; nothing was written.
        """
        changes = changes if isinstance(changes, list) else list(changes)
        tries = Tries()

        def within(session: ClientSession) -> None:
            tries.next()
            if fence is not None and not JobStore.touch(self._mongo.control, fence, session):
                raise CancelledError(
                    "was taken over by another worker.",
                    subject=f"job {fence.job}",
                    hint="That one finishes it; nothing was changed here.",
                )
            self._write(changes, owners, session)

        with translated("records"), self._mongo.client.start_session() as session, self._noted(session):
            try:
                session.with_transaction(within, write_concern=DURABLE, max_commit_time_ms=60_000)
            except OperationFailure as error:
                if error.code == _TOO_LARGE:
                    raise TooMuchError() from error
                raise
            return bytes(session.session_id["id"])

    def _noted(self, session: ClientSession) -> AbstractContextManager[None]:
        return nullcontext() if self._open is None else self._open.noted(bytes(session.session_id["id"]))

    @staticmethod
    def _as_planned(changes: list[RecordChange], target: Collection[Any], session: ClientSession) -> list[RecordChange]:
        """The changes to records that nobody changed past the gate since the plan; with `have` as it is now."""
        now: dict[bytes, bytes] = {}
        for ids in batches(change.id for change in changes):
            found = documents_of(target.find_raw_batches(is_in(ids), collation=SIMPLE, session=session))
            now |= {id_bytes(raw): hashlib.sha256(raw).digest() for raw in found}
        return [
            replace(change, have=now.get(change.id, b""))
            for change in changes
            if change.id not in now or now[change.id] == change.have
        ]

    def _write(self, changes: list[RecordChange], owners: Sequence[Scope], session: ClientSession) -> None:
        for collection in sorted({change.collection for change in changes}):
            target = self._mongo.database.get_collection(collection, codec_options=RAW)
            mine = self._as_planned([one for one in changes if one.collection == collection], target, session)
            for gone in batches(change.id for change in mine if change.have):
                only = {"$and": [is_in(gone), self._mongo.where(owners, collection)]}
                target.delete_many(only, collation=SIMPLE, session=session)
            new = [change.raw for change in mine if change.raw is not None]
            if new:
                self._put(target, new, session)


def _stretches(documents: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for raw in documents:
        if batch and size + len(raw) > _FILL_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    if batch:
        yield batch

"""The application's database: what is in it, reading it at one instant, writing records back byte for byte.

Rules:

- Everything of one snapshot is read at one cluster time: that of a marker written with `w: majority`, which also makes
  sure that every write acknowledged before it is seen (MongoDB manual, "Read Concern snapshot").
- Documents travel as bytes; they are decoded only to look at a field. They are read in `_id` order, simple collation.
- Names, options and indexes cannot be read at an instant; who dumps reads them before and after and compares.
- `system.*` (but for `system.js` and the buckets of time series) and what the settings leave alone
  (`scopes.site.leave`) are never read and never written.

>>> with mongo.pinned() as reader:                      # doctest: +SKIP
...     for block in reader.blocks("edition", {}): ...
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from bson.errors import InvalidId
from bson.int64 import Int64
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp
from pymongo import MongoClient, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from ..errors import NotFoundError, UnavailableError
from ..model import BUCKETS, SYSTEM_JS, Instant, Scope
from ..scope_settings import ProjectSettings, ScopeSettings
from ..settings import MongoSettings
from .blocks import batch_of, documents_of
from .collection_info import CollectionInfo
from .json_lines import lines_of
from .mongo_errors import translated
from .raw import LENIENT, field, id_bytes, id_text, is_in
from .reader import RAW, SIMPLE, Reader, instant_of

_KINDS_OF_ID = {"objectid": (0x07,), "string": (0x02,), "int": (0x10, 0x12)}  # BSON types
# The same, as queries name them.
_TYPES_OF_ID = {"objectid": ["objectId"], "string": ["string"], "int": ["int", "long"]}
DURABLE = WriteConcern(w="majority", j=True)


def connect(settings: MongoSettings) -> MongoClient[Any]:
    """A client that reaches for the server when it is first used, and gives up after `mongo.timeout` seconds."""
    return MongoClient(
        settings.uri,
        connect=False,
        serverSelectionTimeoutMS=int(settings.timeout * 1000),
        connectTimeoutMS=int(settings.timeout * 1000),
        appname="keyframe",
    )


class Mongo:
    """The application's database and what the settings say about it."""

    def __init__(self, client: MongoClient[Any], database: str, control_database: str, scopes: ScopeSettings) -> None:
        self.client = client
        self.database: Database[Any] = client[database]
        self.control: Database[Any] = client[control_database]
        self._site = scopes.site
        self._project: ProjectSettings = scopes.project

    @property
    def name(self) -> str:
        return self.database.name

    def elsewhere(self, database: str) -> Mongo:
        """Another database of the same server, taken for one of the same kind."""
        return Mongo(self.client, database, self.control.name, ScopeSettings(project=self._project, site=self._site))

    def version(self) -> str:
        """The server's version."""
        with translated("server"):
            return str(self.client.server_info()["version"])

    def answers(self) -> bool:
        """Whether the server answers now."""
        try:
            self.client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    # --- reading

    @contextlib.contextmanager
    def pinned(self) -> Iterator[Reader]:
        """Fix one instant, not before any write acknowledged until now, and read at it."""
        with self.client.start_session(causal_consistency=False) as session:
            yield Reader(self.database, session, self._marked(session))

    def free_bytes(self) -> int | None:
        """Room on the disk of the server; None where it does not tell, or nobody may ask."""
        with translated("database"), contextlib.suppress(OperationFailure):
            told = self.database.command("dbStats")
            return int(told["fsTotalSize"]) - int(told["fsUsedSize"]) if told.get("fsTotalSize") else None
        return None

    def mark(self) -> Instant:
        """Write a marker: its instant is behind all that was acknowledged before."""
        with self.client.start_session(causal_consistency=False) as session:
            return instant_of(self._marked(session))

    def _marked(self, session: ClientSession) -> Timestamp:
        with translated("database"):
            marker = self.control.get_collection("marker", write_concern=DURABLE)
            marker.update_one({"_id": "pin"}, {"$inc": {"count": 1}}, upsert=True, session=session)
        if session.operation_time is None:
            raise UnavailableError(
                "is a standalone server; snapshots need a replica set.",
                subject="MongoDB",
                hint="Start it with --replSet rs0, then run once: mongosh --eval 'rs.initiate()'.",
            )
        return session.operation_time

    def collections(self, scope: Scope) -> dict[str, CollectionInfo]:
        """The collections that belong to a scope, as they are now, by name."""
        wanted = None if scope.is_site else set(self._project.collections)
        found = {}
        with translated("database"):
            rows = {str(row["name"]): row for row in self._listed()}
            for name, row in rows.items():
                if name in self._site.leave or (wanted is not None and name not in wanted) or self._is_passed(name):
                    continue
                described = [row["options"].raw]
                if row["type"] != "view":
                    with contextlib.suppress(_Vanished):
                        described += self._indexes(name)
                # A time series has none of its own; that of its buckets tells one from another of the same name.
                uuid = _uuid_of(row) or _uuid_of(rows.get(BUCKETS + name))
                made = lines_of(b"".join(described))
                options, *indexes = made.text.decode().splitlines()
                found[name] = CollectionInfo(
                    name=name,
                    kind=row["type"],
                    options=options,
                    indexes=f"[{', '.join(indexes)}]",
                    uuid=uuid,
                    is_exact=not made.inexact,
                )
        return dict(sorted(found.items()))

    def _listed(self) -> Iterator[RawBSONDocument]:
        """All collections. By command, as the indexes: the driver's own ways decode options, and would fail on some."""
        command: dict[str, Any] = {"listCollections": 1}
        with self.client.start_session() as session:
            while True:
                reply: Any = self.database.command(command, codec_options=RAW, session=session)
                block, number = batch_of(reply.raw)
                yield from map(RawBSONDocument, block.documents())
                if not number:
                    return
                command = {"getMore": Int64(number), "collection": "$cmd.listCollections"}

    def _is_passed(self, name: str) -> bool:
        """Whether a collection is the server's own business. An empty system.js is as good as none: it cannot go."""
        if name == SYSTEM_JS:
            return self.database[name].find_one({}, {"_id": 1}) is None
        return name.startswith("system.")

    def bytes_of(self, name: str) -> int:
        """The size of a collection's documents."""
        with translated(f"collection {name}"):
            return int(self.database.command("collStats", name)["size"])

    def _indexes(self, name: str) -> list[bytes]:
        try:
            reply: Any = self.database.command({"listIndexes": name}, codec_options=RAW)  # 64 at most: one batch
            found = list(reply["cursor"]["firstBatch"])
        except OperationFailure as error:
            if error.code == 26:  # NamespaceNotFound: dropped since it was listed
                raise _Vanished from error
            raise
        return [bytes(index.raw) for index in sorted(found, key=lambda index: str(index["name"]))]

    def id_of(self, scope: Scope) -> Any:
        """The project's id as the database has it.

        Only the text that the database gives back for it is its id: `DD30…` or `01` would be a second name, hence a
        second folder and a second lock, of the same project.
        """
        text = scope.project_id or ""
        value: Any = text
        with contextlib.suppress(ValueError, InvalidId):
            value = (
                ObjectId(text) if self._project.id == "objectid" else int(text) if self._project.id == "int" else text
            )
        if str(value) != text or (self._project.id != "string" and value is text):
            raise NotFoundError("There is no such project.", subject="project", hint="Look at the list.")
        return value

    def where(self, owners: Sequence[Scope], collection: str, ids: Iterable[bytes] | None = None) -> dict[str, Any]:
        """The filter for the records of these projects in a collection; no owners: the whole site.

        Parameters
        ----------
        ids: only these (as `id_bytes`), and those that MongoDB takes for the same; None: all.
        """
        found: dict[str, Any] = {}
        if owners:
            path = self._project.collections[collection].field
            # Exactly as `project_of` judges: to the server an array that holds an id is like the id, and 1.0 like 1.
            is_one = {"$not": {"$type": "array"}}
            found = dict.fromkeys(accumulate(path.split("."), lambda one, name: f"{one}.{name}"), is_one)
            ids_of = [self.id_of(scope) for scope in owners]
            found[path] = {"$in": ids_of, "$type": _TYPES_OF_ID[self._project.id], **is_one}
        return found if ids is None else {"$and": [is_in(ids), found]}

    def is_of_projects(self, collection: str) -> bool:
        """Whether the documents of a collection belong to projects."""
        return collection in self._project.collections

    def is_of_people(self, collection: str) -> bool:
        """Whether a collection holds people or their roles."""
        return collection in self._site.people

    def is_left_alone(self, collection: str) -> bool:
        """Whether the settings say of a collection that it is nobody's content."""
        return collection in self._site.leave

    def project_of(self, collection: str, raw: bytes) -> str | None:
        """The id, as text, of the project that a document belongs to; None where it belongs to none."""
        belongs = self._project.collections.get(collection)
        if belongs is None:
            return None
        value = field(raw, belongs.field)
        # Only ids of the configured kind count, as in `where`: a text that looks like an id belongs to nobody.
        return id_text(value) if value is not None and value[4] in _KINDS_OF_ID[self._project.id] else None

    def project_exists(self, scope: Scope) -> bool:
        """Whether the database has a record of this project."""
        try:
            wanted = self.id_of(scope)
        except NotFoundError:
            return False
        with translated("project"):
            return self.database[self._own].find_one({"_id": wanted}, {"_id": 1}) is not None

    def project_titles(self) -> dict[str, str]:
        """Title of every project by its id, as text."""
        with translated("projects"):
            own = self.database.get_collection(self._own, codec_options=LENIENT)
            return self._titled(own.find({}, self._only_title()))

    @property
    def _own(self) -> str:
        return self._project.own_collection or "project"

    def edition_titles(self, scope: Scope) -> dict[str, str]:
        """Title of each edition of a project by its id, as text."""
        name = self._project.editions.collection
        if name not in self._project.collections or scope.is_site:
            return {}
        with translated("editions"):
            editions = self.database.get_collection(name, codec_options=LENIENT)
            return self._titled(editions.find(self.where((scope,), name), self._only_title()))

    def _only_title(self) -> dict[str, Any]:
        # Binary values may be broken in a way that no driver decodes; a title is none.
        title = f"${self._project.title}"
        return {self._project.title: {"$cond": [{"$eq": [{"$type": title}, "binData"]}, "", title]}}

    def _titled(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
        return {str(row["_id"]): str(row.get(self._project.title) or row["_id"]) for row in rows}

    def outside(self, owners: Sequence[Scope], collection: str, ids: Iterable[bytes]) -> set[bytes]:
        """Which of these `_id`s (as `id_bytes`) are taken by a record that belongs to none of the projects."""
        asked = set(ids)
        found = self._outside(owners, collection, asked)
        if found <= asked:
            return found
        # To the server 5 and 5.0 are the same `_id`, and so are documents with such values.
        return {one for one in asked if one in found or self._outside(owners, collection, [one])}

    def _outside(self, owners: Sequence[Scope], collection: str, ids: Iterable[bytes]) -> set[bytes]:
        taken = {"$and": [is_in(ids), {"$nor": [self.where(owners, collection)]}]}
        with translated(f"collection {collection}"):
            rows = self.database.get_collection(collection, codec_options=RAW).find(taken, {"_id": 1}, collation=SIMPLE)
            return {id_bytes(bytes(row.raw)) for row in rows}

    def digests(self, collection: str, ids: Iterable[bytes]) -> dict[bytes, str]:
        """The SHA-256 of each record with one of these `_id`s (as `id_bytes`), as it is now."""
        with translated(f"collection {collection}"):
            found = documents_of(self.database[collection].find_raw_batches(is_in(ids), collation=SIMPLE))
            return {id_bytes(raw): hashlib.sha256(raw).hexdigest() for raw in found}

    def owned(self, owners: Sequence[Scope], collection: str, ids: Iterable[bytes]) -> bool:
        """Whether any of these `_id`s (as `id_bytes`) is that of a record of the projects."""
        mine = {"$and": [is_in(ids), self.where(owners, collection)]}
        with translated(f"collection {collection}"):
            found = self.database.get_collection(collection, codec_options=RAW).find(mine, {"_id": 1}, collation=SIMPLE)
            return next(iter(found.limit(1)), None) is not None

    def extent(self, scope: Scope, info: CollectionInfo) -> tuple[int, int]:
        """How many documents of a scope a collection has, and about how many bytes they are."""
        with translated(f"collection {info.name}"):
            found = self.database.command("collStats", info.source)
            documents, size = int(found.get("count", 0)), int(found.get("size", 0))
            if scope.is_site or not documents:
                return documents, size
            own = self.database[info.name].count_documents(self.where((scope,), info.name))
            return own, own * size // documents

    def is_without_people(self) -> bool:
        """Whether all collections of people are empty, as on a fresh machine."""
        with translated("people"):
            return all(self.database[name].find_one({}, {"_id": 1}) is None for name in self._site.people)


def _uuid_of(row: Mapping[str, Any] | None) -> str:
    """That of a collection in the server's list, as hex digits."""
    uuid = row["info"].get("uuid") if row is not None else None
    return bytes(uuid).hex() if uuid is not None else ""


class _Vanished(Exception):  # noqa: N818  (a signal inside this room)
    """The collection was dropped since it was listed."""

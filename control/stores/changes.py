"""What was changed in the application's database since an instant, as the server's change stream tells it.

Rules:

- Told from behind an instant up to a marker that is written when the question is asked: what was acknowledged before
  is in it.
- The server tells nothing of the buckets of time series and of `system.js`; who asks has to read those (`is_told`).
- Where it cannot be told (history overwritten, rights missing), `UnavailableError` is raised: then nothing is known.

Source: MongoDB manual, "Change Streams", `startAtOperationTime` and `postBatchResumeToken`. A resume token begins with
its cluster time, in the server's order-preserving form of values (src/mongo/db/storage/key_string.h): one byte 0x82 for
a timestamp, then seconds and ordinal, 4 bytes each, the highest first.

>>> for change in Changes(mongo).since(snapshot.instant): ...       # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bson
from bson.binary import UUID_SUBTYPE, Binary
from bson.timestamp import Timestamp
from pymongo.errors import OperationFailure

from ..errors import UnavailableError
from ..model import BUCKETS, SYSTEM_JS, Instant
from .blocks import batch_of
from .mongo import Mongo
from .mongo_errors import translated
from .raw import field, fields, id_bytes, id_text
from .reader import RAW

_BATCH = 1000  # events
_AWAIT = 10  # milliseconds that the server waits for more, at the end of what there is
_PATIENCE = 2_000  # answers without news before the marker; the server reads on between them
_UNKNOWN_FIELD = (9, 40415)  # FailedToParse, IDLUnknownField: servers before 6.0 do not know showExpandedEvents
_NO_DATABASE = 26
_STRUCTURE = ("create", "createIndexes", "dropIndexes", "modify")
_TIMESTAMP = "82"


@dataclass(frozen=True, slots=True)
class Changed:
    """One change: of a document, by its `id` (as `id_bytes`), or, where that is empty, of a collection.

    `collection` is empty where the whole database was dropped; `is_structure`: only options or indexes are others.
    """

    collection: str
    id: bytes
    is_structure: bool = False


def is_told(name: str) -> bool:
    """Whether a change stream tells of the documents of a collection."""
    return name != SYSTEM_JS and not name.startswith(BUCKETS)


@dataclass(frozen=True, slots=True)
class Known:
    """Changes that the server need not tell: those of transactions in these sessions, those in these collections."""

    sessions: frozenset[bytes] = frozenset()
    collections: frozenset[str] = frozenset()

    def left_out(self) -> list[dict[str, Any]]:
        """As stages of a pipeline. An event of a transaction has the session in which it was made (`lsid`)."""
        told: list[dict[str, Any]] = []
        if self.sessions:
            told.append({"lsid.id": {"$in": [Binary(one, UUID_SUBTYPE) for one in sorted(self.sessions)]}})
        if self.collections:
            told.append({"ns.coll": {"$in": sorted(self.collections)}})
        return [{"$match": {"$nor": told}}] if told else []


class Changes:
    """The change stream of the application's database."""

    def __init__(self, mongo: Mongo) -> None:
        self._mongo = mongo

    def since(self, instant: Instant, until: Instant | None = None, but: Known = Known()) -> Iterator[Changed]:
        """All changes behind `instant` up to `until` (None: a marker written now), in their order; `but` those.

        Raises
        ------
        UnavailableError: the server does not answer, or no longer knows.
        """
        start = Timestamp(instant.seconds, instant.counter)
        last = self._mongo.mark() if until is None else until
        end = Timestamp(last.seconds, last.counter)
        for event in self._events(start, end, but):
            at = _time_of(event)
            if at is not None and not start < at <= end:
                continue
            yield from _changes_of(event)

    def _events(self, start: Timestamp, end: Timestamp, but: Known) -> Iterator[bytes]:
        idle = 0
        with translated("database"), self._mongo.client.start_session() as session:
            reply = self._begin(start, but, session)
            try:
                while reply is not None:
                    block, number = batch_of(reply.raw)
                    yield from block.documents()
                    if not number or _reached(reply) >= end:  # 0: the database was dropped, which was told
                        return
                    idle = 0 if block.ends else idle + 1
                    if idle > _PATIENCE:
                        raise UnavailableError(
                            "does not tell what was changed.", subject="MongoDB", hint="Try again when it is quiet."
                        )
                    more = {
                        "getMore": bson.Int64(number),
                        "collection": "$cmd.aggregate",
                        "batchSize": _BATCH,
                        "maxTimeMS": _AWAIT,
                    }
                    reply = self._mongo.database.command(more, codec_options=RAW, session=session)
            finally:
                self._end(reply, session)

    def _begin(self, start: Timestamp, but: Known, session: Any) -> Any:
        """The first answer; None where there is no database, hence nothing to change."""
        shown = {"_id": 1, "operationType": 1, "ns": 1, "to": 1, "documentKey": 1, "clusterTime": 1}
        for expanded in ({"showExpandedEvents": True}, {}):
            stream = {"startAtOperationTime": start, **expanded}
            command = {
                "aggregate": 1,
                "pipeline": [{"$changeStream": stream}, *but.left_out(), {"$project": shown}],
                "cursor": {"batchSize": _BATCH},
            }
            try:
                return self._mongo.database.command(command, codec_options=RAW, session=session)
            except OperationFailure as error:
                if error.code == _NO_DATABASE:
                    return None
                if not (expanded and error.code in _UNKNOWN_FIELD):
                    raise UnavailableError(
                        f"does not tell what was changed ({error.code}).",
                        subject="MongoDB",
                        hint="Give Keyframe's user the right changeStream, and enlarge the oplog if it is small.",
                    ) from error
        raise AssertionError("unreachable")

    def _end(self, reply: Any, session: Any) -> None:
        number = batch_of(reply.raw)[1] if reply is not None else 0
        if number:
            kill = {"killCursors": "$cmd.aggregate", "cursors": [bson.Int64(number)]}
            self._mongo.database.command(kill, session=session)


def _reached(reply: Any) -> Timestamp:
    """Up to which time the server has told all with this answer."""
    data = str(reply["cursor"]["postBatchResumeToken"]["_data"])
    if not data.startswith(_TIMESTAMP) or len(data) < 18:
        raise UnavailableError(
            "tells what was changed in a form that is not known.", subject="MongoDB", hint="Is this version supported?"
        )
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))


def _time_of(event: bytes) -> Timestamp | None:
    found = field(event, "clusterTime")
    return None if found is None else bson.decode(found)["_id"]


def _changes_of(event: bytes) -> Iterator[Changed]:
    names = [_name(event, "ns.coll"), _name(event, "to.coll")]
    key = next((value for _, name, value in fields(event) if name == b"documentKey"), None)
    if key is not None:
        yield Changed(names[0], id_bytes(key))
        return
    for name in filter(None, names):
        yield Changed(name, b"", is_structure=_name(event, "operationType") in _STRUCTURE)
    if not any(names):
        yield Changed("", b"")


def _name(event: bytes, path: str) -> str:
    found = field(event, path)
    return "" if found is None else id_text(found)

"""Who works on which scope: one document with all active scopes.

Rules:

- A scope is taken by one conditional update of that document. `site` needs it empty; a project needs neither itself nor
  `site` in it. So a site job excludes all project jobs, and the other way round.
- A lease ends by the server's clock (`$$NOW`), never by that of a worker.
- The fence grows with each taking; whoever comes with an older one has lost the scope.
- An entry is changed and freed by its token *and* its fence only, so that to do it twice does no harm.
- Who dies is noticed: on the same machine at once (process id and start time), elsewhere when the lease has lapsed.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pymongo import ReturnDocument
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ..model import Scope
from .control import Document, answering, collection, storable

_ID = "scopes"


@dataclass(frozen=True, slots=True)
class Holder:
    """A process: where it runs, its id, and when it started, in clock ticks since that machine's boot."""

    host: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(_host(), pid, _started(pid) or 0)

    def is_dead(self) -> bool:
        """Whether the process certainly no longer runs; of another machine that is never certain."""
        return self.host == _host() and _started(self.pid) != self.started

    def is_stopped(self) -> bool:
        """Whether the process runs on this machine and is stopped, as by SIGSTOP."""
        return self.host == _host() and _started(self.pid) == self.started and _state(self.pid) in "Tt"

    def as_dict(self) -> dict[str, Any]:
        return {"host": self.host, "pid": self.pid, "started": self.started}


@dataclass(frozen=True, slots=True)
class Entry:
    """One active scope. `token` is the id of its job, or that of a short act; `what` says it in words."""

    scope: Scope
    token: str
    what: str
    holder: Holder
    fence: int
    lapsed: bool = False

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Entry:
        return cls(
            Scope.from_key(doc["scope"]),
            doc["token"],
            doc["what"],
            Holder(**doc["holder"]),
            doc["fence"],
            doc.get("lapsed", False),
        )


class ScopeLocks:
    """The document `scopes` of the collection `locks`. Made without asking the server; first use creates it."""

    def __init__(self, database: Database[Document]) -> None:
        self._locks = collection(database, "locks")

    def take(self, scope: Scope, token: str, what: str, lease: float) -> Entry | None:
        """Take `scope` for `lease` seconds; None while it, or a scope inside or around it, is taken.

        Raises
        ------
        UnavailableError: the control database does not answer.
        """
        free: Document = {"active": []} if scope.is_site else {"active.scope": {"$nin": [Scope.site().key, scope.key]}}
        holder = Holder.here()
        entry = {"scope": scope.key, "token": token, "what": storable(what), "holder": holder.as_dict()}
        update: list[Document] = [
            {"$set": {"fence": {"$add": ["$fence", 1]}}},
            {"$set": {"active": {"$concatArrays": ["$active", [_with_lease(entry, lease)]]}}},
        ]
        with answering():
            doc = self._locks.find_one_and_update({"_id": _ID, **free}, update, return_document=ReturnDocument.AFTER)
            if doc is None and self._create():
                return self.take(scope, token, what, lease)
        return Entry(scope, token, what, holder, doc["fence"]) if doc else None

    def renew(self, entry: Entry, lease: float) -> bool:
        """Prolong to `lease` seconds from now, also when it had lapsed; False when somebody else has the scope."""
        update = [{"$set": {"active": _mapped(entry, _with_lease({}, lease, fence=entry.fence))}}]
        with answering():
            return self._locks.update_one(_holding(entry), update).matched_count == 1

    def seize(self, entry: Entry, lease: float) -> Entry | None:
        """Take over from a holder that is gone: under a new fence, so that he cannot come back.

        Returns
        -------
        None when he is not gone: neither dead on this machine nor lapsed by now, or somebody else was quicker.
        """
        holder = Holder.here()
        lapsed: Document = {} if entry.holder.is_dead() else {"$expr": {"$gt": [{"$size": _lapsed(entry)}, 0]}}
        update = [
            {"$set": {"fence": {"$add": ["$fence", 1]}}},
            {"$set": {"active": _mapped(entry, _with_lease({"holder": holder.as_dict()}, lease))}},
        ]
        with answering():
            doc = self._locks.find_one_and_update(
                {**_holding(entry), **lapsed}, update, return_document=ReturnDocument.AFTER
            )
        return Entry(entry.scope, entry.token, entry.what, holder, doc["fence"]) if doc else None

    def give_back(self, seized: Entry, old: Holder) -> None:
        """What was seized lapses at once and bears its old holder again; the next one may seize it."""
        update = [{"$set": {"active": _mapped(seized, _with_lease({"holder": old.as_dict()}, 0, fence=seized.fence))}}]
        with answering():
            self._locks.update_one(_holding(seized), update)

    def free(self, entry: Entry) -> None:
        """End it; nothing happens when it is not there any more."""
        with answering():
            self._locks.update_one({"_id": _ID}, {"$pull": {"active": {"token": entry.token, "fence": entry.fence}}})

    def entries(self) -> tuple[Entry, ...]:
        """All active scopes; `lapsed` is told by the server's clock."""
        lapsed = {"lapsed": {"$lt": ["$$one.until", "$$NOW"]}}
        told = {"$map": {"input": "$active", "as": "one", "in": {"$mergeObjects": ["$$one", lapsed]}}}
        with answering():
            docs = list(self._locks.aggregate([{"$match": {"_id": _ID}}, {"$set": {"active": told}}]))
        return tuple(Entry.from_dict(one) for doc in docs for one in doc["active"])

    def _create(self) -> bool:
        """Whether the document was not there; two that create it at once agree."""
        if self._locks.find_one({"_id": _ID}, {"_id": 1}) is not None:
            return False
        with suppress(DuplicateKeyError):
            self._locks.insert_one({"_id": _ID, "fence": 0, "active": []})
        return True


def _holding(entry: Entry) -> Document:
    return {"_id": _ID, "active": {"$elemMatch": {"token": entry.token, "fence": entry.fence}}}


def _is(entry: Entry) -> list[Document]:
    return [{"$eq": ["$$one.token", entry.token]}, {"$eq": ["$$one.fence", entry.fence]}]


def _lapsed(entry: Entry) -> Document:
    condition = {"$and": [*_is(entry), {"$lt": ["$$one.until", "$$NOW"]}]}
    return {"$filter": {"input": "$active", "as": "one", "cond": condition}}


def _mapped(entry: Entry, change: Document) -> Document:
    changed = {"$cond": [{"$and": _is(entry)}, {"$mergeObjects": ["$$one", change]}, "$$one"]}
    return {"$map": {"input": "$active", "as": "one", "in": changed}}


def _with_lease(entry: Document, seconds: float, fence: int | None = None) -> Document:
    """An expression: `entry` as it stands (its texts are not fields), the end of its lease, the document's fence."""
    until = {"$add": ["$$NOW", int(seconds * 1000)]}
    return {"$mergeObjects": [{"$literal": entry}, {"until": until, "fence": "$fence" if fence is None else fence}]}


@cache
def _host() -> str:
    """This machine since its boot and, in a container, this space of process ids; alike means: ids can be compared."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"


def _started(pid: int) -> int | None:
    """When the process started; None when there is none, or only its remains."""
    fields = _stat(pid)
    return None if not fields or fields[0] in "ZX" else int(fields[19])


def _state(pid: int) -> str:
    """The letter that the kernel has for what a process does; `X` when there is none."""
    return (_stat(pid) or ["X"])[0]


def _stat(pid: int) -> list[str]:
    """What the kernel tells of a process, from its state on; nothing when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets

"""The audit: who did, or was refused, what, when and from which door; rows are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId
from pymongo import DESCENDING, IndexModel
from pymongo.database import Database

from ..model import Actor, Scope
from .control import Document, answering, collection, storable

_LONGEST = 1000  # characters of a detail


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act; `outcome` is that of a job, `done`, or the code of the error."""

    at: datetime
    user: str
    name: str
    site_role: str
    via: str
    act: str
    scope: Scope
    outcome: str
    detail: str


class Audit:
    """The collection `audit`. Made without asking the server; the first write creates its index.

    Every method raises `UnavailableError` when the control database does not answer.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._rows = collection(database, "audit")
        self._indexed = False

    def write(self, actor: Actor, act: str, scope: Scope, outcome: str, detail: str = "") -> None:
        """Add a row, at the server's time; a long detail is cut."""
        row = {**actor.as_dict(), "act": act, "scope": scope.key, "outcome": outcome, "detail": detail[:_LONGEST]}
        with answering():
            if not self._indexed:
                self._rows.create_indexes([IndexModel([("at", DESCENDING), ("_id", DESCENDING)])])
                self._indexed = True
            self._rows.update_one(
                {"_id": ObjectId()}, {"$setOnInsert": storable(row), "$currentDate": {"at": True}}, upsert=True
            )

    def rows(self, limit: int) -> tuple[AuditRow, ...]:
        """The newest rows, newest first."""
        with answering():
            docs = list(self._rows.find().sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(limit))
        return tuple(
            AuditRow(
                at=doc["at"],
                user=doc["user"],
                name=doc["name"],
                site_role=doc["site_role"],
                via=doc["via"],
                act=doc["act"],
                scope=Scope.from_key(doc["scope"]),
                outcome=doc["outcome"],
                detail=doc["detail"],
            )
            for doc in docs
        )

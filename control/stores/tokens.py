"""Tokens with which scripts sign in as a person.

Rules:

- The secret is shown once, by `create`; what is stored is its SHA-256: of 256 random bits, so no slow hash is needed.
- A token of another person looks exactly like one that does not exist.
- A token belongs to a person, not to a name: it is nobody's once his record is gone, even where somebody is called so
  again. Should the very record come back, so does the token.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from ..errors import NotFoundError
from ..model import Person, utc_text
from .control import Document, answering, collection, storable

_PREFIX = "kf_"
_USED_APART = 60  # seconds between two notes of a token's use


@dataclass(frozen=True, slots=True)
class Token:
    """What may be shown of a token; `used_at` is true to the minute, None when it was never used."""

    id: str
    user: str
    label: str
    created_at: datetime
    used_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """The shape of REST and `--json`."""
        return {
            "id": self.id,
            "label": self.label,
            "created_at": utc_text(self.created_at),
            "used_at": utc_text(self.used_at) if self.used_at else None,
        }


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a token was made for: what he was called then, and which record that was."""

    user: str
    identity: str

    def matches(self, person: Person) -> bool:
        """Whether that is this very person."""
        return (self.user, self.identity) == (person.user, person.identity)


class Tokens:
    """The collection `tokens`. Made without asking the server; the first write creates its indexes.

    Every method raises `UnavailableError` when the control database does not answer.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._tokens = collection(database, "tokens")
        self._indexed = False

    def create(self, person: Person, label: str = "") -> tuple[str, str]:
        """A new token of the person: its id and its secret; nobody can tell the secret later."""
        token_id, secret = str(ObjectId()), _PREFIX + secrets.token_urlsafe(32)
        doc = {**_owned_by(person), "label": storable(label), "digest": _digest(secret), "used_at": None}
        with answering():
            if not self._indexed:
                self._tokens.create_indexes(
                    [IndexModel([("digest", ASCENDING)], unique=True), IndexModel([("user", ASCENDING)])]
                )
                self._indexed = True
            self._tokens.update_one(
                {"_id": token_id}, {"$setOnInsert": doc, "$currentDate": {"created_at": True}}, upsert=True
            )
        return token_id, secret

    def owner_of(self, secret: str) -> Owner | None:
        """Whose token this is; None when it is nobody's, or was revoked. Notes the use."""
        if not secret.startswith(_PREFIX):
            return None
        since = {"$subtract": ["$$NOW", _USED_APART * 1000]}
        shown = {"user": 1, "identity": 1, "unnoted": {"$lt": ["$used_at", since]}}  # null sorts before every time
        with answering():
            doc = self._tokens.find_one({"digest": _digest(secret)}, shown)
            if doc is not None and doc["unnoted"]:
                self._tokens.update_one({"_id": doc["_id"]}, {"$currentDate": {"used_at": True}})
        return Owner(str(doc["user"]), str(doc.get("identity", ""))) if doc else None

    def of_person(self, person: Person) -> tuple[Token, ...]:
        """The tokens of a person, oldest first."""
        with answering():
            docs = list(self._tokens.find(_owned_by(person)).sort([("created_at", 1), ("_id", 1)]))
        return tuple(Token(doc["_id"], doc["user"], doc["label"], doc["created_at"], doc["used_at"]) for doc in docs)

    def revoke(self, token_id: str, person: Person) -> None:
        """The token counts no more, from the next request on.

        Raises
        ------
        NotFoundError: the person has no such token.
        """
        with answering():
            result = self._tokens.delete_one({"_id": storable(token_id), **_owned_by(person)})
        if not result.deleted_count:
            raise NotFoundError("There is no such token.", subject="token", hint="Look at the list of tokens.")


def _owned_by(person: Person) -> Document:
    return {"user": storable(person.user), "identity": storable(person.identity)}


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()

"""The host's people: who somebody is, and which projects he organises.

Rules:

- Only read here; the host keeps its people itself.
- Another application gives an object of its own that answers as `People` does; `StoredPeople` reads the records
  as the editions site keeps them: `user {user, name, role}` and `projectUser {user, projectId, role}`.
- A person whose record names no known site role counts as a guest.

>>> people = StoredPeople(client["keyframe"])
>>> people.person("organiser")
Person(user='organiser', name='Olivia Ganzevoort', site_role='user', identity='d3f0…')
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from pymongo.database import Database

from ..model import Person
from .mongo_errors import translated
from .raw import NotBsonError, document_of, fields, id_text

SITE_ROLES = ("root", "admin", "user", "guest")
ORGANISER = "organiser"


class People(Protocol):
    """The host's people, as Auth asks for them."""

    def person(self, user: str) -> Person | None:
        """The person who signs in as `user`, or None: there is no such person (any more).

        Where names are given again to others, `identity` tells one from the other.
        """

    def organises(self, user: str) -> frozenset[str]:
        """The ids, as text, of the projects that `user` is organiser of."""

    def uncoupled(self, projects: frozenset[str], editions: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Those of these projects that nobody organises, and of these editions that nobody edits or reads."""


class StoredPeople:
    """People as the editions site keeps them in its database.

    Raises (each method)
    ------
    UnavailableError: the database does not answer.
    """

    def __init__(self, database: Database[Any]) -> None:
        self._database = database

    def person(self, user: str) -> Person | None:
        with translated(f"person {user}"):
            record = self._database["user"].find_one({"user": str(user)})
        if record is None:
            return None
        role = record.get("role")
        return Person(
            user=str(record["user"]),
            name=str(record.get("name") or record["user"]),
            site_role=role if role in SITE_ROLES else "guest",
            identity=str(record["_id"]),
        )

    def organises(self, user: str) -> frozenset[str]:
        with translated(f"person {user}"):
            couplings = list(self._database["projectUser"].find({"user": str(user), "role": ORGANISER}))
        return frozenset(str(one["projectId"]) for one in couplings if "projectId" in one)

    def uncoupled(self, projects: frozenset[str], editions: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        with translated("people"):
            organised = {str(one) for one in self._database["projectUser"].distinct("projectId", {"role": ORGANISER})}
            coupled = {str(one) for one in self._database["editionUser"].distinct("editionId")}
        return projects - organised, editions - coupled


def uncoupled_by(
    couplings: Iterable[bytes], projects: frozenset[str], editions: frozenset[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """The same by records that are not in the database: a record couples somebody to what it names in a field, and to a
    project only where its role, if it says one, is that of an organiser."""
    organised, coupled = set[str](), set[str]()
    for raw in couplings:
        try:
            told = {name: id_text(document_of([(kind, b"_id", value)])) for kind, name, value in fields(raw)}
        except NotBsonError:
            continue
        named = {text for name, text in told.items() if name != b"_id"}
        coupled |= named & editions
        if told.get(b"role", ORGANISER) == ORGANISER:
            organised |= named & projects
    return projects - organised, editions - coupled

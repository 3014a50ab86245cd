"""The site's records: projects, editions, people and their couplings, as PURE3D keeps them.

Rules:

- Ids are text outside and ObjectIds inside; a text that is no id finds nothing.
- An edition is always asked for together with its project, so that a URL cannot mix two projects.
- A form writes the fields that changed and no others; what it does not show stays as it is.
- Deleting takes couplings and editions first and the project's own record last: what was cut short can be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo.database import Database

from ..model import Person
from ..stores.people import ORGANISER, SITE_ROLES
from .nouns import Account, Edition, Project
from .rights import Viewer

Record = Mapping[str, Any]


class Records:
    """Reads and writes the records; the driver's errors come out as they are."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._database = database

    # The site and its people

    def site(self) -> Record:
        """The record of the site itself; empty before there is one."""
        return self._database["site"].find_one() or {}

    def account(self, user: str) -> Account | None:
        record = self._database["user"].find_one({"user": user})
        return _account(record) if record else None

    def accounts(self, sample_only: bool = False) -> tuple[Account, ...]:
        """All people, the highest role first."""
        found = [_account(one) for one in self._database["user"].find({"sample": True} if sample_only else {})]
        return tuple(sorted(found, key=lambda one: (SITE_ROLES.index(one.person.site_role), one.person.user)))

    def set_password(self, user: str, password_hash: str) -> bool:
        """Whether there is such a person; `password_hash` is argon2's."""
        changed = self._database["user"].update_one({"user": user}, {"$set": {"password": password_hash}})
        return bool(changed.matched_count)

    def viewer(self, user: str | None) -> Viewer:
        """The person and what he is coupled to; nobody, if he is not there (any more)."""
        account = self.account(user) if user else None
        if account is None:
            return Viewer()
        organised = self._database["projectUser"].find({"user": user, "role": ORGANISER})
        editions = {one["editionId"]: str(one["role"]) for one in self._database["editionUser"].find({"user": user})}
        through = self._database["edition"].find({"_id": {"$in": list(editions)}}, {"projectId": 1})
        return Viewer(
            person=account.person,
            organises=frozenset(str(one["projectId"]) for one in organised),
            editions={str(edition_id): role for edition_id, role in editions.items()},
            through=frozenset(str(one["projectId"]) for one in through),
        )

    def organisers(self, project: Project) -> tuple[str, ...]:
        """The users that organise the project."""
        found = self._database["projectUser"].find({"projectId": ObjectId(project.id), "role": ORGANISER})
        return tuple(sorted(str(one["user"]) for one in found))

    # Projects

    def projects(self) -> tuple[Project, ...]:
        """All projects by title."""
        found = [_project(one) for one in self._database["project"].find()]
        return tuple(sorted(found, key=lambda one: (one.title.casefold(), one.id)))

    def project(self, project_id: str) -> Project | None:
        record = self._database["project"].find_one({"_id": _id(project_id)}) if _id(project_id) else None
        return _project(record) if record else None

    def create_project(self, title: str, dc: Mapping[str, Any], organiser: str = "") -> str:
        """The new project's id; `organiser` must be a known person, or empty."""
        project_id = ObjectId()
        if organiser:
            self._database["projectUser"].insert_one({"user": organiser, "projectId": project_id, "role": ORGANISER})
        self._database["project"].insert_one({"_id": project_id, "title": title, "isVisible": False, "dc": dict(dc)})
        return str(project_id)

    def change_project(self, project: Project, changes: Mapping[str, Any]) -> bool:
        """Write fields (`None` removes one); False: the project is not there any more."""
        return self._change("project", {"_id": ObjectId(project.id)}, changes)

    def delete_project(self, project: Project) -> None:
        project_id = ObjectId(project.id)
        editions = [one["_id"] for one in self._database["edition"].find({"projectId": project_id}, {"_id": 1})]
        self._database["editionUser"].delete_many({"editionId": {"$in": editions}})
        self._database["projectUser"].delete_many({"projectId": project_id})
        self._database["edition"].delete_many({"projectId": project_id})
        self._database["project"].delete_one({"_id": project_id})

    # Editions

    def editions(self, project: Project) -> tuple[Edition, ...]:
        """The editions of a project by title."""
        found = [_edition(one) for one in self._database["edition"].find({"projectId": ObjectId(project.id)})]
        return tuple(sorted(found, key=lambda one: (one.title.casefold(), one.id)))

    def editions_by_project(self) -> Mapping[str, tuple[Edition, ...]]:
        """All editions, by the id of their project."""
        found: dict[str, tuple[Edition, ...]] = {}
        for record in self._database["edition"].find():
            if "projectId" in record:
                edition = _edition(record)
                found[edition.project_id] = (*found.get(edition.project_id, ()), edition)
        return found

    def edition(self, project: Project, edition_id: str) -> Edition | None:
        wanted = {"_id": _id(edition_id), "projectId": ObjectId(project.id)}
        record = self._database["edition"].find_one(wanted) if _id(edition_id) else None
        return _edition(record) if record else None

    def create_edition(self, project: Project, title: str, dc: Mapping[str, Any]) -> str:
        """The new edition's id."""
        edition_id = ObjectId()
        self._database["edition"].insert_one(
            {
                "_id": edition_id,
                "projectId": ObjectId(project.id),
                "title": title,
                "isPublished": False,
                "dc": dict(dc),
            }
        )
        return str(edition_id)

    def change_edition(self, edition: Edition, changes: Mapping[str, Any]) -> bool:
        """Write fields (`None` removes one); False: the edition is not there any more."""
        wanted = {"_id": ObjectId(edition.id), "projectId": ObjectId(edition.project_id)}
        return self._change("edition", wanted, changes)

    def delete_edition(self, edition: Edition) -> None:
        self._database["editionUser"].delete_many({"editionId": ObjectId(edition.id)})
        self._database["edition"].delete_one({"_id": ObjectId(edition.id), "projectId": ObjectId(edition.project_id)})

    def _change(self, collection: str, wanted: Record, changes: Mapping[str, Any]) -> bool:
        kept = {key: value for key, value in changes.items() if value is not None}
        gone = {key: "" for key, value in changes.items() if value is None}
        update = {operator: fields for operator, fields in (("$set", kept), ("$unset", gone)) if fields}
        if not update:
            return self._database[collection].find_one(wanted, {"_id": 1}) is not None
        return bool(self._database[collection].update_one(wanted, update).matched_count)


def _id(text: str) -> ObjectId | None:
    # Lower case only: the folder is called by the id, and one project must not have two URLs.
    return ObjectId(text) if ObjectId.is_valid(text) and text == text.lower() else None


def _project(record: Record) -> Project:
    return Project(
        id=str(record["_id"]),
        title=str(record.get("title") or "Untitled project"),
        is_visible=record.get("isVisible") is True,
        dc=_dc(record),
    )


def _edition(record: Record) -> Edition:
    return Edition(
        id=str(record["_id"]),
        project_id=str(record["projectId"]),
        title=str(record.get("title") or "Untitled edition"),
        is_published=record.get("isPublished") is True,
        dc=_dc(record),
    )


def _account(record: Record) -> Account:
    role = record.get("role")
    user = str(record["user"])
    person = Person(user, str(record.get("name") or user), role if role in SITE_ROLES else "guest", str(record["_id"]))
    return Account(person, str(record.get("password") or ""), record.get("sample") is True)


def _dc(record: Record) -> Mapping[str, Any]:
    dc = record.get("dc")
    return dc if isinstance(dc, dict) else {}

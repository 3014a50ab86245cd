"""Who asks for what, of which part of the site: Action, Scope, Person, Actor, Permit.

Rule: `Scope` is the only source of folders and lock names; no id from a URL is ever joined to a path elsewhere.

>>> Scope.project("65a1b2c3d4e5f60718293a4b").key
'project:65a1b2c3d4e5f60718293a4b'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")


class Action(StrEnum):
    """What can be asked of the desk; the rows of the table of rights (`auth.py`)."""

    SEE = "see"
    MAKE = "make"
    NOTE = "note"
    PREVIEW = "preview"
    RESTORE = "restore"
    UNDO = "undo"
    DELETE = "delete"
    UNDELETE = "undelete"
    VERIFY = "verify"
    COPY = "copy"  # a snapshot into a folder or database of its own
    DUPLICATE = "duplicate"  # a stored project, restored as a new one
    PEOPLE = "people"  # restore people and their roles together with the site
    TOKENS = "tokens"  # tokens of others
    HEALTH = "health"  # health details


def is_id(text: str) -> bool:
    """Whether `text` may be the id of a project or edition, hence the name of a folder."""
    return bool(_ID.match(text)) and ".." not in text


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """The whole site (`project_id` None) or one project; the only source of paths and locks."""

    project_id: str | None = None

    def __post_init__(self) -> None:
        if self.project_id is not None and not is_id(self.project_id):
            raise ValueError("not the id of a project")

    @classmethod
    def site(cls) -> Scope:
        return cls(None)

    @classmethod
    def project(cls, project_id: str) -> Scope:
        return cls(project_id)

    @property
    def is_site(self) -> bool:
        return self.project_id is None

    @property
    def key(self) -> str:
        """The name of the scope in locks and records: `site` or `project:<id>`."""
        return "site" if self.project_id is None else f"project:{self.project_id}"

    @classmethod
    def from_key(cls, key: str) -> Scope:
        return cls(None) if key == "site" else cls(key.removeprefix("project:"))

    def live_folder(self, working_dir: Path) -> Path:
        """Where the live files of this scope lie; paths in manifest and plan are relative to it."""
        return working_dir if self.project_id is None else working_dir / "project" / self.project_id

    def stored_folder(self, root: Path) -> Path:
        """Where the snapshots of this scope lie, below the repository's folder of the run mode (or its trash)."""
        return root / "site" if self.project_id is None else root / "project" / self.project_id

    def as_dict(self) -> dict[str, str | None]:
        return {"project_id": self.project_id}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the host application knows: `user` is the name he signs in with.

    `identity` is what nobody else has who is called so later: the id of his record. Empty: the host knows people by
    name only.
    """

    user: str
    name: str
    site_role: str  # root, admin, user, guest
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks; never what is allowed. `via` is the door: page, api or cli."""

    user: str
    name: str
    site_role: str
    via: str

    @property
    def is_admin(self) -> bool:
        """Whether the whole site is his business."""
        return self.site_role in ("root", "admin")

    def as_dict(self) -> dict[str, str]:
        return {"user": self.user, "name": self.name, "site_role": self.site_role, "via": self.via}


@dataclass(frozen=True, slots=True)
class Permit:
    """That an actor may do something to a scope; made by `Auth.permit` only. What was checked is what is done."""

    actor: Actor
    action: Action
    scope: Scope
    rule: str
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class ScopeView:
    """A scope as a person sees it: its title, what he may do there, and whether it is still live. `interrupted`: a
    restore has begun to change it, or something in or around it, and nobody is at it."""

    scope: Scope
    title: str
    acts: frozenset[Action]
    exists: bool = True
    interrupted: bool = False

"""The nouns of the editions site: Project, Edition, Account, StoredFile; frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..model import Person


@dataclass(frozen=True, slots=True)
class Project:
    """A record of `project`; `dc` is its Dublin Core metadata, possibly nested."""

    id: str
    title: str
    is_visible: bool
    dc: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Edition:
    """A record of `edition`."""

    id: str
    project_id: str
    title: str
    is_published: bool
    dc: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    """A person as he signs in; `password` is the argon2 hash, empty if there is none."""

    person: Person
    password: str
    is_sample: bool


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an edition; `path` is relative to the edition's folder, with `/`."""

    path: str
    bytes: int
    changed_at: datetime

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

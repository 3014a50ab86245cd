"""What a site is filled with: records and files, ready to be stored; made by code or read from a folder.

Rule: ids are derived from names by hash, so that the same content always has the same ids.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Content:
    """The records of each collection, and the files by their path below the working directory.

    `kind` says where it comes from: `made` or `from`. A file is its bytes, or the file to copy.
    """

    kind: str
    records: Mapping[str, tuple[Record, ...]]
    files: Mapping[str, bytes | Path]

    @property
    def site(self) -> Record:
        """The one record of the site itself."""
        return self.records["site"][0]


def stable_id(kind: str, *names: str) -> ObjectId:
    """The id of the thing that is so called; `kind` keeps a project and an edition of one name apart."""
    return ObjectId(hashlib.sha256("/".join((kind, *names)).encode()).digest()[:12])


def people_records(roles: Mapping[str, tuple[str, str]]) -> tuple[Record, ...]:
    """The `user` records of people, given as user -> (name, site role); nobody has a password yet."""
    return tuple(
        {"_id": stable_id("user", user), "user": user, "name": name, "role": role, "sample": True}
        for user, (name, role) in roles.items()
    )


def coupling(field: str, target: ObjectId, user: str, role: str) -> Record:
    """A record of `projectUser` or `editionUser`: `field` is `projectId` or `editionId`."""
    return {"_id": stable_id(field, str(target), user), "user": user, field: target, "role": role}

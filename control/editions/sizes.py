"""How many files each project has, and their bytes: kept in `cache`, since counting goes through all of its folders.

Rules:

- The collection is nobody's content and stands in `scopes.site.leave`: no snapshot holds it, no restore changes it. So
  after a restore `forget_sizes` is called, the hook of this site.
- What was counted counts for some minutes, since scripts put files there, too; it is forgotten at once where somebody
  changes files through the site.
- Who counts leaves a mark first, and keeps the result only where that is still there: what was forgotten meanwhile was
  counted too early.

>>> sizes.of(project)       # doctest: +SKIP
Size(files=41, bytes=212000000)
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database
from pymongo.errors import DuplicateKeyError

from ..model import Scope
from ..stores.done_plans import DonePlan
from .folder import project_sizes
from .nouns import Project

COLLECTION = "cache"
LASTS = timedelta(minutes=5)
_OURS = "sizes of a project"


@dataclass(frozen=True, slots=True)
class Size:
    files: int
    bytes: int


class Sizes:
    """The sizes of all projects; the driver's errors come out as they are."""

    def __init__(self, database: Database[dict[str, Any]], working: Path) -> None:
        self._cache = database[COLLECTION]
        self._working = working
        self._indexed = False

    def of(self, project: Project) -> Size:
        """What is known, else what is counted now."""
        key, now = _key(project.id), datetime.now(UTC)
        known = self._cache.find_one({"_id": key, "until": {"$gt": now}, "files": {"$exists": True}})
        if known is not None:
            return Size(known["files"], known["bytes"])
        if not self._indexed:
            self._cache.create_indexes([IndexModel([("until", ASCENDING)], expireAfterSeconds=0)])
            self._indexed = True
        mark = secrets.token_hex(8)
        try:
            self._cache.replace_one({"_id": key}, {"kind": _OURS, "mark": mark, "until": now + LASTS}, upsert=True)
        except DuplicateKeyError:  # somebody else has begun to count just now
            mark = ""
        found = project_sizes(self._working, project)
        size = Size(len(found), sum(found))
        self._cache.update_one({"_id": key, "mark": mark}, {"$set": {"files": size.files, "bytes": size.bytes}})
        return size

    def forget(self, project_ids: Iterable[str]) -> None:
        """Count them anew when they are asked for next."""
        self._cache.delete_many({"_id": {"$in": [_key(one) for one in project_ids]}})


def forget_sizes(scope: Scope, plan: DonePlan) -> None:
    """The hook: after a restore, forget what was counted in the folders that it touched."""
    cache = plan.database[COLLECTION]
    if plan.is_itemised:
        touched = {path.split("/")[1] for path in plan.paths() if path.startswith("project/")}
    elif scope.project_id is not None:
        touched = {scope.project_id}
    else:
        cache.delete_many({"kind": _OURS})
        return
    if touched:
        cache.delete_many({"_id": {"$in": [_key(one) for one in touched]}})


def _key(project_id: str) -> str:
    return f"{_OURS} {project_id}"

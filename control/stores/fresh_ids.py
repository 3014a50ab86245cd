"""Ids that nobody has: for a project that comes to be.

>>> new_project_id(mongo, settings.scopes.project, Scope.project("7"), lambda scope: False)      # doctest: +SKIP
'8'
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import count

from bson.objectid import ObjectId

from ..model import Scope
from ..scope_settings import ProjectSettings
from .mongo import Mongo
from .mongo_errors import translated
from .reader import SIMPLE

_LONGEST_STEM = 80  # characters of an old id that is part of a new one


def highest_number(mongo: Mongo, collection: str) -> int:
    """The highest `_id` of a collection that is a number; 0: there is none."""
    with translated(f"collection {collection}"):
        found = mongo.database[collection].find_one(
            {"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", -1)], collation=SIMPLE
        )
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0, int(found["_id"])) if found else 0
    return 0


def new_project_id(mongo: Mongo, project: ProjectSettings, like: Scope, is_taken: Callable[[Scope], bool]) -> str:
    """An id for a new project that is made of `like`.

    Parameters
    ----------
    is_taken: whether a project was ever called so: its snapshots would be taken for those of the new one.
    """
    if project.id == "objectid":
        return str(ObjectId())
    if project.id == "int":
        numbers = count(highest_number(mongo, project.own_collection or "project") + 1)
        return next(str(one) for one in numbers if not is_taken(Scope.project(str(one))))
    stem = f"{like.project_id}"[:_LONGEST_STEM]
    texts = (f"{stem}-copy{f'-{number}' if number > 1 else ''}" for number in count(1))
    return next(one for one in texts if not is_taken(Scope.project(one)))

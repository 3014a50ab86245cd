"""Fills a site with content, and knows whether a site may be filled.

Rules:

- Only an empty site is filled, or one that holds nothing but what an earlier filling put there. The record of the site
  says what that was (`sample`): its projects, editions and files. What was edited is still the sample; what was added
  (a project, an edition, a person, a file) is not.
- Invariant "mark first, complete last": before anything is written or removed the mark names everything old and new
  with `complete: false`; it becomes true with the last write. So a filling that was killed is recognised and redone.

>>> fill_empty(settings, database)      # what `keyframe up` calls
True
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ..errors import InvalidError, NoRoomError, UnavailableError
from ..settings import Settings
from .content import Content
from .made import SEED, made_content
from .real import real_content

Site = Database[dict[str, Any]]

_RESERVED = ".keyframe"
_INDEXES = {
    "user": ("user",),
    "edition": ("projectId",),
    "projectUser": ("user", "projectId"),
    "editionUser": ("user", "editionId"),
}
_NOBODYS = "session"  # who is signed in: no content, and no reason to leave a site alone
_UNIQUE = ("user", "projectUser", "editionUser")


def is_empty(database: Site, working: Path) -> bool:
    """Whether the site has no record in any collection and no file."""
    return not any(_counts(database).values()) and next(_live_files(working), None) is None


def holds_only_sample(database: Site, working: Path) -> bool:
    """Whether everything in the site was put there by a filling (and may have been edited or deleted since)."""
    return next(_others(database, working), None) is None


def make_sample(settings: Settings, database: Site, seed: str = SEED) -> Content:
    """Fill the site with the sample that is made by code; replaces an earlier filling.

    Raises
    ------
    InvalidError: the site holds something else; nothing was changed.
    UnavailableError, NoRoomError: database or disk; the filling is redone by the next one.
    """
    return fill_with(settings, database, made_content(seed))


def load_real(folder: Path, settings: Settings, database: Site) -> Content:
    """Fill the site with the real data in `folder`; replaces an earlier filling. Raises as `make_sample` does."""
    return fill_with(settings, database, real_content(folder.resolve()))


def fill_empty(settings: Settings, database: Site) -> bool:
    """Make the sample where the site is empty, or where making it was cut short; say whether it was made."""
    with _translated():
        mark = _mark(database)
        broken = mark.get("kind") == "made" and not mark.get("complete")
        wanted = is_empty(database, settings.working) or (broken and holds_only_sample(database, settings.working))
    if wanted:
        make_sample(settings, database)
    return wanted


def fill_with(settings: Settings, database: Site, content: Content) -> Content:
    """Fill the site with this content; replaces an earlier filling. Raises as `make_sample` does."""
    working = settings.working
    with _translated():
        if not is_empty(database, working):
            _refuse_others(database, working)
        old = _mark(database)
        new = _mark_of(content)
        both = {key: sorted({*old.get(key, ()), *new[key]}) for key in new}
        site = content.site
        database["site"].replace_one(
            {"_id": site["_id"]}, site | {"sample": {"kind": content.kind, "complete": False, **both}}, upsert=True
        )
        _remove_files(working, both["files"])
        others = {name: records for name, records in content.records.items() if name != "site"}
        for name in others:
            database[name].delete_many({})
        for name, fields in _INDEXES.items():  # while there is nothing to be indexed, which takes much longer
            database[name].create_index([(field, ASCENDING) for field in fields], unique=name in _UNIQUE)
        for name, records in others.items():
            if records:
                database[name].insert_many([dict(record) for record in records])
        _write_files(working, content)
        database["site"].replace_one(
            {"_id": site["_id"]}, site | {"sample": {"kind": content.kind, "complete": True, **new}}
        )
    return content


def _mark(database: Site) -> Mapping[str, Any]:
    for record in database["site"].find({"sample": {"$type": "object"}}):
        mark: Mapping[str, Any] = record["sample"]
        return mark
    return {}


def _mark_of(content: Content) -> dict[str, list[str]]:
    return {
        "projects": sorted(str(record["_id"]) for record in content.records["project"]),
        "editions": sorted(str(record["_id"]) for record in content.records["edition"]),
        "files": sorted(content.files),
    }


def _refuse_others(database: Site, working: Path) -> None:
    others = _others(database, working)
    found = [one for _, one in zip(range(4), others, strict=False)]
    if not found:
        return
    named = ", ".join(found[:3]) + (", and more" if len(found) > 3 else "")
    raise InvalidError(
        f"The site holds what no sample put there: {named}.",
        subject="sample",
        hint="A sample is only loaded into an empty site, or in place of a sample. Nothing was changed.",
    )


def _others(database: Site, working: Path) -> Iterator[str]:
    mark = _mark(database)
    for name in sorted(set(_counts(database)) - {"site", "project", "edition", "user", "projectUser", "editionUser"}):
        if database[name].find_one() is not None:
            yield f"collection {name}"
    if database["site"].find_one({"sample": {"$exists": False}}) is not None:
        yield "a record of the site"
    for kind in ("project", "edition"):
        known = [ObjectId(one) for one in mark.get(f"{kind}s", ())]
        for record in database[kind].find({"_id": {"$nin": known}}, {"title": 1}):
            yield f"{kind} {record.get('title') or record['_id']}"
    for record in database["user"].find({"sample": {"$ne": True}}, {"user": 1}):
        yield f"person {record.get('user') or record['_id']}"
    files = set(mark.get("files", ()))
    for path in _live_files(working):
        if path not in files:
            yield f"file {path}"


def _counts(database: Site) -> dict[str, bool]:
    names = database.list_collection_names(filter={"type": "collection"})
    counted = (name for name in names if name != _NOBODYS and not name.startswith("system."))
    return {name: database[name].find_one() is not None for name in counted}


def _live_files(working: Path) -> Iterator[str]:
    """The paths below `working` of everything that is not a folder, but for the reserved one."""
    for folder, folders, files in os.walk(working):
        here = Path(folder)
        if here == working:
            folders[:] = [name for name in folders if name != _RESERVED]
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*files, *links):
            yield (here / name).relative_to(working).as_posix()


def _remove_files(working: Path, paths: list[str]) -> None:
    folders: set[Path] = set()
    for path in paths:
        (working / path).unlink(missing_ok=True)
        folders.update((working / path).parents)
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        if working in folder.parents:
            with contextlib.suppress(OSError):  # not empty, or gone
                folder.rmdir()


def _write_files(working: Path, content: Content) -> None:
    for path, source in content.files.items():
        target = working / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
        else:
            shutil.copyfile(source, target)
            modified = source.stat().st_mtime_ns
            os.utime(target, ns=(modified, modified))


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise UnavailableError(
            f"The database does not answer or refuses ({type(error).__name__}).",
            subject="sample",
            hint="Try again; a sample that was cut short is made anew.",
        ) from error
    except OSError as error:
        kind = NoRoomError if error.errno in (28, 122) else UnavailableError
        raise kind(
            f"The disk refuses: {error.strerror}.",
            subject=str(error.filename or "sample"),
            hint="Make room or correct the rights of the folder, then try again; a sample cut short is made anew.",
        ) from error

"""What of a snapshot is meant: Selection.

Rules:

- Empty means all. `projects` and `editions` narrow files and records alike: what lies in their folders, and what
  belongs to them.
- `paths` name files, with everything below them; `collections` and `records` name records. Whoever names something
  means that and nothing else: with paths alone no records, with collections or records alone no files.
- Values of one field add up, and so do `collections` and `records`; different fields narrow each other: a path counts
  as far as it lies in the chosen editions, a collection as far as its records belong to the chosen projects.
- `only` narrows all of that to files or to records. What could mean nothing at all is refused.
- A record is shown and given as `<collection>/<id>`, which `record_name` alone makes and `record_of_name` alone reads:
  the first slash ends the collection, in whose name `%2F` is a slash and `%25` a percent sign.

>>> Selection(paths=("edition/1/model.glb",)).has_records
False
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from .scopes import is_id

FILES, RECORDS = "files", "records"
_ESCAPE = re.compile("%(?:(2f)|(25))?", re.IGNORECASE)
_LONGEST_PATH, _LONGEST_NAME, _LONGEST_RECORD = 1 << 20, 255, 64_000


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a snapshot is meant; empty means all of it.

    `projects` picks projects out of a site snapshot, `editions` picks editions of one project. `paths` are relative to
    the folder of the scope, `.` is that folder; bytes that are no UTF-8 are surrogates. A record is its collection and
    its `_id` in canonical extended JSON, so that ids of any type can be named. `only` is `files`, `records` or empty.
    """

    projects: tuple[str, ...] = ()
    editions: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    records: tuple[tuple[str, str], ...] = ()
    only: str = ""

    def __post_init__(self) -> None:
        for kind in (self.projects, self.editions):
            if not all(is_id(one) for one in kind):
                raise ValueError("not an id of a project or edition")
        for path in self.paths:
            require_path(path)
        for name in (*self.collections, *(name for name, _ in self.records)):
            require_collection(name)
        records = {(name, canonical_json(ident)) for name, ident in self.records}
        self._require_something()
        for key in ("projects", "editions", "collections"):
            object.__setattr__(self, key, tuple(sorted(set(getattr(self, key)))))
        object.__setattr__(self, "paths", tuple(sorted(set(self.paths), key=os.fsencode)))
        object.__setattr__(self, "records", tuple(sorted(records)))

    def _require_something(self) -> None:
        if self.only not in ("", FILES, RECORDS):
            raise ValueError("what a selection can be narrowed to is `files` or `records`")
        if self.only == FILES and (self.collections or self.records):
            raise ValueError("files only, and collections or records: together they mean nothing")
        if self.only == RECORDS and self.paths:
            raise ValueError("records only, and paths: together they mean nothing")

    @property
    def is_empty(self) -> bool:
        return self == EVERYTHING

    @property
    def has_files(self) -> bool:
        """Whether any files are meant."""
        return self.only != RECORDS and (bool(self.paths) or not (self.collections or self.records))

    @property
    def has_records(self) -> bool:
        """Whether any records are meant."""
        return self.only != FILES and (bool(self.collections or self.records) or not self.paths)

    @property
    def is_divided(self) -> bool:
        """Whether files may come back without the records that belong to them, or the other way round."""
        return bool(self.paths or self.collections or self.records or self.only)

    @property
    def named_collections(self) -> tuple[str, ...]:
        """Those that are named, and those of the named records."""
        return tuple(sorted({*self.collections, *(name for name, _ in self.records)}))

    @property
    def record_names(self) -> tuple[str, ...]:
        """The named records as one gives them, with the canonical form of their ids."""
        return tuple(record_name(*one) for one in self.records)

    def may_touch(self, project_id: str) -> bool:
        """Whether this, of the whole site, may be about something of a project."""
        if self.projects:
            return project_id in self.projects
        folder = f"project/{project_id}"
        below = any(folder == one or one.startswith(f"{folder}/") or _holds(one, folder) for one in self.paths)
        return below or self.has_records

    def narrowed(self) -> Selection:
        """The same of the one project of `projects`, with paths relative to its folder.

        Raises
        ------
        ValueError: a path lies elsewhere.
        """
        (project_id,) = self.projects
        folder = f"project/{project_id}"
        found = []
        for path in self.paths:
            if path.startswith(f"{folder}/"):
                found.append(path[len(folder) + 1 :])
            elif path == folder or _holds(path, folder):
                found.append(".")
            else:
                raise ValueError(f"a path does not lie in the folder of the project, {folder}")
        return replace(self, projects=(), paths=tuple(found))

    def widened(self, project_id: str) -> Selection:
        """The same as one selects it of the site: the way back of `narrowed`."""
        folder = f"project/{project_id}"
        paths = tuple(folder if path == "." else f"{folder}/{path}" for path in self.paths)
        return replace(self, projects=(project_id,), paths=paths)

    def as_dict(self) -> dict[str, Any]:
        """The shape of REST, labels and plans; a path that is no UTF-8 is in base64, as in a manifest."""
        texts, coded = _texts(self.paths)
        return {
            "projects": list(self.projects),
            "editions": list(self.editions),
            "paths": texts,
            **({"paths_b64": coded} if coded else {}),
            "collections": list(self.collections),
            "records": [{"collection": name, "id": ident} for name, ident in self.records],
            "only": self.only,
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Selection:
        """What is missing is empty: older labels, jobs and plans have projects and editions only."""
        return cls(
            tuple(doc.get("projects", ())),
            tuple(doc.get("editions", ())),
            (*doc.get("paths", ()), *(path_of_base64(one) for one in doc.get("paths_b64", ()))),
            tuple(doc.get("collections", ())),
            tuple((one["collection"], one["id"]) for one in doc.get("records", ())),
            doc.get("only", ""),
        )


def require_path(path: str) -> None:
    """Raise ValueError for what cannot be a path below a scope's folder."""
    raw = os.fsencode(path)  # UnicodeEncodeError: no bytes have this name
    if path != "." and (b"\0" in raw or any(part in (b"", b".", b"..") for part in raw.split(b"/"))):
        raise ValueError("not a path below the folder: no `..`, no `/` in front, behind or twice")
    if len(raw) > _LONGEST_PATH:
        raise ValueError("too long for a path")


def require_collection(name: str) -> None:
    """Raise ValueError for what cannot be the name of a collection."""
    raw = name.encode()  # UnicodeEncodeError: MongoDB has no such name
    if not raw or b"\0" in raw or len(raw) > _LONGEST_NAME:
        raise ValueError("not the name of a collection")


def record_name(collection: str, ident: str) -> str:
    """`<collection>/<id>`, from which both can be had again."""
    return f"{collection.replace('%', '%25').replace('/', '%2F')}/{ident}"


def record_of_name(name: str) -> tuple[str, str]:
    """Collection and id, as they were given to `record_name`; ValueError for what that never makes."""
    collection, slash, ident = name.partition("/")
    if not slash:
        raise ValueError("a record is named by its collection, a slash and its id")
    return _ESCAPE.sub(_unescaped, collection), ident


def _unescaped(found: re.Match[str]) -> str:
    if len(found[0]) == 1:
        raise ValueError("in the name of a collection before a slash, `%` is written `%25`, and `/` is `%2F`")
    return "/" if found[1] else "%"


def canonical_json(text: str) -> str:
    """One spelling of a value in canonical extended JSON; ValueError for what is none."""
    if len(text) > _LONGEST_RECORD:
        raise ValueError("too long for the id of a record")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("too deep for the id of a record") from error
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("not canonical extended JSON: a number needs its type")
    found = json.dumps(value, ensure_ascii=False)
    found.encode()  # UnicodeEncodeError: half of a surrogate pair
    return found


def tidy_path(text: str) -> str:
    """A path as people type it: `./a/b/` is `a/b`."""
    path = text.rstrip("/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path or text


def path_of_base64(text: str) -> str:
    """The path that stands in base64; ValueError for what is none."""
    try:
        return os.fsdecode(base64.b64decode(text, validate=True))
    except ValueError as error:
        raise ValueError("not a path in base64") from error


def _holds(path: str, folder: str) -> bool:
    return path == "." or folder.startswith(f"{path}/")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _texts(paths: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those that are UTF-8, and the others in base64."""
    texts, coded = [], []
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            coded.append(base64.b64encode(os.fsencode(path)).decode("ascii"))
        else:
            texts.append(path)
    return texts, coded


EVERYTHING = Selection()

"""What a snapshot is: its header, the entries of its manifest, what was restored with it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..errors import Problem, shown
from .excluded import Excluded
from .marks import RestoreMark
from .scopes import Scope
from .stems import LONGEST_STEM, stem_of
from .times import utc_text
from .verdicts import Verdict

FORMAT = 1
SYSTEM_JS = "system.js"  # functions for the server; the only collection of that kind that mongodump keeps
NO_ROOM = "no-room"  # the problem of a safety snapshot that leaves something out for lack of room
SHRUNK = "shrunk"  # the problem of a snapshot whose source had lost most of what it held
BUCKETS = "system.buckets."  # before the name of a time series: the collection with its documents
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\Z", re.ASCII)


class Reason(StrEnum):
    """Why a snapshot was made."""

    MANUAL = "manual"
    API = "api"
    SAFETY = "safety"
    UNKNOWN = "unknown"  # in lists only: the header of a damaged snapshot cannot be read


class Status(StrEnum):
    """What a snapshot is worth: whole, with named problems, or not to be restored."""

    DONE = "done"
    PARTIAL = "partial"
    DAMAGED = "damaged"


def is_capped(options: str) -> bool:
    """Whether these options of a collection (canonical extended JSON) say that it is capped."""
    return bool(json.loads(options).get("capped"))


def is_snapshot_name(text: str) -> bool:
    """Whether `text` has the form of a snapshot's name: `2026-11-21T10-53-15Z`."""
    return bool(_NAME.match(text))


Attributes = tuple[tuple[bytes, bytes], ...]  # extended ones: names and values, sorted by name


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file, directory or symbolic link of an inventory.

    `path` is relative to the scope's folder, `.` the folder itself, undecodable bytes as surrogates;
    `kind` is file, directory or link; `size` in bytes; `sha256` of a file; `target` of a link; `attributes` are the
    extended ones, access lists among them.
    A directory has size 0 and mtime_ns 0: its time says only when its list of names last changed.
    """

    path: str
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    sha256: str = ""
    target: str = ""
    attributes: Attributes = ()


@dataclass(frozen=True, slots=True)
class Inexact:
    """A document that JSON cannot hold exactly: its line in the file (from 1), its `_id` as JSON, and why."""

    line: int
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class CollectionEntry:
    """One collection of a manifest: what was dumped of it, and what it takes to create it again.

    `stem` is the name of its files below `db/`, without extension; `options` and `indexes` are as MongoDB lists them,
    in canonical extended JSON; `sha256` and `bytes` are of the BSON file, `json_sha256` (empty: there is none) and
    `json_bytes` of the JSON file; `json_inexact` counts the documents that JSON cannot hold exactly, `json_named` are
    the first of them. `outside_instant`: a capped collection, too large to be read while the gate was closed.
    """

    name: str
    stem: str
    kind: str  # collection, timeseries or view
    documents: int
    bytes: int
    sha256: str
    options: str
    indexes: str
    json_bytes: int = 0
    json_sha256: str = ""
    json_inexact: int = 0
    json_named: tuple[Inexact, ...] = ()
    outside_instant: bool = False

    @property
    def is_capped(self) -> bool:
        return is_capped(self.options)

    # Time series lie in the collection of their buckets, and mongodump calls the dump after that.

    @property
    def dump_stem(self) -> str:
        """The name of the files with its documents; that of the metadata is `stem`."""
        if self.kind != "timeseries":
            return self.stem
        stem = f"{BUCKETS}{self.stem}"
        return stem if len(stem) <= LONGEST_STEM else stem_of(f"{BUCKETS}{self.name}")

    @property
    def bson_path(self) -> str:
        """Below `db/`, as the other two."""
        return f"bson/{self.dump_stem}.bson"

    @property
    def json_path(self) -> str:
        return f"json/{self.dump_stem}.json"

    @property
    def metadata_path(self) -> str:
        return f"bson/{self.stem}.metadata.json"


@dataclass(frozen=True, slots=True)
class Part:
    """Counts of one project inside a site snapshot, and what it was called then."""

    files: int = 0
    documents: int = 0
    bytes: int = 0
    title: str = ""
    excluded: int = 0  # paths in its folder that were left out

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Instant:
    """The moment a snapshot shows: MongoDB's cluster time (seconds, counter) and the same as UTC."""

    seconds: int
    counter: int
    utc: datetime

    def as_dict(self) -> dict[str, Any]:
        return {"cluster_time": {"t": self.seconds, "i": self.counter}, "utc": utc_text(self.utc)}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The header of one stored snapshot, as lists show it. `note`, `pinned` and `restores` come from its labels,
    `verified` from the control database (None: never verified, or the database does not answer).

    `unknown_paths` and `unknown_collections` are what its problems are about: a restore leaves them as they are.
    `confirmed` are what would have been problems, had not the person who made it said that they are right.
    """

    scope: Scope
    name: str
    made_at: datetime
    made_by: str
    reason: Reason
    note: str
    pinned: bool
    instant: Instant | None
    bytes: int
    files: int
    documents: int
    status: Status
    format: int
    manifest_sha256: str
    title: str = ""  # of the project, when it was made
    application: str = ""  # the version of the host's application then; empty: not known
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()  # worth a look, though this snapshot is whole
    confirmed: tuple[Problem, ...] = ()
    excluded: Excluded = field(default_factory=Excluded)
    unknown_paths: tuple[str, ...] = ()
    unknown_collections: tuple[str, ...] = ()
    projects: Mapping[str, Part] = field(default_factory=dict)
    restores: tuple[RestoreMark, ...] = ()
    deleted_at: datetime | None = None
    deleted_by: str = ""
    verified: Verdict | None = None

    def part_of(self, project_id: str) -> Snapshot:
        """The same header with the counts and problems of one project's part; nothing of other projects."""
        part = self.projects.get(project_id, Part())
        top = f"project/{project_id}"
        around = ("", ".", top, self.name)

        def own(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
            shrunk = (_SITE_SHRUNK,) if any(one.code == SHRUNK for one in problems) else ()
            unkept = (_SITE_UNKEPT,) if any(_is_unkept_around(one) for one in problems) else ()
            mine = (one for one in problems if one.subject in around or one.subject.startswith(top + "/"))
            return (*shrunk, *unkept, *(one for one in mine if one.code != SHRUNK and not _is_unkept_around(one)))

        mine = own(self.problems)
        status = Status.DONE if self.status is Status.PARTIAL and not mine else self.status
        return replace(
            self,
            files=part.files,
            documents=part.documents,
            bytes=part.bytes,
            status=status,
            projects={},
            problems=mine,
            warnings=own(self.warnings),
            confirmed=own(self.confirmed),
            excluded=self.excluded.part_of(top, part.excluded),
        )

    @property
    def shrunk(self) -> tuple[Problem, ...]:
        """What its source had lost when it was made, where nobody has said that this is right."""
        return tuple(one for one in self.problems if one.code == SHRUNK)

    @property
    def is_damaged(self) -> bool:
        """Whether its header, or the last verification, says that it is not what was written."""
        return self.status is Status.DAMAGED or (self.verified is not None and self.verified.is_bad)

    def unknown_in(self, scope: Scope) -> frozenset[str]:
        """The unknown paths as `scope` has them: of a site snapshot a project has only its own, relative to it."""
        return self._within(self.unknown_paths, scope)

    @property
    def unkept(self) -> frozenset[str]:
        """What its problems say was left out for lack of room: paths, and `collection <name>`."""
        return frozenset(one.subject for one in self.problems if one.code == NO_ROOM)

    def unkept_in(self, scope: Scope) -> frozenset[str]:
        """Those of the unknown paths that were left out for lack of room, as `scope` has them."""
        unkept = self.unkept
        return self._within((path for path in self.unknown_paths if shown(path) in unkept), scope) if unkept else unkept

    def _within(self, paths: Iterable[str], scope: Scope) -> frozenset[str]:
        all_of_it = frozenset(paths)
        if self.scope == scope or scope.project_id is None:
            return all_of_it
        top = f"project/{scope.project_id}"
        inside = {path[len(top) + 1 :] or "." for path in all_of_it if path == top or path.startswith(top + "/")}
        around = {"."} if {".", "project"} & all_of_it else set()
        return frozenset(inside | around)

    @property
    def undoable(self) -> RestoreMark | None:
        """The latest restore it was the safety snapshot of that is not undone yet."""
        open_marks = [mark for mark in self.restores if mark.state == "done"]
        return max(open_marks, key=lambda mark: mark.at) if open_marks else None

    @property
    def latest_mark(self) -> RestoreMark | None:
        """The latest restore it was the safety snapshot of, undone or not."""
        return max(self.restores, key=lambda mark: mark.at, default=None)

    @property
    def told_mark(self) -> RestoreMark | None:
        """The restore that is spoken of where one is: what an undo would take back, else the latest it served."""
        return self.undoable or self.latest_mark

    @property
    def is_safety(self) -> bool:
        """Whether it was made as a safety snapshot, or has served as one."""
        return self.reason is Reason.SAFETY or bool(self.restores)

    def was_made_for(self, job: str) -> bool:
        """Whether it was made as the safety snapshot of this job; else it was there already, and has served it."""
        first = min(self.restores, key=lambda mark: mark.at, default=None)
        return self.reason is Reason.SAFETY and (first is None or first.job == job)

    def as_dict(self) -> dict[str, Any]:
        """The shape of REST and `--json`."""
        mark = self.told_mark
        return {
            "name": self.name,
            "scope": self.scope.as_dict(),
            "made_at": utc_text(self.made_at),
            "made_by": self.made_by,
            "reason": self.reason.value,
            "note": self.note,
            "status": self.status.value,
            "files": self.files,
            "documents": self.documents,
            "bytes": self.bytes,
            "instant": self.instant.as_dict() if self.instant else None,
            "problems": [problem.as_dict() for problem in self.problems],
            "warnings": [problem.as_dict() for problem in self.warnings],
            "confirmed": [problem.as_dict() for problem in self.confirmed],
            "excluded": self.excluded.as_shown(),
            "safety_of": mark.as_shown() if mark else None,
            "deleted_at": utc_text(self.deleted_at) if self.deleted_at else None,
            "deleted_by": self.deleted_by or None,
            "format": self.format,
            "verified": self.verified.as_dict() if self.verified else None,
        }


# What a project is told of it: the numbers are those of the whole site.
_SITE_UNKEPT = Problem(
    NO_ROOM,
    "There was no room for all of the site: not everything of this project need be in it.",
    "the site",
    "A restore leaves as it is what is not.",
)


def _is_unkept_around(problem: Problem) -> bool:
    """Whether something was left out for lack of room that projects may have a part in."""
    around = problem.subject in (".", "project") or problem.subject.startswith("collection ")
    return problem.code == NO_ROOM and around


_SITE_SHRUNK = Problem(
    "shrunk",
    "The site had lost most of its files or records when this was made; this project may be among them.",
    "",
    "Compare it with an older one before you restore it.",
)

"""Judging a make: whether anything changed, and whether so much is missing that a person has to say it is right.

Rules:

- `unchanged` needs a newest snapshot that is whole and as it was written, and a make without problems of its own. It
  must have been made with the same patterns, too: what it leaves open, a restore of it leaves alone.
- A safety snapshot need not be made where an older snapshot is whole and holds exactly the same, made with the same
  patterns: that one serves (`alike`).
- A source that is there but empty, or has lost more than half of its files or records since the scope was last known
  to be good, may be a disk that is not mounted: that is a problem, `shrunk`, until the one who makes the snapshot
  confirms it. Fewer than `LEAST` that are gone are nothing to ask about, unless nothing at all is left.
- What is missing stays absent in the snapshot: it was looked for, and was not there.

>>> shrunk(before, Held(files=12, folders=4, documents=80), frozenset())[0].what       # doctest: +SKIP
'88 of 100 files have gone since 2026-11-20 10:53 UTC.'
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import NotFoundError, Problem
from ..model import SHRUNK, Patterns, Reason, Scope, Snapshot, Status
from ..stores.repository import Repository
from ..stores.searching import with_labels, with_manifest
from .damage import Damage

LEAST = 10


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest snapshot of a scope that others may be made from (None: there is none), and whether it is the newest
    of all and whole, so that a state that equals it need not be stored again."""

    snapshot: Snapshot | None = None
    is_whole: bool = False

    def same_as(self, header: dict[str, Any]) -> Snapshot | None:
        """The newest snapshot, where it is whole and holds exactly what `header` says, which has no problems."""
        if self.snapshot is None or not self.is_whole or header["problems"]:
            return None
        is_same = self.snapshot.manifest_sha256 == header["manifest"]["sha256"]
        return self.snapshot if is_same and _has_same_patterns(self.snapshot, header) else None


def alike(repository: Repository, scope: Scope, header: dict[str, Any], damage: Damage) -> Iterator[Snapshot]:
    """The whole snapshots of a scope that hold exactly what `header` says, newest first; none where that has problems.

    Where stored files are known to be damaged, whichever snapshots share them, there is none.
    """
    if header["problems"] or damage.inodes or damage.is_everywhere:
        return
    manifest = header["manifest"]
    for one in with_manifest(repository, scope, manifest["bytes"], manifest["sha256"]):
        is_good = one.status is Status.DONE and repository.place_of(scope, one.name) not in damage.places
        if is_good and _has_same_patterns(one, header):
            yield one


def _has_same_patterns(snapshot: Snapshot, header: dict[str, Any]) -> bool:
    return bool(snapshot.excluded.patterns.as_dict() == header["excluded"]["patterns"])


def newest_of(repository: Repository, scope: Scope, damaged: frozenset[str]) -> Newest:
    """Where the next make begins.

    Parameters
    ----------
    damaged: the folders in which a verification found damage; nothing is made from what lies there.
    """
    is_last = True
    for one in repository.newest_first(scope):
        if one.status is Status.DAMAGED:
            is_last = False
            continue
        if repository.place_of(scope, one.name) in damaged:
            break
        return Newest(one, is_last and one.status is Status.DONE)
    return Newest()


def last_known(repository: Repository, scope: Scope) -> Snapshot | None:
    """The snapshot whose counts the scope is expected to be about: the newest good one, or one that was restored since.

    A safety snapshot is nobody's statement that all is well; but the restore that it served brought about what
    somebody had looked at and agreed to.
    """
    whole = (one for one in repository.newest_first(scope) if one.status is Status.DONE)
    good = next((one for one in whole if one.reason is not Reason.SAFETY), None)
    marked = (one for one in with_labels(repository, scope) if one.status is not Status.DAMAGED)
    agreed = (_restored(repository, one) for one in marked)
    found = [one for one in (good, *agreed) if one is not None]
    return max(found, key=lambda one: one.made_at, default=None)


def _restored(repository: Repository, safety: Snapshot) -> Snapshot | None:
    """What was brought back as a whole after `safety` was made, as the scope is shown it; None: no restore."""
    mark = safety.undoable
    if mark is None or not mark.selection.is_empty:
        return None
    with contextlib.suppress(NotFoundError):
        found = repository.get(mark.snapshot_scope, mark.snapshot)
        if found.status is not Status.DAMAGED:
            project_id = safety.scope.project_id
            counted = found if found.scope == safety.scope or project_id is None else found.part_of(project_id)
            return replace(counted, made_at=mark.at)
    return None


@dataclass(frozen=True, slots=True)
class Held:
    """What a make has found, but for what `patterns` leave out: `folders` counts the scope's own, too."""

    files: int
    folders: int
    documents: int
    patterns: Patterns = field(default_factory=Patterns)


def shrunk(before: Snapshot | None, now: Held, unknown: frozenset[str]) -> list[Problem]:
    """What of the files and of the records is missing since `before`.

    Parameters
    ----------
    unknown: paths that could not be read; where the scope's folder is one of them, that is said already.
    """
    if before is None:
        return []
    since = f"{before.made_at:%Y-%m-%d %H:%M} UTC"
    found = []
    # After a change of the patterns fewer files say nothing, unless there are none at all.
    files = before.files if before.excluded.patterns == now.patterns else min(before.files, max(now.files, 1))
    if "." not in unknown and _is_lost(files, now.files, nothing=now.files == 0 and now.folders <= 1):
        found.append(_problem("files", before.files, now.files, since))
    if _is_lost(before.documents, now.documents, nothing=now.documents == 0):
        found.append(_problem("records", before.documents, now.documents, since))
    return found


def _is_lost(before: int, now: int, *, nothing: bool) -> bool:
    gone = before - now
    return (nothing and gone > 0) or (gone >= LEAST and now * 2 < before)


def _problem(noun: str, before: int, now: int, since: str) -> Problem:
    gone = f"all {before:,} {noun}" if now == 0 else f"{before - now:,} of {before:,} {noun}"
    what = f"{gone[0].upper()}{gone[1:]} have gone since {since}."
    hint = "Look whether a disk is not mounted. If this is right, make another snapshot and confirm it."
    return Problem("shrunk", what, noun, hint)


def judged(header: dict[str, Any], missing: list[Problem], confirm: tuple[str, ...]) -> dict[str, Any]:
    """The header with what is missing: among its problems, or, where that is confirmed, beside them."""
    told = [one.as_dict() for one in missing]
    is_right = SHRUNK in confirm
    problems = header["problems"] + ([] if is_right else told)
    status = Status.PARTIAL if problems else Status.DONE
    return header | {"status": status.value, "problems": problems, "confirmed": told if is_right else []}

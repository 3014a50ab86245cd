"""`snapshot.json` and `labels.json`: the header of a stored snapshot, and the little about it that may change.

Rules:

- `snapshot.json` is written once, before the commit. `labels.json` is replaced by rename, is no part of the manifest
  and is never linked from one snapshot to another.
- A reader refuses what a newer format wrote, and ignores fields it does not know.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import DamagedError, Problem
from ..model import (
    FORMAT,
    Excluded,
    Instant,
    Part,
    Reason,
    RestoreMark,
    Scope,
    Selection,
    Snapshot,
    Status,
    utc_moment,
    utc_text,
)
from .header_fields import are_labels, can_be_used, is_count, is_text
from .stored_tree import read_small

# What bytes that are no labels raise, whatever they are.
NO_LABELS = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Labels:
    """What may change about a snapshot. `note` None: the one it was made with."""

    note: str | None = None
    pinned: bool = False
    restores: tuple[RestoreMark, ...] = ()
    deleted_at: datetime | None = None
    deleted_by: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "note": self.note,
            "pinned": self.pinned,
            "restores": [_mark_document(mark) for mark in self.restores],
            "deleted_at": utc_text(self.deleted_at) if self.deleted_at else None,
            "deleted_by": self.deleted_by,
        }


def write_json(path: Path, document: Mapping[str, Any], *, durable: bool = True) -> None:
    """Write a small file: beside it, flushed unless that comes later (`durable`), renamed over it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "w", encoding="utf-8") as file:
            file.write(_json(document) + "\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _json(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # a path that is not UTF-8 travels as escaped surrogates
        text = json.dumps(document, indent=1)
    return text


def read_header(scope: Scope, folder: Path) -> Snapshot:
    """The header of the snapshot in `folder`, without its labels.

    Raises
    ------
    DamagedError: `header-missing`, `header-invalid`, `format-newer`, `manifest-missing`, `manifest-size`.
    """
    header, size = _read(scope, folder)
    try:
        found = (folder / "manifest.jsonl").stat().st_size
    except OSError as error:
        raise DamagedError("manifest-missing", "has lost its manifest.", subject=folder.name) from error
    if found != size:
        raise DamagedError(
            "manifest-size", f"has a manifest of {found} bytes, {size} were written.", subject=folder.name
        )
    return header


def _read(scope: Scope, folder: Path) -> tuple[Snapshot, int]:
    """What `snapshot.json` says, and how many bytes its manifest has."""
    try:
        document = json.loads(read_small(folder, "snapshot.json").decode("utf-8"))
    except OSError as error:
        raise DamagedError("header-missing", "has no readable snapshot.json.", subject=folder.name) from error
    except (ValueError, RecursionError) as error:
        raise DamagedError("header-invalid", "has a snapshot.json that is not JSON.", subject=folder.name) from error
    try:
        if type(document["format"]) is int and document["format"] > FORMAT:
            raise DamagedError(
                "format-newer",
                f"was written in format {document['format']}, this version reads up to {FORMAT}.",
                subject=folder.name,
                hint="Update Keyframe; the snapshot is left as it is.",
            )
        if not can_be_used(document):
            raise ValueError("a value that cannot be")
        return _header(scope, folder.name, document), int(document["manifest"]["bytes"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DamagedError("header-invalid", "has a snapshot.json with wrong fields.", subject=folder.name) from error


def _header(scope: Scope, name: str, document: Mapping[str, Any]) -> Snapshot:
    if Scope(document["scope"]["project_id"]) != scope:
        raise ValueError("of another scope")
    instant = document["instant"]
    return Snapshot(
        scope=scope,
        name=name,
        made_at=utc_moment(document["made_at"]),
        made_by=document["made_by"],
        reason=Reason(document["reason"]),
        note=document["note"],
        pinned=False,
        instant=Instant(instant["cluster_time"]["t"], instant["cluster_time"]["i"], utc_moment(instant["utc"])),
        bytes=document["bytes"],
        files=document["files"],
        documents=document["documents"],
        status=Status(document["status"]),
        format=document["format"],
        manifest_sha256=document["manifest"]["sha256"],
        title=document["title"],
        application=_application(document),
        problems=tuple(Problem.from_dict(problem) for problem in document["problems"]),
        warnings=tuple(Problem.from_dict(problem) for problem in document.get("warnings", ())),
        confirmed=tuple(Problem.from_dict(problem) for problem in document.get("confirmed", ())),
        excluded=Excluded.from_dict(document["excluded"]),
        unknown_paths=tuple(document["unknown"]["paths"]),
        unknown_collections=tuple(document["unknown"]["collections"]),
        projects={key: _part(part) for key, part in document["projects"].items()},
    )


def _application(document: Mapping[str, Any]) -> str:
    """The version of the host's application, where the header says one."""
    versions = document.get("versions")
    found = versions.get("application", "") if isinstance(versions, dict) else ""
    return found if is_text(found) else ""


def _part(document: Mapping[str, Any]) -> Part:
    numbers = document["files"], document["documents"], document["bytes"], document["excluded"]
    if not is_text(document["title"]) or not all(is_count(number) for number in numbers):
        raise ValueError("not the part of a project")
    return Part(document["files"], document["documents"], document["bytes"], document["title"], document["excluded"])


NO_DATE = datetime.fromtimestamp(0, UTC)


def named_moment(name: str) -> datetime:
    """The second that a snapshot is named after; 1970 where the name is no date at all."""
    try:
        return datetime.fromisoformat(f"{name[:10]}T{name[11:19].replace('-', ':')}Z")  # ten times as quick as strptime
    except ValueError:
        return NO_DATE


def damaged_header(scope: Scope, folder: Path, error: DamagedError) -> Snapshot:
    """What a list shows of a snapshot that cannot be restored: what its header says, where that can be read."""
    with contextlib.suppress(DamagedError):
        header, _ = _read(scope, folder)
        return replace(header, status=Status.DAMAGED, problems=(error.problem(), *header.problems))
    return Snapshot(
        scope=scope,
        name=folder.name,
        made_at=named_moment(folder.name),
        made_by="",
        reason=Reason.UNKNOWN,
        note="",
        pinned=False,
        instant=None,
        bytes=0,
        files=0,
        documents=0,
        status=Status.DAMAGED,
        format=0,
        manifest_sha256="",
        problems=(error.problem(),),
    )


def read_labels(folder: Path) -> Labels:
    """The labels of a snapshot; none where the file cannot be read (a snapshot is good without them)."""
    try:
        return labels_from(read_small(folder, "labels.json"))
    except (OSError, *NO_LABELS):
        return Labels()


def labels_from(content: bytes) -> Labels:
    """The labels that the bytes of `labels.json` stand for; raises one of `NO_LABELS` where they are none."""
    document = json.loads(content.decode("utf-8"))
    if not are_labels(document):
        raise ValueError("no labels")
    return Labels(
        note=document["note"],
        pinned=document["pinned"],
        restores=tuple(_mark(mark) for mark in document["restores"]),
        deleted_at=utc_moment(document["deleted_at"]) if document["deleted_at"] else None,
        deleted_by=document["deleted_by"],
    )


def labels_of(header: Snapshot, labels: Labels) -> Snapshot:
    """A header with what its labels say."""
    return replace(
        header,
        note=header.note if labels.note is None else labels.note,
        pinned=labels.pinned,
        restores=labels.restores,
        deleted_at=labels.deleted_at,
        deleted_by=labels.deleted_by,
    )


def _mark_document(mark: RestoreMark) -> dict[str, Any]:
    return {
        "job": mark.job,
        "snapshot": mark.snapshot,
        "snapshot_scope": mark.snapshot_scope.key,
        "selection": mark.selection.as_dict(),
        "people": mark.people,
        "digest": mark.digest,
        "at": utc_text(mark.at),
        "state": mark.state,
        "by": mark.by,
        "act": mark.act,
        "undoes": mark.undoes,
        "turned_back": mark.turned_back,
    }


def _mark(document: Mapping[str, Any]) -> RestoreMark:
    return RestoreMark(
        job=document["job"],
        snapshot=document["snapshot"],
        snapshot_scope=Scope.from_key(document["snapshot_scope"]),
        selection=Selection.from_dict(document["selection"]),
        people=document["people"],
        digest=document["digest"],
        at=utc_moment(document["at"]),
        state=document["state"],
        by=document.get("by", ""),
        act=document.get("act", "restore"),
        undoes=document.get("undoes", ""),
        turned_back=document.get("turned_back", False),
    )

"""The fields of `snapshot.json` and `labels.json`, as docs/snapshot-format.md lists them: what must be there, and of
what type.

Rules:

- A new field of the header has its line here and in the document; `tests/test_format.py` compares the two, and both
  with real snapshots.
- A field that is not here is unknown, and ignored by readers; one that is here and missing makes a header invalid,
  unless it is `Maybe`.

>>> mistakes_of({"format": 1})[0]
'`scope` is missing'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Reason, Status, utc_moment

Check = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Keyed:
    """An object whose keys are ids or names, each with a value of this shape."""

    key: str
    shape: Any


@dataclass(frozen=True, slots=True)
class Maybe:
    """A field that may be absent."""

    shape: Any


def is_text(value: Any) -> bool:
    """Half of a surrogate pair is no text: nothing could write it to a page or a terminal."""
    try:
        return isinstance(value, str) and (value.isascii() or bool(value.encode("utf-8")))
    except UnicodeEncodeError:
        return False


def _path(value: Any) -> bool:
    """A text in which bytes that are no UTF-8 are escaped."""
    try:
        return isinstance(value, str) and (value.isascii() or bool(value.encode("utf-8", "surrogateescape")))
    except UnicodeEncodeError:
        return False


def _text_or_null(value: Any) -> bool:
    return value is None or is_text(value)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _format(value: Any) -> bool:
    return type(value) is int and value >= 1


def _number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < 1 << 63


def _digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _time(value: Any) -> bool:
    try:
        return isinstance(value, str) and utc_moment(value) is not None
    except (ValueError, OverflowError):  # a date whose zone brings it before the year 1 or behind 9999
        return False


def _one_of(*values: str) -> Check:
    return lambda value: value in values


HEADER: Mapping[str, Any] = {
    "format": _format,
    "scope": {"project_id": _text_or_null},
    "title": is_text,
    "run_mode": is_text,
    "status": _one_of(Status.DONE.value, Status.PARTIAL.value),
    "problems": [{"code": is_text, "what": is_text, "subject": is_text, "hint": is_text}],
    "warnings": Maybe([{"code": is_text, "what": is_text, "subject": is_text, "hint": is_text}]),
    "confirmed": Maybe([{"code": is_text, "what": is_text, "subject": is_text, "hint": is_text}]),
    "unknown": {"paths": [_path], "collections": [is_text]},
    "instant": {"cluster_time": {"t": is_count, "i": is_count}, "utc": _time},
    "gate": {"closed_seconds": _number, "tries": is_count},
    "passes": is_count,
    "retries": is_count,
    "files": is_count,
    "documents": is_count,
    "bytes": is_count,
    "projects": Keyed(
        "<id>", {"files": is_count, "documents": is_count, "bytes": is_count, "title": is_text, "excluded": is_count}
    ),
    "excluded": {
        "patterns": {"site": [is_text], "project": [is_text]},
        "count": is_count,
        "paths": [_path],
    },
    "left_out": {"collections": [is_text]},
    "database": is_text,
    "project_id_kind": _one_of("objectid", "string", "int"),
    "project_fields": Keyed("<collection>", is_text),
    "versions": {"keyframe": is_text, "mongodb": is_text, "python": is_text, "application": Maybe(is_text)},
    "manifest": {"bytes": is_count, "sha256": _digest},
    "made_at": _time,
    "made_by": is_text,
    "reason": _one_of(*(reason.value for reason in Reason if reason is not Reason.UNKNOWN)),
    "note": is_text,
}

# What who lists, previews and restores snapshots needs of a header; `projects` are looked at one by one.
_NEEDED = {
    key: HEADER[key]
    for key in (
        "format", "scope", "title", "status", "problems", "warnings", "confirmed", "unknown", "instant", "files",
        "documents", "bytes", "excluded", "manifest", "made_at", "made_by", "reason", "note",
    )
}  # fmt: skip


# `labels.json`: what cannot be here is no label at all, and the snapshot is good without.
_LABELS = {
    "note": _text_or_null,
    "pinned": _flag,
    "restores": [
        {
            "job": is_text,
            "snapshot": is_text,
            "snapshot_scope": is_text,
            "selection": {
                "projects": [is_text],
                "editions": [is_text],
                "paths": Maybe([is_text]),  # these are missing in older ones
                "paths_b64": Maybe([is_text]),
                "collections": Maybe([is_text]),
                "records": Maybe([{"collection": is_text, "id": is_text}]),
                "only": Maybe(is_text),
            },
            "people": _flag,
            "digest": is_text,
            "at": _time,
            "state": is_text,
            "by": Maybe(is_text),
            "act": Maybe(is_text),
            "undoes": Maybe(is_text),
            "turned_back": Maybe(_flag),
        }
    ],
    "deleted_at": lambda value: value is None or _time(value),
    "deleted_by": is_text,
}


def names_of(shape: Any = HEADER, path: str = "") -> Iterator[str]:
    """The names of all fields, as the document writes them."""
    if isinstance(shape, Maybe):
        yield from names_of(shape.shape, path)
    elif isinstance(shape, Keyed):
        yield from names_of(shape.shape, f"{path}.{shape.key}")
    elif isinstance(shape, Mapping):
        for key, one in shape.items():
            yield from names_of(one, f"{path}.{key}".strip("."))
    elif isinstance(shape, list):
        yield from names_of(shape[0], f"{path}[]")
    else:
        yield path


def mistakes_of(document: Any) -> list[str]:
    """What is wrong with a header, a few words each; empty where nothing is."""
    found = list(_wrong(document, HEADER, ""))
    if not found and (document["status"] == Status.DONE.value) == bool(document["problems"]):
        found.append("`status` does not fit `problems`")
    return found


def can_be_used(document: Any) -> bool:
    """Whether a header has all that a list or a restore needs of it, and nothing there that cannot be."""
    return next(_wrong(document, _NEEDED, ""), None) is None


def are_labels(document: Any) -> bool:
    """Whether this can be what `labels.json` holds."""
    return next(_wrong(document, _LABELS, ""), None) is None


def unknown_in(document: Any) -> list[str]:
    """The names of fields that this version does not know, in a header without mistakes."""
    return list(_unknown(document, HEADER, ""))


def _wrong(value: Any, shape: Any, path: str) -> Iterator[str]:
    if isinstance(shape, Maybe):
        yield from _wrong(value, shape.shape, path)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"`{path}` is no list"
            return
        for one in value:
            yield from _wrong(one, shape[0], f"{path}[]")
    elif isinstance(shape, (Mapping, Keyed)):
        if not isinstance(value, dict):
            yield f"`{path}` is no object" if path else "it is no object"
            return
        fields = dict.fromkeys(value, shape.shape) if isinstance(shape, Keyed) else shape
        for key, one in fields.items():
            name = f"{path}.{key}".strip(".")
            if key in value:
                yield from _wrong(value[key], one, name)
            elif not isinstance(one, Maybe):
                yield f"`{name}` is missing"
    elif not shape(value):
        yield f"`{path}` has a value that cannot be"


def _unknown(value: Any, shape: Any, path: str) -> Iterator[str]:
    shape = shape.shape if isinstance(shape, Maybe) else shape
    if isinstance(shape, list):
        for one in value:
            yield from _unknown(one, shape[0], f"{path}[]")
    elif isinstance(shape, Keyed):
        for one in value.values():
            yield from _unknown(one, shape.shape, f"{path}.{shape.key}")
    elif isinstance(shape, Mapping):
        for key, one in value.items():
            name = f"{path}.{key}".strip(".")
            if key in shape:
                yield from _unknown(one, shape[key], name)
            else:
                yield name

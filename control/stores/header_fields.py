"""The fields of `snapshot.json`, as docs/snapshot-format.md lists them: what must be there, and of what type.

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


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _count(value: Any) -> bool:
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
    except ValueError:
        return False


def _one_of(*values: str) -> Check:
    return lambda value: value in values


HEADER: Mapping[str, Any] = {
    "format": _format,
    "scope": {"project_id": _text_or_null},
    "title": _text,
    "run_mode": _text,
    "status": _one_of(Status.DONE.value, Status.PARTIAL.value),
    "problems": [{"code": _text, "what": _text, "subject": _text, "hint": _text}],
    "warnings": Maybe([{"code": _text, "what": _text, "subject": _text, "hint": _text}]),
    "confirmed": Maybe([{"code": _text, "what": _text, "subject": _text, "hint": _text}]),
    "unknown": {"paths": [_text], "collections": [_text]},
    "instant": {"cluster_time": {"t": _count, "i": _count}, "utc": _time},
    "gate": {"closed_seconds": _number, "tries": _count},
    "passes": _count,
    "retries": _count,
    "files": _count,
    "documents": _count,
    "bytes": _count,
    "projects": Keyed(
        "<id>", {"files": _count, "documents": _count, "bytes": _count, "title": _text, "excluded": _count}
    ),
    "excluded": {
        "patterns": {"site": [_text], "project": [_text]},
        "count": _count,
        "paths": [_text],
    },
    "left_out": {"collections": [_text]},
    "database": _text,
    "project_id_kind": _one_of("objectid", "string", "int"),
    "project_fields": Keyed("<collection>", _text),
    "versions": {"keyframe": _text, "mongodb": _text, "python": _text},
    "manifest": {"bytes": _count, "sha256": _digest},
    "made_at": _time,
    "made_by": _text,
    "reason": _one_of(*(reason.value for reason in Reason)),
    "note": _text,
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

"""Field by field, what differs between two documents given as canonical extended JSON. Pure: no disk, no server.

Rules:

- A value of BSON (`{"$oid": "…"}`) is one value, never looked into.
- A field whose name says that it is secret is told to differ; its values are not told, nor inside of others.
- Bounded: a list of many elements and what lies very deep are one value; long values are cut; of many fields the first
  are named, and all are counted.

>>> [one.path for one in fields_of('{"a": {"b": [1, 2]}}', '{"a": {"b": [1, 3]}}').named]
['a.b[1]']
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from .model import ABSENT, Field, Fields

MOST = 50  # fields that are named
HIDDEN = "(hidden)"
_LONGEST = 500  # characters of a value, as JSON
_LONG_LIST = 200  # elements; deepdiff takes a third of a millisecond for each that differs
_DEEPEST = 30
_MOST_PLACES = 2_000  # values that are compared one by one; beyond that only the top of the documents is
_SECRET = re.compile(r"passw|passphrase|secret|token|hash|credential|api_?key|private_?key", re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[^.\[\]\s]+\Z")


def fields_of(old: str, new: str) -> Fields:
    """The fields that differ, in the order of the documents.

    Parameters
    ----------
    old, new: one document each, as JSON.
    """
    left, right = json.loads(old), json.loads(new)
    left, right = _differing(left, right)
    if _places(left) + _places(right) > _MOST_PLACES:
        return _top(left, right)
    return _listed(list(_compared(_told(left, 0), _told(right, 0))))


def traits_of(old: dict[str, Any], new: dict[str, Any]) -> Fields:
    """The same of two sets of named traits, each one value."""
    left, right = _differing(old, new)
    names = dict.fromkeys([*left, *right])
    return _listed([(name, left.get(name, ABSENT), right.get(name, ABSENT)) for name in names])


def is_secret(path: str) -> bool:
    """Whether the name of a field says that its value is nobody's business."""
    return bool(_SECRET.search(path))


def _listed(found: list[tuple[str, Any, Any]]) -> Fields:
    return Fields(tuple(_field(*one) for one in found[:MOST]), len(found))


def _top(left: dict[str, Any], right: dict[str, Any]) -> Fields:
    names = list(dict.fromkeys([*left, *right]))
    return _listed([(_path([name]), left.get(name, ABSENT), right.get(name, ABSENT)) for name in names])


def _differing(left: dict[str, Any], right: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both without the fields that are equal: most are. Told by their text, in which 1 and true are not the same."""
    equal = {name for name in left.keys() & right.keys() if _text(left[name]) == _text(right[name])}
    return (
        {name: value for name, value in left.items() if name not in equal},
        {name: value for name, value in right.items() if name not in equal},
    )


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_one_value(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        return depth > _DEEPEST or (bool(value) and all(name.startswith("$") for name in value))
    return not isinstance(value, list) or depth > _DEEPEST or len(value) > _LONG_LIST


def _places(value: Any, depth: int = 0) -> int:
    """How many values there are to be compared."""
    if _is_one_value(value, depth):
        return 1
    inside = value.values() if isinstance(value, dict) else value
    return 1 + sum(_places(one, depth + 1) for one in inside)


def _told(value: Any, depth: int) -> Any:
    """For deepdiff: objects and lists as they are, every other value as its JSON, a text without line ends."""
    if _is_one_value(value, depth):
        return _text(value)
    if isinstance(value, dict):
        return {name: _told(one, depth + 1) for name, one in value.items()}
    return [_told(one, depth + 1) for one in value]


def _untold(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _untold(one) for name, one in value.items()}
    return [_untold(one) for one in value] if isinstance(value, list) else json.loads(value)


def _compared(left: Any, right: Any) -> Iterator[tuple[str, Any, Any]]:
    """Path, old and new value of each difference."""
    # Loaded here: a quarter of a second that only who looks at a plan has to spend.
    from deepdiff import DeepDiff
    from deepdiff.helper import notpresent

    levels = [level for kind in DeepDiff(left, right, view="tree").values() for level in kind]
    places = {name: number for number, name in enumerate(dict.fromkeys([*left, *right]))}
    paths = [(level.path(output_format="list"), level) for level in levels]
    for path, level in sorted(paths, key=lambda one: (places[one[0][0]], [_rank(part) for part in one[0][1:]])):
        old, new = (ABSENT if side is notpresent else _untold(side) for side in (level.t1, level.t2))
        yield _path(path), old, new


def _rank(part: str | int) -> tuple[bool, int, str]:
    return (True, part, "") if isinstance(part, int) else (False, 0, part)


def _path(parts: Sequence[str | int]) -> str:
    """`metadata.authors[2].name`; names that could be misread stand in brackets, as JSON."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_NAME.match(part):
            text += f".{part}" if text else part
        else:
            text += f"[{_text(part)}]"
    return text


def _field(path: str, old: Any, new: Any) -> Field:
    if is_secret(path):
        hidden_old, hidden_new = (one if one is ABSENT else HIDDEN for one in (old, new))
        return Field(path, hidden_old, hidden_new)
    (old, cut_old), (new, cut_new) = _cut(_shown(old)), _cut(_shown(new))
    return Field(path, old, new, cut_old or cut_new)


def _shown(value: Any) -> Any:
    """A value without what is secret in it."""
    if isinstance(value, dict):
        return {name: HIDDEN if is_secret(name) else _shown(one) for name, one in value.items()}
    return [_shown(one) for one in value] if isinstance(value, list) else value


def _cut(value: Any) -> tuple[Any, bool]:
    if value is ABSENT:
        return value, False
    text = value if isinstance(value, str) else _text(value)
    return (f"{text[:_LONGEST]}…", True) if len(text) > _LONGEST else (value, False)

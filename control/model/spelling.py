"""How a name is written where people read, copy and type it: in lists, in forms, in commands.

Rules:

- A name is written as it is, wherever all of it can be seen and survives a line of a form or of a terminal.
- Any other is written as a JSON string: `"a\\nb"`. Bytes that are no UTF-8 are its `\\udc80` to `\\udcff`.
- What is written is read back as that very name. A text in double quotes with a backslash in it is a JSON string;
  every other text is the name itself.

>>> spelled("a\\tb"), name_of(spelled("a\\tb")) == "a\\tb", spelled('"a"')
('"a\\\\tb"', True, '"a"')
"""

from __future__ import annotations

import json
import unicodedata

_JOINERS = "\u200c\u200d"  # they shape letters and pictures, and say nothing by themselves


def is_seen(char: str) -> bool:
    """Whether a character can be seen, if only as a space or by what it does to its neighbours."""
    return char.isprintable() or unicodedata.category(char) == "Zs" or char in _JOINERS


def spelled(name: str) -> str:
    """A name as it is written; `name_of` reads it back."""
    if not _is_quoted(name) and name == name.strip() and all(map(is_seen, name)):
        return name
    inside = name.strip()
    start = len(name) - len(name.lstrip())
    edges = {*range(start), *range(start + len(inside), len(name))}
    return f'"{"".join(_escaped(char, at in edges) for at, char in enumerate(name))}"'


def name_of(text: str) -> str:
    """The name that somebody has written."""
    if not _is_quoted(text):
        return text
    try:
        found = json.loads(text)
    except ValueError:  # a name that only looks like it
        return text
    return str(found)


def _is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"' and "\\" in text


def _escaped(char: str, at_edge: bool) -> str:
    """A character inside of a JSON string; at the edges a space has to be seen, too."""
    if at_edge:
        return f"\\u{ord(char):04x}"
    return json.dumps(char, ensure_ascii=not is_seen(char))[1:-1]

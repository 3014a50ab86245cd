"""Ids of records as text: how a person names one, and the exact bytes that this stands for.

Rules:

- What travels is canonical extended JSON: any type has a form of its own there.
- Numbers that MongoDB takes for the same id are the same here, whatever their type.

>>> canonical_of("65a1b2c3d4e5f60718293a4b")
'{"$oid": "65a1b2c3d4e5f60718293a4b"}'
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from typing import NoReturn

from ..model import canonical_json
from .id_order import id_order
from .json_lines import document_of_line, lines_of
from .raw import id_bytes

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}\Z")
_NUMBER_CLASS = 3
_NO_ID = (0x04, 0x06, 0x0B)  # array, undefined, regular expression: MongoDB lets no record have such an `_id`
_TOO_LARGE = 2**63  # for any number of MongoDB's; so many digits are a text


def canonical_of(text: str) -> str:
    """What somebody gives as an id: extended JSON, or as pages show it, the digits of an ObjectId or a plain text.

    Raises
    ------
    ValueError: no record can have such an id.
    """
    if _OBJECT_ID.match(text):
        return canonical_json(json.dumps({"$oid": text.lower()}))
    try:
        value = json.loads(text, parse_constant=_no_constant)
        is_json = not isinstance(value, int) or abs(value) < _TOO_LARGE
    except (ValueError, RecursionError):
        is_json = False
    text = text if is_json else json.dumps(text)
    return canonical_text(ident_of(text))


def canonical_text(ident: bytes) -> str:
    """The text of an id (as `id_bytes`); ValueError where JSON has no exact form of it."""
    made = lines_of(ident)
    if made.inexact:
        raise ValueError("JSON has no exact form of this id")
    found = canonical_json(json.dumps(json.loads(made.text)["_id"]))
    if ident_of(found) != ident:
        raise ValueError("JSON has no exact form of this id")
    return found


def ident_of(text: str) -> bytes:
    """The id that extended JSON stands for, as `id_bytes` has it; ValueError: for none."""
    try:
        ident = id_bytes(document_of_line(f'{{"_id": {text}}}'))
    except Exception as error:  # whatever two readers of JSON find wrong with it
        raise ValueError("not the id of a record") from error
    if ident[4] in _NO_ID:
        raise ValueError("not the id of a record")
    return ident


def key_of(ident: bytes) -> Hashable:
    """The same for ids that MongoDB takes for the same: 5 and 5.0 cannot both be in a collection."""
    order = id_order(ident)
    return order if order is not None and order[0] == _NUMBER_CLASS else ident


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")

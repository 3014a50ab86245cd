"""Ids of records as text: how they are shown, how a person names one, and the exact bytes that this stands for.

Rules:

- What travels is canonical extended JSON: any type has a form of its own there. Of what JSON has no exact form it is
  `{"$bson": "<base64>"}`, with the bytes of the document `{_id: ...}`: no id can have such a field.
- What is shown is short, and what somebody pastes back is that very id: 5, "5" and {"$numberLong": "5"} are three.
- What MongoDB takes for the same id is the same here (`key_of`), also deep inside: numbers by their value, whatever
  their type, a symbol like a text, fields in their order.

>>> canonical_of("65a1b2c3d4e5f60718293a4b")
'{"$oid": "65a1b2c3d4e5f60718293a4b"}'
>>> shown_id(ident_of('"roses"')), shown_id(ident_of('"5"')), shown_id(ident_of("5"))
('roses', '"5"', '5')
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Hashable, Iterator
from decimal import Decimal
from typing import Any, NoReturn

import bsonjs

from ..model import canonical_json, record_name, spelled
from .id_order import id_order
from .json_lines import document_of_line, lines_of
from .raw import id_bytes, is_whole

_OBJECT_ID = re.compile(r"[0-9a-fA-F]{24}\Z")
NO_ID = (0x04, 0x06, 0x0B)  # array, undefined, regular expression: MongoDB lets no record have such an `_id`
_TOO_LARGE = 2**63  # for any number of MongoDB's; so many digits are a text
_EXACT = "$bson"
_WORDS = ("true", "false", "null")
_SHORT = 1000  # characters
_UNREADABLE = "\ufffd"  # what stands for bytes that are no text
_STRING, _OBJECT, _INT = 0x02, 0x07, 0x10
_NO_LENGTH = bytes(4)  # no document begins so


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
    """The canonical extended JSON of an id (as `id_bytes`); of what JSON has no exact form, its bytes."""
    with contextlib.suppress(ValueError):
        made = lines_of(ident)
        if not made.inexact:
            found = canonical_json(json.dumps(json.loads(made.text)["_id"]))
            if ident_of(found) == ident:
                return found
    return json.dumps({_EXACT: base64.b64encode(ident).decode("ascii")})


def shown_id(ident: bytes) -> str:
    """An id (as `id_bytes`) as people see it: the shortest text that `canonical_of` takes for exactly this id, all of
    it printable."""
    kind, value = ident[4], ident[9:-1]
    if kind == _OBJECT:
        return value.hex()
    if kind == _INT:
        return str(int.from_bytes(value, "little", signed=True))
    if kind == _STRING and _is_plain(text := value[4:-1].decode("utf-8", "replace")):
        return text
    return next(filter(lambda text: _is_read_as(text, ident), _spellings(ident)), None) or canonical_text(ident)


def shown_record(collection: str, text: str) -> str:
    """A record as people name it, its id given as canonical extended JSON: `edition/roses`."""
    return spelled(record_name(collection, shown_id(ident_of(text))))


def _is_plain(text: str) -> bool:
    """Whether a text can be nothing else: what begins with a letter is no JSON. Most ids that are texts are such."""
    is_word = text.isidentifier() and len(text) < _SHORT and text not in _WORDS
    return is_word and _UNREADABLE not in text and not _OBJECT_ID.match(text)


def _spellings(ident: bytes) -> Iterator[str]:
    """How an id may be shown, the shortest ones first."""
    if ident[4] == _STRING:
        with contextlib.suppress(UnicodeDecodeError):
            text = ident[13:-2].decode("utf-8")
            if text.isprintable() and text == text.strip():
                yield text
    with contextlib.suppress(ValueError, UnicodeError):
        yield _printable(json.dumps(json.loads(bsonjs.dumps(ident, mode=bsonjs.RELAXED))["_id"], ensure_ascii=False))
    yield _printable(canonical_text(ident))


def _is_read_as(text: str, ident: bytes) -> bool:
    try:
        return ident_of(canonical_of(text)) == ident
    except ValueError:
        return False


def _printable(text: str) -> str:
    """JSON with an escape for each character that cannot be seen."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def ident_of(text: str) -> bytes:
    """The id that extended JSON stands for, as `id_bytes` has it; ValueError: for none."""
    try:
        ident = _exact(text) if f'"{_EXACT}"' in text else b""
        ident = ident or id_bytes(document_of_line(f'{{"_id": {text}}}'))
    except Exception as error:  # whatever two readers of JSON find wrong with it
        raise ValueError("not the id of a record") from error
    if ident[4] in NO_ID:
        raise ValueError("not the id of a record")
    return ident


def _exact(text: str) -> bytes:
    """The id whose bytes these are; nothing where it is said in another way."""
    found = json.loads(text)
    if not isinstance(found, dict) or set(found) != {_EXACT}:
        return b""
    raw = base64.b64decode(found[_EXACT], validate=True)
    if not is_whole(raw) or id_bytes(raw) != raw:
        raise ValueError("not the bytes of an id")
    return raw


def key_of(ident: bytes) -> Hashable:
    """The same for ids that MongoDB takes for the same: of 5 and 5.0, {a: 5} and {a: 5.0} no collection has both."""
    order = id_order(ident)
    return order if order is not None else ident


def key_text(ident: bytes) -> bytes:
    """The same bytes for ids that have the same key, and other ones for all others: what an index can compare."""
    key = key_of(ident)
    return ident if key is ident or ident[4] == _OBJECT else _NO_LENGTH + repr(_plain(key)).encode()


def _plain(key: Any) -> Any:
    """A key with one spelling of each number."""
    if isinstance(key, tuple):
        return tuple(map(_plain, key))
    if not isinstance(key, (float, Decimal)):
        return key
    if -_TOO_LARGE <= key < _TOO_LARGE and key == int(key):  # most are such, and it is quick
        return int(key)
    sign, digits, exponent = Decimal(key).as_tuple()
    if isinstance(exponent, str):  # infinite
        return sign, exponent
    shortest = "".join(map(str, digits)).rstrip("0")
    return sign, shortest, exponent + len(digits) - len(shortest)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")

"""The records of a project under new ids: each `_id`, and every value that refers to one.

Rules:

- An ObjectId or a UUID is the same thing wherever it stands: it is replaced at any depth, also where it is written as a
  text of its own. A text or a number may be anything: it counts as an id only in a field that says so, like `projectId`
  or `edition_ids`, or that the settings name.
- Bytes that hold no such value are not written again; nothing is decoded.
- What cannot be told is counted: texts in which an old id stands among other words.
- The new ids lie on disk: memory does not grow with the number of records.

>>> rekeying.learn("edition", raw); …; rekeying.record("edition", raw)      # doctest: +SKIP
"""

from __future__ import annotations

import re
import secrets
import sqlite3
import struct
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from bson.objectid import ObjectId

from ..errors import InvalidError, UnavailableError
from ..model import record_name
from ..scope_settings import ProjectSettings
from .idents import shown_id
from .raw import document_of, fields, id_bytes, id_text

_STRING, _DOCUMENT, _ARRAY, _BINARY, _OID, _INT, _LONG = 0x02, 0x03, 0x04, 0x05, 0x07, 0x10, 0x12
_INTS = {_INT: struct.Struct("<i"), _LONG: struct.Struct("<q")}
_UUID_HEADS = (b"\x10\0\0\0\x04", b"\x10\0\0\0\x03")  # length and subtype; 3 is the older one
_HEX = re.compile(rb"[0-9a-f]{24}")
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LARGEST_INT = (1 << 31) - 1
_LONGEST_TEXT = 80  # of an old id that is part of a new one
_NAMED = 5

Value = tuple[int, bytes]  # type, bytes


def string_of(text: bytes) -> bytes:
    """The bytes of a string value."""
    return (len(text) + 1).to_bytes(4, "little") + text + b"\0"


class NewIds:
    """Old and new `_id`s of the records of a project, in a file; close it in the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._table = sqlite3.connect(path, isolation_level=None)
            self._table.execute("PRAGMA journal_mode = OFF")
            self._table.execute("PRAGMA synchronous = OFF")
            self._table.execute(
                "CREATE TABLE ids (collection TEXT, old BLOB, new BLOB, PRIMARY KEY (collection, old)) WITHOUT ROWID"
            )
            self._table.execute("CREATE INDEX by_old ON ids (old)")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        self._table.close()

    def add(self, collection: str, old: Value, new: Value) -> None:
        try:
            self._table.execute("INSERT INTO ids VALUES (?, ?, ?)", (collection, _key(old), bytes([new[0]]) + new[1]))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def of(self, collection: str, old: Value) -> Value | None:
        """The new id of a record of this collection."""
        return self._one("SELECT new FROM ids WHERE collection = ? AND old = ?", (collection, _key(old)))

    def anywhere(self, old: Value) -> Value | None:
        """The new id of a record of any collection."""
        return self._one("SELECT new FROM ids WHERE old = ?", (_key(old),))

    def _one(self, question: str, values: tuple[str | bytes, ...]) -> Value | None:
        try:
            row = self._table.execute(question, values).fetchone()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return (row[0][0], row[0][1:]) if row is not None else None

    def _failed(self, error: Exception) -> UnavailableError:
        what = f"cannot be read or written ({error})."
        return UnavailableError(what, subject=str(self._path), hint="Look at the disk; nothing was changed.")


class Rekeying:
    """Gives the records of one project new ids.

    Parameters
    ----------
    ids: empty; is filled by `learn`.
    new_id: the id that the project shall have, as text.
    numbers: by collection, the highest `_id` that is a number: new ones are larger.
    suffix: what its title shall end with.
    """

    def __init__(
        self, ids: NewIds, project: ProjectSettings, new_id: str, numbers: Mapping[str, int], suffix: str
    ) -> None:
        self._ids = ids
        self._project = project
        self._own = project.own_collection or "project"
        self._new_id = new_id
        self._numbers = dict(numbers)
        self._suffix = suffix
        self._named = _reference_names(project, self._own)
        self.title = ""
        self.references = 0
        self.texts = 0
        self.in_texts: list[str] = []  # where they stand: by `record_name`, the first few
        self._mentions = False

    def learn(self, collection: str, raw_id: bytes) -> None:
        """Choose the new id of a record, before any is written.

        Parameters
        ----------
        raw_id: as `id_bytes`.
        """
        old = raw_id[4], raw_id[9:-1]
        if collection == self._own:
            self._ids.add(collection, old, self._project_value(old[0]))
        elif old[0] != _DOCUMENT:  # that one has new ids inside of it
            self._ids.add(collection, old, self._fresh(collection, old))

    def edition(self, text: str) -> str | None:
        """The new name of an edition's folder; None where no edition has this name."""
        for old in _values_of(text):
            new = self._ids.of(self._project.editions.collection, old)
            if new is not None:
                return id_text(document_of([(new[0], b"_id", new[1])]))
        return None

    def record(self, collection: str, raw: bytes) -> bytes:
        """The record as it shall be; all ids are learned."""
        self._mentions = False
        body = []
        for kind, name, value in fields(raw):
            if name == b"_id":
                kind, value = self._id(collection, kind, value)
            else:
                kind, value = self._value(collection, name.decode("utf-8", "replace"), name, (kind, value))
            body.append((kind, name, value))
        if self._mentions and len(self.in_texts) < _NAMED:
            self.in_texts.append(record_name(collection, shown_id(id_bytes(raw))))
        return document_of(body)

    # --- ids

    def _project_value(self, kind: int) -> Value:
        if self._project.id == "objectid":
            return _OID, bytes.fromhex(self._new_id)
        if self._project.id == "int":
            return _number(kind, int(self._new_id))
        return _STRING, string_of(self._new_id.encode())

    def _fresh(self, collection: str, old: Value) -> Value:
        kind, value = old
        if kind == _OID:
            return kind, ObjectId().binary
        if kind == _BINARY and value[:5] in _UUID_HEADS:
            return kind, value[:5] + uuid.uuid4().bytes
        if kind == _STRING:
            return kind, string_of(_fresh_text(value[4:-1]))
        if kind in _INTS:
            number = max(self._numbers.get(collection, 0), *_INTS[kind].unpack(value)) + 1
            self._numbers[collection] = number
            return _number(kind, number)
        raise _unmakable(collection, old)

    def _id(self, collection: str, kind: int, value: bytes) -> Value:
        if kind != _DOCUMENT:
            found = self._ids.of(collection, (kind, value))
            if found is None:
                raise RuntimeError("a record whose id was not learned")
            return found
        new = self._document(collection, "_id", value, "")
        if new == value:  # it would be that of the record that is there
            raise _unmakable(collection, (kind, value))
        return kind, new

    # --- values

    def _document(self, collection: str, path: str, raw: bytes, around: str) -> bytes:
        """A document or (`around`: the name of the field) an array, with what it refers to."""
        body, changed = [], False
        for kind, name, value in fields(raw):
            called = around.encode() or name
            new = self._value(collection, f"{path}.{name.decode('utf-8', 'replace')}", called, (kind, value))
            changed = changed or new != (kind, value)
            body.append((new[0], name, new[1]))
        return document_of(body) if changed else raw

    def _value(self, collection: str, path: str, called: bytes, old: Value) -> Value:
        kind, value = old
        if kind in (_DOCUMENT, _ARRAY):
            around = called.decode("utf-8", "replace") if kind == _ARRAY else ""
            return kind, self._document(collection, path, value, around)
        if collection == self._own and path == self._project.title and kind == _STRING:
            title = value[4:-1] + self._suffix.encode()
            self.title = title.decode("utf-8", "replace")
            return kind, string_of(title)
        new = self._reference(collection, path, called, old)
        if new is not None:
            self.references += 1
            return new
        if kind == _STRING and any(self._ids.anywhere(one) for one in _mentioned(value[4:-1])):
            self.texts, self._mentions = self.texts + 1, True
        return old

    def _reference(self, collection: str, path: str, called: bytes, old: Value) -> Value | None:
        """What a value becomes that refers to a record of the project; None: it does not."""
        kind, value = old
        belongs = self._project.collections.get(collection)
        if belongs is not None and belongs.field == path:
            return self._ids.of(self._own, old)
        if kind == _OID or (kind == _BINARY and value[:5] in _UUID_HEADS):
            return self._ids.anywhere(old)
        if kind == _STRING:
            found = self._written(value[4:-1])
            if found is not None:
                return found
        meant = self._named.get(called.decode("utf-8", "replace"))
        found = self._ids.of(meant, old) if meant is not None and (kind == _STRING or kind in _INTS) else None
        if found is not None and kind in _INTS:
            return _number(kind, *_INTS[found[0]].unpack(found[1]))
        return found

    def _written(self, text: bytes) -> Value | None:
        """What a text becomes that is nothing but an ObjectId or UUID of a record."""
        if not (_HEX.fullmatch(text) or _UUID.fullmatch(text)):
            return None
        for old in _mentioned(text):
            new = self._ids.anywhere(old)
            if new is not None and new[0] == _OID:
                return _STRING, string_of(new[1].hex().encode())
            if new is not None and new[0] == _BINARY:
                return _STRING, string_of(str(uuid.UUID(bytes=new[1][5:])).encode())
        return None


def _reference_names(project: ProjectSettings, own: str) -> dict[str, str]:
    """Fields that refer to a record by their name, and the collection that they mean."""
    endings = ("Id", "_id", "Ids", "_ids")
    found = {f"{name}{ending}": name for name in project.collections for ending in endings}
    last = {one.field.rpartition(".")[2] for one in project.collections.values()} - {"_id", "id"}
    return {**found, **dict.fromkeys(last, own)}


def _key(value: Value) -> bytes:
    """The same number is the same id, whatever its width."""
    if value[0] in _INTS:
        return bytes([_LONG]) + _INTS[_LONG].pack(*_INTS[value[0]].unpack(value[1]))
    return bytes([value[0]]) + value[1]


def _number(kind: int, number: int) -> Value:
    if kind == _LONG or number > _LARGEST_INT:
        return _LONG, _INTS[_LONG].pack(number)
    return _INT, _INTS[_INT].pack(number)


def _fresh_text(old: bytes) -> bytes:
    if _HEX.fullmatch(old):
        return str(ObjectId()).encode()
    if _UUID.fullmatch(old):
        return str(uuid.uuid4()).encode()
    kept = old[:_LONGEST_TEXT].decode("utf-8", "ignore").encode()
    return kept + b"-" + secrets.token_hex(4).encode()


def _mentioned(text: bytes) -> Iterator[Value]:
    """The ObjectIds and UUIDs that stand in a text."""
    for found in _HEX.findall(text):
        yield _OID, bytes.fromhex(found.decode())
    for found in _UUID.findall(text):
        for head in _UUID_HEADS:
            yield _BINARY, head + uuid.UUID(found.decode()).bytes


def _values_of(text: str) -> Iterator[Value]:
    """The ids that have this text."""
    if _HEX.fullmatch(text.encode("utf-8", "surrogateescape")):
        yield _OID, bytes.fromhex(text)
    if text.lstrip("-").isascii() and text.lstrip("-").isdecimal() and len(text) < 19:
        yield _LONG, _INTS[_LONG].pack(int(text))
    yield _STRING, string_of(text.encode("utf-8", "surrogateescape"))
    for found in _UUID.findall(text.encode("utf-8", "surrogateescape")):
        yield from ((_BINARY, head + uuid.UUID(found.decode()).bytes) for head in _UUID_HEADS)


def _unmakable(collection: str, old: Value) -> InvalidError:
    name = id_text(document_of([(old[0], b"_id", old[1])]))
    return InvalidError(
        "has an _id of a kind that no new one can be made of.",
        subject=f"{collection} {name}",
        hint="Copy the project beside the live site instead (--into, --database); nothing was changed.",
    )

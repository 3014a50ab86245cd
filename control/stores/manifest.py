"""The manifest of a snapshot as lines of JSON: writing it, and reading it with suspicion.

Rules:

- The same content is the same bytes: a manifest holds nothing of when, by whom or where it was written, so that two
  snapshots are equal exactly when the digests of their manifests are.
- First the lines of files, sorted by the bytes of the path, then those of collections, sorted by name.
- A reader refuses what must not be there: paths that leave the folder, unknown types, a wrong order, a cut line.

A line of a file: `{"path":"edition/1/a.txt","type":"file","size":3,"sha256":"…","mode":"0644","uid":0,"gid":0,
"mtime_ns":1}`; of a collection: `{"collection":"edition","stem":"edition",…}`. A path that is not UTF-8 stands in
base64 under `path_b64` instead. docs/snapshot-format.md has every field.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..errors import DamagedError
from ..model import SYSTEM_JS, Attributes, CollectionEntry, FileEntry, Inexact
from .attributes import is_known
from .file_lines import attributes_of
from .files import RESERVED, path_key

_KINDS = ("file", "directory", "link")
_MOST = (1 << 63) - 1
_LONGEST_NAME, _LONGEST_VALUE = 255, 1 << 16  # of an extended attribute; Linux's limits, uapi/linux/limits.h
_MODE = re.compile(r"[0-7]{4}\Z")
_TOGETHER = 256  # lines that are hashed and written together
_CHUNK = 1 << 18  # bytes
_COLLECTION = b'{"collection":'
_PATH = b'{"path'  # how lines of files begin, unless a later version has put something before
_RESERVED = os.fsencode(RESERVED)
_encode = msgspec.json.Encoder().encode


class _Index(msgspec.Struct):
    """What must be there of an index for it to be made again; the rest is the server's business."""

    name: str
    key: dict[str, Any]


class ManifestWriter:
    """Writes a manifest and hashes it on the way; files first, sorted, then collections."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  (closed by close)
        self._digest = hashlib.sha256()
        self._waiting: list[bytes] = []
        self.bytes = 0

    def files(self, lines: list[bytes]) -> None:
        """Lines of files, whole."""
        self._waiting += lines
        self.bytes += sum(map(len, lines))
        if len(self._waiting) >= _TOGETHER:
            self._write()

    def files_of(self, older: Path) -> None:
        """Those of another manifest, which are the same; that one is known to be as it was written."""
        with open(older, "rb") as file:
            while lines := file.readlines(_CHUNK):
                self.files([line for line in lines if not line.startswith(_COLLECTION)])
                if lines[-1].startswith(_COLLECTION):
                    return

    def collection(self, entry: CollectionEntry) -> None:
        self._line(_encode(_collection_line(entry)) + b"\n")

    def close(self) -> str:
        """End it; its SHA-256."""
        self._write()
        self._file.close()
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Close the file, half as it is."""
        self._file.close()

    def _line(self, line: bytes) -> None:
        self._waiting.append(line)
        self.bytes += len(line)
        if len(self._waiting) >= _TOGETHER:
            self._write()

    def _write(self) -> None:
        lines = b"".join(self._waiting)
        self._waiting = []
        self._digest.update(lines)
        self._file.write(lines)


_WRONG = (msgspec.DecodeError, KeyError, TypeError, ValueError, RecursionError)  # of a line that is none


def file_of_line(document: dict[str, Any]) -> FileEntry:
    """The entry of a line of a file; raises KeyError, TypeError or ValueError for what is no such line."""
    path, kind = _untext("path", document), document["type"]
    if kind not in _KINDS or not _is_safe(path) or (path == "." and kind != "directory"):
        raise ValueError(f"not a path or type: {path!r}")
    size = _number(document, "size", 0, _MOST) if kind == "file" else 0
    uid, gid = (_number(document, key, 0, (1 << 32) - 2) for key in ("uid", "gid"))
    mtime_ns = _number(document, "mtime_ns", -_MOST, _MOST) if kind != "directory" else 0
    sha256 = document["sha256"] if kind == "file" else ""
    if kind == "file" and not _is_digest(sha256):
        raise ValueError(f"not a digest: {path!r}")
    target = _untext("target", document) if kind == "link" else ""
    if kind == "link" and (not target or "\0" in target):
        raise ValueError(f"not the target of a link: {path!r}")
    if not _MODE.match(document["mode"]):
        raise ValueError(f"not a mode: {path!r}")
    attributes = _attributes(document)
    return FileEntry(path, kind, size, int(document["mode"], 8), uid, gid, mtime_ns, sha256, target, attributes)


def _attributes(document: dict[str, Any]) -> Attributes:
    given = [document.get(key, {}) for key in ("attributes", "attributes_b64")]
    if given == [{}, {}]:
        return ()
    if not all(isinstance(one, dict) and all(isinstance(value, str) for value in one.values()) for one in given):
        raise ValueError("not attributes")
    found = attributes_of(*given)
    if not all(is_known(name) and b"\0" not in name and len(name) <= _LONGEST_NAME for name, _ in found):
        raise ValueError("not the name of an attribute")
    if len(dict(found)) != len(found) or any(len(value) > _LONGEST_VALUE for _, value in found):
        raise ValueError("not the value of an attribute")
    return found


def read_collections(path: Path) -> Iterator[CollectionEntry]:
    """The collections of a manifest whose digest was checked; the lines of files before them are passed over.

    Raises
    ------
    DamagedError: `manifest-invalid`, with the number of the line.
    """
    order, is_behind = LineOrder(), False
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not is_behind and line.startswith(_PATH):
                continue
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut short")
                document = msgspec.json.decode(line)
                is_behind = is_behind or "collection" in document
                if not is_behind:
                    continue
                entry = _collection_of_line(document)
                order.collection(entry)
            except _WRONG as error:
                raise _invalid(path, number, error) from error
            yield entry


def read_manifest(path: Path, *, is_site: bool = False) -> Iterator[FileEntry | CollectionEntry]:
    """The entries of a manifest, of the whole site or of a project, checked line by line.

    Raises
    ------
    DamagedError: `manifest-missing` or `manifest-invalid`, with the number of the line.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise DamagedError("manifest-missing", "has no readable manifest.", subject=path.parent.name) from error
    order = LineOrder(is_site=is_site)
    with file:
        for number, line in enumerate(file, 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut short")
                document = msgspec.json.decode(line)
                if "collection" in document:
                    collection = _collection_of_line(document)
                    order.collection(collection)
                    yield collection
                else:
                    entry = file_of_line(document)
                    order.file(entry)
                    yield entry
            except _WRONG as error:
                raise _invalid(path, number, error) from error


def _invalid(path: Path, number: int, error: Exception) -> DamagedError:
    return DamagedError(
        "manifest-invalid",
        f"has a manifest that is wrong in line {number} ({error}).",
        subject=path.parent.name,
        hint="Restore another snapshot; this one is left as it is.",
    )


class LineOrder:
    """What must hold between the lines: files before collections, each sorted, nothing below what is no directory."""

    def __init__(self, *, is_site: bool = False) -> None:
        self._is_site = is_site
        self._last_path: bytes | None = None
        self._last_name: str | None = None
        self._stems: set[str] = set()
        self._closed: list[bytes] = []  # files and links whose place in the order is not left behind yet

    def file(self, entry: FileEntry) -> None:
        self.path(path_key(entry.path), is_folder=entry.kind == "directory")

    def path(self, key: bytes, *, is_folder: bool) -> None:
        """The next one; `key` as inventories are sorted by."""
        if self._last_name is not None or (self._last_path is not None and key <= self._last_path):
            raise ValueError("not sorted")
        if self._last_path is None and key:
            raise ValueError("no folder that all lies in")
        if self._is_site and key.startswith(_RESERVED) and key.partition(b"/")[0] == _RESERVED:
            raise ValueError(f"in no snapshot: {os.fsdecode(key)!r}")
        self._last_path = key
        # "a" < "a-b" < "a/b" < "a0": what could lie below "a" ends with "a0".
        while self._closed and key >= self._closed[-1] + b"0":
            self._closed.pop()
        if any(key.startswith(one + b"/") for one in self._closed):
            raise ValueError(f"below what is no directory: {os.fsdecode(key)!r}")
        if not is_folder:
            self._closed.append(key)

    def collection(self, entry: CollectionEntry) -> None:
        if self._last_name is not None and entry.name <= self._last_name:
            raise ValueError("not sorted")
        if entry.stem in self._stems:
            raise ValueError("two collections with the same files")
        self._last_name = entry.name
        self._stems.add(entry.stem)


def _number(document: dict[str, Any], key: str, least: int, most: int) -> int:
    number = document[key]
    if type(number) is not int or not least <= number <= most:
        raise ValueError(f"not a number: {key}")
    return number


def _collection_line(entry: CollectionEntry) -> dict[str, Any]:
    return {
        "collection": entry.name,
        "stem": entry.stem,
        "type": entry.kind,
        "documents": entry.documents,
        "bytes": entry.bytes,
        "sha256": entry.sha256,
        "options": entry.options,
        "indexes": entry.indexes,
        "json_bytes": entry.json_bytes,
        "json_sha256": entry.json_sha256,
        "json_inexact": entry.json_inexact,
        "json_named": [{"line": one.line, "_id": one.id, "reason": one.reason} for one in entry.json_named],
        "outside_instant": entry.outside_instant,
    }


def _collection_of_line(document: dict[str, Any]) -> CollectionEntry:
    stem, kind = document["stem"], document["type"]
    if (
        kind not in ("collection", "timeseries", "view")
        or not isinstance(stem, str)
        or "/" in stem
        or stem == "."
        or not _is_safe(stem)
    ):
        raise ValueError("not a collection")
    if not _is_digest(document["sha256"]) or not (document["json_sha256"] == "" or _is_digest(document["json_sha256"])):
        raise ValueError("not a digest")
    name, options, indexes = (document[key] for key in ("collection", "options", "indexes"))
    if not isinstance(name, str) or not name or "\0" in name or name.startswith("$"):
        raise ValueError("not the name of a collection")
    if name.startswith("system.") and name != SYSTEM_JS:
        raise ValueError("not the name of a collection")
    msgspec.json.decode(options, type=dict[str, Any])
    msgspec.json.decode(indexes, type=list[_Index])
    if type(document["outside_instant"]) is not bool:
        raise ValueError("not true or false: outside_instant")
    keys = ("documents", "bytes", "json_bytes", "json_inexact")
    documents, size, json_bytes, inexact = (_number(document, key, 0, _MOST) for key in keys)
    if kind == "view" and (documents or size or json_bytes):
        raise ValueError("documents of a view")
    return CollectionEntry(
        name=name,
        stem=stem,
        kind=kind,
        documents=documents,
        bytes=size,
        sha256=document["sha256"],
        options=options,
        indexes=indexes,
        json_bytes=json_bytes,
        json_sha256=document["json_sha256"],
        json_inexact=inexact,
        json_named=tuple(_inexact(one) for one in document["json_named"]),
        outside_instant=document["outside_instant"],
    )


def _inexact(document: dict[str, Any]) -> Inexact:
    if not all(isinstance(document[key], str) for key in ("_id", "reason")):
        raise ValueError("not text: json_named")
    return Inexact(_number(document, "line", 1, _MOST), document["_id"], document["reason"])


def _untext(key: str, document: dict[str, Any]) -> str:
    if key in document and f"{key}_b64" in document:
        raise ValueError(f"{key} twice")
    if key in document:
        value = document[key]
        if not isinstance(value, str):
            raise ValueError(f"{key} is not text")
        return value
    return os.fsdecode(base64.b64decode(document[f"{key}_b64"], validate=True))


def _is_safe(path: str) -> bool:
    """Whether a path stays in its folder: relative, without empty, `.` or `..` components, without NUL."""
    return path == "." or all(part not in ("", ".", "..") and "\0" not in part for part in path.split("/"))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..errors import DamagedError
from ..model import CollectionEntry, FileEntry
from .files import path_key

_KINDS = ("file", "directory", "link")
_encode = msgspec.json.Encoder().encode


class ManifestWriter:
    """Writes a manifest and hashes it on the way; files first, sorted, then collections."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  (closed by close)
        self._digest = hashlib.sha256()
        self.bytes = 0

    def file(self, entry: FileEntry) -> None:
        self._line(file_line(entry))

    def collection(self, entry: CollectionEntry) -> None:
        self._line(_collection_line(entry))

    def close(self) -> str:
        """End it; its SHA-256."""
        self._file.close()
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Close the file, half as it is."""
        self._file.close()

    def _line(self, document: dict[str, Any]) -> None:
        line = _encode(document) + b"\n"
        self._digest.update(line)
        self._file.write(line)
        self.bytes += len(line)


def file_line(entry: FileEntry) -> dict[str, Any]:
    """The line of a file, directory or link, as a document."""
    document: dict[str, Any] = {**_text("path", entry.path), "type": entry.kind}
    if entry.kind == "file":
        document |= {"size": entry.size, "sha256": entry.sha256}
    document |= {"mode": f"{entry.mode:04o}", "uid": entry.uid, "gid": entry.gid}
    if entry.kind != "directory":
        document["mtime_ns"] = entry.mtime_ns
    if entry.kind == "link":
        document |= _text("target", entry.target)
    return document


def file_of_line(document: dict[str, Any]) -> FileEntry:
    """The inverse of `file_line`; raises KeyError, TypeError or ValueError for what is no such line."""
    path, kind = _untext("path", document), document["type"]
    if kind not in _KINDS or not _is_safe(path):
        raise ValueError(f"not a path or type: {path!r}")
    numbers = [document.get(key, 0) for key in ("size", "uid", "gid", "mtime_ns")]
    if not all(isinstance(number, int) for number in numbers) or min(numbers[:3]) < 0 or numbers[0] >= 1 << 63:
        raise ValueError(f"not a number: {path!r}")
    size, uid, gid, mtime_ns = numbers
    sha256 = document["sha256"] if kind == "file" else ""
    if kind == "file" and not _is_digest(sha256):
        raise ValueError(f"not a digest: {path!r}")
    target = _untext("target", document) if kind == "link" else ""
    mode = int(document["mode"], 8)
    if not 0 <= mode <= 0o7777:
        raise ValueError(f"not a mode: {path!r}")
    return FileEntry(path, kind, size, mode, uid, gid, mtime_ns, sha256, target)


def read_manifest(path: Path) -> Iterator[FileEntry | CollectionEntry]:
    """The entries of a manifest, checked line by line.

    Raises
    ------
    DamagedError: `manifest-missing` or `manifest-invalid`, with the number of the line.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115  (closed below)
    except OSError as error:
        raise DamagedError("manifest-missing", "has no readable manifest.", subject=path.parent.name) from error
    last_path: bytes | None = None
    last_name: str | None = None
    with file:
        for number, line in enumerate(file, 1):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("cut short")
                document = msgspec.json.decode(line)
                if "collection" in document:
                    collection = _collection_of_line(document)
                    if last_name is not None and collection.name <= last_name:
                        raise ValueError("not sorted")
                    last_name = collection.name
                    yield collection
                    continue
                entry = file_of_line(document)
                key = path_key(entry.path)
                if last_name is not None or (last_path is not None and key <= last_path):
                    raise ValueError("not sorted")
                last_path = key
                yield entry
            except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
                raise DamagedError(
                    "manifest-invalid",
                    f"has a manifest that is wrong in line {number} ({error}).",
                    subject=path.parent.name,
                    hint="Restore another snapshot; this one is left as it is.",
                ) from error


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
        "json_inexact": entry.json_inexact,
    }


def _collection_of_line(document: dict[str, Any]) -> CollectionEntry:
    stem, kind = document["stem"], document["type"]
    if kind not in ("collection", "view") or not isinstance(stem, str) or "/" in stem or stem in ("", ".", ".."):
        raise ValueError("not a collection")
    if not _is_digest(document["sha256"]) and kind == "collection":
        raise ValueError("not a digest")
    texts = [document[key] for key in ("collection", "options", "indexes")]
    numbers = [document[key] for key in ("documents", "bytes", "json_inexact")]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("not a collection")
    return CollectionEntry(
        texts[0], stem, kind, numbers[0], numbers[1], document["sha256"], texts[1], texts[2], numbers[2]
    )


def _text(key: str, value: str) -> dict[str, str]:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return {f"{key}_b64": base64.b64encode(os.fsencode(value)).decode("ascii")}
    return {key: value}


def _untext(key: str, document: dict[str, Any]) -> str:
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

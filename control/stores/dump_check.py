"""Verifying the half of a snapshot below `db/`: dumps, metadata and JSON of each collection.

Rules:

- A dump is read as a stream of documents: framed, counted and hashed; never decoded.
- Metadata must say of a collection what the manifest says: mongorestore reads the one, Keyframe the other.

>>> DumpCheck(folder, header, findings, readings, digests, quick=False).run(entries)       # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from ..model import CollectionEntry
from .findings import Findings
from .raw import NotBsonError, field, id_text
from .readings import CHUNK, Read, Readings, forget
from .stored_tree import names_below, open_file, read_small

_SMALLEST, _LARGEST = 5, 1 << 26  # bytes of a document
_KINDS_OF_ID = {"objectid": (0x07,), "string": (0x02,), "int": (0x10, 0x12)}  # BSON types


@dataclass(frozen=True, slots=True)
class DumpFiles:
    """Where the files of a collection lie in a snapshot; no `json`: there is none."""

    bson: str
    metadata: str
    json: str

    @classmethod
    def of(cls, entry: CollectionEntry) -> DumpFiles:
        json_path = f"db/{entry.json_path}" if entry.json_sha256 else ""
        return cls(f"db/{entry.bson_path}", f"db/{entry.metadata_path}", json_path)

    @property
    def all(self) -> tuple[str, ...]:
        """All of them, in the order of manifest-sha256.txt."""
        return tuple(path for path in (self.bson, self.metadata, self.json) if path)


class DumpCheck:
    """The collections of one snapshot."""

    def __init__(
        self,
        folder: Path,
        header: Mapping[str, Any],
        findings: Findings,
        readings: Readings,
        digests: Mapping[str, str],
        *,
        quick: bool,
    ) -> None:
        """`digests` are those of manifest-sha256.txt, by path; what it does not say is not compared."""
        self._folder = folder
        self._project = header["scope"]["project_id"]
        self._fields: Mapping[str, str] = header["project_fields"]
        self._kinds = _KINDS_OF_ID[header["project_id_kind"]]
        self._findings = findings
        self._readings = readings
        self._digests = digests
        self._quick = quick
        self.documents = 0
        self.bytes = 0

    def run(self, entries: list[CollectionEntry]) -> None:
        """Check each, and that nothing else is there."""
        expected: dict[str, set[str]] = {"db": {"bson", "json"}, "db/bson": set(), "db/json": set()}
        for entry in entries:
            files = DumpFiles.of(entry)
            for path in files.all:
                folder, _, name = path.rpartition("/")
                expected[folder].add(name)
            if files.json:
                self._json(entry, files.json)
            self._dump(entry, files.bson)
            self._metadata(entry, files.metadata)
            if entry.json_inexact:
                self._findings.add("noted.json-inexact", files.json, found=entry.json_inexact)
        for path, names in expected.items():
            self._extra(path, names)

    def _extra(self, path: str, names: set[str]) -> None:
        try:
            found = names_below(self._folder, path)
        except OSError as error:
            if path == "db" or not names:
                self._findings.add("damaged.collection-missing", path, detail=f" ({error.strerror})")
            return
        for name in sorted(found - names):
            self._findings.add("damaged.collection-extra", f"{path}/{name}")

    # --- documents

    def _dump(self, entry: CollectionEntry, path: str) -> None:
        try:
            descriptor, size = open_file(self._folder, path)
        except OSError as error:
            self._findings.add("damaged.collection-missing", path, detail=f" ({error.strerror})")
            return
        with open(descriptor, "rb", buffering=0) as file:
            self.documents += entry.documents
            self.bytes += size
            if self._quick:
                if size != entry.bytes:
                    self._findings.add("damaged.collection-size", path, found=size, expected=entry.bytes)
                return
            forget(descriptor)
            try:
                code, details = self._read(entry, file, size)
            except NotBsonError:
                code, details = "damaged.collection-cut", {}
            except OSError as error:
                code, details = "damaged.collection-missing", {"detail": f" ({error.strerror})"}
            forget(descriptor)
        if code:
            self._findings.add(code, path, **details)

    def _read(self, entry: CollectionEntry, file: IO[bytes], size: int) -> tuple[str, dict[str, Any]]:
        """What is wrong with a dump, and how; an empty code where nothing is."""
        digest, number, foreign = hashlib.sha256(), 0, False
        owned = self._fields.get(entry.name)
        for raw in self._documents(file, digest):
            number += 1
            if self._project is not None and not foreign:
                value = field(raw, owned) if owned is not None else None  # None: nothing of it belongs to a project
                foreign = value is None or value[4] not in self._kinds or id_text(value) != self._project
        if size != entry.bytes:
            return "damaged.collection-size", {"found": size, "expected": entry.bytes}
        if digest.hexdigest() != entry.sha256:
            return "damaged.collection-bytes", {}
        if number != entry.documents:
            return "damaged.collection-count", {"found": number, "expected": entry.documents}
        return ("damaged.foreign-record" if foreign else ""), {}

    def _documents(self, file: IO[bytes], digest: Any) -> Iterator[bytes]:
        """The documents of a dump; raises NotBsonError where it is no dump."""
        buffer, at = b"", 0
        while True:
            there = len(buffer) - at
            length = int.from_bytes(buffer[at : at + 4], "little") if there >= 4 else 4
            if there >= 4 and not _SMALLEST <= length <= _LARGEST:
                raise NotBsonError("a length that cannot be")
            if there < length or there < 4:
                chunk = file.read(max(CHUNK, length - there))
                if not chunk and there:
                    raise NotBsonError("cut")
                if not chunk:
                    return
                digest.update(chunk)
                self._readings.count(len(chunk))
                buffer, at = buffer[at:] + chunk, 0
                continue
            if buffer[at + length - 1]:
                raise NotBsonError("a document without end")
            yield buffer[at : at + length]
            at += length

    # --- what lies beside them

    def _metadata(self, entry: CollectionEntry, path: str) -> None:
        try:
            content = read_small(self._folder, path)
        except OSError as error:
            self._findings.add("damaged.metadata-missing", path, detail=f" ({error.strerror})")
            return
        sha256 = hashlib.sha256(content).hexdigest()
        if self._digests.get(path, sha256) != sha256:
            self._findings.add("damaged.metadata-bytes", path)
            return
        wrong = _differs(entry, content)
        if wrong:
            self._findings.add("damaged.metadata-invalid", path, detail=wrong)

    def _json(self, entry: CollectionEntry, path: str) -> None:
        try:
            descriptor, size = open_file(self._folder, path)
        except OSError as error:
            self._findings.add("damaged.json-missing", path, detail=f" ({error.strerror})")
            return
        if size != entry.json_bytes:
            self._findings.add("damaged.json-size", path, found=size, expected=entry.json_bytes)
        if self._quick or size != entry.json_bytes:
            os.close(descriptor)
            return
        self._readings.add(descriptor, size, partial(self._judge_json, entry, path), lines=True)

    def _judge_json(self, entry: CollectionEntry, path: str, read: Read) -> None:
        if read.error is not None:
            self._findings.add("damaged.json-missing", path, detail=f" ({read.error.strerror})")
        elif read.sha256 != entry.json_sha256:
            self._findings.add("damaged.json-bytes", path)
        elif read.lines != entry.documents:
            self._findings.add("damaged.json-count", path, found=read.lines, expected=entry.documents)


def _differs(entry: CollectionEntry, content: bytes) -> str:
    """The first field of a collection's metadata that is not as in the manifest; empty where all are."""
    try:
        found = json.loads(content)
        expected = {
            "collectionName": entry.name,
            "type": entry.kind,
            "options": json.loads(entry.options),
            "indexes": json.loads(entry.indexes),
        }
        return next((key for key, value in expected.items() if found[key] != value), "")
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it is no JSON, or lacks a field"

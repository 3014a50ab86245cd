"""The validator: judges a snapshot by its folder alone, without configuration, database or the rest of Keyframe.

Rules:

- Everything is compared with the manifest, and the manifest with the header: each file, directory and link, each
  dump, its metadata and its JSON, README.txt and the list of sums; and what is there beside them.
- A header or a manifest that cannot be trusted ends it: what they say about the rest would be worth nothing.
- It writes nothing, follows no link inside the snapshot, and holds neither the manifest nor the tree in memory.
- Of what writes snapshots it shares the lines of the manifest and of the sums only.

>>> Validator(Path("/backup/2026-11-21T10-53-15Z")).run(now).status         # doctest: +SKIP
<Weight.GOOD: 'good'>
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DamagedError, NotFoundError
from ..model import FORMAT, CollectionEntry, FileEntry, Scope, Verdict
from .attributes import kept_at
from .dump_check import DumpCheck, DumpFiles
from .files import path_key
from .findings import Findings
from .header_fields import mistakes_of, unknown_in
from .headers import NO_LABELS, labels_from
from .keeping import WHOLE, Keeping
from .manifest import read_manifest
from .readings import CHUNK, Read, Readings
from .stored_tree import Seen, StoredTree, is_dressed, open_file, read_small
from .sums import Sums, has_sum

_OURS = {"snapshot.json", "manifest.jsonl", "manifest-sha256.txt", "README.txt", "files", "db", "labels.json"}
_FILES_APART = 256  # between two looks whether to stop, where nothing is read
_LEFT_OVER = re.compile(r"\.labels\.json\.\d+\Z")  # of a writer that was killed
_SIGNS = ("snapshot.json", "manifest.jsonl", "manifest-sha256.txt")  # one of them is in every snapshot
_KINDS = {"file": "a file", "directory": "a directory", "link": "a link", "other": "a pipe, socket or device"}

Told = Callable[[int, int], None]  # bytes read so far, bytes of the snapshot; may raise to stop the work


class _StopError(Exception):
    """What was found makes everything else worthless."""


class Validator:
    """One look at one snapshot; use it once."""

    def __init__(
        self,
        folder: Path,
        *,
        quick: bool = False,
        scope: Scope | None = None,
        part: str = "",
        told: Told = lambda _done, _total: None,
        keeping: Keeping = WHOLE,
    ) -> None:
        """Of the snapshot in `folder`.

        Parameters
        ----------
        quick: compare names and sizes; read the small files only.
        scope: whose snapshot it has to be; None: whatever its header says.
        part: the id of a project: of a snapshot of the site only this project's files, and what all share.
        keeping: what its disk is known to keep of files.
        """
        self._folder = folder
        self._quick = quick
        self._scope = scope
        self._part = part
        self._top = f"project/{part}" if part else ""
        self._told = told
        self._findings = Findings()
        self._header: dict[str, Any] = {}
        self._files = self._bytes = self._documents = 0
        self._all = Counter[str]()  # files, documents and bytes of the whole manifest
        self._of_projects: dict[str, Counter[str]] = {}
        self._sums: Sums | None = None
        self._kinds, self._keeping = kept_at(str(folder / "files")), keeping

    def run(self, now: datetime) -> Verdict:
        """Look at all of it.

        Raises
        ------
        NotFoundError: the folder is not there, or nothing in it is of a snapshot. What `told` raises.
        """
        if not any((self._folder / name).exists() for name in _SIGNS):
            raise NotFoundError(
                "There is no snapshot.", subject=str(self._folder), hint="Name a folder that holds a snapshot.json."
            )
        with contextlib.suppress(_StopError):
            self._check_header()
            self._check_manifest_bytes()
            with contextlib.closing(self._open_sums()), Readings(self._read) as readings:
                self._check_content(readings)
            self._check_counts()
            self._check_labels()
            self._check_others()
        found = self._findings
        return Verdict(now, self._quick, found.problems, dict(found.counts), self._files, self._documents, self._bytes)

    def _read(self, done: int) -> None:
        self._told(done, self._header["bytes"])

    def _stop(self, code: str, subject: str, **details: Any) -> _StopError:
        self._findings.add(code, subject, **details)
        return _StopError()

    # --- header and manifest

    def _check_header(self) -> None:
        name = "snapshot.json"
        try:
            document = json.loads(read_small(self._folder, name).decode("utf-8"))
        except OSError as error:
            raise self._stop("damaged.header-missing", name, detail=f" ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise self._stop("damaged.header-invalid", name, detail="it is no JSON") from error
        version = document.get("format") if isinstance(document, dict) else None
        if type(version) is int and version > FORMAT:
            raise self._stop("damaged.format-newer", name, found=version, known=FORMAT)
        mistakes = mistakes_of(document)
        if not mistakes:
            mistakes = self._mistakes_of_scope(document["scope"]["project_id"])
        if mistakes:
            more = f", and {len(mistakes) - 3} more" if len(mistakes) > 3 else ""
            raise self._stop("damaged.header-invalid", name, detail=", ".join(mistakes[:3]) + more)
        for field in unknown_in(document)[:1]:
            self._findings.add("noted.header-unknown", name, detail=f"`{field}`")
        if document["problems"]:
            number = len(document["problems"])
            self._findings.add("noted.partial", name, problems=f"{number} thing{'' if number == 1 else 's'}")
        self._header = document

    def _mistakes_of_scope(self, project_id: str | None) -> list[str]:
        try:
            scope = Scope(project_id)
        except ValueError:
            return ["`scope.project_id` has a value that cannot be"]
        return ["`scope` is another one than that of its folder"] if self._scope not in (None, scope) else []

    def _check_manifest_bytes(self) -> None:
        name, said = "manifest.jsonl", self._header["manifest"]
        digest = hashlib.sha256()
        try:
            descriptor, size = open_file(self._folder, name)
            with open(descriptor, "rb", buffering=0) as file:
                if size != said["bytes"]:
                    raise self._stop("damaged.manifest-size", name, found=size, expected=said["bytes"])
                while chunk := file.read(CHUNK):
                    digest.update(chunk)
        except OSError as error:
            raise self._stop("damaged.manifest-missing", name, detail=f" ({error.strerror})") from error
        if digest.hexdigest() != said["sha256"]:
            raise self._stop("damaged.manifest-bytes", name)

    def _entries(self) -> Iterator[FileEntry | CollectionEntry]:
        try:
            is_site = self._header["scope"]["project_id"] is None
            yield from read_manifest(self._folder / "manifest.jsonl", is_site=is_site)
        except DamagedError as error:
            detail = error.what.partition("that is ")[2].rstrip(".") or error.what
            self._findings.withdraw("damaged.", "noted.attributes")  # what the lines before said was worth as little
            raise self._stop(error.code, "manifest.jsonl", detail=detail) from error

    def _open_sums(self) -> Any:
        try:
            self._sums = Sums(self._folder / "manifest-sha256.txt")
        except OSError as error:
            self._findings.add("damaged.sums-missing", "manifest-sha256.txt", detail=f" ({error.strerror})")
            return contextlib.ExitStack()
        return self._sums

    # --- content

    def _check_content(self, readings: Readings) -> None:
        collections: list[CollectionEntry] = []
        self._check_files(self._file_entries(collections), readings)
        digests = self._check_sums(collections)
        dumps = DumpCheck(self._folder, self._header, self._findings, readings, digests, quick=self._quick)
        dumps.run(collections)
        readings.finish()
        self._documents, self._bytes = dumps.documents, self._bytes + dumps.bytes

    def _file_entries(self, collections: list[CollectionEntry]) -> Iterator[FileEntry]:
        """The lines of files that are looked at, counted and compared with the sums; the rest goes to the list."""
        for entry in self._entries():
            if isinstance(entry, CollectionEntry):
                collections.append(entry)
                self._all.update(documents=entry.documents, bytes=entry.bytes)
                continue
            self._count(entry)
            name = b"files/" + os.fsencode(entry.path)
            if entry.kind == "file" and self._sums is not None and has_sum(name):
                self._sums.expect(name, entry.sha256)
            if not self._top or entry.path == self._top or entry.path.startswith(f"{self._top}/"):
                yield entry

    def _count(self, entry: FileEntry) -> None:
        if entry.kind == "directory":
            return
        self._all.update(files=1, bytes=entry.size)
        parts = entry.path.split("/", 2)
        if self._header["scope"]["project_id"] is None and parts[0] == "project" and len(parts) == 3:
            self._of_projects.setdefault(parts[1], Counter()).update(files=1)

    def _check_files(self, entries: Iterator[FileEntry], readings: Readings) -> None:
        """The manifest and the tree, side by side, in the same order."""
        tree = StoredTree(self._folder, "files", *(self._top.split("/") if self._top else ()))
        lost: dict[str, str] = {}  # what the disk does not tell about, until the manifest has come by
        walk = tree.walk(lambda path, error: lost.update({self._whole(path): f" ({error.strerror})"}))
        seen = next(walk, None)
        for entry in entries:
            key = path_key(entry.path)
            while seen is not None and path_key(self._whole(seen.path)) < key:
                self._extra(seen)
                seen = next(walk, None)
            if seen is not None and self._whole(seen.path) == entry.path:
                self._compare(entry, seen, readings)
                seen = next(walk, None)
            else:
                self._findings.add("damaged.file-missing", _subject(entry.path), detail=lost.pop(entry.path, ""))
        while seen is not None:
            self._extra(seen)
            seen = next(walk, None)
        for path, why in lost.items():
            if path not in self._header["unknown"]["paths"]:  # a folder that its maker could not list either
                self._findings.add("damaged.file-missing", _subject(path), detail=why)

    def _whole(self, path: str) -> str:
        """A path of the tree as the manifest has it."""
        if not self._top:
            return path
        return self._top if path == "." else f"{self._top}/{path}"

    def _extra(self, seen: Seen) -> None:
        if seen.path != ".":  # of a scope that was not there
            self._findings.add("damaged.file-extra", _subject(self._whole(seen.path)))

    def _compare(self, entry: FileEntry, seen: Seen, readings: Readings) -> None:
        subject, findings = _subject(entry.path), self._findings
        if seen.kind != entry.kind:
            findings.add("damaged.file-kind", subject, found=_KINDS[seen.kind], expected=_KINDS[entry.kind])
            return
        if entry.kind != "directory":
            self._files, self._bytes = self._files + 1, self._bytes + entry.size
            if self._quick and self._files % _FILES_APART == 0:
                self._read(self._bytes)
        dressed = is_dressed(entry, seen, self._kinds, self._keeping)
        if entry.kind == "file":
            if seen.stat.st_size != entry.size:
                findings.add("damaged.file-size", subject, found=seen.stat.st_size, expected=entry.size)
            elif self._quick:
                self._note_attributes(subject, dressed)
            else:
                self._give(entry, seen, dressed, readings)
            return
        if entry.kind == "link" and seen.target() != entry.target:
            findings.add("damaged.link-target", subject)
            return
        self._note_attributes(subject, dressed)

    def _give(self, entry: FileEntry, seen: Seen, dressed: bool, readings: Readings) -> None:
        try:
            descriptor = seen.open()
        except OSError as error:
            self._findings.add("damaged.file-missing", _subject(entry.path), detail=f" ({error.strerror})")
            return
        readings.add(descriptor, entry.size, partial(self._judge, entry, dressed))

    def _judge(self, entry: FileEntry, dressed: bool, read: Read) -> None:
        subject = _subject(entry.path)
        if read.error is not None:
            self._findings.add("damaged.file-missing", subject, detail=f" ({read.error.strerror})")
        elif read.sha256 != entry.sha256:
            self._findings.add("damaged.file-bytes", subject)
        else:
            self._note_attributes(subject, dressed)

    def _note_attributes(self, subject: str, dressed: bool) -> None:
        if not dressed:
            self._findings.add("noted.attributes", subject)

    # --- what describes the content

    def _check_sums(self, collections: list[CollectionEntry]) -> dict[str, str]:
        """The rest of the sums; the small files that only they vouch for. The digests that they name."""
        paths = [path for one in collections for path in DumpFiles.of(one).all]
        digests: dict[str, str] = {}
        if self._sums is not None:
            digests = self._sums.rest([*paths, "README.txt", "snapshot.json", "manifest.jsonl"])
            known = {DumpFiles.of(one).bson: one.sha256 for one in collections}
            known |= {DumpFiles.of(one).json: one.json_sha256 for one in collections if one.json_sha256}
            known["manifest.jsonl"] = self._header["manifest"]["sha256"]
            unlike = [path for path, sha256 in known.items() if digests.get(path, sha256) != sha256]
            if self._sums.wrong or unlike:
                line = self._sums.wrong or self._sums.line_of(unlike[0])
                self._findings.add("damaged.sums-invalid", "manifest-sha256.txt", line=line)
        for name, kind in (("README.txt", "readme"), ("snapshot.json", "header")):
            try:
                sha256 = hashlib.sha256(read_small(self._folder, name)).hexdigest()
            except OSError as error:
                self._findings.add(f"damaged.{kind}-missing", name, detail=f" ({error.strerror})")
                continue
            if digests.get(name, sha256) != sha256:
                self._findings.add(f"damaged.{kind}-bytes", name)
        return digests

    def _check_counts(self) -> None:
        for noun in ("files", "documents", "bytes"):
            if self._header[noun] != self._all[noun]:
                details = {"noun": noun, "expected": self._header[noun], "found": self._all[noun]}
                self._findings.add("damaged.header-counts", "snapshot.json", **details)
        said = self._header["projects"] if self._header["scope"]["project_id"] is None else {}
        for one in sorted(set(said) | set(self._of_projects)):
            found = self._of_projects.get(one, Counter())["files"]
            expected = said[one]["files"] if one in said else 0
            if found != expected and self._part in ("", one):
                details = {"noun": f"files of project {one}", "expected": expected, "found": found}
                self._findings.add("damaged.header-counts", f"files/project/{one}", **details)

    def _check_labels(self) -> None:
        try:
            labels_from(read_small(self._folder, "labels.json"))
        except FileNotFoundError:
            return
        except (OSError, *NO_LABELS):
            self._findings.add("noted.labels-invalid", "labels.json")

    def _check_others(self) -> None:
        with contextlib.suppress(OSError):
            for name in sorted(os.listdir(self._folder)):
                if name not in _OURS and not _LEFT_OVER.match(name):
                    self._findings.add("noted.folder-extra", name)


def _subject(path: str) -> str:
    return "files/" if path == "." else f"files/{path}"

"""A draft: the folder of a snapshot while it is written.

Rules:

- Nothing in it is visible until `Repository.commit`; whoever stops half-way leaves a folder that no list shows.
- Stored and live files never share an inode; stored files of different snapshots may.
- Everything that is written is hashed as it is written; the sums at the end are of what was written.

>>> draft.add_file(entry, live)[0].sha256        # doctest: +SKIP
'9f86d081884c7d65…'
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import stat as modes
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import bsonjs
import msgspec
from bson import decode, json_util

from ..model import CollectionEntry, FileEntry
from .files import Tree, copy_file, copy_link, dress_folder
from .headers import write_json
from .manifest import ManifestWriter, read_manifest
from .mongo import CollectionInfo
from .raw import LENIENT
from .readme import readme_text

# mongorestore takes the full name from the metadata where a stem has exactly 238 bytes: 208 of the name, `%24`, 27 of
# the checksum.
_LONGEST_STEM = 238
_CUT_STEM = 208


@dataclass(frozen=True, slots=True)
class _Sum:
    """One line of manifest-sha256.txt that is not of a file below files/."""

    path: str
    sha256: str


class Draft:
    """The folder of one snapshot while it is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Tree(folder / "files")
        self.scratch = folder / ".bulk"  # notes of the copying, gone before the commit
        self._sums: list[_Sum] = []
        self._manifest: ManifestWriter | None = None
        self._collection: CollectionWriter | None = None
        for name in ("files", "db/bson", "db/json"):
            (folder / name).mkdir(parents=True)

    # The draft holds links as they were: what is written and removed goes below open directories (`Tree.parent`), or
    # a path that was a directory in the first pass and is a link in the second one would lead out of it.

    def add_folder(self, entry: FileEntry) -> None:
        """Make the directory of `entry`; it is writable until `finish`."""
        with contextlib.suppress(FileExistsError), self.files.parent(entry.path) as (folder, name):
            os.mkdir(name, 0o700, dir_fd=folder)

    def add_link(self, entry: FileEntry) -> None:
        """Make the symbolic link of `entry`."""
        with self.files.parent(entry.path) as (folder, name):
            copy_link(entry, name, folder)

    def add_file(self, entry: FileEntry, live: Tree) -> tuple[FileEntry, os.stat_result]:
        """Copy the live file of `entry`; what was copied, and its stat. Errors as `copy_file`."""
        with self.files.parent(entry.path) as (folder, name):
            return copy_file(live, entry.path, name, folder)

    def link_file(self, entry: FileEntry, older: Tree) -> bool:
        """Share the stored file of an older snapshot; False where that cannot be."""
        try:
            with older.parent(entry.path) as (source, name), self.files.parent(entry.path) as (folder, _):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                os.link(name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        except OSError:
            return False
        return True

    def remove(self, path: str) -> None:
        """Take out again what vanished from the live files meanwhile; a directory only when it is empty."""
        with contextlib.suppress(OSError), self.files.parent(path) as (folder, name):
            try:
                os.unlink(name, dir_fd=folder)
            except IsADirectoryError:
                os.rmdir(name, dir_fd=folder)

    def make_way(self, entry: FileEntry) -> None:
        """Take out what was stored under a path of another kind than `entry`."""
        with contextlib.suppress(OSError), self.files.parent(entry.path) as (folder, name):
            is_folder = modes.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
            if is_folder and entry.kind != "directory":
                shutil.rmtree(name, dir_fd=folder)
            elif not is_folder and entry.kind == "directory":
                os.unlink(name, dir_fd=folder)

    def begin_records(self) -> None:
        """Forget the collections dumped so far: one of them may not be there at the next try."""
        if self._collection is not None:
            self._collection.abandon()
        for folder in (self.folder / "db" / "bson", self.folder / "db" / "json"):
            for path in folder.iterdir():
                path.unlink()

    def collection(self, info: CollectionInfo) -> CollectionWriter:
        """Begin the dump of a collection."""
        self._collection = CollectionWriter(self.folder / "db", info)
        return self._collection

    def keep_sums(self, writers: list[CollectionWriter]) -> None:
        """Note what was written of the collections, for the list of sums."""
        self._sums += [one for writer in writers for one in writer.sums]

    def manifest(self) -> ManifestWriter:
        self._manifest = ManifestWriter(self.folder / "manifest.jsonl")
        return self._manifest

    def abandon(self) -> None:
        """Close what is open still; nothing of it is wanted any more."""
        for one in (self._manifest, self._collection):
            if one is not None:
                with contextlib.suppress(OSError):  # a full disk does not take the rest
                    one.abandon()

    def finish(self, header: Mapping[str, Any]) -> None:
        """Write README.txt, snapshot.json and the list of sums; give directories their modes. The draft is complete."""
        self.scratch.unlink(missing_ok=True)
        (self.folder / "README.txt").write_text(readme_text(header), encoding="utf-8")
        write_json(self.folder / "snapshot.json", header)
        for name in ("README.txt", "snapshot.json", "manifest.jsonl"):
            with open(self.folder / name, "rb") as content:
                self._sums.append(_Sum(name, hashlib.file_digest(content, "sha256").hexdigest()))
        folders = []
        with open(self.folder / "manifest-sha256.txt", "wb") as file:
            for entry in read_manifest(self.folder / "manifest.jsonl"):
                if isinstance(entry, FileEntry):
                    if entry.kind == "file":
                        file.write(sum_line(f"files/{entry.path}", entry.sha256))
                    elif entry.kind == "directory":
                        folders.append(entry)
            for one in self._sums:
                file.write(sum_line(one.path, one.sha256))
        for entry in reversed(folders):
            dress_folder(self.folder / "files" / entry.path, entry)


class CollectionWriter:
    """Writes one collection twice: BSON as mongorestore reads it, and extended JSON, a line per document."""

    def __init__(self, folder: Path, info: CollectionInfo) -> None:
        self.info = info
        self.stem = stem_of(info.name)
        self.documents = 0
        self.bytes = 0
        self._inexact = 0
        self.sums: list[_Sum] = []
        self._bson = _Hashed(folder / "bson" / f"{self.stem}.bson")
        self._json = _Hashed(folder / "json" / f"{self.stem}.json")
        self._metadata = folder / "bson" / f"{self.stem}.metadata.json"

    def add(self, raw: bytes) -> None:
        """Write one document."""
        self._bson.write(raw)
        self._json.write(self._line(raw).encode("utf-8", "surrogatepass") + b"\n")
        self.documents += 1
        self.bytes += len(raw)

    def close(self) -> CollectionEntry:
        """End both files and write what describes the collection."""
        bson_sum, json_sum = self._bson.close(), self._json.close()
        metadata = metadata_json(self.info)
        self._metadata.write_bytes(metadata)
        self.sums = [
            _Sum(f"db/bson/{self.stem}.bson", bson_sum),
            _Sum(f"db/bson/{self.stem}.metadata.json", hashlib.sha256(metadata).hexdigest()),
            _Sum(f"db/json/{self.stem}.json", json_sum),
        ]
        return CollectionEntry(
            name=self.info.name,
            stem=self.stem,
            kind=self.info.kind,
            documents=self.documents,
            bytes=self.bytes,
            sha256=bson_sum,
            options=self.info.options,
            indexes=self.info.indexes,
            json_inexact=self._inexact,
        )

    def abandon(self) -> None:
        """Close both files, half as they are."""
        with contextlib.suppress(OSError):
            self._bson.close()
        self._json.close()

    def _line(self, raw: bytes) -> str:
        # bsonjs raises on invalid UTF-8 and alters a few values: each line is read back and compared.
        try:
            line: str = bsonjs.dumps(raw, mode=bsonjs.CANONICAL)
            if bsonjs.loads(line) == raw:
                return line
        except (ValueError, UnicodeError):
            pass
        document = decode(raw, LENIENT)
        self._inexact += 1
        return json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS)


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = open(path, "wb", buffering=1 << 20)  # noqa: SIM115  (closed by close)
        self._digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)

    def close(self) -> str:
        self._file.close()
        return self._digest.hexdigest()


def metadata_json(info: CollectionInfo) -> bytes:
    """`<collection>.metadata.json` as mongorestore reads it: options, indexes, uuid, name and type."""
    document = {
        "options": msgspec.Raw(info.options.encode()),
        "indexes": msgspec.Raw(info.indexes.encode()),
        "uuid": info.uuid,
        "collectionName": info.name,
        "type": info.kind,
    }
    return msgspec.json.encode(document)


def stem_of(collection: str) -> str:
    """The name of a collection's files: escaped, and shortened where it is long, as mongodump does.

    Source: mongo-tools, common/util, EscapeCollectionName: percent-escapes; longer names are cut and end in `%24` and
    the SHA-1 of the whole name in URL-safe base64.
    """
    stem = quote(collection, safe="$&+=:@")
    if len(stem) <= _LONGEST_STEM:
        return stem
    checksum = hashlib.sha1(collection.encode(), usedforsecurity=False).digest()
    return f"{stem[:_CUT_STEM]}%24{base64.urlsafe_b64encode(checksum).decode('ascii').rstrip('=')}"


def sum_line(path: str, sha256: str) -> bytes:
    r"""A line that `sha256sum -c` reads; names with backslash, newline or carriage return are escaped its way."""
    name = os.fsencode(path)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    mark = b"\\" if escaped != name else b""
    return mark + sha256.encode("ascii") + b"  " + escaped + b"\n"

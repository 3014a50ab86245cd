"""A draft: the folder of a snapshot while it is written.

Rules:

- Nothing in it is visible until `Repository.commit`; whoever stops half-way leaves a folder that no list shows.
- Stored and live files never share an inode; stored files of different snapshots may.
- Everything that is written is hashed as it is written; the sums at the end are of what was written.

>>> draft.add_file(entry, live)[0].sha256        # doctest: +SKIP
'9f86d081884c7d65…'
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat as modes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model import FileEntry
from .dump import CollectionWriter, Sum
from .files import Tree, copy_file, copy_link
from .headers import write_json
from .manifest import ManifestWriter, read_manifest
from .mongo import CollectionInfo
from .readme import Unsummed, readme_text
from .sums import has_sum, sum_line


class Draft:
    """The folder of one snapshot while it is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Tree(folder / "files")
        self.scratch = folder / ".bulk"  # notes of the copying, gone before the commit
        self._sums: list[Sum] = []
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
        folders, unsummed = [], Unsummed()
        with open(self.folder / "manifest-sha256.txt", "wb") as file:
            for entry in read_manifest(self.folder / "manifest.jsonl"):
                if not isinstance(entry, FileEntry):
                    break
                full = b"files/" + os.fsencode(entry.path)
                if entry.kind == "file" and has_sum(full):
                    file.write(sum_line(full, entry.sha256))
                elif entry.kind == "file":
                    unsummed.add(full, entry.sha256)
                elif entry.kind == "directory":
                    folders.append(entry)
            (self.folder / "README.txt").write_text(readme_text(header, unsummed), encoding="utf-8")
            write_json(self.folder / "snapshot.json", header)
            for path in ("README.txt", "snapshot.json", "manifest.jsonl"):
                with open(self.folder / path, "rb") as content:
                    self._sums.append(Sum(path, hashlib.file_digest(content, "sha256").hexdigest()))
            for one in self._sums:
                file.write(sum_line(os.fsencode(one.path), one.sha256))
        for entry in reversed(folders):
            with self.files.parent(entry.path) as (at, name):
                if os.geteuid() == 0:
                    os.chown(name, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
                os.chmod(name, entry.mode, dir_fd=at)

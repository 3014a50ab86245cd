"""A draft: the folder of a snapshot while it is written.

Rules:

- Nothing in it is visible until `Repository.commit`; whoever stops half-way leaves a folder that no list shows.
- Stored and live files never share an inode; stored files of different snapshots may.
- Everything that is written is hashed as it is written; the sums at the end are of what was written.

>>> draft.add_sum(b"files/edition/1/model.glb", "9f86d081884c7d65…")        # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from .collection_info import CollectionInfo
from .disk import boot, flush_open, opened
from .dump import CollectionWriter, Means, Sum
from .headers import write_json
from .manifest import ManifestWriter
from .readme import Unsummed, readme_text
from .sums import has_sum, sum_line, sum_lines
from .trees import Tree

_BOOT = ".boot"  # in which run of the machine the draft was begun; gone before the commit


def is_of_this_boot(folder: Path) -> bool:
    """Whether what was written into a draft must be there still, though nothing of it was flushed."""
    with contextlib.suppress(OSError, ValueError):
        return boot() != "" and (folder / _BOOT).read_text(encoding="ascii") == boot()
    return False


class Draft:
    """The folder of one snapshot while it is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Tree(folder / "files")
        self._sums: list[Sum] = []
        self._sum_file: IO[bytes] | None = None
        self._unsummed = Unsummed()
        self._manifest: ManifestWriter | None = None
        self._collections: list[CollectionWriter] = []
        self._flushing: Future[None] | None = None
        self._open = opened(folder)  # before anything is written: else another's flush may be told of what is lost
        try:
            for name in ("files", "db/bson"):
                (folder / name).mkdir(parents=True)
            (folder / _BOOT).write_text(boot(), encoding="ascii")
        except OSError:
            os.close(self._open)
            raise

    def rows(self, step: int) -> Path:
        """Where a step of the copying keeps its notes; gone before the commit."""
        return self.folder / f".rows-{step}"

    def add_sum(self, path: bytes, sha256: str) -> None:
        """Note the digest of a file, for the list of sums, or for README.txt where that cannot have it."""
        if not has_sum(path):
            self._unsummed.add(path, sha256)
            return
        if self._sum_file is None:
            self._sum_file = open(self.folder / "manifest-sha256.txt", "wb", buffering=1 << 18)  # noqa: SIM115
        self._sum_file.write(sum_line(path, sha256))

    def add_sums(self, prefix: bytes, names: list[bytes], shas: list[bytes]) -> None:
        """The same of files of one directory, whose path and `/` is `prefix`; digests as hexadecimal digits."""
        lines = sum_lines(prefix, names, shas)
        if lines is not None and self._sum_file is not None:
            self._sum_file.write(lines)
            return
        for name, sha256 in zip(names, shas, strict=True):
            self.add_sum(prefix + name, sha256.decode("ascii"))

    def begin_records(self, *, with_json: bool) -> None:
        """Forget the collections dumped so far: one of them may not be there at the next try."""
        for writer in self._collections:
            writer.abandon()
        self._collections = []
        for folder in [self.folder / "db" / "bson"] + [self.folder / "db" / "json"] * with_json:
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                path.unlink()

    def collection(self, info: CollectionInfo, means: Means) -> CollectionWriter:
        """Begin the dump of a collection."""
        writer = CollectionWriter(self.folder / "db", info, means)
        self._collections.append(writer)
        return writer

    def keep_sums(self, writers: list[CollectionWriter]) -> None:
        """Note what was written of the collections, for the list of sums."""
        self._sums += [one for writer in writers for one in writer.sums]

    def manifest(self) -> ManifestWriter:
        self._manifest = ManifestWriter(self.folder / "manifest.jsonl")
        return self._manifest

    def abandon(self) -> None:
        """Close what is open still; nothing of it is wanted any more."""
        for one in (self._manifest, *self._collections):
            if one is not None:
                with contextlib.suppress(OSError):  # a full disk does not take the rest
                    one.abandon()
        if self._sum_file is not None:
            with contextlib.suppress(OSError):
                self._sum_file.close()
        os.close(self._open)

    def begin_flush(self) -> None:
        """Let what was written so far come to the disk while other things are done: `flush` waits for less then."""
        flushing = self._flushing = Future()
        descriptor = os.dup(self._open)  # of its own: a make that fails does not wait for the thread
        threading.Thread(target=_flush_ahead, args=(flushing, descriptor), name="flush", daemon=True).start()

    def flush(self) -> None:
        """Bring all that was written to the disk.

        Raises
        ------
        OSError: something was not, now or ahead of this: the system says so once only.
        """
        if self._flushing is not None:
            self._flushing.result()
        flush_open(self._open)

    def finish(self, header: Mapping[str, Any]) -> None:
        """Write README.txt, snapshot.json and the end of the list of sums: the draft is complete."""
        for path in (*self.folder.glob(".rows-*"), self.folder / _BOOT):
            path.unlink()
        (self.folder / "README.txt").write_text(readme_text(header, self._unsummed), encoding="utf-8")
        write_json(self.folder / "snapshot.json", header, durable=False)  # the commit flushes all at once
        for name in ("README.txt", "snapshot.json", "manifest.jsonl"):
            with open(self.folder / name, "rb") as content:
                self._sums.append(Sum(name, hashlib.file_digest(content, "sha256").hexdigest()))
        for one in self._sums:
            self.add_sum(one.path.encode(), one.sha256)
        if self._sum_file is not None:
            self._sum_file.close()


def _flush_ahead(flushing: Future[None], descriptor: int) -> None:
    try:
        flush_open(descriptor)
        flushing.set_result(None)
    except OSError as error:
        flushing.set_exception(error)
    finally:
        os.close(descriptor)

"""The notes of a directory copy: a row for each path that was seen, in files beside the draft.

Rules:

- Rows are in the order of the paths, so that looks and manifests can be gone through side by side; no list of the
  tree is ever held.
- A row of a file without digest stands for work to be done.

>>> for row in read_rows(path): row.path        # doctest: +SKIP
b'edition/1/model.glb'
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..model import Attributes, FileEntry
from ..stores.file_lines import FileLine, attribute_texts, mode_text, texts

_BLOCK = 256  # rows that are written together


class Stat(NamedTuple):
    """What a look at a path told."""

    device: int
    inode: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Row(msgspec.Struct, array_like=True, gc=False):
    """One path of the live tree.

    `at` is the wall clock of the look; `target` that of a link; `sha256` of a file, empty: not known yet, then
    `expected` is what it has to be for the stored copy to serve. The copy lies in the draft, or, where `folder` is not
    empty, at `copy` below the files of that snapshot (its folder below the repository's root). `attributes` are those
    that were read; of a file whose bytes are expected only, those of the stored copy.
    """

    path: bytes
    stat: Stat
    at: int
    target: bytes = b""
    sha256: str = ""
    expected: str = ""
    folder: str = ""
    copy: bytes = b""
    links: int = 1
    attributes: Attributes = ()

    @property
    def is_file(self) -> bool:
        return modes.S_ISREG(self.stat.mode)

    @property
    def is_folder(self) -> bool:
        return modes.S_ISDIR(self.stat.mode)

    def is_same(self, seen: os.stat_result, attributes: Attributes) -> bool:
        """Whether a look tells what this one did. A directory's times say only that its names changed.

        Parameters
        ----------
        attributes: of a directory or link; a file's are as they were when its ctime is.
        """
        stat = self.stat
        if not self.is_file and self.attributes != attributes:
            return False
        if (stat.mode, stat.uid, stat.gid) != (seen.st_mode, seen.st_uid, seen.st_gid):
            return False
        return modes.S_ISDIR(stat.mode) or (
            (stat.inode, stat.ctime_ns, stat.mtime_ns, stat.size, stat.device)
            == (seen.st_ino, seen.st_ctime_ns, seen.st_mtime_ns, seen.st_size, seen.st_dev)
        )

    def entry(self) -> FileEntry:
        """What the manifest says of it."""
        stat, is_folder = self.stat, self.is_folder
        return FileEntry(
            path=os.fsdecode(self.path),
            kind="directory" if is_folder else "file" if self.is_file else "link",
            size=stat.size if self.is_file else 0,
            mode=modes.S_IMODE(stat.mode),
            uid=stat.uid,
            gid=stat.gid,
            mtime_ns=0 if is_folder else stat.mtime_ns,
            sha256=self.sha256,
            target=os.fsdecode(self.target),
            attributes=self.attributes,
        )

    def line(self) -> FileLine:
        """The same as a line of the manifest."""
        stat = self.stat
        line = FileLine(mode=mode_text(stat.mode), uid=stat.uid, gid=stat.gid)
        line.path, line.path_b64 = texts(self.path)
        kind = modes.S_IFMT(stat.mode)
        if kind == modes.S_IFREG:
            line.type, line.size, line.sha256, line.mtime_ns = "file", stat.size, self.sha256, stat.mtime_ns
        elif kind == modes.S_IFLNK:
            line.type, line.mtime_ns = "link", stat.mtime_ns
            line.target, line.target_b64 = texts(self.target)
        else:
            line.type = "directory"
        line.attributes, line.attributes_b64 = attribute_texts(self.attributes)
        return line


def row_of(path: str, seen: os.stat_result, at_ns: int, target: str = "", attributes: Attributes = ()) -> Row:
    """The row of a look at a live path."""
    stat = Stat(
        seen.st_dev,
        seen.st_ino,
        seen.st_mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
    )
    return Row(os.fsencode(path), stat, at_ns, os.fsencode(target), links=seen.st_nlink, attributes=attributes)


class RowWriter:
    """Writes rows to a file; use it with `with`."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb", buffering=1 << 18)  # noqa: PTH123, SIM115  (closed by __exit__)
        self._encode = msgspec.msgpack.Encoder().encode
        self._block: list[Row] = []

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write()
        finally:
            self._file.close()

    def add(self, row: Row) -> None:
        self._block.append(row)
        if len(self._block) == _BLOCK:
            self._write()

    def _write(self) -> None:
        block = self._encode(self._block)
        self._file.write(len(block).to_bytes(4, "little") + block)
        self._block = []


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, as they were added; of one that was cut short, those of its whole blocks."""
    decode = msgspec.msgpack.Decoder(list[Row]).decode
    with open(path, "rb", buffering=1 << 18) as file:  # noqa: PTH123
        while head := file.read(4):
            block = file.read(int.from_bytes(head, "little"))
            if len(head) < 4 or len(block) < int.from_bytes(head, "little"):
                return
            yield from decode(block)

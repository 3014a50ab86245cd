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
from ..stores.seen import RACY_NS

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

    def is_settled(self) -> bool:
        """Whether the stamp was old enough at the look to be trusted; a younger file is settled by its bytes."""
        return self.at - self.stat[7] >= RACY_NS or not self.is_file

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
    return Row(
        os.fsencode(path), Stat(*told(seen)), at_ns, os.fsencode(target), links=seen.st_nlink, attributes=attributes
    )


def told(seen: os.stat_result) -> tuple[int, int, int, int, int, int, int, int]:
    """The values of a `Stat`."""
    return (
        seen.st_dev,
        seen.st_ino,
        seen.st_mode,
        seen.st_uid,
        seen.st_gid,
        seen.st_size,
        seen.st_mtime_ns,
        seen.st_ctime_ns,
    )


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

    def add_block(self, block: bytes) -> None:
        """Rows as `read_blocks` tells them."""
        self._write()
        self._file.write(len(block).to_bytes(4, "little") + block)

    def _write(self) -> None:
        if not self._block:
            return
        block = self._encode(self._block)
        self._file.write(len(block).to_bytes(4, "little") + block)
        self._block = []


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, as they were added; of one that was cut short, those of its whole blocks."""
    for _, rows in read_blocks(path):
        yield from rows


def read_blocks(path: Path) -> Iterator[tuple[bytes, list[Row]]]:
    """The same by the block: its bytes, and its rows."""
    decode = msgspec.msgpack.Decoder(list[Row]).decode
    with open(path, "rb", buffering=1 << 18) as file:  # noqa: PTH123
        while head := file.read(4):
            block = file.read(int.from_bytes(head, "little"))
            if len(head) < 4 or len(block) < int.from_bytes(head, "little"):
                return
            yield block, decode(block)


class Relay:
    """Leads from the rows of one step to those of the next, row by row.

    Blocks of which every row is kept go over as bytes: with the gate closed that is nearly all of them.
    """

    def __init__(self, source: Path, out: RowWriter) -> None:
        self._blocks = read_blocks(source)
        self._out = out
        self._rows: list[Row] = []
        self._place = 0  # of the head in its block
        self._bytes: bytes | None = None  # of the block, while all its rows were kept
        self.head: Row | None = None  # the row whose turn it is; None: there are no more
        self._next_block()

    def keep(self) -> None:
        """The head goes over as it is."""
        if self._bytes is None and self.head is not None:
            self._out.add(self.head)
        self._next()

    def settle(self, at_ns: int) -> None:
        """The head goes over as what a later look told as well."""
        self._split()
        if self.head is not None:
            self.head.at = at_ns
        self.keep()

    def drop(self) -> None:
        """The head does not go over."""
        self._split()
        self._next()

    def add(self, row: Row) -> None:
        """Another row goes over."""
        self._split()
        self._out.add(row)

    def keep_rest(self) -> None:
        """All that come go over as they are."""
        while self.head is not None:
            self.keep()

    def _split(self) -> None:
        if self._bytes is not None:
            self._bytes = None
            for row in self._rows[: self._place]:
                self._out.add(row)

    def _next(self) -> None:
        self._place += 1
        if self._place < len(self._rows):
            self.head = self._rows[self._place]
            return
        if self._bytes is not None:
            self._out.add_block(self._bytes)
        self._next_block()

    def _next_block(self) -> None:
        # An empty block is never written.
        self._bytes, self._rows = next(self._blocks, (None, []))
        self._place = 0
        self.head = self._rows[0] if self._rows else None

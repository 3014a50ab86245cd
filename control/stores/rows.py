"""What a directory copy knows of each path: a row for it, or, of many together, a sheet with columns.

Rules:

- A row of a file without digest stands for work to be done.
- Of a sheet only the odd ones have rows of their own: of all others the copy lies in one place, under the same path.

>>> for row in noted.rows(): row.path, row.folder        # doctest: +SKIP
(b'edition/1/model.glb', 'project/1/2026-11-21T10-53-15Z')
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from ..model import Attributes, FileEntry
from .file_lines import FileLine, attribute_texts, mode_text, texts
from .seen import RACY_NS
from .sheets import FILE, FOLDER, LINK, MARK, NO_MARK, STAT, Sheet

_DIGEST = 32  # bytes
UNKNOWN = bytes(_DIGEST)


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

    def is_same(self, other: Row) -> bool:
        """Whether two looks told the same. A directory's times say only that its names changed.

        A file's attributes are as they were when its ctime is.
        """
        stat, seen = self.stat, other.stat
        if not self.is_file and self.attributes != other.attributes:
            return False
        if (stat.mode, stat.uid, stat.gid) != (seen.mode, seen.uid, seen.gid):
            return False
        return modes.S_ISDIR(stat.mode) or (
            (stat.inode, stat.ctime_ns, stat.mtime_ns, stat.size, stat.device)
            == (seen.inode, seen.ctime_ns, seen.mtime_ns, seen.size, seen.device)
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


class Noted(msgspec.Struct, array_like=True, gc=False):
    """A sheet and what is known of its files.

    `digests` has 32 bytes for each path; empty: every file without a row of its own is to be copied. `folder` is where
    their copies lie, at the same paths; empty: in the draft.
    """

    sheet: Sheet
    digests: bytes = b""
    folder: str = ""
    odd: dict[int, Row] = {}

    def is_settled(self) -> bool:
        """As of a row."""
        return self.sheet.at - self.sheet.newest >= RACY_NS

    def is_waiting(self) -> bool:
        """Whether all its files are to be copied."""
        return not self.digests and FILE in self.sheet.kinds

    def with_rows(self, rows: dict[int, Row]) -> Noted:
        """The same, with what else is known of some files: rows of their own, but for those that are like all."""
        digests, odd = bytearray(self.digests), dict(self.odd)
        for number, row in rows.items():
            is_like_all = is_plain(row, self.folder)
            at = slice(number * _DIGEST, (number + 1) * _DIGEST)
            digests[at] = bytes.fromhex(row.sha256) if is_like_all else UNKNOWN
            odd.pop(number, None)
            if not is_like_all:
                odd[number] = row
        return Noted(self.sheet, bytes(digests), self.folder, odd)

    def rows(self) -> Iterator[Row]:
        """A row of each."""
        sheet = self.sheet
        for number, name in enumerate(sheet.names_list()):
            row = self.odd.get(number)
            yield row if row is not None else self._row(number, name)

    def sums(self) -> tuple[list[bytes], list[bytes]]:
        """The names of its files and their digests, as hexadecimal digits."""
        sheet, names, digests = self.sheet, self.sheet.names_list(), self.digests.hex().encode("ascii")
        shas = [digests[at : at + 2 * _DIGEST] for at in range(0, len(digests), 2 * _DIGEST)] or [b""] * len(sheet)
        for number, row in self.odd.items():
            shas[number] = row.sha256.encode("ascii")
        if sheet.is_files:
            return names, shas
        kept = [number for number, kind in enumerate(sheet.kinds) if kind == FILE[0]]
        return [names[number] for number in kept], [shas[number] for number in kept]

    def digest(self, number: int) -> bytes:
        return self.digests[number * _DIGEST : (number + 1) * _DIGEST]

    def row(self, number: int) -> Row:
        row = self.odd.get(number)
        return row if row is not None else self._row(number, self.sheet.names_list()[number])

    def _row(self, number: int, name: bytes) -> Row:
        row = look_of(self.sheet, number, name)
        if row.is_file and self.digests:
            row.sha256 = self.digest(number).hex()
            row.folder, row.copy = self.folder, row.path if self.folder else b""
        return row


def look_of(sheet: Sheet, number: int, name: bytes) -> Row:
    """The row of one name of a sheet; nothing is known of its bytes."""
    mode, uid, gid, size, mtime_ns = STAT.unpack(sheet.stat(number))
    device, inode, ctime_ns, links = MARK.unpack(sheet.mark(number))
    stat = Stat(device, inode, mode, uid, gid, size, mtime_ns, ctime_ns)
    target, attributes = sheet.extras.get(number, (b"", ()))
    return Row(sheet.prefix + name, stat, sheet.at, target, links=links or 1, attributes=attributes)


def noted_of(sheet: Sheet, rows: Iterable[Row], folder: str) -> Noted:
    """A sheet with the rows of all its names: those of files that are not stored in `folder` as they are stay odd."""
    odd, digests = {}, []
    for number, row in enumerate(rows):
        if row.is_file and not is_plain(row, folder):
            odd[number] = row
        digests.append(bytes.fromhex(row.sha256) if row.sha256 else UNKNOWN)
    return Noted(sheet, b"".join(digests), folder, odd)


def sheet_of_rows(rows: list[Row]) -> Sheet:
    """The sheet of rows of one directory that follow one another."""
    prefix = rows[0].path.rpartition(b"/")
    stats, marks = zip(*map(stat_bytes, rows), strict=True)
    ctimes = [0 if row.is_folder else row.stat.ctime_ns for row in rows]
    return Sheet(
        prefix[0] + prefix[1],
        b"\0".join(row.path.rpartition(b"/")[2] for row in rows),
        b"".join(FOLDER if row.is_folder else FILE if row.is_file else LINK for row in rows),
        b"".join(stats),
        b"".join(marks),
        min(row.at for row in rows),
        max(ctimes),
        {
            number: (row.target, row.attributes)
            for number, row in enumerate(rows)
            if not row.is_file and (row.target or row.attributes)
        },
    )


def is_plain(row: Row, folder: str) -> bool:
    """Whether the copy of a file lies in `folder` under its own path, and nothing more is to be said."""
    if not row.sha256 or row.expected or row.attributes or row.folder != folder:
        return False
    return row.copy == (row.path if folder else b"")


def stat_bytes(row: Row) -> tuple[bytes, bytes]:
    """Its stat, as a sheet has it."""
    stat = row.stat
    if row.is_folder:
        return STAT.pack(stat.mode, stat.uid, stat.gid, 0, 0), NO_MARK
    return (
        STAT.pack(stat.mode, stat.uid, stat.gid, stat.size, stat.mtime_ns),
        MARK.pack(stat.device, stat.inode, stat.ctime_ns, row.links),
    )

"""What the last make of a scope knew of each live path, kept beside what was seen: so that nothing has to be looked up.

Rules:

- It serves while the snapshot it tells of is the newest and has the manifest that it was written with; it can be
  deleted at any time.
- It is read only when its checksum is right: what is spoilt there would stand in the next manifest.
- Only what was certain is in it: a stamp younger than two seconds at the look is not (`seen.py`).
- It is gone through in the order of the paths, side by side with a walk.

>>> for sheet in tree.sheets(print): known.over(sheet)      # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec
import structlog

from ..stores.rows import Noted, Row, noted_of, sheet_of_rows
from ..stores.sheets import FILE
from .row_files import RowWriter, read_blocks, read_items

log = structlog.get_logger(__name__)

_VERSION = 2
_HEAD = 4096  # bytes


class _Head(msgspec.Struct, array_like=True):
    version: int
    checksum: int  # of all that follows the head
    seen: str  # the token of what was seen: both are deleted together
    folder: str  # of the snapshot, below the repository's root
    manifest: str  # its manifest's SHA-256; in the end, which is told from the line feeds behind it


class Known:
    """The file of one scope."""

    def __init__(self, path: Path, seen: str) -> None:
        self._path = path
        self._seen = seen

    def told(self) -> tuple[str, str]:
        """The folder and the manifest's digest of the snapshot that is known; empty: none."""
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123
                head = msgspec.msgpack.decode(file.read(_HEAD).rstrip(b"\n"), type=_Head)
        except (OSError, msgspec.MsgspecError):
            return "", ""
        is_ours = bool(self._seen) and (head.version, head.seen) == (_VERSION, self._seen)
        return (head.folder, head.manifest) if is_ours else ("", "")

    def load(self, folder: str, manifest: str) -> Iterator[Noted] | None:
        """What is known of the paths of a snapshot; None: nothing."""
        try:
            with open(self._path, "rb") as file:  # noqa: PTH123
                head = msgspec.msgpack.decode(file.read(_HEAD).rstrip(b"\n"), type=_Head)
                if not self._seen or head != _Head(_VERSION, head.checksum, self._seen, folder, manifest):
                    return None
                if head.checksum != _checksum(file):
                    log.warning("known.spoilt", path=str(self._path))
                    return None
        except (OSError, msgspec.MsgspecError):
            return None
        return self._sheets()

    def _sheets(self) -> Iterator[Noted]:
        try:
            for _, item in read_blocks(self._path, _HEAD):
                if isinstance(item, Noted):
                    yield item
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("known.unreadable", path=str(self._path), why=str(error))

    def begin(self, rows: Path, copies: str | None = None) -> None:
        """Write the notes of a make, for the snapshot that it comes to.

        Parameters
        ----------
        copies: where those copies lie that are in it; None: all are.
        """
        try:
            self._draft.parent.mkdir(parents=True, exist_ok=True)
            with RowWriter(self._draft, bytes(_HEAD)) as out:
                for noted in _gathered(rows):
                    out.note(_as_stored(noted, copies))
        except (OSError, msgspec.MsgspecError) as error:  # the next make looks things up
            log.warning("known.not-kept", path=str(self._path), why=str(error))
            self._forget()

    def end(self, folder: str, manifest: str) -> None:
        """What was written is of the snapshot in `folder`, with that manifest."""
        try:
            with open(self._draft, "r+b") as file:  # noqa: PTH123
                file.seek(_HEAD)
                head = _Head(_VERSION, _checksum(file), self._seen, folder, manifest)
                file.seek(0)
                file.write(msgspec.msgpack.encode(head).ljust(_HEAD, b"\n"))
            self._draft.replace(self._path)
        except OSError as error:
            log.warning("known.not-kept", path=str(self._path), why=str(error))
            self._forget()

    @property
    def _draft(self) -> Path:
        return self._path.with_name(f"{self._path.name}.draft")

    def _forget(self) -> None:
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)


def _checksum(file: IO[bytes]) -> int:
    """Of the rest of a file."""
    found = 0
    while chunk := file.read(1 << 20):
        found = zlib.crc32(chunk, found)
    return found


def _gathered(path: Path) -> Iterator[Noted]:
    """The notes by the sheet; rows that follow one another in one directory become one."""
    waiting: list[Row] = []
    for item in read_items(path):
        if isinstance(item, Noted):
            if waiting:
                yield from _of_rows(waiting)
                waiting = []
            yield item
        else:
            waiting += item
            if len(waiting) > 2048:
                yield from _of_rows(waiting)
                waiting = []
    if waiting:
        yield from _of_rows(waiting)


def _of_rows(rows: list[Row]) -> Iterator[Noted]:
    run: list[Row] = []
    for row in rows:
        if run and (_above(run[0]) != _above(row) or run[-1].is_folder or run[0].path == b"."):
            yield noted_of(sheet_of_rows(run), run, "")
            run = []
        run.append(row)
    yield noted_of(sheet_of_rows(run), run, "")


def _above(row: Row) -> bytes:
    return row.path.rpartition(b"/")[0]


def _as_stored(noted: Noted, copies: str | None) -> Noted:
    """The same with all copies where the snapshot has them; what is not there is not known."""
    is_known = noted.digests or FILE not in noted.sheet.kinds
    if is_known and not noted.odd and (copies is None or noted.folder == copies):
        return Noted(noted.sheet, noted.digests)
    if is_known and (copies is None or noted.folder == copies):
        for row in noted.odd.values():
            _be_stored(row, copies)
        return Noted(noted.sheet, noted.digests).with_rows(noted.odd)
    rows = list(noted.rows())
    for row in rows:
        if row.is_file:
            _be_stored(row, copies)
    return noted_of(noted.sheet, rows, "")


def _be_stored(row: Row, copies: str | None) -> None:
    if copies is not None and (row.folder, row.copy) != (copies, row.path):
        row.sha256 = ""
    row.folder, row.copy, row.expected = "", b"", ""

"""Taking files into a draft: one by one, or those of a sheet together.

>>> take(row, live, files).sha256       # doctest: +SKIP
'9f86d081…'
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from ..errors import ChangedError
from .copies import TargetError
from .draft_files import DraftFiles
from .files import Descent
from .rows import UNKNOWN, Noted, Row, look_of, row_of, stat_bytes
from .sheets import FILE

Alive = Callable[[bytes], object]
_FILE = FILE[0]


class Work(msgspec.Struct, array_like=True, gc=False):
    """Files to be taken: those of a sheet that wait, or else some rows of it, by their numbers."""

    live: str
    draft: str
    noted: Noted | None
    rows: dict[int, Row] = {}


class Taken(msgspec.Struct, array_like=True, gc=False):
    """What was taken: `digests` as of a sheet; `rows` of files of which more is to be said, by their numbers; `missing`
    those that could not be read. `fault`: why the draft cannot be written, as number and text of the error."""

    digests: bytes = b""
    rows: dict[int, Row] = {}
    missing: tuple[int, ...] = ()
    fault: tuple[int, str] | None = None


def take_all(work: Work, alive: Alive | None = None) -> Taken:
    """Do it.

    Parameters
    ----------
    alive: told of each piece of a file that is read; may raise to stop.

    Raises
    ------
    TargetError: the draft cannot be written.
    """
    with DraftFiles(Path(work.draft)) as files, Descent(Path(work.live)) as live:
        if work.noted is None:
            found = {number: _taken(row, live, files, alive) for number, row in work.rows.items()}
            rows = {number: row for number, row in found.items() if row is not None}
            return Taken(b"", rows, tuple(found.keys() - rows.keys()))
        return _take_sheet(work.noted, live, files, alive)


def _take_sheet(noted: Noted, live: Descent, files: DraftFiles, alive: Alive | None) -> Taken:
    sheet = noted.sheet
    digests: list[bytes] = []
    rows: dict[int, Row] = {}
    missing: list[int] = []
    inside = os.fsdecode(sheet.prefix) + "-"  # whatever lies in that directory
    way, sizes = files.way(live, inside), sheet.sizes()
    for number, (name, kind) in enumerate(zip(sheet.names_list(), sheet.kinds, strict=True)):
        digests.append(UNKNOWN)
        if kind != _FILE or number in noted.odd:
            continue
        found = None if way is None else way.copy(name, sizes[number], partial(sheet.tells, number), alive)
        if found is not None:
            digests[-1] = found[0]
            continue
        row = _taken(look_of(sheet, number, name), live, files, alive)
        if row is None:
            missing.append(number)
        else:
            digests[-1] = bytes.fromhex(row.sha256)
            if row.attributes or stat_bytes(row) != (sheet.stat(number), sheet.mark(number)):
                rows[number] = row
        way = files.way(live, inside)
    return Taken(b"".join(digests), rows, tuple(missing))


def _taken(row: Row, live: Descent, files: DraftFiles, alive: Alive | None) -> Row | None:
    try:
        return take(row, live, files, alive)
    except TargetError:
        raise
    except (ChangedError, OSError):
        return None


def take(row: Row, live: Descent, files: DraftFiles, alive: Alive | None = None) -> Row:
    """Read one file: into the draft, or only its bytes where they may be those of the stored copy.

    Returns
    -------
    The row of what was read. Errors as `copy_file`.
    """
    path, at = os.fsdecode(row.path), time.time_ns()
    if row.expected:
        stat, sha256, attributes = live.digest(path, alive)
        if sha256 == row.expected and attributes == row.attributes:
            found = row_of(path, stat, at, attributes=attributes)
            found.sha256, found.folder, found.copy = sha256, row.folder, row.copy
            return found
        at = time.time_ns()
    entry, stat = files.copy(live, path, alive)
    found = row_of(path, stat, at, attributes=entry.attributes)
    found.sha256 = entry.sha256
    return found

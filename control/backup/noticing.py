"""What was written past the closed gate, as scripts on the host can: told by the stamps that it left.

Rules:

- Looked for when the gate is open again, as nobody shall wait for it, beside what the second look came across: a file
  that is written after that look, and once more before this one, is not told. Of records nothing can be told.
- A stamp within the time that the gate was closed is of something that did not ask at the gate (`Period`). Where stamps
  are made by another clock than this machine's, as on some network file systems, nothing is looked for.
- A directory with such a stamp has had a name added or removed, which it does not tell: what the copy has of it and
  is not there any more is named.

>>> list(written_past(tree, tree.sheets(print), rows, period, watch))       # doctest: +SKIP
[Past(path='edition/1/log.txt', what='was written', is_folder=False)]
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import Problem
from ..stores.files import Descent
from ..stores.gate import Period
from ..stores.rows import Row, look_of
from ..stores.sheets import Sheet
from ..stores.trees import Tree
from .watches import Watch

_HINT = "Let the script ask at the gate, or make another snapshot when it does not run."


@dataclass(frozen=True, slots=True)
class Past:
    """One path that was written past the gate; of a directory only its own mode or owner is meant."""

    path: str
    what: str
    is_folder: bool = False

    def problem(self) -> Problem:
        return Problem("changed", f"{self.what} past the closed gate; it may be of another moment.", self.path, _HINT)


def written_past(
    tree: Tree, sheets: Iterable[Sheet], rows: Iterable[Row], period: Period, watch: Watch
) -> Iterator[Past]:
    """The paths of a tree that were written past the gate while it was closed.

    Parameters
    ----------
    sheets: of a walk through the tree, after that; those without a stamp since then may be missing.
    rows: those of the copy.
    """
    folders: dict[bytes, Row] = {}
    with tree.descent() as live:
        for sheet in sheets:
            watch.check()
            for number, name in enumerate(sheet.names_list()):
                row = look_of(sheet, number, name)
                if row.is_folder:
                    if period.holds(_ctime_of(row, live)):
                        folders[row.path] = row
                elif period.holds(row.stat.ctime_ns):
                    yield Past(os.fsdecode(row.path), "was written")
    if folders:
        yield from _missing(tree, rows, folders)


def _ctime_of(folder: Row, live: Descent) -> int:
    with contextlib.suppress(OSError):
        if folder.path == b".":
            return os.lstat(live.root).st_ctime_ns
        above, name = live.parent(os.fsdecode(folder.path))
        return os.stat(name, dir_fd=above, follow_symlinks=False).st_ctime_ns
    return 0


def _missing(tree: Tree, rows: Iterable[Row], folders: dict[bytes, Row]) -> Iterator[Past]:
    with tree.descent() as live:
        for row in rows:
            path = os.fsdecode(row.path)
            if row.path in folders and not row.is_same(folders[row.path]):
                yield Past(path, "was changed", is_folder=True)
            elif row.path != b"." and _above(row.path) in folders:
                try:
                    folder, name = live.parent(path)
                    os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    yield Past(path, "was removed")
                except OSError:
                    continue  # the second look has named what cannot be reached


def _above(path: bytes) -> bytes:
    return path.rpartition(b"/")[0] or b"."

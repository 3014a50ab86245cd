"""A walk through a live tree, with a look at where its files are stored.

Rules:

- What is looked for among the stored files is the names of a live sheet, under the same path; nothing is listed there.
- A stored directory that was replaced by a link is not followed: nothing is kept in it.

>>> list(sheets_beside(live, Stored(folder, device), print))        # doctest: +SKIP
[Sheet(prefix=b'', names=b'.', …)]
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .files import Descent
from .keeping import WHOLE, Keeping
from .sheets import STAT, Sheet, columns
from .trees import Elsewhere, ProblemSink, Tree

_MOST_LISTED = 1000  # directories, to find the branches of a tree


@dataclass(frozen=True, slots=True)
class Stored:
    """The folder of a snapshot's files; what is on another device than that of its repository cannot be shared.
    `keeping`: what the disk keeps of them."""

    folder: Path
    device: int
    keeping: Keeping = WHOLE


def sheets_beside(
    tree: Tree, stored: Stored | None, problem: ProblemSink, elsewhere: Elsewhere | None = None
) -> Iterator[Sheet]:
    """As `Tree.sheets`; with `kept`, where `stored` is given. Who walks elsewhere looks there, too."""
    return _looked_up(tree.sheets(problem, elsewhere), stored)


def branch_beside(tree: Tree, stored: Stored | None, prefix: str, problem: ProblemSink) -> Iterator[Sheet]:
    """As `Tree.branch`, the same way."""
    return _looked_up(tree.branch(prefix, problem), stored)


def branches(tree: Tree, least: int) -> list[str]:
    """Directories on one level, at least so many if there are, to walk below side by side; sorted."""
    quiet = Tree(tree.root, tree.reserved, tree.excluded)
    level, listed = [""], 0
    while level and len(level) < least:
        listed += len(level)
        if listed > _MOST_LISTED:
            return []
        level = [below for prefix in level for below in quiet.folders_in(prefix)]
    return level


def _looked_up(sheets: Iterable[Sheet], stored: Stored | None) -> Iterator[Sheet]:
    if stored is None:
        yield from sheets
        return
    with Descent(stored.folder) as there:
        for sheet in sheets:
            if sheet.kept is None:
                sheet.kept = kept_in(sheet, there, stored)
            yield sheet


def kept_in(sheet: Sheet, there: Descent, stored: Stored) -> bytes:
    """As of a sheet: which of its names are stored just as they are here."""
    names = sheet.names_list()
    try:
        folder = there.parent(os.fsdecode(sheet.prefix) + "-")[0]
    except OSError:
        return bytes(len(names))
    with contextlib.suppress(OSError):
        stats = list(map(partial(os.stat, dir_fd=folder, follow_symlinks=False), names))
        if {stat.st_dev for stat in stats} == {stored.device} and columns(stats, sheet.kinds) == sheet.stats:
            return b""
    kept = [_is_kept(sheet, number, name, folder, stored) for number, name in enumerate(names)]
    return b"" if all(kept) else bytes(kept)


def _is_kept(sheet: Sheet, number: int, name: bytes, folder: int, stored: Stored) -> bool:
    try:
        stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    found, wished = columns([stat], sheet.kinds[number : number + 1]), sheet.stat(number)
    pressed = stored.keeping.pressed
    return stat.st_dev == stored.device and (
        found == wished or pressed(*STAT.unpack(found)) == pressed(*STAT.unpack(wished))
    )

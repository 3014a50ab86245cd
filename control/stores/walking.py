"""A walk through a live tree, with a look at where its files are stored.

>>> list(sheets_beside(live, Stored(folder, device), print))        # doctest: +SKIP
[Sheet(prefix=b'', names=b'.', …)]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .beside import agreed
from .sheets import Sheet
from .trees import Elsewhere, ProblemSink, Tree

_MOST_LISTED = 1000  # directories, to find the branches of a tree


@dataclass(frozen=True, slots=True)
class Stored:
    """The folder of a snapshot's files; what is on another device than that of its repository cannot be shared."""

    folder: Path
    device: int


def sheets_beside(
    tree: Tree, stored: Stored | None, problem: ProblemSink, elsewhere: Elsewhere | None = None
) -> Iterator[Sheet]:
    """As `Tree.sheets`; with `kept`, where `stored` is given. Who walks elsewhere looks there, too."""
    sheets = tree.sheets(problem, elsewhere)
    if stored is None:
        return sheets
    others = _tree_of(stored).sheets(_nothing, elsewhere and _passing(elsewhere))
    return agreed(sheets, others, stored.device)


def branch_beside(tree: Tree, stored: Stored | None, prefix: str, problem: ProblemSink) -> Iterator[Sheet]:
    """As `Tree.branch`, the same way."""
    sheets = tree.branch(prefix, problem)
    return sheets if stored is None else agreed(sheets, _tree_of(stored).branch(prefix, _nothing), stored.device)


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


def _tree_of(stored: Stored) -> Tree:
    return Tree(stored.folder, bare=True)


def _passing(elsewhere: Elsewhere) -> Elsewhere:
    """Pass over what is walked elsewhere."""
    return lambda prefix: None if elsewhere(prefix) is None else iter(())


def _nothing(*_: object) -> None:
    """What is not found in a snapshot is copied."""

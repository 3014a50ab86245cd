"""What was undone, and whether it holds again: read off the marks of snapshots, for the words about them.

>>> Undos.of(snapshots).is_again(snapshot.latest_mark)       # doctest: +SKIP
True
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .marks import RestoreMark
from .snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Undos:
    """The restores that some snapshots served; nothing is known of others."""

    marks: tuple[RestoreMark, ...] = ()

    @classmethod
    def of(cls, snapshots: Iterable[Snapshot]) -> Undos:
        """As far as these snapshots tell."""
        return cls(tuple(mark for one in snapshots for mark in one.restores))

    def is_again(self, mark: RestoreMark) -> bool:
        """Whether what was undone holds again, since that undo was undone. One that was turned back undid nothing."""
        undone = 0
        found: RestoreMark | None = mark
        while found is not None and found.took_place and found.state == "undone" and undone <= len(self.marks):
            undone += 1
            found = self._undoing(found)
        return undone > 0 and undone % 2 == 0

    def _undoing(self, mark: RestoreMark) -> RestoreMark | None:
        """What took a restore back."""
        later = (one for one in self.marks if one.undoes == mark.job and one.took_place)
        return max(later, key=lambda one: one.at, default=None)


NO_UNDOS = Undos()

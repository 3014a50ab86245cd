"""What was undone with what: read off the labels of snapshots, for the words about them.

>>> Undos.of(snapshots).is_undo("2026-11-21T10-53-15Z")       # doctest: +SKIP
True
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .snapshots import Reason, Snapshot


@dataclass(frozen=True, slots=True)
class Undos:
    """What the labels of some snapshots tell about undoing.

    `served` names the safety snapshots that an undo brought back, each with what had been restored when it was made.
    """

    served: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshots: Iterable[Snapshot]) -> Undos:
        """As far as these snapshots tell."""
        undone = {
            one.name: [mark for mark in one.restores if mark.state == "undone"]
            for one in snapshots
            if one.reason is Reason.SAFETY
        }
        return cls({name: max(marks, key=lambda mark: mark.at).snapshot for name, marks in undone.items() if marks})

    def is_undo(self, name: str) -> bool:
        """Whether bringing back the snapshot of this name undid a restore."""
        return self._depth(name) % 2 == 1

    def is_redo(self, name: str) -> bool:
        """Whether bringing back the snapshot of this name undid an undo, so that the restore held again."""
        depth = self._depth(name)
        return depth > 0 and depth % 2 == 0

    def is_again(self, name: str) -> bool:
        """Whether what was undone with the snapshot of this name holds again, since that undo was undone."""
        later = {before: one for one, before in self.served.items()}
        count = 0
        while name in later and count < len(later):
            count, name = count + 1, later[name]
        return count % 2 == 1

    def _depth(self, name: str) -> int:
        """How many undos in a row there were, the last of which brought back this snapshot."""
        depth = 0
        while name in self.served and depth < len(self.served):
            depth, name = depth + 1, self.served[name]
        return depth


NO_UNDOS = Undos()

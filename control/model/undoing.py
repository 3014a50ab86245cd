"""One restore that an undo takes back: what an undo is about, and which plan is its plan.

>>> Undoing(safety, mark, job).taken        # doctest: +SKIP
'restore'
"""

from __future__ import annotations

from dataclasses import dataclass

from .jobs import Job
from .marks import RestoreMark
from .plans import Plan
from .scopes import Action
from .snapshots import Snapshot


@dataclass(frozen=True, slots=True)
class Undoing:
    """A restore that was carried out: the safety snapshot with the state before it, the mark that it left there, and
    its job, where that is still known."""

    snapshot: Snapshot
    mark: RestoreMark
    job: Job | None = None

    @property
    def is_redo(self) -> bool:
        """Whether what is taken back was the undo of a restore, so that the restore will hold again."""
        return self.job is not None and self.job.order.act is Action.UNDO and not self.job.order.redo

    @property
    def taken(self) -> str:
        """What is taken back, in a word."""
        return taken_back(is_redo=self.is_redo)

    def is_of(self, plan: Plan) -> bool:
        """Whether a plan does just this, nothing beside it and nothing less."""
        snapshot, mark = self.snapshot, self.mark
        mine = (snapshot.scope, snapshot.scope, snapshot.name, mark.selection, mark.people, False)
        return mine == (plan.target, plan.source, plan.snapshot, plan.selection, plan.people, plan.only_intact)


def taken_back(*, is_redo: bool) -> str:
    """What an undo takes back: a `restore`, or an `undo`."""
    return "undo" if is_redo else "restore"

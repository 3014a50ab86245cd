"""The marks of a snapshot: which restores it was the safety snapshot of, kept in its labels and read by undo.

>>> snapshot.undoable.is_undo       # doctest: +SKIP
False
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .scopes import Scope
from .selections import Selection
from .times import utc_text


@dataclass(frozen=True, slots=True)
class RestoreMark:
    """That a snapshot was the safety snapshot of a restore.

    `by` is who restored. `act` is restore, undo or redo (the undo of an undo), `undoes` the job that such a one took
    back. `turned_back`: it was not completed, the state before was brought back. Marks of before have none of these.
    """

    job: str
    snapshot: str
    snapshot_scope: Scope
    selection: Selection
    people: bool
    digest: str
    at: datetime
    state: str  # begun, done, undone
    by: str = ""
    act: str = "restore"
    undoes: str = ""
    turned_back: bool = False

    def __post_init__(self) -> None:
        if self.state not in ("begun", "done", "undone"):
            raise ValueError("unknown state of a restore")
        if self.act not in ("restore", "undo", "redo"):
            raise ValueError("unknown kind of a restore")

    @property
    def is_undo(self) -> bool:
        """Whether it took back a restore."""
        return self.act == "undo"

    @property
    def is_redo(self) -> bool:
        """Whether it took back an undo, so that the restore held again."""
        return self.act == "redo"

    @property
    def took_place(self) -> bool:
        """Whether it was completed, also where it was undone since."""
        return self.state != "begun" and not self.turned_back

    def as_shown(self) -> dict[str, Any]:
        """The shape of REST and `--json`."""
        return {
            "job": self.job,
            "snapshot": self.snapshot,
            "at": utc_text(self.at),
            "by": self.by or None,
            "act": self.act,
            "state": "turned-back" if self.turned_back else self.state,
        }

"""Words about plans: what one would do or did, the values of fields, and what became different since it was made.

>>> PlanWords(ZoneInfo("UTC")).value({"$numberInt": "7"})
'7'
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from .errors import Problem
from .model import ABSENT, Change, Counts, Plan, PlanChange, PlanChanges, Undoing
from .phrases import Phrases, Words, listed, moment_of

_LEFT = ("conflict", "left")  # what a restore leaves as it is, though the snapshot has it otherwise
_NUMBERS = ("$numberInt", "$numberLong", "$numberDouble", "$numberDecimal")


class PlanWords(Phrases):
    """Sentences about plans and their items."""

    def change(self, change: Change) -> tuple[str, str]:
        """Word and tone of a change."""
        return {
            Change.CREATE: ("comes back", "good"),
            Change.REPLACE: ("replaced", "note"),
            Change.DELETE: ("removed", "warn"),
        }[change]

    def plan_button(self, plan: Plan, taken: str = "") -> str:
        """What the button of a plan does: `Bring back 4 files and 1 index, remove 2`; folders are named only where
        nothing else is.

        Parameters
        ----------
        taken: what the plan takes back, if it is that of an undo: `Undo the restore: bring back 1 file`.
        """
        back = plan.creates.added_to(plan.replaces)  # what is replaced comes back, too
        parts = []
        if back.items:
            parts.append(f"bring back {listed(self.tally(_main(back)))}")
        if plan.deletes.items:
            gone = _main(plan.deletes)
            only_files = back.files and gone.files and gone.items == gone.files
            parts.append(f"remove {self.number(gone.files) if only_files else listed(self.tally(gone))}")
        if not parts:
            return "Nothing to do"
        sentence = f"{f'undo the {taken}: ' if taken else ''}{', '.join(parts)}"
        return f"{sentence[0].upper()}{sentence[1:]}"

    def plan_done(self, plan: Plan) -> str:
        """`1 file came back, 3 files and 1 record were replaced, 2 files were removed`; empty if nothing was."""
        parts = []
        for counts, verb in ((plan.creates, ""), (plan.replaces, "replaced"), (plan.deletes, "removed")):
            if counts.items:
                main = _main(counts)
                did = f"{'was' if main.items == 1 else 'were'} {verb}" if verb else "came back"
                parts.append(f"{listed(self.tally(main))} {did}")
        return ", ".join(parts)

    def plan_verdict(self, plan: Plan, taken: str = "") -> Words:
        """The sentence above a plan; `taken` is what it takes back, if it is that of an undo."""
        left = left_aside(plan.warnings)
        if plan.is_empty and left:
            text = f"{'It is' if len(left) == 1 else 'They are'} named below."
            return Words(f"Nothing else differs, but {self.left_words(left)}.", text, "warn")
        if plan.is_empty:
            text = f"Everything is as it was before the {taken}." if taken else "Everything is as in this snapshot."
            return Words("Nothing to do.", text, "good")
        if taken and (plan.replaces.items or plan.deletes.items):
            return Words(
                f"All that the {taken} was about will be as it was before.",
                "What was changed there since goes with it. It stays in the safety snapshot that is made first.",
                "warn",
            )
        if plan.replaces.items or plan.deletes.items:
            return Words(
                "Work done since then will be replaced or removed.",
                "It stays in the safety snapshot that is made first.",
                "warn",
            )
        return Words("Only what is missing comes back.", "What is there now stays as it is.", "note")

    def taken_back(self, undoing: Undoing, now: datetime) -> str:
        """What an undo takes back: `the restore of the snapshot of today 14:02, 5 minutes ago, by anna`."""
        moment = moment_of(undoing.mark.snapshot)
        what = "the undo of a restore" if undoing.is_redo else "the restore"
        if not undoing.is_redo and moment is not None:
            what += f" of the snapshot of {self.when(moment, now)}"
        by = f", by {self.plain(undoing.job.order.actor.user)}" if undoing.job is not None else ""
        return f"{what}, {self.ago(undoing.mark.at, now)}{by}"

    def left_words(self, left: Sequence[Problem]) -> str:
        """`1 thing is left as it is`, `3 things are left as they are`."""
        rest = "is left as it is" if len(left) == 1 else "are left as they are"
        return f"{self.count(len(left), 'thing')} {rest}"

    def value(self, value: Any) -> str:
        """The value of a field, given as canonical extended JSON: `7`, `2026-11-21 13:02:07 UTC`, `A title`."""
        if value is ABSENT:
            return "(not there)"
        if isinstance(value, str):
            return self.plain(value) or "(empty)"
        if isinstance(value, dict) and len(value) == 1:
            ((kind, inside),) = value.items()
            if kind in _NUMBERS or kind == "$oid":
                return self.plain(str(inside))
            if kind == "$date" and isinstance(inside, dict):
                return self._date(next(iter(inside.values()), ""))
        return self.plain(json.dumps(value, ensure_ascii=False))

    def _date(self, milliseconds: Any) -> str:
        try:
            return self.exact(datetime.fromtimestamp(int(milliseconds) / 1000, UTC))
        except (ValueError, OverflowError, OSError):  # a date that no calendar of Python has
            return f"{milliseconds} ms"

    def changed(self, changes: PlanChanges) -> tuple[Problem, ...]:
        """What became different since a plan was looked at, a sentence each."""
        will = {Change.CREATE: "come back", Change.REPLACE: "be replaced", Change.DELETE: "be removed"}
        found = []
        for one in changes.named:
            what = (
                f"would {will[one.now]} now."
                if one.now
                else "is as in the snapshot by now: nothing would happen to it."
            )
            if one.was and one.now:
                other = f", not {will[one.was]}" if one.was is not one.now else ""
                what = f"has changed since; it would {will[one.now]}{other}."
            found.append(Problem("stale", what, self._changed_name(one)))
        if more := changes.number - len(changes.named):
            found.append(Problem("stale", f"{self.count(more, 'more thing')} became different."))
        return tuple(found)

    def taken_along(self, changes: PlanChanges) -> tuple[Problem, ...]:
        """What a restore did otherwise than the plan that was seen, a sentence each; none where it did the same."""
        if not changes.number:
            return ()
        did = {Change.CREATE: "came back", Change.REPLACE: "was replaced", Change.DELETE: "was removed"}
        rest = f"{self.count(changes.number, 'thing')} had become different since the plan was looked at"
        found = [Problem("newer", f"{rest}, and {'was' if changes.number == 1 else 'were'} taken along.")]
        for one in changes.named:
            what = "was as in the snapshot by then: nothing happened to it."
            if one.now:
                what = f"had changed since; it {did[one.now]}." if one.was else f"{did[one.now]}."
            found.append(Problem("newer", what, self._changed_name(one)))
        if more := changes.number - len(changes.named):
            found.append(Problem("newer", f"{self.count(more, 'more thing')} became different."))
        return tuple(found)

    def _changed_name(self, one: PlanChange) -> str:
        """What an item that became different is called in a sentence."""
        collection, _, ident = one.name.partition("/")
        name = f"{collection} {one.title or ident}" if one.kind == "record" else one.name
        return name if one.kind == "file" else f"{self.kind(one.kind)} {name}"


def _main(counts: Counts) -> Counts:
    """Without the folders, unless there is nothing else."""
    kinds = tuple((kind, number) for kind, number in counts.kinds if kind != "directory")
    other = counts.other - (sum(dict(counts.kinds).values()) - sum(dict(kinds).values()))
    main = Counts(counts.files, counts.records, counts.bytes, other, kinds)
    return main if main.items else counts


def left_aside(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those of the problems that name what a restore leaves as it is."""
    return tuple(one for one in problems if one.code in _LEFT)

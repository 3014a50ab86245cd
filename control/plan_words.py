"""Words about plans: what one would do or did, the values of fields, and what became different since it was made.

>>> PlanWords(ZoneInfo("UTC")).value({"$numberInt": "7"})
'7'
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from .errors import Problem
from .model import ABSENT, Change, Counts, Plan, PlanChanges, PlanItem
from .phrases import Phrases, Words, listed

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

    def plan_button(self, plan: Plan, items: Sequence[PlanItem] = ()) -> str:
        """What the button of a plan does: `Bring back 4 files and 1 record, remove 2`.

        Folders and indexes are named only where nothing else is; `items`, the known part of the plan, tells their kind.
        """
        back = _sum(plan.creates, plan.replaces)
        # What is replaced comes back too: its kinds are counted with those of what is created.
        known = [replace(item, change=Change.CREATE) if item.change is Change.REPLACE else item for item in items]
        parts = []
        if back.items:
            parts.append(f"bring back {listed(self._main(back, Change.CREATE, known))}")
        if plan.deletes.items:
            only_files = back.files and plan.deletes.files and not plan.deletes.records
            gone = f"{plan.deletes.files}" if only_files else listed(self._main(plan.deletes, Change.DELETE, known))
            parts.append(f"remove {gone}")
        sentence = ", ".join(parts)
        return f"{sentence[0].upper()}{sentence[1:]}" if parts else "Nothing to do"

    def plan_done(self, plan: Plan) -> str:
        """`1 file came back, 3 files and 1 record were replaced, 2 files were removed`; empty if nothing was."""
        parts = []
        for counts, verb in ((plan.creates, ""), (plan.replaces, "replaced"), (plan.deletes, "removed")):
            if counts.items:
                main = self._main(counts, Change.CREATE, ())
                number = counts.files + counts.records or counts.other
                parts.append(
                    f"{listed(main)} " + (f"{'was' if number == 1 else 'were'} {verb}" if verb else "came back")
                )
        return ", ".join(parts)

    def plan_verdict(self, plan: Plan) -> Words:
        """The sentence above a plan."""
        left = left_aside(plan.warnings)
        if plan.is_empty and left:
            text = f"{'It is' if len(left) == 1 else 'They are'} named below."
            return Words(f"Nothing else differs, but {self.left_words(left)}.", text, "warn")
        if plan.is_empty:
            return Words("Nothing to do.", "Everything is as in this snapshot.", "good")
        if plan.replaces.items or plan.deletes.items:
            return Words(
                "Work done since then will be replaced or removed.",
                "It stays in the safety snapshot that is made first.",
                "warn",
            )
        return Words("Only what is missing comes back.", "What is there now stays as it is.", "note")

    def _main(self, counts: Counts, change: Change, items: Sequence[PlanItem]) -> tuple[str, ...]:
        if counts.files or counts.records:
            counts = Counts(counts.files, counts.records)
        return self.tally(counts, change, items)

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
            collection, _, ident = one.name.partition("/")
            is_record = one.kind == "record"
            name = f"{collection} {one.title or ident}" if is_record else one.name
            found.append(Problem("stale", what, name if one.kind == "file" else f"{self.kind(one.kind)} {name}"))
        if more := changes.number - len(changes.named):
            found.append(Problem("stale", f"{self.count(more, 'more thing')} became different."))
        return tuple(found)


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.files + other.files, one.records + other.records, one.bytes + other.bytes, one.other + other.other
    )


def left_aside(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those of the problems that name what a restore leaves as it is."""
    return tuple(one for one in problems if one.code in _LEFT)

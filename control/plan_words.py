"""Words about what a plan tells besides its counts: the values of fields, and what became different since it was made.

>>> PlanWords(ZoneInfo("UTC")).value({"$numberInt": "7"})
'7'
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from .errors import Problem
from .model import ABSENT, Change, PlanChanges
from .phrases import Phrases

_NUMBERS = ("$numberInt", "$numberLong", "$numberDouble", "$numberDecimal")


class PlanWords(Phrases):
    """Sentences about the items of plans."""

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

"""Whom the restore of people lets in, removes, or gives another role; and whether he who asks is among them.

Rules:

- The first collection of `scopes.site.people` is that of the people themselves, the others couple them to something.
- A record is somebody's when his name stands in its `_id`, or in a field that is called after a user, person, account,
  login or mail.

>>> Newcomers(("user", "projectUser"), actor).warnings()        # doctest: +SKIP
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import Problem
from ..model import Actor, Change, PlanItem
from ..stores.raw import NotBsonError, field, fields, id_text

_NAMED = 5
_MOST = 10_000  # names that are held
_OWN = re.compile(rb"\A_id\Z|user|person|account|login|mail", re.IGNORECASE)


class Newcomers:
    """Collects the people of one plan."""

    def __init__(self, collections: tuple[str, ...], actor: Actor | None) -> None:
        self._accounts = collections[0] if collections else ""
        self._actor = actor
        self._come: dict[str, None] = {}
        self._go: dict[str, None] = {}
        self._roles: dict[str, None] = {}
        self._counts = dict.fromkeys(Change, 0)
        self._own: dict[str, None] = {}  # what happens to him who asks

    def note(self, item: PlanItem, old: bytes, new: bytes) -> None:
        """A record of people that the plan changes; `old` and `new` are empty where there is none."""
        self._counts[item.change] += 1
        name, is_mine = item.title or item.name.partition("/")[2], self._is_mine(old) or self._is_mine(new)
        if item.detail["collection"] != self._accounts:
            self._add(self._roles, name)
            if is_mine:
                self._own["would gain or lose a role in a project or an edition"] = None
            return
        if item.change is Change.REPLACE:
            was, will = _role(old), _role(new)
            if was == will:
                return
            self._add(self._roles, name)
            if is_mine:
                self._own[f"would be {will or 'without a role'} instead of {was or 'without a role'}"] = None
            return
        self._add(self._come if item.change is Change.CREATE else self._go, name)
        if is_mine and item.change is Change.DELETE:
            self._own["would be removed and could not sign in any more"] = None

    @staticmethod
    def _add(names: dict[str, None], name: str) -> None:
        if len(names) < _MOST:
            names[name] = None

    def _is_mine(self, raw: bytes) -> bool:
        if self._actor is None or not raw:
            return False
        try:
            return any(
                id_text(found) == self._actor.user
                for _, name, _ in fields(raw)
                if _OWN.search(name) and (found := field(raw, name.decode("utf-8", "replace"))) is not None
            )
        except NotBsonError:
            return False

    def warnings(self) -> Iterator[Problem]:
        come, go, change = (self._counts[one] for one in (Change.CREATE, Change.DELETE, Change.REPLACE))
        if come or go or change:
            parts = [
                f"{what}: {_listed(names)}."
                for what, names in (("Come back", self._come), ("Removed", self._go), ("Other roles", self._roles))
                if names
            ]
            said = (f"{come} {'comes' if come == 1 else 'come'} back", f"{go} {'is' if go == 1 else 'are'} removed")
            became = f"{change} {'becomes as it was' if change == 1 else 'become as they were'}"
            what = f"People and roles change: {', '.join(said)}, {became}."
            yield Problem("people", " ".join([what, *parts]), "people", "The list names each of them.")
        if self._own and self._actor is not None:
            what = f"{self._actor.name}, who asks for this, {' and '.join(self._own)}."
            yield Problem("yourself", what, "", "Have somebody else at hand who can sign in afterwards.")


def _role(raw: bytes) -> str:
    try:
        found = field(raw, "role")
    except NotBsonError:
        return ""
    return id_text(found) if found is not None else ""


def _listed(names: dict[str, None]) -> str:
    """Up to five, and how many more there are."""
    first = list(names)[:_NAMED]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    return ", ".join(first) + more

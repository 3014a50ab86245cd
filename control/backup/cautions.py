"""What a plan warns of: all that whoever says yes to it should know, and its items do not say.

>>> [one.code for one in Cautions(stores, target, draft).all(unknown_collections)]      # doctest: +SKIP
['partial', 'uncoupled']
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Problem
from ..model import Change
from .inventory import is_unspeakable
from .stores import Stores
from .target import PlanDraft, Target


class Cautions:
    """The warnings of one plan."""

    def __init__(self, stores: Stores, target: Target, draft: PlanDraft) -> None:
        self._stores = stores
        self._target = target
        self._draft = draft

    def all(self, unknown_collections: set[str]) -> tuple[Problem, ...]:
        """In the order in which they are shown; `unknown_collections`: those that are meant and left as they are."""
        people = self._people() if self._draft.people else self._uncoupled()
        return (*self._snapshot(), *self._draft.conflicts, *self._left(unknown_collections), *people)

    def _snapshot(self) -> Iterator[Problem]:
        """What is wrong with the snapshot, as far as it is the business of the one who asks."""
        snapshot, project = self._target.snapshot, self._target.scope.project_id
        if project is not None and snapshot.scope != self._target.scope:
            snapshot = snapshot.part_of(project)
        lost = snapshot.shrunk
        if len(snapshot.problems) > len(lost):
            what = f"is partial: {len(snapshot.problems)} problems are named in it."
            yield Problem("partial", what, snapshot.name, "What it does not know stays as it is.")
        for one in lost:  # what was looked for and was not there is absent; but who brings that back has to know
            what, hint = f"was made when much was missing. {one.what}", "What has come back since would be removed."
            yield Problem("shrunk", what, snapshot.name, hint)

    def _left(self, unknown_collections: set[str]) -> Iterator[Problem]:
        """What is neither created, replaced nor deleted."""
        draft, paths = self._draft, self._draft.part.paths
        yield from draft.sparing.warnings(paths)
        damaged = self._target.spoilt_paths | {f"collection {name}" for name in self._target.spoilt_collections}
        for name in sorted(damaged):
            what = "is left as it is: what the snapshot has of it is damaged."
            yield Problem("left", what, name, "Look for it in another snapshot.")
        for path in sorted(draft.sparing.unknown(paths.leave - draft.moved - self._target.spoilt_paths)):
            if paths.holds(path) or path == ".":
                yield Problem("left", "is left as it is: it could not be read.", path, "Look at it by hand.")
        for name in sorted(unknown_collections):
            why = "capped collections and time series come back with the whole site only."
            if is_unspeakable(name):
                why = "no driver of MongoDB takes its name."
            yield Problem("left", f"is left as it is: {why}", f"collection {name}")

    def _people(self) -> Iterator[Problem]:
        come, go, change = (self._draft.people[one] for one in (Change.CREATE, Change.DELETE, Change.REPLACE))
        what = f"People and roles change: {come} come back, {go} are removed, {change} become as they were."
        yield Problem("people", what, "people", "The list names each of them.")

    def _uncoupled(self) -> Iterator[Problem]:
        """What comes back and has nobody: roles are people's matter, and stay as they are now."""
        draft = self._draft
        if not (draft.new_projects or draft.new_editions):
            return
        projects, editions = self._stores.people.uncoupled(frozenset(draft.new_projects), frozenset(draft.new_editions))
        hint = "Couple somebody afterwards; roles come back only when root restores them with the whole site."
        if projects:
            yield Problem(
                "uncoupled", "comes back, and nobody organises it.", _names(draft.new_projects, projects), hint
            )
        if editions:
            what = "comes back, and nobody is its editor or reader."
            yield Problem("uncoupled", what, _names(draft.new_editions, editions), hint)


def _names(titles: dict[str, str], chosen: frozenset[str]) -> str:
    """Up to five titles, and how many more there are."""
    names = [title for ident, title in titles.items() if ident in chosen]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more

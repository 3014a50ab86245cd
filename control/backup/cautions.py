"""What a plan warns of: all that whoever says yes to it should know, and its items do not say.

>>> [one.code for one in Cautions(stores, target, draft).all(unknown_collections)]      # doctest: +SKIP
['partial', 'uncoupled']
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from ..errors import Problem
from ..stores.people import uncoupled_by
from .inventory import StoredInventory, is_unspeakable
from .stores import Stores
from .target import PlanDraft, Target


class Cautions:
    """The warnings of one plan."""

    def __init__(
        self,
        stores: Stores,
        target: Target,
        draft: PlanDraft,
        want: StoredInventory,
        unkept: frozenset[str] = frozenset(),
    ) -> None:
        self._unkept = unkept  # what is unknown for lack of room
        self._stores = stores
        self._target = target
        self._draft = draft
        self._want = want

    def all(self, unknown_collections: set[str], seen: tuple[Problem, ...] = ()) -> tuple[Problem, ...]:
        """In the order in which they are shown.

        Parameters
        ----------
        unknown_collections: those that are meant and left as they are.
        seen: what a second look at the records found.
        """
        left = self._left(unknown_collections)
        return (
            *self._snapshot(),
            *self._age(),
            *self._draft.conflicts,
            *left,
            *self._draft.torn,
            *seen,
            *self._uncoupled(),
        )

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
            if paths.holds(path) or (path == "." and not paths.is_nothing):
                yield self._without_room(path) or Problem(
                    "left", "is left as it is: it could not be read.", path, "Look at it by hand."
                )
        for path in sorted(paths.barred):
            what = "is no folder now, and not selected: what was selected below it does not come back."
            yield Problem("left", what, path, "Select it, too, or move it away first.")
        for name in sorted(unknown_collections):
            why = "capped collections and time series come back with the whole site only."
            if is_unspeakable(name):
                why = "no driver of MongoDB takes its name."
            elif name in self._draft.there and self._draft.there[name].kind == "view":
                why = "a view has taken its name."
            subject = f"collection {name}"
            yield self._without_room(subject) or Problem("left", f"is left as it is: {why}", subject)

    def _without_room(self, subject: str) -> Problem | None:
        """What is said of something that a safety snapshot had no room for."""
        if subject not in self._unkept:
            return None
        what = "is left as it is: there was no room to keep it in the safety snapshot."
        return Problem("left", what, subject, "Make room and restore again, if it differs.")

    def _age(self) -> Iterator[Problem]:
        """What time has brought since."""
        snapshot, settings = self._target.snapshot, self._stores.settings
        age = self._stores.now() - snapshot.made_at
        if settings.restore.old_after and age >= timedelta(days=settings.restore.old_after):
            yield Problem("old", f"is {age.days} days old.", snapshot.name, "Look whether a newer one would do.")
        was, now = snapshot.application, settings.application_version
        if was and now and was != now:
            what = f"was made with version {was} of the application; now it is {now}."
            yield Problem("version", what, snapshot.name, "Make sure that this version can work with older records.")

    def _uncoupled(self) -> Iterator[Problem]:
        """What comes back and has nobody: roles stay as they are now, unless people come along."""
        projects, editions = self._draft.new_projects, self._draft.new_editions
        if not (projects or editions):
            return
        hint = "Couple somebody afterwards; roles come back only when root restores them with the whole site."
        if self._target.people:
            hint = "Couple somebody afterwards."
            alone = uncoupled_by(self._couplings(), frozenset(projects), frozenset(editions))
        else:
            alone = self._stores.people.uncoupled(frozenset(projects), frozenset(editions))
        if alone[0]:
            yield Problem("uncoupled", "comes back, and nobody organises it.", _names(projects, alone[0]), hint)
        if alone[1]:
            what = "comes back, and nobody is its editor or reader."
            yield Problem("uncoupled", what, _names(editions, alone[1]), hint)

    def _couplings(self) -> Iterator[bytes]:
        """The records that couple people to something, as the snapshot has them."""
        for name in self._stores.settings.scopes.site.people[1:]:
            if name in self._want.entries():
                yield from self._want.all_raw(name)


def _names(titles: dict[str, str], chosen: frozenset[str]) -> str:
    """Up to five titles, and how many more there are."""
    names = [title for ident, title in titles.items() if ident in chosen]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more

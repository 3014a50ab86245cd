"""The catalogue: which snapshots a scope can be shown, and which one a name means.

Rules:

- A project is shown its own snapshots and the site's that hold it, the latter with the counts of its part.
- It is read from storage only, so that it answers when the database is away.

>>> catalogue.find(Scope.project("65a1…"), "latest").name      # doctest: +SKIP
'2026-11-21T10-53-15Z'
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, islice

from .errors import InvalidError, NotFoundError, RefusedError
from .model import (
    EVERYTHING,
    Page,
    Reason,
    RestoreMark,
    Scope,
    Selection,
    Snapshot,
    Status,
    is_snapshot_name,
    utc_moment,
    utc_text,
)
from .stores.repository import Repository

LATEST = "latest"
_POSSIBLE_YEARS = (1970, 9000)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a restore or preview was asked for, brought to its simplest form.

    `scope` is what will change, `snapshot` what it comes from; a single project out of a site snapshot is a wish for
    that project.
    """

    scope: Scope
    snapshot: Snapshot
    selection: Selection


class Catalogue:
    """Finds snapshots by scope and name."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def all(self, scope: Scope, *, trash: bool = False, until: datetime | None = None) -> Iterator[Snapshot]:
        """Newest first, read as they are wanted; a project's has the site's that hold it, too (not in the trash).

        `until`: all that were made by then, and some that were made a little later.
        """
        own = self._repository.newest_first(scope, trash=trash, until=until)
        if scope.project_id is None or trash:
            return own
        parts = self._parts(scope.project_id, until)
        return heapq.merge(own, parts, key=lambda one: (one.made_at, one.name), reverse=True)

    def _parts(self, project_id: str, until: datetime | None) -> Iterator[Snapshot]:
        site = self._repository.newest_first(Scope.site(), until=until)
        return (one.part_of(project_id) for one in site if project_id in one.projects)

    def page(self, scope: Scope, *, trash: bool, cursor: str, limit: int) -> Page[Snapshot]:
        """A stretch of `all`; `cursor` is the `next` of the page before."""
        if not cursor:
            found = self.all(scope, trash=trash)
        else:
            made_at, name = _place(cursor)
            everything = self.all(scope, trash=trash, until=made_at)
            found = (one for one in everything if (one.made_at, one.name) < (made_at, name))
        items = tuple(islice(found, limit + 1))
        more = len(items) > limit
        items = items[:limit]
        return Page(items, f"{utc_text(items[-1].made_at)}~{items[-1].name}" if more else None)

    def find(self, scope: Scope, name: str, *, trash: bool = False) -> Snapshot:
        """The snapshot of that name as `scope` is shown it, or its own in the trash; NotFoundError: none is."""
        if trash:
            return self._repository.get(scope, self.in_trash(scope, name), trash=True)
        if name == LATEST:
            return self._latest(scope)
        try:
            return self._repository.get(scope, name)
        except NotFoundError:
            if scope.project_id is None:
                raise
            snapshot = self._repository.get(Scope.site(), name)
            if scope.project_id not in snapshot.projects:
                raise
            return snapshot.part_of(scope.project_id)

    def _latest(self, scope: Scope) -> Snapshot:
        """The newest; but in his worst hour nobody means the state that a restore has just replaced, nor one that most
        was missing from, if there are others."""
        hardly = None
        for one in self.all(scope):
            if one.status is not Status.DAMAGED:
                if one.reason is not Reason.SAFETY and not one.shrunk:
                    return one
                hardly = hardly or one
        if hardly is None:
            raise NotFoundError("There is no snapshot yet.", subject="snapshot", hint="Make one first.")
        return hardly

    def own(self, scope: Scope, name: str) -> Snapshot:
        """The scope's own snapshot of that name.

        Raises
        ------
        RefusedError: it is one of the site, which a project may restore from, not change.
        """
        snapshot = self.find(scope, name)
        if snapshot.scope != scope:
            raise RefusedError(
                "It is a snapshot of the whole site; here it can be looked at and restored from, not changed.",
                subject=snapshot.name,
                hint="Ask an administrator.",
            )
        return snapshot

    def in_trash(self, scope: Scope, name: str) -> str:
        """The name of a snapshot that may lie in the scope's trash; `latest` is the one that was deleted last.

        Raises
        ------
        RefusedError: it is one of the site. NotFoundError: the trash is empty.
        """
        if name == LATEST:
            found = self._repository.snapshots(scope, trash=True)
            if not found:
                raise NotFoundError("The trash is empty.", hint="Look at the list of snapshots.")
            return max(found, key=lambda one: (one.deleted_at or one.made_at, one.name)).name
        if scope.project_id is not None and any(one.name == name and one.scope.is_site for one in self.all(scope)):
            self.own(scope, name)
        return name

    def whole(self, snapshot: Snapshot) -> Snapshot:
        """The stored header behind a part of it."""
        return self._repository.get(snapshot.scope, snapshot.name)

    def holds(self, scope: Scope) -> bool:
        """Whether any snapshot of this scope is there, its trash included."""
        found = chain(self.all(scope), self._repository.newest_first(scope, trash=True))
        return next(found, None) is not None

    def projects(self) -> dict[str, str]:
        """All projects that some snapshot holds: id and what it was called last."""
        found: dict[str, str] = {}
        for snapshot in reversed(self._repository.snapshots(Scope.site())):
            found |= {one: part.title for one, part in snapshot.projects.items()}
        for one in self._repository.projects():
            newest = next(self._repository.newest_first(Scope.project(one)), None)
            if one not in found or (newest is not None and newest.title):
                found[one] = newest.title if newest is not None else ""
        return found

    def wish(self, scope: Scope, name: str, selection: Selection) -> Wish:
        """What was asked for, in its simplest form.

        Raises
        ------
        InvalidError: a selection that means nothing here. NotFoundError: no such snapshot, or it lacks the project.
        """
        if scope.project_id is not None:
            if any(one != scope.project_id for one in selection.projects):
                raise InvalidError(
                    "The selection holds other projects than the one it is about.",
                    subject="selection",
                    hint="Leave `projects` out.",
                )
            return Wish(scope, self.whole(self.find(scope, name)), replace(selection, projects=()))
        snapshot = self.find(scope, name)
        if snapshot.status is not Status.DAMAGED:  # a damaged one is refused as such; what it held may not be known
            for project_id in selection.projects:
                if project_id not in snapshot.projects:
                    raise NotFoundError(
                        "There is no such project in this snapshot.", subject=project_id, hint="Look inside it."
                    )
        if len(selection.projects) == 1:
            return Wish(Scope.project(selection.projects[0]), snapshot, _narrowed(selection))
        if selection.editions:
            raise InvalidError(
                "The selection names editions without their project.",
                subject="selection",
                hint="Give one project in `projects`.",
            )
        return Wish(scope, snapshot, selection)

    def latest_mark(self, scope: Scope) -> tuple[Snapshot, RestoreMark]:
        """The latest restore or undo of the scope that can be undone, with the snapshot that served it."""
        marks = [(one, one.undoable) for one in self._repository.snapshots(scope)]
        found = [(snapshot, mark) for snapshot, mark in marks if mark is not None]
        if not found:
            raise NotFoundError("There is no restore to undo here.", subject="undo", hint="Look at the list.")
        return max(found, key=lambda pair: pair[1].at)

    def mark_of(self, scope: Scope, job: str, safety: str) -> tuple[Snapshot, RestoreMark]:
        """The restore that a job carried out, with its safety snapshot."""
        try:
            snapshot = self._repository.get(scope, safety)
        except NotFoundError:
            self._repository.folder(scope, safety, trash=True)
            raise NotFoundError(
                "The safety snapshot of this restore is in the trash.",
                subject=safety,
                hint="Put it back, then undo.",
            ) from None
        for mark in snapshot.restores:
            if mark.job == job:
                return snapshot, mark
        raise NotFoundError("There is no such restore.", subject="undo", hint="Look at the list.")


def everything(selection: Selection | None) -> Selection:
    """A selection that was left out means all."""
    return EVERYTHING if selection is None else selection


def _narrowed(selection: Selection) -> Selection:
    """That of one project of the site, as one of that project."""
    try:
        return selection.narrowed()
    except ValueError as error:
        raise InvalidError(
            f"The selection cannot be brought together: {error}.",
            subject="selection",
            hint="Paths of a selection of the site begin with project/<id>/; or leave `projects` out.",
        ) from error


def _place(cursor: str) -> tuple[datetime, str]:
    """Where a page begins; InvalidError for what is no cursor."""
    made_at, _, name = cursor.partition("~")
    with contextlib.suppress(ValueError, OverflowError):
        moment = utc_moment(made_at)
        if is_snapshot_name(name) and _POSSIBLE_YEARS[0] <= moment.year <= _POSSIBLE_YEARS[1]:
            return moment, name
    raise InvalidError("This cursor is none of this list.", subject="cursor", hint="Use the `next` of a page.")

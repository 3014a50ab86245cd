"""The front desk: a method for each thing that a person can ask, the same behind every door.

Rules:

- The first line of a method asks Auth; everything after it works on the permit's scope.
- Every act but looking, and every refusal, leaves a row in the audit.
- Long work is submitted as a job and done elsewhere; list, note, delete and undelete are done at once.

>>> desk.make(actor, Scope.site(), "before the upgrade").state       # doctest: +SKIP
<JobState.QUEUED: 'queued'>
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from .copy_desk import CopyDesk
from .errors import (
    InvalidError,
    KeyframeError,
    NotFoundError,
    UnavailableError,
    no_such_project,
)
from .model import (
    CONFIRMABLE,
    Action,
    Actor,
    Health,
    Job,
    Order,
    Page,
    Scope,
    ScopeView,
    Snapshot,
    Unfinished,
    Verdict,
)
from .stores.tokens import Token
from .stores.validator import Told

_LONGEST_NOTE = 500


class Desk(CopyDesk):
    """All that can be asked; every method's first argument is who asks, and all raise the errors of `errors.py`."""

    # --- looking

    def scopes(self, actor: Actor) -> tuple[ScopeView, ...]:
        """The scopes that the actor may see: the site first, then projects by title."""
        back = self._back
        site = self._view(actor, Scope.site(), "The whole site", exists=True)
        titles = back.mongo.project_titles()
        stored = back.catalogue.projects() if site is not None else {}
        mine = set(titles) | set(stored) if site is not None else back.auth.organises(actor)
        views = [
            self._view(actor, Scope.project(one), titles.get(one, _gone(one, stored)), exists=one in titles)
            for one in mine
        ]
        projects = sorted((view for view in views if view is not None), key=lambda view: (view.title, view.scope))
        return (*([site] if site is not None else []), *projects)

    def scope(self, actor: Actor, scope: Scope) -> ScopeView:
        """One scope; NotFoundError if the actor may not see it, or it never was."""
        self._back.reception.permit(actor, Action.SEE, scope)
        if scope.project_id is None:
            title, exists = "The whole site", True
        else:
            titles = self._back.mongo.project_titles()
            exists = scope.project_id in titles
            title = titles.get(scope.project_id) or _gone(scope.project_id, self._back.catalogue.projects())
        view = self._view(actor, scope, title, exists=exists)
        if view is None:
            raise no_such_project()
        return replace(view, interrupted=self._is_interrupted(scope))

    def _is_interrupted(self, scope: Scope) -> bool:
        intents = self._back.intents
        try:
            begun = (intents.read(one) for one in intents.touching(scope))
            return any(intent is not None and not self._back.jobs.is_held(intent.job) for intent in begun)
        except KeyframeError:  # where nobody knows, nobody is at it
            return True

    def unfinished(self, actor: Actor, scope: Scope) -> tuple[Unfinished, ...]:
        """The restores inside and around a scope that have begun to change something; needs no database."""
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        intents, found = self._back.intents, []
        for one in intents.touching(permit.scope):
            job = ""
            if permit.scope in (Scope.site(), one):
                with suppress(KeyframeError):  # one that cannot be read is unfinished all the same
                    intent = intents.read(one)
                    job = intent.job if intent else ""
            found.append(Unfinished(one, job))
        return tuple(found)

    def edition_titles(self, actor: Actor, scope: Scope) -> dict[str, str]:
        """The titles of a project's editions as they are now, by id."""
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        return self._back.mongo.edition_titles(permit.scope)

    def _view(self, actor: Actor, scope: Scope, title: str, *, exists: bool) -> ScopeView | None:
        acts = self._back.auth.acts(actor, scope)
        return ScopeView(scope, title, acts if exists else acts - {Action.MAKE}, exists) if acts else None

    def may(self, actor: Actor, action: Action, scope: Scope) -> bool:
        """Whether a button is worth showing; never raises."""
        try:
            return action in self._back.auth.acts(actor, scope)
        except KeyframeError:
            return False

    def snapshots(
        self, actor: Actor, scope: Scope, *, trash: bool = False, cursor: str = "", limit: int = 50
    ) -> Page[Snapshot]:
        """A page of the list, newest first."""
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        self._require_known(permit.scope)
        page = self._back.catalogue.page(permit.scope, trash=trash, cursor=cursor, limit=limit)
        return replace(page, items=self._with_verdicts(permit.scope, page.items))

    def snapshot(self, actor: Actor, scope: Scope, name: str, *, trash: bool = False) -> Snapshot:
        """One snapshot; `latest` is the newest that is neither damaged nor, if possible, a safety snapshot or shrunk.

        `trash`: look among those that were deleted.
        """
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        self._require_known(permit.scope)
        return self._with_verdict(permit.scope, self._back.catalogue.find(permit.scope, name, trash=trash))

    def _with_verdict(self, scope: Scope, snapshot: Snapshot) -> Snapshot:
        return self._with_verdicts(scope, [snapshot])[0]

    def _with_verdicts(self, scope: Scope, snapshots: Sequence[Snapshot]) -> tuple[Snapshot, ...]:
        """With what verifying them came to; without it where the control database does not answer."""
        found: dict[str, Verdict] = {}
        with suppress(UnavailableError):
            found = self._back.verdicts.of(scope, snapshots)
        return tuple(replace(one, verified=found.get(one.name)) for one in snapshots)

    def _require_known(self, scope: Scope) -> None:
        if scope.is_site or self._back.catalogue.holds(scope) or self._back.mongo.project_exists(scope):
            return
        raise no_such_project()

    # --- making and labelling

    def make(self, actor: Actor, scope: Scope, note: str = "", confirm: Sequence[str] = ()) -> Job:
        """Order a snapshot.

        Parameters
        ----------
        confirm: problems that the actor says are right, of `CONFIRMABLE`: the snapshot is no less whole for them.
        """
        permit = self._back.reception.permit(actor, Action.MAKE, scope)
        if not permit.scope.is_site and not self._back.mongo.project_exists(permit.scope):
            if not self._back.catalogue.holds(permit.scope):
                raise no_such_project()
            raise NotFoundError(
                "The project was deleted; there is nothing to make a snapshot of.",
                subject=permit.scope.project_id or "",
                hint="Bring it back with a restore; nothing was stored.",
            )
        order = Order(Action.MAKE, permit.scope, actor, note=_note(note), confirm=_confirmed(confirm))
        return self._back.jobs.submit(order)

    def note(self, actor: Actor, scope: Scope, name: str, text: str) -> Snapshot:
        """Replace a snapshot's note."""
        permit = self._back.reception.permit(actor, Action.NOTE, scope)
        snapshot = self._own(permit, name)
        changed = self._back.repository.note(permit.scope, snapshot.name, _note(text))
        self._back.reception.note(actor, "note", permit.scope, "done", snapshot.name)
        return self._with_verdict(permit.scope, changed)

    # --- verifying

    def verify(self, actor: Actor, scope: Scope, name: str, *, quick: bool = False) -> Job:
        """Order a look at all of a snapshot; the job's `outcome.report` is the verdict, and the lists show it.

        Of a snapshot of the site a project verifies its part: its own files, and what all projects share.
        """
        permit = self._back.reception.permit(actor, Action.VERIFY, scope)
        found = self._back.catalogue.find(permit.scope, name)
        order = Order(Action.VERIFY, permit.scope, actor, source=found.scope, snapshot=found.name, quick=quick)
        return self._back.jobs.submit(order)

    def verify_here(self, actor: Actor, scope: Scope, name: str, told: Told, *, quick: bool = False) -> Verdict:
        """The same without a job, for when the control database does not answer: nothing is remembered."""
        permit = self._back.reception.permit(actor, Action.VERIFY, scope)
        found = self._back.catalogue.find(permit.scope, name)
        return self._back.repository.verify(found, permit.scope, datetime.now(UTC), quick=quick, told=told)

    # --- deleting

    def delete(self, actor: Actor, scope: Scope, name: str) -> Snapshot:
        """Move a snapshot into the trash; BusyError while a job works on the scope."""
        permit = self._back.reception.permit(actor, Action.DELETE, scope)
        snapshot = self._own(permit, name)
        with self._back.jobs.hold(permit.scope, f"deleting {snapshot.name}"):
            gone = self._back.repository.delete(permit.scope, snapshot.name, actor.user, datetime.now(UTC))
        self._back.reception.note(actor, "delete", permit.scope, "done", snapshot.name)
        return self._with_verdict(permit.scope, gone)

    def undelete(self, actor: Actor, scope: Scope, name: str) -> Snapshot:
        """Bring a snapshot back out of the trash; `latest` is the one that was deleted last."""
        permit = self._back.reception.permit(actor, Action.UNDELETE, scope)
        with self._back.reception.watching(permit):
            name = self._back.catalogue.in_trash(permit.scope, name)
        with self._back.jobs.hold(permit.scope, f"undeleting {name}"):
            back = self._back.repository.undelete(permit.scope, name)
        self._back.reception.note(actor, "undelete", permit.scope, "done", name)
        return self._with_verdict(permit.scope, back)

    # --- jobs

    def jobs(self, actor: Actor, scope: Scope, limit: int = 5) -> tuple[Job, ...]:
        """The latest jobs of a scope, newest first, running ones included."""
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        return tuple(self._as_it_stands(job) for job in self._back.jobs.of_scope(permit.scope, limit))

    def site_restored_at(self, actor: Actor, scope: Scope) -> datetime | None:
        """When a restore of the site last brought something back that may have been this project's."""
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        job = self._back.jobs.latest_restore(Scope.site())
        if job is None or not job.order.selection.may_touch(permit.scope.project_id or ""):
            return None
        return job.ended_at

    def wait(self, actor: Actor, job_id: str, seconds: float) -> Job:
        """The job when it has ended, or as it is after `seconds`."""
        return self._as_it_stands(self._back.jobs.wait(self.job(actor, job_id).id, seconds))

    # --- tokens

    def tokens(self, actor: Actor, user: str) -> tuple[Token, ...]:
        """The tokens of a person, without their secrets."""
        return self._back.tokens.of_person(self._back.reception.permit_tokens(actor, user))

    def create_token(self, actor: Actor, user: str, label: str = "") -> str:
        """A new token of a person; the secret is shown this once."""
        person = self._back.reception.permit_tokens(actor, user)
        _, secret = self._back.tokens.create(person, _note(label))
        self._back.reception.note(actor, "create token", Scope.site(), "done", user)
        return secret

    def revoke_token(self, actor: Actor, user: str, token_id: str) -> None:
        """End a token."""
        person = self._back.reception.permit_tokens(actor, user)
        self._back.tokens.revoke(token_id, person)
        self._back.reception.note(actor, "revoke token", Scope.site(), "done", user)

    def health(self) -> Health:
        """Whether the parts answer; never raises."""
        database = worker = False
        try:
            worker = self._back.jobs.worker_alive()
            database = True
        except UnavailableError:  # the same server: it is not waited for once more
            pass
        except KeyframeError:
            database = self._back.mongo.answers()
        return Health(database, worker, self._back.repository.is_writable(), self._unfinished())

    def _unfinished(self) -> int:
        try:
            return len(self._back.intents.open())
        except OSError:
            return 0


def _gone(project_id: str, stored: dict[str, str]) -> str:
    """What a project that is no longer there is called."""
    return f"{stored.get(project_id) or f'Project {project_id}'} (deleted)"


def _confirmed(codes: Sequence[str]) -> tuple[str, ...]:
    """What is confirmed, each once."""
    unknown = [one for one in dict.fromkeys(codes) if one not in CONFIRMABLE]
    if unknown:
        raise InvalidError(
            f"{' and '.join(repr(one[:40]) for one in unknown)} cannot be confirmed.",
            subject="confirm",
            hint=f"What can be: {', '.join(CONFIRMABLE)}. Nothing was stored.",
        )
    return tuple(dict.fromkeys(codes))


def _note(text: str) -> str:
    """A note as it is kept: one line, at most 500 characters."""
    if len(text) > _LONGEST_NOTE or not text.isprintable():
        raise InvalidError(
            f"A note has at most {_LONGEST_NOTE} characters and no control characters.",
            subject="note",
            hint="Shorten it.",
        )
    return text.strip()

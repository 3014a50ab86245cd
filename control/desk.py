"""The front desk: a method for each thing that a person can ask, the same behind every door.

Rules:

- The first line of a method asks Auth; everything after it works on the permit's scope.
- Every act but looking, and every refusal, leaves a row in the audit.
- Long work is submitted as a job and done elsewhere; list, note, delete and undelete are done at once.

>>> desk.make(actor, Scope.site(), "before the upgrade").state       # doctest: +SKIP
<JobState.QUEUED: 'queued'>
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from .auth import Auth
from .catalogue import Catalogue, Wish, everything
from .errors import (
    InvalidError,
    KeyframeError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    no_such_job,
    no_such_project,
)
from .jobs import Jobs
from .model import (
    EVERYTHING,
    Action,
    Actor,
    Health,
    Job,
    Order,
    OutcomeStatus,
    Page,
    Permit,
    Plan,
    PlanItem,
    RestoreMark,
    Scope,
    ScopeView,
    Selection,
    Snapshot,
    Verdict,
)
from .reception import Reception
from .stores.intents import Intents
from .stores.mongo import Mongo
from .stores.plans import Plans
from .stores.repository import Repository
from .stores.tokens import Token, Tokens
from .stores.validator import Told
from .stores.verdicts import Verdicts

_LONGEST_NOTE = 500


@dataclass(frozen=True, slots=True)
class Backroom:
    """What the desk works with."""

    auth: Auth
    reception: Reception
    catalogue: Catalogue
    repository: Repository
    plans: Plans
    intents: Intents
    mongo: Mongo
    jobs: Jobs
    tokens: Tokens
    verdicts: Verdicts


class Desk:
    """Every method's first argument is who asks; all raise the errors of `errors.py`."""

    def __init__(self, back: Backroom) -> None:
        self._back = back

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
        return view

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
        """One snapshot; `latest` is the newest that is neither damaged nor, if possible, a safety snapshot.

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

    def make(self, actor: Actor, scope: Scope, note: str = "") -> Job:
        """Order a snapshot."""
        permit = self._back.reception.permit(actor, Action.MAKE, scope)
        if not permit.scope.is_site and not self._back.mongo.project_exists(permit.scope):
            if not self._back.catalogue.holds(permit.scope):
                raise no_such_project()
            raise NotFoundError(
                "The project was deleted; there is nothing to make a snapshot of.",
                subject=permit.scope.project_id or "",
                hint="Bring it back with a restore; nothing was stored.",
            )
        return self._back.jobs.submit(Order(Action.MAKE, permit.scope, actor, note=_note(note)))

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

    # --- restoring

    def preview(
        self, actor: Actor, scope: Scope, name: str, selection: Selection = EVERYTHING, people: bool | None = None
    ) -> Job:
        """Order a plan; the job's `outcome.report` is it."""
        permit, wish = self._wish(actor, Action.PREVIEW, scope, name, selection)
        return self._submit(permit, wish, self._people(permit, wish, people))

    def plan(self, actor: Actor, digest: str) -> Plan:
        """A plan that was computed within the last day."""
        plan = self._back.plans.get(digest)
        try:
            self._back.reception.permit(actor, Action.PREVIEW, plan.target)
        except (NotFoundError, RefusedError) as error:
            raise NotFoundError(
                "There is no such plan, or it is older than a day.", subject="plan", hint="Preview the restore again."
            ) from error
        return plan

    def plan_items(self, actor: Actor, digest: str, *, cursor: str = "", limit: int = 50) -> Page[PlanItem]:
        """A page of what a plan does, item by item."""
        plan = self.plan(actor, digest)
        if cursor and not cursor.isdecimal():
            raise InvalidError("This cursor is none of this list.", subject="cursor", hint="Use the `next` of a page.")
        start = int(cursor[:12] or 0)
        items = tuple(itertools.islice(self._back.plans.items(plan.digest, start), limit + 1))
        return Page(items[:limit], str(start + limit) if len(items) > limit else None)

    def restore(
        self,
        actor: Actor,
        scope: Scope,
        name: str,
        selection: Selection | None = None,
        people: bool | None = None,
        plan: str = "",
    ) -> Job:
        """Order a restore; `plan` is the digest of the preview that was agreed to.

        Raises
        ------
        NotFoundError: no such snapshot or plan. InvalidError: plan and the rest do not fit each other.
        """
        if not plan:
            permit, wish = self._wish(actor, Action.RESTORE, scope, name, everything(selection))
            return self._submit(permit, wish, self._people(permit, wish, people))
        agreed = self.plan(actor, plan)
        wanted = agreed.selection if selection is None else selection
        if agreed.target != scope and agreed.target.project_id and selection is None:
            wanted = Selection((agreed.target.project_id,), agreed.selection.editions)
        permit, wish = self._wish(actor, Action.RESTORE, scope, name, wanted)
        asked = (wish.scope, wish.snapshot.scope, wish.snapshot.name, wish.selection)
        if asked != (agreed.target, agreed.source, agreed.snapshot, agreed.selection) or (
            people is not None and people != agreed.people
        ):
            raise InvalidError(
                "The plan is for something else than what is asked for.",
                subject=f"plan {plan[:12]}",
                hint="Preview what you want to restore, and give the digest of that plan; nothing was changed.",
            )
        return self._submit(permit, wish, self._people(permit, wish, agreed.people), plan)

    def undo(self, actor: Actor, scope: Scope, name: str = "") -> Job:
        """Order the undo of the restore that the snapshot `name` was made for; no name: of the scope's latest one."""
        permit = self._back.reception.permit(actor, Action.UNDO, scope)
        if not name:
            snapshot, mark = self._back.catalogue.latest_mark(permit.scope)
            return self._submit_undo(permit, snapshot, mark)
        snapshot = self._own(permit, name)
        if snapshot.undoable is None:
            raise InvalidError(
                "No restore that could be undone was made with this safety snapshot.",
                subject=snapshot.name,
                hint="Restore it instead, if its state is wanted.",
            )
        return self._submit_undo(permit, snapshot, snapshot.undoable)

    def undo_job(self, actor: Actor, job_id: str) -> Job:
        """Order the undo of the restore that a job carried out."""
        job = self.job(actor, job_id)
        permit = self._back.reception.permit(actor, Action.UNDO, job.order.scope)
        outcome = job.outcome
        undoable = (OutcomeStatus.DONE, OutcomeStatus.PARTIAL)
        if job.order.act not in (Action.RESTORE, Action.UNDO) or outcome is None or outcome.status not in undoable:
            raise InvalidError("This job restored nothing that could be undone.", subject=f"job {job_id}")
        snapshot, mark = self._back.catalogue.mark_of(permit.scope, job.id, outcome.safety or "")
        if mark.state != "done":
            raise InvalidError("This restore is undone already.", subject=f"job {job_id}", hint="Nothing was changed.")
        return self._submit_undo(permit, snapshot, mark)

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

    def job(self, actor: Actor, job_id: str) -> Job:
        """A job of a scope that the actor may see; the same NotFoundError where there is none."""
        job = self._back.jobs.get(job_id)
        if Action.SEE not in self._back.auth.acts(actor, job.order.scope):
            self._back.reception.note(actor, "job", job.order.scope, "not-found")
            raise no_such_job()
        return job

    def jobs(self, actor: Actor, scope: Scope, limit: int = 5) -> tuple[Job, ...]:
        """The latest jobs of a scope, newest first, running ones included."""
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        return self._back.jobs.of_scope(permit.scope, limit)

    def site_restored_at(self, actor: Actor, scope: Scope) -> datetime | None:
        """When a restore of the site last brought something back that may have been this project's."""
        permit = self._back.reception.permit(actor, Action.SEE, scope)
        job = self._back.jobs.latest_restore(Scope.site())
        if job is None or not (job.order.selection.is_empty or permit.scope.project_id in job.order.selection.projects):
            return None
        return job.ended_at

    def wait(self, actor: Actor, job_id: str, seconds: float) -> Job:
        """The job when it has ended, or as it is after `seconds`."""
        return self._back.jobs.wait(self.job(actor, job_id).id, seconds)

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

    # --- what the methods above share

    def _unfinished(self) -> int:
        try:
            return len(self._back.intents.open())
        except OSError:
            return 0

    def _own(self, permit: Permit, name: str) -> Snapshot:
        """The scope's own snapshot of that name; one of the site is refused, and the refusal written down."""
        with self._back.reception.watching(permit):
            return self._back.catalogue.own(permit.scope, name)

    def _wish(self, actor: Actor, action: Action, scope: Scope, name: str, selection: Selection) -> tuple[Permit, Wish]:
        """The permit for what a restore would change, and what was asked for; one project out of a site snapshot is
        that project's matter, whichever route it was asked on."""
        narrow = Scope.project(selection.projects[0]) if scope.is_site and len(selection.projects) == 1 else scope
        permit = self._back.reception.permit(actor, action, narrow)
        wish = self._back.catalogue.wish(scope, name, selection)
        if permit.scope != wish.scope:
            raise RuntimeError("the permit is for another scope than the wish")
        return permit, wish

    def _people(self, permit: Permit, wish: Wish, people: bool | None) -> bool:
        """Whether people come along: if root says so, or where there are none at all."""
        whole_site = wish.scope.is_site and wish.selection.is_empty
        if people and not whole_site:
            raise InvalidError("People are restored with the whole site only.", subject="people", hint="Leave it out.")
        if people is None:
            return whole_site and self._back.mongo.is_without_people()
        if people:
            self._back.reception.permit(permit.actor, Action.PEOPLE, permit.scope)
        return people

    def _submit(self, permit: Permit, wish: Wish, people: bool, plan: str = "") -> Job:
        return self._back.jobs.submit(
            Order(
                permit.action,
                permit.scope,
                permit.actor,
                source=wish.snapshot.scope,
                snapshot=wish.snapshot.name,
                selection=wish.selection,
                people=people,
                plan=plan,
            )
        )

    def _submit_undo(self, permit: Permit, snapshot: Snapshot, mark: RestoreMark) -> Job:
        """An undo brings back exactly what the restore was about, nothing beside it."""
        redo = False
        with suppress(NotFoundError):  # the history of jobs may be lost; it only serves the words here
            undone = self._back.jobs.get(mark.job).order
            redo = undone.act is Action.UNDO and not undone.redo
        if mark.people:
            self._back.reception.permit(permit.actor, Action.PEOPLE, permit.scope)
        return self._back.jobs.submit(
            Order(
                Action.UNDO,
                permit.scope,
                permit.actor,
                source=snapshot.scope,
                snapshot=snapshot.name,
                selection=mark.selection,
                people=mark.people,
                mark_job=mark.job,
                redo=redo,
            )
        )


def _gone(project_id: str, stored: dict[str, str]) -> str:
    """What a project that is no longer there is called."""
    return f"{stored.get(project_id) or f'Project {project_id}'} (deleted)"


def _note(text: str) -> str:
    """A note as it is kept: one line, at most 500 characters."""
    if len(text) > _LONGEST_NOTE or not text.isprintable():
        raise InvalidError(
            f"A note has at most {_LONGEST_NOTE} characters and no control characters.",
            subject="note",
            hint="Shorten it.",
        )
    return text.strip()

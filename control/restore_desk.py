"""The part of the desk where restores are asked for: preview, restore and undo.

Rules:

- A plan that was agreed to is carried out for what it was computed for, and for nothing else.
- One project out of a snapshot of the site is that project's matter, whichever route it was asked on.
- An undo brings back exactly what the restore was about.

>>> desk.restore(actor, scope, "latest", plan=plan.digest).state       # doctest: +SKIP
<JobState.QUEUED: 'queued'>
"""

from __future__ import annotations

import itertools
from contextlib import suppress

from .backroom import Backroom
from .catalogue import Wish, everything
from .errors import InvalidError, NotFoundError, RefusedError, no_such_job
from .model import (
    EVERYTHING,
    Action,
    Actor,
    Job,
    Order,
    OutcomeStatus,
    Page,
    Permit,
    Plan,
    PlanItem,
    RestoreMark,
    Scope,
    Selection,
    Snapshot,
)


class RestoreDesk:
    """Every method's first argument is who asks; all raise the errors of `errors.py`."""

    def __init__(self, back: Backroom) -> None:
        self._back = back

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

    def job(self, actor: Actor, job_id: str) -> Job:
        """A job of a scope that the actor may see; the same NotFoundError where there is none."""
        job = self._back.jobs.get(job_id)
        if Action.SEE not in self._back.auth.acts(actor, job.order.scope):
            self._back.reception.note(actor, "job", job.order.scope, "not-found")
            raise no_such_job()
        return job

    # --- what the methods above share

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

"""The part of the desk where restores are taken back: preview of an undo, undo; the way back of one that hangs.

Rules:

- An undo brings back exactly what the restore was about, as it was before it: its mark says what, and nobody else.
- What an undo would do is a plan like any other; who agrees to that plan gets it, or nothing.
- The undo of an undo is the restore again, by the same code.

>>> desk.undo(actor, scope, plan=plan.digest).state       # doctest: +SKIP
<JobState.QUEUED: 'queued'>
"""

from __future__ import annotations

from contextlib import suppress

from .errors import InvalidError, NotFoundError
from .model import Action, Actor, Job, Order, OutcomeStatus, Permit, Plan, RestoreMark, Scope, Snapshot, Undoing
from .restore_desk import Consent, RestoreDesk, other_plan

_RESTORES = (Action.RESTORE, Action.UNDO)
_CARRIED_OUT = (OutcomeStatus.DONE, OutcomeStatus.PARTIAL)


class UndoDesk(RestoreDesk):
    """Every method's first argument is who asks; all raise the errors of `errors.py`."""

    def preview_undo(self, actor: Actor, scope: Scope, name: str = "") -> Job:
        """Order the plan of an undo: of the restore that the safety snapshot `name` was made for; no name: of the
        scope's latest one. The job's `outcome.report` is it."""
        permit = self._back.reception.permit(actor, Action.PREVIEW, scope)
        return self._submit_undo(permit, self._served_by(permit, name), Consent())

    def preview_undo_job(self, actor: Actor, job_id: str) -> Job:
        """The same for the restore that a job carried out."""
        job = self.job(actor, job_id)
        permit = self._back.reception.permit(actor, Action.PREVIEW, job.order.scope)
        return self._submit_undo(permit, self._done_by(permit, job), Consent())

    def undo(
        self, actor: Actor, scope: Scope, name: str = "", plan: str = "", *, newer: bool = False, confirm: str = ""
    ) -> Job:
        """Order the undo of the restore that the snapshot `name` was made for; no name: of the scope's latest one.

        Parameters
        ----------
        plan: the digest of the preview that was agreed to; without it whatever the undo comes to is agreed to.
        newer, confirm: as for a restore.

        Raises
        ------
        NotFoundError: no such snapshot or plan, or nothing to undo. InvalidError: nothing was restored with it, or the
        plan is not that of this undo.
        """
        permit = self._back.reception.permit(actor, Action.UNDO, scope)
        consent = Consent(plan, newer, confirm)
        return self._submit_undo(permit, self._served_by(permit, name), consent)

    def undo_job(self, actor: Actor, job_id: str, plan: str = "", *, newer: bool = False, confirm: str = "") -> Job:
        """Order the undo of the restore that a job carried out; the rest as for `undo`."""
        job = self.job(actor, job_id)
        permit = self._back.reception.permit(actor, Action.UNDO, job.order.scope)
        consent = Consent(plan, newer, confirm)
        return self._submit_undo(permit, self._done_by(permit, job), consent)

    def undoing(self, actor: Actor, plan: Plan, job_id: str) -> Undoing | None:
        """The restore of this job, if a plan is what its undo would do; None: it is not, or the restore is unknown."""
        permit = self._back.reception.permit(actor, Action.SEE, plan.target)
        with suppress(NotFoundError):
            found = self._undoing(*self._back.catalogue.mark_of(permit.scope, job_id, plan.snapshot))
            return found if found.is_of(plan) else None
        return None

    def turn_back(self, actor: Actor, scope: Scope) -> None:
        """Ask for the state before, where a restore has begun and cannot be finished; its job ends with it.

        Raises
        ------
        NotFoundError: no restore of this scope is unfinished.
        """
        permit = self._back.reception.permit(actor, Action.RESTORE, scope)
        if permit.scope not in self._back.intents.open():
            raise NotFoundError("No restore is unfinished here.", subject="restore", hint="Nothing was changed.")
        self._back.intents.turn_back(permit.scope)
        self._back.reception.note(actor, "turn back", permit.scope, "done")

    def turn_job_back(self, actor: Actor, job_id: str) -> Job:
        """The same for the restore that a job is at."""
        job = self.job(actor, job_id)
        intent = self._back.intents.read(job.order.scope)
        if intent is None or intent.job != job.id:
            raise NotFoundError("This job has no restore to be finished.", subject="job", hint="Nothing was changed.")
        self.turn_back(actor, job.order.scope)
        return self._as_it_stands(job)

    # --- what the methods above share

    def _served_by(self, permit: Permit, name: str) -> Undoing:
        """The restore that a safety snapshot was made for; no name: the scope's latest one."""
        if not name:
            return self._undoing(*self._back.catalogue.latest_mark(permit.scope))
        snapshot = self._own(permit, name)
        if snapshot.undoable is None and any(one.state == "undone" and one.took_place for one in snapshot.restores):
            raise InvalidError("This restore is undone already.", subject=snapshot.name, hint="Nothing was changed.")
        if snapshot.undoable is None:
            raise InvalidError(
                "No restore that could be undone was made with this safety snapshot.",
                subject=snapshot.name,
                hint="Restore it instead, if its state is wanted.",
            )
        return self._undoing(snapshot, snapshot.undoable)

    def _done_by(self, permit: Permit, job: Job) -> Undoing:
        """The restore that a job carried out, if it can still be undone."""
        outcome = job.outcome
        if job.order.act not in _RESTORES or outcome is None or outcome.status not in _CARRIED_OUT:
            raise InvalidError("This job restored nothing that could be undone.", subject=f"job {job.id}")
        snapshot, mark = self._back.catalogue.mark_of(permit.scope, job.id, outcome.safety or "")
        if mark.state != "done":
            raise InvalidError("This restore is undone already.", subject=f"job {job.id}", hint="Nothing was changed.")
        return Undoing(snapshot, mark, job)

    def _undoing(self, snapshot: Snapshot, mark: RestoreMark) -> Undoing:
        """With the job that did it; the history of jobs may be lost, and only serves the words."""
        with suppress(NotFoundError):
            return Undoing(snapshot, mark, self._back.jobs.get(mark.job))
        return Undoing(snapshot, mark)

    def _submit_undo(self, permit: Permit, undoing: Undoing, consent: Consent) -> Job:
        """Order it, or its plan: exactly what the restore was about, nothing beside it.

        Raises
        ------
        InvalidError: the plan that was agreed to is that of something else.
        """
        snapshot, mark = undoing.snapshot, undoing.mark
        if consent.plan and not undoing.is_of(self.plan(permit.actor, consent.plan)):
            raise other_plan(consent.plan, "undo")
        if mark.people:
            self._back.reception.permit(permit.actor, Action.PEOPLE, permit.scope)
        return self._back.jobs.submit(
            Order(
                permit.action,
                permit.scope,
                permit.actor,
                source=snapshot.scope,
                snapshot=snapshot.name,
                selection=mark.selection,
                people=mark.people,
                plan=consent.plan,
                mark_job=mark.job,
                redo=undoing.is_redo,
                accepted=consent.gaps,
                takes_newer=consent.newer,
            )
        )

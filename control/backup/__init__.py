"""Backup: makes, previews, restores, verifies and finishes; orders the steps, the rooms beside it do them.

Rules:

- Every method takes the `Permit` that Auth gave, and works on its scope, not on an id from elsewhere.
- Before every restore a safety snapshot is made; no argument turns it off.

>>> backup.make(permit, order, job.id, claim)         # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import replace

from ..errors import InvalidError, NotFoundError, Problem
from ..model import Action, Job, Order, Outcome, OutcomeStatus, Permit, Plan, Reason, Scope, Snapshot, Status
from ..stores.disk import LEAST, require_room
from ..stores.intents import Intent
from .agreeing import live_plan
from .duplicating import Duplicating
from .elsewhere import Elsewhere
from .finishing import Finishing, carried_out
from .leftovers import left_behind, sweep_jobs, sweep_staged
from .make import Make
from .restore import Restore, require_whole
from .stores import Stores
from .target import Target
from .verify import Verify
from .watches import Silent, Watch

__all__ = ["Backup", "Stores", "Watch"]

_RESTORES = (Action.RESTORE, Action.UNDO)


class Backup:
    """The controller of snapshots and restores."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def make(self, permit: Permit, order: Order, job: str, watch: Watch) -> Outcome:
        """Make a snapshot of the permit's scope; `job` tells drafts apart."""
        _require_same(permit, order)
        sweep_staged(self._stores, permit.scope)
        reason = Reason.API if permit.actor.via == "api" else Reason.MANUAL
        make = Make(self._stores, permit.scope, watch, confirm=order.confirm)
        made = make.run(permit.actor.user, reason, order.note, job)
        snapshot = made.snapshot
        if not made.is_new:
            return Outcome(OutcomeStatus.UNCHANGED, snapshot.name)
        status = OutcomeStatus.PARTIAL if snapshot.status is Status.PARTIAL else OutcomeStatus.DONE
        return Outcome(status, snapshot.name, problems=snapshot.problems, warnings=snapshot.warnings)

    def preview(self, permit: Permit, order: Order, watch: Watch) -> Plan:
        """What restoring would do; nothing is changed by looking."""
        _require_same(permit, order)
        stores = self._stores
        snapshot = stores.repository.get(order.source or order.scope, order.snapshot)
        require_whole(snapshot)
        require_room(stores.settings.data, LEAST, "the plan of a restore")
        target = Target(
            permit.scope, snapshot, order.selection, order.people, permit.actor, only_intact=order.only_intact
        )
        return live_plan(stores, target, watch)

    def restore(self, permit: Permit, order: Order, job: str, watch: Watch) -> Outcome:
        """Restore, or undo a restore; see `restore.py` for what is promised.

        Raises
        ------
        InvalidError: what this undo should take back was taken back while it waited.
        """
        _require_same(permit, order)
        self._require_undoable(order)
        return Restore(self._stores, watch).run(replace(order, actor=permit.actor), job)  # with the role of now

    def _require_undoable(self, order: Order) -> None:
        if order.mark_job and order.source is not None:
            snapshot = self._stores.repository.get(order.source, order.snapshot)
            if any(mark.job == order.mark_job and mark.state == "undone" for mark in snapshot.restores):
                raise InvalidError(
                    "This restore is undone already.", subject=f"job {order.mark_job}", hint="Nothing was changed."
                )

    def verify(self, permit: Permit, order: Order, watch: Watch) -> Outcome:
        """Compare all of a stored snapshot with its manifest; the verdict is the outcome's report."""
        _require_same(permit, order)
        return Verify(self._stores, watch).run(order)

    def copy(self, permit: Permit, order: Order, job: str, watch: Watch) -> Outcome:
        """Copy a snapshot, or a part of it, beside the live site."""
        _require_same(permit, order)
        return Elsewhere(self._stores, watch).run(order, job)

    def duplicate(self, permit: Permit, order: Order, job: str, watch: Watch) -> Outcome:
        """Restore a project as a new one."""
        _require_same(permit, order)
        return Duplicating(self._stores, watch).run(order, job)

    # --- after a crash

    def unfinished(self) -> tuple[Scope, ...]:
        """The scopes that a restore began to change and did not finish."""
        return self._stores.intents.open()

    def intent(self, scope: Scope) -> Intent | None:
        return self._stores.intents.read(scope)

    def finish(self, scope: Scope, watch: Watch, *, has_failed: bool = False) -> Outcome | None:
        """Finish a restore that was interrupted; the scope's lock is held by the caller.

        Parameters
        ----------
        has_failed: its job has ended so; a project that it was to add is taken away again then.

        Returns
        -------
        None: there is nothing (any more) to be finished.
        """
        if self.intent(scope) is None:
            return None
        with self._stores.scope_files.held(scope, watch.check):
            intent = self.intent(scope)  # whoever held the lock may have finished it
            if intent is not None and intent.order.act is Action.DUPLICATE:
                return Duplicating(self._stores, watch).finish(intent, has_failed=has_failed)
            return None if intent is None else Finishing(self._stores, watch).finish(intent)

    def end_lost_transactions(self) -> None:
        """What processes that were killed have left open in the database stands in nobody's way any more."""
        self._stores.writer.end_lost()

    def left_behind(self) -> dict[Scope, frozenset[str]]:
        """The scopes of which restores have left something beside the live files, and the jobs that it is of."""
        return left_behind(self._stores)

    def sweep(self, scope: Scope, jobs: frozenset[str]) -> None:
        """Remove what these jobs, that have ended, left there, unless an unfinished restore may still need it; the
        scope's lock is held by the caller."""
        if self.intent(scope) is None:
            sweep_jobs(self._stores, scope, jobs)

    def sweep_plans(self) -> None:
        """Remove the drafts of plans whose writers were killed; never those that somebody writes."""
        self._stores.plans.sweep_drafts()

    def begun_copies(self) -> tuple[str, ...]:
        """The jobs whose copies have begun, and were neither finished nor cleared away yet."""
        return self._stores.begun.all()

    def end_copy(self, job: str, watch: Watch, *, has_failed: bool = False) -> Outcome | None:
        """Bring to an end what a job that is gone has left of its copy; None: nothing was, or nothing is left.

        Parameters
        ----------
        has_failed: the job has ended so; nothing of the copy stays.
        """
        return Elsewhere(self._stores, watch).recover(job, has_failed=has_failed)

    def forget_copy(self, job: str) -> None:
        """The job has ended, and nothing half is left of its copy."""
        Elsewhere(self._stores, Silent()).forget(job)

    def outcome_of(self, job: Job, watch: Watch) -> Outcome | None:
        """How a restore came out whose worker was lost; finishes it first where it had begun to change something.

        None: nothing was changed.
        """
        if job.order.act is Action.COPY:
            return self.end_copy(job.id, watch)
        scope = job.order.changed
        intent = self.intent(scope)
        if intent is not None and intent.job == job.id:
            return self.finish(scope, watch)
        if job.order.act is Action.DUPLICATE:
            Duplicating(self._stores, watch).sweep(job.order, job.id)
            return self.end_copy(job.id, watch)
        for snapshot in self._stores.repository.snapshots(scope):
            for mark in snapshot.restores:
                if mark.job == job.id:
                    outcome = self._outcome_of_mark(job, snapshot, mark.state, mark.digest)
                    return outcome and replace(outcome, safety_is_new=snapshot.was_made_for(job.id))
        return None

    def _outcome_of_mark(self, job: Job, safety: Snapshot, state: str, digest: str) -> Outcome | None:
        if state == "begun":  # marked, but no intent was written: nothing happened
            self._stores.repository.unmark(job.order.scope, safety.name, job.id)
            return None
        try:
            report = self._stores.plans.get(digest).as_dict()
        except NotFoundError:
            report = None
        if state == "done":
            return carried_out(job.order.snapshot, safety.name, report)
        problem = Problem("damaged", "The restore could not be completed; the state before it is live again.")
        return Outcome(OutcomeStatus.FAILED, job.order.snapshot, safety.name, (problem,), report)


def _require_same(permit: Permit, order: Order) -> None:
    """What was checked is what is done."""
    if permit.scope != order.scope:
        raise RuntimeError("the permit is for another scope than the order")

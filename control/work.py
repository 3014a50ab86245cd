"""Work: what a worker does with a job that it has claimed.

Rules:

- Auth is asked again when the job starts: what was allowed yesterday may be refused today.
- However it goes, the job ends with an outcome; what is unforeseen goes to the log in full.
- A restore that has begun to change things is not ended by a stop: its intent stays, and the next start finishes it.

>>> claim = jobs.claim()            # doctest: +SKIP
>>> work.run(claim).outcome         # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from .auth import Auth
from .backup import Backup
from .backup.watches import Until, Watch
from .claims import Claim
from .errors import (
    BusyError,
    CancelledError,
    DamagedError,
    KeyframeError,
    NoRoomError,
    NotFoundError,
    Problem,
    RefusedError,
    StaleError,
    UnsafeError,
)
from .hooks import Hooks
from .jobs import Jobs
from .model import Action, Job, JobState, Outcome, OutcomeStatus, Permit, Progress, Scope
from .reception import Reception

log = structlog.get_logger(__name__)
_NAMED = 200  # of what a safety snapshot does not keep
_LOOK_AGAIN = 0.1  # seconds between tries to claim


class Work:
    """Carries out jobs; the same in the worker process and in a command that does its job itself."""

    def __init__(self, auth: Auth, backup: Backup, jobs: Jobs, reception: Reception, hooks: Hooks) -> None:
        self._auth = auth
        self._backup = backup
        self._jobs = jobs
        self._reception = reception
        self._hooks = hooks

    def run(self, claim: Claim) -> Job:
        """Do it and end it; never raises for what goes wrong with the work."""
        job = claim.job
        try:
            outcome = self._outcome(claim)
        except CancelledError as error:
            if self._begun(job):
                log.warning("job.interrupted", job=job.id, scope=job.order.scope.key)
                claim.abandon()
                return job
            outcome = _ended(OutcomeStatus.CANCELLED, error, job)
        ended = claim.end(outcome)
        self._note(ended)
        if job.order.act in (Action.COPY, Action.DUPLICATE) and outcome.status in (
            OutcomeStatus.DONE,
            OutcomeStatus.PARTIAL,
        ):
            with contextlib.suppress(KeyframeError):  # whoever recovers forgets it then
                self._backup.forget_copy(job.id)
        return ended

    def _outcome(self, claim: Claim) -> Outcome:
        job = claim.job
        try:
            actor = self._auth.current(job.order.actor)
            permit = self._auth.permit(actor, job.order.act, job.order.scope)
            if job.order.people:
                self._auth.permit(actor, Action.PEOPLE, job.order.scope)
            return self._hooks.after_restore(job.id, job.order, self._do(permit, claim))
        except CancelledError:
            raise
        except KeyframeError as error:
            log.info("job.failed", job=job.id, code=error.code, what=error.what, subject=error.subject)
            status = OutcomeStatus.REFUSED if _is_refusal(error) else OutcomeStatus.FAILED
            return _ended(status, error, job)
        except Exception as error:
            log.exception("job.crashed", job=job.id, act=job.order.act.value, scope=job.order.scope.key)
            unforeseen = KeyframeError(
                f"Something unforeseen happened ({type(error).__name__}).", subject=f"job {job.id}", hint="See the log."
            )
            return _ended(OutcomeStatus.FAILED, unforeseen, job)

    def _do(self, permit: Permit, claim: Claim) -> Outcome:
        job, order = claim.job, claim.job.order
        if order.act is Action.MAKE:
            self._refuse_unfinished(permit)
            return self._backup.make(permit, order, job.id, claim)
        if order.act is Action.PREVIEW:
            self._refuse_unfinished(permit)  # it would be compared with a mixture
            plan = self._backup.preview(permit, order, claim)
            return Outcome(OutcomeStatus.DONE, order.snapshot, report=plan.as_dict())
        if order.act in (Action.RESTORE, Action.UNDO):
            self._refuse_unfinished(permit)
            return self._backup.restore(permit, order, job.id, claim)
        if order.act is Action.VERIFY:
            return self._backup.verify(permit, order, claim)
        if order.act is Action.COPY:
            return self._backup.copy(permit, order, job.id, claim)
        if order.act is Action.DUPLICATE:
            self._refuse_unfinished(permit)
            return self._backup.duplicate(permit, order, job.id, claim)
        raise RuntimeError(f"no job for {order.act}")

    def _refuse_unfinished(self, permit: Permit) -> None:
        """Nothing begins where a restore has begun and not finished."""
        if any(one.is_site or permit.scope.is_site or one == permit.scope for one in self._backup.unfinished()):
            raise BusyError(
                "A restore was interrupted here and will be finished first.",
                subject=permit.scope.key,
                hint="Try again in a minute; nothing was changed.",
            )

    def _begun(self, job: Job) -> bool:
        intent = self._backup.intent(job.order.changed)
        return intent is not None and intent.job == job.id

    def _note(self, job: Job) -> None:
        if job.outcome is None:
            return
        codes = ", ".join(dict.fromkeys(problem.code for problem in job.outcome.problems))
        named = f"snapshot {job.outcome.snapshot}" if job.outcome.snapshot else ""
        confirmed = f"confirmed {', '.join(job.order.confirm)}" if job.order.confirm else ""
        places = ((job.order.into, "into"), (job.order.database, "database"), (job.order.new_id, "as project"))
        where = ", ".join(f"{word} {place}" for place, word in places if place)
        detail = "; ".join(part for part in (f"job {job.id}", named, where, codes, confirmed) if part)
        self._reception.note(job.order.actor, job.order.act.value, job.order.scope, job.outcome.status.value, detail)

    # --- after a crash

    def recover(
        self,
        is_ending: Callable[[], bool] = lambda: False,
        told: Callable[[Progress], None] = lambda _: None,
        ended: Callable[[Job], None] = lambda _: None,
    ) -> int:
        """End the jobs whose worker was lost, finish the restores they had begun, and clear away what they left.

        Parameters
        ----------
        is_ending: asked while a restore waits for disk or server; True leaves it for the next start. told: how far it
        is, and what it waits for. ended: given each job that was lost, and each restore that was finished, as it came
        out.

        Returns
        -------
        How many restores are still unfinished.
        """

        def recovered(claim: Claim) -> Outcome | None:
            outcome = self._backup.outcome_of(claim.job, Until(is_ending, claim, told))
            # The end of the job is the record that the hooks were called: whoever ends it for a lost worker does so.
            if outcome is None:
                return None
            return self._hooks.after_restore(claim.job.id, claim.job.order, replace(outcome, interrupted=True))

        self._backup.end_lost_transactions()  # which hold the jobs' own documents
        with contextlib.suppress(CancelledError):
            for job in self._jobs.sweep(recovered):
                self._note(job)
                ended(job)
            for scope in self._backup.unfinished():
                self._finish_ownerless(scope, Until(is_ending, None, told), ended)
            for job_id in self._backup.begun_copies():
                self._end_copy(job_id, Until(is_ending, None, told))
            self._sweep()
        return len(self._backup.unfinished())

    def _finish_ownerless(self, scope: Scope, watch: Watch, ended: Callable[[Job], None]) -> None:
        """Finish a restore whose job is not running: it ended too early, or the control database does not know it."""
        intent = self._backup.intent(scope)
        if intent is None:
            return
        job = self._known(intent.job)
        if job is not None and job.state is not JobState.ENDED:
            return
        with contextlib.suppress(BusyError), self._jobs.hold(scope, "the end of an interrupted restore"):
            outcome = self._backup.finish(scope, watch, has_failed=_has_failed(job))
            if outcome is None:  # another process was quicker
                return
            self._hooks.after_restore(intent.job, intent.order, outcome)
            log.warning("restore.finished", job=intent.job, scope=scope.key, status=outcome.status.value)
            self._reception.note(
                intent.order.actor, intent.order.act.value, scope, outcome.status.value, "finished late"
            )
            now = datetime.now(UTC)
            lost = Job(intent.job, intent.order, JobState.ENDED, Progress(), None, now, None, now)
            ended(replace(job or lost, outcome=outcome))

    def _sweep(self) -> None:
        """Clear away what restores left beside the live files whose jobs have ended, or are not known any more; and
        drafts of plans that nobody writes."""
        self._backup.sweep_plans()
        for scope, jobs in self._backup.left_behind().items():
            if scope in self._backup.unfinished() or not all(self._has_ended(one) for one in jobs):
                continue
            with contextlib.suppress(BusyError), self._jobs.hold(scope, "clearing away what a restore left"):
                self._backup.sweep(scope, jobs)
                log.info("restore.cleared-away", scope=scope.key, jobs=sorted(jobs))

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self._jobs.get(job_id).state is JobState.ENDED
        except NotFoundError:
            return True

    def _end_copy(self, job_id: str, watch: Watch) -> None:
        """Clear away what is left of a copy whose job has ended, as when the server was away just then."""
        job = self._known(job_id)
        if job is not None and job.state is not JobState.ENDED:
            return
        self._backup.end_copy(job_id, watch, has_failed=_has_failed(job))
        self._backup.forget_copy(job_id)
        log.info("copy.ended", job=job_id)

    def _known(self, job_id: str) -> Job | None:
        """The job; None where the control database does not know it."""
        with contextlib.suppress(NotFoundError):
            return self._jobs.get(job_id)
        return None

    def withdraw(self, job_id: str) -> bool:
        """End a job that still waits; False if it has begun, or ended, meanwhile."""
        job = self._jobs.withdraw(job_id)
        if job is not None:
            self._note(job)
        return job is not None

    def run_job(self, job_id: str) -> Job:
        """Do a job here and now, without a worker process; waits while its scope is busy."""
        while True:
            claim = self._jobs.claim(only=job_id)
            if claim is not None:
                return self.run(claim)
            job = self._jobs.get(job_id)
            if job.state is JobState.ENDED:
                return job
            self.recover()
            time.sleep(_LOOK_AGAIN)


def _has_failed(job: Job | None) -> bool:
    """Whether it was told that the job has not done what it was to do."""
    done = (OutcomeStatus.DONE, OutcomeStatus.PARTIAL, OutcomeStatus.UNCHANGED)
    return job is not None and job.outcome is not None and job.outcome.status not in done


def _is_refusal(error: KeyframeError) -> bool:
    """Whether nobody failed, but Auth or the safety of what is there says no."""
    return isinstance(error, (RefusedError, UnsafeError)) or (isinstance(error, NoRoomError) and error.is_refusal)


def _cut(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
    """The first problems of a long list, and how many more there are."""
    more = len(problems) - _NAMED
    if more <= 0:
        return problems
    rest = Problem("unsafe", f"{more:,} more are not named here.", "", "What is confirmed stands for all of them.")
    return (*problems[:_NAMED], rest)


def _ended(status: OutcomeStatus, error: KeyframeError, job: Job) -> Outcome:
    report = error.report if isinstance(error, (StaleError, UnsafeError)) and error.report else None
    problems: tuple[Problem, ...] = (error.problem(),)
    confirm = ""
    if isinstance(error, DamagedError) and error.all:
        problems = (*problems, *(one for one in error.all if one.subject != error.subject))
    if isinstance(error, UnsafeError):
        problems, confirm = (*problems, *_cut(error.problems)), error.digest
    return Outcome(status, job.order.snapshot or None, problems=problems, report=report, confirm=confirm)

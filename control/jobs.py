"""Long work: ordered by the desk, claimed by a worker, one at a time per scope.

Rules:

- Order is kept per scope, and nothing newer than a waiting site job is claimed: a stream of projects cannot starve it.
- Whoever claims holds the scope by a lease that a thread renews (`claims.py`).
- A scope that an ended job, a short act or a half claim left behind is freed by the next one who meets it; a running
  job whose holder is gone is ended by `sweep` only, which can ask how its restore came out.

>>> claim = jobs.claim()                                    # doctest: +SKIP
>>> claim.end(work(claim.job, claim.progress, claim.check)) # doctest: +SKIP
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import structlog

from .claims import Claim, Lease
from .errors import BusyError, Problem, UnavailableError
from .model import Action, Job, JobState, Order, Outcome, OutcomeStatus, Scope
from .settings import JobSettings
from .stores.jobs import JobStore
from .stores.locks import Entry, ScopeLocks

log = structlog.get_logger(__name__)

ALIVE_SECONDS = 5.0  # a worker that was not heard for longer counts as gone
_WAIT_STEPS = (0.02, 0.3)  # seconds between two looks of `wait`: the first, the longest

# Of these a worker that was lost may leave something behind that has to be brought to an end.
_LEAVES = (Action.RESTORE, Action.UNDO, Action.COPY, Action.DUPLICATE)

WORKER_LOST = Outcome(
    OutcomeStatus.FAILED,
    problems=(
        Problem(
            "unavailable",
            "The worker that did this was lost before it had ended.",
            "worker",
            "The data is in a whole state; order it again.",
        ),
    ),
)
WITHDRAWN = Outcome(
    OutcomeStatus.CANCELLED,
    problems=(Problem("cancelled", "It was withdrawn before it began.", "job", "Nothing was changed."),),
)


class Jobs:
    """The queue of the control database; made without asking the server. Safe to use from several threads.

    Every method raises `UnavailableError` when the control database does not answer.
    """

    def __init__(self, store: JobStore, locks: ScopeLocks, settings: JobSettings) -> None:
        self._store = store
        self._locks = locks
        self._seconds = settings.lease
        self._live: set[str] = set()  # tokens of the leases that this object renews

    def submit(self, order: Order) -> Job:
        """Put the order into the queue."""
        return self._store.add(order)

    def get(self, job_id: str) -> Job:
        """The job as it stands now; `NotFoundError` where there is none."""
        return self._store.get(job_id)

    def wait(self, job_id: str, seconds: float) -> Job:
        """The job when it has ended, or as it stands after `seconds`; `NotFoundError` where there is none."""
        deadline = time.monotonic() + seconds
        pause, longest = _WAIT_STEPS
        while True:
            job = self._store.get(job_id)
            left = deadline - time.monotonic()
            if job.state is JobState.ENDED or left <= 0:
                return job
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, longest)

    def of_scope(self, scope: Scope, limit: int = 5) -> tuple[Job, ...]:
        """Newest first; those that wait or run are among them."""
        return self._store.of_scope(scope, limit)

    def latest_restore(self, scope: Scope) -> Job | None:
        """The restore or undo of the scope that ended last and carried something out, wholly or in part."""
        return self._store.latest_restore(scope)

    def of_plan(self, digest: str) -> Job | None:
        """The job that computed this plan last, also where the plan itself is no longer kept."""
        return self._store.of_plan(digest)

    def claim(self, only: str | None = None) -> Claim | None:
        """Take the oldest job whose scope is free, or just the job `only`, whatever else waits.

        Returns
        -------
        None when there is none, or while the scope is busy.
        """
        candidates = self._candidates(only)
        busy = {entry.scope for entry in self._still_held()} if candidates else set()
        for job in candidates:
            scope = job.order.scope
            entry = None if _touches(scope, busy) else self._locks.take(scope, job.id, _words(job), self._seconds)
            if entry is None:
                if scope.is_site:  # what is newer waits behind it, or it would never find the site at rest
                    return None
                busy.add(scope)
                continue
            running = self._store.start(job.id, entry.fence)
            if running is not None:
                return Claim(running, self._store, self._lease(entry))
            self._locks.free(entry)
        return None

    @contextmanager
    def hold(self, scope: Scope, what: str) -> Iterator[None]:
        """Hold the scope for a short act that is no job; `what` says it to those who find the scope busy.

        Raises
        ------
        BusyError: a job or another act holds the scope, or one inside or around it; names it.
        """
        token = f"act-{secrets.token_hex(12)}"
        entry = self._locks.take(scope, token, what, self._seconds)
        if entry is None:
            held = self._still_held()
            entry = self._locks.take(scope, token, what, self._seconds)
            if entry is None:
                raise self._busy(scope, held)
        lease = self._lease(entry)
        try:
            yield
        finally:
            lease.release()

    def is_held(self, job_id: str) -> bool:
        """Whether somebody who is there holds the scope of this job for it."""
        return any(entry.token == job_id and not self._is_gone(entry) for entry in self._locks.entries())

    def withdraw(self, job_id: str) -> Job | None:
        """End a job that still waits, as cancelled; None when it does not wait any more."""
        return self._store.withdraw(job_id, WITHDRAWN)

    def beat(self, worker: str) -> None:
        """Note that the worker of this name lives; to be called every second or so."""
        self._store.beat(worker)

    def leave(self, worker: str) -> None:
        """The worker of this name ends in order: it is not waited for."""
        self._store.leave(worker)

    def worker_alive(self) -> bool:
        """Whether some worker was heard within the last 5 s."""
        return self._store.beats(ALIVE_SECONDS)

    def sweep(self, recovered: Callable[[Claim], Outcome | None] = lambda _: None) -> tuple[Job, ...]:
        """End the jobs whose holder is gone: dead on this machine, or elsewhere with a lease that lapsed.

        Parameters
        ----------
        recovered: given each restore, undo and copy among them, as claimed anew; returns how it came out, or None when
            it had not begun to change anything. What it raises goes on to the caller; the job stays as it is, and the
            next sweep meets it again.

        Returns
        -------
        The jobs that were ended.
        """
        running = self._store.running()  # before the entries: who has ended since has no entry, and is not ended again
        entries = {entry.token: entry for entry in self._locks.entries()}
        ended = [self._end_lost(job, entries.get(job.id), recovered) for job in running]
        self._still_held()
        return tuple(job for job in ended if job is not None)

    def _end_lost(self, job: Job, entry: Entry | None, recovered: Callable[[Claim], Outcome | None]) -> Job | None:
        if entry is None:  # somebody removed the locks by hand
            held = self._locks.take(job.order.scope, job.id, "recovery", self._seconds)
        else:
            held = self._locks.seize(entry, self._seconds) if self._is_gone(entry) else None
        if held is None:
            return None
        ours = self._store.refence(job.id, job.fence, held.fence)
        if ours is None:  # it ended meanwhile
            self._locks.free(held)
            return None
        lease = self._lease(held)
        claim = Claim(ours, self._store, lease)
        try:
            asks = job.order.act in _LEAVES
            outcome = (recovered(claim) if asks else None) or WORKER_LOST
            ended = self._store.end(job.id, held.fence, outcome, claim.told)
        except BaseException:
            lease.abandon()
            with suppress(UnavailableError):
                self._locks.give_back(held, entry.holder if entry else held.holder)
            raise
        lease.release()
        log.warning("job.lost", job=job.id, act=str(job.order.act), scope=job.order.scope.key, status=outcome.status)
        return ended

    def _candidates(self, only: str | None) -> tuple[Job, ...]:
        if only is None:
            return self._store.queued()
        job = self._store.find(only)
        return (job,) if job is not None and job.state is JobState.QUEUED else ()

    def _still_held(self) -> tuple[Entry, ...]:
        """Who holds which scope, after what nobody works on any more, and no sweep needs to see, was freed."""
        return tuple(entry for entry in self._locks.entries() if not self._free_left_behind(entry))

    def _free_left_behind(self, entry: Entry) -> bool:
        job = self._store.find(entry.token)
        left: Entry | None = None
        if job is not None and job.state is JobState.ENDED:
            left = entry
        elif (job is None or job.state is JobState.QUEUED) and self._is_gone(entry):
            left = self._locks.seize(entry, self._seconds)
        if left is not None:
            self._locks.free(left)
        return left is not None

    def _is_gone(self, entry: Entry) -> bool:
        return entry.holder.is_dead() or (entry.lapsed and entry.token not in self._live)

    def _busy(self, scope: Scope, held: tuple[Entry, ...]) -> BusyError:
        """The error that names who holds the scope, and how far he is."""
        hint = "Try again when it has ended; nothing was changed."
        for entry in held:
            if _touches(scope, {entry.scope}):
                job = self._store.find(entry.token)
                return BusyError(f"is still under way{_percent(job)}.", subject=entry.what, hint=hint)
        return BusyError("began just now.", subject="another job", hint=hint)

    def _lease(self, entry: Entry) -> Lease:
        return Lease(self._locks, entry, self._seconds, self._live)


def _touches(scope: Scope, busy: set[Scope]) -> bool:
    """Whether the scope, or one inside or around it, is among those."""
    return bool(busy) if scope.is_site else scope in busy or Scope.site() in busy


def _words(job: Job) -> str:
    scope = job.order.scope
    return (
        f"{job.order.act} of {'the site' if scope.is_site else f'project {scope.project_id}'} by {job.order.actor.name}"
    )


def _percent(job: Job | None) -> str:
    if job is None or not job.progress.total:
        return ""
    return f" ({min(100, 100 * job.progress.done // job.progress.total)} % of {job.progress.stage})"

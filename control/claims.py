"""A job that runs, and the scope that it holds meanwhile.

Rules:

- A thread prolongs the lease three times per lease. While the server does not answer it goes on trying: the scope
  remains held, also after the lease lapsed, until it turns out that somebody else took it over.
- A claim whose scope was taken over is lost: `check` and `progress` raise, and nothing more is written.
- Progress never goes back.
"""

from __future__ import annotations

import threading
import time

import structlog

from .errors import CancelledError, KeyframeError, UnavailableError
from .model import Fence, Job, Outcome, Progress
from .stores.jobs import JobStore
from .stores.locks import Entry, ScopeLocks

log = structlog.get_logger(__name__)

_WRITES_APART = 0.25  # seconds between two writes of progress
_QUIET = 5.0  # seconds without writes of progress after the server did not answer
_END_PATIENCE = 120.0  # seconds in which an end is tried again while the server does not answer
_STOP_PATIENCE = 5.0  # the same while the process is ending


class Lease:
    """A scope that is held; a thread prolongs it three times per lease, until `release` or `abandon`."""

    def __init__(self, locks: ScopeLocks, entry: Entry, seconds: float, live: set[str]) -> None:
        self._locks = locks
        self._entry = entry
        self._seconds = seconds
        self._live = live
        self._over = threading.Event()
        self.lost = threading.Event()  # somebody else has the scope
        live.add(entry.token)
        self._thread = threading.Thread(target=self._renew, name=f"lease {entry.scope.key}", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Free the scope. Where the server does not answer it is freed later, by the next one who meets it."""
        self.abandon()
        try:
            self._locks.free(self._entry)
        except UnavailableError as error:
            log.warning("lease.left", scope=self._entry.scope.key, error=str(error))

    def abandon(self) -> None:
        """Stop to prolong it; it lapses."""
        self._over.set()
        self._thread.join()
        self._live.discard(self._entry.token)

    def _renew(self) -> None:
        answered = True
        # It remains ours until somebody else took it: so try soon again, also after it has lapsed.
        while not self._over.wait(self._seconds / 3 if answered else min(1.0, self._seconds / 3)):
            try:
                if not self._locks.renew(self._entry, self._seconds):
                    self.lost.set()
                    return
                answered = True
            except KeyframeError as error:
                if answered:
                    log.warning("lease.waits", scope=self._entry.scope.key, error=str(error))
                answered = False


class Claim:
    """One running job: whoever has it does it. Progress and end come from one thread, `stop` from any."""

    def __init__(self, job: Job, store: JobStore, lease: Lease) -> None:
        self.job = job
        self._store = store
        self._lease = lease
        self._progress = job.progress
        self._stage_written = job.progress.stage
        self._next_write = 0.0
        self._stopping = threading.Event()

    def progress(self, progress: Progress) -> None:
        """Note how far it is: what goes back is dropped; written at once for a new stage, else 4 times a second.

        Raises
        ------
        CancelledError: as `check` does.
        """
        self.check()
        if _goes_back(progress, self._progress):
            return
        self._progress = progress
        if progress.stage == self._stage_written and time.monotonic() < self._next_write:
            return
        try:
            written = self._store.progress(self.job.id, self.job.fence, progress)
        except UnavailableError:  # the work goes on; whether it was lost is seen when the server answers again
            self._next_write = time.monotonic() + _QUIET
            self._stage_written = progress.stage
            return
        self._stage_written = progress.stage
        self._next_write = time.monotonic() + _WRITES_APART
        if not written:
            self._lease.lost.set()
            self.check()

    def check(self) -> None:
        """Whether to go on; asks no server.

        Raises
        ------
        CancelledError: the process is ending, or the scope was taken over by another worker.
        """
        if self._lease.lost.is_set():
            raise CancelledError(
                "was taken over by another worker, because this one did not answer for too long.",
                subject=f"job {self.job.id}",
                hint="Look at the job's end, then order it again.",
            )
        if self._stopping.is_set():
            raise CancelledError(
                "was stopped, because the program that did it is ending.",
                subject=f"job {self.job.id}",
                hint="Order it again.",
            )

    @property
    def told(self) -> Progress:
        """How far it was told to be last."""
        return self._progress

    def confirm(self) -> None:
        """Ask the server whether the scope is still held: before something is published.

        Raises
        ------
        CancelledError: as `check` does. UnavailableError: it does not answer.
        """
        self.check()
        if not self._store.progress(self.job.id, self.job.fence, self._progress):
            self._lease.lost.set()
            self.check()

    @property
    def fence(self) -> Fence:
        """What a transaction is bound to."""
        return Fence(self.job.id, self.job.fence)

    def stop(self) -> None:
        """Ask the work to stop at its next `check`; from any thread."""
        self._stopping.set()

    def abandon(self) -> None:
        """Leave the job as it is, running: a sweep will end it once this process is gone."""
        self._lease.abandon()

    def end(self, outcome: Outcome) -> Job:
        """Write the end and free the scope; while the server does not answer it is tried again for two minutes.

        Returns
        -------
        The ended job: with another outcome than this when another worker has taken it over and ended it.

        Raises
        ------
        UnavailableError: the server did not answer all the time; the lease lapses, and a sweep will end the job.
        """
        began = time.monotonic()
        while True:
            try:
                ended = self._store.end(self.job.id, self.job.fence, outcome, self._progress)
                self.job = ended or self._store.get(self.job.id)
                break
            except UnavailableError:
                patience = _STOP_PATIENCE if self._stopping.is_set() else _END_PATIENCE
                if time.monotonic() - began > patience:
                    self._lease.abandon()
                    raise
                time.sleep(0.5)
        self._lease.release()
        return self.job


def _goes_back(new: Progress, old: Progress) -> bool:
    if new.step == old.step and new.stage == old.stage:
        return new.done < old.done
    return new.step < old.step

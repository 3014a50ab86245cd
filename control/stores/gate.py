"""The gate: one place for "nobody writes now".

Rules:

- Two lock files, created once and never deleted: whoever locks a file that was deleted and made anew locks nothing.
- A closer takes the turnstile exclusively, then the gate, and keeps both: so writers, who pass the turnstile first,
  queue before it, and a stream of them cannot starve the closer.
- Each taking has a descriptor of its own, so that threads of one process exclude each other as processes do; a process
  that dies leaves no lock.
- Nobody blocks in the kernel: the locks are polled up to a deadline.
- Whoever wrote past the closed gate can be told by the stamps of what he wrote (`Period`).

>>> gate = Gate(settings.data / ".keyframe", settings.gate)  # doctest: +SKIP
>>> with gate.shared(10.0):                                  # doctest: +SKIP
...     answer_a_request_that_writes()
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnavailableError
from ..settings import GateSettings
from .disk import CLOCK_OF_STAMPS

_POLL = 0.003  # seconds
_TICK = 0.05  # seconds; a clock that somebody sets back keeps nobody waiting


@dataclass(slots=True)
class Period:
    """When the gate was closed, by the clock of this machine (wall clock, ns); `until_ns` is known when it opens.

    Nobody who waits at the gate leaves a stamp in it: those who wrote before it closed have earlier ones, those who
    come after it opened have later ones.
    """

    since_ns: int
    until_ns: int = 0

    def holds(self, stamp_ns: int) -> bool:
        """Whether a file with this ctime was written past the gate."""
        return self.since_ns < stamp_ns <= self.until_ns

    def end(self) -> None:
        """Wait until the stamps of files are past this moment."""
        self.until_ns = time.time_ns()
        deadline = time.monotonic() + _TICK
        while time.clock_gettime_ns(CLOCK_OF_STAMPS) <= self.until_ns and time.monotonic() < deadline:
            time.sleep(0.0005)


class Gate:
    """The gate of the site, below `folder`; made without touching the disk."""

    def __init__(self, folder: Path, settings: GateSettings) -> None:
        self._turnstile = folder / "turnstile"
        self._gate = folder / "gate"
        self._close_within = settings.close_within
        self._mine = threading.local()  # the period in which this thread has it closed

    @contextmanager
    def shared(self, deadline_seconds: float) -> Iterator[None]:
        """Be one of those who write; 0 seconds: try once.

        Raises
        ------
        UnavailableError: the gate was closed all the time, or the data directory cannot be reached.
        """
        deadline = time.monotonic() + deadline_seconds
        with ExitStack() as held:
            with _locked(self._turnstile, fcntl.LOCK_SH, deadline) as passed:
                if not (passed and held.enter_context(_locked(self._gate, fcntl.LOCK_SH, deadline))):
                    raise UnavailableError(
                        "A snapshot or a restore is changing over; nobody can write at the moment.",
                        subject="the site",
                        hint="Try again in a few seconds; nothing was changed.",
                    )
            yield

    @contextmanager
    def closed(self) -> Iterator[Period]:
        """Nobody writes inside; when that was is complete afterwards. Inside of itself, in one thread, it is one time.

        Raises
        ------
        UnavailableError: those who write had not all ended within `gate.close_within`; from now on others may write
            again. Or the data directory cannot be reached.
        """
        mine: Period | None = getattr(self._mine, "period", None)
        if mine is not None:
            yield mine
            return
        deadline = time.monotonic() + self._close_within
        with ExitStack() as held:
            passed = held.enter_context(_locked(self._turnstile, fcntl.LOCK_EX, deadline))
            if not (passed and held.enter_context(_locked(self._gate, fcntl.LOCK_EX, deadline))):
                raise UnavailableError(
                    f"Somebody was still writing after {self._close_within:g} s; the site did not come to rest.",
                    subject="the site",
                    hint="Try again when fewer people write; nothing was changed.",
                )
            period = self._mine.period = Period(time.time_ns())
            try:
                yield period
            finally:
                self._mine.period = None
            period.end()


@contextmanager
def _locked(path: Path, kind: int, deadline: float) -> Iterator[bool]:
    """Whether the lock was had by the deadline; at least one try is made. Released at the end, explicitly."""
    with _translated(path):
        descriptor = _opened(path)
    try:
        with _translated(path):
            had = _polled(descriptor, kind, deadline)
        try:
            yield had
        finally:
            # Explicitly: to close is not enough when a child that was started meanwhile has inherited the file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"The lock file cannot be used ({error.strerror}).",
            subject=str(path),
            hint="See that the data directory is there and may be written; nothing was changed.",
        ) from error


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # one that may only be read can be locked as well


def _polled(descriptor: int, kind: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        else:
            return True

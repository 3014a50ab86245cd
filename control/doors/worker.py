"""The worker: the door of time. Claims jobs from the control database and does them, each in a thread of its own.

Rules:

- Before it claims anything it finishes what a crash left behind, and goes on looking for that every few seconds.
- A server that does not answer is waited for, with growing pauses, and told to the log once.
- Asked to end, it claims nothing more, and brings what runs to a safe point.

>>> serve(office, stop)  # doctest: +SKIP
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from ..errors import UnavailableError
from .office import Office

if TYPE_CHECKING:  # loading it takes time that `keyframe up` does not have
    from ..claims import Claim

log = structlog.get_logger(__name__)

SAFE_POINT_SECONDS = 25.0  # a job has that long to come to a safe point when the worker ends
_POLL = 0.1  # seconds between two looks for a job
_BEAT = 1.0
_CARE = 3.0  # seconds between two looks for what a crash left behind
_LONGEST_PAUSE = 5.0


def serve(office: Office, stop: threading.Event) -> None:
    """Do jobs until `stop` is set; returns when what ran then has come to a safe point, or after 25 s."""
    _Worker(office, stop).serve()


def stop_when_told() -> threading.Event:
    """What `serve` is given in a process of its own: set by SIGTERM and by Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


class _Worker:
    def __init__(self, office: Office, stop: threading.Event) -> None:
        self._office = office
        self._stop = stop
        self._name = f"{socket.gethostname()}:{os.getpid()}:{id(self):x}"
        self._recovered = threading.Event()
        self._claims: dict[str, Claim] = {}
        self._threads: list[threading.Thread] = []

    def serve(self) -> None:
        log.info("worker.started", worker=self._name, threads=self._office.settings.jobs.threads)
        for name, act, pause in (("beat", self._beat, _BEAT), ("care", self._care, _CARE)):
            thread = threading.Thread(target=self._repeat, args=(act, pause), name=name, daemon=True)
            thread.start()
        self._repeat(self._claim, _POLL)
        self._end()

    def _repeat(self, act: Callable[[], None], pause: float) -> None:
        """Do `act` again and again until the end; while the server does not answer, with growing pauses."""
        failures = 0
        while not self._stop.is_set():
            try:
                act()
            except UnavailableError as error:
                if not failures:
                    log.warning("worker.waits", act=act.__name__, error=str(error))
                failures += 1
            except Exception:  # one broken job or record must not end the worker; the log has it in full
                log.exception("worker.failed", act=act.__name__)
                failures += 1
            else:
                if failures:
                    log.info("worker.goes-on", act=act.__name__)
                failures = 0
            self._stop.wait(min(pause * 2**failures, max(pause, _LONGEST_PAUSE)))

    def _beat(self) -> None:
        self._office.jobs.beat(self._name)

    def _care(self) -> None:
        try:
            self._office.work.recover(self._stop.is_set)
        finally:  # one broken scope must not hold up the others; work begins nothing where a restore is unfinished
            self._recovered.set()

    def _claim(self) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        while self._recovered.is_set() and len(self._threads) < self._office.settings.jobs.threads:
            claim = self._office.jobs.claim()
            if claim is None:
                return
            thread = threading.Thread(target=self._do, args=(claim,), name=f"job {claim.job.id}", daemon=True)
            self._claims[claim.job.id] = claim
            self._threads.append(thread)
            thread.start()

    def _do(self, claim: Claim) -> None:
        try:
            job = self._office.work.run(claim)
        except Exception:
            log.exception("job.failed", job=claim.job.id)
        else:
            status = job.outcome.status.value if job.outcome else None
            log.info("job.ended", job=job.id, act=job.order.act.value, scope=job.order.scope.key, status=status)
        finally:
            self._claims.pop(claim.job.id, None)

    def _end(self) -> None:
        until = time.monotonic() + SAFE_POINT_SECONDS
        for claim in list(self._claims.values()):
            claim.stop()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        left = [thread.name for thread in self._threads if thread.is_alive()]
        try:
            self._office.jobs.leave(self._name)
        except UnavailableError as error:
            log.warning("worker.left", error=str(error))
        log.info("worker.ended", worker=self._name, left=left)

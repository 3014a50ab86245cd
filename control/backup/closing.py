"""Closing the gate for a snapshot: up to three tries, none of which keeps writers out for long; then without it.

Rules:

- A try fails when those who write do not end (`gate.close_within`), or when the work inside takes too long
  (`gate.closed_at_most`): the gate opens at once. What the work has done by then stays done, and what it left is done
  with the gate open, so that the next try has less to do.
- After the third failed try the work is done with the gate open, once, without a limit; the caller says so.

>>> Closing(gate, 5.0, watch).run(pin, second_look)       # doctest: +SKIP
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from ..errors import UnavailableError
from ..stores.gate import Gate, Period
from ..stores.seen import RACY_NS
from .watches import Watch

_TRIES = 3
_BREATH = 0.1  # seconds between two tries: those who wait to write look every few milliseconds
_SETTLING = RACY_NS / 1e9  # the same after work that took too long: younger stamps have to be settled by reading again
_T = TypeVar("_T")


class TooLongError(Exception):
    """The gate has been closed for as long as it may be."""


class Limit:
    """How long work may go on; `is_closed`: with the gate closed; `since_ns`: when we did that (wall clock), or 0."""

    def __init__(self, watch: Watch, seconds: float | None = None, *, is_closed: bool, since_ns: int = 0) -> None:
        self._watch = watch
        self.since_ns = since_ns
        self._end = None if seconds is None else time.monotonic() + seconds
        self.is_closed = is_closed

    @property
    def is_over(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def check(self, _: bytes = b"") -> None:
        """Raise TooLongError when the time is over, CancelledError as the watch says; `_` is a piece of a file."""
        self._watch.check()
        if self.is_over:
            raise TooLongError


class Closing:
    """Does work with the gate closed; may be used again for another instant.

    `tries` are those of the last work, `longest` the seconds of the longest time at a stretch that the gate was closed,
    with the wait for those who wrote before; `period` is when it was closed, None: it was not, or the caller did it.
    """

    def __init__(self, gate: Gate, closed_at_most: float, watch: Watch, *, is_held: bool = False) -> None:
        self._gate = gate
        self._most = closed_at_most
        self._watch = watch
        self._is_held = is_held  # by the caller: there is nothing to close, and no limit
        self.tries = 0
        self.longest = 0.0
        self.period: Period | None = None

    def run(self, work: Callable[[Limit], _T], meanwhile: Callable[[Limit], object]) -> _T:
        """What `work` returns; between two tries `meanwhile` is done, with the gate open."""
        self.period = None
        for self.tries in range(1, _TRIES + 1):
            began = time.monotonic()
            if self._is_held:
                found = work(Limit(self._watch, is_closed=True))
                self.longest = max(self.longest, time.monotonic() - began)
                return found
            with ExitStack() as stack:
                try:
                    period = stack.enter_context(self._timed(began))
                except UnavailableError:
                    self._rest(_BREATH)
                    continue
                try:
                    found = work(Limit(self._watch, self._most, is_closed=True, since_ns=period.since_ns))
                    self.period = period
                    return found
                except TooLongError:
                    pass
            if self.tries < _TRIES:
                self._rest(_SETTLING)
                meanwhile(Limit(self._watch, is_closed=False))
        return work(Limit(self._watch, is_closed=False))

    @contextmanager
    def _timed(self, began: float) -> Iterator[Period]:
        had = False
        try:
            with self._gate.closed() as period:
                had = True
                yield period
        finally:
            if had:
                self.longest = max(self.longest, time.monotonic() - began)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._watch.check()
            time.sleep(_BREATH)

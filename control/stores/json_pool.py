"""JSON made in other processes, so that reading, hashing and writing go on meanwhile.

Rules:

- Helpers are spawned when the first large block comes; small ones are not worth it and are made here.
- A helper inherits nothing but two pipes and the log: no lock, no connection. It dies with this process.

>>> with JsonPool(2) as pool: pool.make(raw).result()        # doctest: +SKIP
Lines(text=b'{ "_id" : …
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import IO, cast

from ..errors import UnavailableError
from . import json_program
from .json_lines import Lines, lines_of

_SMALL = 100_000  # bytes that are made at once here
_MOST_HELPERS = 4
_LARGE = 4 << 20  # bytes from which on the helpers' memory goes back to the system at once
_END_SECONDS = 5.0

_Task = tuple[bytes, "Future[Lines]"]


def helpers_here() -> int:
    """How many helpers this machine is good for."""
    return max(1, min(_MOST_HELPERS, len(os.sched_getaffinity(0))))


class JsonPool:
    """Helpers that make lines of JSON; use it as a context."""

    def __init__(self, helpers: int) -> None:
        self._most = helpers
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._programs: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> JsonPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make(self, raw: bytes) -> Future[Lines]:
        """The lines of whole documents, in time; `result` raises UnavailableError where the helper was lost."""
        future: Future[Lines] = Future()
        if len(raw) <= _SMALL:
            future.set_result(lines_of(raw))
            return future
        self._tasks.put((raw, future))
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name="json", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self) -> None:
        """End the helpers, whatever they are at."""
        with self._lock:
            self._closed = True
            programs = list(self._programs)
        for program in programs:
            program.kill()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(_END_SECONDS)
        with contextlib.suppress(queue.Empty):
            while True:
                task = self._tasks.get_nowait()
                if task is not None:
                    task[1].set_exception(_lost())

    def _work(self) -> None:
        """One helper's side here: a block to it, the lines from it."""
        program: subprocess.Popen[bytes] | None = None
        while (task := self._tasks.get()) is not None:
            raw, future = task
            try:
                if program is None:
                    program = self._spawn()
                sink, source = cast(IO[bytes], program.stdin), cast(IO[bytes], program.stdout)
                json_program.ask(sink, raw)  # type: ignore[arg-type]
                future.set_result(json_program.answer(source))  # type: ignore[arg-type]
            except (OSError, EOFError, ValueError) as error:
                future.set_exception(_lost(error))
            del raw, future, task
        if program is not None:
            _end(program)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise EOFError("no longer wanted")
            program = subprocess.Popen(  # noqa: S603  (this very program, no shell)
                [sys.executable, "-m", f"{__package__}.json_program"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "MALLOC_MMAP_THRESHOLD_": str(_LARGE)},
                start_new_session=True,
            )
            self._programs.append(program)
            return program


def _end(program: subprocess.Popen[bytes]) -> None:
    for pipe in (program.stdin, program.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        program.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _lost(error: Exception | None = None) -> UnavailableError:
    lost = UnavailableError(
        "ended before its work was done.", subject="the program that makes JSON", hint="Try again; nothing was stored."
    )
    lost.__cause__ = error
    return lost

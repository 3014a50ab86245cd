"""Helper programs: work is sent to them in frames, and comes back in frames, while this process goes on.

Rules:

- A program is spawned when the first work comes for it; it is this Python, and inherits nothing but two pipes and the
  log: no lock, no connection.
- It lives as long as the pipe from its parent: when that ends, however its parent ended, it ends.
- One that is lost fails the work that it had; for the next there is a new one.

>>> with Programs("keyframe.stores.file_program", 2) as programs: programs.ask(b"…", print, print)     # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar, cast

from ..errors import UnavailableError

_SIZE = struct.Struct("<Q")
_END_SECONDS = 5.0

Sink = Callable[[bytes], object]
Fail = Callable[[Exception], object]
_T = TypeVar("_T")


class _Work(NamedTuple):
    request: bytes
    sink: Sink
    fail: Fail


class Programs:
    """Some programs of one kind; use it as a context."""

    def __init__(self, module: str, most: int, env: Mapping[str, str] | None = None) -> None:
        self._module = module
        self._most = most
        self._env = {**os.environ, **(env or {})}
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.running: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self.is_closed = False

    def __enter__(self) -> Programs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, request: bytes, sink: Sink, fail: Fail) -> None:
        """Give work to the next program that is free. Called in another thread: `sink` for each frame of the answer
        but the empty one, which is the last; or `fail`, with an UnavailableError, where the program is lost."""
        self._waiting.put(_Work(request, sink, fail))
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._serve, name="helper", daemon=True)
            self._threads.append(thread)
            thread.start()

    def ask_one(self, request: bytes, read: Callable[[bytes], _T], future: Future[_T]) -> None:
        """Give work whose answer is one frame; `future` gets what `read` makes of it."""

        def sink(frame: bytes) -> None:
            if frame and future.set_running_or_notify_cancel():
                future.set_result(read(frame))

        def fail(error: Exception) -> None:
            if not (future.done() or future.cancelled()):
                future.set_exception(error)

        self.ask(request, sink, fail)

    def begin(self) -> None:
        """Start them all, ahead of work."""
        for _ in range(self._most):
            self.ask(b"", _nothing, _nothing)

    def close(self) -> None:
        """End the programs, whatever they are at."""
        with self._lock:
            self.is_closed = True
            running = list(self.running)
        for program in running:
            program.kill()
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(_END_SECONDS)
        with contextlib.suppress(queue.Empty):
            while True:
                work = self._waiting.get_nowait()
                if work is not None:
                    work.fail(lost())

    def _serve(self) -> None:
        """One program's side here."""
        program: subprocess.Popen[bytes] | None = None
        while (work := self._waiting.get()) is not None:
            try:
                if program is None or program.poll() is not None:
                    program = self._spawn()
                pipes = cast(IO[bytes], program.stdin), cast(IO[bytes], program.stdout)
                send(pipes[0], work.request)
                while frame := receive(pipes[1]):
                    work.sink(frame)
                work.sink(b"")
            except Exception as error:
                if program is not None:
                    program.kill()
                    _end(program)
                    program = None
                work.fail(lost(error))
            del work
        if program is not None:
            _end(program)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self.is_closed:
                raise EOFError("no longer wanted")
            program = subprocess.Popen(  # noqa: S603  (this very program, no shell)
                [sys.executable, "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._env,
                start_new_session=True,
            )
            self.running.append(program)
            return program


def _nothing(_: object) -> None:
    """Nobody waits for it."""


def send(sink: IO[bytes], frame: bytes) -> None:
    """Send a frame; an empty one ends an answer."""
    sink.write(_SIZE.pack(len(frame)))
    sink.write(frame)
    sink.flush()


def receive(source: IO[bytes]) -> bytes:
    """The next frame. Raises EOFError where the other side is gone."""
    return _exactly(source, _SIZE.unpack(_exactly(source, _SIZE.size))[0])


def _exactly(source: IO[bytes], size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise EOFError("the other side is gone")
    return content


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


def lost(error: Exception | None = None) -> UnavailableError:
    """A program ended before its work was done."""
    found = UnavailableError(
        "ended before its work was done.", subject="a helper program", hint="Try again; nothing was stored."
    )
    found.__cause__ = error
    return found


def be_nice(by: int) -> None:
    """Step behind others, also where the kernel weighs sessions, not processes (sched(7), autogroup)."""
    if by:
        os.nice(by)
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(by), encoding="ascii")


def answers(answer: Callable[[bytes], Any]) -> None:
    """A program's own side: answer requests, each with frames, until the pipe ends."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        try:
            request = receive(source)
        except EOFError:
            return
        try:
            for frame in answer(request) if request else ():
                send(sink, frame)
            send(sink, b"")
        except BrokenPipeError:  # whoever asked is gone
            os._exit(0)

"""Reading files for their digests, in several threads, with a bounded number of them open.

Rules:

- Bytes come from the disk: what memory remembers of a file is dropped first (a page that is right in memory says
  nothing about the disk), and again afterwards, so that a verification does not push out what the site works with.
- Results come in the order in which the files were given.
- Whoever stops early closes all files: use it with `with`.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

CHUNK = 1 << 20
_THREADS = min(4, max(2, os.cpu_count() or 1))
_BATCH_FILES, _BATCH_BYTES = 32, 8 << 20  # of one task of a thread; small files are many to a task
_TASKS = 2 * _THREADS  # given to the threads at once, hence at most 256 open files
_LOOK = 0.2  # seconds between two looks whether to stop


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: how many bytes, how many line feeds, their digest. `error`: it could not be read to its end."""

    bytes: int = 0
    lines: int = 0
    sha256: str = ""
    error: OSError | None = None


Sink = Callable[[Read], None]


class Readings:
    """Threads that read; `add` and `finish` are for one thread, to which the sinks report."""

    def __init__(self, told: Callable[[int], None]) -> None:
        """`told` gets the number of bytes read so far (as far as they count), now and then; it may raise to stop."""
        self._told = told
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, "verify")
        self._batch: list[tuple[IO[bytes], bool, Sink]] = []
        self._batch_bytes = 0
        self._tasks: deque[tuple[Future[list[Read]], list[tuple[IO[bytes], bool, Sink]]]] = deque()
        self._bytes = 0

    def __enter__(self) -> Readings:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        left = [*self._batch, *(one for _, batch in self._tasks for one in batch)]
        for file in [one[0] for one in left]:
            file.close()

    def add(self, descriptor: int, size: int, sink: Sink, *, lines: bool = False) -> None:
        """Read this file, close it, and tell `sink`, sooner or later; `lines`: count its line feeds, not its bytes."""
        self._batch.append((open(descriptor, "rb", buffering=0), lines, sink))  # noqa: SIM115  (closed by its thread)
        self._batch_bytes += size
        if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
            self._give()

    def count(self, number: int) -> None:
        """Bytes that the caller read himself."""
        with self._lock:
            self._bytes += number
        self._told(self._bytes)

    def finish(self) -> None:
        """Wait for all that was given; the sinks have been told afterwards."""
        self._give()
        while self._tasks:
            self._take()
        self._told(self._bytes)

    def _give(self) -> None:
        while len(self._tasks) >= _TASKS:
            self._take()
        if self._batch:
            batch, self._batch, self._batch_bytes = self._batch, [], 0
            self._tasks.append((self._pool.submit(self._read_all, batch), batch))

    def _take(self) -> None:
        future, batch = self._tasks[0]
        while True:
            self._told(self._bytes)
            try:
                found = future.result(_LOOK)
                break
            except NotYetError:
                continue
        self._tasks.popleft()
        for (_, _, sink), read in zip(batch, found, strict=True):
            sink(read)

    def _read_all(self, batch: list[tuple[IO[bytes], bool, Sink]]) -> list[Read]:
        return [self._read(file, lines) for file, lines, _ in batch]

    def _read(self, file: IO[bytes], count_lines: bool) -> Read:
        digest = hashlib.sha256()
        size = lines = 0
        with file:
            try:
                forget(file.fileno())
                while not self._stop.is_set() and (chunk := file.read(CHUNK)):
                    digest.update(chunk)
                    size += len(chunk)
                    if count_lines:
                        lines += chunk.count(b"\n")
                        continue
                    with self._lock:
                        self._bytes += len(chunk)
                forget(file.fileno())
            except OSError as error:
                return Read(size, error=error)
        return Read(size, lines, digest.hexdigest())


def forget(descriptor: int) -> None:
    """Drop what memory remembers of a file."""
    with suppress(OSError):
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

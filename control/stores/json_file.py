"""The JSON file of one collection, written in a thread: lines made anew, and lines taken over from an older file.

Rules:

- Lines come in the order in which they were asked for; what is written is hashed on the way.
- An older file is hashed to its end while lines are taken from it: only then it is known that they were good.
- What waits to be written is bounded in bytes.

>>> json = JsonFile(path, pool, None, check)     # doctest: +SKIP
>>> json.make(block.raw)
>>> json.close().sha256
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from ..model import Inexact
from .blocks import blocks_of
from .json_lines import Lines
from .json_pool import JsonPool
from .written import Written

MOST_NAMED = 100  # inexact documents that are listed; all are counted
_MOST_WAITING = 8 << 20  # bytes of documents
_LOOK_UP = 0.2  # seconds
_CHUNK = 1 << 20

TAKE, SKIP, MAKE = "take", "skip", "make"
Op = tuple[str, int]  # take lines from the older file, skip lines there, lines that were made


class OlderDamagedError(Exception):
    """The older file does not hold what its manifest says: nothing of it may be used."""


class OlderLines:
    """The lines of an older JSON file, one after another."""

    def __init__(self, path: Path, sha256: str, inexact: Iterable[Inexact]) -> None:
        self._file: IO[bytes] = open(path, "rb", buffering=0)  # noqa: SIM115  (closed by close)
        self._digest = hashlib.sha256()
        self._sha256 = sha256
        self._inexact = tuple(inexact)
        self._buffer = b""
        self._at = 0
        self._line = 0

    def take(self, count: int) -> Iterator[bytes]:
        """The next lines, in pieces."""
        self._line += count
        left = count
        while left:
            at = self._at
            while left and (end := self._buffer.find(b"\n", at)) >= 0:
                at = end + 1
                left -= 1
            if at > self._at:
                yield self._buffer[self._at : at]
                self._at = at
            if left and not self._fill():
                raise OlderDamagedError

    def inexact(self, count: int) -> list[Inexact]:
        """Which of the next lines are not exact, counted from the first of these."""
        last = self._line + count
        return [replace(one, line=one.line - self._line) for one in self._inexact if self._line < one.line <= last]

    def finish(self) -> None:
        """Read it to its end. Raises OlderDamagedError where it is not what was written."""
        while self._fill():
            self._at = len(self._buffer)
        if self._digest.hexdigest() != self._sha256:
            raise OlderDamagedError

    def close(self) -> None:
        self._file.close()

    def _fill(self) -> bool:
        try:
            chunk = self._file.read(_CHUNK)
        except OSError as error:
            raise OlderDamagedError from error
        self._digest.update(chunk)
        rest = self._buffer[self._at :]
        self._buffer = rest + chunk if rest else chunk
        self._at = 0
        return bool(chunk)


@dataclass(slots=True)
class _Task:
    ops: tuple[Op, ...]  # empty: all that was made
    made: Future[Lines] | None
    weight: int


@dataclass(slots=True)
class JsonSum:
    """What was written: bytes, digest, and which lines are not exact (the first of them, and how many)."""

    bytes: int = 0
    sha256: str = ""
    inexact: int = 0
    named: list[Inexact] = field(default_factory=list)


class JsonFile:
    """Writes the lines of one collection; whoever stops half-way calls `abandon`."""

    def __init__(self, path: Path, pool: JsonPool, older: OlderLines | None, check: Callable[[], None]) -> None:
        self._path = path
        self._pool = pool
        self._older = older
        self._check = check
        self._out = Written(path)
        self._sum = JsonSum()
        self._lines = 0
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._waiting = 0
        self._room = threading.Condition()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="json file", daemon=True)
        self._thread.start()

    def has_room(self, weight: int) -> bool:
        """Whether so many bytes of documents can be taken without waiting."""
        with self._room:
            return not self._waiting or self._waiting + weight <= _MOST_WAITING

    def make(self, raw: bytes, ops: tuple[Op, ...] = ()) -> None:
        """Write the lines of these documents; with `ops` these lines are put among those of the older file.

        Raises
        ------
        OlderDamagedError, UnavailableError, OSError: whatever went wrong with an earlier one.
        """
        weight = len(raw)
        with self._room:
            while self._waiting and self._waiting + weight > _MOST_WAITING:
                self._room.wait(_LOOK_UP)
                self._check()
            self._waiting += weight
        self._raise()
        self._tasks.put(_Task(ops, self._pool.make(raw) if raw else None, weight))

    def close(self) -> JsonSum:
        """End it; errors as `make`."""
        self._tasks.put(None)
        while self._thread.is_alive():
            self._thread.join(_LOOK_UP)
            self._check()
        self._raise()
        self._sum.bytes, self._sum.sha256 = self._out.bytes, self._out.close()
        if self._older is not None:
            self._older.close()
        return self._sum

    def abandon(self) -> None:
        """Close the file, half as it is; the pool is closed already, or nothing waits for it."""
        self._error = self._error or OlderDamagedError()
        self._tasks.put(None)
        self._thread.join()
        self._out.abandon()
        if self._older is not None:
            self._older.close()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._error is None:
                try:
                    self._write(task)
                except BaseException as error:  # told to whoever asks for more lines
                    self._error = error
            with self._room:
                self._waiting -= task.weight
                self._room.notify()
        if self._error is None and self._older is not None:
            try:
                self._older.finish()
            except OlderDamagedError as error:
                self._error = error

    def _write(self, task: _Task) -> None:
        made = task.made.result() if task.made is not None else Lines(b"")
        if not task.ops:
            self._note(Inexact(*one) for one in made.inexact)
            self._out.write(made.text)
            self._lines += made.text.count(b"\n")
            return
        pieces: list[bytes] = []
        size = at = line = 0  # the latter two in what was made
        for act, count in task.ops:
            if act == MAKE:
                end = at
                for _ in range(count):
                    end = made.text.index(b"\n", end) + 1
                self._note(Inexact(one[0] - line, *one[1:]) for one in made.inexact if line < one[0] <= line + count)
                pieces.append(made.text[at:end])
                at, line = end, line + count
                self._lines += count
                continue
            if self._older is None:
                raise RuntimeError("there is no older file")
            if act == TAKE:
                self._note(self._older.inexact(count))
                self._lines += count
            for piece in self._older.take(count):
                if act == TAKE:
                    pieces.append(piece)
                    size += len(piece)
                if size >= _CHUNK:
                    self._out.write(b"".join(pieces) if len(pieces) != 1 else pieces[0])
                    pieces, size = [], 0
        self._out.write(b"".join(pieces))

    def _note(self, inexact: Iterable[Inexact]) -> None:
        for one in inexact:
            self._sum.inexact += 1
            if len(self._sum.named) < MOST_NAMED:
                self._sum.named.append(Inexact(self._lines + one.line, one.id, one.reason))


def json_anew(bson: Path, path: Path, pool: JsonPool, check: Callable[[], None]) -> JsonSum:
    """Write all lines of a dump anew."""
    json = JsonFile(path, pool, None, check)
    try:
        for block in blocks_of(bson):
            json.make(block.raw)
        return json.close()
    except BaseException:
        json.abandon()
        raise

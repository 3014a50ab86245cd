"""What helper programs do of a make: copying many small files, sharing them, walking through large trees.

Rules:

- Copying and sharing is nicer than those who wait for an answer of the site; a walk is not, writers may wait for it.
- A walk is parted among them by the directories of one level, and told in the order in which one process would.

>>> with Helpers(2) as helpers: helpers.take(work).result()        # doctest: +SKIP
Taken(…)
"""

from __future__ import annotations

import contextlib
import os
import queue
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TypeVar

import msgspec

from ..errors import Problem
from ..stores import file_program
from ..stores.file_program import LINK, NICE, TAKE, WALK, Links, Seen, Walk
from ..stores.json_pool import helpers_here
from ..stores.programs import Programs, lost
from ..stores.sheets import Sheet
from ..stores.taking import Taken, Work
from ..stores.trees import ProblemSink, Tree
from ..stores.walking import Stored, branches, sheets_beside
from .watches import Watch

_MODULE = file_program.__name__
_NICE = 10
WORTH_COPYING = 500  # files
WORTH_WALKING = 20_000  # paths
_BRANCHES = 16
_PARTS = 64  # of a walk
_FRAMES = 64  # of a part that wait to be taken
_encode = msgspec.msgpack.Encoder().encode
_T = TypeVar("_T")


class Helpers:
    """Those of one make; use it as a context. None is started before it is needed."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most or helpers_here()
        self._copying = Programs(_MODULE, self._most, {NICE: str(_NICE)})
        self._walking = Programs(_MODULE, self._most)

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, *_: object) -> None:
        self._copying.close()
        self._walking.close()

    def begin(self, paths: int) -> None:
        """Make ready for a scope of about so many paths."""
        if paths >= WORTH_WALKING:
            self._walking.begin()

    def take(self, work: Work) -> Future[Taken]:
        """Take files into a draft; errors as of `take_all`, and UnavailableError."""
        return self._one(TAKE + _encode(work), Taken)

    def link(self, work: Links) -> Future[list[bytes]]:
        """Share files; the names of those that could not be linked."""
        return self._one(LINK + _encode(work), list[bytes])

    def _one(self, request: bytes, kind: type[_T]) -> Future[_T]:
        future: Future[_T] = Future()
        self._copying.ask_one(request, lambda frame: msgspec.msgpack.decode(frame, type=kind), future)
        return future

    def sheets(
        self, tree: Tree, paths: int, problem: ProblemSink, watch: Watch, stored: Stored | None = None
    ) -> Iterator[Sheet]:
        """As `sheets_beside`; in a tree of many `paths` helpers walk, and begin at once."""
        if paths < WORTH_WALKING:
            return sheets_beside(tree, stored, problem)
        prefixes = branches(tree, _BRANCHES)
        size = -(-len(prefixes) // _PARTS) or 1
        parts: dict[str, tuple[_Part, int]] = {}
        for begin in range(0, len(prefixes), size):
            some = prefixes[begin : begin + size]
            part = _Part(watch, self._walking)
            parts |= {prefix: (part, number) for number, prefix in enumerate(some)}
            self._walking.ask(WALK + _encode(_walk_of(tree, some, stored)), part.sink, part.fail)
        return self._in_order(tree, problem, stored, parts)

    def _in_order(
        self, tree: Tree, problem: ProblemSink, stored: Stored | None, parts: dict[str, tuple[_Part, int]]
    ) -> Iterator[Sheet]:
        try:
            yield from sheets_beside(tree, stored, problem, lambda prefix: _elsewhere(parts, prefix, tree, problem))
        except BaseException:
            _unwanted(parts)
            self._walking.close()
            self._walking = Programs(_MODULE, self._most)
            raise
        finally:
            _unwanted(parts)


def _unwanted(parts: dict[str, tuple[_Part, int]]) -> None:
    """Let go of what was not taken: a thread may wait for it."""
    for part, _ in parts.values():
        part.is_unwanted = True


def _walk_of(tree: Tree, prefixes: list[str], stored: Stored | None) -> Walk:
    excluded = tree.excluded
    patterns = [(one.site, one.project) for one in excluded.patterns]
    names = list(map(os.fsencode, prefixes))
    place = None if stored is None else (str(stored.folder), stored.device)
    return Walk(str(tree.root), tree.reserved, excluded.scope.key, patterns, names, place, tree.since, tree.bare)


class _Part:
    """Some directories of a walk, on their way."""

    def __init__(self, watch: Watch, programs: Programs) -> None:
        self._watch = watch
        self._programs = programs
        self._frames: queue.Queue[Seen | None] = queue.Queue(_FRAMES)
        self._rest: Seen | None = None
        self.is_unwanted = False

    def sink(self, frame: bytes) -> None:
        """In a thread of the helpers."""
        if frame:
            self._put(msgspec.msgpack.decode(frame, type=Seen))

    def fail(self, _: Exception) -> None:
        self._put(None)

    def _put(self, seen: Seen | None) -> None:
        while not (self.is_unwanted or self._programs.is_closed):
            with contextlib.suppress(queue.Full):
                self._frames.put(seen, timeout=0.5)
                return

    def seen(self, number: int) -> Iterator[Seen]:
        """What was found below the directory of that number; ask in order."""
        while True:
            found = self._next()
            if found.number > number:
                self._rest = found
                return
            if found.number == number:
                yield found
                if found.is_last:
                    return

    def _next(self) -> Seen:
        if self._rest is not None:
            found, self._rest = self._rest, None
            return found
        while True:
            try:
                seen = self._frames.get(timeout=0.5)
            except queue.Empty:
                self._watch.check()
                continue
            if seen is None:
                raise lost()
            return seen


def _elsewhere(
    parts: dict[str, tuple[_Part, int]], prefix: str, tree: Tree, problem: ProblemSink
) -> Iterator[Sheet] | None:
    found = parts.get(prefix)
    return None if found is None else _told(*found, tree, problem)


def _told(part: _Part, number: int, tree: Tree, problem: ProblemSink) -> Iterator[Sheet]:
    for seen in part.seen(number):
        for path, code, what, subject, hint in seen.problems:
            problem(os.fsdecode(path), Problem(code, what, subject, hint))
        for path in seen.left_out:
            tree.tell(os.fsdecode(path))
        yield from seen.sheets

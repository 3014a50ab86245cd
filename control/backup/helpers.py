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
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Protocol, TypeVar

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

_MODULE = file_program.__name__
_NICE = 10
WORTH_COPYING = 500  # files
WORTH_WALKING = 20_000  # paths
_SOON = 4  # a walk of unknown length is parted when it has told of that part of them
_BRANCHES = 16
_PARTS = 64  # of a walk
_FRAMES = 64  # of a part that wait to be taken
_encode = msgspec.msgpack.Encoder().encode
_T = TypeVar("_T")


class _Checks(Protocol):
    """Asked while a walk waits for helpers; may raise to stop it. A watch is one, and the limit of a closed gate."""

    def check(self) -> None: ...


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

    def link(self, work: list[Links]) -> Future[list[list[bytes]]]:
        """Share files; of each directory the names of those that could not be linked."""
        return self._one(LINK + _encode(work), list[list[bytes]])

    def _one(self, request: bytes, kind: type[_T]) -> Future[_T]:
        future: Future[_T] = Future()
        self._copying.ask_one(request, lambda frame: msgspec.msgpack.decode(frame, type=kind), future)
        return future

    def sheets(
        self, tree: Tree, paths: int, problem: ProblemSink, watch: _Checks, stored: Stored | None = None
    ) -> Iterator[Sheet]:
        """As `sheets_beside`; in a tree of many `paths` helpers walk, and begin at once; in one that turns out to have
        many, from there on."""
        walk = _Parted(tree, stored, self._walking, watch)
        if paths >= WORTH_WALKING:
            walk.part()
        return self._in_order(walk, problem)

    def _in_order(self, walk: _Parted, problem: ProblemSink) -> Iterator[Sheet]:
        try:
            yield from walk.sheets(problem)
        except BaseException:
            walk.let_go()
            self._walking.close()
            self._walking = Programs(_MODULE, self._most)
            raise
        finally:
            walk.let_go()


class _Parted:
    """A walk of which others may do some branches."""

    def __init__(self, tree: Tree, stored: Stored | None, programs: Programs, watch: _Checks) -> None:
        self._tree = tree
        self._stored = stored
        self._programs = programs
        self._watch = watch
        self._paths = 0  # so far
        self._parts: dict[str, tuple[_Part, int]] | None = None  # None: it has not been parted
        self._ahead: deque[_Part] = deque()  # those that are still to be taken, in order

    def part(self, prefix: str = "") -> None:
        """Leave all branches from that directory on to others."""
        self._parts = {}
        prefixes = [one for one in branches(self._tree, _BRANCHES) if os.fsencode(one) >= os.fsencode(prefix)]
        size = -(-len(prefixes) // _PARTS) or 1
        for begin in range(0, len(prefixes), size):
            some = prefixes[begin : begin + size]
            part = _Part(self._watch, self._programs)
            self._ahead.append(part)
            self._parts |= {one: (part, number) for number, one in enumerate(some)}
            self._programs.ask(WALK + _encode(_walk_of(self._tree, some, self._stored)), part.sink, part.fail)

    def sheets(self, problem: ProblemSink) -> Iterator[Sheet]:
        """All, in order."""
        for sheet in sheets_beside(self._tree, self._stored, problem, lambda prefix: self._elsewhere(prefix, problem)):
            self._paths += len(sheet)
            yield sheet

    def _elsewhere(self, prefix: str, problem: ProblemSink) -> Iterator[Sheet] | None:
        if self._parts is None:
            if self._paths < WORTH_WALKING // _SOON:
                return None
            self.part(prefix)
        found = (self._parts or {}).get(prefix)
        if found is None:
            return None
        # Those before it vanished since they were listed: nobody asks for them, and they would hold up who walks there.
        while self._ahead[0] is not found[0]:
            self._ahead.popleft().is_unwanted = True
        return _told(*found, self._tree, problem)

    def let_go(self) -> None:
        """Do not wait for what was not taken; a thread may wait for that."""
        for part in self._ahead:
            part.is_unwanted = True


def _walk_of(tree: Tree, prefixes: list[str], stored: Stored | None) -> Walk:
    excluded = tree.excluded
    patterns = [(one.site, one.project) for one in excluded.patterns]
    names = list(map(os.fsencode, prefixes))
    keeping = None if stored is None else (stored.keeping.owners, stored.keeping.modes, stored.keeping.grain)
    place = None if stored is None or keeping is None else (str(stored.folder), stored.device, keeping)
    return Walk(str(tree.root), tree.reserved, excluded.scope.key, patterns, names, place, tree.since, tree.bare)


class _Part:
    """Some directories of a walk, on their way."""

    def __init__(self, watch: _Checks, programs: Programs) -> None:
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
                seen = self._frames.get(timeout=0.1)
            except queue.Empty:
                self._watch.check()
                continue
            if seen is None:
                raise lost()
            return seen


def _told(part: _Part, number: int, tree: Tree, problem: ProblemSink) -> Iterator[Sheet]:
    for seen in part.seen(number):
        for path, code, what, subject, hint in seen.problems:
            problem(os.fsdecode(path), Problem(code, what, subject, hint))
        for path in seen.left_out:
            tree.tell(os.fsdecode(path))
        yield from seen.sheets

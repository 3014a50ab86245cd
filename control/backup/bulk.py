"""The bulk of a directory copy: every file that has no stored copy is read, hashed and copied, several at a time.

Rules:

- Nobody is kept from writing meanwhile; a file that cannot be read now is left to the second look.
- Notes leave in the order in which they came. A hard link of a file that was just copied is not copied again.
- Threads copy, and look after each piece of a file whether they shall stop. Where many small files are to be copied,
  it is helpers that do it: threads of one Python take turns, and a small file is nothing but turns.

>>> Bulk(draft, live, watch, keep, helpers).run(read_items(path), writer, total)      # doctest: +SKIP
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

import msgspec

from ..errors import CancelledError
from ..model import Progress
from ..stores.copies import TargetError
from ..stores.rows import UNKNOWN, Noted, Row, noted_of, stat_bytes
from ..stores.taking import Taken, Work, take_all
from ..stores.trees import Tree
from .helpers import Helpers
from .row_files import Item, RowWriter
from .watches import Watch

_THREADS = max(2, min(4, os.cpu_count() or 2))
_AHEAD = 4 * _THREADS  # pieces of work on their way
_LARGE = 8_000_000  # bytes of a piece of work that helpers do: a thread can be stopped in the middle
_MOST_TWINS = 50_000

KeepRow = Callable[[Row], None]
KeepSheet = Callable[[Noted], None]
_Waiting = tuple[Noted, "list[Future[Taken]]", int]


class Bulk:
    """Copies into one draft."""

    def __init__(
        self, target: Tree, live: Tree, watch: Watch, keep: tuple[KeepRow, KeepSheet], helpers: Helpers | None
    ) -> None:
        self._places = str(live.root), str(target.root)
        self._watch = watch
        self._keep_row, self._keep_sheet = keep  # told of what was read
        self._helpers = helpers
        self._stopping = threading.Event()
        self._read = 0  # bytes, by all
        self._total = 0
        self._reading = threading.Lock()
        self._firsts: dict[tuple[int, int], Row | None] = {}  # of files with several links: the one that is copied

    def run(self, items: Iterable[Item], out: RowWriter, total: int) -> None:
        """Write the notes back, completed; files that could not be read are missing.

        `total`: about how many bytes will be read.

        Raises
        ------
        TargetError: the draft cannot be written. CancelledError: as the watch says. UnavailableError: a helper is lost.
        """
        waiting: deque[_Waiting] = deque()
        self._total = total
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="copy") as pool:
            try:
                for noted in self._sheets(items):
                    waiting.append(self._begin(noted, pool))
                    while len(waiting) > _AHEAD:
                        self._give(waiting.popleft(), out)
                while waiting:
                    self._give(waiting.popleft(), out)
            except BaseException:
                self._stopping.set()
                for _, pieces, _ in waiting:
                    for one in pieces:
                        one.cancel()
                raise

    def _sheets(self, items: Iterable[Item]) -> Iterator[Noted]:
        for item in items:
            self._watch.check()
            if isinstance(item, Noted):  # the first look writes nothing else
                yield item

    def _begin(self, noted: Noted, pool: ThreadPoolExecutor) -> _Waiting:
        rows: dict[int, Row] = {}
        if not noted.is_waiting():
            for number, row in noted.odd.items():
                self._note_twin(row)
                if _is_work(row):
                    rows[number] = row
            if not rows:
                return noted, [], 0
        sizes = noted.sheet.sizes()
        if not rows and sum(sizes) > _LARGE:  # several at a time, and each is known as soon as it is copied
            rows = {number: row for number, row in enumerate(noted.rows()) if _is_work(row)}
            noted = msgspec.structs.replace(noted, digests=bytes(len(UNKNOWN) * len(noted.sheet)))
        size = sum(sizes[number] for number in rows) if rows else sum(sizes)
        if self._helpers is not None and size <= _LARGE:
            return noted, [self._helpers.take(Work(*self._places, None if rows else noted, rows))], size
        if not rows:
            return noted, [pool.submit(take_all, Work(*self._places, noted, {}), self._alive)], 0
        works = [Work(*self._places, None, some) for some in _parted(rows, sizes)]
        return noted, [pool.submit(take_all, work, self._alive) for work in works], 0

    def _note_twin(self, row: Row) -> None:
        """Mark a further link of a file that is being copied under another name."""
        inode = (row.stat.device, row.stat.inode)
        if _is_work(row) and row.links > 1 and not row.expected:
            if inode in self._firsts:
                row.copy = b"?"  # its twin is still on its way
            elif len(self._firsts) < _MOST_TWINS:
                self._firsts[inode] = None

    def _give(self, waiting: _Waiting, out: RowWriter) -> None:
        noted, pieces, size = waiting
        taken = self._joined(pieces)
        self._read += size
        self._tell()
        if taken.digests and not taken.rows and not taken.missing and not noted.odd:
            done = msgspec.structs.replace(noted, digests=taken.digests)
            self._keep_sheet(done)
            out.note(done)
        elif not pieces and not any(row.copy == b"?" for row in noted.odd.values()):
            out.note(noted)
        elif not taken.digests and self._is_simple(noted, taken):
            out.note(noted.with_rows(taken.rows))
        else:
            self._give_rows(noted, taken, out)

    def _joined(self, pieces: list[Future[Taken]]) -> Taken:
        """What was taken of one sheet; rows are remembered at once."""
        rows: dict[int, Row] = {}
        missing: tuple[int, ...] = ()
        digests = b""
        for piece in pieces:
            taken = self._wait(piece)
            rows |= taken.rows
            missing += taken.missing
            digests = taken.digests
            for row in taken.rows.values():
                self._keep_row(row)
        return Taken(digests, rows, missing)

    def _is_simple(self, noted: Noted, taken: Taken) -> bool:
        """Whether what was taken of a sheet is just what was asked for, and nobody waits for it."""
        return not taken.missing and all(
            row.links == 1 and stat_bytes(row) == _at(noted, number)
            for number, row in {**noted.odd, **taken.rows}.items()
        )

    def _give_rows(self, noted: Noted, taken: Taken, out: RowWriter) -> None:
        rows: list[Row] = []
        with_digests = Noted(noted.sheet, taken.digests) if taken.digests else noted
        for number, old in enumerate(noted.rows()):
            row = taken.rows.get(number) or (with_digests.row(number) if number not in noted.odd else old)
            if number in taken.missing or not self._is_complete(row):
                continue
            if number not in taken.rows and taken.digests and row.is_file and number not in noted.odd:
                self._keep_row(row)
            rows.append(row)
        is_whole = len(rows) == len(noted.sheet)
        if is_whole and all(stat_bytes(row) == _at(noted, number) for number, row in enumerate(rows)):
            out.note(noted_of(noted.sheet, rows, "" if noted.is_waiting() else noted.folder))
            return
        for row in rows:
            out.add(row)

    def _is_complete(self, row: Row) -> bool:
        """Whether a row is of what was stored; further links are completed by their first."""
        inode = (row.stat.device, row.stat.inode)
        if row.copy == b"?":
            first = self._firsts.get(inode)
            if first is None or first.stat != row.stat:
                return False  # the second look will tell what became of it
            row.copy, row.sha256, row.attributes = first.path, first.sha256, first.attributes
        elif inode in self._firsts and row.is_file and not row.folder:
            self._firsts[inode] = row
        return True

    def _wait(self, future: Future[Taken]) -> Taken:
        while True:
            try:
                taken = future.result(0.2)
            except NotYet:
                self._watch.check()
                self._tell()
                continue
            if taken.fault is not None:
                raise TargetError(*taken.fault)
            return taken

    def _tell(self) -> None:
        self._watch.progress(Progress("copying files", 1, 4, min(self._read, self._total), self._total, "bytes"))

    def _alive(self, piece: bytes = b"") -> None:
        """In the threads."""
        with self._reading:
            self._read += len(piece)
        if self._stopping.is_set():
            raise CancelledError("The copy was stopped.")


def _at(noted: Noted, number: int) -> tuple[bytes, bytes]:
    return noted.sheet.stat(number), noted.sheet.mark(number)


def _parted(rows: dict[int, Row], sizes: list[int]) -> Iterator[dict[int, Row]]:
    """The rows in pieces of work: a thread shall not have all of a large directory."""
    some: dict[int, Row] = {}
    size = 0
    for number, row in rows.items():
        some[number] = row
        size += sizes[number]
        if size >= _LARGE // _THREADS:
            yield some
            some, size = {}, 0
    if some:
        yield some


def _is_work(row: Row) -> bool:
    return row.is_file and not row.sha256 and row.copy != b"?"

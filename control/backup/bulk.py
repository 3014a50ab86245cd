"""The bulk of a directory copy: every file that has no stored copy is read, hashed and copied, in several threads.

Rules:

- Nobody is kept from writing meanwhile; a file that cannot be read now is left to the second look.
- Rows leave in the order in which they came. A hard link of a file that was just copied is not copied again.
- A thread looks after each piece of a file whether it shall stop.

>>> Bulk(stores, draft, live, watch).run(read_rows(path), writer, total)      # doctest: +SKIP
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from ..errors import CancelledError, ChangedError
from ..model import Progress
from ..stores.copies import TargetError
from ..stores.draft_files import DraftFiles
from ..stores.files import Descent, Tree
from .rows import Row, RowWriter, row_of
from .watches import Watch

_THREADS = max(2, min(4, os.cpu_count() or 2))
_AHEAD = 4 * _THREADS  # groups on their way
_GROUP_ROWS = 64
_GROUP_BYTES = 8_000_000
_MOST_TWINS = 50_000

Keep = Callable[[Row], None]
_Taken = list[tuple[Row, bool]]  # a row, and whether its bytes were read just now


class Bulk:
    """Copies into one draft."""

    def __init__(self, target: Tree, live: Tree, watch: Watch, keep: Keep) -> None:
        self._target = target
        self._live = live
        self._watch = watch
        self._keep = keep  # told of each row whose bytes were read
        self._stopping = threading.Event()
        self._read = 0  # bytes, by all threads
        self._total = 0
        self._reading = threading.Lock()
        self._firsts: dict[tuple[int, int], Row | None] = {}  # of files with several links: the one that is copied

    def run(self, rows: Iterable[Row], out: RowWriter, total: int) -> None:
        """Write the rows back, completed; those of files that could not be read are missing.

        `total`: about how many bytes will be read.

        Raises
        ------
        TargetError: the draft cannot be written. CancelledError: as the watch says.
        """
        waiting: deque[Future[_Taken] | _Taken] = deque()
        self._total = total
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="copy") as pool:
            try:
                for group in self._groups(rows):
                    work = any(map(_is_work, group))
                    waiting.append(pool.submit(self._take_group, group) if work else [(row, False) for row in group])
                    while len(waiting) > _AHEAD:
                        self._give(waiting.popleft(), out)
                    self._tell()
                while waiting:
                    self._give(waiting.popleft(), out)
                    self._tell()
            except BaseException:
                self._stopping.set()
                for one in waiting:
                    if isinstance(one, Future):
                        one.cancel()
                raise

    def _tell(self) -> None:
        self._watch.progress(Progress("copying files", 1, 4, min(self._read, self._total), self._total, "bytes"))

    def _groups(self, rows: Iterable[Row]) -> Iterator[list[Row]]:
        group: list[Row] = []
        size = 0
        for row in rows:
            if _is_work(row):
                self._note_twin(row)
                size += row.stat.size
            group.append(row)
            if len(group) >= _GROUP_ROWS or size >= _GROUP_BYTES:
                yield group
                group, size = [], 0
        yield group

    def _note_twin(self, row: Row) -> None:
        """Mark a further link of a file that is being copied under another name."""
        inode = (row.stat.device, row.stat.inode)
        if row.links > 1 and not row.expected:
            if inode in self._firsts:
                row.copy = b"?"  # its twin is still on its way
            elif len(self._firsts) < _MOST_TWINS:
                self._firsts[inode] = None

    def _give(self, group: Future[_Taken] | _Taken, out: RowWriter) -> None:
        rows = self._wait(group) if isinstance(group, Future) else group
        for row, was_read in rows:
            inode = (row.stat.device, row.stat.inode)
            if row.copy == b"?":
                first = self._firsts.get(inode)
                if first is None or first.stat != row.stat:
                    continue  # the second look will tell what became of it
                row.copy, row.sha256, row.attributes = first.path, first.sha256, first.attributes
            elif inode in self._firsts and row.is_file and not row.folder:
                self._firsts[inode] = row
            if was_read:
                self._keep(row)
            out.add(row)

    def _wait(self, group: Future[_Taken]) -> _Taken:
        while True:
            try:
                return group.result(0.2)
            except NotYet:
                self._watch.check()
                self._tell()

    # --- in the threads

    def _take_group(self, group: list[Row]) -> _Taken:
        taken = []
        with DraftFiles(self._target.root) as files, self._live.descent() as live:
            for row in group:
                is_work = _is_work(row)
                one = self._take(row, live, files) if is_work else row
                if one is not None:
                    taken.append((one, is_work))
        return taken

    def _take(self, row: Row, live: Descent, files: DraftFiles) -> Row | None:
        try:
            return take(row, live, files, self._alive)
        except TargetError:
            raise
        except (ChangedError, OSError):
            return None

    def _alive(self, piece: bytes = b"") -> None:
        with self._reading:
            self._read += len(piece)
        if self._stopping.is_set():
            raise CancelledError("The copy was stopped.")


def take(row: Row, live: Descent, files: DraftFiles, alive: Callable[[bytes], object] | None = None) -> Row:
    """Read one file: into the draft, or only its bytes where they may be those of the stored copy.

    Returns
    -------
    The row of what was read. Errors as `copy_file`.
    """
    path, at = os.fsdecode(row.path), time.time_ns()
    if row.expected:
        stat, sha256, attributes = live.digest(path, alive)
        if sha256 == row.expected and attributes == row.attributes:
            found = row_of(path, stat, at, attributes=attributes)
            found.sha256, found.folder, found.copy = sha256, row.folder, row.copy
            return found
        at = time.time_ns()
    entry, stat = files.copy(live, path, alive)
    found = row_of(path, stat, at, attributes=entry.attributes)
    found.sha256 = entry.sha256
    return found


def _is_work(row: Row) -> bool:
    return row.is_file and not row.sha256 and row.copy != b"?"

"""Completing a draft: its directories and links, and what it shares with older snapshots.

Rules:

- A directory comes into being with the first that is put into it, and gets owner and mode when nothing is any more.
- Where many files are shared, helpers link them, some directories at a time; what they cannot link is copied here.

>>> Filling(stores, draft, live, keep, helpers, watch).run(copying.items, limits, paths)       # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet

from ..model import FileEntry, Progress
from ..stores.draft import Draft
from ..stores.draft_files import DraftFiles
from ..stores.file_program import Links
from ..stores.rows import Noted, Row
from ..stores.sheets import FILE, FOLDER
from ..stores.trees import Tree
from .freshening import Freshening, Limits
from .helpers import WORTH_COPYING, Helpers
from .row_files import Item
from .shelf import Shelf
from .stores import Stores
from .watches import Watch

_TOGETHER = 500  # files that are linked in one go, at least
_AHEAD = 8  # goes
_FILE = FILE[0]


class Filling:
    """Completes one draft."""

    def __init__(
        self, stores: Stores, draft: Draft, live: Tree, keep: Callable[[Row], None], helpers: Helpers, watch: Watch
    ) -> None:
        self._root = stores.repository.root
        self._draft = draft
        self._live = live
        self._keep = keep  # told of files whose copy lies elsewhere now
        self._helpers = helpers
        self._watch = watch
        self._to_link: list[tuple[Noted, Links]] = []
        self._linking: deque[tuple[list[Noted], Future[list[list[bytes]]]]] = deque()

    def run(self, items: Callable[[], Iterator[Item]], limits: Limits, paths: int, newest: str) -> None:
        """Do it, and note all sums.

        Parameters
        ----------
        items: what the copy consists of; gone through twice.
        limits: how much of what could be shared is copied anew.
        paths: about how many there are.
        newest: the folder of the newest snapshot, below the repository's root.

        Raises
        ------
        ChangedError: a stored copy that was there when the gate was closed is not any more.
        """
        done = 0
        with (
            DraftFiles(self._draft.files.root) as files,
            Shelf(self._root) as shelf,
            Freshening(limits, self._live, paths, self._watch) as fresh,
        ):
            one = _Filling(files, shelf, fresh, newest, helps=paths >= WORTH_COPYING)
            for item in items():
                if isinstance(item, Noted):
                    self._fill_sheet(item, one)
                    done += len(item.sheet)
                else:
                    for row in item:
                        self._fill_row(row, one)
                        if row.is_file:
                            self._draft.add_sum(b"files/" + row.path, row.sha256)
                    done += len(item)
                self._watch.progress(Progress("sharing files", 4, 4, done, paths, "files"))
            self._link()
            while self._linking:
                self._linked(one)
            _dress(items(), files)

    def _fill_row(self, row: Row, to: _Filling) -> None:
        if row.is_folder:
            return  # it is made for what lies in it, or in the end
        if not row.is_file:
            to.files.add_link(row.entry())
        elif row.folder and to.fresh.take(row, to.files, to.shelf):
            row.folder, row.copy = "", b""
            self._keep(row)
        elif row.folder:
            to.share(row)
            if row.folder != to.newest:
                self._keep(row)
        elif row.copy:
            to.files.twin(os.fsdecode(row.copy), os.fsdecode(row.path), row.sha256)

    def _fill_sheet(self, noted: Noted, to: _Filling) -> None:
        sheet, names = noted.sheet, noted.sheet.names_list()
        others = set(noted.odd)
        if not sheet.is_files:
            others |= {number for number, kind in enumerate(sheet.kinds) if kind != _FILE}
        for number in sorted(others):
            self._fill_row(noted.row(number), to)
        if noted.folder:
            if to.fresh.may_take(noted):
                others |= self._freshened(noted, others, to)
            shared = [name for number, name in enumerate(names) if number not in others] if others else names
            self._share(noted, shared, to)
        self._draft.add_sums(b"files/" + sheet.prefix, *noted.sums())

    def _freshened(self, noted: Noted, others: set[int], to: _Filling) -> set[int]:
        """Those files of a sheet, but for some, that got new copies."""
        found = set()
        for number, row in enumerate(noted.rows()):
            if number not in others and to.fresh.take(row, to.files, to.shelf):
                row.folder, row.copy = "", b""
                self._keep(row)
                found.add(number)
        return found

    def _share(self, noted: Noted, names: list[bytes], to: _Filling) -> None:
        if not names:
            return
        if not to.helps:
            self._share_here(noted, names, to)
            return
        older = str(self._root / noted.folder / "files")
        self._to_link.append((noted, Links(older, str(self._draft.files.root), noted.sheet.prefix, names)))
        if sum(len(links.names) for _, links in self._to_link) >= _TOGETHER:
            self._link()
            if len(self._linking) > _AHEAD:
                self._linked(to)

    def _link(self) -> None:
        if self._to_link:
            future = self._helpers.link([links for _, links in self._to_link])
            self._linking.append(([noted for noted, _ in self._to_link], future))
            self._to_link = []

    def _linked(self, to: _Filling) -> None:
        """Wait for the oldest links; what cannot be linked is copied."""
        sheets, future = self._linking.popleft()
        while True:
            try:
                failed = future.result(0.2)
                break
            except NotYet:
                self._watch.check()
        for noted, names in zip(sheets, failed, strict=True):
            self._share_here(noted, names, to)

    def _share_here(self, noted: Noted, names: list[bytes], to: _Filling) -> None:
        if not names:
            return
        numbers = {name: number for number, name in enumerate(noted.sheet.names_list())}
        for name in names:
            to.share(noted.row(numbers[name]))


class _Filling:
    """What one filling works with."""

    def __init__(self, files: DraftFiles, shelf: Shelf, fresh: Freshening, newest: str, *, helps: bool) -> None:
        self.files = files
        self.shelf = shelf
        self.fresh = fresh
        self.newest = newest
        self.helps = helps

    def share(self, row: Row) -> None:
        self.files.share(self.shelf.of(row.folder), os.fsdecode(row.copy), os.fsdecode(row.path), row.sha256)


def _dress(items: Iterator[Item], files: DraftFiles) -> None:
    """Give all directories owner and mode, each after those below it; those that are empty come into being."""
    waiting: list[FileEntry] = []
    for item in items:
        if isinstance(item, Noted):
            if FOLDER not in item.sheet.kinds:
                continue
            rows = [item.row(number) for number, kind in enumerate(item.sheet.kinds) if kind == FOLDER[0]]
        else:
            rows = [row for row in item if row.is_folder]
        for row in rows:
            while waiting and not _is_below(row, waiting[-1]):
                files.dress(waiting.pop())
            waiting.append(row.entry())
    for folder in reversed(waiting):
        files.dress(folder)


def _is_below(row: Row, folder: FileEntry) -> bool:
    # "a" < "a-b" < "a/b" < "a0": as long as something below "a" may still come, it is not dressed.
    return folder.path == "." or row.path < os.fsencode(folder.path) + b"0"

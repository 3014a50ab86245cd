"""A safety snapshot where the disk has no room for a whole one: what it keeps all the same, and what it leaves out.

Rules:

- It keeps what costs nothing (files with a stored copy, collections that are as in the newest snapshot), and what the
  plan would replace, delete or change: of files each one, of records the whole collection. JSON is not made.
- All else is named as unknown. So neither the restore nor its undo touches it, whatever happens to it meanwhile.
- A folder in which the plan does nothing at all is named once, not each file in it; what is named is what a person
  confirms, and the figures beside it count for nothing.
- Of the files that the plan needs only numbers are held, made of their paths: where two have the same, one is kept that
  need not be.

>>> Reduction(stores, plan, judge).keeps_file(b"edition/1/model.glb")        # doctest: +SKIP
True
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import ChangedError, NoRoomError, Problem
from ..model import BUCKETS, NO_ROOM, Plan, PlanItem
from ..slices import ways_to
from ..stores.disk import LEAST
from ..stores.files import Descent
from ..stores.rows import Noted, Row, noted_of, sheet_of_rows
from .row_files import Item
from .stores import Stores
from .watches import Watch

RESERVE = 4 * LEAST  # bytes: what comes after it, as the intent, shall have room, too
MOST = 2_000  # names: they are kept in the snapshot's header, shown and confirmed
_FILES = ("file", "link", "directory")


@dataclass(slots=True)
class Amount:
    """How many files or records, and how large."""

    number: int = 0
    bytes: int = 0

    def add(self, number: int, size: int) -> None:
        self.number += number
        self.bytes += size


class Reduction:
    """What one plan makes worth its room."""

    def __init__(self, stores: Stores, plan: Plan, judge: Callable[[tuple[Problem, ...]], None]) -> None:
        """`judge` is told what is left out before there is a snapshot; may raise, then there is none."""
        self.judge = judge
        self.needed = 0  # bytes, about: what is kept takes so much
        self._busy: set[str] = set()  # folders in which the plan does something, and those above them
        self._collections: set[str] = set()
        self._files = array("q")
        for item in stores.plans.items(plan.digest):
            self._note(item)
        self._files = array("q", sorted(self._files))
        self.files_left = Amount()
        self.collections_left = Amount()
        self._left: dict[str, Amount] = {}

    def _note(self, item: PlanItem) -> None:
        if item.kind not in _FILES:
            self._collections.add(str(item.detail.get("collection", item.name)).removeprefix(BUCKETS))
            return
        self._busy.update(ways_to(item.name))
        there = item.detail["have"]
        if item.kind == "directory" or (there is not None and there[0] == "directory"):
            self._busy.add(item.name)
        if there is not None and there[0] == "file":
            self._files.append(hash(os.fsencode(item.name)))

    def keeps_collection(self, name: str) -> bool:
        """Whether the plan has to do with a collection."""
        return name in self._collections

    def keeps_file(self, path: bytes) -> bool:
        """Whether the plan replaces, deletes or changes a file."""
        number = hash(path)
        at = bisect_left(self._files, number)
        return at < len(self._files) and self._files[at] == number

    # --- what is left out

    def begin_files(self) -> None:
        """Another look at the files."""
        self._left, self.files_left = {}, Amount()

    def leave_file(self, row: Row) -> None:
        """Note a file for which there is no room.

        Raises
        ------
        NoRoomError: so many cannot be named.
        """
        path = os.fsdecode(row.path)
        name = next((one for one in ways_to(path) if one not in self._busy), path)
        self._left.setdefault(name, Amount()).add(1, row.stat.size)
        self.files_left.add(1, row.stat.size)
        if len(self._left) > MOST:
            raise NoRoomError(f"Even a reduced one would leave out more than {MOST:,} files and folders.")

    def named(self) -> Iterator[tuple[str, Problem]]:
        """The files that are left out by path, together where they lie in a folder of which nothing is needed."""
        for name, amount in self._left.items():
            yield name, _problem(f"{_count(amount.number, 'file')}, {amount.bytes / 1e6:.1f} MB", name)

    def told(self, problems: tuple[Problem, ...]) -> str:
        """What is kept and what is not, in words."""
        files, names = self.files_left, self.collections_left
        parts = [] if not files.number else [f"{_count(files.number, 'file')} ({files.bytes / 1e6:.1f} MB)"]
        if names.number:
            parts.append(f"{_count(names.number, 'collection')} ({names.bytes / 1e6:.1f} MB)")
        others = sum(one.code != NO_ROOM for one in problems)
        if others:
            parts.append(_count(others, "other thing"))
        return f"all that this restore changes, but not {', '.join(parts)}"

    def begin_records(self) -> None:
        """Another reading of the database."""
        self.collections_left = Amount()

    def leave_collection(self, name: str, documents: int, size: int) -> Problem:
        """Note a collection for which there is no room."""
        self.collections_left.add(1, size)
        return _problem(f"{_count(documents, 'record')}, {size / 1e6:.1f} MB", f"collection {name}")


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


def _problem(amount: str, subject: str) -> Problem:
    what = f"is not kept: there is no room for it ({amount})."
    return Problem(NO_ROOM, what, subject, "A restore leaves it as it is.")


class Thinning:
    """Takes out of what a first look noted the files that would have to be copied, but for those that are needed."""

    def __init__(self, reduction: Reduction, live: Descent, watch: Watch) -> None:
        self._reduction = reduction
        self._live = live
        self._watch = watch
        self.taken_out = Amount()  # of what was counted as needed

    def run(self, items: Iterator[Item]) -> Iterator[Noted]:
        """The same notes without them; a file that may have a stored copy is read, to know."""
        for noted in items:
            self._watch.check()
            if not isinstance(noted, Noted):  # the first look writes nothing else
                raise RuntimeError("single rows among the notes of a first look")
            if not noted.is_waiting() and not noted.odd:
                yield noted
                continue
            rows, is_all = [], True
            for number, row in enumerate(noted.rows()):
                if not _is_work(row) or self._reduction.keeps_file(row.path) or self._has_copy(row):
                    rows.append(row)
                    continue
                is_all = False
                if not row.expected:
                    self.taken_out.add(1, noted.sheet.holes.get(number, row.stat.size))
            if is_all:
                yield noted
            elif rows:
                yield noted_of(sheet_of_rows(rows), rows, "" if noted.is_waiting() else noted.folder)

    def _has_copy(self, row: Row) -> bool:
        """Whether a file is what its stored copy is expected to be; then that is settled."""
        if not row.expected:
            return False
        try:
            _, sha256, attributes = self._live.digest(os.fsdecode(row.path), lambda _: self._watch.check())
        except (ChangedError, OSError):
            return False
        if (sha256, attributes) != (row.expected, row.attributes):
            return False
        row.sha256, row.expected = sha256, ""
        return True


def _is_work(row: Row) -> bool:
    return row.is_file and not row.sha256

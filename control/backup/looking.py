"""The first look at the live files of a make: what has to be copied, and of what there is a stored copy already.

Rules:

- A file is taken as unchanged when its stat is what was seen before; where only its bytes, size, mode, owner, time and
  attributes can be the same, they have to be read.
- A stored copy is shared only where attributes are the same, too: an inode has one set.
- A stored copy that is not as it was written is never shared (`shelf.py`); the file is copied anew, and that is said.
- Where the live bytes have to be read, the stored ones of the newest snapshot are read as well: before they are shared.
- What an interrupted make left in its draft is taken over as if it lay in a snapshot.
- Where live files, what the last make knew of them, and its stored copies agree, whole sheets are compared.

>>> Looking(stores, tree, scope, OlderCopies(newest, NO_DAMAGE, shares=True), watch).run(path)     # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import DamagedError, Problem
from ..model import Progress, Scope
from ..stores.beside import Beside
from ..stores.file_lines import FileLine, attributes_of, mode_text
from ..stores.keeping import keeping_of
from ..stores.rows import UNKNOWN, Noted, Row, is_plain, look_of
from ..stores.seen import Sight
from ..stores.sheets import FILE, MARK, Sheet
from ..stores.trees import Tree
from ..stores.walking import Stored
from .helpers import Helpers
from .known import Known
from .row_files import RowWriter
from .shelf import OTHER_OWNER, OlderCopies, Shelf
from .stores import Stores
from .watches import Watch

_TOGETHER = 256  # files whose stats are asked for in one question
_NOTED = 400  # bytes that the manifest, the sums and the notes take for each path
_FILE = FILE[0]


class Looking:
    """One look at a tree."""

    def __init__(
        self, stores: Stores, live: Tree, scope: Scope, older: OlderCopies, watch: Watch, helpers: Helpers
    ) -> None:
        self._stores = stores
        self._live = live
        self._older = older
        self._newest = newest = older.newest
        self._watch = watch
        self._helpers = helpers
        self.known = Known(known_path(stores, scope), stores.seen.token())
        self.folder = "" if newest is None else stores.repository.place_of(newest.scope, newest.name)
        self.files_needed = 0  # without a stored copy
        self.bytes_needed = 0  # by those
        self.bytes_to_read = 0
        self._others = 0  # directories and links
        self.paths = 0
        self.damaged: list[Problem] = []  # stored copies that are not what was written
        self.has_news = False  # whether there is anything that the last make did not know for certain

    def run(self, path: Path) -> None:
        """Note all live paths; what cannot be looked at is left to the second look."""
        with RowWriter(path) as out, Shelf(self._stores.repository.root, self._older.damage) as shelf:
            comparing = self._comparing(shelf)
            for sheet in self._sheets(with_stored=isinstance(comparing, _BySheet)):
                self._watch.check()
                out.note(comparing.noted(sheet))
                self.paths += len(sheet)
                self._others += len(sheet) - sheet.kinds.count(FILE)
                known = max(self.paths, self._newest.files if self._newest is not None else 0)
                self._watch.progress(Progress("looking at files", 1, 4, self.paths, known, "files"))
            comparing.end()
            self.bytes_needed += shelf.bytes_elsewhere + self.paths * _NOTED

    @property
    def names_needed(self) -> int:
        """How many new names a snapshot takes: those of files to be copied, of directories and of links."""
        return self.files_needed + self._others

    def _comparing(self, shelf: Shelf) -> _Comparing:
        older: Iterator[FileLine] = iter(())
        newest, known = self._newest, None
        if newest is not None:
            try:
                older = self._stores.repository.file_lines(newest)
                if not self._older.damage.inodes:
                    known = self.known.load(self.folder, newest.manifest_sha256)
            except DamagedError as error:
                self.damaged.append(error.problem())
        if known is None:
            return _ByLine(self, shelf, Older(older))
        return _BySheet(self, shelf, Beside(known))

    def _sheets(self, *, with_stored: bool) -> Iterator[Sheet]:
        """All of the live tree; looked up among the stored files of the newest snapshot, too."""
        root = self._stores.repository.root
        stored = Stored(root / self.folder / "files", root.stat().st_dev, keeping_of(root)) if with_stored else None
        paths = 0 if self._newest is None else self._newest.files
        return self._helpers.sheets(self._live, paths, _nothing, self._watch, stored)

    def is_unheard_of(self, sheet: Sheet) -> bool:
        """Whether there are only files of which nothing is known, none with several links; they are counted then."""
        if not sheet.is_files or any(mark[3] > 1 for mark in MARK.iter_unpack(sheet.marks)):
            return False
        keys = sheet.seen_keys()
        for begin in range(0, len(keys), _TOGETHER):
            if any(self._stores.seen.find(keys[begin : begin + _TOGETHER])):
                return False
        self.files_needed += len(sheet)
        self.bytes_needed += sheet.room()
        self.bytes_to_read += sum(sheet.sizes())
        return True

    def place(self, sheet: Sheet, rows: dict[int, Row], before: dict[int, FileLine], shelf: Shelf) -> None:
        """Say of files of a sheet where their stored copies lie; of what has none, that it has to be copied."""
        numbers = list(rows)
        keys = sheet.seen_keys() if len(rows) == len(sheet) else [_key_of(row) for row in rows.values()]
        for begin in range(0, len(numbers), _TOGETHER):
            part = numbers[begin : begin + _TOGETHER]
            sights = self._stores.seen.find(keys[begin : begin + _TOGETHER])
            for number, sight in zip(part, sights, strict=True):
                room = sheet.holes.get(number, rows[number].stat.size)
                self._place(rows[number], before.get(number), sight, shelf, room)

    def _place(self, row: Row, before: FileLine | None, sight: Sight | None, shelf: Shelf, room: int) -> None:
        """Say where the stored copy of a file lies; else it has to be copied, which takes `room`."""
        known = sight if sight is not None and sight.is_certain else None
        stored = attributes_of(before.attributes, before.attributes_b64) if before is not None else ()
        if (
            before is not None
            and _fits(before, row)
            and (known is None or (known.sha256, known.attributes) == (before.sha256, stored))
        ):
            path = os.fsdecode(row.path)
            fault = shelf.fault(self.folder, path, row)
            # Else bytes that are read now, and will be replaced perhaps, would be vouched for by rotten ones.
            if not fault and known is None and not shelf.has_bytes(self.folder, path, before.sha256 or "", self._check):
                fault = "damaged.file-bytes"
            if not fault:
                row.folder, row.copy, row.attributes = self.folder, row.path, stored
                row.sha256, row.expected = (known.sha256, "") if known else ("", before.sha256 or "")
                self.bytes_to_read += 0 if known else row.stat.size
                return
            if fault != OTHER_OWNER:
                self._name_damage(fault, path)
        elif (
            sight is not None
            and self._may_share(sight)
            and not shelf.fault(sight.folder, sight.path, row, sight.attributes)
            and self._is_sound(sight, shelf)
        ):
            row.folder, row.copy, row.attributes = sight.folder, os.fsencode(sight.path), sight.attributes
            row.sha256, row.expected = (sight.sha256, "") if known else ("", sight.sha256)
            self.bytes_to_read += 0 if known else row.stat.size
            return
        self.files_needed += 1
        self.bytes_needed += room
        self.bytes_to_read += row.stat.size

    def _name_damage(self, fault: str, path: str) -> None:
        what = "The stored copy is not as it was written; it was copied anew."
        hint = f"Verify the snapshot {self.folder.rpartition('/')[2]}, and the older ones."
        self.damaged.append(Problem(fault, what, path, hint))

    def _is_sound(self, sight: Sight, shelf: Shelf) -> bool:
        """Whether a copy is what was written: after a power cut that of an interrupted make has to be read."""
        if self._stores.repository.drafts.is_trusted(sight.folder):
            return True
        return shelf.has_bytes(sight.folder, sight.path, sight.sha256, self._check)

    def _check(self, _piece: bytes) -> None:
        self._watch.check()

    def _may_share(self, sight: Sight) -> bool:
        return self._older.shares and sight.folder != "" and sight.folder not in self._older.damage.places


def known_path(stores: Stores, scope: Scope) -> Path:
    """Where is kept what the last make of a scope knew."""
    return stores.seen.path.with_name("known") / scope.key.replace(":", "-")


class _ByLine:
    """Compares with the manifest of the newest snapshot, line by line."""

    def __init__(self, looking: Looking, shelf: Shelf, older: Older) -> None:
        self._looking = looking
        self._shelf = shelf
        self._older = older
        looking.has_news = True

    def noted(self, sheet: Sheet) -> Noted:
        if self._older.is_over and self._looking.is_unheard_of(sheet):
            return Noted(sheet)
        before: dict[int, FileLine] = {}
        rows: dict[int, Row] = {}
        for number, (name, kind) in enumerate(zip(sheet.names_list(), sheet.kinds, strict=True)):
            line = self._older.find(sheet.prefix + name)
            if kind == _FILE:
                rows[number] = look_of(sheet, number, name)
                if line is not None:
                    before[number] = line
        self._looking.place(sheet, rows, before, self._shelf)
        return _noted(sheet, rows, self._looking.folder)

    def end(self) -> None:
        """Nothing is left to be said."""


class _BySheet:
    """Compares with what the last make knew, by the sheet."""

    def __init__(self, looking: Looking, shelf: Shelf, known: Beside[Noted]) -> None:
        self._looking = looking
        self._shelf = shelf
        self._known = known
        self._same = 0  # sheets

    def end(self) -> None:
        """What was known and is not there any more, or cannot be looked at, is news, too."""
        if self._same != self._known.count():
            self._looking.has_news = True

    def noted(self, sheet: Sheet) -> Noted:
        known = self._known.over(sheet)
        if (
            len(known) == 1
            and sheet.kept == b""
            and not known[0].odd
            and known[0].is_settled()
            and known[0].sheet.same_as(sheet)
        ):
            self._same += 1
            return Noted(sheet, known[0].digests, self._looking.folder)
        self._looking.has_news = True
        if len(known) == 1 and known[0].sheet.has_same_names(sheet) and known[0].sheet.kinds == sheet.kinds:
            return self._where_other(sheet, known[0])
        return self._apart(sheet, known)

    def _where_other(self, sheet: Sheet, known: Noted) -> Noted:
        """Of the same names, those that are not as they were."""
        others = set(known.odd)
        if not known.is_settled():
            others |= {number for number, row in enumerate(known.rows()) if not row.is_settled()}
        others |= sheet.differing(known.sheet)
        if sheet.kept:
            others |= {number for number, is_kept in enumerate(sheet.kept) if not is_kept}
        names = sheet.names_list()
        numbers = [number for number in sorted(others) if sheet.kinds[number] == _FILE]
        rows = {number: look_of(sheet, number, names[number]) for number in numbers}
        old = {number: known.row(number) for number in numbers}
        before = {number: row.line() for number, row in old.items() if row.sha256}
        self._looking.place(sheet, rows, before, self._shelf)
        digests = known.digests or bytes(len(UNKNOWN) * len(sheet))
        return Noted(sheet, digests, self._looking.folder).with_rows(rows)

    def _apart(self, sheet: Sheet, known: list[Noted]) -> Noted:
        """Name by name."""
        at = {name: (one, number) for one in known for number, name in enumerate(one.sheet.names_list())}
        plain: dict[int, bytes] = {}
        rows: dict[int, Row] = {}
        before: dict[int, FileLine] = {}
        for number, (name, kind) in enumerate(zip(sheet.names_list(), sheet.kinds, strict=True)):
            if kind != _FILE:
                continue
            one = at.get(name)
            if one is not None and _is_as_known(sheet, number, *one):
                plain[number] = one[0].digest(one[1])
                continue
            rows[number] = look_of(sheet, number, name)
            if one is not None and (row := one[0].row(one[1])).is_file and row.sha256:
                before[number] = row.line()
        self._looking.place(sheet, rows, before, self._shelf)
        return _noted(sheet, rows, self._looking.folder, plain)


_Comparing = _ByLine | _BySheet


def _is_as_known(sheet: Sheet, number: int, known: Noted, there: int) -> bool:
    return (
        there not in known.odd
        and (not sheet.kept or sheet.kept[number] == 1)
        and known.sheet.mark(there) == sheet.mark(number)
        and known.sheet.stat(there) == sheet.stat(number)
        and (known.is_settled() or known.row(there).is_settled())
    )


def _noted(sheet: Sheet, rows: dict[int, Row], folder: str, plain: dict[int, bytes] | None = None) -> Noted:
    """A sheet with the rows of its files; those in `plain` are known, by their digests."""
    plain = plain or {}
    if not plain and all(not row.sha256 and not row.expected and row.links == 1 for row in rows.values()):
        return Noted(sheet)
    digests = [plain.get(number, UNKNOWN) for number in range(len(sheet))]
    odd: dict[int, Row] = {}
    for number, row in rows.items():
        if is_plain(row, folder):
            digests[number] = bytes.fromhex(row.sha256)
        else:
            odd[number] = row
    return Noted(sheet, b"".join(digests), folder, odd)


def _key_of(row: Row) -> tuple[int, int, int, int, int]:
    stat = row.stat
    return stat.device, stat.inode, stat.ctime_ns, stat.mtime_ns, stat.size


class Older:
    """Looks up paths that are asked for in ascending order, in a stream of that order."""

    def __init__(self, lines: Iterator[FileLine]) -> None:
        self._lines = lines
        self._next()

    def _next(self) -> None:
        self._head = next(self._lines, None)
        self._key = self._head.key() if self._head is not None else b""

    @property
    def is_over(self) -> bool:
        """Whether there are no more lines."""
        return self._head is None

    def find(self, path: bytes) -> FileLine | None:
        key = b"" if path == b"." else path
        while self._head is not None and self._key < key:
            self._next()
        return self._head if self._head is not None and self._key == key else None


def _nothing(*_: object) -> None:
    """What is wrong is named by the second look."""


def _fits(before: FileLine, row: Row) -> bool:
    stat = row.stat
    return before.type == "file" and (before.size, before.mtime_ns, before.mode, before.uid, before.gid) == (
        stat.size,
        stat.mtime_ns,
        mode_text(stat.mode),
        stat.uid,
        stat.gid,
    )

"""The paths that may differ between two inventories of one scope, found without making an entry for each path.

Rules:

- Two snapshots: the lines of their manifests that are not the same bytes. A snapshot and the live files: those lines
  between it and the newest snapshot, and the paths that are not as the last make saw them, by the sheet.
- More may be found than differs, never less: what is found is compared entry by entry, like everything where nothing
  can be sifted.
- What is found is held in memory, hence bounded; nothing else is.
- A manifest that nobody of this repository has written just now is checked as a whole, as its reader does it.

>>> sifting.streams(want, live, part)       # doctest: +SKIP
(<the entries of the snapshot>, <those that are there>, Counts(files=99_000, …))
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from ..errors import DamagedError, KeyframeError
from ..model import Counts, FileEntry, Snapshot
from ..slices import Slice
from ..stores.file_lines import FileLine
from ..stores.manifest import LineOrder, file_of_line
from ..stores.rows import Noted
from ..stores.sheets import Sheet
from .helpers import Helpers
from .inventory import Inventory, LiveInventory, Part, StoredInventory
from .known import Known
from .looking import known_path
from .owned import Owned
from .stores import Stores
from .watches import Watch

MOST = 20_000  # paths that are held
_FOLDER = b"directory"

_PLAIN = re.compile(rb'\{"path":"([^"\\]+)","type":"([a-z]+)"(?:,"size":([0-9]+))?')
_decode = msgspec.json.Decoder(FileLine).decode

Line = tuple[bytes, bytes, int, bytes]  # path, type, size, the line


class _TooManyError(Exception):
    """More than can be held."""


@dataclass(slots=True)
class Sifted:
    """The paths that may differ, and what is the same for certain."""

    paths: set[bytes] = field(default_factory=set)
    unchanged: Counts = field(default_factory=Counts)

    def add(self, path: bytes) -> None:
        self.paths.add(path)
        if len(self.paths) > MOST:
            raise _TooManyError


class Sifting:
    """Finds them for one comparison; `helpers` walk through large trees."""

    def __init__(self, stores: Stores, helpers: Helpers, watch: Watch) -> None:
        self._stores = stores
        self._helpers = helpers
        self._watch = watch
        self._owned = Owned(stores)

    def streams(
        self, want: StoredInventory, have: Inventory, part: Part
    ) -> tuple[Iterator[FileEntry], Iterator[FileEntry], Counts] | None:
        """The entries of both that may differ, and how many there are beside them; None: it cannot be told quickly.

        Raises
        ------
        DamagedError: the snapshot's manifest is not what was written.
        """
        if not self._is_plain(want, have, part):
            return None
        sifted = Sifted()
        try:
            if isinstance(have, StoredInventory):
                self._sift_lines(want, have.snapshot, sifted)
                there = self._entries(have, sifted)
            elif isinstance(have, LiveInventory) and self._sift_live(want, have, part, sifted):
                there = have.files_at(part, sorted(sifted.paths, key=_key))
            else:
                return None
        except _TooManyError:
            return None
        wanted = list(self._wanted(want, sifted))
        return iter(wanted), there, sifted.unchanged

    def _is_plain(self, want: StoredInventory, have: Inventory, part: Part) -> bool:
        """Whether all of a scope is meant, and nothing is unknown in it."""
        paths: Slice = part.paths
        return (
            not (paths.prefixes or paths.is_nothing or paths.leave)
            and want.snapshot.scope == part.scope
            and not want.unknown_paths
            and not have.unknown_paths
            and want.excluded.patterns == have.excluded.patterns
            and (not isinstance(have, StoredInventory) or have.snapshot.scope == part.scope)
        )

    # --- two snapshots

    def _sift_lines(self, want: StoredInventory, other: Snapshot, sifted: Sifted) -> None:
        """What lines are not the same."""
        if want.snapshot.manifest_sha256 == other.manifest_sha256:
            return
        mine, theirs = (self._lines(one) for one in (want.snapshot, other))
        left, right = next(mine, None), next(theirs, None)
        while left is not None or right is not None:
            if left is not None and right is not None and left[3] == right[3]:
                left, right = next(mine, None), next(theirs, None)
            elif right is None or (left is not None and _key(left[0]) < _key(right[0])):
                assert left is not None  # noqa: S101  (one of the two is there)
                sifted.add(left[0])
                left = next(mine, None)
            elif left is None or _key(right[0]) < _key(left[0]):
                sifted.add(right[0])
                right = next(theirs, None)
            else:
                sifted.add(left[0])
                left, right = next(mine, None), next(theirs, None)

    def _lines(self, snapshot: Snapshot) -> Iterator[Line]:
        """The lines of files; checked, but where the last make of the scope has written them."""
        order = LineOrder(is_site=snapshot.scope.is_site) if not self._is_ours(snapshot) else None
        for number, line in enumerate(self._stores.repository.raw_lines(snapshot), 1):
            if not number & 1023:
                self._watch.check()
            try:
                found = _of_line(line)
                if found is None:
                    return
                if order is not None:
                    order.path(_key(found[0]), is_folder=found[1] == _FOLDER)
            except (msgspec.MsgspecError, ValueError) as error:
                raise _damage(snapshot, number, error) from error
            yield found

    def _is_ours(self, snapshot: Snapshot) -> bool:
        known = self._known(snapshot)
        return known.told() == (self._place(snapshot), snapshot.manifest_sha256)

    def _known(self, snapshot: Snapshot) -> Known:
        return Known(known_path(self._stores, snapshot.scope), self._stores.seen.token())

    def _place(self, snapshot: Snapshot) -> str:
        return self._stores.repository.place_of(snapshot.scope, snapshot.name)

    def _wanted(self, want: StoredInventory, sifted: Sifted) -> Iterator[FileEntry]:
        """The entries of the snapshot that were found; the others are counted."""
        paths = folders = total = 0
        for number, (path, kind, size, line) in enumerate(self._lines(want.snapshot), 1):
            if path not in sifted.paths:
                paths, folders, total = paths + 1, folders + (kind == _FOLDER), total + size
                continue
            try:
                yield self._entry(path, kind, line)
            except (KeyError, TypeError, ValueError) as error:
                raise _damage(want.snapshot, number, error) from error
        sifted.unchanged = Counts(files=paths - folders, other=folders, bytes=total)

    def _entries(self, have: StoredInventory, sifted: Sifted) -> Iterator[FileEntry]:
        for number, (path, kind, _, line) in enumerate(self._lines(have.snapshot), 1):
            if path in sifted.paths:
                try:
                    yield self._entry(path, kind, line)
                except (KeyError, TypeError, ValueError) as error:
                    raise _damage(have.snapshot, number, error) from error

    def _entry(self, path: bytes, kind: bytes, line: bytes) -> FileEntry:
        """The entry of a line; ValueError where it is another one than was looked at: a name may stand twice in it."""
        entry = file_of_line(msgspec.json.decode(line))
        if (os.fsencode(entry.path), entry.kind.encode()) != (path, kind):
            raise ValueError("a field stands twice")
        return self._owned(entry)

    # --- the live files

    def _sift_live(self, want: StoredInventory, have: LiveInventory, part: Part, sifted: Sifted) -> bool:
        """What is not as the newest snapshot has it, and what of that is not as the wanted one has it; False: it is
        not known, or not everything can be looked at."""
        newest = self._newest(want.snapshot)
        if newest is None or newest.problems:
            return False
        if self._stores.excluded(part.scope, newest.excluded.patterns).patterns != have.excluded.patterns:
            return False
        known = self._known(newest).load(self._place(newest), newest.manifest_sha256)
        if known is None:
            return False
        tree, faults = self._stores.live_tree(part.scope, have.excluded), list[str]()
        beside = _Beside(known, sifted)
        for sheet in self._helpers.sheets(tree, newest.files, lambda path, _: faults.append(path), self._watch):
            self._watch.check()
            beside.compare(sheet)
            if faults:
                return False
        beside.end()
        self._sift_lines(want, newest, sifted)
        return not faults

    def _newest(self, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot that the last make of the scope came to."""
        place, manifest = self._known(snapshot).told()
        if not place:
            return None
        if (place, manifest) == (self._place(snapshot), snapshot.manifest_sha256):
            return snapshot
        with contextlib.suppress(KeyframeError):
            found = self._stores.repository.get(snapshot.scope, place.rpartition("/")[2])
            return found if found.manifest_sha256 == manifest else None
        return None


class _Beside:
    """What the last make knew, side by side with a walk."""

    def __init__(self, known: Iterable[Noted], sifted: Sifted) -> None:
        self._known = iter(known)
        self._sifted = sifted
        self._next = next(self._known, None)
        self._near: list[_Near] = []

    def compare(self, sheet: Sheet) -> None:
        """Find what of a sheet was not known to be as it is; sheets come in their order."""
        first, last = sheet.first, sheet.last
        while self._near and self._near[0].noted.sheet.last < first:
            self._leave(self._near.pop(0))
        while self._next is not None and self._next.sheet.first <= last:
            near = _Near(self._next)
            if self._next.sheet.last < first:
                self._leave(near)
            else:
                self._near.append(near)
            self._next = next(self._known, None)
        over = [one for one in self._near if one.noted.sheet.prefix == sheet.prefix]
        if len(over) == 1 and over[0].is_as(sheet):
            over[0].met = None
        else:
            self._by_name(sheet, over)

    def _by_name(self, sheet: Sheet, over: list[_Near]) -> None:
        at = {name: (one, number) for one in over for number, name in enumerate(one.noted.sheet.names_list())}
        for number, name in enumerate(sheet.names_list()):
            found = at.get(name)
            if found is None:
                self._sifted.add(sheet.prefix + name)
                continue
            one, there = found
            if one.met is not None:
                one.met.add(there)
            if not one.has(there, sheet, number):
                self._sifted.add(sheet.prefix + name)

    def _leave(self, near: _Near) -> None:
        """What was not met is not there any more."""
        if near.met is None or len(near.met) == len(near.noted.sheet):
            return
        for number, name in enumerate(near.noted.sheet.names_list()):
            if number not in near.met:
                self._sifted.add(near.noted.sheet.prefix + name)

    def end(self) -> None:
        """The walk is over."""
        while self._next is not None:
            self._near.append(_Near(self._next))
            self._next = next(self._known, None)
            self._leave(self._near.pop())
        for near in self._near:
            self._leave(near)


@dataclass(slots=True)
class _Near:
    """A sheet that was known, and the numbers of its names that were met again; None: all of them."""

    noted: Noted
    met: set[int] | None = field(default_factory=set)

    def is_as(self, sheet: Sheet) -> bool:
        noted = self.noted
        return not noted.odd and noted.is_settled() and noted.sheet.same_as(sheet)

    def has(self, there: int, sheet: Sheet, number: int) -> bool:
        """Whether one name is there as it was."""
        noted = self.noted
        return (
            there not in noted.odd
            and noted.sheet.kinds[there] == sheet.kinds[number]
            and noted.sheet.mark(there) == sheet.mark(number)
            and noted.sheet.stat(there) == sheet.stat(number)
            and noted.sheet.extras.get(there) == sheet.extras.get(number)
            and (noted.is_settled() or noted.row(there).is_settled())
        )


def _of_line(line: bytes) -> Line | None:
    """Path, type and size; None: it is of a collection. ValueError, msgspec.MsgspecError: it is no line."""
    found = _PLAIN.match(line)
    if found is not None:
        return found[1], found[2], int(found[3] or 0), line
    one = _decode(line)
    if one.path is None and one.path_b64 is None:
        return None
    return one.key() or b".", one.type.encode(), one.size or 0, line


def _key(path: bytes) -> bytes:
    """What inventories are sorted by."""
    return b"" if path == b"." else path


def _damage(snapshot: Snapshot, number: int, error: Exception) -> DamagedError:
    return DamagedError(
        "manifest-invalid",
        f"has a manifest that is wrong in line {number} ({error}).",
        subject=snapshot.name,
        hint="Restore another snapshot; this one is left as it is.",
    )

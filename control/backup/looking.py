"""The first look at the live files of a make: what has to be copied, and of what there is a stored copy already.

Rules:

- A file is taken as unchanged when its stat is what was seen before; where only its bytes, size, mode, owner, time and
  attributes can be the same, they have to be read.
- A stored copy is shared only where attributes are the same, too: an inode has one set.
- A stored copy whose size or time is no longer right is never shared; the file is copied anew, and that is said. Nor
  is one that a verification found damaged, in whatever snapshot it looked at it.
- What an interrupted make left in its draft is taken over as if it lay in a snapshot.

>>> Looking(stores, tree, OlderCopies(newest, NO_DAMAGE, shares=True), watch).run(path)     # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ChangedError, DamagedError, Problem
from ..model import Attributes, Progress, Snapshot
from ..stores import attributes as xattrs
from ..stores.file_lines import FileLine, attributes_of, mode_text
from ..stores.files import Descent, Tree
from ..stores.seen import Sight
from ..stores.sparse import room_of
from .damage import NO_DAMAGE, Damage
from .rows import Row, RowWriter, row_of
from .stores import Stores
from .watches import Watch

_TOGETHER = 256  # files whose stats are asked for in one question
_MOST_OPEN = 8
_NOTED = 400  # bytes that the manifest, the sums and the notes take for each path


@dataclass(frozen=True, slots=True)
class OlderCopies:
    """What a make may share: the scope's newest snapshot; of all others whatever is not known to be damaged."""

    newest: Snapshot | None
    damage: Damage
    shares: bool  # with others than the newest


class Shelf:
    """The stored files of all snapshots, reached by folder and path; use it with `with`."""

    def __init__(self, root: Path, damage: Damage = NO_DAMAGE) -> None:
        self._root = root
        self._kinds = xattrs.kept_at(str(root))
        self._damage = damage
        self._open: dict[str, Descent] = {}
        self._device = root.stat().st_dev
        self.bytes_elsewhere = 0  # of copies that were found and cannot be linked: on another file system

    def __enter__(self) -> Shelf:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open.values():
            one.close()

    def of(self, folder: str) -> Descent:
        """The files of one snapshot; its folder is below the repository's root."""
        descent = self._open.get(folder)
        if descent is None:
            if len(self._open) == _MOST_OPEN:
                self._open.pop(next(iter(self._open))).close()
            descent = self._open[folder] = Descent(self._root / folder / "files")
        return descent

    def fault(self, folder: str, path: str, row: Row, wanted: Attributes | None = None) -> str:
        """What is wrong with the stored copy of a row, as a code; empty: size, time, mode and owner are the row's.

        Parameters
        ----------
        wanted: the attributes that it must have; None: the manifest vouches for them.
        """
        try:
            parent, name = self.of(folder).parent(path)
            stored = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if wanted is not None and xattrs.read(xattrs.place_of(parent, name)) != xattrs.only(wanted, self._kinds):
                return "noted.attributes"
        except OSError:
            return "damaged.file-size"
        if self._damage.has(stored):
            return "damaged.file-bytes"
        stat = row.stat
        same = (stored.st_mode, stored.st_uid, stored.st_gid, stored.st_size, stored.st_mtime_ns) == (
            stat.mode,
            stat.uid,
            stat.gid,
            stat.size,
            stat.mtime_ns,
        )
        if not same:
            return "damaged.file-size"
        if stored.st_dev != self._device:
            self.bytes_elsewhere += room_of(stored)
        return ""


class Looking:
    """One look at a tree."""

    def __init__(self, stores: Stores, live: Tree, older: OlderCopies, watch: Watch) -> None:
        self._stores = stores
        self._live = live
        self._older = older
        self._newest = newest = older.newest
        self._watch = watch
        self.folder = "" if newest is None else stores.repository.place_of(newest.scope, newest.name)
        self.bytes_needed = 0  # by what has no stored copy
        self.bytes_to_read = 0
        self.paths = 0
        self.damaged: list[Problem] = []  # stored copies that are not what was written

    def run(self, path: Path) -> None:
        """Write the rows of all live paths; what cannot be looked at is left to the second look."""
        older = Older(self._lines())
        with RowWriter(path) as rows, Shelf(self._stores.repository.root, self._older.damage) as shelf:
            for batch in _batches(self._live):
                self._watch.check()
                sights = iter(self._stores.seen.find([stat for row, stat in batch if row.is_file]))
                for row, stat in batch:
                    before = older.find(row.path)
                    if row.is_file:
                        self._place(row, before, next(sights), shelf, room_of(stat))
                    rows.add(row)
                self.paths += len(batch)
                known = max(self.paths, self._newest.files if self._newest is not None else 0)
                self._watch.progress(Progress("looking at files", 1, 4, self.paths, known, "files"))
            self.bytes_needed += shelf.bytes_elsewhere + self.paths * _NOTED

    def _lines(self) -> Iterator[FileLine]:
        """The manifest of the newest snapshot; nothing where it is damaged, which is said."""
        if self._newest is None:
            return iter(())
        try:
            return self._stores.repository.file_lines(self._newest)
        except DamagedError as error:
            self.damaged.append(error.problem())
            return iter(())

    def _place(self, row: Row, before: FileLine | None, sight: Sight | None, shelf: Shelf, room: int) -> None:
        """Say where the stored copy of a file lies; else it has to be copied, which takes `room`."""
        known = sight if sight is not None and sight.is_certain else None
        stored = attributes_of(before.attributes, before.attributes_b64) if before is not None else ()
        if (
            before is not None
            and _fits(before, row)
            and (known is None or (known.sha256, known.attributes) == (before.sha256, stored))
        ):
            fault = shelf.fault(self.folder, os.fsdecode(row.path), row)
            if not fault:
                row.folder, row.copy, row.attributes = self.folder, row.path, stored
                row.sha256, row.expected = (known.sha256, "") if known else ("", before.sha256 or "")
                self.bytes_to_read += 0 if known else row.stat.size
                return
            self.damaged.append(
                Problem(
                    fault,
                    "The stored copy is not as it was written; it was copied anew.",
                    os.fsdecode(row.path),
                    f"Verify the snapshot {self.folder.rpartition('/')[2]}, and the older ones.",
                )
            )
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
        self.bytes_needed += room
        self.bytes_to_read += row.stat.size

    def _is_sound(self, sight: Sight, shelf: Shelf) -> bool:
        """Whether a copy is what was written: after a power cut that of an interrupted make has to be read."""
        if self._stores.repository.drafts.is_trusted(sight.folder):
            return True
        try:
            return shelf.of(sight.folder).digest(sight.path, lambda _: self._watch.check())[1] == sight.sha256
        except (ChangedError, OSError):
            return False

    def _may_share(self, sight: Sight) -> bool:
        return self._older.shares and sight.folder != "" and sight.folder not in self._older.damage.places


class Older:
    """Looks up paths that are asked for in ascending order, in a stream of that order."""

    def __init__(self, lines: Iterator[FileLine]) -> None:
        self._lines = lines
        self._next()

    def _next(self) -> None:
        self._head = next(self._lines, None)
        self._key = self._head.key() if self._head is not None else b""

    def find(self, path: bytes) -> FileLine | None:
        key = b"" if path == b"." else path
        while self._head is not None and self._key < key:
            self._next()
        return self._head if self._head is not None and self._key == key else None


def _batches(tree: Tree) -> Iterator[list[tuple[Row, os.stat_result]]]:
    batch: list[tuple[Row, os.stat_result]] = []
    for path, stat, at_ns, target, attributes in tree.paths(_nothing):
        batch.append((row_of(path, stat, at_ns, target, attributes), stat))
        if len(batch) == _TOGETHER:
            yield batch
            batch = []
    yield batch


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

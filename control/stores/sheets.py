"""Sheets: what a look at a stretch of one directory told, in columns; one comparison tells that nothing is new in it.

Rules:

- A sheet holds names of one directory, in the order of their bytes; it ends where the walk goes down into a directory
  below, or at a name that is found again after others were added or removed (a boundary by content, as rsync and
  restic cut files: Rabin fingerprints, Rabin 1981).
- `stats` is what a stored copy has as well, `marks` what only this inode has. A directory's own size, times and inode
  say nothing of it and are zero.
- Equal looks are equal bytes.

>>> a.same_as(b), a.names_list()        # doctest: +SKIP
(True, [b'model.glb', b'scene.svx.json'])
"""

from __future__ import annotations

import operator
import stat as modes
import struct
from collections.abc import Iterable, Sequence
from itertools import starmap
from os import stat_result

import msgspec

from ..model import Attributes
from .sparse import room_of

STAT = struct.Struct("<IIIqq")  # mode, uid, gid, size, mtime_ns
MARK = struct.Struct("<QQqI")  # device, inode, ctime_ns, links
NO_MARK = MARK.pack(0, 0, 0, 0)
SOON, MOST = 64, 128  # names of a sheet: from where on it may end, and where it does
FILE, FOLDER, LINK = b"f", b"d", b"l"

_stat_of = operator.attrgetter("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns")
_mark_of = operator.attrgetter("st_dev", "st_ino", "st_ctime_ns", "st_nlink")
_ctime_of = operator.attrgetter("st_ctime_ns")
_size_of = operator.attrgetter("st_size")
_blocks_of = operator.attrgetter("st_blocks")
_BLOCK = 512  # bytes, that a stat counts in


class Sheet(msgspec.Struct, array_like=True, gc=False):
    """One stretch.

    `prefix` is the path of the directory with `/` at its end, empty at the top; `names` are parted by NUL; `kinds` has
    a letter for each; `at` is the wall clock before the first of them was looked at, in ns; `newest` is the newest
    ctime of the files and links. `extras` has, by number, the target of a link and the extended
    attributes of a directory or link; `holes` the bytes on the disk of a file that takes less than its size; `kept`,
    where a stored tree was looked at as well, a byte for each: whether it is there as it is here (empty: all are).
    """

    prefix: bytes
    names: bytes
    kinds: bytes
    stats: bytes
    marks: bytes
    at: int
    newest: int
    extras: dict[int, tuple[bytes, Attributes]] = {}
    holes: dict[int, int] = {}
    kept: bytes | None = None

    def __len__(self) -> int:
        return len(self.kinds)

    def names_list(self) -> list[bytes]:
        return self.names.split(b"\0")

    @property
    def first(self) -> bytes:
        """The key of its first path."""
        return b"" if self.names == b"." and not self.prefix else self.prefix + self.names.partition(b"\0")[0]

    @property
    def last(self) -> bytes:
        """The key of its last path."""
        return b"" if self.names == b"." and not self.prefix else self.prefix + self.names.rpartition(b"\0")[2]

    def has_same_names(self, other: Sheet) -> bool:
        return self.prefix == other.prefix and self.names == other.names

    def same_as(self, other: Sheet) -> bool:
        """Whether both looks told the same of what was looked at: not when it was, or where else it lies."""
        return (
            self.marks == other.marks
            and self.stats == other.stats
            and self.names == other.names
            and self.prefix == other.prefix
            and self.extras == other.extras
        )

    def differing(self, other: Sheet) -> set[int]:
        """The numbers of names, the same in both, of which the looks told different things."""
        found = set()
        for size, one, two in ((STAT.size, self.stats, other.stats), (MARK.size, self.marks, other.marks)):
            if one != two:
                found |= {at // size for at in range(0, len(one), size) if one[at : at + size] != two[at : at + size]}
        return found

    def stat(self, number: int) -> bytes:
        return self.stats[number * STAT.size : (number + 1) * STAT.size]

    def mark(self, number: int) -> bytes:
        return self.marks[number * MARK.size : (number + 1) * MARK.size]

    def tells(self, number: int, stat: stat_result) -> bool:
        """Whether a look at a file tells what this one does."""
        return STAT.pack(*_stat_of(stat)) == self.stat(number) and MARK.pack(*_mark_of(stat)) == self.mark(number)

    @property
    def is_files(self) -> bool:
        """Whether there are only regular files in it."""
        return self.kinds.count(FILE) == len(self.kinds)

    def sizes(self) -> list[int]:
        """Of each file the bytes; of anything else 0."""
        sizes = [one[3] for one in STAT.iter_unpack(self.stats)]
        if self.is_files:
            return sizes
        return [size if kind == FILE[0] else 0 for size, kind in zip(sizes, self.kinds, strict=True)]

    def room(self) -> int:
        """The bytes that copies of its files take on the disk."""
        sizes = self.sizes()
        for number, room in self.holes.items():
            sizes[number] = room
        return sum(sizes)

    def seen_keys(self) -> list[tuple[int, int, int, int, int]]:
        """What each is known by: device, inode, ctime_ns, mtime_ns, size."""
        marks, stats = MARK.iter_unpack(self.marks), STAT.iter_unpack(self.stats)
        return [
            (device, inode, ctime_ns, stat[4], stat[3])
            for (device, inode, ctime_ns, _), stat in zip(marks, stats, strict=True)
        ]


def columns(stats: Sequence[stat_result], kinds: bytes) -> bytes:
    """What looks at such kinds of things tell, as `stats` of a sheet."""
    if FOLDER not in kinds:
        return b"".join(starmap(STAT.pack, map(_stat_of, stats)))
    return b"".join(map(_column, stats))


def _column(stat: stat_result) -> bytes:
    if modes.S_ISDIR(stat.st_mode):
        return STAT.pack(stat.st_mode, stat.st_uid, stat.st_gid, 0, 0)
    return STAT.pack(*_stat_of(stat))


def sheet_of_files(prefix: bytes, names: bytes, stats: Sequence[stat_result], at: int) -> Sheet:
    """Of regular files only; `names` as they stand in a sheet."""
    newest = max(map(_ctime_of, stats))
    found = columns(stats, FILE)
    marks = b"".join(starmap(MARK.pack, map(_mark_of, stats)))
    has_holes = any(map(operator.gt, map(_size_of, stats), map(_BLOCK.__mul__, map(_blocks_of, stats))))
    holes = _holes(stats) if has_holes else {}
    return Sheet(prefix, names, FILE * len(stats), found, marks, at, newest, holes=holes)


def latest_of(stats: Sequence[stat_result]) -> int:
    """The latest ctime of them."""
    return int(max(map(_ctime_of, stats)))


def _holes(stats: Sequence[stat_result]) -> dict[int, int]:
    return {
        number: room_of(stat)
        for number, stat in enumerate(stats)
        if stat.st_blocks * _BLOCK < stat.st_size and modes.S_ISREG(stat.st_mode)
    }


def sheet_of(prefix: bytes, found: Iterable[tuple[bytes, stat_result, bytes, Attributes]], at: int) -> Sheet:
    """Of names with what each look told: stat, target of a link, attributes of a directory or link."""
    names, kinds, marks = [], [], []
    newest = 0
    extras: dict[int, tuple[bytes, Attributes]] = {}
    looks = []
    for number, (name, stat, target, attributes) in enumerate(found):
        names.append(name)
        looks.append(stat)
        if modes.S_ISDIR(stat.st_mode):
            kinds.append(FOLDER)
            marks.append(NO_MARK)
        else:
            kinds.append(LINK if modes.S_ISLNK(stat.st_mode) else FILE)
            marks.append(MARK.pack(*_mark_of(stat)))
            newest = max(newest, stat.st_ctime_ns)
        if target or attributes:
            extras[number] = (target, attributes)
    joined = b"\0".join(names)
    stats = b"".join(map(_column, looks))
    return Sheet(prefix, joined, b"".join(kinds), stats, b"".join(marks), at, newest, extras, _holes(looks))

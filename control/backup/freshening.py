"""Fresh copies of what has been shared for long: so that one bad sector cannot hurt the snapshots of years.

Rules:

- Only in a snapshot that is made anyway, after the gate was opened; a safety snapshot makes nobody wait for it.
- The live file is read, and what is stored is what the manifest says of it; where it has changed since the instant,
  the older copy serves, as it would have.
- At most a twentieth of the scope's bytes in one snapshot, so that none is suddenly dear. A file that alone is more
  has its turn when it is twice as old as it should get, one in a snapshot and nothing else with it.
- A snapshot asks for the age of a thirtieth of the files (of 3,000 at least), from one on that chance chooses: in a
  large scope the question would cost more than it brings, and all get their turn in time.

>>> Freshening(Limits(oldest_ns, bytes=5_000_000), live, paths, watch).take(row, files, shelf)     # doctest: +SKIP
False
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ChangedError
from ..stores.births import born_ns
from ..stores.copies import TargetError
from ..stores.disk import free_bytes
from ..stores.draft_files import DraftFiles
from ..stores.files import Descent
from ..stores.rows import Noted, Row, row_of
from ..stores.trees import Tree
from .shelf import Shelf
from .stores import Stores
from .watches import Watch

SHARE = 20  # the part of the scope's bytes: one in so many
_ASKED, _ASKED_PART = 3000, 30  # files: so many, or one in so many
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be copied anew, of what is older than `days` at the moment `now_ns`; `largest` is the size of a
    single file."""

    now_ns: int = 0
    days: int = 0
    bytes: int = 0
    largest: int = 0


NOTHING = Limits()


def limits_of(stores: Stores, scope_bytes: int, draft: Path) -> Limits:
    """As the settings say; no more than a quarter of the room that is left."""
    days = stores.settings.engine.fresh_copy_after
    if days == 0:
        return NOTHING
    room = free_bytes(draft) // 4
    return Limits(int(stores.now().timestamp() * 1e9), days, min(scope_bytes // SHARE, room), room)


class Freshening:
    """The fresh copies of one snapshot; use it with `with`, and ask it about each file that would be shared."""

    def __init__(
        self, limits: Limits, live: Tree, paths: int, watch: Watch, born: Callable[[int, str], int | None] = born_ns
    ) -> None:
        self._limits = limits
        self._watch = watch
        self._left = limits.bytes
        self._live = Descent(live.root)
        self._born = born
        self._paths = max(paths, 1)
        self._asked = max(_ASKED, paths // _ASKED_PART)
        self._first = random.randrange(self._paths) if paths > self._asked else 0  # noqa: S311  (no secret)
        self._seen = 0

    def __enter__(self) -> Freshening:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.close()

    def may_take(self, noted: Noted) -> bool:
        """Whether any of a sheet can get a new copy; if not, all of it counts as asked about."""
        count = (len(noted.sheet) if noted.folder else 0) + sum(row.folder != "" for row in noted.odd.values())
        first, last = self._seen - self._first, self._seen + count - 1 - self._first
        in_turn = first % self._paths < self._asked or last % self._paths < self._asked or count >= self._paths
        if self._left > 0 and in_turn:
            return True
        self._seen += count
        return False

    def take(self, row: Row, files: DraftFiles, shelf: Shelf) -> bool:
        """Store a new copy, if it is time; False: the older one has to serve."""
        number, self._seen = self._seen, self._seen + 1
        if self._left <= 0 or (number - self._first) % self._paths >= self._asked or row.stat.size == 0:
            return False
        limits, size = self._limits, row.stat.size
        is_alone = size > limits.bytes
        fits = size <= limits.largest and self._left == limits.bytes if is_alone else size <= self._left
        if not fits:
            return False
        born = self._born_of(row, shelf)
        if born is None or limits.now_ns - born < limits.days * _DAY_NS * (2 if is_alone else 1):
            return False
        if not self._copy(row, files):
            return False
        self._left -= size
        return True

    def _born_of(self, row: Row, shelf: Shelf) -> int | None:
        with contextlib.suppress(OSError):
            return self._born(*shelf.of(row.folder).parent(os.fsdecode(row.copy)))
        return None

    def _copy(self, row: Row, files: DraftFiles) -> bool:
        path = os.fsdecode(row.path)
        try:
            entry, stat = files.copy(self._live, path, lambda _: self._watch.check())
        except TargetError:
            raise
        except (ChangedError, OSError):
            return False
        same = (entry.sha256, entry.attributes) == (row.sha256, row.attributes)
        if same and row.is_same(row_of(path, stat, 0, attributes=entry.attributes)):
            return True
        files.remove(path)
        return False

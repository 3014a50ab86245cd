"""The stored files of older snapshots, which a new one may share.

Rule: a stored copy whose size or time is no longer right is never shared, nor one that a verification found damaged,
in whatever snapshot it looked at it.

>>> with Shelf(root, damage) as shelf: shelf.fault("site/2026-11-21T10-53-15Z", "a.txt", row)      # doctest: +SKIP
''
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import ChangedError
from ..model import Attributes, Snapshot
from ..stores import attributes as xattrs
from ..stores.files import Descent
from ..stores.keeping import keeping_of
from ..stores.readings import CHUNK, forget
from ..stores.rows import Row
from ..stores.sparse import Sink, room_of
from .damage import NO_DAMAGE, Damage

OTHER_OWNER = "other-owner"  # a stored copy that who wrote it could not give to its owner: not shared, nor damaged
_MOST_OPEN = 8


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
        self._keeping = keeping_of(root)
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
        """What is wrong with the stored copy of a row, as a code; empty: size, time, mode and owner are the
        row's, as far as the disk keeps them.

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
            return "damaged.file-missing"
        if self._damage.has(stored):
            return "damaged.file-bytes"
        stat = row.stat
        found = (stored.st_mode, stored.st_uid, stored.st_gid, stored.st_size, stored.st_mtime_ns)
        wished = (stat.mode, stat.uid, stat.gid, stat.size, stat.mtime_ns)
        if found != wished and self._keeping.pressed(*found) != self._keeping.pressed(*wished):
            others = (found[0], *wished[1:3], *found[3:])
            if others == wished:
                return OTHER_OWNER
            return "damaged.file-size" if stored.st_size != stat.size else "noted.attributes"
        if stored.st_dev != self._device:
            self.bytes_elsewhere += room_of(stored)
        return ""

    def has_bytes(self, folder: str, path: str, sha256: str, check: Sink) -> bool:
        """Whether a stored copy has the bytes of a digest, on the disk and not in memory only.

        Parameters
        ----------
        check: told of each piece that is read; may raise to stop.
        """
        digest = hashlib.sha256()
        try:
            descriptor, _ = self.of(folder).open(path)
            with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123
                forget(descriptor)
                while chunk := file.read(CHUNK):
                    check(chunk)
                    digest.update(chunk)
        except (ChangedError, OSError):
            return False
        return digest.hexdigest() == sha256

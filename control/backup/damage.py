"""What is known to be damaged, so that no new snapshot shares it.

Rules:

- Of a snapshot in which a verification found damage nothing is shared, in the trash or out of it.
- A stored file of it that is not as it was written is the same inode in every snapshot that shares it: those are as
  damaged, though nobody has verified them. So it is known by its inode, wherever it is met.
- Where a verification found more than it names, every shared file of that snapshot is under suspicion; where these
  are too many to be remembered, nothing is shared with any snapshot.

>>> known_damage(stores).inodes         # doctest: +SKIP
frozenset({(2049, 1180423)})
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UnavailableError
from ..model import Scope, Verdict
from ..stores.stored_tree import StoredTree
from .stores import Stores

_MOST = 200_000  # inodes that are remembered

Inode = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Damage:
    """Folders of snapshots, below the repository's root, and stored files, that are not to be shared; `is_everywhere`:
    nothing is."""

    places: frozenset[str] = frozenset()
    inodes: frozenset[Inode] = frozenset()
    is_everywhere: bool = False

    def has(self, stat: os.stat_result) -> bool:
        """Whether this is a stored file that was found damaged."""
        return bool(self.inodes) and (stat.st_dev, stat.st_ino) in self.inodes

    def has_file(self, path: Path) -> bool:
        """The same, by its path; what is not there is not damaged."""
        try:
            return bool(self.inodes) and self.has(path.lstat())
        except OSError:
            return False


NO_DAMAGE = Damage()


def known_damage(stores: Stores) -> Damage:
    """What the verifications of all snapshots came to; nothing where the control database does not answer."""
    try:
        found = list(stores.verdicts.damaged())
    except UnavailableError:
        return NO_DAMAGE
    places: set[str] = set()
    inodes: set[Inode] = set()
    for scope, name, verdicts in found:
        # A project's verdict may be on its part of the site's snapshot; names are taken on one of the two sides only.
        for one in {scope, Scope.site()}:
            places.add(stores.repository.place_of(one, name))
            for folder in stores.repository.folders(one, name):
                for inode in _damaged_in(folder, verdicts):
                    inodes.add(inode)
                    if len(inodes) > _MOST:
                        return Damage(frozenset(places), is_everywhere=True)
    return Damage(frozenset(places), frozenset(inodes))


def _damaged_in(folder: Path, verdicts: tuple[Verdict, ...]) -> Iterator[Inode]:
    """The files of one snapshot that other snapshots have too, and that are damaged or may be."""
    named = {path for verdict in verdicts for path in verdict.damaged_paths}
    is_known = all(verdict.names_all_damaged for verdict in verdicts)
    for path in named:
        try:
            found = (folder / path).lstat()
        except (OSError, ValueError):  # a name that the control database cannot hold as it is
            is_known = False
            continue
        if _is_shared(found):
            yield found.st_dev, found.st_ino
    if not is_known:
        for top in ("files", "db"):
            for seen in StoredTree(folder, top).walk(lambda *_: None):
                if _is_shared(seen.stat):
                    yield seen.stat.st_dev, seen.stat.st_ino


def _is_shared(found: os.stat_result) -> bool:
    return modes.S_ISREG(found.st_mode) and found.st_nlink > 1

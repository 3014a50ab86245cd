"""What a restore leaves alone since it is excluded: by the settings of now, or by those of the snapshot.

Rules:

- What is excluded on either side is neither created, replaced nor deleted; a plan says what of the snapshot does not
  come back for that.
- A folder that holds something excluded stays, and nothing is put into the place of something excluded. For these two
  the disk is asked, and only about what would go or come.

>>> sparing = Sparing(want.excluded | have.excluded, live)      # doctest: +SKIP
>>> sparing.stays("edition/1/thumbs")                           # doctest: +SKIP
True
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterator

from ..errors import Problem
from ..model import Change, FileEntry
from ..patterns import Exclusion
from ..slices import Slice
from ..stores.trees import Tree

_NAMED = 3


class Sparing:
    """For one comparison of the files of a scope."""

    def __init__(self, excluded: Exclusion, live: Tree) -> None:
        self._excluded = excluded
        self._live = live
        self._passed = 0  # files of the snapshot that do not come back
        self._first: list[str] = []
        self._blocked: set[str] = set()

    def wanted(self, entries: Iterator[FileEntry], part: Slice) -> Iterator[FileEntry]:
        """What a snapshot holds, without what is excluded, which is counted."""
        for entry in entries:
            if not self._covers(entry):
                yield entry
            elif entry.kind != "directory" and part.holds(entry.path):
                self._passed += 1
                if len(self._first) < _NAMED:
                    self._first.append(entry.path)

    def there(self, entries: Iterator[FileEntry]) -> Iterator[FileEntry]:
        """What is there, without what is excluded."""
        return (entry for entry in entries if not self._covers(entry))

    def _covers(self, entry: FileEntry) -> bool:
        return self._excluded.covers(entry.path, is_folder=entry.kind == "directory")

    def stays(self, path: str) -> bool:
        """Whether a live folder holds something excluded, itself and not further down."""
        if not self._excluded:
            return False
        prefix = "" if path == "." else f"{path}/"
        try:
            with self._live.parent(f"{prefix}?") as (folder, _), os.scandir(folder) as found:
                return any(
                    self._excluded.names(prefix + one.name, is_folder=one.is_dir(follow_symlinks=False))
                    for one in found
                )
        except OSError:
            return False

    def blocks(self, entry: FileEntry) -> bool:
        """Whether something excluded lies where an entry would be created: of another kind, or it was no such entry."""
        if not self._excluded.names(entry.path, is_folder=entry.kind != "directory"):
            return False
        try:
            with self._live.parent(entry.path) as (folder, name):
                is_folder = modes.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
        except OSError:
            return False
        if is_folder == (entry.kind == "directory"):
            return False
        self._blocked.add(entry.path)
        return True

    def unknown(self, paths: set[str]) -> set[str]:
        """Those of these paths that are left for another reason."""
        return paths - self._blocked

    def warnings(self, part: Slice) -> Iterator[Problem]:
        """What the plan leaves alone."""
        if self._passed:
            more = self._passed - len(self._first)
            names = ", ".join(self._first) + (f" and {more} more" if more else "")
            what = "is in the snapshot and does not come back: it is excluded."
            yield Problem("excluded", what, names, "Take it from the snapshot's folder, or change files.exclude.")
        stay = [item.name for item in part.kept if item.change is Change.DELETE]
        if stay:
            more = len(stay) - _NAMED
            names = ", ".join(stay[:_NAMED]) + (f" and {more} more" if more > 0 else "")
            yield Problem("excluded", "stays as a folder: excluded files lie in it.", names)
        for path in [*(item.name for item in part.kept if item.change is not Change.DELETE), *sorted(self._blocked)]:
            what = "is left as it is: something excluded lies there."
            yield Problem("left", what, path, "Move that away, then restore again.")

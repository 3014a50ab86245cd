"""The drafts of snapshots: folders beside them that no list shows, for as long as they are written.

Rules:

- A draft that was left over by a killed make stays until the next make of its scope has ended: that one finds its files
  by what was seen, and takes them over.
- What was not flushed may be lost by a power cut, whatever size and time it shows: files of a draft are trusted only
  while the machine runs that wrote them.

>>> with repository.drafts.begin(scope, "job-id") as draft: ...      # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import UnavailableError
from ..model import Scope
from .disk import remove_tree, scratch_name, sweep_scratch, translate
from .draft import Draft, is_of_this_boot

_FOLDER = ".drafts"


class Drafts:
    """Those of one repository, below its root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / _FOLDER

    @contextlib.contextmanager
    def begin(self, scope: Scope, key: str) -> Iterator[Draft]:
        """A new draft; afterwards none of the scope is left, unless this one was committed. Needs the scope's lock."""
        folder = self._folder / scratch_name(scope, key)
        try:
            remove_tree(folder)
            folder.mkdir(parents=True, mode=0o700)
            draft = Draft(folder)
        except OSError as error:
            remove_tree(folder)
            raise translate(error, str(self._root), "nothing was written") from error
        try:
            yield draft
        finally:
            draft.abandon()
            self.sweep(scope)

    def take_back(self, scope: Scope, folder: Path) -> None:
        """Remove what had become a snapshot; whole or not at all, as all that lies here goes with the next make."""
        target = self._folder / scratch_name(scope, "back")
        remove_tree(target)
        folder.rename(target)
        remove_tree(target)

    def place_of(self, draft: Draft) -> str:
        """The folder of a draft, below the repository's root."""
        return f"{_FOLDER}/{draft.folder.name}"

    @staticmethod
    def holds(place: str) -> bool:
        """Whether a folder below the root is that of a draft."""
        return place.startswith(f"{_FOLDER}/")

    def is_trusted(self, place: str) -> bool:
        """Whether the files of a snapshot or draft are what was written, as far as a power cut goes."""
        return not self.holds(place) or is_of_this_boot(self._root / place)

    def sweep(self, scope: Scope) -> None:
        """Remove all drafts of this scope; call it with the scope's lock held."""
        sweep_scratch(self._folder, scope)

    def require_writable(self) -> None:
        """Raise UnavailableError or NoRoomError where nothing can be written, before anything begins; also where two
        names that differ only in case would be one file."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            probe = self._folder / f".probe-{os.getpid()}"
            try:
                probe.write_bytes(b"keyframe")
                tells_case = not probe.with_name(probe.name.upper()).exists()
            finally:  # a full disk lets a file begin that it has no room for
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise translate(error, str(self._root), "nothing was changed") from error
        if not tells_case:
            raise UnavailableError(
                "does not tell apart names that differ only in upper and lower case.",
                subject=str(self._root),
                hint="Keep snapshots on another file system; nothing was changed.",
            )

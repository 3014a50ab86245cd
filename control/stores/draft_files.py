"""The files of a draft: copied from the live ones, or shared with an older snapshot.

Rules:

- What is written and removed goes below open directories: a path that was a directory at the first look and is a link
  at the second would lead out of the draft otherwise.
- Directories come into being when something is put into them; they are writable until they are dressed.
- One instance serves one thread.

>>> files.copy(live, "edition/1/model.glb")[0].sha256        # doctest: +SKIP
'9f86d081884c7d65…'
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat as modes
from pathlib import Path

from ..errors import ChangedError
from ..model import FileEntry
from .copies import copy_file, copy_link, dress_folder, writing
from .files import Descent, entry_of_stat
from .small import Way, takes_small
from .sparse import Sink

# No more links to this file, another device, a file system without links, one that refuses them.
_CANNOT_SHARE = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)


class DraftFiles:
    """The folder `files` of a draft; use it with `with`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unshared: set[int] = set()  # devices whose files cannot be linked here
        self._descent = Descent(root)
        self._above: str | None = None  # the directory of the last path
        self._short: Way | None = None  # to there

    def __enter__(self) -> DraftFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._descent.close()

    def copy(self, live: Descent, path: str, alive: Sink | None = None) -> tuple[FileEntry, os.stat_result]:
        """Copy a live file; what was copied, and its stat. Errors as `copy_file`."""
        folder, name = self.parent(path)
        way = self._way(live, path, folder)
        if way is not None and (found := way.copy(name, alive=alive)) is not None:
            return entry_of_stat(path, found[1], sha256=found[0].hex()), found[1]
        return copy_file(live, path, name, folder, alive)

    def way(self, live: Descent, path: str) -> Way | None:
        """From the live directory of `path` to its directory here, if small files can be copied by the short way; valid
        until this or `live` are asked for another path."""
        return self._way(live, path, self.parent(path)[0])

    def _way(self, live: Descent, path: str, folder: int) -> Way | None:
        above = path.rpartition("/")[0]
        if above != self._above:
            self._above, self._short = above, Way(-1, -1) if takes_small(folder) else None
        if self._short is not None:
            self._short.target = folder
            try:
                self._short.source = live.parent(path)[0]
            except OSError:
                return None
        return self._short

    def share(self, older: Descent, stored: str, path: str, sha256: str) -> None:
        """Link the file `stored` of an older snapshot as `path`; where that cannot be, copy it.

        Raises
        ------
        ChangedError: it is no longer there, or not what it was.
        """
        try:
            if self._link(older, stored, path):
                return
            folder, name = self.parent(path)
            copied, _ = copy_file(older, stored, name, folder)
        except FileNotFoundError as error:
            raise ChangedError("vanished from an older snapshot.", subject=path, hint="Try again.") from error
        if copied.sha256 != sha256:
            raise ChangedError("is damaged in an older snapshot.", subject=path, hint="Verify the older ones.")

    def _link(self, older: Descent, stored: str, path: str) -> bool:
        source, old_name = older.parent(stored)
        if self._unshared and os.fstat(source).st_dev in self._unshared:
            return False
        folder, name = self.parent(path)
        try:
            try:
                os.link(old_name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                os.unlink(name, dir_fd=folder)
                os.link(old_name, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _CANNOT_SHARE:
                raise
            # One file may have all the links it can; anything else holds for its whole file system.
            if error.errno != errno.EMLINK:
                self._unshared.add(os.fstat(source).st_dev)
                _tell(older, error)
            return False
        return True

    def twin(self, first: str, path: str, sha256: str) -> None:
        """Store a file that is a hard link to `first`, which is stored already, as a link as well."""
        with Descent(self.root) as other:
            self.share(other, first, path, sha256)

    def add_link(self, entry: FileEntry) -> None:
        """Make the symbolic link of `entry`."""
        folder, name = self.parent(entry.path)
        copy_link(entry, name, folder)

    def dress(self, entry: FileEntry) -> None:
        """Give a directory, made if need be, owner and mode of `entry`; nothing is put into it any more."""
        folder, name = self.parent(entry.path)
        try:
            dress_folder(name, entry, folder)
        except FileNotFoundError:
            os.mkdir(name, 0o700, dir_fd=folder)
            dress_folder(name, entry, folder)

    def remove(self, path: str) -> None:
        """Take out again what vanished from the live files, or became something else."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder, name = self._descent.parent(path)
            if modes.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                self._descent.close()
                with contextlib.closing(Descent(self.root)) as again:
                    folder, name = again.parent(path)
                    shutil.rmtree(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)

    def parent(self, path: str) -> tuple[int, str]:
        """The open directory that holds `path`, made if need be; raises TargetError where it cannot be made."""
        try:
            return self._descent.parent(path)
        except FileNotFoundError:
            above = path.rpartition("/")[0]
            folder, name = self.parent(above)
            with writing(), contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
            return self._descent.parent(path)


def _tell(older: Descent, error: OSError) -> None:
    import structlog  # here: a helper program begins in half the time without it

    log = structlog.get_logger(__name__)
    log.warning("files.not-linked", older=str(older.root), why=error.strerror, hint="They are copied.")

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
from .copies import copy_file, copy_link, dress_folder
from .files import Descent
from .small import copy_small, takes_small
from .sparse import Sink

# No more links to this file, another device, a file system without links, one that refuses them.
_CANNOT_SHARE = (errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)


class DraftFiles:
    """The folder `files` of a draft; use it with `with`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unshared: set[int] = set()  # devices whose files cannot be linked here
        self._descent = Descent(root)
        self._quick: tuple[str | None, bool] = (
            None,
            False,
        )  # a directory, and whether small files can be copied into it by the short way

    def __enter__(self) -> DraftFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._descent.close()

    def copy(self, live: Descent, path: str, alive: Sink | None = None) -> tuple[FileEntry, os.stat_result]:
        """Copy a live file; what was copied, and its stat. Errors as `copy_file`."""
        folder, name = self.parent(path)
        if self._has_quick(path.rpartition("/")[0], folder):
            found = copy_small(live, path, folder, alive)
            if found is not None:
                return found
        return copy_file(live, path, name, folder, alive)

    def _has_quick(self, path: str, folder: int) -> bool:
        """Whether small files can be copied into this open directory by the short way."""
        if path != self._quick[0]:
            self._quick = path, takes_small(folder)
        return self._quick[1]

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
        """The open directory that holds `path`, made if need be."""
        try:
            return self._descent.parent(path)
        except FileNotFoundError:
            above = path.rpartition("/")[0]
            folder, name = self.parent(above)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
            return self._descent.parent(path)


def _tell(older: Descent, error: OSError) -> None:
    import structlog  # here: a helper program begins in half the time without it

    log = structlog.get_logger(__name__)
    log.warning("files.not-linked", older=str(older.root), why=error.strerror, hint="They are copied.")

"""Stored files, copied into a new tree of their own that nobody looks at yet.

Rules:

- Copied, never linked, and hashed while they are copied: a stored file that is not as it was written stops the work.
- Owner, mode, time and attributes are those of the manifest. What the disk refuses of them is left out; who compares
  afterwards sees it.
- Directories get theirs last, so that one without the right to write holds up nothing.

>>> with Placing(folder / "files", Path("/mnt/.old.keyframe-1")) as tree: tree.add(entry, entry.path)  # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..errors import DamagedError, UnavailableError
from ..model import FileEntry
from ..stores import attributes as xattrs
from ..stores.copies import TargetError, copy_file, copy_link, dress_folder, refused
from ..stores.disk import translate
from ..stores.files import Descent
from ..stores.sparse import Sink

_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_STATE = "nothing of the site was changed"


class Placing:
    """One tree; use it with `with`.

    Parameters
    ----------
    source: the `files` folder of a snapshot.
    root: the folder that is filled; it is there.
    alive: told of each piece that is copied; may raise to stop.
    """

    def __init__(self, source: Path, root: Path, alive: Sink | None = None) -> None:
        self._source = Descent(source)
        self._tree = Descent(root)
        self._alive = alive
        self._folders: list[FileEntry] = []

    def __enter__(self) -> Placing:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
        self._tree.close()

    def add(self, entry: FileEntry, stored: str) -> None:
        """Put one thing at `entry.path`; what lies around it comes before it.

        Parameters
        ----------
        stored: where it lies in the source.

        Raises
        ------
        DamagedError: `file-missing`, `file-bytes`. NoRoomError, UnavailableError: the disk.
        """
        try:
            if entry.kind == "directory":
                self._make_folder(entry)
                return
            folder, name = self._tree.parent(entry.path)
            if entry.kind == "link":
                copy_link(entry, name, folder)
                return
            copied, _ = copy_file(self._source, stored, Path(name), folder, self._alive)
            if copied.sha256 != entry.sha256:
                raise self._damage("file-bytes", entry, "is not as it was written.")
            _dress(name, entry, folder)
        except OSError as error:
            if error.errno in _MISSING and not isinstance(error, TargetError):
                raise self._damage("file-missing", entry, "is missing in the snapshot.") from error
            raise translate(error, entry.path, _STATE) from error

    def finish(self) -> None:
        """Give the directories what is theirs."""
        self._tree.close()
        try:
            for entry in reversed(self._folders):
                folder, name = self._tree.parent(entry.path)
                dress_folder(name, entry, folder)
        except OSError as error:
            raise translate(error, str(self._tree.root), _STATE) from error

    def check(self, entries: Iterable[FileEntry]) -> None:
        """Read every file again, before the directories are finished: what was written is what was to be.

        Raises
        ------
        UnavailableError: the disk gives back something else.
        """
        for entry in (one for one in entries if one.kind == "file"):
            try:
                _, sha256, _ = self._tree.digest(entry.path, self._alive)
            except OSError as error:
                raise translate(error, entry.path, _STATE) from error
            if sha256 != entry.sha256:
                what = "is not what was written just now."
                raise UnavailableError(what, subject=entry.path, hint=f"Look at the disk; {_STATE}.")

    def _make_folder(self, entry: FileEntry) -> None:
        if entry.path != ".":
            folder, name = self._tree.parent(entry.path)
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=folder)
        self._folders.append(replace(entry, sha256="", target=""))

    def _damage(self, damage: str, entry: FileEntry, what: str) -> DamagedError:
        hint = f"Take another snapshot, or a part without it; {_STATE}."
        return DamagedError(damage, what, subject=entry.path, hint=hint)


def _dress(name: str, entry: FileEntry, folder: int) -> None:
    """Give a file what the manifest says; the stored copy may lie on a disk that does not keep it."""
    is_root = os.geteuid() == 0
    if is_root:
        with refused():
            os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    else:  # who may not read and write to it cannot give it attributes
        os.chmod(name, entry.mode | 0o600, dir_fd=folder)
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        xattrs.give(descriptor, entry.attributes, leniently=True)
        with refused():
            os.fchmod(descriptor, entry.mode)
        os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
    finally:
        os.close(descriptor)

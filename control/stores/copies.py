"""Copies of single files and links, hashed as they are written, dressed as what they were copied from.

Rules:

- A copy is written under a new inode: what is there goes first, it may share its inode with an older snapshot.
- A file that changed while it was read is copied again, three times, then named; a half copy is removed.
- Whose fault it was can be told: `TargetError` is about where the copy goes to, any other `OSError` about the source.
- Bytes go through this process: they have to be hashed, hence read, and a write out of the same buffer costs less than
  reading them twice (`copy_file_range` or `sendfile` beside a reading for the hash). It works between any two file
  systems.
- An attribute, an owner or a mode that the disk does not take is left out there; the manifest has it.

>>> copy_file(tree.descent(), "edition/1/a.txt", Path("staged/1"))        # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
from collections.abc import Iterator
from pathlib import Path

from ..errors import ChangedError
from ..model import Attributes, FileEntry
from . import attributes as xattrs
from .files import TRIES, Descent, entry_of_stat
from .sparse import Sink, pour

_NOT_KEPT = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class TargetError(OSError):
    """A copy could not be written: the fault of where it goes to, not of what is copied."""


def copy_file(
    source: Descent, path: str, target: Path | str, folder: int | None = None, alive: Sink | None = None
) -> tuple[FileEntry, os.stat_result]:
    """Copy one regular file, hashing what is written; mode, times, attributes and, as root, owner are the source's.

    Its holes are holes in the copy, too.

    Parameters
    ----------
    target: is replaced if it exists (unlinked first: it may share its inode with an older snapshot).
    folder: the open directory that holds `target`, which then is a name.
    alive: told of each piece; may raise to stop the copy.

    Raises
    ------
    ChangedError: the source changed while it was read, three times in a row.
    TargetError: the copy cannot be written. OSError: the source cannot be read. A half copy is removed.
    """
    for attempt in range(TRIES):
        descriptor, stat = source.open(path)
        try:
            entry = _copy_open(descriptor, stat, path, (target, folder), alive)
        except ChangedError:
            if attempt == TRIES - 1:
                raise
            continue
        finally:
            os.close(descriptor)
        return entry, stat
    raise AssertionError("unreachable")


def _copy_open(
    descriptor: int, stat: os.stat_result, path: str, place: tuple[Path | str, int | None], alive: Sink | None
) -> FileEntry:
    target, folder = place
    out = _created(target, folder, modes.S_IMODE(stat.st_mode))
    copy = _Copy(out, alive)
    try:
        attributes = xattrs.read(descriptor)
        sha256 = pour(descriptor, stat, path, copy.write, copy.skip)
        with writing():
            copy.end()
            _dress_file(out, stat, attributes)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(target, dir_fd=folder)
        raise
    finally:
        os.close(out)
    return entry_of_stat(path, stat, "", attributes, sha256)


class _Copy:
    """Writes data and holes into a new file."""

    def __init__(self, descriptor: int, alive: Sink | None) -> None:
        self._descriptor = descriptor
        self._alive = alive
        self._size = 0
        self._in_hole = False

    def write(self, chunk: bytes) -> None:
        with writing():
            if self._in_hole:
                os.lseek(self._descriptor, self._size, os.SEEK_SET)
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._size, self._in_hole = self._size + len(chunk), False
        if self._alive is not None:
            self._alive(chunk)

    def skip(self, zeros: bytes) -> None:
        self._size, self._in_hole = self._size + len(zeros), True
        if self._alive is not None:
            self._alive(zeros)

    def end(self) -> None:
        if self._in_hole:
            os.ftruncate(self._descriptor, self._size)


def _created(target: Path | str, folder: int | None, mode: int) -> int:
    """A new file, open to be written; what was there under its name is gone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with writing():
        try:
            return os.open(target, flags, mode, dir_fd=folder)
        except FileExistsError:
            os.unlink(target, dir_fd=folder)
            return os.open(target, flags, mode, dir_fd=folder)


def copy_link(entry: FileEntry, target: Path | str, folder: int | None = None) -> None:
    """Make a symbolic link like `entry`; an existing one is replaced. `folder` as in `copy_file`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target, dir_fd=folder)
    os.symlink(entry.target, target, dir_fd=folder)
    if os.geteuid() == 0:
        with refused():
            os.chown(target, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
        place = str(target) if folder is None else xattrs.place_of(folder, str(target))
        xattrs.give(place, entry.attributes, leniently=True)
    os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)


def dress_folder(name: str, entry: FileEntry, folder: int) -> None:
    """Give the directory `name` in the open directory `folder` the owner (as root), attributes and mode of `entry`."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        if os.geteuid() == 0:
            with refused():
                os.fchown(descriptor, entry.uid, entry.gid)
        xattrs.give(descriptor, entry.attributes, leniently=True)
        with refused():
            os.fchmod(descriptor, entry.mode)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """What the disk does not keep is left out, be it owner or mode (`keeping.py`)."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_KEPT:
            raise


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Whatever the system refuses meanwhile is a TargetError."""
    try:
        yield
    except OSError as error:
        raise TargetError(error.errno, error.strerror) from error


def _dress_file(descriptor: int, stat: os.stat_result, attributes: Attributes) -> None:
    now = os.fstat(descriptor)
    given = os.geteuid() == 0 and (now.st_uid, now.st_gid) != (stat.st_uid, stat.st_gid)
    if given:
        with refused():
            os.fchown(descriptor, stat.st_uid, stat.st_gid)
    if attributes and os.geteuid() != 0:  # who may not write to his own file cannot give it attributes either
        os.fchmod(descriptor, modes.S_IMODE(stat.st_mode) | modes.S_IWUSR)
        given = True
    given |= xattrs.give(descriptor, attributes, leniently=True)
    if given or now.st_mode != stat.st_mode:  # a new owner takes away the set-user-id bit, a new access list sets bits
        with refused():
            os.fchmod(descriptor, modes.S_IMODE(stat.st_mode))
    os.utime(descriptor, ns=(stat.st_mtime_ns, stat.st_mtime_ns))

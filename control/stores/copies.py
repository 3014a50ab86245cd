"""Copies of single files and links, hashed as they are written, dressed as what they were copied from.

Rules:

- A copy is written under a new inode: what is there goes first, it may share its inode with an older snapshot.
- A file that changed while it was read is copied again, three times, then named; a half copy is removed.
- Whose fault it was can be told: `TargetError` is about where the copy goes to, any other `OSError` about the source.

>>> copy_file(tree, "edition/1/a.txt", Path("staged/1"))        # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import os
import stat as modes
from collections.abc import Iterator
from pathlib import Path

from ..errors import ChangedError
from ..model import FileEntry
from .files import TRIES, Tree, entry_of_stat, with_digest


class TargetError(OSError):
    """A copy could not be written: the fault of where it goes to, not of what is copied."""


def is_as_written(tree: Tree, entry: FileEntry) -> bool:
    """Whether the file of `entry` is there with the size and time it was stored with; its bytes are not read."""
    try:
        with tree.parent(entry.path) as (folder, name):
            stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return modes.S_ISREG(stat.st_mode) and (stat.st_size, stat.st_mtime_ns) == (entry.size, entry.mtime_ns)


def copy_file(
    source: Tree, path: str, target: Path | str, folder: int | None = None
) -> tuple[FileEntry, os.stat_result]:
    """Copy one regular file, hashing what is written; mode, times and, as root, owner are those of the source.

    Parameters
    ----------
    target: is replaced if it exists (unlinked first: it may share its inode with an older snapshot).
    folder: the open directory that holds `target`, which then is a name.

    Raises
    ------
    ChangedError: the source changed while it was read, three times in a row.
    TargetError: the copy cannot be written. OSError: the source cannot be read. A half copy is removed.
    """
    for attempt in range(TRIES):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(target, dir_fd=folder)
        with _writing():
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            with open(descriptor, "wb", buffering=0) as out:
                stat, sha256 = source.read(path, lambda chunk, out=out: _write_all(out.fileno(), chunk))  # type: ignore[misc]
                with _writing():
                    _dress_file(out.fileno(), stat)
        except ChangedError:
            os.unlink(target, dir_fd=folder)
            if attempt == TRIES - 1:
                raise
            continue
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(target, dir_fd=folder)
            raise
        entry = entry_of_stat(path, stat)
        return with_digest(entry, sha256), stat
    raise AssertionError("unreachable")


def copy_link(entry: FileEntry, target: Path | str, folder: int | None = None) -> None:
    """Make a symbolic link like `entry`; an existing one is replaced. `folder` as in `copy_file`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target, dir_fd=folder)
    os.symlink(entry.target, target, dir_fd=folder)
    if os.geteuid() == 0:
        os.chown(target, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)


def dress_folder(folder: Path, entry: FileEntry) -> None:
    """Give a directory the owner (as root) and mode of `entry`."""
    if os.geteuid() == 0:
        os.chown(folder, entry.uid, entry.gid, follow_symlinks=False)
    os.chmod(folder, entry.mode)


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    with _writing():
        while view:
            view = view[os.write(descriptor, view) :]


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TargetError(error.errno, error.strerror) from error


def _dress_file(descriptor: int, stat: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.fchown(descriptor, stat.st_uid, stat.st_gid)
    os.fchmod(descriptor, modes.S_IMODE(stat.st_mode))
    os.utime(descriptor, ns=(stat.st_mtime_ns, stat.st_mtime_ns))

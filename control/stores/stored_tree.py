"""The tree of stored files as it lies on the disk, walked for a verification.

Rules:

- A stream in the order of the manifest (bytes of the path, `.` first); memory grows with the longest list of names on
  the way, not with the tree.
- No link is followed, and one directory is open at a time: a tree may be deeper than a path or a process may be.
- Nothing is left out: what is neither file, directory nor link is there too, for the caller to judge.

>>> [seen.path for seen in StoredTree(folder, "files").walk(print)]     # doctest: +SKIP
['.', 'edition', 'edition/1']
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..model import FileEntry
from .attributes import only, place_of, read
from .keeping import WHOLE, Keeping

_MOST = 1 << 30  # bytes of a file that is read as a whole; a spoilt one may say that it is as large as any
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing of the tree; `folder` is the open directory that holds it, until the walk goes on."""

    path: str
    name: str
    stat: os.stat_result
    folder: int

    @property
    def kind(self) -> str:
        """file, directory or link, as the manifest says it; anything else: other."""
        mode = self.stat.st_mode
        for kind, fits in (("file", modes.S_ISREG), ("directory", modes.S_ISDIR), ("link", modes.S_ISLNK)):
            if fits(mode):
                return kind
        return "other"

    def open(self) -> int:
        """A descriptor to read the file with, its caller's to close."""
        return os.open(self.name, FILE, dir_fd=self.folder)

    def target(self) -> str:
        """Where the link leads."""
        return os.readlink(self.name, dir_fd=self.folder)


@dataclass(slots=True)
class _Level:
    prefix: str
    identity: tuple[int, int]
    rows: Iterator[tuple[bytes, str, bool]]


class StoredTree:
    """What lies below `parts` of `folder`; `folder` itself may be reached through links, nothing below it."""

    def __init__(self, folder: Path, *parts: str) -> None:
        self._folder = folder
        self._parts = parts

    def walk(self, unlisted: Callable[[str, OSError], None]) -> Iterator[Seen]:
        """All there is; nothing where the top is not there.

        Parameters
        ----------
        unlisted: told the path of what the disk does not tell about, and why.
        """
        try:
            current = self._open(())
        except FileNotFoundError:
            return
        except OSError as error:
            unlisted(".", error)
            return
        try:
            yield Seen(".", ".", os.fstat(current), current)
            stack = [self._level("", current, unlisted)]
            while stack:
                below = None
                for _, name, descend in stack[-1].rows:
                    path = stack[-1].prefix + name
                    if descend:
                        below = self._below(current, name, path, unlisted)
                        if below is not None:
                            os.close(current)
                            current = below
                            stack.append(self._level(path + "/", current, unlisted))
                            break
                        continue
                    status = self._status(current, name, path, unlisted)
                    if status is not None:
                        yield Seen(path, name, status, current)
                if below is None:
                    stack.pop()
                    if stack:
                        current = self._above(current, stack)
        finally:
            os.close(current)

    def _open(self, parts: tuple[str, ...]) -> int:
        return _open_folder(self._folder, *self._parts, *parts)

    def _level(self, prefix: str, folder: int, unlisted: Callable[[str, OSError], None]) -> _Level:
        status = os.fstat(folder)
        rows: list[tuple[bytes, str, bool]] = []
        try:
            with os.scandir(folder) as found:
                for one in found:
                    rows.append((os.fsencode(one.name), one.name, False))
                    # A directory is listed under its own name, and descended under its name and "/": so that the
                    # whole is in the order of the bytes of paths ("a", "a.txt", "a/b").
                    if one.is_dir(follow_symlinks=False):
                        rows.append((os.fsencode(one.name) + b"/", one.name, True))
        except OSError as error:
            unlisted(prefix.rstrip("/") or ".", error)
        rows.sort()
        return _Level(prefix, (status.st_dev, status.st_ino), iter(rows))

    def _status(
        self, folder: int, name: str, path: str, unlisted: Callable[[str, OSError], None]
    ) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:  # gone since it was listed: as if it had never been there
            return None
        except OSError as error:
            unlisted(path, error)
            return None

    def _below(self, folder: int, name: str, path: str, unlisted: Callable[[str, OSError], None]) -> int | None:
        try:
            return os.open(name, FOLDER, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            unlisted(path, error)
            return None

    def _above(self, current: int, stack: list[_Level]) -> int:
        """The open directory of the last level. `..` leads there, unless somebody moved things meanwhile, or this
        directory may be listed and not be searched."""
        above = -1
        with contextlib.suppress(PermissionError):
            above = os.open("..", FOLDER, dir_fd=current)
            status = os.fstat(above)
            if (status.st_dev, status.st_ino) != stack[-1].identity:
                os.close(above)
                above = -1
        if above < 0:
            above = self._open(tuple(stack[-1].prefix.rstrip("/").split("/")) if stack[-1].prefix else ())
        os.close(current)
        return above


def is_dressed(entry: FileEntry, seen: Seen, kinds: frozenset[bytes], keeping: Keeping = WHOLE) -> bool:
    """Whether mode, time and extended attributes are those of the manifest; owners are not compared, only root can keep
    them.

    Parameters
    ----------
    kinds: the attributes that this disk can have, see `kept_at`.
    keeping: what else it keeps.
    """
    status = seen.stat
    if entry.kind != "link" and keeping.modes and modes.S_IMODE(status.st_mode) != entry.mode:
        return False
    if entry.kind != "directory" and status.st_mtime_ns not in (entry.mtime_ns, keeping.cut(entry.mtime_ns)):
        return False
    if entry.kind == "link" and os.geteuid() != 0:
        return True
    with contextlib.suppress(OSError):
        return read(place_of(seen.folder, seen.name)) == only(entry.attributes, kinds)
    return False


def open_file(folder: Path, path: str) -> tuple[int, int]:
    """A descriptor and the size of a regular file below `folder`; no link on the way is followed."""
    *parts, name = path.split("/")
    holder = _open_folder(folder, *parts)
    try:
        descriptor = os.open(name, FILE, dir_fd=holder)
    finally:
        os.close(holder)
    status = os.fstat(descriptor)
    if not modes.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", path)
    return descriptor, status.st_size


def read_small(folder: Path, path: str) -> bytes:
    """The whole of a file that is known to be small."""
    descriptor, size = open_file(folder, path)
    with open(descriptor, "rb") as file:
        if size > _MOST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return file.read()


def names_below(folder: Path, path: str) -> set[str]:
    """The names in a directory below `folder`."""
    descriptor = _open_folder(folder, *path.split("/"))
    try:
        return set(os.listdir(descriptor))
    finally:
        os.close(descriptor)


def _open_folder(folder: Path, *parts: str) -> int:
    current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            below = os.open(part, FOLDER, dir_fd=current)
        finally:
            os.close(current)
        current = below
    return current

"""Single files below a directory: reaching and reading them; `trees.py` walks, `copies.py` copies.

Rules:

- Symbolic links are kept as links and never followed: each component is opened below the one before it (`dir_fd`,
  O_NOFOLLOW), so a link that is swapped in under our feet cannot lead a copy out of the scope.
- A file that changed while it was read is read again, three times, then named (`ChangedError`).

>>> with Descent(Path("project/1")) as live: live.digest("edition/1/scene.svx.json")[1]     # doctest: +SKIP
'9f86d081884c7d65…'
"""

from __future__ import annotations

import errno
import os
import stat as modes
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ChangedError
from ..model import Attributes, FileEntry
from . import attributes as xattrs
from .sparse import Sink, pour

RESERVED = ".keyframe"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
TRIES = 3


@dataclass(frozen=True, slots=True)
class Look:
    """One thing seen in a tree: its entry (a file's without digest and attributes), the stat it was taken from, when
    (wall clock)."""

    entry: FileEntry
    stat: os.stat_result
    at_ns: int


def path_key(path: str) -> bytes:
    """What inventories are sorted by: the bytes of the path; `.` goes before everything."""
    return b"" if path == "." else os.fsencode(path)


class Descent:
    """Reaches paths below a folder, one after the other, without following links; close it in the end.

    Only the directory of the last path is kept open: of files that come sorted, most lie in it too.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder: str | None = None
        self._descriptor = -1

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def parent(self, path: str) -> tuple[int, str]:
        """The open directory that holds `path`, valid until the next call, and the last name."""
        folder, _, name = path.rpartition("/")
        if folder != self._folder:
            self._enter(folder)
        return self._descriptor, name

    def _enter(self, folder: str) -> None:
        last, descriptor = self._folder, self._descriptor
        if last is not None and last and folder.startswith(last + "/"):
            names = folder[len(last) + 1 :].split("/")
        else:
            self.close()
            descriptor = os.open(self.root, FOLDER)
            names = folder.split("/") if folder else []
        self._folder, self._descriptor = None, -1
        try:
            for name in names:
                below = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
        except BaseException:
            os.close(descriptor)
            raise
        self._folder, self._descriptor = folder, descriptor

    def open(self, path: str) -> tuple[int, os.stat_result]:
        """Open a regular file to be read: descriptor and stat.

        Raises
        ------
        ChangedError: it is no longer a file. OSError: as the system says.
        """
        folder, name = self.parent(path)
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        stat = os.fstat(descriptor)
        if not modes.S_ISREG(stat.st_mode):
            os.close(descriptor)
            raise ChangedError("is no longer a file.", subject=path)
        return descriptor, stat

    def read(self, path: str, sink: Sink | None = None) -> tuple[os.stat_result, str, Attributes]:
        """Read a regular file once: its stat, SHA-256 and extended attributes; errors as `open` and `pour`."""
        descriptor, stat = self.open(path)
        try:
            attributes = xattrs.read(descriptor)  # before the last look at its ctime, which tells of them too
            return stat, pour(descriptor, stat, path, sink), attributes
        finally:
            os.close(descriptor)

    def digest(self, path: str, sink: Sink | None = None) -> tuple[os.stat_result, str, Attributes]:
        """`read`, tried three times."""
        for attempt in range(TRIES):
            try:
                return self.read(path, sink)
            except ChangedError:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def entry(self, path: str) -> FileEntry | None:
        """What lies at a path, with what only reading it tells; None: nothing.

        Raises
        ------
        ChangedError: it would not hold still. OSError: as the system says.
        """
        try:
            folder, name = self.parent(path)
            stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if modes.S_ISREG(stat.st_mode):
                stat, sha256, attributes = self.digest(path)
                return entry_of_stat(path, stat, attributes=attributes, sha256=sha256)
            target = os.readlink(name, dir_fd=folder) if modes.S_ISLNK(stat.st_mode) else ""
            return entry_of_stat(path, stat, target, xattrs.read(xattrs.place_of(folder, name)))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return None
            raise

    def close(self) -> None:
        """Let go of the directory that is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._folder, self._descriptor = None, -1


def entry_of_stat(
    path: str, stat: os.stat_result, target: str = "", attributes: Attributes = (), sha256: str = ""
) -> FileEntry:
    folder, link = modes.S_ISDIR(stat.st_mode), modes.S_ISLNK(stat.st_mode)
    return FileEntry(
        path=path,
        kind="directory" if folder else "link" if link else "file",
        size=0 if folder or link else stat.st_size,
        mode=modes.S_IMODE(stat.st_mode),
        uid=stat.st_uid,
        gid=stat.st_gid,
        mtime_ns=0 if folder else stat.st_mtime_ns,
        sha256=sha256,
        target=target,
        attributes=attributes,
    )


def with_content(entry: FileEntry, sha256: str, attributes: Attributes) -> FileEntry:
    """The same entry, of a file, with what only reading it tells."""
    return replace(entry, sha256=sha256, attributes=attributes)

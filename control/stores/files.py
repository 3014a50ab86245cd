"""Directories of files: walking, reading, copying; the only place that opens live and stored files.

Rules:

- An inventory is a stream sorted by the bytes of the path, `.` first; never a list.
- Symbolic links are kept as links and never followed: each component is opened below the one before it (`dir_fd`,
  O_NOFOLLOW), so a link that is swapped in under our feet cannot lead a copy out of the scope.
- A file that changed while it was read is read again, three times, then named (`ChangedError`).
- The folder `.keyframe` at the top of the working directory is ours: no inventory shows it. Nor is anything shown that
  is excluded, and no walk goes down into it.

>>> [entry.path for entry in Tree(Path("project/1")).walk(print)]   # doctest: +SKIP
['.', 'edition', 'edition/1', 'edition/1/scene.svx.json']
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat as modes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ChangedError, Problem
from ..model import Attributes, FileEntry, Scope
from ..patterns import Exclusion, Told
from . import attributes as xattrs
from .sparse import Sink, pour

RESERVED = ".keyframe"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_KEPT_OPEN = 64  # directories of a walk: a tree may be deeper than a process may have files open
_KEPT_KINDS = (modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK)
TRIES = 3
NOTHING = Exclusion(Scope.site())


ProblemSink = Callable[[str, Problem], None]  # the exact path, and what is wrong with it
# Path, stat, when that was taken (wall clock), target of a link, extended attributes of a directory or link.
Found = tuple[str, os.stat_result, int, str, Attributes]


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
            descriptor = os.open(self.root, _FOLDER)
            names = folder.split("/") if folder else []
        self._folder, self._descriptor = None, -1
        try:
            for name in names:
                below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
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

    def close(self) -> None:
        """Let go of the directory that is open."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._folder, self._descriptor = None, -1


@dataclass(slots=True)
class _Frame:
    """One directory on the way of a walk: its descriptor (-1: not open now), what stands before its names, the names
    that are still to come; a name with "/" at its end means: go down there."""

    descriptor: int
    prefix: str
    names: Iterator[str]

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


class Tree:
    """A folder and what lies below it, reached without following links.

    `excluded` is left out of every walk; `told` gets the path of each thing that is, but not of what lies in it.
    """

    def __init__(self, root: Path, reserved: str = "", excluded: Exclusion = NOTHING, told: Told | None = None) -> None:
        self.root = root
        self.reserved = reserved
        self._excluded = excluded
        self._told = told or _untold

    def exists(self) -> bool:
        """Whether the root is there and is a directory."""
        with contextlib.suppress(OSError):
            return modes.S_ISDIR(os.lstat(self.root).st_mode)
        return False

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that holds `path`, as an open descriptor, and the last name; no component is a link."""
        *folders, name = path.split("/")
        descriptor = os.open(self.root, _FOLDER)
        try:
            for folder in folders:
                below = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor, name
        finally:
            os.close(descriptor)

    def descent(self) -> Descent:
        """For whoever reaches one path after the other: directories stay open from one to the next."""
        return Descent(self.root)

    def walk(self, problem: ProblemSink) -> Iterator[Look]:
        """All files, directories and links, sorted by the bytes of the path.

        What cannot be listed, and what is neither file, directory nor link, goes to `problem` with its path.
        Nothing is yielded where the root is not there.
        """
        for path, stat, at_ns, target, attributes in self.paths(problem):
            yield Look(entry_of_stat(path, stat, target, attributes), stat, at_ns)

    def paths(self, problem: ProblemSink) -> Iterator[Found]:
        """As `walk`, undressed."""
        try:
            stat = os.lstat(self.root)
        except FileNotFoundError:
            return
        if not modes.S_ISDIR(stat.st_mode):
            problem(".", Problem("unavailable", "is not a folder.", ".", "It was left out."))
            return
        yield ".", stat, time.time_ns(), "", _attributes(stat, str(self.root))
        top = _Frame(-1, "", iter(()))
        if self._open(top, None, ".", problem):
            try:
                yield from self._below([top], problem)
            finally:
                top.close()

    def _below(self, stack: list[_Frame], problem: ProblemSink) -> Iterator[Found]:
        # A directory is listed under its own name and descended under its name plus "/": so that the whole stream is
        # in the order of the path's bytes ("a", "a.txt", "a/b").
        try:
            while stack:
                frame = stack[-1]
                for name in frame.names:
                    if name[-1] == "/":
                        below = _Frame(-1, frame.prefix + name, iter(()))
                        if self._open(below, frame, name[:-1], problem):
                            stack.append(below)
                            if len(stack) > _KEPT_OPEN:
                                stack[-_KEPT_OPEN - 1].close()
                            break
                        continue
                    found = self._look(frame, name, problem)
                    if found is not None:
                        yield found
                else:
                    stack.pop().close()
        finally:
            for frame in stack:
                frame.close()

    def _open(self, frame: _Frame, above: _Frame | None, name: str, problem: ProblemSink) -> bool:
        """Open the directory of a frame and list it; False where that cannot be."""
        path = frame.prefix.rstrip("/") or "."
        try:
            if above is None:
                frame.descriptor = os.open(self.root, _FOLDER)
            else:
                frame.descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self._descriptor(above))
            with os.scandir(frame.descriptor) as found:
                names = []
                for one in found:
                    if not frame.prefix and one.name == self.reserved:
                        continue
                    names.append(one.name)
                    if one.is_dir(follow_symlinks=False):
                        names.append(one.name + "/")
            if self._excluded:
                names = self._excluded.kept(frame.prefix, names, self._told)
        except OSError as error:
            frame.close()
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                what = f"cannot be listed ({error.strerror})."
                problem(path, Problem("unavailable", what, path, "Look at its rights."))
            return False
        # Text is in the order of its bytes already, unless there are undecodable ones (surrogates) among them.
        names.sort(key=None if all(map(str.isascii, names)) else os.fsencode)
        frame.names = iter(names)
        return True

    def _descriptor(self, frame: _Frame) -> int:
        """The open directory of a frame; of a very deep tree only the last ones are kept open."""
        if frame.descriptor < 0:
            with self.parent(frame.prefix + ".") as (folder, _):
                frame.descriptor = os.dup(folder)
        return frame.descriptor

    def _look(self, frame: _Frame, name: str, problem: ProblemSink) -> Found | None:
        path, at_ns = frame.prefix + name, time.time_ns()
        try:
            folder = self._descriptor(frame)
            stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
            target = os.readlink(name, dir_fd=folder) if modes.S_ISLNK(stat.st_mode) else ""
            attributes = () if modes.S_ISREG(stat.st_mode) else _attributes(stat, xattrs.place_of(folder, name))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                what = f"cannot be read ({error.strerror})."
                problem(path, Problem("unavailable", what, path, "Look at its rights."))
            return None
        if modes.S_IFMT(stat.st_mode) not in _KEPT_KINDS:
            what = "is a pipe, socket or device; those are not kept."
            problem(path, Problem("unavailable", what, path, "It stays as it is."))
            return None
        return path, stat, at_ns, target, attributes

    def digest(self, path: str) -> tuple[os.stat_result, str, Attributes]:
        """As `Descent.digest`, for one file."""
        with self.descent() as descent:
            return descent.digest(path)


def _untold(_path: str) -> None:
    """Nobody wants to know what is excluded."""


def _attributes(stat: os.stat_result, place: str) -> Attributes:
    """Of a directory or link; a file's ctime tells whether its own have to be read at all."""
    is_link = modes.S_ISLNK(stat.st_mode)
    if not (is_link or modes.S_ISDIR(stat.st_mode)) or (is_link and os.geteuid() != 0):
        return ()
    try:
        return xattrs.read(place)
    except PermissionError:  # nor can it be listed, which is said
        return ()


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

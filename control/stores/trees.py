"""Walks through directories: what lies below a folder, in the order of the paths' bytes, no link followed.

Rules:

- An inventory is a stream sorted by the bytes of the path, `.` first; never a list.
- The folder `.keyframe` at the top of the working directory is ours: no inventory shows it. Nor is anything shown that
  is excluded, and no walk goes down into it.
- What is below a directory is told only if the directory is: it may become a link between the listing and the look.
- A walk tells either paths, one by one, or sheets of them, which cost a third.

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
from functools import partial
from pathlib import Path
from zlib import crc32

from ..errors import Problem
from ..model import Attributes, Scope
from ..patterns import Exclusion, Told
from . import attributes as xattrs
from .files import FOLDER, Descent, Look, entry_of_stat
from .frames import Frame, attributes_of, nothing_of
from .sheets import MOST, SOON, Sheet, latest_of, sheet_of, sheet_of_files

_KEPT_OPEN = 64  # directories of a walk: a tree may be deeper than a process may have files open
_KEPT_KINDS = (modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK)
_MOST_ENTRIES = 10_000  # of a directory that are kept while it is walked through
NOTHING = Exclusion(Scope.site())


ProblemSink = Callable[[str, Problem], None]  # the exact path, and what is wrong with it
# Path, stat, when that was taken (wall clock), target of a link, extended attributes of a directory or link.
Found = tuple[str, os.stat_result, int, str, Attributes]
Elsewhere = Callable[[str], Iterator[Sheet] | None]  # who walks below this directory (with "/" at its end), if another


class Tree:
    """A folder and what lies below it, reached without following links.

    `excluded` is left out of every walk; `told` gets the path of each thing that is, but not of what lies in it.
    `bare`: nobody asks for extended attributes. `since`: sheets of which no ctime (ns) is later are left out.
    """

    def __init__(
        self,
        root: Path,
        reserved: str = "",
        excluded: Exclusion = NOTHING,
        told: Told | None = None,
        *,
        bare: bool = False,
        since: int = 0,
    ) -> None:
        self.since, self.bare = since, bare
        self._attributes = nothing_of if bare else attributes_of
        self.root = root
        self.reserved = reserved
        self._excluded = excluded
        self._told = told or _untold

    @property
    def excluded(self) -> Exclusion:
        return self._excluded

    def tell(self, path: str) -> None:
        """What another walk through this tree left out."""
        self._told(path)

    def exists(self) -> bool:
        """Whether the root is there and is a directory."""
        with contextlib.suppress(OSError):
            return modes.S_ISDIR(os.lstat(self.root).st_mode)
        return False

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that holds `path`, as an open descriptor, and the last name; no component is a link."""
        *folders, name = path.split("/")
        descriptor = os.open(self.root, FOLDER)
        try:
            for folder in folders:
                below = os.open(folder, FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
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
        yield ".", stat, time.time_ns(), "", self._attributes(stat, str(self.root))
        top = Frame(-1, "", iter(()))
        if self._open(top, None, ".", problem):
            try:
                yield from self._below([top], problem)
            finally:
                top.close()

    def sheets(self, problem: ProblemSink, elsewhere: Elsewhere | None = None) -> Iterator[Sheet]:
        """As `walk`, by the sheet; below some directories another may walk."""
        top = next(self.paths(problem), None)
        if top is None:
            return
        yield sheet_of(b"", [_pressed(top)], top[2])
        yield from self.branch("", problem, elsewhere)

    def branch(self, prefix: str, problem: ProblemSink, elsewhere: Elsewhere | None = None) -> Iterator[Sheet]:
        """The sheets of what lies below one directory, whose path ends with `/` (empty: the top)."""
        frame = Frame(-1, prefix, iter(()))
        if not prefix:
            is_open = self._open(frame, None, ".", problem)
        else:
            with self._reaching(prefix, problem) as (folder, name):
                above = Frame(folder, "", iter(()))
                is_open = folder >= 0 and self._open(frame, above, name, problem)
        if is_open:
            yield from self._sheets([frame], problem, elsewhere or _nobody)

    @contextlib.contextmanager
    def _reaching(self, prefix: str, problem: ProblemSink) -> Iterator[tuple[int, str]]:
        path = prefix.rstrip("/")
        try:
            with self.parent(path) as (folder, name):
                yield folder, name
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                what = f"cannot be listed ({error.strerror})."
                problem(path, Problem("unavailable", what, path, "Look at its rights."))
            yield -1, ""

    def folders_in(self, prefix: str) -> list[str]:
        """The directories in a directory, as prefixes."""
        frame = Frame(-1, prefix, iter(()))
        with contextlib.suppress(OSError), self.parent(prefix + ".") as (folder, _):
            above = Frame(folder, "", iter(()))
            if self._open(frame, above, ".", _unheard):
                frame.close()
                return [prefix + name for name in frame.names if name[-1] == "/"]
        return []

    def _sheets(self, stack: list[Frame], problem: ProblemSink, elsewhere: Elsewhere) -> Iterator[Sheet]:
        try:
            while stack:
                frame = stack[-1]
                run: list[str] = frame.few or []
                down = ""
                for name in () if run else frame.names:
                    if name[-1] == "/":
                        down = name
                        break
                    run.append(name)
                    if len(run) >= SOON and (len(run) == MOST or not crc32(os.fsencode(name)) & 63):
                        break
                else:
                    down = "."
                if run and (sheet := self._sheet(frame, run, problem)):
                    yield sheet
                if down == ".":
                    stack.pop().close()
                elif down:
                    yield from self._down(stack, frame, down, problem, elsewhere)
        finally:
            for frame in stack:
                frame.close()

    def _down(
        self, stack: list[Frame], frame: Frame, name: str, problem: ProblemSink, elsewhere: Elsewhere
    ) -> Iterator[Sheet]:
        """Go on with a directory below, here or elsewhere."""
        if not frame.leads_down(name):
            return  # nothing may be told below what was told as a file or link, or not at all
        prefix = frame.prefix + name
        found = elsewhere(prefix)
        if found is not None:
            yield from found
            return
        below = Frame(-1, prefix, iter(()))
        if self._open(below, frame, name[:-1], problem):
            stack.append(below)
            if len(stack) > _KEPT_OPEN:
                stack[-_KEPT_OPEN - 1].close()

    def _sheet(self, frame: Frame, run: list[str], problem: ProblemSink) -> Sheet | None:
        at, prefix = time.time_ns(), os.fsencode(frame.prefix)
        try:
            folder, entries = self._descriptor(frame), frame.entries
            if entries:  # a listing's own entries tell their stat in less time
                stats = [entries[name].stat(follow_symlinks=False) for name in run]
            else:
                stats = list(map(partial(os.stat, dir_fd=folder, follow_symlinks=False), run))
        except OSError:
            stats = []
        if stats and self.since and latest_of(stats) <= self.since:
            frame.folders.update(name for name, stat in zip(run, stats, strict=True) if modes.S_ISDIR(stat.st_mode))
            return None
        if stats and all(modes.S_ISREG(mode) for mode in {stat.st_mode for stat in stats}):
            return sheet_of_files(prefix, os.fsencode("\0".join(run)), stats, at)
        found = [one for name in run if (one := self._look(frame, name, problem)) is not None]
        return sheet_of(prefix, map(_pressed, found), at) if found else None

    def _below(self, stack: list[Frame], problem: ProblemSink) -> Iterator[Found]:
        # A directory is listed under its own name and descended under its name plus "/": so that the whole stream is
        # in the order of the path's bytes ("a", "a.txt", "a/b").
        try:
            while stack:
                frame = stack[-1]
                for name in frame.names:
                    if name[-1] == "/":
                        below = Frame(-1, frame.prefix + name, iter(()))
                        if frame.leads_down(name) and self._open(below, frame, name[:-1], problem):
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

    def _open(self, frame: Frame, above: Frame | None, name: str, problem: ProblemSink) -> bool:
        """Open the directory of a frame and list it; False where that cannot be."""
        path = frame.prefix.rstrip("/") or "."
        try:
            if above is None:
                frame.descriptor = os.open(self.root, FOLDER)
            else:
                frame.descriptor = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=self._descriptor(above))
            with os.scandir(frame.descriptor) as listed:
                found = list(listed)
            if not frame.prefix:
                found = [one for one in found if one.name != self.reserved]
            names = [one.name for one in found]
            names += [f"{one.name}/" for one in found if one.is_dir(follow_symlinks=False)]
            if len(found) <= _MOST_ENTRIES:
                frame.entries = {one.name: one for one in found}
            leads_down = len(names) > len(found)
            if self._excluded:
                names = self._excluded.kept(frame.prefix, names, self._told)
        except OSError as error:
            frame.close()
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                what = f"cannot be listed ({error.strerror})."
                problem(path, Problem("unavailable", what, path, "Look at its rights."))
            return False
        # Text is in the order of its bytes already, unless there are undecodable ones (surrogates) among them.
        names.sort(key=None if "".join(names).isascii() else os.fsencode)
        frame.names = iter(names)
        frame.few = names if len(names) < SOON and not leads_down else None
        return True

    def _descriptor(self, frame: Frame) -> int:
        """The open directory of a frame; of a very deep tree only the last ones are kept open."""
        if frame.descriptor < 0:
            with self.parent(frame.prefix + ".") as (folder, _):
                frame.descriptor = os.dup(folder)
        return frame.descriptor

    def _look(self, frame: Frame, name: str, problem: ProblemSink) -> Found | None:
        path, at_ns = frame.prefix + name, time.time_ns()
        try:
            folder = self._descriptor(frame)
            stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
            target = os.readlink(name, dir_fd=folder) if modes.S_ISLNK(stat.st_mode) else ""
            attributes = () if modes.S_ISREG(stat.st_mode) else self._attributes(stat, xattrs.place_of(folder, name))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                what = f"cannot be read ({error.strerror})."
                problem(path, Problem("unavailable", what, path, "Look at its rights."))
            return None
        if modes.S_IFMT(stat.st_mode) not in _KEPT_KINDS:
            what = "is a pipe, socket or device; those are not kept."
            problem(path, Problem("unavailable", what, path, "It stays as it is."))
            return None
        if modes.S_ISDIR(stat.st_mode):
            frame.folders.add(name)
        return path, stat, at_ns, target, attributes

    def digest(self, path: str) -> tuple[os.stat_result, str, Attributes]:
        """As `Descent.digest`, for one file."""
        with self.descent() as descent:
            return descent.digest(path)


def _pressed(found: Found) -> tuple[bytes, os.stat_result, bytes, Attributes]:
    path, stat, _, target, attributes = found
    return os.fsencode(path.rpartition("/")[2]), stat, os.fsencode(target), attributes


def _nobody(_prefix: str) -> None:
    """All is walked here."""


def _unheard(_path: str, _problem: Problem) -> None:
    """What cannot be listed is said by the walk itself."""


def _untold(_path: str) -> None:
    """Nobody wants to know what is excluded."""

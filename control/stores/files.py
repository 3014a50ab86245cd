"""Directories of files: walking, reading, copying; the only place that opens live and stored files.

Rules:

- An inventory is a stream sorted by the bytes of the path, `.` first; never a list.
- Symbolic links are kept as links and never followed: each component is opened below the one before it (`dir_fd`,
  O_NOFOLLOW), so a link that is swapped in under our feet cannot lead a copy out of the scope.
- A file that changed while it was read is read again, three times, then named (`ChangedError`).
- The folder `.keyframe` at the top of the working directory is ours: no inventory shows it.

>>> [entry.path for entry in Tree(Path("project/1")).walk(print)]   # doctest: +SKIP
['.', 'edition', 'edition/1', 'edition/1/scene.svx.json']
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import shutil
import stat as modes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ChangedError, KeyframeError, NoRoomError, Problem, UnavailableError
from ..model import FileEntry, Scope

RESERVED = ".keyframe"
_CHUNK = 1 << 20
_TRIES = 3
FULL = (errno.ENOSPC, errno.EDQUOT)
_libc = ctypes.CDLL(None, use_errno=True)


class TargetError(OSError):
    """A copy could not be written: the fault of where it goes to, not of what is copied."""


ProblemSink = Callable[[str, Problem], None]  # the exact path, and what is wrong with it


@dataclass(frozen=True, slots=True)
class Look:
    """One thing seen in a tree: its entry (a file's without digest), the stat it was taken from, when (wall clock)."""

    entry: FileEntry
    stat: os.stat_result
    at_ns: int


def path_key(path: str) -> bytes:
    """What inventories are sorted by: the bytes of the path; `.` goes before everything."""
    return b"" if path == "." else os.fsencode(path)


def translate(error: OSError, subject: str, state: str) -> KeyframeError:
    """The error of ours that a failed system call means; `state` says what state the data is in now."""
    if error.errno in FULL:
        return NoRoomError(
            f"the disk is full ({error.strerror}).", subject=subject, hint=f"Make room, then try again; {state}."
        )
    return UnavailableError(
        f"cannot be read or written ({error.strerror}).",
        subject=subject,
        hint=f"Look at the disk and its rights; {state}.",
    )


def flush(folder: Path) -> None:
    """Bring everything written to the file system of `folder` to the disk (syncfs), its names included."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def scratch_name(scope: Scope, key: str) -> str:
    """The name of a folder that a job of this scope works in; `key` (the job's id) holds no hyphen."""
    return f"{scope.key.replace(':', '.')}-{key}"


def sweep_scratch(folder: Path, scope: Scope) -> None:
    """Remove what interrupted jobs of this very scope left in `folder`; call it with the scope's lock held."""
    for name in names_in(folder):
        # The whole name up to the key: "project.a-b-1" is no leftover of the project "a".
        if name.rpartition("-")[0] == scratch_name(scope, "").removesuffix("-"):
            shutil.rmtree(folder / name, ignore_errors=True)


def names_in(folder: Path) -> list[str]:
    """The names in a folder; none where it cannot be listed."""
    with contextlib.suppress(OSError):
        return os.listdir(folder)
    return []


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Tree:
    """A folder and what lies below it, reached without following links. Open it with `with`."""

    def __init__(self, root: Path, reserved: str = "") -> None:
        self.root = root
        self.reserved = reserved

    def exists(self) -> bool:
        """Whether the root is there and is a directory."""
        with contextlib.suppress(OSError):
            return modes.S_ISDIR(os.lstat(self.root).st_mode)
        return False

    @contextlib.contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that holds `path`, as an open descriptor, and the last name; no component is a link."""
        *folders, name = path.split("/")
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor, name
        finally:
            os.close(descriptor)

    def walk(self, problem: ProblemSink) -> Iterator[Look]:
        """All files, directories and links, sorted by the bytes of the path.

        What cannot be listed, and what is neither file, directory nor link, goes to `problem` with its path.
        Nothing is yielded where the root is not there.
        """
        try:
            stat = os.lstat(self.root)
        except FileNotFoundError:
            return
        if not modes.S_ISDIR(stat.st_mode):
            problem(".", Problem("unavailable", "is not a folder.", ".", "It was left out."))
            return
        yield Look(_entry(".", stat), stat, time.time_ns())
        # A directory is listed under its own name and descended under its name plus "/": so that the whole stream is
        # in the order of the path's bytes ("a", "a.txt", "a/b").
        stack = [iter(self._listing("", problem))]
        while stack:
            for _, path, descend in stack[-1]:
                if descend:
                    stack.append(iter(self._listing(path + "/", problem)))
                    break
                look = self._look(path, problem)
                if look is not None:
                    yield look
            else:
                stack.pop()

    def _listing(self, prefix: str, problem: ProblemSink) -> list[tuple[bytes, str, bool]]:
        try:
            with self.parent(prefix + ".") as (descriptor, _), os.scandir(descriptor) as found:
                names = [(one.name, one.is_dir(follow_symlinks=False)) for one in found]
        except OSError as error:
            path = prefix.rstrip("/") or "."
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                what = f"cannot be listed ({error.strerror})."
                problem(path, Problem("unavailable", what, path, "Look at its rights."))
            return []
        rows = []
        for name, is_folder in names:
            if not prefix and name == self.reserved:
                continue
            rows.append((os.fsencode(name), prefix + name, False))
            if is_folder:
                rows.append((os.fsencode(name) + b"/", prefix + name, True))
        rows.sort()
        return rows

    def _look(self, path: str, problem: ProblemSink) -> Look | None:
        at_ns = time.time_ns()
        try:
            with self.parent(path) as (descriptor, name):
                stat = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                target = os.readlink(name, dir_fd=descriptor) if modes.S_ISLNK(stat.st_mode) else ""
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                problem(
                    path, Problem("unavailable", f"cannot be read ({error.strerror}).", path, "Look at its rights.")
                )
            return None
        if not (modes.S_ISREG(stat.st_mode) or modes.S_ISDIR(stat.st_mode) or modes.S_ISLNK(stat.st_mode)):
            problem(
                path,
                Problem("unavailable", "is a pipe, socket or device; those are not kept.", path, "It stays as it is."),
            )
            return None
        return Look(_entry(path, stat, target), stat, at_ns)

    def read(self, path: str, sink: Callable[[bytes], object] | None = None) -> tuple[os.stat_result, str]:
        """Read a regular file once: its stat and SHA-256; `sink` gets the bytes.

        Raises
        ------
        ChangedError: its stat after reading is not the one before.
        OSError: as the system says; the caller knows whether it is a live or a stored file.
        """
        digest = hashlib.sha256()
        with self.parent(path) as (folder, name):
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with open(descriptor, "rb", buffering=0) as file:
            before = os.fstat(descriptor)
            if not modes.S_ISREG(before.st_mode):
                raise ChangedError("is no longer a file.", subject=path)
            size = 0
            while size <= before.st_size and (chunk := file.read(_CHUNK)):
                digest.update(chunk)
                size += len(chunk)
                if sink is not None:
                    sink(chunk)
            after = os.fstat(descriptor)
        if size != before.st_size or _moving(before) != _moving(after):
            raise ChangedError("changed while it was read.", subject=path, hint="Try again when nobody writes to it.")
        return before, digest.hexdigest()

    def digest(self, path: str) -> tuple[os.stat_result, str]:
        """`read` without a sink, tried three times."""
        for attempt in range(_TRIES):
            try:
                return self.read(path)
            except ChangedError:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")


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
    for attempt in range(_TRIES):
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
            if attempt == _TRIES - 1:
                raise
            continue
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(target, dir_fd=folder)
            raise
        entry = _entry(path, stat)
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


def require_room(folder: Path, needed: int, what: str) -> None:
    """Raise NoRoomError, with both numbers, where `folder` has less room than `needed` bytes."""
    free = free_bytes(folder)
    if needed > free:
        raise NoRoomError(
            f"{what} needs about {needed / 1e6:.1f} MB, the disk has {free / 1e6:.1f} MB free.",
            subject=str(folder),
            hint="Make room there, then try again; nothing was changed.",
        )


def free_bytes(folder: Path) -> int:
    """Room on the file system of `folder` for whoever runs this process."""
    there = folder
    while not there.exists():
        there = there.parent
    room = os.statvfs(there)
    return room.f_bavail * room.f_frsize


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


def _moving(stat: os.stat_result) -> tuple[int, int, int, int]:
    """What must not move while a file is read."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _entry(path: str, stat: os.stat_result, target: str = "") -> FileEntry:
    folder, link = modes.S_ISDIR(stat.st_mode), modes.S_ISLNK(stat.st_mode)
    return FileEntry(
        path=path,
        kind="directory" if folder else "link" if link else "file",
        size=0 if folder or link else stat.st_size,
        mode=modes.S_IMODE(stat.st_mode),
        uid=stat.st_uid,
        gid=stat.st_gid,
        mtime_ns=0 if folder else stat.st_mtime_ns,
        target=target,
    )


def with_digest(entry: FileEntry, sha256: str) -> FileEntry:
    """The same entry with its digest."""
    return replace(entry, sha256=sha256)

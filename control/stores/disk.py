"""The disk: bringing things to it durably, room on it, folders for work in progress, its errors as ours.

>>> require_room(settings.data, 4_200_000_000, "the snapshot")      # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import threading
import time
from pathlib import Path

from ..errors import KeyframeError, NoRoomError, UnavailableError
from ..model import Scope

# The kernel's clock for the stamps of files: it goes by ticks, of up to 10 ms, and is never ahead of the other one.
CLOCK_OF_STAMPS = 5  # CLOCK_REALTIME_COARSE, which Python has no name for
FULL = (errno.ENOSPC, errno.EDQUOT)
LEAST = 65_536  # bytes: what a plan, an intent and labels take at least
_AT_FDCWD, _NOREPLACE = -100, 1  # of linux/fcntl.h and linux/fs.h
_libc = ctypes.CDLL(None, use_errno=True)


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


def opened(folder: Path) -> int:
    """A descriptor for `flush_open`."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def flush_open(descriptor: int) -> None:
    """Bring everything written to the file system of an open directory to the disk (syncfs), its names included.

    What was lost since it was opened is told, also where another process has been told of it: of what was lost before,
    only where nobody has (errseq in the kernel's documentation).
    """
    if _libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def scratch_name(scope: Scope, key: str) -> str:
    """The name of a folder that a job of this scope works in; `key` (the job's id) holds no hyphen."""
    return f"{scope.key.replace(':', '.')}-{key}"


def sweep_scratch(folder: Path, scope: Scope, but: str = "") -> None:
    """Remove what interrupted jobs of this very scope left in `folder`, `but` that name; call it with its lock held."""
    for name in names_in(folder):
        if name == but:
            continue
        # The whole name up to the key: "project.a-b-1" is no leftover of the project "a".
        if name.rpartition("-")[0] == scratch_name(scope, "").removesuffix("-"):
            remove_tree(folder / name)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as that goes; a tree may be deeper than recursion can be."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        _flatten(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _flatten(folder: Path) -> None:
    """Bring every directory below `folder` directly into it."""
    waiting, number = [folder], 0
    while waiting:
        here = waiting.pop()
        with contextlib.suppress(OSError), os.scandir(here) as found:
            below = [Path(one.path) for one in found if one.is_dir(follow_symlinks=False)]
            for one in below:
                lifted = folder / f".lifted-{number}"
                number += 1
                if here != folder:
                    one.rename(lifted)
                    waiting.append(lifted)
                else:
                    waiting.append(one)


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


def rename_new(source: Path, target: Path) -> None:
    """Rename a file or folder; FileExistsError where the target is there already, be it an empty folder.

    Source: rename(2), RENAME_NOREPLACE, which not every file system knows; there it is looked at first.
    """
    done = _libc.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _NOREPLACE)
    number = 0 if done == 0 else ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        source.rename(target)
    elif number:
        raise OSError(number, os.strerror(number), str(target))


def boot() -> str:
    """Tells one run of the machine from the next; empty where nothing does."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def has_our_clock(folder: Path) -> bool:
    """Whether the stamps of files in `folder` are made by this machine's clock; yes, where that cannot be tried."""
    probe = folder / f".clock-{os.getpid()}-{threading.get_ident()}"
    before = time.clock_gettime_ns(CLOCK_OF_STAMPS)
    try:
        folder.mkdir(exist_ok=True)
        probe.touch()
        try:
            return before <= probe.stat().st_ctime_ns <= time.time_ns()
        finally:
            probe.unlink()
    except OSError:
        return True


def require_room(folder: Path, needed: int, what: str, names: int = 0) -> None:
    """Raise NoRoomError, with both numbers, where `folder` has less room than `needed` bytes, or than for so many new
    files, directories and links."""
    room, free = _room(folder), free_bytes(folder)
    wants, has = f"{needed / 1e6:.1f} MB", f"{free / 1e6:.1f} MB free"
    if room.f_files and names > room.f_favail:  # where inodes are not counted, there is no limit
        wants, has = f"{names:,} new files and folders", f"room for {room.f_favail:,}"
    elif needed <= free:
        return
    raise NoRoomError(
        f"{what} needs about {wants}, the disk has {has}.",
        subject=str(folder),
        hint="Make room there, then try again; nothing was changed.",
    )


def free_bytes(folder: Path) -> int:
    """Room on the file system of `folder` for whoever runs this process."""
    room = _room(folder)
    return room.f_bavail * room.f_frsize


def _room(folder: Path) -> os.statvfs_result:
    there = folder
    while not there.exists():
        there = there.parent
    return os.statvfs(there)

"""What the disk of the snapshots keeps of a file besides its bytes, as this process may write it: found by trying.

Rules:

- A stored copy is shared while it is as it was written: what the disk does not keep is not compared. The manifest has
  it all.
- Only root can keep owners, and not everywhere: a network share may refuse him, or give all files one owner.
- It is tried once by each process, with a file that has no name, where there can be such.

>>> keeping_of(settings.repository)                      # doctest: +SKIP
Keeping(owners=True, modes=True, grain=1)
"""

from __future__ import annotations

import contextlib
import os
import stat as modes
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .sheets import STAT

_MODE = 0o640
_NANOSECONDS = 1_234_567_890_123_456_789
# What file systems keep of a time, in ns: all, NTFS and SMB, 1 us, 1 ms, exFAT, ext3 and others, FAT.
_GRAINS = (1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Whether owners and modes are kept, and of how many nanoseconds times are multiples."""

    owners: bool = True
    modes: bool = True
    grain: int = 1

    def pressed(self, mode: int, uid: int, gid: int, size: int, mtime_ns: int) -> bytes:
        """A stat without what is not kept."""
        mode, owner = mode if self.modes else modes.S_IFMT(mode), (uid, gid) if self.owners else (0, 0)
        return STAT.pack(mode, *owner, size, self.cut(mtime_ns))

    def cut(self, time_ns: int) -> int:
        """A time as it is kept."""
        return time_ns - time_ns % self.grain


WHOLE = Keeping()


def keeping_of(folder: Path) -> Keeping:
    """What is kept in a folder that is there; all, where that cannot be tried."""
    with contextlib.suppress(OSError):
        return _tried(str(folder), folder.stat().st_dev, os.geteuid())
    return WHOLE


@lru_cache(64)
def _tried(folder: str, _device: int, _user: int) -> Keeping:
    try:
        descriptor = os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:
        return _tried_by_name(Path(folder, f".keeping-{os.getpid()}-{threading.get_ident()}"))
    try:
        return _found(descriptor)
    finally:
        os.close(descriptor)


def _tried_by_name(path: Path) -> Keeping:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return _found(descriptor)
    finally:
        os.close(descriptor)
        path.unlink()


def _found(descriptor: int) -> Keeping:
    return Keeping(_owners(descriptor), _modes(descriptor), _grain(descriptor))


def _owners(descriptor: int) -> bool:
    if os.geteuid() != 0:
        return False
    now = os.fstat(descriptor)
    wanted = now.st_uid + 1, now.st_gid + 1
    with contextlib.suppress(OSError):
        os.fchown(descriptor, *wanted)
    after = os.fstat(descriptor)
    return (after.st_uid, after.st_gid) == wanted


def _modes(descriptor: int) -> bool:
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, _MODE)
    return modes.S_IMODE(os.fstat(descriptor).st_mode) == _MODE


def _grain(descriptor: int) -> int:
    with contextlib.suppress(OSError):
        os.utime(descriptor, ns=(_NANOSECONDS, _NANOSECONDS))
    kept = os.fstat(descriptor).st_mtime_ns
    return next((grain for grain in _GRAINS if _NANOSECONDS - _NANOSECONDS % grain == kept), _GRAINS[-1])

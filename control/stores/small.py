"""Copies of small files, in as few calls of the system as there can be: a tree of a hundred thousand is made of them.

Rules:

- What is out of the ordinary in any way is left to `copies.py`: attributes, holes, several reads, a file that changes
  or is there already, a copy that cannot be written.
- The copy is as there: a new inode, mode and time of the original, as root its owner.
- A file whose stat after the reading is that of the walk's look was the same all the while, as far as stamps tell it
  (`seen.py` says when they do); where there was no such look, there is one before the reading.

>>> Way(there, here).copy(b"a.txt")[0]        # doctest: +SKIP
b'\x9f\x86…'
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat as modes
from collections.abc import Callable

from .sparse import Sink

SMALL = 1 << 20  # bytes
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BITS = 0o7777
_TAKEN = modes.S_ISUID | modes.S_ISGID  # bits that a file loses when another than root writes to it, not if it is empty

Tells = Callable[[os.stat_result], bool]  # whether a stat is that of the look before


def takes_small(folder: int) -> bool:
    """Whether what is made in an open directory has no attributes by itself."""
    try:
        return not os.listxattr(folder)
    except OSError:
        return True


class Way:
    """From one open directory to another."""

    __slots__ = ("_made", "source", "target")

    def __init__(self, source: int, target: int) -> None:
        self.source = source
        self.target = target
        self._made: set[tuple[int, int, int]] = set()  # mode, uid and gid that new files have here without our help

    def copy(
        self, name: str | bytes, size: int = -1, tells: Tells | None = None, alive: Sink | None = None
    ) -> tuple[bytes, os.stat_result] | None:
        """Copy a file to its name there, hashing what is written.

        Parameters
        ----------
        size, tells: of the look before, if there was one.
        alive: told of the bytes.

        Returns
        -------
        Its SHA-256, as 32 bytes, and its stat. None: it is nothing for this function, and nothing was left behind.
        """
        try:
            found = _read(self.source, name, size, tells)
            if found is None:
                return None
            content, stat = found
            if alive is not None:
                alive(content)
            out = os.open(name, _WRITE, stat.st_mode & _BITS, dir_fd=self.target)
        except OSError:
            return None
        try:
            is_whole = os.write(out, content) == len(content)
            if is_whole:
                self._dress(out, stat)
        except OSError:
            is_whole = False
        finally:
            os.close(out)
        if not is_whole:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=self.target)
            return None
        return hashlib.sha256(content).digest(), stat

    def _dress(self, out: int, stat: os.stat_result) -> None:
        wanted = (stat.st_mode, stat.st_uid, stat.st_gid)
        if wanted not in self._made:
            now = os.fstat(out)
            if os.geteuid() == 0 and (now.st_uid, now.st_gid) != wanted[1:]:
                os.fchown(out, stat.st_uid, stat.st_gid)
                os.fchmod(out, stat.st_mode & _BITS)
            elif now.st_mode != stat.st_mode:
                os.fchmod(out, stat.st_mode & _BITS)
            elif not stat.st_mode & _TAKEN:
                self._made.add(wanted)
        os.utime(out, ns=(stat.st_mtime_ns, stat.st_mtime_ns))


def _read(folder: int, name: str | bytes, size: int, tells: Tells | None) -> tuple[bytes, os.stat_result] | None:
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        if tells is None:
            stat = os.fstat(descriptor)
            if not modes.S_ISREG(stat.st_mode):
                return None
            size, tells = stat.st_size, _same_times(stat)
        if size > SMALL or _attributes(descriptor):
            return None
        content = os.pread(descriptor, size + 1, 0)  # a pipe that came in its place cannot be read so, and keeps all
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not tells(after) or after.st_blocks * 512 < size or not len(content) == size == after.st_size:
        return None
    return content, after


def _same_times(before: os.stat_result) -> Tells:
    times = before.st_ctime_ns, before.st_mtime_ns
    return lambda after: (after.st_ctime_ns, after.st_mtime_ns) == times


def _attributes(descriptor: int) -> bool:
    try:
        return bool(os.listxattr(descriptor))
    except OSError:
        return False

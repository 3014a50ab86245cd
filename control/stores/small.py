"""Copies of small files, in as few calls of the system as there can be: a tree of a hundred thousand is made of them.

Rules:

- What is out of the ordinary in any way is left to `copies.py`: attributes, holes, several reads, a file that changes
  or is there already, a copy that cannot be written.
- The copy is as there: a new inode, mode and time of the original, as root its owner.

>>> copy_small(live, "edition/1/a.txt", draft)[0].sha256        # doctest: +SKIP
'9f86d081884c7d65…'
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat as modes

from ..model import FileEntry
from .files import Descent, entry_of_stat
from .sparse import Sink

SMALL = 1 << 20  # bytes
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_BITS = 0o7777


def takes_small(folder: int) -> bool:
    """Whether what is made in an open directory has no attributes by itself."""
    try:
        return not os.listxattr(folder)
    except OSError:
        return True


def copy_small(
    source: Descent, path: str, target: int, alive: Sink | None = None
) -> tuple[FileEntry, os.stat_result] | None:
    """Copy a file to its name in an open directory, hashing what is written; `alive` is told of the bytes.

    Returns
    -------
    None: it is nothing for this function, and nothing was left behind.
    """
    try:
        folder, name = source.parent(path)
        found = _read(folder, name)
    except OSError:
        return None
    if found is None:
        return None
    content, stat = found
    if alive is not None:
        alive(content)
    try:
        out = os.open(name, _WRITE, stat.st_mode & _BITS, dir_fd=target)
    except OSError:
        return None
    try:
        is_whole = os.write(out, content) == len(content)
        if is_whole:
            _dress(out, stat)
    except OSError:
        is_whole = False
    finally:
        os.close(out)
    if not is_whole:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=target)
        return None
    return entry_of_stat(path, stat, sha256=hashlib.sha256(content).hexdigest()), stat


def _read(folder: int, name: str) -> tuple[bytes, os.stat_result] | None:
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        stat = os.fstat(descriptor)
        size = stat.st_size
        if size > SMALL or stat.st_blocks * 512 < size or not modes.S_ISREG(stat.st_mode) or _attributes(descriptor):
            return None
        content = os.read(descriptor, size + 1)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    same = after.st_ctime_ns == stat.st_ctime_ns and after.st_mtime_ns == stat.st_mtime_ns
    return (content, stat) if same and len(content) == size == after.st_size else None


def _attributes(descriptor: int) -> bool:
    try:
        return bool(os.listxattr(descriptor))
    except OSError:
        return False


def _dress(out: int, stat: os.stat_result) -> None:
    now = os.fstat(out)
    if os.geteuid() == 0 and (now.st_uid, now.st_gid) != (stat.st_uid, stat.st_gid):
        os.fchown(out, stat.st_uid, stat.st_gid)
        os.fchmod(out, stat.st_mode & _BITS)
    elif now.st_mode != stat.st_mode:
        os.fchmod(out, stat.st_mode & _BITS)
    os.utime(out, ns=(stat.st_mtime_ns, stat.st_mtime_ns))

"""When a stored file came into being: the birth time that some file systems keep with an inode.

Rules:

- Nothing else tells the age of a stored copy: its time is that of the live file, and each snapshot that shares it
  changes its ctime.
- Where the file system or the C library does not tell, nobody knows.

>>> born_ns(descriptor, "model.glb")        # doctest: +SKIP
1763722395042000000
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from functools import cache

# statx(2), linux/stat.h: flags, the wish for the birth time, its place in the answer of 256 bytes.
_NO_FOLLOW = 0x100
_NO_SYNC = 0x4000
_BIRTH = 0x800
_MASK = struct.Struct("=I")
_TIME = struct.Struct("=qI")
_TIME_AT = 80
_LENGTH = 256


def born_ns(folder: int, name: str) -> int | None:
    """When the file `name` in the open directory `folder` was made, nanoseconds since 1970; None: nobody knows."""
    ask = _statx()
    if ask is None:
        return None
    answer = ctypes.create_string_buffer(_LENGTH)
    if ask(folder, os.fsencode(name), _NO_FOLLOW | _NO_SYNC, _BIRTH, answer) != 0:
        return None
    if not _MASK.unpack_from(answer)[0] & _BIRTH:
        return None
    seconds, nanoseconds = _TIME.unpack_from(answer, _TIME_AT)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


@cache
def _statx() -> Callable[..., int] | None:
    """The C library's function; glibc has it since 2.28. Python's `os.statx` comes with 3.15."""
    found = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    if found is None:
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
    found.restype = ctypes.c_int
    return found  # type: ignore[no-any-return]

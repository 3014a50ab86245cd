"""Reading one open file to its end, hashed on the way; holes are told, not read.

Rules:

- A hole is hashed as the zeros it stands for: the digest is that of the content, wherever it lies.
- Only a file that takes less room than its size is asked where its holes are; any other is read straight through.
- What changes while it is read is never taken for whole; one that grows without end is read as far as it was long.

>>> pour(descriptor, os.fstat(descriptor), "edition/1/model.glb")       # doctest: +SKIP
'9f86d081884c7d65…'
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator

from ..errors import ChangedError

Sink = Callable[[bytes], object]

_CHUNK = 1 << 20
_ZEROS = bytes(_CHUNK)
_BLOCK = 512  # of st_blocks, whatever the file system's is


def room_of(stat: os.stat_result) -> int:
    """The bytes that a copy takes on the disk: less than the size, where there are holes."""
    return min(stat.st_size, stat.st_blocks * _BLOCK)


def pour(descriptor: int, stat: os.stat_result, path: str, sink: Sink | None = None, hole: Sink | None = None) -> str:
    """Read an open file to its end and hash it.

    Parameters
    ----------
    sink: gets the bytes, in order.
    hole: gets the zeros of stretches without data; without it `sink` gets them as well.

    Raises
    ------
    ChangedError: its stat afterwards is not `stat`. One that grows without end is read as far as it was long.
    """
    digest = hashlib.sha256()
    done = 0
    for start, end in _stretches(descriptor, stat):
        done = _skip(digest, start - done, done, hole or sink)
        while done < end and (chunk := os.read(descriptor, min(_CHUNK, end - done))):
            digest.update(chunk)
            done += len(chunk)
            if sink is not None:
                sink(chunk)
        if done < end:
            break
    if done != stat.st_size or _moving(stat) != _moving(os.fstat(descriptor)):
        raise ChangedError("changed while it was read.", subject=path, hint="Try again when nobody writes to it.")
    return digest.hexdigest()


def _stretches(descriptor: int, stat: os.stat_result) -> Iterator[tuple[int, int]]:
    """Where the data lies: start and end, in order; the last one ends where the file does. The file is read between."""
    size = stat.st_size
    if room_of(stat) == size:
        yield 0, size
        return
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
            end = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        except OSError as error:
            if error.errno != errno.ENXIO:  # a file system that does not tell: all of it is data
                os.lseek(descriptor, end, os.SEEK_SET)
                yield end, size
                return
            break
        os.lseek(descriptor, start, os.SEEK_SET)
        yield min(start, size), end
    if end < size:
        yield size, size


def _skip(digest: hashlib._Hash, length: int, done: int, told: Sink | None) -> int:
    """Go over a hole; where it ends."""
    end = done + length
    while done < end:
        zeros = _ZEROS if end - done >= _CHUNK else _ZEROS[: end - done]
        digest.update(zeros)
        done += len(zeros)
        if told is not None:
            told(zeros)
    return done


def _moving(stat: os.stat_result) -> tuple[int, int, int, int]:
    """What must not move while a file is read."""
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino

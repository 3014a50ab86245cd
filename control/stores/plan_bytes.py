"""The records that a plan replaces, as they were when it was computed: kept beside the plan, so that it can be told in
which fields they differ. In no digest.

Rules:

- Bounded: a record above 1 MB is not kept, nor what comes when there are 64 MB; whoever asks for it gets None.
- An entry of the index is of one size and they are in the order of the items: one is found by halving.

>>> KeptBytes(path).get(12)         # doctest: +SKIP
b'...'
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

LARGEST = 1_000_000  # bytes of a record
MOST = 64_000_000  # of all of a plan
_entry = struct.Struct("<QQI")  # number of the item, where its bytes lie, how many


def files_of(path: Path) -> tuple[Path, Path]:
    """The bytes, and their index."""
    return path.with_suffix(".before"), path.with_suffix(".before-index")


class BytesWriter:
    """Keeps the records of a plan, in the order of its items; the files are made with the first one."""

    def __init__(self, path: Path) -> None:
        self._paths = files_of(path)
        self._size = 0
        self._files: tuple[int, int] | None = None

    @property
    def is_full(self) -> bool:
        return self._size >= MOST

    def add(self, number: int, raw: bytes) -> None:
        """Keep the record of the `number`-th item, unless it is too large."""
        if len(raw) > LARGEST or self._size + len(raw) > MOST:
            self._size = MOST if self._size + len(raw) > MOST else self._size
            return
        if self._files is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            self._files = os.open(self._paths[0], flags, 0o666), os.open(self._paths[1], flags, 0o666)
        os.write(self._files[0], raw)
        os.write(self._files[1], _entry.pack(number, self._size, len(raw)))
        self._size += len(raw)

    def close(self) -> None:
        if self._files is not None:
            for file in self._files:
                os.close(file)
        self._files = None

    def save(self, path: Path) -> None:
        """Keep them for the plan at `path`."""
        self.close()
        for draft, kept in zip(self._paths, files_of(path), strict=True):
            with contextlib.suppress(FileNotFoundError):
                os.replace(draft, kept)

    def drop(self) -> None:
        self.close()
        for draft in self._paths:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()


class KeptBytes:
    """What was kept for one plan."""

    def __init__(self, path: Path) -> None:
        self._bytes, self._index = files_of(path)

    @property
    def is_there(self) -> bool:
        return self._index.exists()

    def get(self, number: int) -> bytes | None:
        """The record of the `number`-th item; None: it was not kept."""
        try:
            with open(self._index, "rb") as index:
                low, high = 0, os.fstat(index.fileno()).st_size // _entry.size
                while low < high:
                    middle = (low + high) // 2
                    index.seek(middle * _entry.size)
                    found, at, size = _entry.unpack(index.read(_entry.size))
                    if found == number:
                        return self._read(at, size)
                    low, high = (middle + 1, high) if found < number else (low, middle)
        except (OSError, struct.error):
            return None
        return None

    def _read(self, at: int, size: int) -> bytes:
        with open(self._bytes, "rb") as file:
            file.seek(at)
            return file.read(size)

"""A file that is hashed while it is written, and goes to the disk meanwhile.

>>> out = Written(path); out.write(b"x"); out.close()        # doctest: +SKIP
'2d711642b726b044…'
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

_STRETCH = 16 << 20  # bytes after which the kernel is asked to begin writing


class Written:
    """Writes `path` anew; `close` gives its SHA-256."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115  (closed by close)
        self.digest = hashlib.sha256()
        self.bytes = 0
        self._asked = 0

    def write(self, content: bytes) -> None:
        self.digest.update(content)
        self._file.write(content)
        self.bytes += len(content)
        if self.bytes - self._asked >= _STRETCH:
            # Linux begins to write what is dirty and waits for nothing; the flush before the commit then finds less
            # to do. (mm/fadvise.c, POSIX_FADV_DONTNEED)
            self._file.flush()
            os.posix_fadvise(self._file.fileno(), self._asked, self.bytes - self._asked, os.POSIX_FADV_DONTNEED)
            self._asked = self.bytes

    def close(self) -> str:
        self._file.close()
        return self.digest.hexdigest()

    def abandon(self) -> None:
        """Close it, half as it is."""
        with contextlib.suppress(OSError):
            self._file.close()

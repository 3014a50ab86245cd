"""What was seen of live files: the stat of a look and the SHA-256 of the bytes it stood for.

Saves reading a file whose device, inode, ctime, mtime and size are as they were. Rules:

- It can be deleted at any time, and is only ever an answer to "must I read this file?"; nothing else depends on it.
- A stat whose ctime is less than 2 s before the look is never trusted: some kernels give two writes within a few
  milliseconds the same stamp. Source: the racy-git problem, git's Documentation/technical/racy-git.
- Trouble with it is never trouble for a snapshot: it then has seen nothing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path

RACY_NS = 2_000_000_000
_BATCH = 500


class Seen:
    """A table from stat to digest in one SQLite file, shared by all processes of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def digest(self, stat: os.stat_result) -> str | None:
        """The SHA-256 of the file that had this very stat when it was last read, or None."""
        try:
            row = self._connection().execute(
                "SELECT sha256 FROM seen WHERE device = ? AND inode = ? AND ctime = ? AND mtime = ? AND size = ?",
                _key(stat),
            )
            found = row.fetchone()
        except (sqlite3.Error, OSError):
            return None
        return str(found[0]) if found else None

    def remember(self, stat: os.stat_result, sha256: str, looked_at_ns: int | None = None) -> None:
        """Keep that a file with this stat has this digest; `looked_at_ns` is the wall clock at the stat."""
        looked = time.time_ns() if looked_at_ns is None else looked_at_ns
        if looked - stat.st_ctime_ns < RACY_NS:
            return
        waiting = self._local.__dict__.setdefault("waiting", [])
        waiting.append((*_key(stat), sha256))
        if len(waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what this thread has remembered."""
        waiting = self._local.__dict__.get("waiting", [])
        with contextlib.suppress(sqlite3.Error, OSError), self._connection() as connection:
            connection.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)", waiting)
        waiting.clear()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=2.0)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS seen (device INT, inode INT, ctime INT, mtime INT, size INT, sha256 TEXT,"
                " PRIMARY KEY (device, inode)) WITHOUT ROWID"
            )
            self._local.connection = connection
        return connection


def _key(stat: os.stat_result) -> tuple[int, int, int, int, int]:
    # SQLite's integers have 64 bits and a sign, a device or inode number has none.
    return (
        stat.st_dev & 0x7FFF_FFFF_FFFF_FFFF,
        stat.st_ino & 0x7FFF_FFFF_FFFF_FFFF,
        stat.st_ctime_ns,
        stat.st_mtime_ns,
        stat.st_size,
    )

"""What was seen of live files: the stat of a look, the SHA-256 of the bytes it stood for, where a stored copy lies.

Saves reading a file whose device, inode, ctime, mtime and size are as they were. Rules:

- It can be deleted at any time, and is only ever an answer to "must I read this file?" and "is there a copy of it?";
  who is told of a copy looks whether it is there.
- A stat whose ctime is less than 2 s before the look is never trusted: some kernels give two writes within a few
  milliseconds the same stamp. Source: the racy-git problem, git's Documentation/technical/racy-git.
- Trouble with it is never trouble for a snapshot: it then has seen nothing.

>>> seen.find([os.lstat("live/model.glb")])     # doctest: +SKIP
[Sight(sha256='9f86d081…', folder='project/1/2026-11-21T10-53-15Z', path='edition/1/model.glb')]
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

RACY_NS = 2_000_000_000
_BATCH = 500
_VERSION = 2  # of the table; another one is thrown away

_SCHEMA = """
CREATE TABLE seen (
    device INT, inode INT, ctime INT, mtime INT, size INT, sha256 TEXT, place INT, path TEXT,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE places (id INTEGER PRIMARY KEY, folder TEXT);
"""


SeenKey = tuple[int, int, int, int, int]  # device, inode, ctime_ns, mtime_ns, size


class Sight(NamedTuple):
    """What is known of a file with a certain stat.

    `folder` is that of the snapshot that holds a copy, below the repository's root, `path` the copy's below `files/`;
    empty: no copy is known.
    """

    sha256: str
    folder: str
    path: str


class Seen:
    """A table from stat to digest in one SQLite file, shared by all processes of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def find(self, stats: Sequence[os.stat_result]) -> list[Sight | None]:
        """What is known of files that have these very stats, in their order; at best a few hundred at once."""
        rows: dict[tuple[int, int], tuple[int, int, int, Sight]] = {}
        try:
            connection = self._connection()
            for device in {stat.st_dev & _POSITIVE for stat in stats}:
                inodes = [stat.st_ino & _POSITIVE for stat in stats if stat.st_dev & _POSITIVE == device]
                marks = ",".join("?" * len(inodes))
                found = connection.execute(
                    "SELECT inode, ctime, mtime, size, sha256, folder, path FROM seen LEFT JOIN places"  # noqa: S608
                    f" ON id = place WHERE device = ? AND inode IN ({marks})",
                    (device, *inodes),
                )
                for inode, ctime, mtime, size, sha256, folder, path in found:
                    sight = Sight(sha256, folder or "", os.fsdecode(path) if path else "")
                    rows[device, inode] = (ctime, mtime, size, sight)
        except (sqlite3.Error, OSError):
            return [None] * len(stats)
        return [_if_same(rows.get((stat.st_dev & _POSITIVE, stat.st_ino & _POSITIVE)), stat) for stat in stats]

    def digest(self, stat: os.stat_result) -> str | None:
        """The SHA-256 of the file that had this very stat when it was last read, or None."""
        sight = self.find([stat])[0]
        return sight.sha256 if sight else None

    def remember(
        self,
        key: SeenKey,
        sha256: str,
        looked_at_ns: int | None = None,
        *,
        place: int | None = None,
        path: str = "",
    ) -> None:
        """Keep that a file with this key has this digest.

        Parameters
        ----------
        looked_at_ns: the wall clock at the stat; now, if it is not given.
        place, path: where a copy lies: a number of `place()`, and the path below that snapshot's `files/`.
        """
        looked = time.time_ns() if looked_at_ns is None else looked_at_ns
        if looked - key[2] < RACY_NS:
            return
        waiting = self._local.__dict__.setdefault("waiting", [])
        waiting.append((key[0] & _POSITIVE, key[1] & _POSITIVE, *key[2:], sha256, place, os.fsencode(path)))
        if len(waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what this thread has remembered."""
        waiting = self._local.__dict__.get("waiting", [])
        with contextlib.suppress(sqlite3.Error, OSError), self._connection() as connection:
            connection.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?)", waiting)
        waiting.clear()

    # --- where copies lie

    def place(self, folder: str = "") -> int | None:
        """A number for the folder of a snapshot; of a draft, which has none yet, a new one."""
        with contextlib.suppress(sqlite3.Error, OSError), self._connection() as connection:
            if folder:
                row = connection.execute("SELECT max(id) FROM places WHERE folder = ?", (folder,)).fetchone()
                if row[0] is not None:
                    return int(row[0])
            return connection.execute("INSERT INTO places (folder) VALUES (?)", (folder,)).lastrowid
        return None

    def committed(self, place: int | None, folder: str, newest: str) -> None:
        """The draft of `place` is the snapshot `folder` now; what it shares with `newest` is in it as well."""
        with contextlib.suppress(sqlite3.Error, OSError), self._connection() as connection:
            connection.execute("UPDATE places SET folder = ? WHERE id = ?", (folder, place))
            if newest and place is not None:
                connection.execute(
                    "UPDATE seen SET place = ? WHERE place IN (SELECT id FROM places WHERE folder = ?)", (place, newest)
                )
                connection.execute("DELETE FROM places WHERE folder = ?", (newest,))

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None or not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=2.0)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                    connection.execute("DROP TABLE IF EXISTS seen")
                    connection.execute("DROP TABLE IF EXISTS places")
                    for statement in _SCHEMA.strip().rstrip(";").split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_VERSION}")
            self._local.connection = connection
        return connection


# SQLite's integers have 64 bits and a sign, a device or inode number has none.
_POSITIVE = 0x7FFF_FFFF_FFFF_FFFF


def seen_key(stat: os.stat_result) -> SeenKey:
    """What a file is known by."""
    return stat.st_dev, stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size


def _if_same(row: tuple[int, int, int, Sight] | None, stat: os.stat_result) -> Sight | None:
    same = row is not None and row[:3] == (stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size)
    return row[3] if same and row is not None else None

"""What was seen of live files: the stat of a look, the bytes' SHA-256, extended attributes, where a stored copy lies.

Saves reading a file whose device, inode, ctime, mtime and size are as they were. Rules:

- It can be deleted at any time, and is only ever an answer to "must I read this file?" and "is there a copy of it?";
  who is told of a copy looks whether it is there.
- A stat whose ctime is less than 2 s before the look is never trusted: some kernels give two writes within a few
  milliseconds the same stamp. Source: the racy-git problem, git's Documentation/technical/racy-git.
- Of such a stat, and of one whose ctime has moved on, it only knows where a copy may lie: the bytes have to be read to
  tell whether that is one (`Sight.is_certain`).
- Trouble with it is never trouble for a snapshot: it then has seen nothing. So no write-ahead log: SQLite shares the
  index of that one as mapped memory, which kills the process where the disk is full and its blocks are smaller than a
  page, and which several machines cannot share. Source: sqlite.org/wal.html, "Disadvantages".

>>> seen.find([seen_key(os.lstat("live/model.glb"))])     # doctest: +SKIP
[Sight(sha256='9f86d081…', folder='project/1/2026-11-21T10-53-15Z', path='edition/1/model.glb', …)]
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..model import Attributes

RACY_NS = 2_000_000_000
_BATCH = 500
_VERSION = 4  # of the table; another one is thrown away

_SCHEMA = """
CREATE TABLE seen (
    device INT, inode INT, ctime INT, mtime INT, size INT, sha256 TEXT, attributes BLOB, place INT, path TEXT,
    PRIMARY KEY (device, inode)
) WITHOUT ROWID;
CREATE TABLE places (id INTEGER PRIMARY KEY, folder TEXT);
CREATE TABLE self (token TEXT);
INSERT INTO self VALUES (lower(hex(randomblob(16))));
"""
# A look that knows of no copy leaves what is known of one, as long as the bytes are the same.
_REMEMBER = """
INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (device, inode) DO UPDATE SET
    ctime = excluded.ctime, mtime = excluded.mtime, size = excluded.size, attributes = excluded.attributes,
    place = CASE WHEN excluded.place IS NULL AND sha256 = excluded.sha256 THEN place ELSE excluded.place END,
    path = CASE WHEN excluded.place IS NULL AND sha256 = excluded.sha256 THEN path ELSE excluded.path END,
    sha256 = excluded.sha256
"""
_NEVER = 0  # a ctime that no file has: whatever its stat is, its bytes are to be read


SeenKey = tuple[int, int, int, int, int]  # device, inode, ctime_ns, mtime_ns, size


class Sight(NamedTuple):
    """What is known of a file with a certain stat.

    `folder` is that of the snapshot that holds a copy, below the repository's root, `path` the copy's below `files/`;
    empty: no copy is known. Not `is_certain`: only size and mtime are as they were, the bytes may be.
    """

    sha256: str
    folder: str
    path: str
    attributes: Attributes
    is_certain: bool


class Copy(NamedTuple):
    """Where a copy lies: a number of `place()`, and the path below that snapshot's `files/`."""

    place: int | None
    path: str


NO_COPY = Copy(None, "")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Attributes).decode


class Seen:
    """A table from stat to digest in one SQLite file, shared by all processes of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()

    def find(self, keys: Sequence[SeenKey]) -> list[Sight | None]:
        """What is known of files that have these very stats, in their order; at best a few hundred at once."""
        rows: dict[tuple[int, int], tuple[int, int, int, Sight]] = {}
        try:
            connection = self._connection()
            for device in {key[0] & _POSITIVE for key in keys}:
                inodes = [key[1] & _POSITIVE for key in keys if key[0] & _POSITIVE == device]
                marks = ",".join("?" * len(inodes))
                found = connection.execute(
                    "SELECT inode, ctime, mtime, size, sha256, folder, path, attributes FROM seen LEFT JOIN places"  # noqa: S608
                    f" ON id = place WHERE device = ? AND inode IN ({marks})",
                    (device, *inodes),
                )
                for inode, ctime, mtime, size, sha256, folder, path, attributes in found:
                    known = _decode(attributes) if attributes else ()
                    sight = Sight(sha256, folder or "", os.fsdecode(path) if path else "", known, is_certain=True)
                    rows[device, inode] = (ctime, mtime, size, sight)
        except (sqlite3.Error, OSError, msgspec.MsgspecError):
            return [None] * len(keys)
        if not rows:
            return [None] * len(keys)
        return [_if_same(rows.get((key[0] & _POSITIVE, key[1] & _POSITIVE)), key) for key in keys]

    def content(self, stat: os.stat_result) -> tuple[str, Attributes] | None:
        """SHA-256 and attributes of the file that had this very stat when it was last read, or None."""
        sight = self.find([seen_key(stat)])[0]
        return (sight.sha256, sight.attributes) if sight is not None and sight.is_certain else None

    def remember(
        self,
        key: SeenKey,
        sha256: str,
        attributes: Attributes,
        looked_at_ns: int,
        copy: Copy = NO_COPY,
    ) -> None:
        """Keep that a file with this key has this digest and these attributes.

        Parameters
        ----------
        looked_at_ns: the wall clock at the stat.
        """
        device, inode, ctime, mtime, size = key
        if looked_at_ns - ctime < RACY_NS:
            if copy.place is None:
                return
            ctime = _NEVER
        known = _encode(attributes) if attributes else None
        waiting = self._local.__dict__.setdefault("waiting", [])
        waiting.append(
            (
                device & _POSITIVE,
                inode & _POSITIVE,
                ctime,
                mtime,
                size,
                sha256,
                known,
                copy.place,
                os.fsencode(copy.path),
            )
        )
        if len(waiting) >= _BATCH:
            self.flush()

    def remember_all(
        self, keys: Iterable[SeenKey], digests: bytes, paths: Iterable[bytes], place: int | None, looked_at_ns: int
    ) -> None:
        """The same of files without attributes, that one look told of: SHA-256s one after the other, as 32 bytes each,
        and the paths of their copies in the snapshot of that number."""
        certain, sha256s = looked_at_ns - RACY_NS, digests.hex()
        waiting = self._local.__dict__.setdefault("waiting", [])
        waiting += [
            (
                device & _POSITIVE,
                inode & _POSITIVE,
                ctime if ctime <= certain else _NEVER,
                mtime,
                size,
                sha256s[at : at + 64],
                None,
                place,
                path,
            )
            for (device, inode, ctime, mtime, size), at, path in zip(keys, count(0, 64), paths, strict=False)
        ]
        if len(waiting) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what this thread has remembered."""
        waiting = self._local.__dict__.get("waiting", [])
        with contextlib.suppress(sqlite3.Error, OSError), self._connection() as connection:
            connection.executemany(_REMEMBER, waiting)
        waiting.clear()

    def token(self) -> str:
        """What tells this table from the one that is made when it was deleted; empty where there is none."""
        with contextlib.suppress(sqlite3.Error, OSError):
            return str(self._connection().execute("SELECT token FROM self").fetchone()[0])
        return ""

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
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA synchronous = OFF")
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                    connection.execute("DROP TABLE IF EXISTS seen")
                    connection.execute("DROP TABLE IF EXISTS places")
                    connection.execute("DROP TABLE IF EXISTS self")
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


def _if_same(row: tuple[int, int, int, Sight] | None, key: SeenKey) -> Sight | None:
    _, _, ctime_ns, mtime_ns, size = key
    if row is None or row[1:3] != (mtime_ns, size):
        return None
    return row[3] if row[0] == ctime_ns else row[3]._replace(is_certain=False)

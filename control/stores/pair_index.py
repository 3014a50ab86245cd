"""Records of two sides matched by the exact bytes of their `_id`, in a temporary index on the disk.

For two sides whose order is not the same, or not known. Rules:

- Memory does not grow with the number of records; the file has no name, so it goes with the process however that ends.
- What comes out is ordered by the bytes of the `_id`: it does not depend on the order in which records came.

>>> with PairIndex(folder) as index:        # doctest: +SKIP
...     index.add(WANTED, record)
...     list(index.pairs())
"""

from __future__ import annotations

import contextlib
import errno
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..plan import Record
from .raw import id_text

WANTED, THERE = 0, 1
_CACHE_KIB = 16_000

Pair = tuple[Record | None, Record | None]
_Row = tuple[bytes, int, bytes, int, int, str | None, str]

_SCHEMA = """
CREATE TABLE records (
    id BLOB, side INT, digest BLOB, size INT, place INT, owner TEXT, title TEXT, PRIMARY KEY (id, side)
) WITHOUT ROWID
"""


class PairIndex:
    """One index, for one comparison; use it as a context. Raises OSError where the disk does not take it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> PairIndex:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f".pairs-{secrets.token_hex(8)}"
        with _told():
            # Read in the thread that wrote it, or in another one that goes on with its work: never in two at once.
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._connection.execute("PRAGMA journal_mode = OFF")
                self._connection.execute("PRAGMA synchronous = OFF")
                self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                self._connection.execute(_SCHEMA)
                self._connection.execute("BEGIN")
            except BaseException:
                self._connection.close()
                raise
            finally:
                path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def add(self, side: int, record: Record) -> None:
        """Put a record of one side into it; of one that comes twice the last one counts."""
        row: _Row = (record.id, side, record.digest, record.size, record.offset, record.owner, record.title)
        with _told():
            self._connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def is_new(self, ident: bytes) -> bool:
        """Put an `_id` into it; False where it is there already. For an index of nothing else."""
        with _told():
            row = (ident, WANTED, b"", 0, 0, None, "")
            return (
                self._connection.execute("INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", row).rowcount > 0
            )

    def pairs(self) -> Iterator[Pair]:
        """All records, each with its counterpart where that has one."""
        waiting: Record | None = None  # a wanted one whose counterpart would be the next row
        with _told():
            rows: Iterator[_Row] = self._connection.execute("SELECT * FROM records ORDER BY id, side")
            for ident, side, digest, size, place, owner, title in rows:
                record = Record(ident, digest, size, place, id_text(ident), owner, title)
                if waiting is not None and (side == WANTED or waiting.id != ident):
                    yield waiting, None
                    waiting = None
                if side == WANTED:
                    waiting = record
                else:
                    yield waiting, record
                    waiting = None
        if waiting is not None:
            yield waiting, None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Trouble with the file as what the disk would say."""
    try:
        yield
    except sqlite3.Error as error:
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        raise OSError(errno.ENOSPC if full else errno.EIO, str(error), "the index of records") from error

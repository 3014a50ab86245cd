"""What became different between two plans: the one that was agreed to, and the one that would be carried out now.

Rules:

- Items are told apart by what they are about: a path, a record by its exact id, an index by its name.
- Memory does not grow with the plans: what is left of the first after the stretch that both begin with lies in a
  temporary database on disk, as SQLite keeps it.
- Nothing depends on it: where it cannot be told, nothing is.

>>> changes_of(plans, agreed, plan.digest).named        # doctest: +SKIP
(PlanChange(kind='file', name='edition/1/late.txt', title='', was=None, now=<Change.DELETE: 'delete'>),)
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ..model import PlanChange, PlanChanges, PlanItem
from .plans import Plans, item_of

MOST = 20  # that are named
_FILES = ("file", "link", "directory")


def changes_of(plans: Plans, agreed: str, now: str) -> PlanChanges:
    """The items that are in one of two plans only, or others in the second."""
    try:
        found = _differences(plans.lines(agreed), plans.lines(now), plans.folder) if agreed != now else iter(())
        first = tuple(itertools.islice(found, MOST))
        return PlanChanges(first, len(first) + sum(1 for _ in found))
    except (sqlite3.Error, OSError):
        return PlanChanges()


def _differences(old: Iterator[bytes], new: Iterator[bytes], folder: Path) -> Iterator[PlanChange]:
    pairs = itertools.zip_longest(old, new)
    rest = next(((was, will) for was, will in pairs if was != will), None)
    if rest is None:
        return
    path = folder / f".compare-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as end:
        end.callback(path.unlink, missing_ok=True)
        base = end.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
        base.execute("PRAGMA journal_mode = OFF")
        base.execute("PRAGMA synchronous = OFF")
        base.execute("CREATE TABLE was (key TEXT PRIMARY KEY, number INTEGER, line BLOB) WITHOUT ROWID")
        base.execute("CREATE TABLE now (number INTEGER PRIMARY KEY, key TEXT, line BLOB)")
        base.execute("BEGIN")
        for number, (was, will) in enumerate(itertools.chain([rest], pairs)):
            if was is not None:
                base.execute("INSERT OR REPLACE INTO was VALUES (?, ?, ?)", (_key(item_of(was)), number, was))
            if will is not None:
                base.execute("INSERT INTO now VALUES (?, ?, ?)", (number, _key(item_of(will)), will))
        base.execute("COMMIT")
        for was, will in base.execute(
            "SELECT was.line, now.line FROM now LEFT JOIN was USING (key) "
            "WHERE was.line IS NOT now.line ORDER BY now.number"
        ):
            yield _change(was, will)
        for (was,) in base.execute("SELECT line FROM was WHERE key NOT IN (SELECT key FROM now) ORDER BY number"):
            yield _change(was, None)


def _key(item: PlanItem) -> str:
    if item.kind == "record":
        return f"record {item.detail['collection']} {item.detail['id']}"
    # A surrogate, which stands for a byte that is no UTF-8, cannot be written.
    return f"{'path' if item.kind in _FILES else item.kind} {item.name.encode('utf-8', 'surrogateescape').hex()}"


def _change(was: bytes | None, will: bytes | None) -> PlanChange:
    old, new = (None if one is None else item_of(one) for one in (was, will))
    item = new or old
    if item is None:
        raise RuntimeError("a change of nothing")
    return PlanChange(item.kind, item.name, item.title, old.change if old else None, new.change if new else None)

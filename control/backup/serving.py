"""Whether a snapshot that is there already holds what a draft does, so that the draft may go.

Rules:

- Equal is what has the same manifest, made with the same patterns (`alike` in `judging.py`).
- A file that the draft has copied itself goes with it: so the stored copy of that file is read, from the disk, and has
  to have its bytes. What the draft would share with older snapshots stays where it is, and nobody reads it; what the
  plan of a restore is computed from is read, and its digests checked.
- What is looked at of the newest snapshot before a new one shares its files, is looked at here of an older one: that
  each stored file is there, with the size and the time it had.
- A snapshot that lacks something serves nobody; it is named among the warnings of the new one.

>>> Serving(stores, scope, header, copying.items, watch.check).older(damage)      # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import structlog

from ..errors import ChangedError, DamagedError, NotFoundError, Problem
from ..model import Scope, Snapshot
from ..stores.files import Descent
from ..stores.readings import Read, Readings
from ..stores.rows import Noted, Row
from .damage import Damage
from .judging import alike
from .row_files import Item
from .shelf import OTHER_OWNER, Shelf
from .stores import Stores

log = structlog.get_logger(__name__)


class Serving:
    """Looks for a snapshot that makes one draft needless."""

    def __init__(
        self,
        stores: Stores,
        scope: Scope,
        header: dict[str, Any],
        items: Callable[[], Iterator[Item]],
        check: Callable[[], None],
    ) -> None:
        """For the draft of `header`, to whose warnings is added what others lack.

        Parameters
        ----------
        items: what the draft consists of. check: asked for each file; may raise to stop.
        """
        self._stores = stores
        self._scope = scope
        self._header = header
        self._items = items
        self._check = check
        self._judged: set[str] = set()  # names of snapshots

    def older(self, damage: Damage) -> Snapshot | None:
        """An older snapshot that holds what the draft does; None: there is none."""
        for one in alike(self._stores.repository, self._scope, self._header, damage):
            if one.name not in self._judged and self._holds(one, self._lacks):
                return one
        return None

    def has_bytes(self, newest: Snapshot) -> bool:
        """Whether the newest snapshot, at whose files the make has looked, has the bytes that the draft has copied."""
        return self._holds(newest, self._unlike)

    def _holds(self, snapshot: Snapshot, lacks: Callable[[Snapshot], Problem | None]) -> bool:
        self._judged.add(snapshot.name)
        try:
            found = lacks(snapshot)
        except (DamagedError, NotFoundError) as error:
            found = error.problem()
        if found is None:
            return True
        log.warning("make.older-damaged", snapshot=snapshot.name, code=found.code, what=found.subject or found.what)
        hint = f"Verify the snapshot {snapshot.name}, and the older ones."
        self._header["warnings"].append(Problem(found.code, found.what, found.subject, hint).as_dict())
        return False

    def _lacks(self, snapshot: Snapshot) -> Problem | None:
        """The first thing that the folder of a snapshot does not have as it should; None: nothing."""
        repository = self._stores.repository
        folder = repository.place_of(snapshot.scope, snapshot.name)
        with Shelf(repository.root) as shelf:
            for row in _rows(self._items()):
                self._check()
                path = os.fsdecode(row.path)
                fault = shelf.fault(folder, path, row) if row.is_file else ""
                if fault not in ("", OTHER_OWNER):
                    return _not_as_written(fault, path)
        db = repository.folder(snapshot.scope, snapshot.name) / "db"
        for entry in repository.collections(snapshot).values():
            for name, size in ((entry.bson_path, entry.bytes), (entry.metadata_path, None)):
                try:
                    found = (db / name).stat().st_size
                except OSError:
                    return _not_as_written("damaged.collection-missing", f"db/{name}")
                if size not in (None, found):
                    return _not_as_written("damaged.collection-size", f"db/{name}")
        return self._unlike(snapshot)

    def _unlike(self, snapshot: Snapshot) -> Problem | None:
        """A file whose stored copy does not have the bytes that the draft has copied; None: there is none."""
        wrong: list[str] = []

        def judge(path: str, sha256: str, read: Read) -> None:
            if read.sha256 != sha256:
                wrong.append(path)

        folder = self._stores.repository.folder(snapshot.scope, snapshot.name) / "files"
        with Descent(folder) as stored, Readings(lambda _: self._check()) as readings:
            for row in self._copied():
                path = os.fsdecode(row.path)
                try:
                    descriptor, stat = stored.open(path)
                except (OSError, ChangedError):
                    return _not_as_written("damaged.file-missing", path)
                readings.add(descriptor, stat.st_size, partial(judge, path, row.sha256))
                if wrong:
                    break
            readings.finish()
        return _not_as_written("damaged.file-bytes", wrong[0]) if wrong else None

    def _copied(self) -> Iterator[Row]:
        """The files whose copies go with the draft: also what it has taken over from that of an interrupted make."""
        holds = self._stores.repository.drafts.holds
        for item in self._items():
            is_shared = isinstance(item, Noted) and item.folder != "" and not holds(item.folder)
            for row in item.odd.values() if isinstance(item, Noted) and is_shared else _rows(iter((item,))):
                if row.is_file and (row.folder == "" or holds(row.folder)):
                    yield row


def _rows(items: Iterator[Item]) -> Iterator[Row]:
    for item in items:
        yield from item.rows() if isinstance(item, Noted) else item


def _not_as_written(code: str, path: str) -> Problem:
    return Problem(code, "The stored copy is not as it was written; another snapshot was made.", path)

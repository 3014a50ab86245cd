"""Whether an older snapshot serves as safety snapshot: it holds what a new one would, and its files are there.

Rules:

- Equal is what has the same manifest, made with the same patterns (`alike` in `judging.py`).
- What is looked at of the newest snapshot before a new one shares its files, is looked at here: that each stored file
  is there, with the size and the time it had. Bytes are worth as much as those that a new one would share: nobody reads
  them; what the plan is computed from is read, and its digests checked.

>>> serving(stores, scope, header, damage, copying.rows(), watch.check)      # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from ..errors import DamagedError, NotFoundError
from ..model import Scope, Snapshot
from ..stores.rows import Row
from .damage import Damage
from .judging import alike
from .shelf import OTHER_OWNER, Shelf
from .stores import Stores

log = structlog.get_logger(__name__)


def serving(
    stores: Stores,
    scope: Scope,
    header: dict[str, Any],
    damage: Damage,
    rows: Callable[[], Iterable[Row]],
    check: Callable[[], None],
) -> Snapshot | None:
    """An older snapshot that holds what the one of `header` would; None: there is none.

    Parameters
    ----------
    rows: what the new one would consist of. check: asked for each file; may raise to stop.
    """
    for one in alike(stores.repository, scope, header, damage):
        try:
            lacks = _lacks(stores, one, rows(), check)
        except (DamagedError, NotFoundError) as error:
            lacks = error.what
        if not lacks:
            return one
        log.warning("safety.older-damaged", snapshot=one.name, what=lacks)
    return None


def _lacks(stores: Stores, snapshot: Snapshot, rows: Iterable[Row], check: Callable[[], None]) -> str:
    """The first thing that the folder of a snapshot does not have as it should; empty: nothing."""
    repository = stores.repository
    folder = repository.place_of(snapshot.scope, snapshot.name)
    with Shelf(repository.root) as shelf:
        for row in rows:
            check()
            path = os.fsdecode(row.path)
            if row.is_file and shelf.fault(folder, path, row) not in ("", OTHER_OWNER):
                return path
    db = repository.folder(snapshot.scope, snapshot.name) / "db"
    for entry in repository.collections(snapshot).values():
        for name, size in ((entry.bson_path, entry.bytes), (entry.metadata_path, None)):
            try:
                found = (db / name).stat().st_size
            except OSError:
                return name
            if size not in (None, found):
                return name
    return ""

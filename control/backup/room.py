"""How much room a snapshot will need, before anything is written.

Rules:

- Files count where no stored copy can be linked; records where a collection is not what the newest snapshot holds, as
  far as number and size of its documents tell.
- It is an estimate, rather too small than too large: nobody shall be refused who has the room. A disk that fills up
  all the same ends the job, and nothing is left of it.

>>> records_needed(stores, Scope.site(), newest)        # doctest: +SKIP
4200000
"""

from __future__ import annotations

from ..errors import DamagedError, NoRoomError, NotFoundError
from ..model import Change, CollectionEntry, Plan, Scope, Snapshot
from .inventory import is_left
from .reducing import Reduction
from .stores import Stores

_JSON = 1.5  # bytes of extended JSON for each byte of BSON, where no older dump tells


def records_needed(stores: Stores, scope: Scope, newest: Snapshot | None, reduction: Reduction | None = None) -> int:
    """Bytes for the dumps that cannot be shared with those of the newest snapshot, and are to be kept."""
    older: dict[str, CollectionEntry] = {}
    if newest is not None:
        try:
            older = stores.repository.collections(newest)
        except (DamagedError, NotFoundError):
            older = {}
    with_json = stores.settings.engine.write_json and reduction is None
    needed = 0
    for name, info in stores.mongo.collections(scope).items():
        if info.kind == "view" or is_left(info, scope):
            continue
        if reduction is not None and not reduction.keeps_collection(name):
            continue
        documents, size = stores.mongo.extent(scope, info)
        entry = older.get(name)
        if entry is None or not _is_same(entry, documents, size, with_json=with_json, is_site=scope.is_site):
            needed += int(size * (1 + (_json_share(entry) if with_json else 0)))
    return needed


def require_server_room(stores: Stores, plan: Plan) -> None:
    """Raise NoRoomError, with both numbers, where the server's disk has no room for the records that a plan brings."""
    changes = (item for item in stores.plans.items(plan.digest) if item.change is not Change.DELETE)
    needed = sum(item.bytes for item in changes if item.kind in ("record", "collection"))
    free = stores.mongo.free_bytes() if needed else None
    if free is not None and needed > free:
        raise NoRoomError(
            f"The records that come back need {needed / 1e6:.1f} MB, the disk of MongoDB has {free / 1e6:.1f} MB free.",
            subject="MongoDB",
            hint="Make room there, or bring back a part; nothing was changed.",
        )


def _is_same(entry: CollectionEntry, documents: int, size: int, *, with_json: bool, is_site: bool) -> bool:
    """Whether a dump can probably be shared. The size of a project's documents is itself an estimate."""
    if with_json and not entry.json_sha256:
        return False
    return entry.documents == documents and (not is_site or entry.bytes == size)


def _json_share(entry: CollectionEntry | None) -> float:
    return entry.json_bytes / entry.bytes if entry is not None and entry.bytes and entry.json_bytes else _JSON

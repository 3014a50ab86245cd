"""Records of a restore: from the dump back into the database, with collections, options and indexes.

Rules:

- Up to 50,000 changes and 64 MB (settings) travel in one transaction: readers see all of it or nothing. More go in
  batches, deletions first (unique values may swap between records); who finds an intent computes what is left.
- Ids count as much as records: they may be as large, and stand in the filters of what is deleted.
- Structure that would stand in the way of records goes before them, what needs them comes after.

Limits: MongoDB manual, "Production Considerations": a transaction above 16 MB is split into several oplog entries since
4.2, and should change no more than it can within 60 s; the numbers are ours and leave room on slow disks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import structlog

from ..errors import ChangedError
from ..model import BUCKETS, SYSTEM_JS, Change, Instant, Plan, PlanItem, Progress
from ..stores.cache_room import CacheRoom
from ..stores.changes import Changes, Known
from ..stores.mongo_write import RecordChange, TooMuchError
from .dumped import Dumped, id_of
from .inventory import StoredInventory
from .shared import drop_if_empty
from .stores import Stores
from .structure import is_view
from .target import Target
from .watches import Silent, Watch

log = structlog.get_logger(__name__)

_BATCH, _BATCH_BYTES = 2_000, 16_000_000
_TOLD = 1000  # records
_STRUCTURE = ("collection", "options", "index")


def prepared(stores: Stores, target: Target, plan: Plan) -> list[RecordChange] | None:
    """The changes of records, where one transaction can carry them: read before the gate is closed. None: it cannot."""
    counts, size = _extent(stores, plan)
    limits = stores.settings.restore
    if counts.total() > limits.transaction_records or size > limits.transaction_megabytes * 1_000_000:
        return None
    if counts.total() > _BATCH and not CacheRoom(stores.mongo).holds(counts):
        return None
    return list(_changes(stores, target, plan))


def change_database(
    stores: Stores,
    target: Target,
    plan: Plan,
    watch: Watch,
    step: tuple[int, int],
    *,
    since: Instant,
    ready: list[RecordChange] | None = None,
    in_batches: bool = False,
) -> Known:
    """Carry out what a plan says about the database; can be repeated.

    Parameters
    ----------
    since: from when on nobody else should have changed anything.
    ready: the changes of records, if they are for one transaction and read already.
    in_batches: the server does not take all of it in one transaction.

    Raises
    ------
    ChangedError: somebody has changed a collection past the gate that would be dropped now.

    Returns
    -------
    How a change stream tells what was done here: in which sessions, in which collections as a whole.
    """
    stored = StoredInventory(stores, target.snapshot, target.scope, Silent())
    _require_untouched(stores, plan, since, Change.REPLACE)
    for item in _items(stores, plan, _STRUCTURE):
        _make_way(stores, item)
    whole = set()
    for item in _items(stores, plan, _STRUCTURE):
        _before_records(stores, item, stored, Filling(watch, step, plan))
        if item.detail.get("whole") and item.change is not Change.DELETE:
            whole.add(item.name)
    if not in_batches and ready is None:
        ready = prepared(stores, target, plan)
    if ready is None or in_batches:
        sessions = _in_batches(stores, target, plan, watch, step)
    else:
        sessions = _at_once(stores, target, plan, watch, step, ready)
    if not target.owners:  # of what projects share it is asked whether it is empty
        _require_untouched(stores, plan, since, Change.DELETE)
    for item in _items(stores, plan, _STRUCTURE):
        _after_records(stores, item, is_shared=bool(target.owners))
    return Known(frozenset(sessions), frozenset(whole))


class Filling:
    """Tells how far the filling of collections is that come back as a whole."""

    def __init__(self, watch: Watch, step: tuple[int, int], plan: Plan) -> None:
        self._watch = watch
        self._step = step
        self._total = plan.creates.records + plan.replaces.records
        self._done = 0

    def each(self, documents: Iterator[bytes]) -> Iterator[bytes]:
        for raw in documents:
            self._done += 1
            if self._done % _TOLD == 0:
                self._watch.progress(
                    Progress("changing over", *self._step, min(self._done, self._total), self._total, "records")
                )
            yield raw


def _items(stores: Stores, plan: Plan, kinds: tuple[str, ...]) -> Iterator[PlanItem]:
    return stores.plans.items_of(plan.digest, *kinds)


def _require_untouched(stores: Stores, plan: Plan, since: Instant, change: Change) -> None:
    """Nobody may have written into what is dropped; of what the server does not tell, nothing is known."""
    found = (item for item in _items(stores, plan, ("collection",)) if item.change is change)
    names = {item.name for item in found if not item.detail.get("view")}  # which hold nothing, and are gone by now
    if not names:
        return
    for one in Changes(stores.mongo).since(since):
        if one.collection in names and not one.is_structure:
            raise ChangedError("was changed past the application.", subject=f"collection {one.collection}")


def _make_way(stores: Stores, item: PlanItem) -> None:
    """Drop what is made anew, and views that go or change: MongoDB takes a view only if it fits those that are there,
    without a cycle and in the same collation, also where both are about to change."""
    if item.kind == "options" and not is_view(item.detail["options"]):
        return
    if item.kind == "index" or (item.change is Change.DELETE and not item.detail.get("view")):
        return
    if item.change is not Change.CREATE or item.name == SYSTEM_JS:  # which is always there
        stores.writer.drop(item.name)


def _before_records(stores: Stores, item: PlanItem, stored: StoredInventory, told: Filling) -> None:
    writer = stores.writer
    if item.kind == "collection" and item.change is not Change.DELETE:
        is_whole = bool(item.detail.get("whole"))
        is_new = is_whole and item.change is Change.CREATE and item.name != SYSTEM_JS
        writer.create(item.name, item.detail["options"], is_new=is_new)
        if is_whole:
            writer.fill(item.name, told.each(stored.all_raw(item.name)))
    elif item.kind == "options" and is_view(item.detail["options"]):
        writer.create(item.name, item.detail["options"])
    elif item.kind == "options":
        writer.modify(item.name, item.detail["options"])
    elif item.kind == "index" and item.change is not Change.CREATE:
        writer.drop_index(item.detail["collection"], item.detail["name"])


def _after_records(stores: Stores, item: PlanItem, *, is_shared: bool) -> None:
    writer = stores.writer
    if item.kind == "collection" and item.change is Change.DELETE:
        if is_shared:
            drop_if_empty(stores, item.name)
        else:
            writer.drop(item.name)
    elif item.kind == "index" and item.change is not Change.DELETE:
        writer.create_index(item.detail["collection"], item.detail["index"])


def _extent(stores: Stores, plan: Plan) -> tuple[Counter[str], int]:
    """How many records change, by collection, and about how many bytes travel for it."""
    counts, size = Counter[str](), 0
    for item in _items(stores, plan, ("record",)):
        counts[item.detail["collection"]] += 1
        size += item.detail["size"] + len(item.detail["id"]) // 2
    return counts, size


def _at_once(
    stores: Stores, target: Target, plan: Plan, watch: Watch, step: tuple[int, int], ready: list[RecordChange]
) -> set[bytes]:
    """The ids of the sessions."""
    watch.progress(Progress("changing over", *step, 0, len(ready), "records"))
    try:
        return {stores.writer.write(ready, target.owners, watch.fence)} if ready else set()
    except TooMuchError as error:
        log.warning("restore.batches", records=len(ready), why=str(error))
        return _in_batches(stores, target, plan, watch, step)


def _in_batches(stores: Stores, target: Target, plan: Plan, watch: Watch, step: tuple[int, int]) -> set[bytes]:
    """The ids of the sessions."""
    total = _extent(stores, plan)[0].total()
    most = CacheRoom(stores.mongo).batch(_BATCH)
    deletions = (replace(one, raw=None) for one in _changes(stores, target, plan, with_bytes=False) if one.have)
    insertions = (replace(one, have=b"") for one in _changes(stores, target, plan) if one.raw is not None)
    done, sessions = 0, set[bytes]()
    for changes in (deletions, insertions):
        for batch in _batches(changes, most):
            sessions |= _halved(stores, target, watch, batch)
            done += len(batch)
            watch.progress(Progress("changing over in batches", *step, min(done, total), total, "records"))
    return sessions


def _halved(stores: Stores, target: Target, watch: Watch, batch: list[RecordChange]) -> set[bytes]:
    """Write a batch, in two where the server has not the memory for it. The ids of the sessions."""
    try:
        return {stores.writer.write(batch, target.owners, watch.fence)}
    except TooMuchError:
        half = len(batch) // 2
        if not half:
            raise
        first, second = batch[:half], batch[half:]
        return _halved(stores, target, watch, first) | _halved(stores, target, watch, second)


def _batches(changes: Iterator[RecordChange], most: int) -> Iterator[list[RecordChange]]:
    """Stretches that one transaction can carry, by count and by bytes."""
    batch: list[RecordChange] = []
    size = 0
    for change in changes:
        length = len(change.id) + len(change.raw or b"")
        if batch and (len(batch) >= most or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += length
    if batch:
        yield batch


def _changes(stores: Stores, target: Target, plan: Plan, *, with_bytes: bool = True) -> Iterator[RecordChange]:
    """The records of a plan; those of a collection that will be dropped go with it, unless projects share it."""
    structure = () if target.owners else _items(stores, plan, ("collection",))
    dropped = {item.name for item in structure if item.change is Change.DELETE}
    snapshot = target.snapshot
    with Dumped(stores.repository.folder(snapshot.scope, snapshot.name)) as dumped:
        for item in _items(stores, plan, ("record",)):
            name = item.detail["collection"]
            if name.removeprefix(BUCKETS) in dropped:
                continue
            raw = dumped.raw(item) if with_bytes and item.change is not Change.DELETE else None
            yield RecordChange(name, id_of(item), raw, bytes.fromhex(item.detail["have"] or ""))

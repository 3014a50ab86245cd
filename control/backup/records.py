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

from collections.abc import Iterator
from dataclasses import replace

from ..model import BUCKETS, Change, Plan, PlanItem, Progress
from ..stores.mongo_write import RecordChange
from .inventory import StoredInventory
from .stores import Stores
from .structure import is_view
from .target import Target
from .watches import Silent, Watch

_BATCH, _BATCH_BYTES = 2_000, 16_000_000
_STRUCTURE = ("collection", "options", "index")


def change_database(
    stores: Stores, target: Target, plan: Plan, watch: Watch, step: tuple[int, int], *, in_batches: bool = False
) -> None:
    """Carry out what a plan says about the database; can be repeated.

    Parameters
    ----------
    in_batches: the server does not take all of it in one transaction.
    """
    stored = StoredInventory(stores, target.snapshot, target.scope, Silent())
    for item in _items(stores, plan, _STRUCTURE):
        _make_way(stores, item)
    for item in _items(stores, plan, _STRUCTURE):
        _before_records(stores, item, stored)
    _change_records(stores, target, plan, watch, step, in_batches=in_batches)
    for item in _items(stores, plan, _STRUCTURE):
        _after_records(stores, item)


def _items(stores: Stores, plan: Plan, kinds: tuple[str, ...]) -> Iterator[PlanItem]:
    return (item for item in stores.plans.items(plan.digest) if item.kind in kinds)


def _make_way(stores: Stores, item: PlanItem) -> None:
    """Drop what is made anew, and views that go or change: MongoDB takes a view only if it fits those that are there,
    without a cycle and in the same collation, also where both are about to change."""
    if item.kind == "options" and not is_view(item.detail["options"]):
        return
    if item.kind == "index" or (item.change is Change.DELETE and not item.detail.get("view")):
        return
    if item.change is not Change.CREATE or item.detail.get("whole"):  # half of it may be there, of an earlier try
        stores.writer.drop(item.name)


def _before_records(stores: Stores, item: PlanItem, stored: StoredInventory) -> None:
    writer = stores.writer
    if item.kind == "collection" and item.change is not Change.DELETE:
        writer.create(item.name, item.detail["options"])
        if item.detail.get("whole"):
            writer.fill(item.name, stored.all_raw(item.name))
    elif item.kind == "options" and is_view(item.detail["options"]):
        writer.create(item.name, item.detail["options"])
    elif item.kind == "options":
        writer.modify(item.name, item.detail["options"])
    elif item.kind == "index" and item.change is not Change.CREATE:
        writer.drop_index(item.detail["collection"], item.detail["name"])


def _after_records(stores: Stores, item: PlanItem) -> None:
    writer = stores.writer
    if item.kind == "collection" and item.change is Change.DELETE:
        writer.drop(item.name)
    elif item.kind == "index" and item.change is not Change.DELETE:
        writer.create_index(item.detail["collection"], item.detail["index"])


def _change_records(
    stores: Stores, target: Target, plan: Plan, watch: Watch, step: tuple[int, int], *, in_batches: bool
) -> None:
    total = plan.creates.records + plan.replaces.records + plan.deletes.records
    if not total:
        return
    watch.progress(Progress("changing over", *step, 0, total, "records"))
    size = sum(item.detail["size"] + len(item.detail["id"]) // 2 for item in _items(stores, plan, ("record",)))
    limits = stores.settings.restore
    if not in_batches and total <= limits.transaction_records and size <= limits.transaction_megabytes * 1_000_000:
        stores.writer.write(_changes(stores, target, plan), target.owners, watch.fence)
        return
    deletions = (replace(one, raw=None) for one in _changes(stores, target, plan, with_bytes=False) if one.have)
    insertions = (replace(one, have=b"") for one in _changes(stores, target, plan) if one.raw is not None)
    done = 0
    for changes in (deletions, insertions):
        for batch in _batches(changes):
            stores.writer.write(batch, target.owners, watch.fence)
            done += len(batch)
            watch.progress(Progress("changing over in batches", *step, min(done, total), total, "records"))


def _batches(changes: Iterator[RecordChange]) -> Iterator[list[RecordChange]]:
    """Stretches that one transaction can carry, by count and by bytes."""
    batch: list[RecordChange] = []
    size = 0
    for change in changes:
        length = len(change.id) + len(change.raw or b"")
        if batch and (len(batch) >= _BATCH or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(change)
        size += length
    if batch:
        yield batch


def _changes(stores: Stores, target: Target, plan: Plan, *, with_bytes: bool = True) -> Iterator[RecordChange]:
    """The records of a plan; those of a collection that will be dropped go with it."""
    dropped = {item.name for item in _items(stores, plan, ("collection",)) if item.change is Change.DELETE}
    stored = StoredInventory(stores, target.snapshot, target.scope, Silent())
    for item in _items(stores, plan, ("record",)):
        detail = item.detail
        if detail["collection"].removeprefix(BUCKETS) in dropped:
            continue
        wanted = item.change is not Change.DELETE
        raw = stored.raw(detail["collection"], detail["offset"], detail["size"]) if wanted and with_bytes else None
        yield RecordChange(detail["collection"], bytes.fromhex(detail["id"]), raw, bytes.fromhex(detail["have"] or ""))

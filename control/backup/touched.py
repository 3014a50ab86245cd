"""The verification of a change-over, with the gate still closed: what was touched is read back, nothing else.

Rules:

- Every file of the plan is read and hashed, every record is read back, collections with options and indexes are
  compared with what shall be; and the change stream since the last look holds what the plan says, and nothing else.
- It says yes or no. After a no all is compared, byte for byte (`finishing.py`), which names what is different.

>>> Touched(stores, target, plan, watch).is_as_planned(since)       # doctest: +SKIP
True
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain

import structlog

from ..errors import ChangedError, UnavailableError
from ..model import BUCKETS, SYSTEM_JS, Change, Instant, Plan, PlanItem
from ..plan import entry_of
from ..stores.changes import Changes, Known, is_told
from ..stores.collection_info import CollectionInfo
from ..stores.files import Descent
from .inventory import LiveInventory, StoredInventory, is_left
from .owned import Owned
from .stores import Stores
from .structure import Content, structure_items
from .target import Target
from .watches import Quiet, Watch

log = structlog.get_logger(__name__)

_FILES = ("file", "link", "directory")
_READERS = 2  # at the same time: the server looks up while the other's records are hashed
_TOGETHER, _TOGETHER_BYTES = 500, 4_000_000  # records that are asked for at once: how many, and their bytes


class Touched:
    """Checks one plan that was just carried out."""

    def __init__(self, stores: Stores, target: Target, plan: Plan, watch: Watch, known: Known = Known()) -> None:  # noqa: B008
        """`known`: how the server tells what the plan has done to records; somebody else's changes are none of it."""
        self._known = known
        self._stores = stores
        self._target = target
        self._plan = plan
        self._watch = watch

    def is_as_planned(self, since: Instant) -> bool:
        """Whether all that the plan names is as it says, and nothing else was changed in the database since."""
        for what, holds in (
            ("files", self._has_files),
            ("collections", self._has_structure),
            ("records", self._has_records),
            ("other changes", lambda: self._has_nothing_else(since)),
        ):
            if not holds():
                log.warning("restore.not-as-planned", what=what, plan=self._plan.digest)
                return False
        return True

    def _items(self, *kinds: str) -> Iterator[PlanItem]:
        return self._stores.plans.items_of(self._plan.digest, *kinds)

    def _has_files(self) -> bool:
        owned = Owned(self._stores)
        with self._stores.live_tree(self._target.scope).descent() as live:
            for item in self._items(*_FILES):
                self._watch.check()
                if not _is_as_wanted(item, live, owned):
                    return False
        return True

    # --- the database

    def _has_structure(self) -> bool:
        """Options and indexes of all collections whose own are changed, and none too many."""
        if not any(self._items("collection", "options", "index")):
            return True
        stored = StoredInventory(self._stores, self._target.snapshot, self._target.scope, self._watch)
        wanted = stored.collections(self._target.records)
        there = self._there()
        names = {item.detail.get("collection", item.name) for item in self._items("collection", "options", "index")}
        names &= wanted.keys() | there.keys()
        return not any(chain.from_iterable(structure_items(one, wanted.get(one), there.get(one)) for one in names))

    def _there(self) -> dict[str, CollectionInfo]:
        scope = self._target.scope
        return {name: one for name, one in self._stores.mongo.collections(scope).items() if not is_left(one, scope)}

    def _has_records(self) -> bool:
        gone = {item.name for item in self._items("collection") if item.change is Change.DELETE}
        items = (item for item in self._items("record") if item.detail["collection"].removeprefix(BUCKETS) not in gone)
        waiting: deque[Future[bool]] = deque()
        with ThreadPoolExecutor(_READERS) as pool:
            for batch in _batches(items):
                self._watch.check()
                waiting.append(pool.submit(self._is_as_wanted, batch))
                if len(waiting) > _READERS and not waiting.popleft().result():
                    return False
            if not all(one.result() for one in waiting):
                return False
        return self._has_whole_collections()

    def _is_as_wanted(self, batch: list[PlanItem]) -> bool:
        wanted = {bytes.fromhex(item.detail["id"]): item.detail["want"] for item in batch}
        found = self._stores.mongo.digests(batch[0].detail["collection"], wanted)
        return all(found.get(ident) == want for ident, want in wanted.items())

    def _has_whole_collections(self) -> bool:
        whole = [item for item in self._items("collection") if item.detail.get("whole")]
        if not whole:
            return True
        part = self._target.records
        with self._stores.mongo.pinned() as reader:
            live = LiveInventory(self._stores, reader, Quiet(self._watch), self._stores.excluded(self._target.scope))
            shapes = live.collections(part)
            return all(
                item.name in shapes and Content.of(live.documents(item.name, part)).digest == item.detail["want"]
                for item in whole
            )

    def _has_nothing_else(self, since: Instant) -> bool:
        # In a collection that projects share, only the records of the plan are ours.
        structure = () if self._target.owners else self._items("collection", "options", "index")
        ours = {item.detail.get("collection", item.name) for item in structure} | {SYSTEM_JS}
        try:
            for change in Changes(self._stores.mongo).since(since, but=self._known):
                self._watch.check()
                if change.is_structure and not self._target.scope.is_site:
                    continue
                if change.collection not in ours and self._concerns(change.collection, change.id):
                    return False
        except UnavailableError as error:
            log.info("restore.compares-all", plan=self._plan.digest, why=str(error))
            return False
        return True

    def _concerns(self, name: str, ident: bytes) -> bool:
        """Whether a change of somebody else is of what the restore is about."""
        site, target = self._stores.settings.scopes.site, self._target
        if name in site.leave or name in target.snapshot.unknown_collections or (name and not is_told(name)):
            return False
        if name in site.people and not target.people:
            return False
        owners = target.owners
        if owners:
            if name not in self._stores.settings.scopes.project.collections:
                return False
            return not ident or self._stores.mongo.owned(owners, name, [ident])
        return True


def _is_as_wanted(item: PlanItem, live: Descent, owned: Owned) -> bool:
    try:
        found = live.entry(item.name)
    except (ChangedError, OSError):
        return False
    if item.change is Change.DELETE:
        return found is None
    return found is not None and owned(found) == owned(entry_of(item))


def _batches(items: Iterator[PlanItem]) -> Iterator[list[PlanItem]]:
    """Stretches of one collection that are asked for at once."""
    batch: list[PlanItem] = []
    size = 0
    for item in items:
        if batch and (
            item.detail["collection"] != batch[0].detail["collection"]
            or len(batch) >= _TOGETHER
            or size > _TOGETHER_BYTES
        ):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.detail["id"]) // 2
    if batch:
        yield batch

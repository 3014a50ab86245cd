"""Records of a copy: from the dumps into a database of their own, with collections, options and indexes.

Rules:

- Nobody reads that database yet: records go in as they come, in large batches, without transactions.
- Each record is the one that the plan was computed from, byte for byte, or the work stops.
- Indexes come after the records; those that let the server delete what is old come last of all, after the check: it
  would not find the records otherwise.

>>> copying = RecordCopying(stores, target, plan, watch)        # doctest: +SKIP
>>> copying.run((3, 4)); …; copying.let_expire()                # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import groupby

from ..errors import DamagedError
from ..model import BUCKETS, Change, Plan, PlanItem, Progress
from .inventory import StoredInventory
from .stores import Stores
from .structure import is_view, structure_items
from .target import Target
from .watches import Silent, Watch


class RecordCopying:
    """One copy into the database that `stores` writes to.

    Parameters
    ----------
    plan: what leads from an empty database to the snapshot.
    """

    def __init__(self, stores: Stores, target: Target, plan: Plan, watch: Watch) -> None:
        self._stores = stores
        self._stored = StoredInventory(stores, target.snapshot, target.scope, Silent())
        self._is_whole_site = target.is_whole_site
        self._plan = plan
        self._watch = watch
        self._done = 0
        self._structure = list(self._structured())

    def run(self, step: tuple[int, int]) -> None:
        """Make the collections, fill them, index them."""
        writer = self._stores.writer
        collections = [item for item in self._structure if item.kind == "collection"]
        for item in sorted(collections, key=lambda one: is_view(one.detail["options"])):
            self._watch.check()
            writer.create(item.name, item.detail["options"])
        for item in collections:
            if item.detail.get("whole"):
                writer.fill(item.name, self._told(self._stored.all_raw(item.name), item.name, step))
        for name, items in groupby(self._items("record"), lambda item: str(item.detail["collection"])):
            writer.fill(name, self._told(self._raws(name, items), name, step))
        for item in self._indexes():
            if not _expires(item):
                self._watch.check()
                writer.create_index(item.detail["collection"], item.detail["index"])

    @property
    def late(self) -> frozenset[str]:
        """The names, as in plans, of the indexes that are not made by `run`."""
        return frozenset(item.name for item in self._indexes() if _expires(item))

    def let_expire(self) -> None:
        """Make the indexes by which the server deletes what is old."""
        for item in self._indexes():
            if _expires(item):
                self._stores.writer.create_index(item.detail["collection"], item.detail["index"])

    def _indexes(self) -> Iterator[PlanItem]:
        return (item for item in self._structure if item.kind == "index")

    def _structured(self) -> Iterator[PlanItem]:
        """What has to be made before and after the records. The plan of a part says nothing of it."""
        if self._is_whole_site:
            yield from self._items("collection", "index")
            return
        entries = self._stored.entries()
        whole = {item.name for item in self._items("collection") if item.detail.get("whole")}
        yield from (
            item for item in self._items("collection", "index") if item.detail.get("collection", item.name) in whole
        )
        for name in sorted({str(item.detail["collection"]) for item in self._items("record")}):
            yield from structure_items(name, entries[name], None)

    def _items(self, *kinds: str) -> Iterator[PlanItem]:
        items = self._stores.plans.items_of(self._plan.digest, *kinds)
        return (item for item in items if item.change is Change.CREATE)

    def _raws(self, name: str, items: Iterable[PlanItem]) -> Iterator[bytes]:
        """The records of these items, which come in the order in which they are stored."""
        entry = self._stored.entries()[name.removeprefix(BUCKETS)]
        with open(self._stored.folder / "db" / entry.bson_path, "rb") as file:  # noqa: PTH123
            for item in items:
                if file.tell() != item.detail["offset"]:
                    file.seek(item.detail["offset"])
                raw = file.read(item.detail["size"])
                if hashlib.sha256(raw).hexdigest() != item.detail["want"]:
                    raise DamagedError(
                        "collection-bytes",
                        f"has a dump of {entry.name} that changed while it was read.",
                        subject=self._plan.snapshot,
                        hint="Take another snapshot; nothing of the site was changed.",
                    )
                yield raw

    def _told(self, raws: Iterable[bytes], name: str, step: tuple[int, int]) -> Iterator[bytes]:
        """The same; tells how far it is, and stops where that is asked for."""
        total = self._plan.creates.records
        for raw in raws:
            self._done += 1
            shown = Progress("copying records", *step, min(self._done, total), total, "records", name)
            self._watch.progress(shown)
            yield raw


def _expires(item: PlanItem) -> bool:
    return "expireAfterSeconds" in json.loads(item.detail["index"])

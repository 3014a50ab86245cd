"""The part of a plan about collections and their records: two streams of documents side by side.

Rules:

- A record that now belongs to a project outside the restore is a conflict: named, never overwritten; the files of an
  edition that moved away stay with it.
- A collection that comes back as a whole has no items for its records.

>>> list(Pairing(stores, target, watch, draft).records("edition", want, have, wanted, there))      # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Problem
from ..model import BUCKETS, PlanItem
from ..plan import Record, record_item, record_pairs
from .inventory import Inventory, Shape
from .stores import Stores
from .structure import Content, is_whole, structure_items, whole_items
from .target import PlanDraft, Target
from .watches import Watch

_LOOKUP, _LOOKUP_BYTES = 500, 4_000_000  # ids looked up at once


class Pairing:
    """Compares the collections of one plan; what has to be told goes into the draft."""

    def __init__(self, stores: Stores, target: Target, watch: Watch, draft: PlanDraft) -> None:
        self._stores = stores
        self._target = target
        self._watch = watch
        self._draft = draft
        self._project = stores.settings.scopes.project
        self._site = stores.settings.scopes.site

    def structure(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None
    ) -> Iterator[PlanItem]:
        if not is_whole(name, wanted, there):
            items = list(structure_items(name, wanted, there))
        else:
            self._draft.whole.add(name)
            contents = [
                Content.of(self._chosen(name, one) if shape is not None and shape.kind != "view" else iter(()))
                for one, shape in ((want, wanted), (have, there))
            ]
            items = list(whole_items(name, wanted, there, *contents))
            if contents[0] == contents[1]:
                self._draft.tally.unchanged = contents[0].added_to(self._draft.tally.unchanged)
        if any(item.kind == "collection" for item in items):
            self._draft.rewritten.add(name)
        yield from items

    def records(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None
    ) -> Iterator[PlanItem]:
        left = self._chosen(name, want) if wanted is not None and wanted.kind != "view" else iter(())
        right = self._chosen(name, have) if there is not None and there.kind != "view" else iter(())
        waiting: list[Record] = []
        size = 0
        for want_record, have_record in record_pairs(left, right):
            if want_record is not None and have_record is not None:
                if want_record.digest == have_record.digest and name not in self._draft.rewritten:
                    self._draft.tally.same("record", want_record.size)
                    continue
            elif want_record is not None and self._target.owners:
                waiting.append(want_record)
                size += len(want_record.id)
                if len(waiting) >= _LOOKUP or size >= _LOOKUP_BYTES:
                    yield from self._without_conflicts(name, waiting)
                    waiting, size = [], 0
                continue
            shape = wanted if want_record is not None else there
            source = f"{BUCKETS}{name}" if shape is not None and shape.kind == "timeseries" else name
            item = record_item(source, want_record, have_record)
            if name in self._site.people:
                self._draft.people[item.change] += 1
            yield item
        yield from self._without_conflicts(name, waiting)

    def _chosen(self, name: str, inventory: Inventory) -> Iterator[Record]:
        editions = set(self._target.selection.editions)
        for record in inventory.records(name, self._draft.part):
            self._watch.check()
            if not editions or record.name in editions:
                yield record

    def _without_conflicts(self, name: str, records: list[Record]) -> Iterator[PlanItem]:
        """The creation of these records, but of those that another project has now."""
        if not records:
            return
        taken = self._stores.mongo.outside(self._target.owners, name, [record.id for record in records])
        for record in records:
            if record.id not in taken:
                yield record_item(name, record, None)
                continue
            self._draft.conflicts.append(
                Problem(
                    "conflict",
                    "now belongs to another project; it is left there, and its files as they are.",
                    f"{name} {record.title or record.name}",
                    "Move it back by hand first if it is wanted here.",
                )
            )
            if name == self._project.editions.collection:
                top = f"project/{record.owner}/" if self._target.scope.is_site else ""
                self._draft.moved.add(f"{top}{self._project.editions.folder}/{record.name}")
        self._draft.part.paths.leave |= self._draft.moved

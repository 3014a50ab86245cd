"""The part of a plan about collections and their records: two streams of documents side by side.

Rules:

- A record that now belongs to a project outside the restore is a conflict: named, never overwritten; the files of an
  edition that moved away stay with it.
- A collection that comes back as a whole has no items for its records.
- What is the same on both sides is counted, not looked at, unless only some of it is meant.
- A record that would be written has to be one that the server takes; that is told once its dump has been read.
- The live documents, or those of the second snapshot, are read by a thread of their own.

>>> pairing = Pairing(stores, target, watch, draft, comparing)      # doctest: +SKIP
>>> list(pairing.records("edition", want, have, wanted, there))      # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from ..errors import InvalidError, Problem
from ..model import BUCKETS, PlanItem
from ..plan import Record, record_item
from ..stores.documents import Documents, Run, Source
from ..stores.idents import shown_id
from ..stores.pair_index import Pair
from ..stores.read_ahead import ReadAhead
from ..stores.soundness import Soundness, fault_of, unsound
from .expiring import rules_of
from .inventory import Inventory, Part, Shape, StoredInventory, records_of
from .matching import Matching, Side
from .shared import rest_of, shared_items
from .stores import Stores
from .structure import Content, is_whole, structure_items, whole_items
from .target import PlanDraft, Target
from .watches import Comparing, Watch

MANY = 1_000  # records from which on a collection that is not there comes back as a whole
_LOOKUP, _LOOKUP_BYTES = 500, 4_000_000  # ids looked up at once


class Pairing:
    """Compares the collections of one plan; what has to be told goes into the draft."""

    def __init__(
        self,
        stores: Stores,
        target: Target,
        watch: Watch,
        draft: PlanDraft,
        comparing: Comparing,
        unordered: frozenset[str] = frozenset(),
    ) -> None:
        """`unordered` are collections whose documents do not come in the order of `_id` on both sides."""
        self._comparing = comparing
        self._stores = stores
        self._target = target
        self._watch = watch
        self._draft = draft
        self._unordered = unordered
        self._project = stores.settings.scopes.project
        self._site = stores.settings.scopes.site

    def structure(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None
    ) -> Iterator[PlanItem]:
        if not comes_as_a_whole(self._stores, name, want, wanted, there):
            items = list(structure_items(name, wanted, there))
        else:
            self._draft.whole.add(name)
            contents = [
                require_sound(self._stores, want, name, wanted, self._draft.part, self._watch),
                self._content(name, have, there),
            ]
            items = list(whole_items(name, wanted, there, *contents, is_begun=self._is_begun(name, want, *contents)))
            if contents[0] == contents[1]:
                self._draft.tally.unchanged = contents[0].added_to(self._draft.tally.unchanged)
        if any(item.kind == "collection" for item in items):
            self._draft.rewritten.add(name)
        yield from items

    def _is_begun(self, name: str, want: Inventory, wanted: Content, there: Content) -> bool:
        """Whether what is there is the beginning of what comes."""
        if there.records >= wanted.records:
            return False
        return Content.of(want.documents(name, self._draft.part), most=there.records).digest == there.digest

    def _content(self, name: str, inventory: Inventory, shape: Shape | None) -> Content:
        if shape is None or shape.kind == "view":
            return Content.of(_NOTHING)
        return Content.of(inventory.documents(name, self._draft.part), self._watch.check)

    def records(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None
    ) -> Iterator[PlanItem]:
        """What has to happen to the records of a collection.

        Raises
        ------
        OutOfOrderError: not both sides are in the order of `_id`; give the collection among `unordered`.
        """
        waiting: list[Record] = []
        size = 0
        for want_record, have_record in self._pairs(name, want, have, wanted, there):
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
            item = _item(source, want_record, have_record)
            if name in self._site.people:
                self._draft.people[item.change] += 1
            yield item
        yield from self._without_conflicts(name, waiting)

    def single(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None
    ) -> Iterator[PlanItem]:
        """Single records of a collection of the site. Where it is not there it is made for them, as it was; taken back
        with them, where nothing else came into it.

        Raises
        ------
        InvalidError: its records cannot be written one by one.
        """
        for shape in (wanted, there):
            if shape is not None and (shape.kind != "collection" or is_whole(name, shape, shape)):
                raise InvalidError(
                    "is not of the kind whose records come back one by one.",
                    subject=f"collection {name}",
                    hint="Select the whole collection; nothing was changed.",
                )
        items = list(self.records(name, want, have, wanted, there))
        if there is None and wanted is not None and items:
            yield from structure_items(name, wanted, None)
        elif wanted is not None and name in self._target.makes:
            yield from rest_of(list(structure_items(name, wanted, there)))
        elif wanted is None and self._target.takes_back and not self._has_others(name, have):
            yield from structure_items(name, None, there)
        yield from items

    def shared(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None
    ) -> Iterator[PlanItem]:
        """Those of some projects, and the collection that these share with others, where that is gone."""
        items = self.records(name, want, have, wanted, there)
        first = next(items, None)
        yield from shared_items(self._stores, self._target, name, wanted, there, comes=first is not None)
        if first is not None:
            yield first
        yield from items

    def _has_others(self, name: str, inventory: Inventory) -> bool:
        """Whether a collection has records that are not meant."""
        records = records_of(inventory, name, replace(self._draft.part, ids={}))
        return any(not self._draft.sought.chooses(name, record) for record in records)

    def _pairs(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None
    ) -> Iterator[Pair]:
        """The records that differ, each with its counterpart; the same ones too, where each has to be looked at."""
        part = self._draft.part
        takes_all = have.is_exact(part) and self._draft.sought.takes_all(name)
        is_plain = takes_all and name not in self._draft.rewritten
        with ExitStack() as stack:
            if is_plain and _is_one_file(name, want, have):
                for run in self._documents(name, want, wanted).stretches():
                    self._count(run)
                return
            faults: list[str] = []
            documents = self._documents(name, want, wanted)
            sides = (
                Side(documents, lambda raw, at: self._sound_record(name, want, raw, at, faults)),
                Side(self._documents(name, have, there, stack), lambda raw, at: self._record(name, have, raw, at)),
            )
            is_ordered = name not in self._unordered
            for found in Matching(name, *sides, self._stores.plans.index, is_ordered=is_ordered).run():
                self._watch.check()
                if not isinstance(found, Run):
                    if found[0] is not None:
                        self._comparing.passed(found[0].size)
                    if found != (None, None):
                        yield found
                elif is_plain:
                    self._count(found)
                else:
                    self._comparing.passed(found.size)
                    for offset, raw in found.documents():
                        if (record := self._record(name, want, raw, offset)) is not None:
                            yield record, replace(record, offset=-1)
            if faults:
                raise unsound(want.documents(name, part), faults[0])

    def _count(self, run: Run) -> None:
        self._watch.check()
        self._draft.tally.same_records(run.count, run.size)
        self._comparing.passed(run.size)

    def _documents(
        self, name: str, inventory: Inventory, shape: Shape | None, ahead: ExitStack | None = None
    ) -> Documents:
        """The documents of one side, read by a thread that ends with `ahead`, where that is given."""
        if shape is None or shape.kind == "view":
            return Documents(_NOTHING)
        source = inventory.documents(name, self._draft.part)
        if ahead is not None:
            blocks = ahead.enter_context(ReadAhead(((0, block) for block in source.blocks), self._watch.check))
            source = replace(source, blocks=(block for _, block in blocks))
        return Documents(source)

    def _record(self, name: str, inventory: Inventory, raw: bytes, offset: int) -> Record | None:
        """A document as a record; None: it is not meant."""
        record = inventory.record(name, self._draft.part, raw, offset)
        return record if record is not None and self._draft.sought.chooses(name, record) else None

    def _sound_record(self, name: str, want: Inventory, raw: bytes, offset: int, faults: list[str]) -> Record | None:
        """The same of one that would be written. Why it cannot be goes into `faults`; then no more are asked for."""
        record = None if faults else self._record(name, want, raw, offset)
        if record is not None and (fault := fault_of(raw)):
            faults.append(fault)
            return None
        return record

    def _without_conflicts(self, name: str, records: list[Record]) -> Iterator[PlanItem]:
        """The creation of these records, but of those that another project has now."""
        if not records:
            return
        taken = self._stores.mongo.outside(self._target.owners, name, [record.id for record in records])
        for record in records:
            if record.id not in taken:
                yield _item(name, record, None)
                continue
            self._draft.conflicts.append(
                Problem(
                    "conflict",
                    "now belongs to another project; it is left there, and its files as they are.",
                    f"{name} {record.title or shown_id(record.id)}",
                    "Move it back by hand first if it is wanted here.",
                )
            )
            if name == self._project.editions.collection:
                top = f"project/{record.owner}/" if self._target.scope.is_site else ""
                self._draft.moved.add(f"{top}{self._project.editions.folder}/{record.name}")
        self._draft.part.paths.leave |= self._draft.moved


def comes_as_a_whole(stores: Stores, name: str, want: Inventory, wanted: Shape | None, there: Shape | None) -> bool:
    """Whether a collection comes back, or goes, without an item for each record.

    Of those that are not there any more, the large ones. Those of which plans tell more stay apart: people, projects
    and editions, and what expires.
    """
    if is_whole(name, wanted, there):
        return True
    if there is not None or not isinstance(want, StoredInventory) or wanted is None or wanted.kind != "collection":
        return False
    scopes = stores.settings.scopes
    told = {*scopes.site.people, scopes.project.own_collection, scopes.project.editions.collection}
    return name not in told and want.entries()[name].documents >= MANY and not any(rules_of(wanted))


def require_sound(
    stores: Stores, want: Inventory, name: str, wanted: Shape | None, part: Part, watch: Watch
) -> Content:
    """What a collection holds that comes back as a whole.

    Raises
    ------
    DamagedError: its dump is not as it was written, or no collection can hold what is in it.
    """
    if wanted is None or wanted.kind == "view":
        return Content.of(_NOTHING)
    with ExitStack() as stack:
        index = stack.enter_context(stores.plans.index()) if wanted.is_capped else None
        return Content.of(want.documents(name, part), watch.check, soundness=Soundness(index))


def _item(collection: str, want: Record | None, have: Record | None) -> PlanItem:
    """The item for one record that differs."""
    ident = want.id if want is not None else have.id if have is not None else b""
    return record_item(collection, want, have, shown_id(ident))


def _is_one_file(name: str, want: Inventory, have: Inventory) -> bool:
    """Whether both snapshots share the dump of a collection: read once, it is checked for both."""
    return isinstance(want, StoredInventory) and isinstance(have, StoredInventory) and want.is_file_of(name, have)


def _nothing_there(_damage: str, what: str) -> Exception:
    return RuntimeError(f"no document {what}")


_NOTHING = Source((), _nothing_there, lambda: None)

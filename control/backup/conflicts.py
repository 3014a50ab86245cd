"""Unique values that a plan needs and somebody else has: found before anything changes.

Rules:

- A record that the plan creates or replaces is in conflict where a record that the plan neither replaces nor deletes
  holds one of its unique values, or another one that the plan brings. It is left as it is, and so are all that collide
  with it; then it keeps its own values, so that it is looked again, until nothing more is found.
- What is left depends on nothing that the restore changes: the look afterwards finds the same.
- Nothing is told of a record outside of the plan but that there is one.
- An `_id` is such a value, too: to the server 5 and 5.0 are one.
- Where a collection comes back as a whole nothing in it can be in conflict: its indexes come back too.
- The files of an edition whose record is left stay as they are, too.

>>> Conflicts(stores, target, draft, want, watch).among(writer.items)       # doctest: +SKIP
frozenset({('edition', b'...')})
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..errors import Problem
from ..fields import HIDDEN, is_secret
from ..model import Change, Order, Outcome, OutcomeStatus, Plan, PlanItem
from ..stores.idents import shown_id
from ..stores.lookups import found
from ..stores.raw import field, id_text
from ..stores.unique import ID_INDEX, Scratch, UniqueIndex, holders, may_have_equals, scratch, unique_indexes
from .dumped import Dumped, id_of, name_of
from .inventory import StoredInventory
from .stores import Stores
from .target import PlanDraft, Target
from .watches import Watch

Items = Callable[[], Iterator[PlanItem]]
Key = tuple[str, bytes]  # collection and exact id
Batch = list[tuple[PlanItem, bytes]]

_MOST_HITS = 20_000  # ids that are held at once
_MOST_NAMED = 50
_LONGEST_VALUE = 60


class Conflicts:
    """Looks for unique values that are taken; `left` has a problem for each record that is left as it is, `folders` the
    paths that stay with them."""

    def __init__(self, stores: Stores, target: Target, draft: PlanDraft, want: StoredInventory, watch: Watch) -> None:
        self._stores = stores
        self._target = target
        self._draft = draft
        self._want = want
        self._watch = watch
        self._project = stores.settings.scopes.project
        self.left: dict[Key, Problem] = {}
        self.folders: set[str] = set()

    def among(self, items: Items) -> frozenset[Key]:
        """The records of a plan that have to be left as they are."""
        if self._target.is_whole_site:  # without looking at what comes
            return frozenset()
        indexes = self._indexes(items)
        known = -1
        while indexes and len(self.left) > known:
            known = len(self.left)
            for collection, unique in indexes.items():
                for index in unique:
                    self._look(collection, index, items)
        return frozenset(self.left)

    def problems(self) -> list[Problem]:
        """Those that are left, by name; of very many the first ones, and how many more there are."""
        named = [problem for _, problem in sorted(self.left.items(), key=lambda one: one[0])][:_MOST_NAMED]
        if more := len(self.left) - len(named):
            many = "1 more record is left as it is" if more == 1 else f"{more} more records are left as they are"
            named.append(
                Problem("conflict", f"{many}: others have what is unique in them.", "", "Look at the records.")
            )
        return named

    def _indexes(self, items: Items) -> Mapping[str, tuple[UniqueIndex, ...]]:
        """The unique indexes that are there now, and stay, of the collections that records come into."""
        names = {item.detail["collection"] for item in items() if _comes(item)}
        names -= {name for name in names if self._target.has_structure(name)}
        shapes = [one for name, one in self._draft.there.items() if name in names]
        return {one.name: (ID_INDEX, *unique_indexes(one.indexes)) for one in shapes}

    def _look(self, collection: str, index: UniqueIndex, items: Items) -> None:
        with Dumped(self._want.folder) as dumped:
            hits: dict[bytes, set[int]] = defaultdict(set)
            for number, batch in enumerate(dumped.batches(_asking(items, collection, index))):
                self._watch.check()
                own = {id_of(item) for item, _ in batch}
                stay = {ident for name, ident in self.left if name == collection}
                asked = [raw for item, raw in batch if (collection, id_of(item)) not in self.left]
                for one in holders(self._stores.mongo, collection, index, asked):
                    if one not in own or one in stay:
                        hits[one].add(number)
                if len(hits) > _MOST_HITS:
                    self._judge(collection, index, items, hits)
                    hits.clear()
            self._judge(collection, index, items, hits)
        if not self._is_in_snapshot(collection, index):
            self._compare_wanted(collection, index, items)

    def _judge(self, collection: str, index: UniqueIndex, items: Items, hits: dict[bytes, set[int]]) -> None:
        """Put the records that stay and may be in the way beside those that come."""
        if not hits:
            return
        for item in items():
            if item.kind == "record" and item.detail["collection"] == collection and item.detail["have"]:
                ident = id_of(item)
                if (collection, ident) not in self.left:
                    hits.pop(ident, None)
        only = sorted(name.decode() for name in index.tops)
        stay = found(self._stores.mongo, collection, hits, only) if hits else {}
        if not stay:
            return
        numbers = set().union(*(hits[one] for one in stay))
        with Dumped(self._want.folder) as dumped, scratch(self._stores.mongo, index) as beside:
            beside.put(stay.values())
            for number, batch in enumerate(dumped.batches(_asking(items, collection, index))):
                if number in numbers:
                    self._try(batch, index, beside, set(stay))

    def _try(self, batch: Batch, index: UniqueIndex, beside: Scratch, stay: set[bytes]) -> None:
        coming = [one for one in batch if (_key(one[0])) not in self.left and id_of(one[0]) not in stay]
        refused = set(beside.put(raw for _, raw in coming))
        for place in sorted(refused):
            self._leave(*coming[place], index, "another record has")
        beside.take(id_of(item) for place, (item, _) in enumerate(coming) if place not in refused)

    def _is_in_snapshot(self, collection: str, index: UniqueIndex) -> bool:
        """Whether the snapshot has the same rule: then its records do not collide with each other."""
        if index is ID_INDEX:
            return True
        shape = self._draft.wanted.get(collection)
        return shape is not None and any(one.rules == index.rules for one in unique_indexes(shape.indexes))

    def _compare_wanted(self, collection: str, index: UniqueIndex, items: Items) -> None:
        """Those that come, beside each other: the index is younger than the snapshot."""
        collide: set[bytes] = set()
        with Dumped(self._want.folder) as dumped, scratch(self._stores.mongo, index) as beside:
            for batch in dumped.batches(_coming(items, collection)):
                self._watch.check()
                for item, raw in (batch[place] for place in beside.put(raw for _, raw in batch)):
                    collide |= {id_of(item), *beside.holders([raw])}
        if collide:
            with Dumped(self._want.folder) as dumped:
                for item in _coming(items, collection):
                    if id_of(item) in collide:
                        self._leave(item, dumped.raw(item), index, "another record of the snapshot has")

    def _leave(self, item: PlanItem, raw: bytes, index: UniqueIndex, who: str) -> None:
        if _key(item) in self.left:
            return
        collection, ident = item.detail["collection"], name_of(item)
        belongs = self._project.collections.get(collection)
        told = [one for one in index.fields if belongs is None or one != belongs.field]  # whose it is says nothing here
        values = ", ".join(f"{path}: {_value_at(raw, path)}" for path in told)
        self.left[_key(item)] = Problem(
            "conflict",
            f"is left as it is: {who} its unique value ({values}).",
            f"{collection} {item.title or shown_id(id_of(item))}",
            "Change that value by hand first, in one of them, if this is wanted here.",
        )
        if collection == self._project.own_collection:
            self._draft.new_projects.pop(ident, None)
        elif collection == self._project.editions.collection:
            self._draft.new_editions.pop(ident, None)
            owner = self._stores.mongo.project_of(collection, raw)
            top = f"project/{owner}/" if self._target.scope.is_site else ""
            self.folders.add(f"{top}{self._project.editions.folder}/{ident}")


def taken_since(plan: Plan, report: Mapping[str, Any] | None) -> tuple[Problem, ...]:
    """The conflicts of a plan that a restore did not know when it began: somebody took the values past the gate."""
    warnings = report["warnings"] if report else ()
    known = {one["subject"] for one in warnings if one["code"] == "conflict"}
    return tuple(one for one in plan.conflicts if one.subject not in known)


def refusal_of(order: Order, plan: Plan) -> Outcome | None:
    """What a restore comes to where a plan has conflicts and he who asks is no admin; None: it may go on."""
    if not plan.conflicts or plan.is_empty or order.actor.is_admin:
        return None
    number = len(plan.conflicts)
    what = f"{number} records cannot come back" if number > 1 else "One record cannot come back"
    problem = Problem(
        "refused",
        f"{what}: what they need belongs to others by now. Only an admin may restore the rest.",
        hint="Ask an admin, or change what is named first. Nothing was changed.",
    )
    return Outcome(OutcomeStatus.REFUSED, order.snapshot, None, (problem, *plan.conflicts), plan.as_dict())


def _comes(item: PlanItem) -> bool:
    return item.kind == "record" and item.change is not Change.DELETE


def _coming(items: Items, collection: str) -> Iterator[PlanItem]:
    """The records that come into a collection."""
    return (item for item in items() if _comes(item) and item.detail["collection"] == collection)


def _asking(items: Items, collection: str, index: UniqueIndex) -> Iterator[PlanItem]:
    """Those of them that may need a value which others have. What is replaced has its `_id` already."""
    for item in _coming(items, collection):
        if index is not ID_INDEX or (item.change is Change.CREATE and may_have_equals(id_of(item))):
            yield item


def _key(item: PlanItem) -> Key:
    return item.detail["collection"], id_of(item)


def _value_at(raw: bytes, path: str) -> str:
    if is_secret(path):
        return HIDDEN
    value = field(raw, path)
    text = "none" if value is None else shown_id(value) if path == "_id" else id_text(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def without(items: Iterable[PlanItem], left: frozenset[Key], folders: set[str]) -> Iterator[PlanItem]:
    """A plan's items without those records, and without what lies in those folders."""
    for item in items:
        if item.kind == "record":
            if _key(item) not in left:
                yield item
        elif not any(_touches(item, folder) for folder in folders):
            yield item


def _touches(item: PlanItem, folder: str) -> bool:
    """Whether a file lies in a folder, or is a directory around it that would go."""
    if item.kind not in ("file", "link", "directory"):
        return False
    if item.name == folder or item.name.startswith(f"{folder}/"):
        return True
    want, have = item.detail["want"], item.detail["have"]
    goes = have is not None and have[0] == "directory" and (want is None or want[0] != "directory")
    return goes and (item.name == "." or folder.startswith(f"{item.name}/"))

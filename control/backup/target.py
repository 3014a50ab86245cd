"""What a plan is about: which part of a scope shall be brought to what a snapshot holds.

>>> Target(Scope.site(), snapshot, Selection(projects=("65a1…",)), people=False).owners      # doctest: +SKIP
(Scope(project_id='65a1…'),)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..errors import Problem
from ..model import Actor, Change, PlanItem, Scope, Selection, Snapshot
from ..plan import Tally
from ..slices import Slice
from ..stores.idents import ident_of
from .inventory import Part, Shape
from .sought import Sought, is_below
from .sparing import Sparing


@dataclass(frozen=True, slots=True)
class Target:
    """What shall be brought to what: a scope (or some projects or editions of it) to what a snapshot holds.

    `only_intact`: what is damaged in the snapshot is left as it is; the two after it say what that is.
    """

    scope: Scope
    snapshot: Snapshot
    selection: Selection
    people: bool
    actor: Actor | None = None  # who will be told what its plan is; None: nobody
    only_intact: bool = False
    spoilt_paths: frozenset[str] = frozenset()
    spoilt_collections: frozenset[str] = frozenset()
    makes: frozenset[str] = frozenset()  # collections that an unfinished restore has to make

    @property
    def owners(self) -> tuple[Scope, ...]:
        """The projects whose records are meant; none: all of the site."""
        if not self.scope.is_site:
            return (self.scope,)
        return tuple(Scope.project(one) for one in self.selection.projects)

    @property
    def is_whole_site(self) -> bool:
        return self.scope.is_site and self.selection.is_empty

    @property
    def records(self) -> Part:
        """What an inventory is asked for where no files are meant."""
        return Part(self.scope, Slice(), self.owners)

    @property
    def takes_back(self) -> bool:
        """Whether the snapshot is the state before a restore of just this: then what only led to that goes again."""
        return any(mark.selection == self.selection for mark in self.snapshot.restores)

    def paths(self, edition_folder: str) -> Slice:
        """The files that are meant."""
        chosen = self.selection
        if not chosen.has_files:
            return Slice(is_nothing=True)
        parts = tuple(f"{edition_folder}/{one}" for one in chosen.editions)
        if self.scope.is_site:
            parts = tuple(f"project/{one}" for one in chosen.projects)
        prefixes = _in_both(parts, chosen.paths)
        return Slice(prefixes or (), is_nothing=prefixes is None, takes_back=self.takes_back)

    def chooses(self, collection: str, edition_collection: str) -> bool:
        """Whether any records of a collection are meant, as far as the selection says."""
        chosen = self.selection
        if not chosen.has_records or (chosen.editions and collection != edition_collection):
            return False
        return not chosen.named_collections or collection in chosen.named_collections

    def has_structure(self, collection: str) -> bool:
        """Whether the options and indexes of a collection that is meant are a matter of this restore."""
        if not self.scope.is_site or self.selection.projects:
            return False
        return not self.selection.named_collections or collection in self.selection.collections

    def ids(self) -> dict[str, frozenset[bytes]]:
        """The ids of the records that are meant, of each collection of which not all are."""
        found: dict[str, set[bytes]] = {}
        for collection, text in self.selection.records:
            if collection not in self.selection.collections:
                found.setdefault(collection, set()).add(ident_of(text))
        return {collection: frozenset(idents) for collection, idents in found.items()}


@dataclass(slots=True)
class PlanDraft:
    """A plan while it is computed, with what will be told about it."""

    part: Part
    sparing: Sparing
    sought: Sought
    tally: Tally = field(default_factory=Tally)
    needed: int = 0
    conflicts: list[Problem] = field(default_factory=list)
    torn: list[Problem] = field(default_factory=list)
    moved: set[str] = field(default_factory=set)  # folders of editions that now belong elsewhere
    people: Counter[Change] = field(default_factory=Counter)
    new_projects: dict[str, str] = field(default_factory=dict)  # id -> title, of those that come back
    new_editions: dict[str, str] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)  # collections that are dropped and made again
    whole: set[str] = field(default_factory=set)  # collections without records of their own in the plan
    wanted: dict[str, Shape] = field(default_factory=dict)  # the collections of the snapshot
    there: dict[str, Shape] = field(default_factory=dict)  # those that are there now

    def add(self, item: PlanItem) -> None:
        self.tally.add(item)
        if item.change is not Change.DELETE:
            self.needed += item.bytes

    def count_anew(self) -> None:
        """Forget what was counted of the items: they will be added again, those that remain."""
        self.tally = Tally(unchanged=self.tally.unchanged)
        self.needed = 0


def _in_both(parts: tuple[str, ...], paths: tuple[str, ...]) -> tuple[str, ...] | None:
    """What lies below one of `parts` and one of `paths`, where no parts, no paths or `.` are all; None: nothing."""
    if not paths or "." in paths:
        return parts
    if not parts:
        return paths
    found = {path for path in paths for part in parts if is_below(path, part)}
    found |= {part for path in paths for part in parts if is_below(part, path)}
    return tuple(sorted(found)) or None

"""What a plan is about: which part of a scope shall be brought to what a snapshot holds.

>>> Target(Scope.site(), snapshot, Selection(projects=("65a1…",)), people=False).owners      # doctest: +SKIP
(Scope(project_id='65a1…'),)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..errors import Problem
from ..model import Actor, Change, PlanItem, Scope, Selection, Snapshot
from ..plan import Slice, Tally
from .inventory import Part, Shape
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

    def paths(self, edition_folder: str) -> Slice:
        if self.scope.is_site:
            return Slice(tuple(f"project/{one}" for one in self.selection.projects))
        return Slice(tuple(f"{edition_folder}/{one}" for one in self.selection.editions))


@dataclass(slots=True)
class PlanDraft:
    """A plan while it is computed, with what will be told about it."""

    part: Part
    sparing: Sparing
    tally: Tally = field(default_factory=Tally)
    needed: int = 0
    conflicts: list[Problem] = field(default_factory=list)
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

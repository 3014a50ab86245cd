"""Plans: the difference of two inventories, written to disk under its digest.

Rules:

- The same function computes the preview (snapshot against live), the plan of a restore (snapshot against its safety
  snapshot), the recheck (safety snapshot against live) and the verification (snapshot against live, again).
- A collection that turns out not to be in the order of `_id` is matched without one: all is compared anew.
- People stay as they are unless the target says otherwise; what the settings leave alone is never compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import structlog

from ..errors import Problem
from ..model import Change, Plan, PlanItem
from ..plan import file_items
from ..stores.disk import translate
from ..stores.files import path_key
from ..stores.plans import PlanWriter
from .cautions import Cautions
from .conflicts import Conflicts, without
from .dumped import name_of
from .helpers import Helpers
from .inventory import Inventory, Part, StoredInventory
from .matching import OutOfOrderError
from .pairing import Pairing
from .second_look import CODES, SecondLook
from .sifting import Sifting
from .sought import Sought
from .sparing import Sparing
from .stores import Stores
from .target import PlanDraft, Target
from .tearing import Tearing
from .watches import Comparing, Watch

log = structlog.get_logger(__name__)


class Compare:
    """Computes the plan that brings one inventory (`have`) to another (`want`), within a target."""

    def __init__(self, stores: Stores, target: Target, watch: Watch) -> None:
        self._stores = stores
        self._target = target
        self._watch = watch
        self._project = stores.settings.scopes.project
        self._site = stores.settings.scopes.site

    def run(
        self,
        want: StoredInventory,
        have: Inventory,
        leave_paths: tuple[str, ...] = (),
        leave_collections: tuple[str, ...] = (),
        *,
        step: tuple[int, int] = (1, 1),
    ) -> Plan:
        """Compute and keep the plan.

        Parameters
        ----------
        leave_paths, leave_collections: unknown besides what the inventories themselves do not know.

        Raises
        ------
        DamagedError: the snapshot is not as its manifest says; the part that was read is named. UnavailableError,
        NoRoomError: disk or server. NotFoundError: something that is named is on neither side.
        """
        unordered: set[str] = set()
        try:
            while True:
                try:
                    return self._run(want, have, (leave_paths, leave_collections), step, frozenset(unordered))
                except OutOfOrderError as error:
                    log.warning("compare.out-of-order", collection=error.collection)
                    unordered.add(error.collection)
        except OSError as error:
            raise translate(error, "the comparison", "looking changed nothing") from error

    def _run(
        self,
        want: StoredInventory,
        have: Inventory,
        leave: tuple[tuple[str, ...], tuple[str, ...]],
        step: tuple[int, int],
        unordered: frozenset[str],
    ) -> Plan:
        draft, is_told = self._draft(want, have, leave[0]), self._target.actor is not None
        comparing = Comparing(self._watch, step, want.snapshot.files if self._target.selection.has_files else 0)
        tearing = Tearing(self._stores, self._target, draft) if is_told and self._target.selection.is_divided else None
        writer = self._stores.plans.writer()
        try:
            for item in self._items(want, have, set(leave[1]), draft, comparing, unordered):
                draft.add(item)
                self._note_return(item, draft)
                if tearing is not None:
                    tearing.note(item)
                writer.add(item)
                self._watch.check()
                comparing.tell(item.name)
            if is_told and not self._target.takes_back:  # what a restore was about may be gone when it is taken back
                draft.sought.require(draft.part.paths)
            if tearing is not None:
                draft.torn += tearing.problems(want, have)
            writer = self._without_conflicts(writer, draft, want)
            plan = self._warned(self._plan(draft), writer, draft, want, have)
            return writer.save(plan, self._target.actor.user if self._target.actor else "")
        except BaseException:
            writer.drop()
            raise

    def _draft(self, want: Inventory, have: Inventory, leave_paths: tuple[str, ...]) -> PlanDraft:
        target = self._target
        paths = target.paths(self._project.editions.folder)
        paths.leave |= want.unknown_paths | have.unknown_paths | set(leave_paths) | target.spoilt_paths
        sparing = Sparing(want.excluded | have.excluded, self._stores.live_tree(target.scope))
        paths.stays, paths.blocks = sparing.stays, sparing.blocks
        ids = target.ids()
        return PlanDraft(
            Part(target.scope, paths, target.owners, ids), sparing, Sought(target.selection, ids, self._project)
        )

    def _without_conflicts(self, writer: PlanWriter, draft: PlanDraft, want: StoredInventory) -> PlanWriter:
        """The same plan without the records whose unique values others have, and without the files of such editions."""
        conflicts = Conflicts(self._stores, self._target, draft, want, self._watch)
        left = conflicts.among(writer.items)
        if not left:
            return writer
        draft.conflicts += conflicts.problems()
        draft.count_anew()
        kept = self._stores.plans.writer()
        try:
            for item in without(writer.items(), left, conflicts.folders):
                draft.add(item)
                kept.add(item)
        except BaseException:
            kept.drop()
            raise
        writer.drop()
        return kept

    def _items(
        self,
        want: StoredInventory,
        have: Inventory,
        leave_collections: set[str],
        draft: PlanDraft,
        comparing: Comparing,
        unordered: frozenset[str],
    ) -> Iterator[PlanItem]:
        with Helpers() as helpers:
            if self._target.selection.has_files:
                helpers.begin(want.snapshot.files)
            if self._target.selection.has_records:
                yield from self._record_items(want, have, leave_collections, draft, comparing, unordered)
            if self._target.selection.has_files:
                yield from self._file_items(want, have, draft, Sifting(self._stores, helpers, self._watch))

    def _file_items(
        self, want: StoredInventory, have: Inventory, draft: PlanDraft, sifting: Sifting
    ) -> Iterator[PlanItem]:
        paths = draft.part.paths
        sifted = sifting.streams(want, have, draft.part)
        if sifted is not None:
            yield from file_items(*sifted[:2], paths, path_key, draft.tally.same)
            draft.tally.unchanged = sifted[2].added_to(draft.tally.unchanged)
            return
        files, there_files = (draft.sought.files(one.files(draft.part), paths) for one in (want, have))
        if want.excluded.patterns != have.excluded.patterns:
            files, there_files = draft.sparing.wanted(files, paths), draft.sparing.there(there_files)
        yield from file_items(files, there_files, paths, path_key, draft.tally.same)

    def _record_items(
        self,
        want: StoredInventory,
        have: Inventory,
        leave_collections: set[str],
        draft: PlanDraft,
        comparing: Comparing,
        unordered: frozenset[str],
    ) -> Iterator[PlanItem]:
        target = self._target
        pairing = Pairing(self._stores, target, self._watch, draft, comparing, unordered)
        wanted, there = draft.wanted, draft.there = want.collections(draft.part), have.collections(draft.part)
        unknown = want.unknown_collections | have.unknown_collections | leave_collections | target.spoilt_collections
        if target.owners:
            shapes = [*wanted.items(), *there.items()]
            have.unknown_collections |= {name for name, one in shapes if one.kind == "timeseries" or one.is_capped}
            have.unknown_collections |= {name for name, one in there.items() if one.kind == "view"}
            unknown |= have.unknown_collections
        names = [name for name in sorted(set(wanted) | set(there)) if name not in unknown and self._is_meant(name)]
        draft.sought.collections(set(names), {name for name in unknown if self._is_meant(name)})
        for name in names:
            if target.has_structure(name):
                yield from pairing.structure(name, want, have, wanted.get(name), there.get(name))
        entries = want.entries()
        comparing.expect({name: entries[name].bytes for name in names if name in entries and name not in draft.whole})
        for name in names:
            if name in draft.whole:
                continue
            comparing.begin(name)
            items = pairing.single if target.scope.is_site and name in draft.part.ids else pairing.records
            items = pairing.shared if target.owners else items
            yield from items(name, want, have, wanted.get(name), there.get(name))
        comparing.end()

    def _note_return(self, item: PlanItem, draft: PlanDraft) -> None:
        """Remember projects and editions that come back: somebody may have to be coupled to them."""
        if item.kind != "record" or item.change is not Change.CREATE:
            return
        collection, ident = item.detail["collection"], name_of(item)
        if collection == self._project.own_collection:
            draft.new_projects[ident] = item.title or ident
        elif collection == self._project.editions.collection:
            draft.new_editions[ident] = item.title or ident

    def _is_meant(self, name: str) -> bool:
        if name in self._site.leave or not self._target.chooses(name, self._project.editions.collection):
            return False
        if name in self._site.people:
            return self._target.people and self._target.is_whole_site
        return not self._target.owners or name in self._project.collections

    # --- the header

    def _warned(self, plan: Plan, writer: PlanWriter, draft: PlanDraft, want: StoredInventory, have: Inventory) -> Plan:
        """The plan with all that it warns of; the records are looked at again only where somebody is told of it."""
        actor, seen = self._target.actor, tuple[Problem, ...]()
        if actor is not None:
            earlier = self._stores.plans.earlier(writer.digest_of(plan), actor.user)
            if earlier is not None:
                seen = tuple(one for one in earlier.warnings if one.code in CODES)
            else:
                seen = SecondLook(self._stores, self._target, draft, want.folder, self._watch).over(writer)
        cautions = Cautions(self._stores, self._target, draft, want, want.unkept | have.unkept)
        unknown = {name for name in want.unknown_collections | have.unknown_collections if self._is_meant(name)}
        return replace(plan, warnings=cautions.all(unknown, seen))

    def _plan(self, draft: PlanDraft) -> Plan:
        target, snapshot = self._target, self._target.snapshot
        return Plan(
            target=target.scope,
            source=snapshot.scope,
            snapshot=snapshot.name,
            selection=target.selection,
            people=target.people,
            only_intact=target.only_intact,
            creates=draft.tally.creates,
            replaces=draft.tally.replaces,
            deletes=draft.tally.deletes,
            unchanged=draft.tally.unchanged,
            bytes_needed=draft.needed,
            warnings=(),
            digest="",
        )

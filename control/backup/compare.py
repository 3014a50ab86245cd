"""Plans: the difference of two inventories, written to disk under its digest.

Rules:

- The same function computes the preview (snapshot against live), the plan of a restore (snapshot against its safety
  snapshot), the recheck (safety snapshot against live) and the verification (snapshot against live, again).
- A record that now belongs to a project outside the restore is a conflict: named, never overwritten; the files of an
  edition that moved away stay with it.
- People stay as they are unless the target says otherwise; what the settings leave alone is never compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import NotFoundError, Problem
from ..model import BUCKETS, Change, Plan, PlanItem, Progress, Scope, Selection, Snapshot
from ..plan import Record, Slice, Tally, file_items, record_item, record_pairs
from ..stores.disk import translate
from ..stores.files import path_key
from .inventory import Inventory, Part, Shape, is_unspeakable
from .sparing import Sparing
from .stores import Stores
from .structure import Content, is_whole, structure_items, whole_items
from .watches import Watch

_LOOKUP, _LOOKUP_BYTES = 500, 4_000_000  # ids looked up at once


@dataclass(frozen=True, slots=True)
class Target:
    """What shall be brought to what: a scope (or some projects or editions of it) to what a snapshot holds."""

    scope: Scope
    snapshot: Snapshot
    selection: Selection
    people: bool

    @property
    def owners(self) -> tuple[Scope, ...]:
        """The projects whose records are meant; none: all of the site."""
        if not self.scope.is_site:
            return (self.scope,)
        return tuple(Scope.project(one) for one in self.selection.projects)

    @property
    def is_whole_site(self) -> bool:
        return self.scope.is_site and self.selection.is_empty

    def paths(self, edition_folder: str) -> Slice:
        if self.scope.is_site:
            return Slice(tuple(f"project/{one}" for one in self.selection.projects))
        return Slice(tuple(f"{edition_folder}/{one}" for one in self.selection.editions))


@dataclass(slots=True)
class _Draft:
    """A plan while it is computed."""

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

    def add(self, item: PlanItem) -> None:
        self.tally.add(item)
        if item.change is not Change.DELETE:
            self.needed += item.bytes


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
        want: Inventory,
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
        NoRoomError: disk or server.
        """
        try:
            return self._run(want, have, leave_paths, leave_collections, step)
        except OSError as error:
            raise translate(error, "the comparison", "looking changed nothing") from error

    def _run(
        self,
        want: Inventory,
        have: Inventory,
        leave_paths: tuple[str, ...],
        leave_collections: tuple[str, ...],
        step: tuple[int, int],
    ) -> Plan:
        paths = self._target.paths(self._project.editions.folder)
        paths.leave |= want.unknown_paths | have.unknown_paths | set(leave_paths)
        scope = self._target.scope
        sparing = Sparing(want.excluded | have.excluded, self._stores.live_tree(scope))
        paths.stays, paths.blocks = sparing.stays, sparing.blocks
        draft = _Draft(Part(scope, paths, self._target.owners), sparing)
        writer = self._stores.plans.writer()
        try:
            for number, item in enumerate(self._items(want, have, set(leave_collections), draft), 1):
                draft.add(item)
                self._note_return(item, draft)
                writer.add(item)
                self._watch.check()
                self._watch.progress(Progress("comparing", *step, number, 0, "differences", item.name))
            plan = self._plan(draft, want, have)
            if self._target.selection.editions and plan.is_empty and not plan.unchanged.items:
                raise NotFoundError(
                    "There is no such edition, in the snapshot or now.",
                    subject=", ".join(self._target.selection.editions),
                    hint="Look at the editions of the project; nothing was changed.",
                )
            return writer.save(plan)
        except BaseException:
            writer.drop()
            raise

    def _items(
        self, want: Inventory, have: Inventory, leave_collections: set[str], draft: _Draft
    ) -> Iterator[PlanItem]:
        wanted, there = want.collections(draft.part), have.collections(draft.part)
        unknown = want.unknown_collections | have.unknown_collections | leave_collections
        if not self._target.is_whole_site:
            shapes = [*wanted.items(), *there.items()]
            have.unknown_collections |= {name for name, one in shapes if one.kind == "timeseries" or one.is_capped}
            unknown |= have.unknown_collections
        names = [name for name in sorted(set(wanted) | set(there)) if name not in unknown and self._is_meant(name)]
        if self._target.is_whole_site:
            for name in names:
                yield from self._structure(name, want, have, wanted.get(name), there.get(name), draft)
        for name in names:
            if name in draft.whole:
                continue
            if not self._target.selection.editions or name == self._project.editions.collection:
                yield from self._records(name, want, have, wanted.get(name), there.get(name), draft)
        files, there_files, paths = want.files(draft.part), have.files(draft.part), draft.part.paths
        if want.excluded.patterns != have.excluded.patterns:
            files, there_files = draft.sparing.wanted(files, paths), draft.sparing.there(there_files)
        yield from file_items(files, there_files, paths, path_key, draft.tally.same)

    def _note_return(self, item: PlanItem, draft: _Draft) -> None:
        """Remember projects and editions that come back: somebody may have to be coupled to them."""
        if item.kind != "record" or item.change is not Change.CREATE:
            return
        collection, _, ident = item.name.partition("/")
        if collection == self._project.own_collection:
            draft.new_projects[ident] = item.title or ident
        elif collection == self._project.editions.collection:
            draft.new_editions[ident] = item.title or ident

    def _is_meant(self, name: str) -> bool:
        if name in self._site.leave:
            return False
        if name in self._site.people:
            return self._target.people and self._target.is_whole_site
        return self._target.is_whole_site or name in self._project.collections

    # --- collections and records

    def _structure(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None, draft: _Draft
    ) -> Iterator[PlanItem]:
        if not is_whole(name, wanted, there):
            items = list(structure_items(name, wanted, there))
        else:
            draft.whole.add(name)
            contents = [
                Content.of(self._chosen(name, one, draft) if shape is not None and shape.kind != "view" else iter(()))
                for one, shape in ((want, wanted), (have, there))
            ]
            items = list(whole_items(name, wanted, there, *contents))
            if contents[0] == contents[1]:
                draft.tally.unchanged = contents[0].added_to(draft.tally.unchanged)
        if any(item.kind == "collection" for item in items):
            draft.rewritten.add(name)
        yield from items

    def _records(
        self, name: str, want: Inventory, have: Inventory, wanted: Shape | None, there: Shape | None, draft: _Draft
    ) -> Iterator[PlanItem]:
        left = self._chosen(name, want, draft) if wanted is not None and wanted.kind != "view" else iter(())
        right = self._chosen(name, have, draft) if there is not None and there.kind != "view" else iter(())
        waiting: list[Record] = []
        size = 0
        for want_record, have_record in record_pairs(left, right):
            if want_record is not None and have_record is not None:
                if want_record.digest == have_record.digest and name not in draft.rewritten:
                    draft.tally.same("record", want_record.size)
                    continue
            elif want_record is not None and self._target.owners:
                waiting.append(want_record)
                size += len(want_record.id)
                if len(waiting) >= _LOOKUP or size >= _LOOKUP_BYTES:
                    yield from self._without_conflicts(name, waiting, draft)
                    waiting, size = [], 0
                continue
            shape = wanted if want_record is not None else there
            source = f"{BUCKETS}{name}" if shape is not None and shape.kind == "timeseries" else name
            item = record_item(source, want_record, have_record)
            if name in self._site.people:
                draft.people[item.change] += 1
            yield item
        yield from self._without_conflicts(name, waiting, draft)

    def _chosen(self, name: str, inventory: Inventory, draft: _Draft) -> Iterator[Record]:
        editions = set(self._target.selection.editions)
        for record in inventory.records(name, draft.part):
            self._watch.check()
            if not editions or record.name in editions:
                yield record

    def _without_conflicts(self, name: str, records: list[Record], draft: _Draft) -> Iterator[PlanItem]:
        """The creation of these records, but of those that another project has now."""
        if not records:
            return
        taken = self._stores.mongo.outside(self._target.owners, name, [record.id for record in records])
        for record in records:
            if record.id not in taken:
                yield record_item(name, record, None)
                continue
            draft.conflicts.append(
                Problem(
                    "conflict",
                    "now belongs to another project; it is left there, and its files as they are.",
                    f"{name} {record.title or record.name}",
                    "Move it back by hand first if it is wanted here.",
                )
            )
            if name == self._project.editions.collection:
                top = f"project/{record.owner}/" if self._target.scope.is_site else ""
                draft.moved.add(f"{top}{self._project.editions.folder}/{record.name}")
        draft.part.paths.leave |= draft.moved

    # --- the header

    def _plan(self, draft: _Draft, want: Inventory, have: Inventory) -> Plan:
        target, snapshot = self._target, self._target.snapshot
        warnings = self._warnings(draft, want.unknown_collections | have.unknown_collections)
        return Plan(
            target=target.scope,
            source=snapshot.scope,
            snapshot=snapshot.name,
            selection=target.selection,
            people=target.people,
            creates=draft.tally.creates,
            replaces=draft.tally.replaces,
            deletes=draft.tally.deletes,
            unchanged=draft.tally.unchanged,
            bytes_needed=draft.needed,
            warnings=tuple(warnings),
            digest="",
        )

    def _warnings(self, draft: _Draft, unknown_collections: set[str]) -> list[Problem]:
        warnings = []
        snapshot, paths = self._target.snapshot, draft.part.paths
        if snapshot.scope != self._target.scope and self._target.scope.project_id is not None:
            snapshot = snapshot.part_of(
                self._target.scope.project_id
            )  # what is wrong elsewhere is nobody's business here
        lost = snapshot.shrunk
        if len(snapshot.problems) > len(lost):
            what = f"is partial: {len(snapshot.problems)} problems are named in it."
            warnings.append(Problem("partial", what, snapshot.name, "What it does not know stays as it is."))
        for one in lost:  # what was looked for and was not there is absent; but who brings that back has to know
            what, hint = f"was made when much was missing. {one.what}", "What has come back since would be removed."
            warnings.append(Problem("shrunk", what, snapshot.name, hint))
        warnings += draft.conflicts
        warnings += draft.sparing.warnings(paths)
        for path in sorted(draft.sparing.unknown(paths.leave - draft.moved)):
            if paths.holds(path) or path == ".":
                warnings.append(Problem("left", "is left as it is: it could not be read.", path, "Look at it by hand."))
        for name in sorted(unknown_collections):
            if self._is_meant(name):
                why = "capped collections and time series come back with the whole site only."
                if is_unspeakable(name):
                    why = "no driver of MongoDB takes its name."
                warnings.append(Problem("left", f"is left as it is: {why}", f"collection {name}"))
        if draft.people:
            come, go, change = (draft.people[one] for one in (Change.CREATE, Change.DELETE, Change.REPLACE))
            what = f"People and roles change: {come} come back, {go} are removed, {change} become as they were."
            warnings.append(Problem("people", what, "people", "The list names each of them."))
        else:
            warnings += self._uncoupled(draft)
        return warnings

    def _uncoupled(self, draft: _Draft) -> Iterator[Problem]:
        """What comes back and has nobody: roles are people's matter, and stay as they are now."""
        if not (draft.new_projects or draft.new_editions):
            return
        projects, editions = self._stores.people.uncoupled(frozenset(draft.new_projects), frozenset(draft.new_editions))
        hint = "Couple somebody afterwards; roles come back only when root restores them with the whole site."
        if projects:
            yield Problem(
                "uncoupled", "comes back, and nobody organises it.", _names(draft.new_projects, projects), hint
            )
        if editions:
            what = "comes back, and nobody is its editor or reader."
            yield Problem("uncoupled", what, _names(draft.new_editions, editions), hint)


def _names(titles: dict[str, str], chosen: frozenset[str]) -> str:
    """Up to five titles, and how many more there are."""
    names = [title for ident, title in titles.items() if ident in chosen]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more

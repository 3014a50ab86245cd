"""The last look before a restore begins to change things: is the live state still that of the safety snapshot?

Rules:

- Asked with the gate closed, so it must not cost what a comparison costs: one look at the stats of all paths, and the
  change stream from the safety snapshot's instant up to now. Files are read only where their stamp was too young to be
  trusted.
- Yes is said only for certain. Where it cannot be told (what was seen is lost, the server no longer knows), all is
  compared again, byte for byte.
- More may count as a change than the restore is about; less never does.

>>> Recheck(stores, order, safety, helpers, watch).is_still()       # doctest: +SKIP
Instant(seconds=1795258395, counter=2, utc=…)
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

import structlog

from ..errors import ChangedError, UnavailableError
from ..model import SYSTEM_JS, Instant, Order, Snapshot
from ..patterns import Exclusion
from ..slices import Slice
from ..stores.beside import Beside
from ..stores.changes import Changes
from ..stores.files import Descent
from ..stores.lookups import batches
from ..stores.rows import Noted, Row, look_of
from ..stores.sheets import Sheet
from .compare import Compare
from .helpers import Helpers
from .inventory import Inventory, LiveInventory, Part, StoredInventory, is_left, records_of
from .known import Known
from .looking import known_path
from .stores import Stores
from .structure import Content, structure_items
from .target import Target
from .watches import Quiet, Watch

log = structlog.get_logger(__name__)

_MOST_IDS = 20_000  # records of one collection that are looked up one by one


class Recheck:
    """Compares the live state with one safety snapshot of its scope."""

    def __init__(self, stores: Stores, order: Order, safety: Snapshot, helpers: Helpers, watch: Watch) -> None:
        self._stores = stores
        self._order = order
        self._safety = safety
        self._helpers = helpers
        self._watch = watch
        self._target = Target(order.scope, safety, order.selection, order.people)
        self._stored = StoredInventory(stores, safety, order.scope, watch)

    def is_still(self) -> Instant | None:
        """The instant up to which nothing has changed; None: something has."""
        until = self._stores.mongo.mark()
        try:
            quick = self._has_same_files(self._stored.excluded) and self._has_same_records(until)
        except _UnknownError as error:
            log.info("restore.compares-all", snapshot=self._safety.name, why=str(error))
            return until if self._is_same_byte_for_byte() else None
        return until if quick else None

    def _is_same_byte_for_byte(self) -> bool:
        stores, quiet = self._stores, Quiet(self._watch)
        with stores.mongo.pinned() as reader:
            live = LiveInventory(stores, reader, quiet, self._stored.excluded)
            plan = Compare(stores, self._target, quiet).run(self._stored, live)
            # What would be in conflict now was not when the safety snapshot was made.
            return plan.is_empty and not plan.conflicts and live.unknown_paths <= self._stored.unknown_paths

    # --- files

    def _has_same_files(self, excluded: Exclusion) -> bool:
        """Whether all that is there was seen, the same, and as much is there as was seen."""
        stores, scope, safety = self._stores, self._order.scope, self._safety
        known = Known(known_path(stores, scope), stores.seen.token()).load(
            stores.repository.place_of(scope, safety.name), safety.manifest_sha256
        )
        if known is None:
            raise _UnknownError("what the last make saw is not kept")
        left, faults = Slice(leave=set(self._stored.unknown_paths)), list[str]()
        tree, seen = stores.live_tree(scope, excluded), _Seen(known)
        with tree.descent() as live:
            for sheet in self._helpers.sheets(tree, safety.files, lambda path, _: faults.append(path), self._watch):
                self._watch.check()
                if not (seen.has(sheet) or self._has_same_rows(seen, sheet, live, left)):
                    return False
        return seen.is_all() and all(left.leaves(path) for path in faults)

    def _has_same_rows(self, seen: _Seen, sheet: Sheet, live: Descent, left: Slice) -> bool:
        """Whether the paths of a sheet are as they were, name by name; what is unknown counts for nothing."""
        for number, name in enumerate(sheet.names_list()):
            self._watch.check()
            row = look_of(sheet, number, name)
            was = seen.row(row.path)
            if was is None or not was.is_same(row):
                if not left.leaves(os.fsdecode(row.path)):
                    return False
            elif not was.is_settled() and not _has_same_bytes(was, live):
                return False
        return True

    # --- records

    def _has_same_records(self, until: Instant) -> bool:
        scope, instant = self._order.scope, self._safety.instant
        if scope.is_site and not self._has_same_structure():
            return False
        found: dict[str, set[bytes]] = defaultdict(set)
        try:
            if instant is None:
                raise _UnknownError("the safety snapshot has no instant")
            for change in Changes(self._stores.mongo).since(instant, until):
                self._watch.check()
                if not change.collection:
                    return False
                if self._is_meant(change.collection) and not change.is_structure:  # which is compared
                    found[change.collection].add(change.id)
                if len(found[change.collection]) > _MOST_IDS:
                    return False
        except UnavailableError as error:
            raise _UnknownError(str(error)) from error
        return not any(self._touches(name, ids) for name, ids in found.items() if ids)

    def _is_meant(self, name: str) -> bool:
        """Whether a restore of the scope may have to do with a collection."""
        site, order = self._stores.settings.scopes.site, self._order
        if name in site.leave or name in self._safety.unknown_collections:
            return False
        if not order.scope.is_site:
            return name in self._stores.settings.scopes.project.collections
        return order.people or name not in site.people

    def _touches(self, name: str, ids: set[bytes]) -> bool:
        """Whether records of these ids are, or were, of the scope; the whole site is touched by any of them."""
        owners, part = self._target.owners, self._target.records
        if not owners or name not in self._stores.settings.scopes.project.collections or b"" in ids:
            return True
        if any(self._stores.mongo.owned(owners, name, some) for some in batches(ids)):
            return True
        if name not in self._stored.collections(part):
            return False
        return any(record.id in ids for record in records_of(self._stored, name, part))

    def _has_same_structure(self) -> bool:
        """Whether the collections, their options and indexes are as they were; and what no change stream tells of."""
        mongo, part = self._stores.mongo, self._target.records
        stored = self._stored.collections(part)
        there = {name: one for name, one in mongo.collections(part.scope).items() if not is_left(one, part.scope)}
        for name in sorted(stored.keys() | there.keys()):
            if not self._is_meant(name):
                continue
            if any(structure_items(name, stored.get(name), there.get(name))):
                return False
        blind = [name for name, one in stored.items() if name == SYSTEM_JS or one.kind == "timeseries"]
        blind = [name for name in blind if self._is_meant(name)]
        if not blind:
            return True
        with mongo.pinned() as reader:
            live = LiveInventory(self._stores, reader, Quiet(self._watch), self._stored.excluded)
            live.collections(part)
            return all(_content(live, name, part) == _content(self._stored, name, part) for name in blind)


class _UnknownError(Exception):
    """It cannot be told in the quick way."""


class _Seen:
    """What the make of the safety snapshot saw, side by side with a walk; counts what was met again."""

    def __init__(self, known: Iterator[Noted]) -> None:
        self._paths = self._met = 0
        self._known = self._counted(known)
        self._beside = Beside(self._known)
        self._over: list[Noted] = []
        self._at: dict[bytes, tuple[Noted, int]] | None = None

    def _counted(self, known: Iterator[Noted]) -> Iterator[Noted]:
        for one in known:
            self._paths += len(one.sheet)
            yield one

    def has(self, sheet: Sheet) -> bool:
        """Whether one sheet tells the same of exactly these paths, and can be trusted."""
        self._over, self._at = self._beside.over(sheet), None
        one = self._over[0] if len(self._over) == 1 else None
        if one is None or one.odd or not one.is_settled() or not one.sheet.same_as(sheet):
            return False
        self._met += len(sheet)
        return True

    def row(self, path: bytes) -> Row | None:
        """What was seen of a path of the sheet that was asked about last."""
        if self._at is None:
            self._at = {
                one.sheet.prefix + name: (one, number)
                for one in self._over
                for number, name in enumerate(one.sheet.names_list())
            }
        found = self._at.get(path)
        if found is None:
            return None
        self._met += 1
        return found[0].row(found[1])

    def is_all(self) -> bool:
        """Whether all that was seen was met; ask in the end."""
        for _ in self._known:
            pass
        return self._met == self._paths


def _has_same_bytes(was: Row, live: Descent) -> bool:
    try:
        _, sha256, attributes = live.digest(os.fsdecode(was.path))
    except (ChangedError, OSError):
        return False
    return (sha256, attributes) == (was.sha256, was.attributes)


def _content(inventory: Inventory, name: str, part: Part) -> Content:
    return Content.of(inventory.documents(name, part))

"""What a hook of the host is told of a plan that was carried out: how much it changed, and which paths and records.

Rules:

- Small whatever the plan: paths and records are streams, read from the plan's items on disk.
- Where these are not known one by one, it says so (`is_itemised`): then everything in the scope counts as changed.

>>> sorted({path.split("/")[1] for path in plan.paths() if path.startswith("project/")})    # doctest: +SKIP
['65a1b2c3d4e5f60718293a4b']
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import bson
from pymongo.database import Database

from ..errors import NotFoundError
from ..model import BUCKETS, Action, Counts, Order, Outcome, OutcomeStatus, Plan, PlanItem, Scope
from .plans import Plans, item_of

_FILES = ("file", "link", "directory")
_NONE = Counts()


@dataclass(frozen=True)
class DonePlan:
    """A plan that was carried out.

    `digest` is the one that people agreed to (empty: there was no plan, as for a new project); `creates`, `replaces`
    and `deletes` count what was done. `is_back`: it could not be finished, and the state before is live again; the same
    paths and records were touched. `is_itemised` False: `paths`, `records` and `collections` tell nothing, and
    everything in the scope may be another. `database` is the application's, as Keyframe is connected to it.
    """

    digest: str
    snapshot: str
    creates: Counts
    replaces: Counts
    deletes: Counts
    is_back: bool
    is_itemised: bool
    database: Database[Any]
    _scope: Scope
    _plans: Plans = field(repr=False)

    def paths(self) -> Iterator[str]:
        """Every file, link and directory that came, was changed or went, relative to the working directory."""
        top = "" if self._scope.is_site else f"project/{self._scope.project_id}"
        for item in self._items():
            if item.kind in _FILES:
                yield "/".join(part for part in (top, item.name) if part not in ("", ".")) or "."

    def records(self) -> Iterator[tuple[str, Any]]:
        """Collection and `_id` of every record that came, was changed or went; see `collections` for the others."""
        options = self.database.codec_options
        for item in self._items():
            if item.kind == "record" and not item.detail["collection"].startswith(BUCKETS):
                yield item.detail["collection"], bson.decode(bytes.fromhex(item.detail["id"]), options)["_id"]

    def collections(self) -> Iterator[str]:
        """Collections that came, went, or changed as a whole, as time series do, or in their options or indexes; their
        records are perhaps not told one by one."""
        told = set[str]()
        for item in self._items():
            name = item.name if item.kind in ("collection", "options") else str(item.detail.get("collection", ""))
            is_whole = item.kind in ("collection", "options", "index") or name.startswith(BUCKETS)
            name = name.removeprefix(BUCKETS)
            if is_whole and name not in told:
                told.add(name)
                yield name

    def _items(self) -> Iterator[PlanItem]:
        if not self.is_itemised:
            return
        try:
            yield from map(item_of, self._plans.lines(self.digest))
        except FileNotFoundError as error:
            raise NotFoundError("The items of the plan are gone.", subject=f"plan {self.digest[:12]}") from error


class DonePlans:
    """Tells what was done, by the outcomes of jobs."""

    def __init__(self, plans: Plans, database: Database[Any]) -> None:
        self._plans = plans
        self._database = database

    def of(self, order: Order, outcome: Outcome) -> DonePlan:
        """The plan that a job has carried out; of one that nobody knows any more only that there was one."""
        is_back = outcome.status in (OutcomeStatus.FAILED, OutcomeStatus.CANCELLED)
        report = outcome.report
        digest, counts = "", (_NONE, _NONE, _NONE)
        if report is not None and order.act is Action.DUPLICATE:
            counts = (Counts(report["files"], report["records"], report["bytes"]), _NONE, _NONE)
        elif report is not None:
            plan = Plan.from_dict(report)
            digest, counts = plan.digest, (plan.creates, plan.replaces, plan.deletes)
        is_itemised = bool(digest) and self._plans.has_items(digest)
        return DonePlan(
            digest, order.snapshot, *counts, is_back, is_itemised, self._database, order.changed, self._plans
        )

"""Collections that several projects share, where the restore of one of them has to make or to drop one.

Rules:

- Where somebody dropped such a collection, the first record that comes back would make it anew without its options and
  indexes; so it is made as the snapshot knows it. One that is there is never changed.
- It is dropped again by what takes that restore back, if nobody else has written into it since.
- Whether nobody has is asked with the gate closed, right before.

>>> is_as_planned(stores, target, plan)         # doctest: +SKIP
True
"""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Change, Plan, PlanItem
from ..stores.lookups import has_others, is_empty
from .inventory import Shape
from .stores import Stores
from .structure import structure_items
from .target import Target


def shared_items(
    stores: Stores, target: Target, name: str, wanted: Shape | None, there: Shape | None, *, comes: bool
) -> Iterator[PlanItem]:
    """What has to happen to a collection; `comes`: records come into it, or go from it."""
    if wanted is not None and wanted.kind == "collection":
        if there is None and comes:
            yield from structure_items(name, wanted, None)
        elif there is not None and name in target.makes:
            yield from rest_of(list(structure_items(name, wanted, there)))
    elif wanted is None and there is not None and there.kind == "collection" and target.takes_back:
        yield from () if has_others(stores.mongo, target.owners, name) else structure_items(name, None, there)


def rest_of(items: list[PlanItem]) -> Iterator[PlanItem]:
    """What is left to do of a collection that this restore has begun to make: its indexes. Where it is another one it
    was somebody else who made it."""
    if not any(item.kind == "collection" for item in items):
        yield from (item for item in items if item.kind == "index" and item.change is Change.CREATE)


def is_as_planned(stores: Stores, target: Target, plan: Plan) -> bool:
    """Whether what a plan makes is still missing, and what it drops has still nothing of others; ask with the gate
    closed."""
    if not target.owners:
        return True
    items = [item for item in stores.plans.items(plan.digest) if item.kind == "collection"]
    there = stores.mongo.collections(target.scope) if items else {}
    return all(
        not has_others(stores.mongo, target.owners, item.name)
        if item.change is Change.DELETE
        else item.name not in there
        for item in items
    )


def drop_if_empty(stores: Stores, name: str) -> None:
    """Drop a collection unless there is something in it."""
    with stores.gate.closed():
        if is_empty(stores.mongo, name):
            stores.writer.drop(name)

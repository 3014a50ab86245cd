"""What was changed past the gate while a restore was under way: noticed, left as it is, and named.

Nobody who works through the application can write then; a script on the host can, and somebody who repairs by hand
while the program is down. Such work is in no safety snapshot, so a restore may not touch it.

Rules:

- A live file or record was edited when its content is neither that of the snapshot nor that of the safety snapshot; so
  was a collection that comes or goes as a whole, unless it holds the beginning of what it shall be: that is ours, of a
  try that was interrupted. One that goes stays where a record of it was edited.
- What is not there, directories, and differences of mode, owner, time or attributes alone are never somebody's work.

>>> edited_in(stores, plan_to_snapshot, plan_to_safety)     # doctest: +SKIP
frozenset({'edition/1/late.txt'})
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..errors import Problem
from ..model import Change, Plan, PlanItem
from ..plan import Tally
from .stores import Stores

_FILES = ("file", "link", "directory")
_MOST_NAMED = 50


def edited_in(stores: Stores, to_snapshot: Plan, to_safety: Plan) -> frozenset[str]:
    """The keys of live items with a content that neither side knows.

    Parameters
    ----------
    to_snapshot, to_safety: the plans that would bring the live state to the one and to the other.
    """
    if to_snapshot.is_empty or to_safety.is_empty:
        return frozenset()
    return frozenset(_with_content(stores, to_snapshot)) & frozenset(_with_content(stores, to_safety))


def _with_content(stores: Stores, plan: Plan) -> Iterator[str]:
    for item in stores.plans.items(plan.digest):
        have = item.detail.get("have")
        if item.kind == "collection" and have and item.change is not Change.CREATE and not item.detail.get("begun"):
            yield _key(item)
        if (item.kind == "record" and have is not None) or (
            item.kind in _FILES and have is not None and have[0] != "directory" and not item.detail["same_bytes"]
        ):
            yield _key(item)


def _key(item: PlanItem) -> str:
    if item.kind == "record":
        return f"record {item.detail['collection']} {item.detail['id']}"
    if item.kind not in _FILES:
        return f"collection {item.detail.get('collection', item.name)}"
    return f"path {item.name}"


def _spares(item: PlanItem, edited: frozenset[str]) -> bool:
    """Whether an item has to be left out: it is edited, lies below something edited, or is a directory around it."""
    if _key(item) in edited:
        return True
    if item.kind not in _FILES:
        goes = item.kind == "collection" and item.change is not Change.CREATE
        return goes and any(key.startswith(f"record {item.name} ") for key in edited)
    parts = item.name.split("/")
    if any(f"path {'/'.join(parts[:count])}" in edited for count in range(1, len(parts))):
        return True
    have, want = item.detail["have"], item.detail["want"]
    goes = have is not None and have[0] == "directory" and (want is None or want[0] != "directory")
    return goes and any(key.startswith(f"path {item.name}/") or item.name == "." for key in edited)


def without(stores: Stores, plan: Plan, edited: frozenset[str]) -> Plan:
    """The same plan without what was edited."""
    if not edited:
        return plan
    writer, tally = stores.plans.writer(), Tally()
    try:
        for item in stores.plans.items(plan.digest):
            if not _spares(item, edited):
                writer.add(item)
                tally.add(item)
        return writer.save(
            replace(plan, creates=tally.creates, replaces=tally.replaces, deletes=tally.deletes, digest="")
        )
    except BaseException:
        writer.drop()
        raise


def problems_of(stores: Stores, plan: Plan, edited: frozenset[str]) -> tuple[Problem, ...]:
    """A problem for each edited item; of very many the first ones, and how many more there are."""
    kinds = ("record", "collection", *_FILES)
    names = [item.name for item in stores.plans.items_of(plan.digest, *kinds) if _key(item) in edited]
    found = [
        Problem(
            "changed",
            "was changed past the application while the restore was under way; it is left as it is.",
            name,
            "Look at it by hand; what it was before is in the safety snapshot.",
        )
        for name in names[:_MOST_NAMED]
    ]
    if len(names) > _MOST_NAMED:
        found.append(Problem("changed", f"{len(names) - _MOST_NAMED} more were changed past the application.", "", ""))
    return tuple(found)


def is_as_planned(item: PlanItem, now: tuple[str, int, int] | None) -> bool:
    """Whether a live path is still what the plan saw: `now` is its kind, size and mtime_ns, None: it is not there.

    A directory where it saw none is somebody's, with all that is in it; of one that it saw only the kind counts.
    """
    have = item.detail["have"]
    if now is None:
        return True
    if now[0] == "directory":
        return have is not None and have[0] == "directory"
    return have is not None and now == (have[0], have[1], have[5])

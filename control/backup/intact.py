"""What of a snapshot is not as it was written, of all that a restore would read of it.

Rules:

- A damaged snapshot is refused, and everything that is damaged in the part that is wanted is named.
- Whoever says so restores the rest: what is damaged is then left as it is, as if the snapshot did not know it. That is
  another plan, with its own preview.
- A header or manifest that is damaged is refused in any case: nothing can be told by it.

>>> without_damage(stores, target, live, watch).spoilt_paths         # doctest: +SKIP
frozenset({'edition/1/model.glb'})
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..errors import ChangedError, DamagedError, Problem
from ..model import Change, Plan, Progress
from ..plan import entry_of
from ..stores.files import Descent
from ..stores.trees import Tree
from .compare import Compare
from .inventory import Inventory, StoredInventory, records_of
from .pairing import comes_as_a_whole, require_sound
from .stores import Stores
from .target import Target
from .watches import Quiet, Watch

_MOST_NAMED = 100


def without_damage(stores: Stores, target: Target, have: Inventory, watch: Watch) -> Target:
    """The same target without what is damaged of all that the plan from `have` to it would read.

    Raises
    ------
    DamagedError: header or manifest are damaged.
    """
    stored = StoredInventory(stores, target.snapshot, target.scope, watch)
    spoilt = frozenset(_spoilt_collections(stores, stored, have, target, watch))
    target = replace(target, spoilt_collections=spoilt)
    plan = Compare(stores, target, Quiet(watch)).run(stored, have)
    return replace(target, spoilt_paths=frozenset(_spoilt_paths(stores, stored, target, plan, watch)))


def damage_of(target: Target) -> tuple[Problem, ...]:
    """What is damaged, by name."""
    hint = "Restore another snapshot, or only what is intact."
    collections = [
        Problem("damaged.collection-bytes", "is not as it was written.", f"collection {name}", hint)
        for name in sorted(target.spoilt_collections)
    ]
    files = [
        Problem("damaged.file-bytes", "is missing, or not as it was written.", path, hint)
        for path in sorted(target.spoilt_paths)
    ]
    found = (*collections, *files)
    if len(found) > _MOST_NAMED:
        more = Problem("damaged.file-bytes", f"{len(found) - _MOST_NAMED} more are damaged.", "", hint)
        return (*found[:_MOST_NAMED], more)
    return found


def _spoilt_collections(
    stores: Stores, stored: StoredInventory, have: Inventory, target: Target, watch: Watch
) -> Iterator[str]:
    """Those whose dumps are not what was written, or cannot be put back; all that is read of a collection is its
    dump."""
    part = target.records
    there = have.collections(part)
    for name, shape in stored.collections(part).items():
        if shape.kind == "view":
            continue
        watch.progress(Progress("looking for damage", 1, 1, item=name))
        is_one = target.has_structure(name) and comes_as_a_whole(stores, name, stored, shape, there.get(name))
        try:
            if is_one:
                require_sound(stores, stored, name, shape, part, watch)
            for _ in () if is_one else records_of(stored, name, part, are_sound=True):
                watch.check()
        except DamagedError:
            yield name


def _spoilt_paths(stores: Stores, stored: StoredInventory, target: Target, plan: Plan, watch: Watch) -> Iterator[str]:
    """Those whose stored copies are not what was written."""
    prefix = stored.prefix(target.scope)
    with Tree(stored.folder / "files").descent() as source:
        for item in stores.plans.items(plan.digest):
            watch.check()
            if item.kind != "file" or item.change is Change.DELETE or item.detail["same_bytes"]:
                continue
            entry = entry_of(item)
            if not _is_intact(source, f"{prefix}/{entry.path}" if prefix else entry.path, entry.sha256):
                yield entry.path


def _is_intact(source: Descent, path: str, sha256: str) -> bool:
    try:
        return source.digest(path)[1] == sha256
    except (ChangedError, OSError):
        return False

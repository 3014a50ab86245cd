"""Hooks for tests, named in settings: what they were told lies in a collection that no restore touches."""

from __future__ import annotations

import time
from typing import Any

from keyframe import DonePlan, Scope

CALLS = "session"
WAIT = 1.5  # seconds that the slow one takes


def noted(scope: Scope, plan: DonePlan) -> None:
    """Write down all of it."""
    plan.database[CALLS].insert_one(told(scope, plan))


def failing(scope: Scope, plan: DonePlan) -> None:
    raise ValueError(f"a reason that is for the log: {scope.key} {plan.digest}")


def slow(scope: Scope, plan: DonePlan) -> None:
    time.sleep(WAIT)
    noted(scope, plan)


def told(scope: Scope, plan: DonePlan) -> dict[str, Any]:
    return {
        "scope": scope.key,
        "digest": plan.digest,
        "snapshot": plan.snapshot,
        "items": [one.items for one in (plan.creates, plan.replaces, plan.deletes)],
        "paths": sorted(plan.paths()),
        "records": sorted([collection, repr(ident)] for collection, ident in plan.records()),
        "collections": sorted(plan.collections()),
        "is_back": plan.is_back,
        "is_itemised": plan.is_itemised,
    }

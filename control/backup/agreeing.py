"""What is found of a plan before anything is done: was it agreed to, may he who asks have it, is there anything to do.

>>> decided(stores, order, plan)        # doctest: +SKIP
Outcome(status=<OutcomeStatus.UNCHANGED: 'unchanged'>, …)
"""

from __future__ import annotations

from ..errors import StaleError
from ..model import Order, Outcome, Plan
from ..stores.plan_changes import changes_of
from .compare import Compare
from .conflicts import refusal_of
from .finishing import nothing_to_do
from .intact import without_damage
from .inventory import LiveInventory, StoredInventory
from .stores import Stores
from .target import Target
from .watches import Watch


def live_plan(stores: Stores, target: Target, watch: Watch, step: tuple[int, int] = (1, 1)) -> Plan:
    """The plan that brings the live state, as it is now, to what a snapshot holds; errors as `Compare.run`."""
    with stores.mongo.pinned() as reader:
        if target.only_intact:
            have = LiveInventory(stores, reader, watch, stores.excluded(target.scope))
            target = without_damage(stores, target, have, watch)
        want = StoredInventory(stores, target.snapshot, target.scope, watch)
        have = LiveInventory(stores, reader, watch, stores.excluded(target.scope))
        return Compare(stores, target, watch).run(want, have, step=step)


def decided(stores: Stores, order: Order, plan: Plan) -> Outcome | None:
    """What a restore comes to without anything being done; None: it may go on.

    Raises
    ------
    StaleError: another plan was agreed to.
    """
    if order.plan and plan.digest != order.plan and not order.takes_newer:
        changed = changes_of(stores.plans, order.plan, plan.digest)
        raise StaleError(
            "The plan was overtaken: the live state is no longer what it was when you looked.",
            subject=f"plan {order.plan[:12]}",
            hint="Look at the new plan and decide again; nothing was changed.",
            report={**plan.as_dict(), **changed.as_dict()},
        )
    refused = refusal_of(order, plan)
    if refused is None and plan.is_empty:
        return nothing_to_do(plan.snapshot, plan.as_dict())
    return refused

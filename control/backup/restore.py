"""Restoring, up to the point of no return: safety snapshot, plan, staging, the last look, the durable intent.

Rules:

- Nothing live is changed that is not in the safety snapshot byte for byte: with the gate closed, safety snapshot and
  live state are compared once more, and any difference begins again with a new safety snapshot.
- What was agreed to is what is done: the plan is the difference of the snapshot and the safety snapshot; another
  digest than the agreed one ends the job `stale`.
- The last try holds the gate from its safety snapshot on: people who go on working cannot hold up a restore for ever.
- Before the intent nothing has happened, and a safety snapshot made for it goes to the trash; once it is written the
  restore is finished, by this process or the next one (`finishing.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog

from ..errors import DamagedError, KeyframeError, StaleError, UnavailableError
from ..model import Order, Outcome, Plan, Progress, Reason, RestoreMark, Snapshot, Status
from ..stores.disk import LEAST, require_room
from ..stores.intents import Intent
from .compare import Compare
from .finishing import STEPS, Finishing, nothing_to_do
from .inventory import LiveInventory, StoredInventory
from .make import Made, Make
from .staging import Staging
from .stores import Stores
from .target import Target
from .watches import Quiet, Watch, Within

log = structlog.get_logger(__name__)

_TRIES = 3


class Restore:
    """One restore or undo of one scope."""

    def __init__(self, stores: Stores, watch: Watch) -> None:
        self._stores = stores
        self._watch = watch

    def run(self, order: Order, job: str) -> Outcome:
        """Carry out the order; see the rules of this room.

        Raises
        ------
        StaleError: the agreed plan was overtaken, or work on the live state did not pause. DamagedError: the snapshot
        is damaged. NoRoomError, UnavailableError: disk or server. In all of these cases nothing was changed.
        """
        snapshot = self._stores.repository.get(order.source or order.scope, order.snapshot)
        require_whole(snapshot)
        require_room(self._stores.settings.data, LEAST, "the restore")
        target = Target(order.scope, snapshot, order.selection, order.people)
        plan = self._look(target)
        _require_agreed(order, plan)
        if plan.is_empty:
            return nothing_to_do(snapshot.name, plan.as_dict())
        for attempt in range(1, _TRIES + 1):
            outcome = self._try(order, job, target, last=attempt == _TRIES)
            if outcome is not None:
                return outcome
            self._watch.check()
        raise StaleError(
            "Something went on writing past the application each time the restore was about to begin.",
            subject=f"restore of {snapshot.name}",
            hint="Stop the script that does, or try again when it is quieter; nothing was changed.",
            report=plan.as_dict(),
        )

    def _try(self, order: Order, job: str, target: Target, *, last: bool) -> Outcome | None:
        """From the safety snapshot to the end; None where the live state changed before the gate was closed."""
        with contextlib.ExitStack() as closed:
            if last:
                closed.enter_context(self._stores.gate.closed())
            with self._safety(order, target, job, gate_closed=last) as (safety, plan):
                _require_agreed(order, plan)
                if plan.is_empty:
                    return nothing_to_do(target.snapshot.name, plan.as_dict())
                with Staging(self._stores, target, job) as staging:
                    staging.fill(plan, self._watch, (3, STEPS))
                    if not ((last or self._close_gate(closed)) and self._is_still(order, safety)):
                        return None
                    self._watch.check()
                    intent = self._begin(order, job, target, safety, plan)
                    other = Target(order.scope, safety, order.selection, order.people)
                    return Finishing(self._stores, self._watch).change_over(intent, target, other, plan, staging)

    def _look(self, target: Target) -> Plan:
        """The plan against the live state: a safety snapshot for nothing would puzzle people."""
        with self._stores.mongo.pinned() as reader:
            want = StoredInventory(self._stores, target.snapshot, target.scope, self._watch)
            excluded = self._stores.excluded(target.scope)
            have = LiveInventory(self._stores, reader, Quiet(self._watch), excluded)
            return Compare(self._stores, target, Quiet(self._watch)).run(want, have)

    @contextlib.contextmanager
    def _safety(self, order: Order, target: Target, job: str, *, gate_closed: bool) -> Iterator[tuple[Snapshot, Plan]]:
        """The safety snapshot, and the plan that leads from it to the target.

        One that was made for this try and served no restore in the end lies in the trash afterwards.
        """
        step = Within(self._watch, "making the safety snapshot", 1, STEPS)
        self._watch.progress(Progress("making the safety snapshot", 1, STEPS))

        def made(*, afresh: bool) -> Made:
            make = Make(self._stores, order.scope, step, afresh=afresh, gate_closed=gate_closed)
            return make.run(order.actor.user, Reason.SAFETY, "", job)

        with contextlib.ExitStack() as unused:
            safety = made(afresh=False)
            unused.callback(self._discard, safety, order)
            try:
                plan = self._plan(target, safety.snapshot)
            except DamagedError as error:
                name = safety.snapshot.name
                if safety.is_new or error.subject != name or safety.snapshot == target.snapshot:
                    raise
                # The newest snapshot should have served, but its bytes are not what was written: share nothing.
                safety = made(afresh=True)
                unused.callback(self._discard, safety, order)
                plan = self._plan(target, safety.snapshot)
            yield safety.snapshot, plan

    def _discard(self, made: Made, order: Order) -> None:
        """Into the trash with a safety snapshot that was made for nothing; what is marked has served."""
        repository, name = self._stores.repository, made.snapshot.name
        if not made.is_new:
            return
        try:
            if not repository.get(order.scope, name).restores:
                repository.delete(order.scope, name, order.actor.user, self._stores.now())
        except KeyframeError as error:
            log.warning("restore.unused-safety", snapshot=name, why=str(error))

    def _plan(self, target: Target, safety: Snapshot) -> Plan:
        stores, quiet = self._stores, self._watch
        want = StoredInventory(stores, target.snapshot, target.scope, quiet)
        have = StoredInventory(stores, safety, target.scope, quiet)
        return Compare(stores, target, quiet).run(want, have, step=(2, STEPS))

    def _close_gate(self, stack: contextlib.ExitStack) -> bool:
        """Close the gate until `stack` ends; False where it was not had in time."""
        try:
            stack.enter_context(self._stores.gate.closed())
        except UnavailableError:
            return False
        return True

    def _is_still(self, order: Order, safety: Snapshot) -> bool:
        """Whether the live state is the safety snapshot, byte for byte, now that nobody may write."""
        stores = self._stores
        self._watch.progress(Progress("looking once more", 4, STEPS))
        target = Target(order.scope, safety, order.selection, order.people)
        with stores.mongo.pinned() as reader:
            stored = StoredInventory(stores, safety, order.scope, Quiet(self._watch))
            live = LiveInventory(stores, reader, Quiet(self._watch), stored.excluded)
            plan = Compare(stores, target, Quiet(self._watch)).run(stored, live)
            return plan.is_empty and live.unknown_paths <= stored.unknown_paths

    def _begin(self, order: Order, job: str, target: Target, safety: Snapshot, plan: Plan) -> Intent:
        """Mark the safety snapshot, and write the intent: from here on there is no way but to the end."""
        repository, source = self._stores.repository, target.snapshot
        mark = RestoreMark(
            job,
            order.snapshot,
            source.scope,
            order.selection,
            order.people,
            plan.digest,
            self._stores.now(),
            "begun",
        )
        paths = sorted(safety.unknown_in(order.scope) | source.unknown_in(order.scope))
        collections = sorted({*safety.unknown_collections, *source.unknown_collections})
        intent = Intent(job, order, safety.name, plan.digest, tuple(paths), tuple(collections), plan.as_dict())
        repository.mark(order.scope, safety.name, mark)
        try:
            self._stores.intents.write(intent)
        except KeyframeError:
            repository.unmark(order.scope, safety.name, job)
            raise
        return intent


def _require_agreed(order: Order, plan: Plan) -> None:
    if order.plan and plan.digest != order.plan:
        raise StaleError(
            "The plan was overtaken: the live state is no longer what it was when you looked.",
            subject=f"plan {order.plan[:12]}",
            hint="Look at the new plan and decide again; nothing was changed.",
            report=plan.as_dict(),
        )


def require_whole(snapshot: Snapshot) -> None:
    """Raise `DamagedError` for a snapshot that the list shows as damaged."""
    if snapshot.status is Status.DAMAGED:
        problem = snapshot.problems[0]
        raise DamagedError(
            problem.code.removeprefix("damaged."),
            problem.what,
            subject=snapshot.name,
            hint="Restore another snapshot; nothing was changed.",
        )

"""Restoring, up to the point of no return: safety snapshot, plan, staging, the last look, the durable intent.

Rules:

- Nothing live is changed that is not in the safety snapshot byte for byte: with the gate closed it is looked whether
  anything has changed since, and if so, it begins again with a new safety snapshot.
- What was agreed to is what is done: the plan is the difference of the snapshot and the safety snapshot; another
  digest than the agreed one ends the job `stale`, unless who ordered it takes what is newer, too.
- The last try holds the gate from its safety snapshot on: people who go on working cannot hold up a restore for ever.
- Before the intent nothing has happened; once it is written the restore is finished, by this process or the next one
  (`finishing.py`).
- Live changes are made under the exclusive lock of the scope, by whoever still holds the job.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

import structlog

from ..errors import DamagedError, KeyframeError, StaleError, UnavailableError
from ..model import Order, Outcome, OutcomeStatus, Plan, Progress, RestoreMark, Snapshot, Status
from ..stores.disk import LEAST, require_room
from ..stores.intents import Intent
from ..stores.mongo_write import RecordChange
from ..stores.plan_changes import changes_of
from .agreeing import decided
from .finishing import STEPS, Finishing
from .helpers import Helpers
from .intact import damage_of, without_damage
from .inventory import LiveInventory
from .leftovers import forget_kept
from .recheck import Recheck
from .records import prepared
from .room import require_server_room
from .safety import DecidedError, Safety
from .shared import is_as_planned
from .staging import Staging
from .stores import Stores
from .target import Target
from .watches import Quiet, Watch

log = structlog.get_logger(__name__)

_TRIES = 3


class Restore:
    """One restore or undo of one scope."""

    def __init__(self, stores: Stores, watch: Watch) -> None:
        self._stores = stores
        self._watch = watch
        self._began = self._closed = time.monotonic()
        self._ready: list[RecordChange] | None = None  # read before the gate is closed

    def run(self, order: Order, job: str) -> Outcome:
        """Carry out the order; see the rules of this room.

        Raises
        ------
        StaleError: the agreed plan was overtaken, or work on the live state did not pause. UnsafeError: the state
        before could not be kept as a whole. DamagedError: the snapshot is damaged. NoRoomError, UnavailableError: disk
        or server. In all of these cases nothing was changed.
        """
        snapshot = self._stores.repository.get(order.source or order.scope, order.snapshot)
        require_whole(snapshot)
        require_room(self._stores.settings.data, LEAST, "the restore")
        target = Target(
            order.scope, snapshot, order.selection, order.people, order.actor, only_intact=order.only_intact
        )
        for attempt in range(1, _TRIES + 1):
            try:
                outcome = self._try(order, job, target, last=attempt == _TRIES)
            except DamagedError as error:
                raise self._all_damage(error, target) from error
            if outcome is not None:
                return outcome
            self._watch.check()
        raise StaleError(
            "Something went on writing past the application each time the restore was about to begin.",
            subject=f"restore of {snapshot.name}",
            hint="Stop the script that does, or try again when it is quieter; nothing was changed.",
        )

    def _all_damage(self, error: DamagedError, target: Target) -> DamagedError:
        """The same error with all that is damaged of what would have been read."""
        stores, quiet = self._stores, Quiet(self._watch)
        try:
            with stores.mongo.pinned() as reader:
                live = LiveInventory(stores, reader, quiet, stores.excluded(target.scope))
                found = damage_of(without_damage(stores, target, live, quiet))
        except KeyframeError:  # header or manifest: there is nothing more to be known
            return error
        said = error.what.rstrip(".").split(" ")
        found = tuple(one for one in found if one.subject.removeprefix("collection ") not in said)
        if not found:
            return error
        return DamagedError(error.damage, error.what, subject=error.subject, hint=error.hint, all_of_it=found)

    def _try(self, order: Order, job: str, target: Target, *, last: bool) -> Outcome | None:
        """From the safety snapshot to the end; None where the live state changed before the gate was closed."""
        safeties = Safety(self._stores, order, target, self._watch, STEPS)
        try:
            return self._try_with(safeties, order, job, last=last)
        except DecidedError as end:
            return end.outcome

    def _try_with(self, safeties: Safety, order: Order, job: str, *, last: bool) -> Outcome | None:
        with contextlib.ExitStack() as closed:
            if last:
                closed.enter_context(self._stores.gate.closed())
                self._closed = time.monotonic()
            with safeties.made(job, gate_closed=last) as (safety, target, plan), Helpers() as helpers:
                ended = decided(self._stores, order, plan)
                if ended is not None:
                    return ended
                safeties.require_whole(safety, plan)
                helpers.begin(safety.files)
                with Staging(self._stores, target, job) as staging:
                    require_server_room(self._stores, plan)
                    staging.fill(plan, self._watch, (3, STEPS))
                    self._ready = prepared(self._stores, target, plan)
                    self._stores.plans.renew(plan.digest)
                    outcome = self._change_over(order, job, target, safety, plan, staging, helpers, closed, last)
                    closed.close()  # whoever waits to write need not wait until all is cleared away
                    return None if outcome is None else self._concluded(self._timed(outcome), order, job, target, plan)

    def _change_over(
        self,
        order: Order,
        job: str,
        target: Target,
        safety: Snapshot,
        plan: Plan,
        staging: Staging,
        helpers: Helpers,
        closed: contextlib.ExitStack,
        is_closed: bool,
    ) -> Outcome | None:
        self._watch.progress(Progress("looking once more", 4, STEPS))
        if not (is_closed or self._close_gate(closed)):
            return None
        since = Recheck(self._stores, order, safety, helpers, Quiet(self._watch)).is_still()
        if since is None or not is_as_planned(self._stores, target, plan):
            return None
        other = Target(order.scope, safety, order.selection, order.people)
        with self._stores.scope_files.held(order.scope, self._watch.check):
            self._watch.confirm()
            intent = self._begin(order, job, target, safety, plan)
            return Finishing(self._stores, self._watch).change_over(
                intent, target, other, plan, staging, since, self._ready
            )

    def _timed(self, outcome: Outcome) -> Outcome:
        """The outcome, with the seconds until all was verified and people could write again, and how long they could
        not."""
        now = time.monotonic()
        seconds = {"until_open": round(now - self._began, 3), "gate_closed": round(now - self._closed, 3)}
        return replace(outcome, report={**(outcome.report or {}), "seconds": seconds})

    def _concluded(self, outcome: Outcome, order: Order, job: str, target: Target, plan: Plan) -> Outcome:
        """With the gate open again: clear away what was kept, and compare all once more, for the report."""
        try:
            forget_kept(self._stores, order.scope, job)
            if outcome.status in (OutcomeStatus.FAILED, OutcomeStatus.CANCELLED):  # the safety snapshot is live again
                return outcome
            if order.plan and plan.digest != order.plan and outcome.report is not None:
                changed = changes_of(self._stores.plans, order.plan, plan.digest)
                outcome = replace(outcome, report={**outcome.report, **changed.as_dict()})
            return replace(outcome, warnings=Finishing(self._stores, self._watch).compared(order, target, plan))
        except Exception as error:
            # Whatever it was, the restore is verified and done: it must not be told as failed.
            log.warning("restore.not-concluded", job=job, scope=order.scope.key, why=str(error), exc_info=True)
            return outcome

    def _close_gate(self, stack: contextlib.ExitStack) -> bool:
        """Close the gate until `stack` ends; False where it was not had in time."""
        try:
            stack.enter_context(self._stores.gate.closed())
        except UnavailableError:
            return False
        self._closed = time.monotonic()
        return True

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
            by=order.actor.user,
            act="redo" if order.redo else order.act.value,
            undoes=order.mark_job,
        )
        paths = sorted(safety.unknown_in(order.scope) | source.unknown_in(order.scope) | target.spoilt_paths)
        left = {*safety.unknown_collections, *source.unknown_collections, *target.spoilt_collections}
        collections = sorted(left)
        intent = Intent(job, order, safety.name, plan.digest, tuple(paths), tuple(collections), plan.as_dict())
        repository.mark(order.scope, safety.name, mark)
        try:
            self._stores.intents.write(intent)
        except KeyframeError:
            repository.unmark(order.scope, safety.name, job)
            raise
        return intent


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

"""Restoring: safety snapshot, plan, staging, change-over under a durable intent, verification.

Rules:

- Nothing live is changed that is not in the safety snapshot byte for byte: with the gate closed, safety snapshot and
  live state are compared once more, and any difference begins again with a new safety snapshot.
- What was agreed to is what is done: the plan is the difference of the snapshot and the safety snapshot; another
  digest than the agreed one ends the job `stale`.
- Before the intent nothing has happened; once it is written the restore is finished, by this process or the next one.
  A step that fails for good turns it round: the safety snapshot is brought back.
- Afterwards snapshot and live state are compared again, with the gate still closed: no difference is left.
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from ..errors import (
    CancelledError,
    DamagedError,
    KeyframeError,
    NoRoomError,
    NotFoundError,
    Problem,
    StaleError,
    UnavailableError,
)
from ..model import Order, Outcome, OutcomeStatus, Plan, Progress, Reason, RestoreMark, Scope, Snapshot, Status
from ..stores.files import flush, translate
from ..stores.intents import Intent
from .compare import Compare, Target
from .edited import edited_in, problems_of, without
from .inventory import LiveInventory, StoredInventory
from .make import Make
from .records import change_database
from .staging import Staging
from .stores import Stores
from .watches import Quiet, Silent, Unstoppable, Watch, Within

log = structlog.get_logger(__name__)

_TRIES = 3
_STEPS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between tries to finish
_PATIENCE = 5  # tries while the disk refuses: half a minute
_LASTING = (errno.EACCES, errno.EPERM, errno.EXDEV, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class _Unknown:
    paths: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()


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
        stores = self._stores
        snapshot = stores.repository.get(order.source or order.scope, order.snapshot)
        require_whole(snapshot)
        target = Target(order.scope, snapshot, order.selection, order.people)
        if not order.plan and (plan := self._look(target)).is_empty:
            return nothing_to_do(snapshot.name, plan.as_dict())
        for attempt in range(1, _TRIES + 1):
            safety, plan = self._planned(order, target, job)
            if order.plan and plan.digest != order.plan:
                raise StaleError(
                    "The plan was overtaken: the live state is no longer what it was when you looked.",
                    subject=f"plan {order.plan[:12]}",
                    hint="Look at the new plan and decide again; nothing was changed.",
                    report=plan.as_dict(),
                )
            if plan.is_empty:
                return nothing_to_do(snapshot.name, plan.as_dict())
            with Staging(stores, target, job) as staging:
                staging.fill(plan, self._watch, (3, _STEPS))
                with contextlib.ExitStack() as closed:
                    if self._close_gate(closed, last=attempt == _TRIES) and self._is_still(order, safety):
                        self._watch.check()
                        return self._change_over(order, job, target, safety, plan, staging)
            self._watch.check()
        raise StaleError(
            "People went on working each time the restore was about to begin.",
            subject=f"restore of {snapshot.name}",
            hint="Try again when it is quieter; nothing was changed.",
            report=plan.as_dict(),
        )

    def _look(self, target: Target) -> Plan:
        """The plan against the live state, for who agreed to none: a safety snapshot for nothing would puzzle him."""
        with self._stores.mongo.pinned() as reader:
            want = StoredInventory(self._stores, target.snapshot, target.scope, self._watch)
            have = LiveInventory(self._stores, reader, Quiet(self._watch))
            return Compare(self._stores, target, Quiet(self._watch)).run(want, have)

    def _planned(self, order: Order, target: Target, job: str) -> tuple[Snapshot, Plan]:
        """The safety snapshot, and the plan that leads from it to the target."""
        step = Within(self._watch, "making the safety snapshot", 1, _STEPS)
        self._watch.progress(Progress("making the safety snapshot", 1, _STEPS))
        made = Make(self._stores, order.scope, step).run(order.actor.user, Reason.SAFETY, "", job)
        try:
            return made.snapshot, self._plan(target, made.snapshot)
        except DamagedError as error:
            if made.is_new or error.subject != made.snapshot.name or made.snapshot == target.snapshot:
                raise
        # The newest snapshot should have served, but its bytes are not what was written: make one that shares nothing.
        made = Make(self._stores, order.scope, step, afresh=True).run(order.actor.user, Reason.SAFETY, "", job)
        return made.snapshot, self._plan(target, made.snapshot)

    def _plan(self, target: Target, safety: Snapshot) -> Plan:
        stores, quiet = self._stores, self._watch
        want = StoredInventory(stores, target.snapshot, target.scope, quiet)
        have = StoredInventory(stores, safety, target.scope, quiet)
        return Compare(stores, target, quiet).run(want, have, step=(2, _STEPS))

    def _close_gate(self, stack: contextlib.ExitStack, *, last: bool) -> bool:
        """Close the gate until `stack` ends; False where it was not had in time and there is another try."""
        try:
            stack.enter_context(self._stores.gate.closed())
        except UnavailableError:
            if last:
                raise
            return False
        return True

    def _is_still(self, order: Order, safety: Snapshot) -> bool:
        """Whether the live state is the safety snapshot, byte for byte, now that nobody may write."""
        stores = self._stores
        self._watch.progress(Progress("looking once more", 4, _STEPS))
        target = Target(order.scope, safety, order.selection, order.people)
        with stores.mongo.pinned() as reader:
            live = LiveInventory(stores, reader, Quiet(self._watch))
            stored = StoredInventory(stores, safety, order.scope, Quiet(self._watch))
            plan = Compare(stores, target, Quiet(self._watch)).run(stored, live)
            return plan.is_empty and live.unknown_paths <= stored.unknown_paths

    def _change_over(
        self, order: Order, job: str, target: Target, safety: Snapshot, plan: Plan, staging: Staging
    ) -> Outcome:
        """From the intent on: marked, changed, verified, unmarked as begun. The gate is closed."""
        stores = self._stores
        mark = RestoreMark(
            job,
            order.snapshot,
            target.snapshot.scope,
            order.selection,
            order.people,
            plan.digest,
            stores.now(),
            "begun",
        )
        unknown = _Unknown(
            tuple(sorted(safety.unknown_in(order.scope) | target.snapshot.unknown_in(order.scope))),
            tuple(sorted({*safety.unknown_collections, *target.snapshot.unknown_collections})),
        )
        stores.repository.mark(order.scope, safety.name, mark)
        intent = Intent(job, order, safety.name, plan.digest, unknown.paths, unknown.collections, plan.as_dict())
        try:
            stores.intents.write(intent)
        except KeyframeError:
            stores.repository.unmark(order.scope, safety.name, job)
            raise
        watch = Unstoppable(self._watch)
        try:
            self._change(target, plan, staging, watch)
            other = Target(order.scope, safety, order.selection, order.people)
            return self._conclude(intent, edited=self._verify(target, other, unknown))
        except Exception as error:
            # Whatever it was, the intent stands: work out what is left to do, and do it.
            unforeseen = not isinstance(error, (KeyframeError, OSError))
            log.warning("restore.finishing", job=job, scope=order.scope.key, why=str(error), exc_info=unforeseen)
        return self.finish(intent)

    def _change(self, target: Target, plan: Plan, staging: Staging, watch: Watch) -> None:
        try:
            change_database(self._stores, target, plan, watch, (4, _STEPS))
            staging.move(plan, watch, (4, _STEPS))
            flush(self._stores.settings.working)
        except OSError as error:
            raise translate(error, "live files", "the restore is not complete and will be finished") from error

    def _verify(self, target: Target, other: Target, unknown: _Unknown) -> tuple[Problem, ...]:
        """Compare snapshot and live state once more.

        Parameters
        ----------
        other: the other state that the restore knows; a content that is of neither is somebody's work past the gate.

        Returns
        -------
        That work, named. Any other difference is an error.
        """
        self._watch_quietly(Progress("checking", 5, _STEPS))
        left = self._left(target, unknown)
        if left.is_empty:
            return ()
        edited = self._edited(left, other, unknown)
        found = problems_of(self._stores, left, edited)
        left = without(self._stores, left, edited)
        if not left.is_empty:
            raise KeyframeError(
                "differs from the snapshot after the change-over.",
                subject=f"{left.creates.items + left.replaces.items + left.deletes.items} items",
            )
        return found

    def _edited(self, left: Plan, other: Target, unknown: _Unknown) -> frozenset[str]:
        """What somebody changed past the gate; nothing can be told where the other snapshot is damaged."""
        if left.is_empty or (other.snapshot.name, other.snapshot.scope) == (left.snapshot, left.source):
            return frozenset()
        try:
            return edited_in(self._stores, left, self._left(other, unknown))
        except DamagedError as error:
            log.warning("restore.blind", snapshot=other.snapshot.name, why=str(error))
            return frozenset()

    def _watch_quietly(self, progress: Progress) -> None:
        Unstoppable(self._watch).progress(progress)

    def _left(self, target: Target, unknown: _Unknown) -> Plan:
        stores, watch = self._stores, Unstoppable(self._watch)
        with stores.mongo.pinned() as reader:
            want = StoredInventory(stores, target.snapshot, target.scope, watch)
            have = LiveInventory(stores, reader, watch)
            return Compare(stores, target, Silent()).run(want, have, unknown.paths, unknown.collections)

    # --- finishing what was begun

    def finish(self, intent: Intent) -> Outcome:
        """Finish a restore whose intent stands; the caller holds the gate closed, or the intent keeps writers out.

        Tries again at growing intervals while server or disk do not let it; turns round to the safety snapshot where
        the snapshot itself cannot be restored any more, or the disk refuses for good: nobody can write meanwhile.
        Stopped by `CancelledError`, the intent stays.
        """
        pause, tries = _FIRST_PAUSE, 0
        turned: Problem | None = None
        while True:
            tries += 1
            try:
                edited = self._finish_once(intent, back=turned is not None)
                return self._conclude(intent, turned, edited)
            except CancelledError:
                raise
            except Exception as error:
                known = _known(error)
                log.warning("restore.waits", job=intent.job, why=str(error), exc_info=known is not error)
                problem = known.problem()
                if turned is None and _is_lasting(known, tries):
                    turned = problem
                    continue
            self._watch.progress(Progress(f"waiting to finish: {problem.what}", 4, _STEPS, item=problem.subject))
            self._wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._watch.check()
            time.sleep(0.1)

    def _target_at(self, order: Order, scope: Scope, name: str) -> Target:
        return Target(order.scope, self._stores.repository.get(scope, name), order.selection, order.people)

    def _finish_once(self, intent: Intent, *, back: bool) -> tuple[Problem, ...]:
        stores, order = self._stores, intent.order
        unknown = _Unknown(intent.left_paths, intent.left_collections)
        places = [(order.source or order.scope, order.snapshot), (order.scope, intent.safety)]
        place, elsewhere = reversed(places) if back else places
        target = self._target_at(order, *place)
        try:
            other = self._target_at(order, *elsewhere)
        except NotFoundError:  # nobody's work can be told from ours then
            other = target
        plan = self._left(target, unknown)
        plan = without(stores, plan, self._edited(plan, other, unknown))
        with Staging(stores, target, intent.job) as staging:
            staging.fill(plan, Unstoppable(self._watch), (4, _STEPS))
            self._change(target, plan, staging, Unstoppable(self._watch))
        return self._verify(target, other, unknown)

    def _conclude(self, intent: Intent, turned: Problem | None = None, edited: tuple[Problem, ...] = ()) -> Outcome:
        """The live state is as it shall be: say so in the labels, take the intent away."""
        stores, order = self._stores, intent.order
        with contextlib.suppress(NotFoundError):
            marks = stores.repository.get(order.scope, intent.safety).restores
            for mark in (one for one in marks if one.job == intent.job):
                state = "done" if turned is None else "undone"
                stores.repository.mark(order.scope, intent.safety, replace(mark, state=state))
        if turned is None and order.mark_job:
            with contextlib.suppress(NotFoundError):
                self._mark_undone(order)
        stores.intents.remove(order.scope)
        if turned is not None:
            what = f"The restore could not be completed ({turned.what}); the state before it is live again."
            back = Problem(turned.code, what, turned.subject, "Nothing is lost. Restore another snapshot.")
            return Outcome(OutcomeStatus.FAILED, order.snapshot, intent.safety, (back,), intent.report)
        return carried_out(order.snapshot, intent.safety, intent.report, edited)

    def _mark_undone(self, order: Order) -> None:
        """The restore that this undo takes back can be undone no more."""
        repository = self._stores.repository
        if order.source is None:
            return
        for mark in repository.get(order.source, order.snapshot).restores:
            if mark.job == order.mark_job:
                repository.mark(order.source, order.snapshot, replace(mark, state="undone"))


def nothing_to_do(snapshot: str, report: Mapping[str, Any]) -> Outcome:
    """The outcome where nothing differs; `partial` where something that differs is left as it is."""
    left = _left_aside(report)
    return Outcome(OutcomeStatus.PARTIAL if left else OutcomeStatus.UNCHANGED, snapshot, None, left, report)


def _left_aside(report: Mapping[str, Any] | None) -> tuple[Problem, ...]:
    warnings = report["warnings"] if report else ()
    return tuple(Problem.from_dict(one) for one in warnings if one["code"] in ("left", "conflict"))


def carried_out(
    snapshot: str, safety: str, report: Mapping[str, Any] | None, edited: tuple[Problem, ...] = ()
) -> Outcome:
    """The outcome of a restore that did what its plan says: `partial` where the plan leaves something as it is."""
    left = _left_aside(report) + edited
    status = OutcomeStatus.PARTIAL if left else OutcomeStatus.DONE
    return Outcome(status, snapshot, safety, left, report)


def _known(error: Exception) -> KeyframeError:
    """The error of ours that stands for `error`; of what is unforeseen the log has the full text."""
    if isinstance(error, KeyframeError):
        return error
    if isinstance(error, OSError):
        known = translate(error, "the restore", "it is not complete and will be finished")
        known.__cause__ = error
        return known
    return KeyframeError(f"Something unforeseen happened ({type(error).__name__}).", subject="the restore")


def _is_lasting(error: KeyframeError, tries: int) -> bool:
    """Whether waiting does not help: a server comes back, a disk that refuses for good does not."""
    cause = error.__cause__
    if isinstance(error, NoRoomError) or isinstance(cause, OSError):
        return tries >= _PATIENCE or (isinstance(cause, OSError) and cause.errno in _LASTING)
    return not isinstance(error, UnavailableError)


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

"""The second half of a restore, from the durable intent on: change over, verify, conclude; and finish after a crash.

Rules:

- Once the intent is written the restore is finished, by this process or the next one; every step can be repeated.
- A step that fails for good turns it round: the safety snapshot is brought back.
- Afterwards snapshot and live state are compared again, with the gate still closed: no difference is left but what
  somebody changed past the gate, which is left as it is and named (`edited.py`).
"""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from ..errors import (
    CancelledError,
    DamagedError,
    InvalidError,
    KeyframeError,
    NoRoomError,
    NotFoundError,
    Problem,
    UnavailableError,
)
from ..model import Instant, Order, Outcome, OutcomeStatus, Plan, Progress, Reason, Scope
from ..patterns import Exclusion
from ..stores.changes import Known
from ..stores.disk import translate
from ..stores.intents import Intent
from ..stores.mongo_write import RecordChange
from .compare import Compare
from .conflicts import taken_since
from .edited import edited_in, problems_of, without
from .inventory import LiveInventory, StoredInventory
from .leftovers import forget_kept
from .records import change_database
from .staging import Staging
from .stores import Stores
from .target import Target
from .touched import Touched
from .watches import Quiet, Silent, Unstoppable, Watch

log = structlog.get_logger(__name__)

STEPS = 5
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0  # seconds between tries to finish
_ASKED_BACK = Problem(
    "cancelled", "Somebody asked for the state before the restore, which could not be finished; it is live again."
)
_WHOLE_TRIES = 2  # with all records in one transaction; a server may not have the memory for it
_NAMED = 3
_PATIENCE = 5  # tries while the disk refuses: half a minute
_LASTING = (errno.EACCES, errno.EPERM, errno.EXDEV, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.ELOOP)


class Finishing:
    """Brings one scope to what an intent says; the caller holds the gate closed, or the intent keeps writers out."""

    def __init__(self, stores: Stores, watch: Watch) -> None:
        self._stores = stores
        self._watch = watch

    def change_over(
        self,
        intent: Intent,
        target: Target,
        other: Target,
        plan: Plan,
        staging: Staging,
        since: Instant,
        ready: list[RecordChange] | None = None,
    ) -> Outcome:
        """Carry out a plan whose files are staged. Never fails: what goes wrong is finished, or turned round.

        Parameters
        ----------
        other: the state before, as the safety snapshot holds it. since: up to when nothing had changed since then.
        ready: the changes of records, as `prepared` has them. None: they are too many for one transaction.
        """
        try:
            watch = Unstoppable(self._watch)
            known = self._change(target, plan, staging, watch, since, ready, in_batches=ready is None)
            watch.progress(Progress("checking", 5, STEPS))
            is_as_planned = Touched(self._stores, target, plan, watch, known).is_as_planned(since)
            return self._conclude(intent, edited=() if is_as_planned else self._verify(target, other, intent))
        except Exception as error:
            # Whatever it was, the intent stands: work out what is left to do, and do it.
            unforeseen = not isinstance(error, (KeyframeError, OSError))
            scope = intent.order.scope.key
            log.warning("restore.finishing", job=intent.job, scope=scope, why=str(error), exc_info=unforeseen)
        return self.finish(intent)

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
            if turned is None and self._stores.intents.is_turned_back(intent.scope):
                turned = _ASKED_BACK
            try:
                edited = self._finish_once(intent, back=turned is not None, in_batches=tries > _WHOLE_TRIES)
                outcome = self._conclude(intent, turned, edited)
                forget_kept(self._stores, intent.scope, intent.job)
                return outcome
            except CancelledError:
                raise
            except Exception as error:
                known = _known(error)
                log.warning("restore.waits", job=intent.job, why=str(error), exc_info=known is not error)
                problem = known.problem()
                if isinstance(known, NoRoomError):
                    forget_kept(self._stores, intent.scope, intent.job)
                if turned is None and _is_lasting(known, tries):
                    turned = problem
                    continue
            self._watch.progress(Progress(f"waiting to finish: {problem.what}", 4, STEPS, item=problem.subject))
            self._wait(pause, intent, is_turned=turned is not None)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def compared(self, order: Order, target: Target, plan: Plan) -> tuple[Problem, ...]:
        """Compare all of snapshot and live state, with the gate open: what has become different again is told.

        It says nothing about the restore, which is verified; but who looks at its report should know.
        """
        watch = Quiet(self._watch)
        self._watch_quietly(Progress("comparing once more", 5, STEPS))
        try:
            with self._stores.mongo.pinned() as reader:
                want = StoredInventory(self._stores, target.snapshot, target.scope, watch)
                have = LiveInventory(self._stores, reader, watch, self._stores.excluded(order.scope))
                left = Compare(self._stores, replace(target, actor=None), watch).run(want, have)
        except KeyframeError as error:  # also that it shall stop: the restore is done all the same
            log.info("restore.not-compared", plan=plan.digest, why=str(error))
            return ()
        if left.is_empty:
            return ()
        names = [item.name for item in self._stores.plans.items(left.digest, limit=_NAMED)]
        count = left.creates.items + left.replaces.items + left.deletes.items
        more = f" and {count - len(names)} more" if count > len(names) else ""
        what = "is different from the snapshot again: somebody has gone on working since."
        return (Problem("newer", what, ", ".join(names) + more, "Nothing has to be done."),)

    def _wait(self, seconds: float, intent: Intent, *, is_turned: bool) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._watch.check()
            if not is_turned and self._stores.intents.is_turned_back(intent.scope):
                return
            time.sleep(0.1)

    def _target_at(self, order: Order, scope: Scope, name: str) -> Target:
        return Target(order.scope, self._stores.repository.get(scope, name), order.selection, order.people)

    def _finish_once(self, intent: Intent, *, back: bool, in_batches: bool) -> tuple[Problem, ...]:
        stores, order = self._stores, intent.order
        places = [(order.source or order.scope, order.snapshot), (order.scope, intent.safety)]
        place, elsewhere = reversed(places) if back else places
        target = self._target_at(order, *place)
        try:
            other = self._target_at(order, *elsewhere)
        except NotFoundError:  # nobody's work can be told from ours then
            other = target
        since = stores.mongo.mark()
        plan = self._left(target, intent)
        taken = taken_since(plan, intent.report)
        if taken and not back:
            raise InvalidError(taken[0].what, subject=taken[0].subject, hint=taken[0].hint)
        plan = without(stores, plan, self._edited(plan, other, intent))
        with Staging(stores, target, intent.job) as staging:
            staging.fill(plan, Unstoppable(self._watch), (4, STEPS))
            self._change(target, plan, staging, Unstoppable(self._watch), since, in_batches=in_batches)
        return self._verify(target, other, intent)

    def _conclude(self, intent: Intent, turned: Problem | None = None, edited: tuple[Problem, ...] = ()) -> Outcome:
        """The live state is as it shall be: say so in the labels, take the intent away."""
        stores, order, is_new = self._stores, intent.order, True
        with contextlib.suppress(NotFoundError):
            safety = stores.repository.get(order.scope, intent.safety)
            is_new = safety.was_made_for(intent.job)
            for mark in (one for one in safety.restores if one.job == intent.job):
                state = "done" if turned is None else "undone"
                ended = replace(mark, state=state, turned_back=turned is not None)
                stores.repository.mark(order.scope, intent.safety, ended)
        if order.mark_job:
            with contextlib.suppress(NotFoundError):
                self._mark_undone(order, turned is None)
        stores.intents.remove(order.scope)
        if turned is not None:
            what = f"The restore could not be completed ({turned.what.rstrip('.')}); the state before it is live again."
            status, hint = OutcomeStatus.FAILED, "Nothing is lost. Restore another snapshot."
            if turned is _ASKED_BACK:
                what, status = turned.what, OutcomeStatus.CANCELLED
                hint = "Nothing is lost. If it is still wanted, order it again when disk and database answer."
            back = Problem(turned.code, what, turned.subject, hint)
            return Outcome(status, order.snapshot, intent.safety, (back,), intent.report, safety_is_new=is_new)
        return replace(carried_out(order.snapshot, intent.safety, intent.report, edited), safety_is_new=is_new)

    def _mark_undone(self, order: Order, is_undone: bool) -> None:
        """What this undo takes back can be undone no more; or can be again, where the undo was turned back."""
        repository = self._stores.repository
        if order.source is None:
            return
        for mark in repository.get(order.source, order.snapshot).restores:
            if mark.job == order.mark_job:
                repository.mark(order.source, order.snapshot, replace(mark, state="undone" if is_undone else "done"))

    def _change(
        self,
        target: Target,
        plan: Plan,
        staging: Staging,
        watch: Watch,
        since: Instant,
        ready: list[RecordChange] | None = None,
        *,
        in_batches: bool = False,
    ) -> Known:
        try:
            known = change_database(
                self._stores, target, plan, watch, (4, STEPS), since=since, ready=ready, in_batches=in_batches
            )
            staging.move(plan, watch, (4, STEPS))
            staging.flush()
            return known
        except OSError as error:
            raise translate(error, "live files", "the restore is not complete and will be finished") from error

    def _verify(self, target: Target, other: Target, intent: Intent) -> tuple[Problem, ...]:
        """Compare snapshot and live state once more.

        Parameters
        ----------
        other: the other state that the restore knows; a content that is of neither is somebody's work past the gate.

        Returns
        -------
        That work, named, and the records whose unique values somebody took. Any other difference is an error.
        """
        self._watch_quietly(Progress("checking", 5, STEPS))
        left = self._left(target, intent)
        taken = taken_since(left, intent.report)
        if left.is_empty:
            return taken
        edited = self._edited(left, other, intent)
        found = problems_of(self._stores, left, edited)
        left = without(self._stores, left, edited)
        if not left.is_empty:
            raise KeyframeError(
                "differs from the snapshot after the change-over.",
                subject=f"{left.creates.items + left.replaces.items + left.deletes.items} items",
            )
        return (*found, *taken)

    def _edited(self, left: Plan, other: Target, intent: Intent) -> frozenset[str]:
        """What somebody changed past the gate; nothing can be told where the other snapshot is damaged."""
        if left.is_empty or (other.snapshot.name, other.snapshot.scope) == (left.snapshot, left.source):
            return frozenset()
        try:
            return edited_in(self._stores, left, self._left(other, intent))
        except DamagedError as error:
            log.warning("restore.blind", snapshot=other.snapshot.name, why=str(error))
            return frozenset()

    def _watch_quietly(self, progress: Progress) -> None:
        Unstoppable(self._watch).progress(progress)

    def _left(self, target: Target, intent: Intent) -> Plan:
        stores, watch = self._stores, Unstoppable(self._watch)
        with stores.mongo.pinned() as reader:
            want = StoredInventory(stores, target.snapshot, target.scope, watch)
            have = LiveInventory(stores, reader, watch, self._excluded(intent))
            target = replace(target, makes=self._makes(target, want, intent))
            return Compare(stores, target, Silent()).run(want, have, intent.left_paths, intent.left_collections)

    def _makes(self, target: Target, want: StoredInventory, intent: Intent) -> frozenset[str]:
        """The collections that were not there when the restore began: half of one may be there now."""
        with contextlib.suppress(NotFoundError, DamagedError):
            safety = self._stores.repository.get(intent.scope, intent.safety)
            before = StoredInventory(self._stores, safety, intent.scope, Silent())
            known = before.collections(target.records).keys() | before.unknown_collections
            return frozenset(want.collections(target.records).keys() - known)
        return frozenset()

    def _excluded(self, intent: Intent) -> Exclusion:
        """What was excluded when the restore began, as its safety snapshot says; settings may have changed since."""
        scope = intent.order.scope
        with contextlib.suppress(NotFoundError):
            safety = self._stores.repository.get(scope, intent.safety)
            if safety.reason is not Reason.UNKNOWN:
                return self._stores.excluded(scope, safety.excluded.patterns)
        return self._stores.excluded(scope)


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

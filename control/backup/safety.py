"""The safety snapshot of a restore: the state before, whole, or a person has said that its gaps are right.

Rules:

- One is there before anything live changes; where a whole snapshot of the scope is the live state already, that one
  serves.
- What it could not keep, it names. Then the restore is refused, with a digest of what is named; it goes on only for
  whoever gives that digest back, while the list is still the same.
- Where the disk has no room for a whole one, a reduced one keeps what the plan changes (`reducing.py`); the rest is
  what has to be confirmed, before that one is stored. It leaves nothing behind where it is not.
- One that was made and served no restore in the end goes to the trash; a reduced one goes for good.

>>> with Safety(stores, order, target, watch).made(job, gate_closed=False) as (safety, plan): ...     # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import structlog

from ..errors import DamagedError, KeyframeError, NoRoomError, Problem, UnsafeError
from ..model import NO_ROOM, Order, Outcome, Plan, Progress, Reason, Snapshot
from ..stores.disk import free_bytes
from .agreeing import decided, live_plan
from .compare import Compare
from .intact import without_damage
from .inventory import StoredInventory
from .make import Made, Make
from .reducing import Reduction
from .stores import Stores
from .target import Target
from .watches import Watch, Within

log = structlog.get_logger(__name__)

STAGE = "making the safety snapshot"
_WAYS_OUT = "make room (what is in the trash takes room, too), restore a part, or restore beside (--into)"


class DecidedError(Exception):
    """The restore comes to this outcome without a safety snapshot."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.status.value)
        self.outcome = outcome


class Safety:
    """That of one restore; it may be made several times."""

    def __init__(self, stores: Stores, order: Order, target: Target, watch: Watch, steps: int) -> None:
        self._stores = stores
        self._order = order
        self._target = target
        self._watch = watch
        self._steps = steps

    @contextlib.contextmanager
    def made(self, job: str, *, gate_closed: bool) -> Iterator[tuple[Snapshot, Target, Plan]]:
        """The safety snapshot, the target (without what is damaged of it, if that is wanted), and the plan to it; its
        instant is when the live state was seen to be the same.

        One that was made for this try and served no restore in the end lies in the trash afterwards.

        Raises
        ------
        DecidedError: there is room for a reduced one only, and none is needed. StaleError: the same, and another plan
        was agreed to. UnsafeError: the same, and nobody has confirmed what it leaves out.
        """
        with contextlib.ExitStack() as unused:
            safety = self._make(job, gate_closed=gate_closed)
            unused.callback(self._discard, safety)
            try:
                target, plan = self._plan(safety.snapshot)
            except DamagedError as error:
                name = safety.snapshot.name
                if safety.is_new or error.subject != name or safety.snapshot == self._target.snapshot:
                    raise
                # One that was there should have served, but its bytes are not what was written: share nothing.
                safety = self._make(job, gate_closed=gate_closed, afresh=True)
                unused.callback(self._discard, safety)
                target, plan = self._plan(safety.snapshot)
            # One that serves again may be older: what was changed and changed back since is no change now.
            yield replace(safety.snapshot, instant=safety.instant), target, plan

    def require_whole(self, safety: Snapshot, plan: Plan) -> None:
        """Raise UnsafeError where something was not kept, and nobody has said that it does not matter."""
        digest = digest_of(safety.problems)
        if safety.problems and self._order.accepted != digest:
            raise UnsafeError(safety.problems, digest, plan.as_dict())

    def _make(self, job: str, *, gate_closed: bool, afresh: bool = False) -> Made:
        self._watch.progress(Progress(STAGE, 1, self._steps))
        try:
            return self._run(job, None, gate_closed=gate_closed, afresh=afresh)
        except NoRoomError as error:
            whole = error
        try:
            plan = live_plan(self._stores, self._target, self._watch, (1, self._steps))
            ended = decided(self._stores, self._order, plan)
            if ended is not None:
                raise DecidedError(ended)
            reduction = Reduction(self._stores, plan, lambda problems: self._judge(problems, whole, reduction, plan))
            return self._run(job, reduction, gate_closed=gate_closed, afresh=afresh)
        except NoRoomError as error:
            what = f"{whole.what} {error.what[:1].upper()}{error.what[1:]}"
            hint = f"A restore needs a safety snapshot: {_WAYS_OUT}; nothing was changed."
            raise NoRoomError(what, subject=whole.subject, hint=hint, is_refusal=True) from error

    def _run(self, job: str, reduction: Reduction | None, *, gate_closed: bool, afresh: bool) -> Made:
        step = Within(self._watch, STAGE, 1, self._steps)
        make = Make(self._stores, self._order.scope, step, afresh=afresh, gate_closed=gate_closed, reduction=reduction)
        try:
            return make.run(self._order.actor.user, Reason.SAFETY, "", job)
        except NoRoomError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            # The disk filled up all the same; what was written is gone by now.
            called = "the snapshot" if reduction is None else "a reduced safety snapshot"
            free = free_bytes(self._stores.settings.data)
            numbers = f"needs more than the expected {make.needed / 1e6:.1f} MB, the disk has {free / 1e6:.1f} MB free."
            raise NoRoomError(f"{called} {numbers}", subject=error.subject, hint=error.hint) from error

    def _judge(self, problems: tuple[Problem, ...], whole: NoRoomError, reduction: Reduction, plan: Plan) -> None:
        """Raise UnsafeError where a reduced safety snapshot would leave out what nobody has confirmed."""
        digest = digest_of(problems)
        if not problems or self._order.accepted == digest:
            return
        why = f"{whole.what} With {reduction.needed / 1e6:.1f} MB a reduced one keeps {reduction.told(problems)}"
        hint = f"Confirm that what is named does not matter, or {_WAYS_OUT}; nothing was changed."
        raise UnsafeError(problems, digest, plan.as_dict(), why=why, hint=hint)

    def _discard(self, made: Made) -> None:
        """Into the trash with a safety snapshot that was made for nothing; what is marked has served."""
        repository, scope, name = self._stores.repository, self._order.scope, made.snapshot.name
        if not made.is_new:
            return
        try:
            if repository.get(scope, name).restores:
                return
            if any(one.code == NO_ROOM for one in made.snapshot.problems):
                repository.remove_unused(scope, name)
            else:
                repository.delete(scope, name, self._order.actor.user, self._stores.now())
        except KeyframeError as error:
            log.warning("restore.unused-safety", snapshot=name, why=str(error))

    def _plan(self, safety: Snapshot) -> tuple[Target, Plan]:
        stores, watch, target = self._stores, self._watch, self._target
        have = StoredInventory(stores, safety, target.scope, watch)
        if target.only_intact:
            target = without_damage(stores, target, have, watch)
        want = StoredInventory(stores, target.snapshot, target.scope, watch)
        have = StoredInventory(stores, safety, target.scope, watch)
        return target, Compare(stores, target, watch).run(want, have, step=(2, self._steps))


def digest_of(problems: tuple[Problem, ...]) -> str:
    """What a person gives back who has seen these problems: a digest of what they are about, in any order."""
    named = sorted((one.code, one.subject) for one in problems)
    return hashlib.sha256(msgspec.json.encode(named)).hexdigest()

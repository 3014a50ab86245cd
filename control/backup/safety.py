"""The safety snapshot of a restore: the state before, whole, or a person has said that its gaps are right.

Rules:

- One is there before anything live changes; where the newest snapshot of the scope is the live state, that one serves.
- What it could not keep, it names. Then the restore is refused, with a digest of what is named; it goes on only for
  whoever gives that digest back, while the list is still the same.
- One that was made and served no restore in the end goes to the trash.

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
from ..model import Order, Plan, Progress, Reason, Snapshot
from .compare import Compare
from .intact import without_damage
from .inventory import StoredInventory
from .make import Made, Make
from .stores import Stores
from .target import Target
from .watches import Watch, Within

log = structlog.get_logger(__name__)

STAGE = "making the safety snapshot"


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
                # The newest snapshot should have served, but its bytes are not what was written: share nothing.
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
        step = Within(self._watch, STAGE, 1, self._steps)
        make = Make(self._stores, self._order.scope, step, afresh=afresh, gate_closed=gate_closed)
        try:
            return make.run(self._order.actor.user, Reason.SAFETY, "", job)
        except NoRoomError as error:
            hint = "A restore needs a safety snapshot: delete a snapshot, or make room; nothing was changed."
            raise NoRoomError(error.what, subject=error.subject, hint=hint, is_refusal=True) from error

    def _discard(self, made: Made) -> None:
        """Into the trash with a safety snapshot that was made for nothing; what is marked has served."""
        repository, scope, name = self._stores.repository, self._order.scope, made.snapshot.name
        if not made.is_new:
            return
        try:
            if not repository.get(scope, name).restores:
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

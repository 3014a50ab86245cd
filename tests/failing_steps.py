"""Errors right before a named step, in this process: what the disk, the driver or the server may come with.

The points are those of the crash sweep (`steps.py`), the errors those of `ERRORS`; `tests/test_fault_sweep.py` deals
them out round robin, `tests/soak/` tries every pair.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import structlog
from copied import Copied, Duplicated
from crash_child import Crasher
from keyframe.doors.office import Office
from keyframe.model import Job, JobState, Outcome, Scope
from keyframe.wiring import build
from mongod import Mongod
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, NotPrimaryError, OperationFailure
from steps import places, wrapped
from sweep import CANCELLED, DONE, FAILED, UNCHANGED, prepare, require_clean, turn
from whole import require_whole
from world import PROJECT, World

log = structlog.get_logger(__name__)


def _raises(make: Callable[[], Exception]) -> Callable[[Mongod], None]:
    def happen(_: Mongod) -> None:
        raise make()

    return happen


def _disk(number: int) -> Callable[[Mongod], None]:
    return _raises(lambda: OSError(number, os.strerror(number)))


def _kill_and_start(server: Mongod) -> None:
    server.kill()
    server.start()


def _step_down(server: Mongod) -> None:
    """The only member is no primary for a second, and takes over again; all connections break."""
    with MongoClient[Any]("127.0.0.1", server.port, directConnection=True) as client:
        client.admin.command("replSetStepDown", 1, secondaryCatchUpPeriodSecs=0, force=True)


ABORTED = {"errorLabels": ["TransientTransactionError"], "code": 251, "errmsg": "aborted"}
ERRORS: dict[str, Callable[[Mongod], None]] = {
    "no room": _disk(errno.ENOSPC),
    "broken": _disk(errno.EIO),
    "forbidden": _disk(errno.EACCES),
    "reconnect": _raises(lambda: AutoReconnect("connection closed")),
    "not primary": _raises(lambda: NotPrimaryError("not primary", {"code": 10107, "errmsg": "not primary"})),
    "aborted": _raises(lambda: OperationFailure("aborted", 251, ABORTED)),
    "killed": _kill_and_start,
    "stepped down": _step_down,
}


class Failing:
    """One world, in which an error is met right before a step: of a job, of a recovery, or of a move to the trash."""

    def __init__(self, world: World, server: Mongod, crasher: Crasher, scope: Scope = PROJECT) -> None:
        self._world = world
        self._server = server
        self._crasher = crasher
        self._scope = scope
        self.good, self.after = prepare(world, scope, collections=scope.is_site)
        self._checked: set[Path] = set()

    def meet(self, act: str, step: str, error: str, number: int) -> bool:
        """Do it, meet the error once, recover; AssertionError where anything is not as it must be.

        False: it did not come to that step.
        """
        world, scope, point = self._world, self._scope, f"{act}: {error} before {step}"
        turn(world, f"{number}")
        before, desk = world.state(), world.office.desk
        if act in ("delete", "undelete"):
            return self._move(act, step, error)
        if act in ("copy", "duplicate"):
            return self._put_beside(act, step, error)
        if act == "undo":
            assert world.restore(self.good, scope).status is DONE
        old = world.state()
        new = {"make": old, "undo": before}.get(act, self.after)
        job = self._ordered(act)
        if act == "recover":
            assert self._crasher.run(world, job.id, "intent:after:1").killed
            happened = self._during(step, error, lambda office: office.work.recover())
        else:
            happened = self._during(step, error, lambda office: self._work(office, job))
        outcome = self._recovered(job)
        now = world.state()
        assert now in (old, new), point
        if act != "make":
            assert (outcome.status is DONE) == (now == new), (point, outcome)
        assert outcome.status in (DONE, UNCHANGED, FAILED, CANCELLED), point
        assert world.done(desk.make(world.ask, scope)).status in (DONE, UNCHANGED), point
        require_clean(world, set())
        if now != before:
            assert world.done(desk.undo(world.ask, scope)).status is DONE, point
            assert world.state() == before, point
        return happened

    def _ordered(self, act: str) -> Job:
        desk, ask = self._world.office.desk, self._world.ask
        if act == "make":
            return desk.make(ask, self._scope)
        if act == "undo":
            return desk.undo(ask, self._scope)
        return desk.restore(ask, self._scope, self.good.name)

    def _move(self, act: str, step: str, error: str) -> bool:
        """Of a snapshot into the trash, or back: it is whole, and in one of both places."""
        world, desk, name = self._world, self._world.office.desk, self.good.name

        def is_listed() -> bool:
            tops = [world.settings.repository, world.settings.repository / ".trash"]  # a list has pages, a disk has not
            found = [(self._scope.stored_folder(top) / name).is_dir() for top in tops]
            assert sum(found) == 1, f"{act}: {error} before {step}"
            return found[0]

        def move(office: Office) -> None:
            (office.desk.delete if act == "delete" else office.desk.undelete)(world.ask, self._scope, name)

        if act == "undelete":
            desk.delete(world.ask, self._scope, name)
        before = world.state()
        happened = self._during(step, error, move)
        self._gone()
        if not is_listed():
            desk.undelete(world.ask, self._scope, name)
        found = desk.snapshot(world.ask, self._scope, name)
        require_whole(world.stored(found), found)
        assert found.deleted_at is None
        assert world.state() == before
        return happened

    def _put_beside(self, act: str, step: str, error: str) -> bool:
        """A copy, or a project as a new one: it is wholly there or not at all, the job says which."""
        look = Copied(self._world, self.good, self.after) if act == "copy" else Duplicated(self._world, self.good)
        job = look.ordered()
        happened = self._during(step, error, lambda office: self._work(office, job))
        outcome = self._recovered(job)
        assert outcome.status in (DONE, FAILED), (act, step, error, outcome)
        try:
            look.require(job, is_there=outcome.status is DONE)
        except AssertionError as wrong:
            raise AssertionError(f"{act}: {error} before {step}, told as {outcome}") from wrong
        require_clean(self._world, self._checked)
        return happened

    @staticmethod
    def _work(office: Office, job: Job) -> None:
        claim = office.jobs.claim(only=job.id)
        if claim is not None:
            office.work.run(claim)

    def _during(self, step: str, error: str, work: Callable[[Office], object]) -> bool:
        """Whether the step was met in that work; what the work raises is the end of its process.

        Parameters
        ----------
        step: its name; `name:2` is meant at its second call.
        """
        happened = threading.Event()
        step, _, call = step.partition(":")
        calls = count(1)

        def passing(when: str, number: int) -> int:
            if when == "before" and next(calls) == int(call or 1):
                happened.set()
                ERRORS[error](self._server)
            return number

        with pytest.MonkeyPatch.context() as patch:
            outer = wrapped(step, passing)
            for place, name in places(step):
                patch.setattr(place, name, outer)
            office = build(self._world.settings)
            try:
                work(office)
            except Exception as raised:
                log.info("test.ended", by=repr(raised))
                self._gone()
            finally:
                office.database.client.close()
        return happened.is_set()

    def _gone(self) -> None:
        """As a process leaves what it held that ended by an error: nobody prolongs it, and its holder is no more."""
        for thread in threading.enumerate():
            if thread.name.startswith("lease "):
                lease: Any = getattr(thread, "_target").__self__  # noqa: B009
                lease.abandon()
        locks = self._world.client[self._world.settings.control_database].locks
        locks.update_many({}, {"$set": {"active.$[].holder.started": 0}})

    def _recovered(self, job: Job) -> Outcome:
        office = build(self._world.settings)
        try:
            assert office.work.recover() == 0
            found = office.jobs.get(job.id)
            if found.state is JobState.QUEUED:
                found = office.work.run_job(job.id)
            assert found.state is JobState.ENDED, found.state
            assert found.outcome is not None
            return found.outcome
        finally:
            office.database.client.close()

"""Jobs whose worker is gone: killed, frozen, or on another machine; and many workers at once. Real processes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import pytest
from keyframe.claims import Claim
from keyframe.errors import BusyError, CancelledError, UnavailableError
from keyframe.jobs import WORKER_LOST, Jobs
from keyframe.model import Action, JobState, Outcome, OutcomeStatus, Progress, Scope
from keyframe.stores.jobs import JobStore
from keyframe.stores.locks import Holder, ScopeLocks
from pymongo import MongoClient
from queue_world import DONE, FIRST, SITE, ControlDatabase, jobs_in, order

SPAWN = multiprocessing.get_context("spawn")

# What other processes do; each tells when it got there.


def claim_until_killed(uri: str, name: str, tell: Connection) -> None:
    with MongoClient[dict[str, Any]](uri) as client:
        claim = jobs_in(client[name]).claim()
        tell.send(claim.job.id if claim else None)
        signal.pause()


def hold_until_killed(uri: str, name: str, tell: Connection) -> None:
    with MongoClient[dict[str, Any]](uri) as client, jobs_in(client[name]).hold(SITE, "deletion"):
        tell.send("held")
        signal.pause()


def take_and_do_not_begin(uri: str, name: str, tell: Connection) -> None:
    """As a worker that is killed between taking the scope and starting the job."""
    with MongoClient[dict[str, Any]](uri) as client:
        job = JobStore(client[name]).queued()[0]
        ScopeLocks(client[name]).take(SITE, job.id, "half a claim", 30)
        tell.send("taken")
        signal.pause()


def work_with_a_short_lease(uri: str, name: str, tell: Connection) -> None:
    """Tells how its claim ended: `CancelledError` once somebody else has taken it over, and what its own end became."""
    with MongoClient[dict[str, Any]](uri) as client:
        claim = jobs_in(client[name], lease=2).claim()
        assert claim is not None
        tell.send(claim.job.id)
        try:
            for done in range(100_000):
                claim.progress(Progress("copy", 1, 1, done, 100_000))
                time.sleep(0.01)
        except CancelledError as error:
            tell.send(error.what)
        tell.send(claim.end(DONE).outcome)


def work_off_the_queue(uri: str, name: str, tell: Connection) -> None:
    """Does all there is, a few milliseconds each, and notes from when to when."""
    with MongoClient[dict[str, Any]](uri) as client:
        jobs, notes = jobs_in(client[name]), client[name]["notes"]
        tell.send("ready")
        while True:
            claim = jobs.claim()
            if claim is None:
                if not JobStore(client[name]).queued():
                    return
                time.sleep(random.uniform(0, 0.02))
                continue
            began = time.monotonic()
            time.sleep(random.uniform(0.001, 0.01))
            notes.insert_one(
                {"job": claim.job.id, "scope": claim.job.order.scope.key, "from": began, "to": time.monotonic()}
            )
            claim.end(DONE)


class Other:
    """Another process, working in the same control database."""

    def __init__(self, what: Callable[[str, str, Connection], None], uri: str, name: str) -> None:
        self._pipe, theirs = SPAWN.Pipe(duplex=False)
        self.process = SPAWN.Process(target=what, args=(uri, name, theirs))
        self.process.start()
        theirs.close()
        self.first = self.told()

    def told(self, seconds: float = 60.0) -> Any:
        assert self._pipe.poll(seconds), "the other process did not get there"
        return self._pipe.recv()

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


Start = Callable[[Callable[[str, str, Connection], None]], Other]


@pytest.fixture
def start(mongo_uri: str, control_database: ControlDatabase) -> Iterator[Start]:
    """Starts another process; it is killed with the test, by its id."""
    started: list[Other] = []

    def begin(what: Callable[[str, str, Connection], None]) -> Other:
        started.append(Other(what, mongo_uri, control_database.name))
        return started[-1]

    yield begin
    for other in started:
        other.kill()


@pytest.fixture
def jobs(control_database: ControlDatabase) -> Jobs:
    return jobs_in(control_database)


@pytest.mark.parametrize("act", [Action.MAKE, Action.PREVIEW])
def test_a_job_whose_worker_was_killed_fails_at_once(jobs: Jobs, start: Start, act: Action) -> None:
    job = jobs.submit(order(act=act))
    worker = start(claim_until_killed)
    assert jobs.sweep() == ()
    worker.kill()

    swept = jobs.sweep(never_asked)

    assert [one.id for one in swept] == [job.id]
    ended = jobs.get(job.id)
    assert ended.state is JobState.ENDED
    assert ended.outcome == WORKER_LOST
    assert jobs.sweep() == ()
    with jobs.hold(SITE, "deletion"):
        pass


def never_asked(claim: Claim) -> Outcome | None:
    raise AssertionError(f"asked about {claim.job.order.act}")


@pytest.mark.parametrize("act", [Action.RESTORE, Action.UNDO])
def test_how_a_restore_of_a_killed_worker_came_out_is_asked(jobs: Jobs, start: Start, act: Action) -> None:
    job = jobs.submit(order(act=act))
    start(claim_until_killed).kill()
    outcome = Outcome(OutcomeStatus.DONE, snapshot="s", safety="t")

    def recovered(lost: Claim) -> Outcome:
        with pytest.raises(BusyError), jobs.hold(FIRST, "deletion"):
            pass
        return outcome if lost.job.id == job.id else DONE

    assert [one.outcome for one in jobs.sweep(recovered)] == [outcome]
    assert jobs.get(job.id).outcome == outcome


def test_a_restore_that_had_not_begun_to_change_anything_has_failed(jobs: Jobs, start: Start) -> None:
    job = jobs.submit(order(act=Action.RESTORE))
    start(claim_until_killed).kill()

    jobs.sweep(lambda _: None)

    assert jobs.get(job.id).outcome == WORKER_LOST


def test_a_restore_that_cannot_be_recovered_now_is_met_again_and_keeps_its_scope(jobs: Jobs, start: Start) -> None:
    job = jobs.submit(order(act=Action.RESTORE))
    jobs.submit(order(scope=FIRST))
    start(claim_until_killed).kill()

    def not_now(_: Claim) -> Outcome:
        raise UnavailableError("the database is away.")

    for _ in range(2):
        with pytest.raises(UnavailableError):
            jobs.sweep(not_now)
        assert jobs.get(job.id).state is JobState.RUNNING
        assert jobs.claim() is None

    assert [one.outcome for one in jobs.sweep(lambda _: DONE)] == [DONE]
    claim = jobs.claim()
    assert claim is not None
    claim.end(DONE)


def test_a_killed_short_act_does_not_keep_its_scope(jobs: Jobs, start: Start) -> None:
    other = start(hold_until_killed)
    with pytest.raises(BusyError), jobs.hold(FIRST, "another"):
        pass
    other.kill()

    with jobs.hold(FIRST, "another"):
        pass


def test_a_worker_killed_before_it_began_leaves_the_job_to_the_next(jobs: Jobs, start: Start) -> None:
    job = jobs.submit(order())
    other = start(take_and_do_not_begin)
    assert jobs.claim() is None
    other.kill()

    claim = jobs.claim()

    assert claim is not None
    assert claim.end(DONE).id == job.id


def test_a_scope_whose_worker_was_killed_between_end_and_release_is_free(
    jobs: Jobs, start: Start, control_database: ControlDatabase
) -> None:
    job = jobs.submit(order())
    worker = start(claim_until_killed)
    worker.kill()
    # The end as the worker would have written it, had it lived a moment longer.
    running = jobs.get(job.id)

    assert JobStore(control_database).end(job.id, running.fence, DONE, running.progress) is not None

    with jobs.hold(SITE, "deletion"):
        pass


def elsewhere(database: ControlDatabase) -> None:
    """Let all that is held now be held by another machine, whose processes nobody here can see."""
    database["locks"].update_one({}, {"$set": {"active.$[].holder.host": "another machine"}})


def test_a_worker_of_another_machine_is_given_its_lease(
    jobs: Jobs, start: Start, control_database: ControlDatabase
) -> None:
    job = jobs.submit(order())
    start(claim_until_killed).kill()
    elsewhere(control_database)
    assert jobs.sweep() == ()
    assert jobs.get(job.id).state is JobState.RUNNING

    control_database["locks"].update_one({}, [{"$set": {"active": expired("$active")}}])

    assert [one.id for one in jobs.sweep()] == [job.id]


def expired(entries: str) -> dict[str, Any]:
    past = {"until": {"$subtract": ["$$NOW", 1000]}}
    return {"$map": {"input": entries, "as": "one", "in": {"$mergeObjects": ["$$one", past]}}}


def test_a_frozen_worker_writes_nothing_when_it_thaws(jobs: Jobs, start: Start) -> None:
    job = jobs.submit(order())
    worker = start(work_with_a_short_lease)
    worker.signal(signal.SIGSTOP)
    deadline = time.monotonic() + 60
    while not jobs.sweep():
        assert time.monotonic() < deadline, "the lease did not lapse"
        time.sleep(0.2)
    with jobs.hold(SITE, "deletion"):
        worker.signal(signal.SIGCONT)

        assert "taken over" in worker.told()
        assert worker.told() == WORKER_LOST
        with pytest.raises(BusyError), jobs.hold(SITE, "another"):
            pass
    assert jobs.get(job.id).outcome == WORKER_LOST


def test_a_process_with_the_id_of_a_dead_one_is_another(control_database: ControlDatabase) -> None:
    here = Holder.here()

    assert not here.is_dead()
    assert Holder(here.host, here.pid, here.started - 1).is_dead()
    assert not Holder("another machine", here.pid, here.started - 1).is_dead()


def test_a_process_that_is_dead_but_not_yet_buried_is_dead(start: Start, control_database: ControlDatabase) -> None:
    jobs_in(control_database).submit(order())
    worker = start(claim_until_killed)
    holder = ScopeLocks(control_database).entries()[0].holder
    assert not holder.is_dead()

    worker.signal(signal.SIGKILL)  # not waited for: it stays in the table of processes

    deadline = time.monotonic() + 30
    while not holder.is_dead():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_of_many_that_sweep_one_ends_a_lost_job(jobs: Jobs, start: Start, control_database: ControlDatabase) -> None:
    jobs.submit(order(act=Action.RESTORE))
    start(claim_until_killed).kill()
    asked: list[str] = []

    def recovered(claim: Claim) -> Outcome:
        asked.append(claim.job.id)
        assert jobs_in(control_database).sweep(never_asked) == ()
        return DONE

    assert len(jobs.sweep(recovered)) == 1
    assert len(asked) == 1


def test_several_workers_do_each_job_once_and_never_two_of_one_scope(
    jobs: Jobs, start: Start, control_database: ControlDatabase
) -> None:
    scopes = [SITE, *(Scope.project(f"65a{number}") for number in range(4))]
    chance = random.Random(3)
    submitted = [jobs.submit(order(scope=chance.choice(scopes))) for _ in range(60)]

    with several(start, 3):
        for job in submitted:
            assert jobs.wait(job.id, 120).outcome == DONE

    notes = list(control_database["notes"].find().sort("from", 1))
    assert sorted(note["job"] for note in notes) == sorted(job.id for job in submitted)
    for position, earlier in enumerate(notes):
        for later in notes[position + 1 :]:
            if "site" in (earlier["scope"], later["scope"]) or earlier["scope"] == later["scope"]:
                assert later["from"] >= earlier["to"], f"{earlier['scope']} and {later['scope']} at once"
    for scope in scopes:
        in_order = [job.id for job in submitted if job.order.scope == scope]
        assert [note["job"] for note in notes if note["scope"] == scope.key] == in_order
    assert ScopeLocks(control_database).entries() == ()


@contextmanager
def several(start: Start, number: int) -> Iterator[None]:
    workers = [start(work_off_the_queue) for _ in range(number)]
    yield
    for worker in workers:
        worker.process.join(60)
        assert worker.process.exitcode == 0

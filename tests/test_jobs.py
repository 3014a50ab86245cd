"""Jobs in a real control database: who may work on what, in which order, and how each ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from keyframe.claims import Claim
from keyframe.errors import BusyError, NotFoundError, Problem, UnavailableError
from keyframe.jobs import Jobs
from keyframe.model import Action, Actor, Job, JobState, Order, Outcome, OutcomeStatus, Progress, Scope, Selection
from mongod import free_port
from pymongo import MongoClient
from queue_world import DONE, FIRST, OLGA, SECOND, SITE, ControlDatabase, claimed, jobs_in, order


@pytest.fixture
def jobs(control_database: ControlDatabase) -> Jobs:
    return jobs_in(control_database)


@pytest.fixture
def claims() -> Iterator[list[Claim]]:
    """What is put in here is ended with the test, or its thread would live on."""
    held: list[Claim] = []
    yield held
    for claim in held:
        claim.end(DONE)


def test_a_job_is_queued_then_runs_then_has_ended(jobs: Jobs) -> None:
    wanted = Order(
        Action.RESTORE,
        SITE,
        OLGA,
        note="before the fair",
        source=SITE,
        snapshot="2026-11-21T10-53-15Z",
        selection=Selection(projects=("65a1",)),
        people=True,
        plan="d" * 64,
    )
    outcome = Outcome(
        OutcomeStatus.PARTIAL,
        safety="2026-11-21T11-00-00Z",
        problems=(Problem("changed", "It would not hold still.", "a/$b.c", "Try again."),),
        report={"digest": "d" * 64, "creates": {"files": 1}, "warnings": []},
    )

    job = jobs.submit(wanted)
    claim = claimed(jobs)
    running = jobs.get(job.id)
    claim.end(outcome)
    ended = jobs.get(job.id)

    assert (job.state, job.order, job.outcome, job.started_at) == (JobState.QUEUED, wanted, None, None)
    assert (running.state, running.order, running.ended_at) == (JobState.RUNNING, wanted, None)
    assert (ended.state, ended.outcome) == (JobState.ENDED, outcome)
    assert running.fence > job.fence
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert job.created_at <= ended.started_at <= ended.ended_at
    assert ended.ended_at.tzinfo is not None


@pytest.mark.parametrize("job_id", ["", "x", "0" * 24, "65a1\0", "\ud800", "$where", "x" * 10_000, "../0"])
def test_an_unknown_or_malformed_job_is_not_found(jobs: Jobs, job_id: str) -> None:
    with pytest.raises(NotFoundError):
        jobs.get(job_id)
    with pytest.raises(NotFoundError):
        jobs.wait(job_id, 1)
    assert jobs.claim(only=job_id) is None


def test_nothing_to_do_is_nothing_to_claim(jobs: Jobs) -> None:
    assert jobs.claim() is None
    assert jobs.sweep() == ()


def test_the_oldest_job_of_a_scope_is_claimed_first(jobs: Jobs) -> None:
    submitted = [jobs.submit(order(FIRST)).id for _ in range(3)]

    done = []
    while claim := jobs.claim():
        assert jobs.claim() is None
        done.append(claim.end(DONE).id)

    assert done == submitted


def test_two_projects_are_worked_on_at_once_but_each_by_one(jobs: Jobs, claims: list[Claim]) -> None:
    jobs.submit(order(FIRST))
    jobs.submit(order(FIRST))
    jobs.submit(order(SECOND))

    claims += [claimed(jobs), claimed(jobs)]

    assert {claim.job.order.scope for claim in claims} == {FIRST, SECOND}
    assert jobs.claim() is None


@pytest.mark.parametrize(("running", "waiting"), [(SITE, FIRST), (FIRST, SITE), (SITE, SITE), (FIRST, FIRST)])
def test_a_scope_is_not_worked_on_while_one_inside_or_around_it_is(jobs: Jobs, running: Scope, waiting: Scope) -> None:
    jobs.submit(order(running))
    first = claimed(jobs)
    second = jobs.submit(order(waiting))

    assert jobs.claim() is None
    assert jobs.claim(only=second.id) is None
    first.end(DONE)
    assert claimed(jobs).end(DONE).id == second.id


def test_nothing_newer_is_claimed_while_the_site_waits(jobs: Jobs) -> None:
    jobs.submit(order(FIRST))
    first = claimed(jobs)
    site = jobs.submit(order(SITE))
    newer = jobs.submit(order(SECOND))

    assert jobs.claim() is None
    first.end(DONE)
    of_site = claimed(jobs)
    assert of_site.job.id == site.id
    assert jobs.claim() is None
    of_site.end(DONE)
    assert claimed(jobs).end(DONE).id == newer.id


def test_just_the_job_that_was_named_is_claimed(jobs: Jobs) -> None:
    jobs.submit(order(FIRST))
    second = jobs.submit(order(SECOND))

    claim = claimed(jobs, only=second.id)

    assert claim.end(DONE).id == second.id
    assert jobs.claim(only=second.id) is None


def test_jobs_of_a_scope_are_listed_newest_first(jobs: Jobs) -> None:
    ids = [jobs.submit(order(FIRST)).id for _ in range(3)]
    jobs.submit(order(SITE))

    assert [job.id for job in jobs.of_scope(FIRST)] == ids[::-1]
    assert [job.id for job in jobs.of_scope(FIRST, limit=2)] == ids[:0:-1]
    assert jobs.of_scope(SECOND) == ()


def test_the_latest_restore_is_the_last_that_carried_something_out(jobs: Jobs) -> None:
    def run(act: Action, status: OutcomeStatus, scope: Scope = FIRST) -> str:
        clean = status in (OutcomeStatus.DONE, OutcomeStatus.UNCHANGED)
        problems = () if clean else (Problem("internal", "Something."),)
        job = jobs.submit(Order(act, scope, OLGA, snapshot="s"))
        return claimed(jobs).end(Outcome(status, problems=problems)).id if job else ""

    assert jobs.latest_restore(FIRST) is None
    run(Action.RESTORE, OutcomeStatus.DONE)
    partial = run(Action.UNDO, OutcomeStatus.PARTIAL)
    run(Action.RESTORE, OutcomeStatus.FAILED)
    run(Action.RESTORE, OutcomeStatus.UNCHANGED)
    run(Action.MAKE, OutcomeStatus.DONE)
    run(Action.RESTORE, OutcomeStatus.DONE, SITE)

    found = jobs.latest_restore(FIRST)
    assert found is not None
    assert found.id == partial


def test_who_waits_gets_the_job_as_soon_as_it_has_ended(jobs: Jobs) -> None:
    job = jobs.submit(order(SITE))
    claim = claimed(jobs)
    timer = threading.Timer(0.4, lambda: claim.end(DONE))
    timer.start()

    began = time.monotonic()
    ended = jobs.wait(job.id, 60)
    timer.join()

    assert ended.state is JobState.ENDED
    assert time.monotonic() - began < 20


def test_who_waits_too_short_gets_the_job_as_it_stands(jobs: Jobs) -> None:
    job = jobs.submit(order(SITE))

    assert jobs.wait(job.id, 0.2).state is JobState.QUEUED
    assert jobs.wait(job.id, 0).state is JobState.QUEUED


def test_a_waited_for_job_has_left_its_scope(jobs: Jobs) -> None:
    for _ in range(20):
        job = jobs.submit(order(SITE))
        claim = claimed(jobs)
        ending = threading.Thread(target=claim.end, args=(DONE,))
        ending.start()
        jobs.wait(job.id, 60)

        with jobs.hold(SITE, "deletion"):
            pass
        ending.join()


def test_a_short_act_holds_the_scope_and_names_itself(jobs: Jobs) -> None:
    jobs.submit(order(FIRST))
    with jobs.hold(FIRST, "deletion by Olga"):
        assert jobs.claim() is None
        with pytest.raises(BusyError) as busy, jobs.hold(SITE, "another"):
            pass
        with jobs.hold(SECOND, "another"):
            pass

    assert busy.value.subject == "deletion by Olga"
    claimed(jobs).end(DONE)


def test_a_short_act_is_told_which_job_is_in_its_way_and_how_far_it_is(jobs: Jobs, claims: list[Claim]) -> None:
    jobs.submit(Order(Action.RESTORE, SITE, OLGA, snapshot="s"))
    claims.append(claimed(jobs))
    claims[0].progress(Progress("copy", 1, 3, 40, 100, "bytes"))

    with pytest.raises(BusyError) as busy, jobs.hold(FIRST, "deletion"):
        pass

    assert busy.value.subject == "restore of the site by Olga Organiser"
    assert "40 %" in busy.value.what


def test_a_scope_is_free_again_when_a_short_act_fails(jobs: Jobs) -> None:
    with pytest.raises(OSError, match="inside"), jobs.hold(SITE, "deletion"):
        raise OSError("inside")

    with jobs.hold(SITE, "deletion"):
        pass


def test_text_that_looks_like_an_expression_is_only_text(jobs: Jobs) -> None:
    strange = Actor("$$NOW", "$fence", "admin", "api")
    jobs.submit(Order(Action.MAKE, SITE, strange, note="$where \udcff"))

    claim = claimed(jobs)
    with pytest.raises(BusyError) as busy, jobs.hold(SITE, "$active"):
        pass

    assert busy.value.subject == "make of the site by $fence"
    assert claim.end(DONE).order.actor == strange


def test_a_worker_is_alive_while_it_beats(jobs: Jobs, control_database: ControlDatabase) -> None:
    assert not jobs.worker_alive()
    jobs.beat("one")
    assert jobs.worker_alive()
    control_database["workers"].update_many({}, [{"$set": {"beat_at": {"$subtract": ["$$NOW", 5_500]}}}])
    assert not jobs.worker_alive()
    jobs.beat("one")
    jobs.beat("two")
    jobs.leave("one")
    assert jobs.worker_alive()
    jobs.leave("two")
    assert not jobs.worker_alive()


def test_a_server_that_is_away_is_said_to_be_away() -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    with MongoClient[dict[str, Any]](uri) as client:
        jobs = jobs_in(client["control"])

        for ask in (
            lambda: jobs.submit(order(SITE)),
            lambda: jobs.get("0" * 24),
            lambda: jobs.wait("0" * 24, 1),
            lambda: jobs.of_scope(SITE),
            lambda: jobs.latest_restore(SITE),
            jobs.claim,
            jobs.hold(SITE, "deletion").__enter__,
            lambda: jobs.beat("one"),
            lambda: jobs.leave("one"),
            jobs.worker_alive,
            jobs.sweep,
        ):
            with pytest.raises(UnavailableError):
                ask()


def test_ended_jobs_are_never_ended_again(jobs: Jobs) -> None:
    jobs.submit(order(SITE))
    job: Job = claimed(jobs).end(DONE)

    assert jobs.sweep() == ()
    assert jobs.get(job.id).outcome == DONE

"""A running job: its progress, its end, and its lease while the server is away. On a real server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keyframe.claims import Claim
from keyframe.errors import BusyError, CancelledError
from keyframe.jobs import Jobs
from keyframe.model import Progress
from keyframe.stores.jobs import JobStore
from keyframe.stores.locks import ScopeLocks
from mongod import Mongod
from pymongo import MongoClient
from queue_world import DONE, SITE, ControlDatabase, claimed, jobs_in, order


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


def test_a_new_stage_is_written_at_once_and_the_rest_at_most_four_times_a_second(
    jobs: Jobs, claims: list[Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Progress] = []
    write = JobStore.progress

    def counted(store: JobStore, job_id: str, fence: int, progress: Progress) -> bool:
        written.append(progress)
        return write(store, job_id, fence, progress)

    monkeypatch.setattr(JobStore, "progress", counted)
    job = jobs.submit(order(SITE))
    claim = claimed(jobs)
    claims.append(claim)

    claim.progress(Progress("copy", 1, 2, 0, 10_000, "bytes"))
    assert jobs.get(job.id).progress.stage == "copy"
    began = time.monotonic()
    for done in range(10_000):
        claim.progress(Progress("copy", 1, 2, done, 10_000, "bytes", "a\udc80.glb"))
    seconds = time.monotonic() - began
    assert len(written) <= 2 + seconds * 4
    claim.progress(Progress("dump", 2, 2, 0, 3, "records"))
    assert jobs.get(job.id).progress.stage == "dump"


def test_progress_never_goes_back(jobs: Jobs) -> None:
    job = jobs.submit(order(SITE))
    claim = claimed(jobs)

    claim.progress(Progress("copy", 1, 2, 5, 10))
    claim.progress(Progress("dump", 2, 2, 3, 10))
    claim.progress(Progress("copy", 1, 2, 9, 10))
    claim.progress(Progress("dump", 2, 2, 1, 10))

    assert jobs.get(job.id).progress == Progress("dump", 2, 2, 3, 10)
    claim.end(DONE)
    assert jobs.get(job.id).progress == Progress("dump", 2, 2, 3, 10)


def test_a_stopped_claim_says_so_at_its_next_step(jobs: Jobs, claims: list[Claim]) -> None:
    jobs.submit(order(SITE))
    claim = claimed(jobs)
    claims.append(claim)
    claim.check()

    threading.Thread(target=claim.stop).start()

    with pytest.raises(CancelledError, match="is ending"):
        for _ in range(500):
            claim.check()
            time.sleep(0.01)
    with pytest.raises(CancelledError):
        claim.progress(Progress("copy"))


def test_a_job_outlives_a_server_that_was_away_for_longer_than_its_lease(tmp_path: Path) -> None:
    server = Mongod(tmp_path).start()
    try:
        with MongoClient[dict[str, Any]](server.uri, serverSelectionTimeoutMS=300) as client:
            jobs = jobs_in(client["control"], lease=2)
            job = jobs.submit(order(SITE))
            claim = claimed(jobs)
            server.stop()
            time.sleep(3)
            claim.check()
            claim.progress(Progress("copy", 1, 2))
            ending = threading.Thread(target=claim.end, args=(DONE,))
            ending.start()
            time.sleep(1)
            server.start()
            ending.join()

            assert jobs.get(job.id).outcome == DONE
            with jobs.hold(SITE, "deletion"):
                pass
    finally:
        server.stop()


def test_a_lease_that_lapsed_while_the_server_hung_is_renewed_if_nobody_took_it(tmp_path: Path) -> None:
    server = Mongod(tmp_path).start()
    try:
        with MongoClient[dict[str, Any]](server.uri) as client:
            jobs = jobs_in(client["control"], lease=2)
            jobs.submit(order(SITE))
            claim = claimed(jobs)
            server.freeze()
            time.sleep(3)
            server.thaw()
            time.sleep(2)

            claim.check()
            entry = ScopeLocks(client["control"]).entries()[0]
            assert not entry.lapsed
            assert claim.end(DONE).outcome == DONE
    finally:
        server.stop()


def test_a_claim_is_renewed_for_as_long_as_it_lasts(control_database: ControlDatabase) -> None:
    jobs, others = jobs_in(control_database, lease=2), jobs_in(control_database, lease=2)
    jobs.submit(order(SITE))
    claim = claimed(jobs)
    with pytest.raises(BusyError), others.hold(SITE, "deletion"):
        pass

    time.sleep(4)

    assert others.sweep() == ()
    assert claim.end(DONE).outcome == DONE


def test_an_abandoned_job_is_met_by_a_sweep_when_its_lease_has_lapsed(control_database: ControlDatabase) -> None:
    jobs = jobs_in(control_database, lease=2)
    job = jobs.submit(order(SITE))
    claimed(jobs).abandon()
    assert jobs.sweep() == ()

    time.sleep(2.5)

    assert [one.id for one in jobs.sweep()] == [job.id]
    with jobs.hold(SITE, "deletion"):
        pass

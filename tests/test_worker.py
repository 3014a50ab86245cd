"""The worker process: it outlives a database that goes away, and brings its job to a safe point when asked to end."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyframe.doors.office import Office
from keyframe.model import JobState, OutcomeStatus, Scope
from keyframe.settings import Settings
from keyframe.wiring import build
from mongod import Mongod
from program import KEYFRAME, environment, until
from sampled import fill_sample

SITE = Scope.site()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Mongod]:
    """A server that the test may stop and start."""
    server = Mongod(tmp_path / "mongod")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def office(own: Mongod, tmp_path: Path) -> Iterator[Office]:
    settings = Settings(
        var=tmp_path / "var",
        mongo={"uri": own.uri, "database": f"worker_{secrets.token_hex(6)}", "timeout": 1},  # type: ignore[arg-type]
    )
    settings.var.mkdir()
    found = build(settings)
    fill_sample(settings, found.database)
    yield found
    found.database.client.close()


@pytest.fixture
def worker(office: Office) -> Iterator[subprocess.Popen[bytes]]:
    mongo = office.settings.mongo
    assert mongo.uri is not None
    variables = {
        "KEYFRAME_MONGO__URI": mongo.uri,
        "KEYFRAME_MONGO__DATABASE": mongo.database,
        "KEYFRAME_MONGO__TIMEOUT": str(mongo.timeout),
    }
    process = subprocess.Popen(
        [str(KEYFRAME), "worker"], env=environment(office.settings.var, **variables), cwd=office.settings.var.parent
    )
    try:
        until(office.jobs.worker_alive, 30, "the worker's beat")
        yield process
    finally:
        process.kill()
        process.wait()


def made(office: Office) -> OutcomeStatus:
    (office.settings.working / "note.txt").write_text(secrets.token_hex(4))
    job = office.desk.make(office.login.shell_actor(), SITE)
    outcome = office.jobs.wait(job.id, 60).outcome
    assert outcome is not None
    return outcome.status


def test_a_worker_outlives_a_database_that_goes_away_and_says_so_once(
    own: Mongod, office: Office, worker: subprocess.Popen[bytes]
) -> None:
    assert made(office) is OutcomeStatus.DONE
    own.stop()
    log = office.settings.var / "log" / "worker.log"

    def events(name: str) -> list[str]:
        return [line["act"] for line in map(json.loads, log.read_text().splitlines()) if line["event"] == name]

    until(lambda: set(events("worker.waits")) >= {"_beat", "_claim"}, 60, "the worker's notice")
    assert worker.poll() is None
    own.start()

    assert made(office) is OutcomeStatus.DONE
    assert sorted(events("worker.waits")) == sorted(set(events("worker.waits")))


def test_a_worker_asked_to_end_stops_its_job_at_a_safe_point(office: Office, worker: subprocess.Popen[bytes]) -> None:
    with (office.settings.working / "big.bin").open("wb") as file:
        file.truncate(1_000_000_000)
    job = office.desk.make(office.login.shell_actor(), SITE)
    until(lambda: office.jobs.get(job.id).progress.done > 0, 30, "the job's progress")

    worker.send_signal(signal.SIGTERM)

    assert worker.wait(25) == 0
    ended = office.jobs.get(job.id)
    assert ended.state is JobState.ENDED
    assert ended.outcome is not None
    assert ended.outcome.status is OutcomeStatus.CANCELLED
    assert office.desk.snapshots(office.login.shell_actor(), SITE).items == ()
    assert not office.jobs.worker_alive()

"""A worker that is frozen (SIGSTOP) for longer than its lease: another takes over, and it does no harm afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyframe.model import Job, JobState, OutcomeStatus
from world import PROJECT, World, new_world

pytestmark = pytest.mark.usefixtures("quick_transactions")

LEASE = 2.0  # seconds; the shortest that there is
WORKER = """
import importlib, os, signal, sys
from pathlib import Path
from keyframe.settings import Settings
from keyframe.wiring import build

var, uri, database, lease, job, module, owner, name = sys.argv[1:]
place = getattr(importlib.import_module(f"keyframe.{module}"), owner)
inner = getattr(place, name)

def freezing(*args, **kwargs):
    result = inner(*args, **kwargs)
    setattr(place, name, inner)
    os.kill(os.getpid(), signal.SIGSTOP)
    return result

setattr(place, name, freezing)
mongo = {"uri": uri, "database": database}
office = build(Settings(var=Path(var), run_mode="test", mongo=mongo, jobs={"lease": float(lease)}))
office.work.run_job(job)
"""


@pytest.fixture
def world(mongo_uri: str, tmp_path: Path) -> Iterator[World]:
    with new_world(mongo_uri, tmp_path, jobs={"lease": LEASE}) as made:
        yield made


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    found: list[subprocess.Popen[bytes]] = []
    yield found
    for one in found:
        one.kill()
        one.wait(10)


def freeze(world: World, started: list[subprocess.Popen[bytes]], job: Job, *point: str) -> subprocess.Popen[bytes]:
    """A process that does the job, and is stopped behind a function; its lease has lapsed by now."""
    settings = world.settings
    words = (str(settings.var), settings.mongo.uri or "", settings.mongo.database, str(LEASE), job.id, *point)
    process = subprocess.Popen([sys.executable, "-c", WORKER, *words], stderr=subprocess.DEVNULL)
    started.append(process)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < deadline, "it was never stopped"
        assert process.poll() is None, "it ended before it was stopped"
        time.sleep(0.02)
    time.sleep(LEASE + 1)
    return process


def ended(world: World, job: Job) -> Job:
    """The job, after another worker has swept; leases count in whole milliseconds of the server's clock."""
    deadline = time.monotonic() + 60
    while world.office.desk.job(world.ask, job.id).state is not JobState.ENDED:
        assert time.monotonic() < deadline
        world.office.work.recover()
        time.sleep(0.2)
    return world.office.desk.job(world.ask, job.id)


BEGUN = (
    ("backup.staging", "Staging", "_place"),
    ("stores.intents", "Intents", "write"),
    ("stores.mongo_write", "MongoWriter", "_write"),
)
NOT_BEGUN = (("backup.staging", "Staging", "_stage"), ("backup.recheck", "Recheck", "is_still"))


@pytest.mark.parametrize("point", BEGUN, ids=lambda one: one[2])
def test_one_that_had_begun_to_change_is_killed_and_its_restore_finished(
    world: World, started: list[subprocess.Popen[bytes]], point: tuple[str, ...]
) -> None:
    wanted = world.state()
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    frozen = freeze(world, started, job, *point)

    outcome = ended(world, job).outcome

    assert outcome is not None
    assert outcome.status is OutcomeStatus.DONE
    assert frozen.wait(10) == -signal.SIGKILL
    assert world.state() == wanted


@pytest.mark.parametrize("point", NOT_BEGUN, ids=lambda one: one[2])
def test_one_that_had_not_changes_nothing_when_it_thaws(
    world: World, started: list[subprocess.Popen[bytes]], point: tuple[str, ...]
) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    frozen = freeze(world, started, job, *point)

    outcome = ended(world, job).outcome
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.wait(60)

    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert world.state() == before
    assert world.office.intents.open() == ()
    assert world.office.desk.job(world.ask, job.id).outcome == outcome  # nor does it write over how the job ended


def test_a_make_that_thaws_publishes_nothing(world: World, started: list[subprocess.Popen[bytes]]) -> None:
    job = world.office.desk.make(world.ask, PROJECT)
    frozen = freeze(world, started, job, "stores.draft", "Draft", "finish")

    outcome = ended(world, job).outcome
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.wait(60)

    assert outcome is not None
    assert outcome.status is OutcomeStatus.FAILED
    assert world.office.desk.snapshots(world.ask, PROJECT).items == ()
    assert world.make(PROJECT).status == "done"

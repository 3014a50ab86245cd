"""An interrupted restore while the database is away: it is named all the same, waited for, and can be turned back."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_child import Crasher
from keyframe.model import Job, Order, OutcomeStatus
from mongod import Mongod
from program import call
from test_recover import command, interrupted
from world import PROJECT, World, new_world

OF = ("--project", PROJECT.project_id or "")


@pytest.fixture
def private(tmp_path: Path) -> Iterator[tuple[World, Mongod]]:
    """A world on a server of its own, which can be frozen."""
    server = Mongod(tmp_path / "mongod").start()
    try:
        with new_world(server.uri, tmp_path) as world:
            yield world, server
            server.thaw()
    finally:
        server.stop()


def program(world: World, *words: str) -> subprocess.CompletedProcess[str]:
    """A command as a program of its own, which waits half a second for the server."""
    mongo = world.settings.mongo
    return call(
        world.settings.var,
        *words,
        KEYFRAME_RUN_MODE="test",
        KEYFRAME_MONGO__URI=str(mongo.uri),
        KEYFRAME_MONGO__DATABASE=mongo.database,
        KEYFRAME_MONGO__TIMEOUT="0.5",
    )


def test_without_a_database_what_is_unfinished_is_named_and_waited_for(
    private: tuple[World, Mongod], crasher: Crasher
) -> None:
    world, server = private
    wanted = world.state()
    _, job = interrupted(world, crasher)
    server.freeze()

    began = time.monotonic()
    ended = program(world, "recover", "--for", "3")
    took = time.monotonic() - began
    told = program(world, "recover", "--for", "0", "--json")
    server.thaw()

    assert ended.returncode == 8 and took >= 3
    assert f"A restore of project {PROJECT.project_id} was interrupted (job {job.id})." in ended.stderr
    assert "does not answer within 0.5 s. It is waited for." in ended.stderr
    assert f"not finished yet (job {job.id}), and nobody can write there" in ended.stderr
    assert "Nothing was changed" not in ended.stderr + ended.stdout
    assert told.returncode == 8
    unfinished = [{"project_id": PROJECT.project_id, "job": job.id}]
    assert json.loads(told.stdout) == {"finished": [], "unfinished": unfinished, "jobs": []}
    assert program(world, "recover").returncode == 0
    assert world.state() == wanted


def test_a_database_that_comes_back_in_time_is_enough(private: tuple[World, Mongod], crasher: Crasher) -> None:
    world, server = private
    wanted = world.state()
    _, job = interrupted(world, crasher)
    server.freeze()
    threading.Timer(4, server.thaw).start()

    ended = program(world, "recover", "--for", "30")

    assert ended.returncode == 0, ended.stderr
    assert f"finished (job {job.id})." in ended.stdout
    assert world.state() == wanted


def test_the_state_before_is_asked_for_without_a_database_and_comes_back_with_it(
    private: tuple[World, Mongod], crasher: Crasher
) -> None:
    world, server = private
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "rename:after:1").killed
    server.freeze()

    ended = program(world, "recover", "--back", "--for", "0")
    server.thaw()
    world.office.work.recover()

    assert ended.returncode == 8
    assert "The state before is asked for" in ended.stderr
    assert world.state() == before
    outcome = world.office.desk.job(world.ask, job.id).outcome
    assert outcome is not None and outcome.status is OutcomeStatus.CANCELLED


def test_where_nothing_is_unfinished_the_database_is_all_there_is_to_say(private: tuple[World, Mongod]) -> None:
    world, server = private
    server.freeze()

    ended = program(world, "recover", "--back", "--for", "0", "--json")

    assert ended.returncode == 8
    assert json.loads(ended.stdout)["code"] == "unavailable"


@pytest.mark.parametrize(("point", "said"), [
    ("rename:after:1", "The restore has begun to change things: it will be finished by a worker, or by keyframe recov"),
    ("intent:before:1", "is brought to its end then."),
])  # fmt: skip
def test_who_waits_for_a_restore_is_told_what_becomes_of_it_when_the_database_goes(
    private: tuple[World, Mongod], crasher: Crasher, point: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker does the restore; it is killed, and the server hangs."""
    world, server = private
    snapshot = world.make(PROJECT)
    world.spoil()
    world.office.jobs.beat("a worker")
    submit, began = world.office.jobs.submit, threading.Event()

    def die(job: Job) -> None:
        crasher.run(world, job.id, point)
        server.freeze()
        began.set()

    def submitted(order: Order) -> Job:
        job = submit(order)
        threading.Thread(target=die, args=(job,)).start()
        return job

    monkeypatch.setattr(world.office.jobs, "submit", submitted)
    monkeypatch.setattr("keyframe.jobs.ALIVE_SECONDS", 60.0)  # the command does not begin the job itself

    code, words = command(world, "restore", snapshot.name, *OF, "--yes")

    server.thaw()
    assert began.is_set()
    assert code == 8
    assert said in words, words
    job = world.office.desk.jobs(world.ask, PROJECT)[0]
    assert job.id in words

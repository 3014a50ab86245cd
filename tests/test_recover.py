"""The command `recover`, and the way back: an interrupted restore is finished, or the state before is brought back."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from crash_child import Crasher
from keyframe.backup import finishing
from keyframe.backup.staging import Staging
from keyframe.doors.cli import cli
from keyframe.errors import NotFoundError, RefusedError
from keyframe.model import Actor, Job, OutcomeStatus, Snapshot
from world import PROJECT, SITE, World


def run(world: World, *words: str) -> tuple[int, str]:
    """The command, as the shell would call it."""
    from contextlib import contextmanager

    @contextmanager
    def opener() -> Iterator[Any]:
        yield world.office

    done = CliRunner().invoke(cli, ["recover", *words], obj=lambda _: opener)
    return done.exit_code, done.output


def interrupted(world: World, crasher: Crasher) -> tuple[Snapshot, Job]:
    """A restore whose process was killed after it had begun to change things."""
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "rename:after:1").killed
    assert world.office.intents.open() == (PROJECT,)
    return snapshot, job


def test_where_nothing_is_unfinished_it_says_so(world: World) -> None:
    assert run(world) == (0, "No restore is unfinished.\n")


def test_an_interrupted_restore_is_finished(world: World, crasher: Crasher) -> None:
    wanted = world.state()
    snapshot, job = interrupted(world, crasher)

    code, words = run(world)

    assert code == 0, words
    assert "finished" in words
    assert world.state() == wanted
    ended = world.office.desk.job(world.ask, job.id)
    assert ended.outcome is not None
    assert (ended.outcome.status, ended.outcome.snapshot) == (OutcomeStatus.DONE, snapshot.name)


def test_the_state_before_is_brought_back_instead(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "rename:after:1").killed

    code, words = run(world, "--back", "--json")

    assert (code, json.loads(words[words.index("{") :])["finished"]) == (0, [PROJECT.as_dict()])
    assert world.state() == before
    outcome = world.office.desk.job(world.ask, job.id).outcome
    assert outcome is not None
    assert (outcome.status, outcome.problems[0].code) == (OutcomeStatus.CANCELLED, "cancelled")
    assert not list((world.settings.data / ".keyframe" / "intents").iterdir())  # nor is the wish left behind


def test_what_cannot_be_finished_now_is_said_and_stays(
    world: World, crasher: Crasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = world.state()
    interrupted(world, crasher)
    monkeypatch.setattr(finishing, "_PATIENCE", 1000)

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Staging, "fill", refuse)

    code, words = run(world, "--for", "2")

    assert code == 8
    assert "waiting to finish" in words
    assert "nobody can write there" in words
    assert world.office.intents.open() == (PROJECT,)
    monkeypatch.undo()
    assert run(world)[0] == 0
    assert world.state() == wanted


def test_a_restore_that_waits_tells_its_job_and_can_be_turned_back(
    world: World, crasher: Crasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "records:before:1").killed
    monkeypatch.setattr(finishing, "_PATIENCE", 1000)
    fill = Staging.fill

    def refuse(self: Staging, *more: Any) -> None:
        if self._target.snapshot.name == snapshot.name:
            raise OSError(errno.EIO, "no")
        fill(self, *more)

    monkeypatch.setattr(Staging, "fill", refuse)
    worker = threading.Thread(target=world.office.work.recover)
    worker.start()
    deadline = time.monotonic() + 20
    while not world.office.desk.job(world.ask, job.id).progress.stage.startswith("waiting to finish"):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    world.office.desk.turn_job_back(world.ask, job.id)
    worker.join(20)

    assert not worker.is_alive()
    assert world.state() == before


def test_a_wish_that_was_left_behind_is_not_one_about_the_next_restore(world: World, crasher: Crasher) -> None:
    """As where the process died that took the intent away, or where somebody wished it a moment too late."""
    wanted = world.state()
    (world.settings.data / ".keyframe/intents").mkdir(parents=True)
    world.office.intents.turn_back(PROJECT)

    _, job = interrupted(world, crasher)
    world.office.work.recover()

    outcome = world.office.desk.job(world.ask, job.id).outcome
    assert outcome is not None and outcome.status is OutcomeStatus.DONE
    assert world.state() == wanted


def test_who_may_not_restore_may_not_turn_back(world: World, crasher: Crasher) -> None:
    interrupted(world, crasher)
    anna, bram = (Actor(name, name, "user", "api") for name in ("anna", "bram"))

    with pytest.raises(NotFoundError):
        world.office.desk.turn_back(bram, PROJECT)
    with pytest.raises((NotFoundError, RefusedError)):
        world.office.desk.turn_back(anna, SITE)
    with pytest.raises(NotFoundError):
        world.office.desk.turn_back(world.ask, SITE)
    world.office.desk.turn_back(anna, PROJECT)

    assert world.office.intents.is_turned_back(PROJECT)

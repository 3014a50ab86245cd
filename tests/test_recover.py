"""The command `recover`, and the way back: an interrupted restore is finished, or the state before is brought back."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner
from crash_child import Crasher
from keyframe.backup import finishing
from keyframe.backup.staging import Staging
from keyframe.doors.cli import cli
from keyframe.errors import NotFoundError, RefusedError
from keyframe.model import Actor, Job, Order, OutcomeStatus, Snapshot, Unfinished
from world import OTHER, PROJECT, SITE, World


def command(world: World, *words: str) -> tuple[int, str]:
    """A command, as the shell would call it."""

    @contextmanager
    def opener(database: bool = True) -> Iterator[Any]:
        yield world.office

    done = CliRunner().invoke(cli, list(words), obj=lambda _: opener)
    return done.exit_code, done.output


def run(world: World, *words: str) -> tuple[int, str]:
    return command(world, "recover", *words)


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
    assert f"project {PROJECT.project_id}: finished (job {job.id}).\n" in words
    assert "Done: the snapshot of today" in words and "is back." in words
    assert world.state() == wanted
    ended = world.office.desk.job(world.ask, job.id)
    assert ended.outcome is not None
    assert (ended.outcome.status, ended.outcome.snapshot) == (OutcomeStatus.DONE, snapshot.name)
    assert ended.outcome.interrupted and ended.as_dict()["outcome"]["interrupted"]
    said = world.office.messages.outcome(ended)
    assert said.title.startswith("Done: the snapshot of")
    assert said.text.startswith("It was interrupted, and brought to its end afterwards. 1 file ")
    undo = f"keyframe undo --project {PROJECT.project_id} {ended.outcome.safety}"
    assert f"To take it back: {undo}\n" in words
    assert command(world, *undo.split()[1:], "--yes")[0] == 0
    assert world.state() != wanted


def test_what_a_restore_left_as_it_is_is_said_by_who_finishes_it(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    os.mkfifo(world.folder(PROJECT) / "pipe")
    confirm = world.restore(snapshot).confirm
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name, confirm=confirm)
    assert crasher.run(world, job.id, "rename:after:1").killed

    code, words = run(world)

    assert code == 11, words
    assert "Not all of it" in words and "pipe" in words


def test_a_snapshot_that_was_damaged_meanwhile_is_turned_back_and_the_exit_code_says_so(
    world: World, crasher: Crasher
) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "records:before:1").killed
    (world.stored(snapshot) / "manifest.jsonl").write_text("")

    code, words = run(world)

    assert code == 6, words
    assert "the state before it is live again" in words
    assert "To take it back" not in words
    assert world.state() == before


def test_a_job_that_had_not_begun_is_named_and_is_no_failure_of_the_command(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "intent:before:1").killed

    code, words = run(world)

    assert code == 0
    assert f"cleared away (job {job.id})." in words and "The worker that did this was lost" in words
    assert world.state() == before


def test_a_restore_whose_job_is_not_known_any_more_is_told_all_the_same(world: World, crasher: Crasher) -> None:
    wanted = world.state()
    _, job = interrupted(world, crasher)
    world.client[f"{world.settings.mongo.database}_control"].jobs.delete_many({})

    code, words = run(world)

    assert code == 0, words
    assert f"finished (job {job.id})." in words and "is back." in words
    assert world.state() == wanted


def test_lists_name_what_is_unfinished(world: World, crasher: Crasher) -> None:
    _, job = interrupted(world, crasher)
    of = ("--project", PROJECT.project_id or "")
    bram = Actor("bram", "Bram", "user", "api")

    code, words = command(world, "list", *of)
    shown = json.loads(command(world, "list", *of, "--json")[1])

    assert code == 0
    assert f"A restore of project {PROJECT.project_id} (job {job.id}) has begun to change things" in words
    assert shown["unfinished"] == [{"project_id": PROJECT.project_id, "job": job.id}]
    assert "has begun to change" in command(world, "list", "--site")[1]
    assert world.office.desk.unfinished(bram, OTHER) == ()
    with pytest.raises(NotFoundError):
        world.office.desk.unfinished(bram, PROJECT)
    run(world)
    assert "has begun to change" not in command(world, "list", *of)[1]


def test_who_sees_a_project_learns_that_the_site_is_unfinished_and_no_more(world: World, crasher: Crasher) -> None:
    snapshot = world.make(SITE)
    world.spoil()
    job = world.office.desk.restore(world.ask, SITE, snapshot.name)
    assert crasher.run(world, job.id, "rename:after:1").killed
    anna = Actor("anna", "Anna", "user", "api")

    assert world.office.desk.unfinished(anna, PROJECT) == (Unfinished(SITE),)
    assert world.office.desk.unfinished(world.ask, SITE) == (Unfinished(SITE, job.id),)


def test_a_preview_says_that_it_finishes_an_interrupted_restore_first(world: World, crasher: Crasher) -> None:
    snapshot, job = interrupted(world, crasher)

    code, words = command(world, "preview", snapshot.name, "--project", PROJECT.project_id or "")

    assert code == 0, words
    assert f"was interrupted (job {job.id}): it is finished first." in words
    assert f"Job {job.id}, project {PROJECT.project_id}: Done: the snapshot of today" in words


def test_a_worker_compares_nothing_with_a_mixture(world: World, crasher: Crasher) -> None:
    snapshot, _ = interrupted(world, crasher)
    order = world.office.desk.preview(world.ask, PROJECT, snapshot.name)
    world.client[f"{world.settings.mongo.database}_control"].locks.delete_many({})
    claim = world.office.jobs.claim(only=order.id)
    assert claim is not None

    outcome = world.office.work.run(claim).outcome

    assert outcome is not None and outcome.problems[0].code == "busy"


@pytest.mark.parametrize(("point", "said"), [
    ("rename:after:1", "The restore had begun to change things and will be finished"),
    ("intent:before:1", "is brought to its end"),
])  # fmt: skip
def test_who_waits_is_told_that_the_worker_is_gone_and_what_becomes_of_the_job(
    world: World, crasher: Crasher, point: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is heard of and does the restore; it is killed, and whoever waits brings it to its end."""
    wanted = world.state()
    snapshot = world.make(PROJECT)
    world.spoil()
    spoilt = world.state()
    began = threading.Event()
    world.office.jobs.beat("a worker")
    submit = world.office.jobs.submit

    def submitted(order: Order) -> Job:
        job = submit(order)
        worker = threading.Thread(target=lambda: (crasher.run(world, job.id, point), began.set()))
        worker.start()
        return job

    monkeypatch.setattr(world.office.jobs, "submit", submitted)

    code, words = command(world, "restore", snapshot.name, "--project", PROJECT.project_id or "", "--yes")

    job = world.office.desk.jobs(world.ask, PROJECT)[0]
    assert began.wait(20)
    assert "The worker that did it is gone" in words and said in words, words
    assert f"job {job.id}" in words
    is_finished = point.startswith("rename")
    assert code == (0 if is_finished else 8)
    assert world.state() == (wanted if is_finished else spoilt)


def test_a_restore_that_ended_by_itself_does_not_say_that_it_was_interrupted(world: World) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)

    outcome = world.done(job)

    assert not outcome.interrupted
    assert "interrupted" not in world.office.messages.outcome(world.office.desk.job(world.ask, job.id)).text


def test_the_state_before_is_brought_back_instead(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "rename:after:1").killed

    code, words = run(world, "--back", "--json")

    told = json.loads(words[words.index("{") :])
    assert (code, told["finished"], told["unfinished"]) == (0, [PROJECT.as_dict()], [])
    assert [(one["id"], one["outcome"]["status"]) for one in told["jobs"]] == [(job.id, "cancelled")]
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
    outcome = world.office.desk.job(world.ask, job.id).outcome
    assert outcome is not None and outcome.status is OutcomeStatus.CANCELLED
    assert outcome.problems[0].hint.startswith("Nothing is lost. If it is still wanted, order it again")


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

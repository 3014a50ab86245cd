"""A process that makes, restores or undoes is killed at every named step: the state is wholly old or wholly new.

Each time a process of its own (`crash_child.py`) does the job and ends by SIGKILL at the step; then a fresh office
recovers, as a starting worker does.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_child import STEPS, Crasher, Death
from keyframe.model import Job, JobState, Outcome, OutcomeStatus, Scope, Snapshot
from keyframe.wiring import build
from pymongo import MongoClient
from whole import require_whole
from world import EDITION, PROJECT, SITE, World

DONE, UNCHANGED, FAILED = OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.FAILED

COPYING = ("draft", "copy", "second pass", "pin", "dump")
COMMITTING = ("manifest", "dress stored", "add link", "share", "finish", "flush draft", "commit", "sync")
PREPARING = ("plan", "stage", "json", "mark", "intent")
DATABASE = ("create", "drop", "modify", "drop index", "create index", "records", "transaction")
FILES = ("remove", "mkdir", "rename", "dress", "flush live")
ENDING = ("verify", "unlock", "end", "release")
# Killed in `test_copy_beside.py`.
COPIES = ("note", "mark database", "place", "fill", "check", "name", "unmark", "unnote")
# Killed in `test_duplicate.py`.
DUPLICATES = ("stage records", "add files", "compared")
GROUPS = [COPYING, COMMITTING, PREPARING, DATABASE, FILES, ENDING]


@pytest.fixture(scope="module")
def crasher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crasher]:
    """The program that forks the processes which die."""
    program = Crasher(tmp_path_factory.mktemp("traces"))
    yield program
    program.close()


# --- a site in which everything differs that can


def spoil(world: World, scope: Scope, *, collections: bool) -> None:
    """Change live files and records, if asked for also collections, in all ways that a restore has a step for."""
    top = world.folder(PROJECT) / f"edition/{EDITION[0]}"
    world.spoil()
    (top / "scene.svx.json").chmod(0o600)
    (top / "empty").rmdir()
    (top / "empty").write_text("a file where a directory was")
    (top / "latest").unlink()
    (top / "latest").mkdir(mode=0o711)
    world.write(f"edition/{EDITION[0]}/latest/deep/inside.txt", "a directory where a link was")
    shutil.rmtree(world.folder(PROJECT) / f"edition/{EDITION[1]}/articles")
    if scope.is_site:
        world.write("about.txt", "another text", SITE)
    if collections:
        world.db.viewing.drop()
        world.db.empty.drop()
        world.db.newborn.insert_many([{"_id": number} for number in range(3)])
        world.db.command("create", "looking", viewOn="edition", pipeline=[])
        world.db.edition.drop_index("by_title")
        world.db.edition.create_index("title", name="by_title")
        world.db.edition.create_index("more")
        world.db.command("collMod", "site", validator={"title": {"$type": "string"}}, validationLevel="moderate")


@pytest.fixture(scope="module", autouse=True)
def _short_transactions(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """The server forgets the transaction of a killed process after 60 s, in which whoever recovers waits."""
    name = "transactionLifetimeLimitSeconds"
    was = mongo_client.admin.command("getParameter", **{name: 1})[name]
    mongo_client.admin.command("setParameter", **{name: 1})
    yield
    mongo_client.admin.command("setParameter", **{name: was})


def prepare(world: World, scope: Scope, *, collections: bool = False) -> tuple[Snapshot, Any]:
    """Make a snapshot of a good state, then spoil it; both are returned."""
    if collections:
        world.db.command("create", "viewing", viewOn="edition", pipeline=[{"$match": {"title": "Edition 0"}}])
        world.db.site.create_index("title")
        world.db.command("collMod", "site", validator={"_id": {"$exists": True}}, validationLevel="strict")
    good, state = world.make(scope), world.state()
    spoil(world, scope, collections=collections)
    return good, state


def turn(world: World, text: str) -> None:
    """Change the live state a little, so that the next snapshot is a new one."""
    for name in ("turn.txt", "edition/turn.txt"):
        world.write(name, text)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"turn": text}})


# --- what must hold afterwards


def recovered(world: World, job: Job) -> Outcome:
    """The outcome of a job whose process is dead, after a fresh office recovered."""
    office = build(world.settings)
    try:
        assert office.work.recover() == 0
        ended = office.jobs.get(job.id)
        assert ended.state is JobState.ENDED
        assert ended.outcome is not None
        return ended.outcome
    finally:
        office.database.client.close()


def require_clean(world: World, checked: set[Path]) -> None:
    """Nothing is left of what was interrupted, and every snapshot that is listed is whole."""
    own = world.settings.data / ".keyframe"
    assert not list((own / "intents").glob("*.json"))
    assert not list((world.settings.repository / ".drafts").glob("*"))
    assert not list((world.settings.working / ".keyframe").glob("*"))
    for scope in (SITE, PROJECT):
        for snapshot in world.office.desk.snapshots(world.ask, scope).items:
            if world.stored(snapshot) not in checked:
                assert snapshot.status == "done"
                require_whole(world.stored(snapshot), snapshot)
                checked.add(world.stored(snapshot))


def points(trace: tuple[str, ...], steps: tuple[str, ...], calls_of_each: int = 2) -> list[str]:
    """Where to die: before and after the first and the last call of each step, or the last one only."""
    found = []
    for step in steps:
        calls = sum(line.startswith(f"{step}:before:") for line in trace)
        for number in sorted({1, calls} & {*range(1, calls + 1)})[-calls_of_each:]:
            found += [f"{step}:before:{number}", f"{step}:after:{number}"]
    return found


def has_begun(death: Death, intent: str = "json:after") -> bool:
    """Whether the process had written the intent: from there on the restore is carried out."""
    begun = death.trace.index("intent:before:1") if "intent:before:1" in death.trace else len(death.trace)
    return any(line.startswith(intent) for line in death.trace[begun:])


def test_every_step_is_part_of_a_group() -> None:
    assert {step for group in (*GROUPS, COPIES, DUPLICATES) for step in group} == set(STEPS)


# --- restore


@pytest.mark.parametrize("steps", GROUPS, ids=lambda steps: steps[0])
def test_a_killed_restore_of_the_site_is_wholly_old_or_wholly_new(
    world: World, crasher: Crasher, steps: tuple[str, ...]
) -> None:
    kill_a_restore(world, crasher, SITE, steps, 2)


@pytest.mark.parametrize("steps", [(*PREPARING[-2:], *ENDING), DATABASE + FILES], ids=lambda steps: steps[0])
def test_a_killed_restore_of_a_project_is_wholly_old_or_wholly_new(
    world: World, crasher: Crasher, steps: tuple[str, ...]
) -> None:
    kill_a_restore(world, crasher, PROJECT, steps, 1)


def kill_a_restore(
    world: World,
    crasher: Crasher,
    scope: Scope,
    steps: tuple[str, ...],
    calls_of_each: int,
) -> None:
    good, after = prepare(world, scope, collections=scope.is_site and steps == DATABASE)
    desk = world.office.desk
    checked: set[Path] = set()
    world.make(scope)
    turn(world, "first")
    whole = crasher.run(world, desk.restore(world.ask, scope, good.name).id)
    assert (whole.code, world.state()) == (0, after)
    assert world.done(desk.undo(world.ask, scope)).status is DONE

    for number, point in enumerate(points(whole.trace, steps, calls_of_each)):
        turn(world, f"{number}")  # so that the safety snapshot is a new one each time
        before = world.state()
        job = desk.restore(world.ask, scope, good.name)

        death = crasher.run(world, job.id, point)
        outcome = recovered(world, job)

        assert death.killed, point
        new = has_begun(death)
        assert outcome.status is (DONE if new else FAILED), point
        assert world.state() == (after if new else before), point
        assert world.done(desk.make(world.ask, scope)).status in (DONE, UNCHANGED), point
        require_clean(world, checked)
        if new:
            assert world.done(desk.undo(world.ask, scope)).status is DONE, point
            assert world.state() == before, point
    assert world.restore(good, scope).status is DONE
    assert world.state() == after


@pytest.mark.parametrize("steps", [(*PREPARING[-2:], *ENDING), (*DATABASE[-1:], *FILES)], ids=lambda steps: steps[0])
def test_a_killed_undo_is_wholly_old_or_wholly_new(world: World, crasher: Crasher, steps: tuple[str, ...]) -> None:
    good, restored = prepare(world, SITE, collections=True)
    desk = world.office.desk
    spoilt = world.state()
    assert world.restore(good, SITE).status is DONE
    whole = crasher.run(world, desk.undo(world.ask, SITE).id)
    assert (whole.code, world.state()) == (0, spoilt)

    for point in points(whole.trace, steps, 1):
        assert world.restore(good, SITE).status is DONE, point
        job = desk.undo(world.ask, SITE)

        death = crasher.run(world, job.id, point)
        outcome = recovered(world, job)

        assert death.killed, point
        new = has_begun(death)
        assert outcome.status is (DONE if new else FAILED), point
        assert world.state() == (spoilt if new else restored), point
        if not new:  # the restore is still there to be undone
            assert world.done(desk.undo(world.ask, SITE)).status is DONE, point
            assert world.state() == spoilt, point
    require_clean(world, set())


# --- make


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_a_killed_make_leaves_a_whole_snapshot_or_none(world: World, crasher: Crasher, scope: Scope) -> None:
    desk = world.office.desk
    checked: set[Path] = set()
    world.make(scope)
    turn(world, "first")
    whole = crasher.run(world, desk.make(world.ask, scope).id)

    for number, point in enumerate(points(whole.trace, (*COPYING, *COMMITTING, "json", "end", "release"))):
        turn(world, f"{number}")
        before, listed = world.state(), desk.snapshots(world.ask, scope).items
        job = desk.make(world.ask, scope)

        death = crasher.run(world, job.id, point)
        recovered(world, job)

        assert death.killed, point
        assert world.state() == before, point
        committed = "commit:after:1" in death.trace
        assert len(desk.snapshots(world.ask, scope).items) == len(listed) + committed, point
        made = world.done(desk.make(world.ask, scope))
        assert made.status is (UNCHANGED if committed else DONE), point
        require_clean(world, checked)


# --- recovery


@pytest.mark.parametrize("steps", [PREPARING, DATABASE, FILES, ENDING], ids=lambda steps: steps[0])
def test_a_recovery_that_is_killed_is_finished_by_the_next_one(
    world: World, crasher: Crasher, steps: tuple[str, ...]
) -> None:
    good, after = prepare(world, SITE, collections=steps == DATABASE)
    desk = world.office.desk
    crasher.run(world, desk.restore(world.ask, SITE, good.name).id, "intent:after:1")
    whole = crasher.recover(world)
    assert (whole.code, world.state()) == (0, after)

    for point in points(whole.trace, steps):
        assert world.done(desk.undo(world.ask, SITE)).status is DONE, point
        job = desk.restore(world.ask, SITE, good.name)
        crasher.run(world, job.id, "intent:after:1")

        death = crasher.recover(world, point)
        outcome = recovered(world, job)

        assert death.killed, point
        assert outcome.status is DONE, point
        assert world.state() == after, point
    require_clean(world, set())


def test_processes_that_recover_at_the_same_time_agree(world: World, crasher: Crasher) -> None:
    good, after = prepare(world, SITE)
    desk = world.office.desk
    for point in ("intent:after:1", "records:after:1", "rename:before:2", "mark:after:2", "unlock:after:1"):
        job = desk.restore(world.ask, SITE, good.name)
        crasher.run(world, job.id, point)

        deaths = crasher.all(world, [{"job": "", "kill": ""} for _ in range(3)])
        outcome = recovered(world, job)

        assert [death.code for death in deaths] == [0, 0, 0], point
        assert outcome.status is DONE, point
        assert world.state() == after, point
        assert world.done(desk.undo(world.ask, SITE)).status is DONE, point
    require_clean(world, set())


def test_a_recovery_that_comes_late_does_not_repeat_what_another_one_finished(
    world: World, crasher: Crasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, after = prepare(world, SITE)
    job = world.office.desk.restore(world.ask, SITE, good.name)
    crasher.run(world, job.id, "intent:after:1")
    client = world.client[world.settings.control_database]
    client.jobs.delete_one({"_id": job.id})  # so that the restore belongs to nobody
    client.locks.delete_many({})
    late, jobs = build(world.settings), build(world.settings)
    hold = late.jobs.hold

    def quicker(*args: Any) -> Any:
        assert jobs.work.recover() == 0
        world.write("turn.txt", "people work on")
        return hold(*args)

    monkeypatch.setattr(late.jobs, "hold", quicker)

    assert late.work.recover() == 0

    assert (world.folder(PROJECT) / "turn.txt").read_text() == "people work on"
    (world.folder(PROJECT) / "turn.txt").unlink()
    assert world.state() == after
    for office in (late, jobs):
        office.database.client.close()

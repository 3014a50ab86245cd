"""What a restore that was killed left beside the live files: cleared away by who recovers, and not too early."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from crash_child import Crasher
from keyframe.backup.leftovers import kept_folder, left_behind
from keyframe.doors.office import Office
from keyframe.model import Action, Change, Job, Order, OutcomeStatus, Plan, PlanItem, Scope
from keyframe.stores.disk import scratch_name
from keyframe.stores.intents import Intent
from keyframe.stores.plans import Plans, PlanWriter
from world import PROJECT, SITE, World

RECOVER = """
import sys
import threading
from pathlib import Path
from keyframe.settings import Settings
from keyframe.wiring import build
settings = Settings(var=Path(sys.argv[1]), run_mode="test", mongo={"uri": sys.argv[2], "database": sys.argv[3]})
sys.exit(build(settings).work.recover())
"""


def reserved(world: World) -> Path:
    return world.settings.working / ".keyframe"


def left(world: World) -> list[str]:
    return sorted(os.listdir(reserved(world)))


def killed_while_staging(world: World, crasher: Crasher) -> Job:
    """A restore that was killed when it had staged something, and changed nothing."""
    snapshot = world.make()
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "recheck:before:1").killed
    return job


def plant(world: World, scope: Scope, job: str) -> None:
    for folder in (
        reserved(world) / scratch_name(scope, job),
        kept_folder(world.office.work._backup._stores, scope, job),
    ):
        folder.mkdir(parents=True)
        (folder / "0").write_text("staged")


@pytest.mark.parametrize("scope", [SITE, PROJECT, Scope.project("a-b.c_1")])
def test_what_no_job_needs_any_more_is_cleared_away(world: World, scope: Scope) -> None:
    plant(world, scope, "6" * 24)
    plant(world, scope, "f00")
    (reserved(world) / "somebody's").mkdir()

    assert world.office.work.recover() == 0

    assert left(world) == ["somebody's"]


def test_a_restore_that_was_killed_leaves_nothing_once_it_is_recovered(world: World, crasher: Crasher) -> None:
    job = killed_while_staging(world, crasher)

    world.office.work.recover()

    assert world.office.desk.job(world.ask, job.id).outcome is not None
    assert left(world) == []


def test_what_a_job_that_has_not_ended_staged_stays(world: World) -> None:
    snapshot = world.make()
    waiting = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    plant(world, PROJECT, waiting.id)
    plant(world, Scope.project("new"), waiting.id)  # as a restore as a new project has it, which holds another scope
    before = left(world)

    world.office.work.recover()

    assert left(world) == before
    assert world.office.work.withdraw(waiting.id)
    world.office.work.recover()
    assert left(world) == []


def test_what_an_unfinished_restore_may_need_stays(world: World) -> None:
    plant(world, PROJECT, "6" * 24)
    backup = world.office.work._backup
    order = Order(Action.RESTORE, PROJECT, world.ask, source=PROJECT, snapshot="2026-11-21T10-53-15Z")
    world.office.intents.write(Intent("6" * 24, order, "2026-11-21T10-53-16Z", "", (), (), {}))

    backup.sweep(PROJECT, frozenset({"6" * 24}))
    world.office.work._sweep()

    assert len(left(world)) == 2
    world.office.intents.remove(PROJECT)
    world.office.work._sweep()
    assert left(world) == []


def test_while_somebody_works_on_the_scope_nothing_is_cleared_away(world: World) -> None:
    plant(world, PROJECT, "6" * 24)

    with world.office.jobs.hold(PROJECT, "something else"):
        world.office.work.recover()
        assert len(left(world)) == 2

    world.office.work.recover()
    assert left(world) == []


def test_several_workers_that_start_at_once_clear_away_together(world: World) -> None:
    for number in range(20):
        plant(world, Scope.project(f"p{number}"), "6" * 24)
    mongo = world.settings.mongo
    command = [sys.executable, "-c", RECOVER, str(world.settings.var), str(mongo.uri), mongo.database]

    workers = [subprocess.Popen(command) for _ in range(3)]

    assert [worker.wait(60) for worker in workers] == [0, 0, 0]
    assert left(world) == []


def test_names_that_are_no_leftovers_are_passed_over(world: World) -> None:
    for name in (
        "site",
        "site-",
        "-6",
        "project.-6",
        "other.1-6",
        ".clock-1-2",
        "project.1-6.kept.kept",
        "project:1-6",
    ):
        (reserved(world) / name).mkdir(parents=True)
    plant(world, PROJECT, "6")
    office: Office = world.office

    assert left_behind(office.work._backup._stores) == {PROJECT: frozenset({"6"})}


# --- drafts of plans


def drafts(world: World) -> list[str]:
    return sorted(name for name in os.listdir(world.settings.data / ".keyframe/plans") if name.startswith(".draft-"))


def test_the_draft_of_an_intent_goes_whose_writer_was_killed(world: World, crasher: Crasher) -> None:
    folder = world.settings.data / ".keyframe/intents"
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "intent:after:1").killed
    unfinished = folder / f".project.{PROJECT.project_id}.json.4711"
    left, foreign = folder / ".site.json.4711", folder / ".other.json.4711"
    for path in (unfinished, left, foreign):
        path.write_text("{")

    world.office.work.recover()
    assert [path.name for path in folder.iterdir()] == [foreign.name]

    left.write_text("{")
    assert world.restore(snapshot).status is OutcomeStatus.UNCHANGED
    assert left.exists()  # of another scope
    world.restore(world.make(SITE), SITE)
    assert not left.exists()


def test_drafts_of_plans_go_when_their_writer_was_killed(world: World, crasher: Crasher) -> None:
    snapshot = world.make()
    world.spoil()
    preview = world.office.desk.preview(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, preview.id, "plan:before:1").killed
    assert len(drafts(world)) == 3  # the items; records that would be replaced, and their index

    world.office.work.recover()

    assert drafts(world) == []


def test_a_draft_that_somebody_writes_stays_and_becomes_a_plan(world: World) -> None:
    """A worker that starts beside a running job, in a process of its own."""
    snapshot = world.make()
    world.spoil()
    world.preview(snapshot)
    plans = world.office.work._backup._stores.plans
    mongo = world.settings.mongo
    command = [sys.executable, "-c", RECOVER, str(world.settings.var), str(mongo.uri), mongo.database]
    save, seen = PlanWriter.save, list[list[str]]()

    def slow(self: PlanWriter, plan: Plan, told: str = "") -> Plan:
        before = drafts(world)
        assert subprocess.run(command, timeout=60, check=False).returncode == 0
        plans.sweep_drafts()
        seen.append(drafts(world))
        assert seen[-1] == before != []
        return save(self, plan, told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PlanWriter, "save", slow)
        world.write("more.txt")
        plan = world.preview(snapshot)

    assert len(seen) == 1
    assert plans.get(plan.digest) == plan
    assert [item.name for item in plans.items(plan.digest)]
    assert drafts(world) == []


def test_drafts_are_written_and_swept_at_the_same_time(tmp_path: Path) -> None:
    plans, ended = Plans(tmp_path / "plans"), threading.Event()
    item = PlanItem(Change.CREATE, "file", "a.txt", 1)

    def sweep() -> None:
        while not ended.is_set():
            plans.sweep_drafts()

    sweepers = [threading.Thread(target=sweep) for _ in range(2)]
    for one in sweepers:
        one.start()
    try:
        for _ in range(300):
            writer = plans.writer()
            writer.add(item)
            assert [one.name for one in writer.items()] == ["a.txt"]
            writer.drop()
    finally:
        ended.set()
        for one in sweepers:
            one.join()
    assert os.listdir(tmp_path / "plans") == []

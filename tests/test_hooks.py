"""Hooks of the host: told of every restore that changed something, of what it changed, and of nothing else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import hooked
import pytest
from crash_child import Crasher
from keyframe import DonePlan
from keyframe.errors import SettingsError
from keyframe.messages import Messages
from keyframe.model import Job, JobState, Outcome, OutcomeStatus, Scope
from keyframe.wiring import build
from structlog.testing import capture_logs
from sweep import recovered, spoil
from world import EDITION, ONE, PROJECT, SITE, World, new_world

pytestmark = pytest.mark.usefixtures("quick_transactions")

DONE, UNCHANGED, FAILED = OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.FAILED
CANCELLED = OutcomeStatus.CANCELLED
NOTED = {"after_restore": ["hooked:noted"], "seconds": 20}


@pytest.fixture
def hooked_world(mongo_uri: str, tmp_path: Path) -> Iterator[World]:
    with with_hooks(mongo_uri, tmp_path) as made:
        yield made


@contextmanager
def with_hooks(uri: str, folder: Path, *names: str, seconds: float = 20) -> Iterator[World]:
    hooks = {"after_restore": [f"hooked:{name}" for name in names or ("noted",)], "seconds": seconds}
    with new_world(uri, folder, hooks=hooks) as made:
        yield made


def calls(world: World) -> list[dict[str, Any]]:
    """What the hooks were told, and forget it."""
    found = list(world.db[hooked.CALLS].find({"scope": {"$exists": True}}, {"_id": 0}))
    world.db[hooked.CALLS].delete_many({})
    return found


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def records_differing(world: World, one: dict[str, Any], other: dict[str, Any], but: set[str]) -> list[list[str]]:
    names = [name for name in one.keys() | other.keys() if " " not in name and name not in but]
    return sorted([name, key] for name in names for key in differing(one.get(name, {}), other.get(name, {})))


# --- what they are told


def test_a_hook_is_told_exactly_what_a_restore_touched_and_so_of_its_undo(hooked_world: World) -> None:
    world = hooked_world
    snapshot, good = world.make(PROJECT), world.state()
    spoil(world, PROJECT, collections=False)
    bad = world.state()
    assert calls(world) == []

    restored = world.restore(snapshot)
    (first,) = calls(world)
    assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
    (second,) = calls(world)

    assert (restored.status, restored.warnings) == (DONE, ())
    assert restored.report is not None
    assert first["paths"] == second["paths"] == differing(good[0], bad[0])
    assert first["records"] == second["records"] == records_differing(world, good[1], bad[1], set())
    assert ["edition", repr(EDITION[1])] in first["records"] and ["edition", repr("stray")] in first["records"]
    assert (first["scope"], first["snapshot"]) == (PROJECT.key, snapshot.name)
    assert (first["digest"], first["collections"]) == (restored.report["digest"], [])
    assert first["items"] == [
        sum(restored.report[change][kind] for kind in ("files", "records", "other"))
        for change in ("creates", "replaces", "deletes")
    ]
    assert (first["is_itemised"], first["is_back"]) == (True, False)


def test_of_the_site_collections_that_changed_as_a_whole_are_told_too(hooked_world: World) -> None:
    world = hooked_world
    world.db.create_collection("latest", capped=True, size=4096).insert_many([{"_id": 1}, {"_id": 2}])
    world.db.command("create", "viewing", viewOn="edition", pipeline=[])
    world.db.command("create", "weather", timeseries={"timeField": "at", "metaField": "where"})
    snapshot, good = world.make(SITE), world.state()
    spoil(world, SITE, collections=True)
    world.db.weather.insert_one({"at": snapshot.made_at, "where": "x"})
    bad = world.state()

    assert world.restore(snapshot, SITE).status is DONE

    (told,) = calls(world)
    whole = ["edition", "empty", "latest", "looking", "newborn", "site", "viewing", "weather"]
    assert told["collections"] == whole
    assert told["paths"] == differing(good[0], bad[0])
    assert told["records"] == records_differing(world, good[1], bad[1], {"latest", "weather", hooked.CALLS})


def test_a_project_restored_as_a_new_one_is_told_and_not_one_by_one(hooked_world: World) -> None:
    world = hooked_world
    snapshot = world.make(PROJECT)

    outcome = world.done(world.office.desk.duplicate(world.ask, PROJECT, snapshot.name))

    assert outcome.report is not None
    (told,) = calls(world)
    assert told["scope"] == f"project:{outcome.report['project_id']}"
    assert (told["is_itemised"], told["paths"], told["records"], told["items"][0]) == (False, [], [], 11)


def test_who_changed_nothing_live_tells_nobody(hooked_world: World, tmp_path: Path) -> None:
    world, desk = hooked_world, hooked_world.office.desk
    snapshot = world.make(SITE)
    plan = world.preview(snapshot, SITE)
    assert world.restore(snapshot, SITE).status is UNCHANGED
    world.spoil()

    assert world.restore(snapshot, SITE, plan=plan.digest).problems[0].code == "stale"
    assert world.done(desk.copy(world.ask, SITE, snapshot.name, into=str(tmp_path / "old"))).status is DONE
    (world.stored(snapshot) / f"files/project/{ONE}/edition/{EDITION[0]}/model.glb").write_bytes(b"damaged")
    assert world.restore(snapshot, SITE).status is FAILED
    assert world.done(desk.duplicate(world.ask, PROJECT, snapshot.name)).status is FAILED

    assert calls(world) == []


def test_a_hook_is_called_with_the_gate_open_and_before_the_job_ends(world: World) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(scope: Scope, plan: DonePlan) -> None:
        with office.gate.closed():  # nobody has it: it can be had
            job = office.jobs.get(order.id)
            seen.append((scope, plan.replaces.files, office.intents.open(), job.state, world.state() == good))

    snapshot, good = world.make(PROJECT), world.state()
    world.spoil()
    office = build(world.settings, after_restore=(look,))
    try:
        order = office.desk.restore(world.ask, PROJECT, snapshot.name, None, None, "")
        assert office.work.run_job(order.id).outcome is not None
    finally:
        office.database.client.close()

    assert seen == [(PROJECT, 1, (), JobState.RUNNING, True)]


# --- hooks that fail


def said(world: World, job: Job) -> str:
    messages = Messages(ZoneInfo("UTC"))
    words = messages.outcome(job)
    return " ".join([words.title, words.text, *map(messages.problem, words.problems)])


def ended(world: World) -> Job:
    return next(iter(world.office.desk.jobs(world.ask, PROJECT)))


def test_a_hook_that_fails_is_a_warning_and_the_next_one_is_called_all_the_same(mongo_uri: str, tmp_path: Path) -> None:
    with with_hooks(mongo_uri, tmp_path, "failing", "noted") as world:
        snapshot, good = world.make(PROJECT), world.state()
        world.spoil()

        with capture_logs() as logs:
            outcome = world.restore(snapshot)

        assert (outcome.status, [one.code for one in outcome.warnings]) == (DONE, ["hook"])
        assert world.state()[0] == good[0]
        assert len(calls(world)) == 1
        (line,) = [one for one in logs if one["event"] == "hook.failed"]
        assert (line["hook"], line["exc_info"]) == ("hooked:failing", True)
        words = said(world, ended(world))
        assert "The hook hooked:failing has failed (ValueError)" in words
        assert "Done: the snapshot" in words and "a reason that is for the log" not in words


def test_a_slow_hook_is_left_to_itself_after_its_time(mongo_uri: str, tmp_path: Path) -> None:
    with with_hooks(mongo_uri, tmp_path, "slow", seconds=0.2) as world:
        snapshot = world.make(PROJECT)
        world.spoil()
        began = time.monotonic()

        outcome = world.restore(snapshot)

        assert time.monotonic() - began < hooked.WAIT
        assert (outcome.status, [one.code for one in outcome.warnings]) == (DONE, ["hook"])
        assert "0.2 s" in outcome.warnings[0].what
        until = time.monotonic() + 20
        while not calls(world):  # it has gone on
            assert time.monotonic() < until
            time.sleep(0.05)


# --- after a crash


@pytest.mark.parametrize("point", ["unlock:after:1", "compare again:after:1", "end:before:1"])
def test_a_kill_between_the_change_and_the_end_loses_no_call(hooked_world: World, crasher: Crasher, point: str) -> None:
    world = hooked_world
    snapshot, good = world.make(PROJECT), world.state()
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)

    assert crasher.run(world, job.id, point).killed
    before = calls(world)
    outcome = recovered(world, job)

    assert (outcome.status, world.state()[0]) == (DONE, good[0])
    assert len(before) == (point == "end:before:1")
    (told,) = calls(world)
    assert told["is_itemised"] and f"project/{ONE}/edition/{EDITION[0]}/model.glb" in told["paths"]


def test_a_restore_that_a_recovery_finishes_or_turns_back_is_told(hooked_world: World, crasher: Crasher) -> None:
    world, desk = hooked_world, hooked_world.office.desk
    snapshot, good = world.make(PROJECT), world.state()
    spoil(world, PROJECT, collections=False)
    bad = world.state()

    def killed(act: Callable[[], object] = lambda: None) -> tuple[Outcome, dict[str, Any]]:
        job = desk.restore(world.ask, PROJECT, snapshot.name)
        assert crasher.run(world, job.id, "commit records:after:1").killed
        assert calls(world) == []
        act()
        outcome = recovered(world, job)
        (told,) = calls(world)
        return outcome, told

    turned, first = killed(lambda: desk.turn_back(world.ask, PROJECT))
    finished, second = killed()

    assert (turned.status, finished.status) == (CANCELLED, DONE)
    assert (first["is_back"], second["is_back"]) == (True, False)
    assert first["paths"] == second["paths"] == differing(good[0], bad[0])
    assert first["records"] == second["records"] == records_differing(world, good[1], bad[1], set())


def test_a_restore_whose_job_nobody_knows_any_more_is_told_too(hooked_world: World, crasher: Crasher) -> None:
    world = hooked_world
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "commit records:after:1").killed
    world.client.drop_database(world.settings.control_database)

    assert world.office.work.recover() == 0

    (told,) = calls(world)
    assert (told["scope"], told["digest"] != "") == (PROJECT.key, True)


def test_a_killed_new_project_is_told_when_it_is_there_and_not_when_it_was_taken_away(
    hooked_world: World, crasher: Crasher
) -> None:
    world, desk = hooked_world, hooked_world.office.desk
    snapshot = world.make(PROJECT)
    for point, number in (("add files:after:1", 0), ("unlock:after:1", 1)):
        job = desk.duplicate(world.ask, PROJECT, snapshot.name)
        assert crasher.run(world, job.id, point).killed

        outcome = recovered(world, job)

        assert (outcome.status is DONE, len(calls(world))) == (bool(number), number), point


def test_where_the_items_of_a_plan_are_gone_everything_counts_as_changed(hooked_world: World, crasher: Crasher) -> None:
    world = hooked_world
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "end:before:1").killed
    calls(world)
    shutil.rmtree(world.settings.data / ".keyframe/plans")  # as after a day

    assert recovered(world, job).status is DONE

    (told,) = calls(world)
    assert (told["is_itemised"], told["paths"], told["records"]) == (False, [], [])


# --- settings


def test_names_that_cannot_be_imported_are_told_all_at_once_when_the_office_is_built(world: World) -> None:
    names = ("nowhere_at_all:x", "hooked:nothing", "hooked:noted", "hooked:WAIT")
    hooks = world.settings.hooks.model_copy(update={"after_restore": names})

    with pytest.raises(SettingsError) as caught:
        build(world.settings.model_copy(update={"hooks": hooks}))

    assert [one.split(":")[0] for one in caught.value.mistakes] == [f"hooks.after_restore.{n}" for n in (0, 1, 3)]
    assert "No module named 'nowhere_at_all'" in caught.value.mistakes[0]
    assert "nothing was started" in caught.value.hint

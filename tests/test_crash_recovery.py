"""A process that undoes, recovers or turns back is killed at every named step, a recovery twice in a row.

As `test_crash.py` does it with a restore.
"""

from __future__ import annotations

from typing import Any

import pytest
from crash_child import Crasher
from keyframe.model import Job
from keyframe.wiring import build
from sweep import (
    CANCELLED,
    DATABASE,
    DONE,
    FAILED,
    PASSED,
    UNCHANGED,
    has_begun,
    points,
    prepare,
    recovered,
    require_clean,
    turn,
)
from world import PROJECT, SITE, World

pytestmark = pytest.mark.usefixtures("quick_transactions")


def test_a_killed_undo_is_wholly_old_or_wholly_new(world: World, crasher: Crasher) -> None:
    good, _ = prepare(world, SITE, collections=True)
    desk = world.office.desk
    spoilt = world.state()
    assert world.restore(good, SITE).status is DONE
    turn(world, "first")
    whole = crasher.run(world, desk.undo(world.ask, SITE).id)
    assert (whole.code, world.state()) == (0, spoilt)
    is_restored = False

    for number, point in enumerate(points(whole.trace, PASSED["undo"], turns=0)):
        if not is_restored:
            assert world.restore(good, SITE).status is DONE, point
        turn(world, f"{number}")  # so that the safety snapshot of the undo is a new one each time
        restored = world.state()
        job = desk.undo(world.ask, SITE)

        death = crasher.run(world, job.id, point)
        outcome = recovered(world, job)

        assert death.killed, point
        new = has_begun(death)
        is_restored = not new  # then the restore is still there to be undone, by the next turn
        assert outcome.status is (DONE if new else FAILED), point
        assert world.state() == (spoilt if new else restored), point
    if is_restored:
        assert world.done(desk.undo(world.ask, SITE)).status is DONE
    assert world.state() == spoilt
    assert world.restore(good, SITE).status is DONE
    require_clean(world, set())


# --- recovery


STRUCTURE = tuple(step for step in DATABASE if step not in ("records", "fence", "body", "commit records"))
REST = tuple(step for step in PASSED["recover"] if step not in STRUCTURE)


@pytest.mark.parametrize("steps", [STRUCTURE, REST[::2], REST[1::2]], ids=["structure", "even", "odd"])
def test_a_recovery_that_is_killed_twice_is_finished_by_the_next_one(
    world: World, crasher: Crasher, steps: tuple[str, ...]
) -> None:
    good, after = prepare(world, SITE, collections=steps == STRUCTURE)
    desk = world.office.desk
    crasher.run(world, desk.restore(world.ask, SITE, good.name).id, "intent:after:1")
    whole = crasher.recover(world)
    assert (whole.code, world.state()) == (0, after)
    deaths = points(whole.trace, steps, turns=0)

    for number, point in enumerate(deaths):
        assert world.done(desk.undo(world.ask, SITE)).status is DONE, point
        job = desk.restore(world.ask, SITE, good.name)
        crasher.run(world, job.id, "intent:after:1")

        death = crasher.recover(world, point)
        again = crasher.recover(world, deaths[number - 1])  # it may not come so far as to that one
        outcome = recovered(world, job)

        assert death.killed, point
        assert again.killed or again.code == 0, point
        assert outcome.status is DONE, point
        assert world.state() == after, point
    assert world.done(desk.make(world.ask, SITE)).status in (DONE, UNCHANGED)
    require_clean(world, set())


def interrupted(world: World, crasher: Crasher, snapshot: str) -> Job:
    """A restore whose process was killed after it had begun to change things."""
    job = world.office.desk.restore(world.ask, PROJECT, snapshot)
    assert crasher.run(world, job.id, "rename:after:1").killed
    return job


def test_a_killed_way_back_is_gone_to_its_end_twice_in_a_row(world: World, crasher: Crasher) -> None:
    good, after = prepare(world, PROJECT)
    before = world.state()
    job = interrupted(world, crasher, good.name)
    whole = crasher.ask(world, "turn back", PROJECT.key)
    assert (whole.code, world.state()) == (0, before)
    deaths = points(whole.trace, PASSED["turn back"], turns=0)
    deaths = ["turn back:before:1", "turn back:after:1", *deaths[1:]]

    for number, point in enumerate(deaths):
        job = interrupted(world, crasher, good.name)

        death = crasher.ask(world, "turn back", PROJECT.key, kill=point)
        again = crasher.recover(world, deaths[number - 1])
        outcome = recovered(world, job)

        assert death.killed, point
        assert again.killed or again.code == 0, point
        asked = "turn back:after:1" in death.trace
        assert outcome.status in ((CANCELLED, FAILED) if asked else (DONE,)), point
        assert world.state() == (before if asked else after), point
        if not asked:
            assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
    assert world.restore(good, PROJECT).status is DONE
    assert world.state() == after
    assert world.done(world.office.desk.make(world.ask, PROJECT)).status in (DONE, UNCHANGED)
    require_clean(world, set())


def test_a_wish_to_turn_back_does_not_outlive_its_restore(world: World, crasher: Crasher) -> None:
    good, after = prepare(world, PROJECT)
    interrupted(world, crasher, good.name)
    death = crasher.ask(world, "turn back", PROJECT.key, kill="forget wish:before:1")
    assert death.killed
    assert world.office.intents.open() == ()
    assert world.office.intents.is_turned_back(PROJECT), "the wish was to be left behind"
    world.office.work.recover()

    job = interrupted(world, crasher, good.name)  # of another restore nobody wished that
    outcome = recovered(world, job)

    assert outcome.status is DONE
    assert world.state() == after


def test_processes_that_recover_at_the_same_time_agree(world: World, crasher: Crasher) -> None:
    good, after = prepare(world, SITE)
    desk = world.office.desk
    for point in ("intent:after:1", "records:after:1", "rename:before:2", "mark:after:2", "unlock:after:1"):
        job = desk.restore(world.ask, SITE, good.name)
        crasher.run(world, job.id, point)

        deaths = crasher.all(world, [{"act": "recover", "kill": ""} for _ in range(3)])
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

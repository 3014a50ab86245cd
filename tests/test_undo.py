"""The undo of a restore, asked of the desk: its preview, the plan that binds it, whom it is for."""

from __future__ import annotations

import os
import time

import pytest
from crash_child import Crasher
from keyframe.errors import ExpiredError, InvalidError, NotFoundError, RefusedError
from keyframe.model import Actor, Job, Outcome, OutcomeStatus, Plan, Selection
from world import EDITION, OTHER, PROJECT, SITE, World

DONE = OutcomeStatus.DONE
ADMIN = Actor("admin", "Admin", "admin", "page")
ANNA, BRAM = Actor("anna", "Anna", "user", "page"), Actor("bram", "Bram", "user", "page")


def restored(world: World, selection: Selection | None = None) -> tuple[Job, Outcome]:
    """A restore of the first project, which had been spoilt."""
    snapshot = world.make()
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name, selection)
    return job, world.done(job)


def plan_of(world: World, job: Job) -> Plan:
    outcome = world.done(job)
    assert outcome.status is DONE and outcome.report is not None, outcome
    return Plan.from_dict(outcome.report)


def test_the_preview_of_an_undo_changes_nothing_and_is_what_the_undo_does(world: World) -> None:
    desk = world.office.desk
    snapshot = world.make()
    world.spoil()
    spoilt = world.state()
    restore = world.restore(snapshot)
    before = world.state()

    plan = plan_of(world, desk.preview_undo(world.ask, PROJECT))
    looked = world.state()
    done = world.done(desk.undo(world.ask, PROJECT, plan=plan.digest))

    assert looked == before
    assert plan.snapshot == restore.safety
    names = {item.name for item in desk.plan_items(world.ask, plan.digest, limit=200).items}
    assert {f"edition/{EDITION[0]}/articles/a.html", f"edition/{EDITION[0]}", "edition/stray"} <= names
    assert done.status is DONE and done.report is not None
    assert {key: value for key, value in done.report.items() if key != "seconds"} == plan.as_dict()
    assert world.state() == spoilt


def test_the_preview_by_job_by_name_and_without_a_name_is_the_same(world: World) -> None:
    desk = world.office.desk
    job, outcome = restored(world)

    plans = [
        plan_of(world, desk.preview_undo_job(world.ask, job.id)),
        plan_of(world, desk.preview_undo(world.ask, PROJECT, outcome.safety or "")),
        plan_of(world, desk.preview_undo(world.ask, PROJECT)),
    ]

    assert len({one.digest for one in plans}) == 1
    assert world.done(desk.undo_job(world.ask, job.id, plans[0].digest)).status is DONE


def test_the_preview_of_an_undo_is_about_what_the_restore_was_about(world: World) -> None:
    chosen = Selection(editions=(str(EDITION[0]),))
    job, _ = restored(world, chosen)
    world.write(f"edition/{EDITION[1]}/afterwards.txt", "work done after the restore")

    plan = plan_of(world, world.office.desk.preview_undo_job(world.ask, job.id))

    assert plan.selection == chosen
    items = world.office.desk.plan_items(world.ask, plan.digest, limit=200).items
    assert items and not [one.name for one in items if "afterwards" in one.name]


def test_an_undo_whose_plan_was_overtaken_is_stale_and_names_what_changed(world: World) -> None:
    desk = world.office.desk
    job, _ = restored(world)
    plan = plan_of(world, desk.preview_undo_job(world.ask, job.id))
    world.write("later.txt", "not seen in the preview")
    before = world.state()

    stale = world.done(desk.undo_job(world.ask, job.id, plan.digest))

    assert (stale.status, stale.problems[0].code) == (OutcomeStatus.FAILED, "stale")
    assert stale.report is not None and [one["name"] for one in stale.report["changed"]] == ["later.txt"]
    assert world.state() == before
    done = world.done(desk.undo_job(world.ask, job.id, plan.digest, newer=True))
    assert done.status is DONE and done.report is not None
    assert [one["name"] for one in done.report["changed"]] == ["later.txt"]


def test_a_plan_of_something_else_binds_no_undo(world: World) -> None:
    desk = world.office.desk
    snapshot = world.make()
    world.spoil()
    other = world.preview(snapshot)
    job = desk.restore(world.ask, PROJECT, snapshot.name)
    safety = world.done(job).safety or ""
    narrow = plan_of(
        world, desk.preview(world.ask, PROJECT, safety, Selection(editions=(str(EDITION[0]),)), only_intact=False)
    )
    intact = plan_of(world, desk.preview(world.ask, PROJECT, safety, only_intact=True))
    before = world.state()

    for plan in (other, narrow, intact):
        with pytest.raises(InvalidError, match="for something else"):
            desk.undo_job(world.ask, job.id, plan.digest)
        with pytest.raises(InvalidError, match="for something else"):
            desk.undo(world.ask, PROJECT, safety, plan.digest)
    with pytest.raises(NotFoundError):
        desk.undo_job(world.ask, job.id, "0" * 64)
    with pytest.raises(InvalidError, match="Nothing was agreed to"):
        desk.undo_job(world.ask, job.id, newer=True)
    assert world.state() == before


def test_the_undo_of_an_undo_has_a_preview_too_and_says_that_it_is_one(world: World) -> None:
    desk = world.office.desk
    first, _ = restored(world)
    good = world.state()
    plan = plan_of(world, desk.preview_undo_job(world.ask, first.id))
    undo = desk.undo_job(world.ask, first.id, plan.digest)
    world.done(undo)

    again = plan_of(world, desk.preview_undo_job(world.ask, undo.id))
    undoing = desk.undoing(world.ask, again, undo.id)
    redone = world.done(desk.undo_job(world.ask, undo.id, again.digest))

    assert redone.status is DONE
    assert world.state() == good
    assert undoing is not None and undoing.taken == "undo"
    assert undoing.job is not None and undoing.job.order.actor.user == "root"
    of_first = desk.undoing(world.ask, plan, first.id)
    assert of_first is not None and (of_first.taken, of_first.mark.state) == ("restore", "undone")


def test_only_the_plan_of_an_undo_is_told_as_one(world: World) -> None:
    desk = world.office.desk
    snapshot = world.make()
    world.spoil()
    other = world.preview(snapshot)
    job = desk.restore(world.ask, PROJECT, snapshot.name)
    world.done(job)

    plan = plan_of(world, desk.preview_undo_job(world.ask, job.id))

    assert desk.undoing(world.ask, plan, job.id) is not None
    assert desk.undoing(world.ask, other, job.id) is None
    assert desk.undoing(world.ask, plan, "0" * 24) is None


def test_what_never_served_a_restore_is_not_said_to_be_undone_already(world: World) -> None:
    snapshot = world.make(PROJECT)

    with pytest.raises(InvalidError, match="No restore that could be undone"):
        world.office.desk.undo(world.ask, PROJECT, snapshot.name)


def test_what_is_undone_already_has_no_preview(world: World) -> None:
    desk = world.office.desk
    job, outcome = restored(world)
    world.done(desk.undo_job(world.ask, job.id))

    with pytest.raises(InvalidError, match="undone already"):
        desk.preview_undo_job(world.ask, job.id)
    with pytest.raises(InvalidError, match="undone already"):
        desk.preview_undo(world.ask, PROJECT, outcome.safety or "")
    with pytest.raises(NotFoundError, match="no restore to undo"):
        desk.preview_undo(world.ask, OTHER)


def test_an_organiser_looks_at_the_undo_in_his_project_and_nobody_learns_of_others(world: World) -> None:
    desk = world.office.desk
    job, outcome = restored(world)

    plan = plan_of(world, desk.preview_undo_job(ANNA, job.id))

    assert desk.undoing(ANNA, plan, job.id) is not None
    said = set()
    for asked in (job.id, "0" * 24):
        with pytest.raises(NotFoundError) as refused:
            desk.preview_undo_job(BRAM, asked)
        said.add(str(refused.value))
    assert len(said) == 1
    with pytest.raises(NotFoundError):
        desk.preview_undo(BRAM, PROJECT, outcome.safety or "")
    with pytest.raises(NotFoundError):
        desk.undoing(BRAM, plan, job.id)
    with pytest.raises(NotFoundError):
        desk.undo_job(BRAM, job.id, plan.digest)


def test_only_root_looks_at_the_undo_of_a_restore_that_brought_people_back(world: World) -> None:
    desk = world.office.desk
    snapshot = world.make(SITE)
    world.db.user.delete_one({"user": "bram"})
    job = desk.restore(world.ask, SITE, snapshot.name, people=True)
    assert world.done(job).status is DONE

    plan = plan_of(world, desk.preview_undo_job(world.ask, job.id))

    assert plan.people and plan.deletes.records == 1
    with pytest.raises(RefusedError):
        desk.preview_undo_job(ADMIN, job.id)
    with pytest.raises(RefusedError):
        desk.undo_job(ADMIN, job.id, plan.digest)


def test_the_preview_of_an_undo_that_is_damaged_fails_and_changes_nothing(world: World) -> None:
    job, outcome = restored(world)
    dump = world.settings.repository / "project" / str(PROJECT.project_id) / (outcome.safety or "")
    (dump / "db/bson/edition.bson").write_bytes(b"spoilt")
    before = world.state()

    failed = world.done(world.office.desk.preview_undo_job(world.ask, job.id))

    assert failed.status is OutcomeStatus.FAILED
    assert failed.problems[0].code.startswith("damaged.")
    assert world.state() == before


def test_a_preview_of_an_undo_that_has_expired_says_what_it_was_of(world: World) -> None:
    desk = world.office.desk
    job, _ = restored(world)
    plan = plan_of(world, desk.preview_undo_job(world.ask, job.id))
    for kept in (world.settings.data / ".keyframe/plans").glob(f"{plan.digest}*"):
        os.utime(kept, (time.time() - 90_000,) * 2)

    with pytest.raises(ExpiredError) as gone:
        desk.undo_job(world.ask, job.id, plan.digest)

    assert gone.value.again["undo_of"] == job.id


def test_what_was_undone_while_the_undo_waited_is_not_undone_twice(world: World) -> None:
    desk = world.office.desk
    job, _ = restored(world)
    plan = plan_of(world, desk.preview_undo_job(world.ask, job.id))
    first, second = desk.undo(world.ask, PROJECT), desk.undo(world.ask, PROJECT)
    bound = desk.undo_job(world.ask, job.id, plan=plan.digest)

    assert world.done(first).status is DONE
    world.write("work.txt", "made since")
    worked = world.state()

    for waiting in (second, bound):
        outcome = world.done(waiting)
        assert outcome.status is OutcomeStatus.FAILED
        assert (outcome.problems[0].code, outcome.problems[0].what) == ("invalid", "This restore is undone already.")
        assert world.state() == worked
    assert world.done(desk.undo(world.ask, PROJECT)).status is DONE  # of the undo


def test_an_undo_that_is_turned_back_at_its_very_end_can_be_ordered_again(world: World, crasher: Crasher) -> None:
    desk = world.office.desk
    job, _ = restored(world)
    kept = world.state()
    undo = desk.undo(world.ask, PROJECT)
    assert crasher.run(world, undo.id, "unlock:before:1").killed  # it is marked as undone by then
    spoilt = world.state()

    desk.turn_back(world.ask, PROJECT)
    world.office.work.recover()

    assert world.state() == kept
    assert desk.job(world.ask, undo.id).outcome.status is OutcomeStatus.CANCELLED  # type: ignore[union-attr]
    assert world.done(desk.undo_job(world.ask, job.id)).status is DONE
    assert world.state() == spoilt

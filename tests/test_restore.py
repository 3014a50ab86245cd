"""Restore and undo: what the preview says is what is done, the state before is one click away."""

from __future__ import annotations

import os
import shutil
import threading
from typing import Any

import pytest
from bson import ObjectId
from keyframe.errors import BusyError, InvalidError, NotFoundError, RefusedError
from keyframe.model import Actor, OutcomeStatus, Plan, Reason, Scope, Selection
from world import EDITION, ONE, OTHER, PROJECT, SITE, TWO, World

DONE = OutcomeStatus.DONE


def items(world: World, plan: Plan) -> set[tuple[str, str, str]]:
    page = world.office.desk.plan_items(world.ask, plan.digest, limit=200)
    return {(item.change.value, item.kind, item.name) for item in page.items}


def test_looking_changes_nothing(world: World) -> None:
    snapshot = world.make(SITE)
    world.spoil()
    before = world.state()

    world.preview(snapshot, SITE)

    assert world.state() == before


def test_preview_names_every_change(world: World) -> None:
    snapshot = world.make()
    world.spoil()

    plan = world.preview(snapshot)

    top = f"edition/{EDITION[0]}"
    assert items(world, plan) == {
        ("replace", "file", f"{top}/model.glb"),
        ("create", "file", f"{top}/articles/a.html"),
        ("delete", "directory", f"{top}/new dir"),
        ("delete", "file", f"{top}/new dir/ü\n.txt"),
        ("replace", "record", f"edition/{EDITION[0]}"),
        ("create", "record", f"edition/{EDITION[1]}"),
        ("delete", "record", "edition/stray"),
    }
    assert (plan.creates.files, plan.replaces.files, plan.deletes.files) == (1, 1, 1)
    assert (plan.creates.records, plan.replaces.records, plan.deletes.records) == (1, 1, 1)
    assert plan.unchanged.records == 1


def test_the_report_of_a_restore_equals_the_preview(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    plan = world.preview(snapshot)

    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is DONE and outcome.report is not None
    seconds = {**outcome.report}.pop("seconds")
    assert outcome.report == {**plan.as_dict(), "seconds": seconds}
    assert 0 < seconds["gate_closed"] < seconds["until_open"]


def test_only_what_differs_is_touched(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    kept = [one for one in world.folder(PROJECT).rglob("*") if one.is_file() and str(EDITION[1]) in str(one)]
    before = [(one.stat().st_ino, one.stat().st_ctime_ns) for one in kept]

    world.restore(snapshot)

    assert kept
    assert [(one.stat().st_ino, one.stat().st_ctime_ns) for one in kept] == before


def test_undo_and_undo_of_the_undo(world: World) -> None:
    before = world.state()
    snapshot = world.make()
    world.spoil()
    spoilt = world.state()
    desk = world.office.desk

    restore = world.restore(snapshot)
    undo = world.done(desk.undo(world.ask, PROJECT, restore.safety or ""))
    undone = world.state()
    redo = world.done(desk.undo(world.ask, PROJECT))

    assert (restore.status, undo.status, redo.status) == (DONE, DONE, DONE)
    assert undone == spoilt
    assert world.state() == before


def test_undo_brings_back_the_selection_and_nothing_beside_it(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    spoilt = world.files(PROJECT)
    outcome = world.restore(snapshot, selection=Selection(editions=(str(EDITION[0]),)))
    world.write(f"edition/{EDITION[1]}/afterwards.txt", "work done after the restore")

    undo = world.done(world.office.desk.undo(world.ask, PROJECT, outcome.safety or ""))

    now = world.files(PROJECT)
    assert undo.status is DONE
    assert now.pop(f"edition/{EDITION[1]}/afterwards.txt")[0] == "file"
    assert now == spoilt


def test_a_restore_cannot_be_undone_twice(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    desk = world.office.desk
    job = desk.restore(world.ask, PROJECT, snapshot.name)
    world.done(job)
    world.done(desk.undo_job(world.ask, job.id))

    with pytest.raises(InvalidError, match="undone already"):
        desk.undo_job(world.ask, job.id)


def test_the_safety_snapshot_says_what_it_was_made_for(world: World) -> None:
    snapshot = world.make()
    world.spoil()

    outcome = world.restore(snapshot)

    safety = world.office.desk.snapshot(world.ask, PROJECT, outcome.safety or "")
    assert safety.reason is Reason.SAFETY
    assert safety.undoable is not None
    assert safety.undoable.snapshot == snapshot.name


def test_a_whole_snapshot_of_the_state_now_serves_as_safety_snapshot(world: World) -> None:
    first = world.make()
    world.spoil()
    second = world.make(note="spoilt")

    outcome = world.restore(first)

    assert outcome.safety == second.name


def test_nothing_to_do_is_unchanged_and_makes_no_mark(world: World) -> None:
    snapshot = world.make()

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.UNCHANGED
    assert world.office.desk.snapshot(world.ask, PROJECT, snapshot.name).restores == ()


def test_an_overtaken_plan_is_stale_and_brings_the_new_one(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    plan = world.preview(snapshot)
    world.write(f"edition/{EDITION[1]}/late.txt")
    before = world.state()

    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.problems[0].code == "stale"
    assert outcome.report is not None
    assert outcome.report["digest"] == world.preview(snapshot).digest != plan.digest
    assert world.state() == before


def test_a_plan_for_something_else_is_refused(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    later = world.make()
    plan = world.preview(snapshot)
    desk = world.office.desk

    with pytest.raises(InvalidError):
        desk.restore(world.ask, PROJECT, later.name, plan=plan.digest)
    with pytest.raises(InvalidError):
        desk.restore(world.ask, PROJECT, snapshot.name, Selection(editions=(str(EDITION[0]),)), plan=plan.digest)
    with pytest.raises(NotFoundError):
        desk.restore(world.ask, PROJECT, snapshot.name, plan="0" * 64)


def test_an_edit_made_while_files_are_staged_is_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from keyframe.backup.staging import Staging

    snapshot = world.make()
    world.spoil()
    edited = world.folder(PROJECT) / "edition" / str(EDITION[0]) / "model.glb"
    real = Staging.fill
    rounds = []

    def fill_and_edit(self: Staging, *given: Any) -> None:
        real(self, *given)
        if not rounds:
            edited.write_text("an edit that nobody may lose")
        rounds.append(1)

    monkeypatch.setattr(Staging, "fill", fill_and_edit)
    outcome = world.restore(snapshot)

    safety = world.office.desk.snapshot(world.ask, PROJECT, outcome.safety or "")
    kept = world.stored(safety) / "files" / "edition" / str(EDITION[0]) / "model.glb"
    assert outcome.status is DONE
    assert len(rounds) == 2
    assert kept.read_text() == "an edit that nobody may lose"


def test_work_that_never_pauses_makes_the_restore_stale(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from keyframe.backup.staging import Staging

    snapshot = world.make()
    world.spoil()
    real = Staging.fill

    def fill_and_edit(self: Staging, *given: Any) -> None:
        real(self, *given)
        world.db.edition.update_one({"_id": EDITION[0]}, {"$inc": {"edits": 1}})

    monkeypatch.setattr(Staging, "fill", fill_and_edit)
    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.problems[0].code == "stale"
    assert world.db.edition.find_one({"_id": EDITION[0]})["edits"] == 3  # type: ignore[index]


def test_people_who_go_on_working_do_not_hold_up_a_restore_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyframe.backup.staging import Staging
    from keyframe.errors import UnavailableError

    snapshot = world.make()
    world.spoil()
    real = Staging.fill
    saved, waited = [], []

    def fill_and_edit(self: Staging, *given: Any) -> None:
        real(self, *given)
        try:
            with world.office.gate.shared(0):
                world.db.edition.update_one({"_id": EDITION[0]}, {"$inc": {"edits": 1}})
                saved.append(1)
        except UnavailableError:
            waited.append(1)

    monkeypatch.setattr(Staging, "fill", fill_and_edit)
    outcome = world.restore(snapshot)

    desk = world.office.desk
    safety = desk.snapshot(world.ask, PROJECT, outcome.safety or "")
    assert outcome.status is DONE
    assert (len(saved), len(waited)) == (2, 1)
    assert b'"edits" : { "$numberInt" : "2" }' in (world.stored(safety) / "db/json/edition.json").read_bytes()
    assert [one.name for one in desk.snapshots(world.ask, PROJECT).items] == [safety.name, snapshot.name]
    assert len(desk.snapshots(world.ask, PROJECT, trash=True).items) == 2  # of the tries that came to nothing


@pytest.mark.parametrize("fault", ["overtaken", "cancelled"])
def test_a_restore_that_does_not_begin_leaves_no_safety_snapshot(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from keyframe.backup.staging import Staging

    snapshot = world.make()
    world.spoil()
    plan = world.preview(snapshot)

    def spoil_more(*_: Any) -> None:
        world.write("late.txt", "late")
        if fault == "cancelled":
            _stop()

    monkeypatch.setattr(Staging, "fill", spoil_more)
    outcome = world.restore(snapshot, plan=plan.digest)

    expected = {"overtaken": "stale", "cancelled": "cancelled"}
    listed = world.office.desk.snapshots(world.ask, PROJECT).items
    assert outcome.problems[0].code == expected[fault]
    assert [one.name for one in listed] == [snapshot.name]
    assert (world.folder(PROJECT) / "late.txt").read_text() == "late"


def test_a_site_restore_of_chosen_projects_leaves_the_others(world: World) -> None:
    snapshot = world.make(SITE)
    world.spoil()
    world.write("edition/more.txt", "of the other", OTHER)
    world.db.edition.update_one({"projectId": TWO}, {"$set": {"title": "of the other"}})
    world.write("about.txt", "changed", SITE)
    other, about = world.files(OTHER), world.files(SITE)["about.txt"]

    outcome = world.restore(snapshot, SITE, Selection(projects=(str(ONE),)))

    assert outcome.status is DONE
    assert world.files(OTHER) == other
    assert world.files(SITE)["about.txt"] == about
    assert world.db.edition.find_one({"projectId": TWO})["title"] == "of the other"  # type: ignore[index]
    assert world.db.edition.find_one({"_id": EDITION[0]})["title"] == "Edition 0"  # type: ignore[index]


def test_two_projects_out_of_a_site_snapshot(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    world.spoil()
    world.write("edition/more.txt", "of the other", OTHER)
    world.db.edition.delete_many({"projectId": TWO})

    outcome = world.restore(snapshot, SITE, Selection(projects=(str(ONE), str(TWO))))

    assert outcome.status is DONE
    assert world.state() == before


def test_editions_without_their_project_mean_nothing(world: World) -> None:
    snapshot = world.make(SITE)

    with pytest.raises(InvalidError):
        world.preview(snapshot, SITE, Selection(editions=(str(EDITION[0]),)))


def test_an_edition_that_never_was_is_not_found(world: World) -> None:
    snapshot = world.make()

    outcome = world.done(world.office.desk.preview(world.ask, PROJECT, snapshot.name, Selection(editions=("f" * 24,))))

    assert outcome.problems[0].code == "not-found"


def test_root_may_restore_people_and_is_told_who(world: World) -> None:
    before = world.records()["user"]
    snapshot = world.make(SITE)
    world.db.user.insert_one({"user": "carla", "role": "admin"})
    world.db.user.delete_one({"user": "bram"})
    world.db.user.update_one({"user": "anna"}, {"$set": {"role": "admin"}})

    plan = world.preview(snapshot, SITE, people=True)
    outcome = world.restore(snapshot, SITE, plan=plan.digest)

    warning = next(one for one in plan.warnings if one.code == "people")
    assert "1 comes back, 1 is removed, 1 becomes as it was" in warning.what
    assert outcome.status is DONE
    assert world.records()["user"] == before


def test_an_admin_may_not_restore_people(world: World) -> None:
    snapshot = world.make(SITE)
    admin = Actor("admin", "Admin", "admin", "page")

    with pytest.raises(RefusedError):
        world.office.desk.preview(admin, SITE, snapshot.name, people=True)
    with pytest.raises(RefusedError):
        world.office.desk.restore(admin, SITE, snapshot.name, people=True)


def test_on_an_empty_machine_people_come_along(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    shutil.rmtree(world.settings.working)
    world.client.drop_database(world.db.name)

    outcome = world.restore(snapshot, SITE)

    assert outcome.status is DONE
    assert world.state() == before


def test_on_an_empty_machine_an_admin_at_the_shell_brings_people_back_too(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    shutil.rmtree(world.settings.working)
    world.client.drop_database(world.db.name)
    admin = Actor("shell", "Shell", "admin", "cli")

    outcome = world.done(world.office.desk.restore(admin, SITE, snapshot.name))

    assert outcome.status is DONE
    assert world.state() == before


def test_rights_are_asked_again_when_the_job_starts(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    anna = Actor("anna", "Anna", "user", "api")
    job = world.office.desk.restore(anna, PROJECT, snapshot.name)
    world.db.projectUser.delete_many({"user": "anna"})
    before = world.state()

    outcome = world.done(job)

    assert outcome.status in (OutcomeStatus.REFUSED, OutcomeStatus.FAILED)
    assert outcome.problems[0].code in ("refused", "not-found")
    assert world.state() == before


def test_delete_during_a_job_is_busy(world: World) -> None:
    snapshot = world.make()
    world.office.desk.make(world.ask, PROJECT)
    claim = world.office.jobs.claim()
    assert claim is not None

    with pytest.raises(BusyError, match="make of project"):
        world.office.desk.delete(world.ask, PROJECT, snapshot.name)
    world.office.work.run(claim)
    world.office.desk.delete(world.ask, PROJECT, snapshot.name)

    assert world.office.desk.snapshots(world.ask, PROJECT).items == ()


def test_delete_and_undelete(world: World) -> None:
    snapshot = world.make(note="kept")
    desk = world.office.desk

    desk.delete(world.ask, PROJECT, snapshot.name)
    in_trash = desk.snapshots(world.ask, PROJECT, trash=True).items
    with pytest.raises(NotFoundError):
        desk.restore(world.ask, PROJECT, snapshot.name)
    desk.undelete(world.ask, PROJECT, snapshot.name)

    assert [one.name for one in in_trash] == [snapshot.name]
    assert in_trash[0].deleted_by == "root"
    assert [one.note for one in desk.snapshots(world.ask, PROJECT).items] == ["kept"]


def test_a_project_cannot_change_a_snapshot_of_the_site(world: World) -> None:
    snapshot = world.make(SITE, note="of the site")
    anna = Actor("anna", "Anna", "user", "page")
    desk = world.office.desk

    shown = desk.snapshot(anna, PROJECT, snapshot.name)

    assert shown.scope == SITE
    assert shown.documents == 3
    for act in (desk.delete, desk.undelete, desk.undo):
        with pytest.raises(RefusedError):
            act(anna, PROJECT, snapshot.name)
    with pytest.raises(RefusedError):
        desk.note(anna, PROJECT, snapshot.name, "mine")


def test_an_organiser_restores_his_project_out_of_a_site_snapshot(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    world.spoil()
    world.ask = Actor("anna", "Anna", "user", "page")

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is DONE
    assert world.state() == before
    safety = world.office.desk.snapshot(world.ask, PROJECT, outcome.safety or "")
    assert safety.scope == PROJECT
    assert not any(str(TWO) in item[2] for item in items(world, plan))


def test_two_restores_of_one_scope_come_one_after_the_other(world: World) -> None:
    first = world.make()
    world.spoil()
    second = world.make()
    desk = world.office.desk
    jobs = [desk.restore(world.ask, PROJECT, one.name) for one in (first, second)]
    ended: list[Any] = []

    threads = [threading.Thread(target=lambda job=job: ended.append(world.done(job))) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert {one.status for one in ended} <= {DONE, OutcomeStatus.UNCHANGED}
    assert len(ended) == 2


def test_every_act_and_refusal_leaves_an_audit_row(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    world.restore(snapshot)
    world.office.desk.note(world.ask, PROJECT, snapshot.name, "noted")
    with pytest.raises(NotFoundError):
        world.office.desk.make(Actor("bram", "Bram", "user", "api"), PROJECT)

    rows = world.client[f"{world.db.name}_control"]["audit"].find({}, {"_id": 0, "act": 1, "outcome": 1, "user": 1})
    assert [(row["user"], row["act"], row["outcome"]) for row in rows] == [
        ("root", "make", "done"),
        ("root", "restore", "done"),
        ("root", "note", "done"),
        ("bram", "make", "not-found"),
    ]


def test_scopes_are_those_that_one_may_see(world: World) -> None:
    world.make(SITE)
    world.db.project.delete_one({"_id": TWO})
    desk = world.office.desk

    seen = [view.scope for view in desk.scopes(world.ask)]

    assert seen == [SITE, PROJECT, OTHER]
    assert [view.scope for view in desk.scopes(Actor("anna", "Anna", "user", "api"))] == [PROJECT]
    assert desk.scopes(Actor("bram", "Bram", "user", "api")) == ()  # his project is gone
    with pytest.raises(NotFoundError):
        desk.make(world.ask, Scope.project(str(TWO)))


def test_what_comes_back_and_has_nobody_is_named(world: World) -> None:
    snapshot = world.make()
    shutil.rmtree(world.folder(PROJECT))
    world.db.edition.delete_many({"projectId": ONE})
    world.db.project.delete_one({"_id": ONE})
    world.db.projectUser.delete_many({"projectId": ONE})

    plan = world.preview(snapshot)

    warnings = [(one.code, one.subject) for one in plan.warnings]
    assert warnings == [("uncoupled", "First"), ("uncoupled", "Edition 0, Edition 1")]


def test_an_id_has_one_spelling(world: World) -> None:
    world.client.drop_database("unused")
    spelt = Scope.project(str(ObjectId("d" * 24)).upper())
    world.db.project.insert_one({"_id": ObjectId("d" * 24), "title": "Third"})

    with pytest.raises(NotFoundError):
        world.office.desk.snapshots(world.ask, spelt)
    with pytest.raises(NotFoundError):
        world.office.desk.make(world.ask, spelt)


def test_latest_is_not_the_state_that_was_just_replaced(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    world.restore(snapshot)

    assert world.office.desk.snapshot(world.ask, PROJECT, "latest") == snapshot


def test_a_restore_that_finds_nothing_to_do_leaves_no_safety_snapshot(world: World) -> None:
    snapshot = world.make()
    path = world.write("more.txt")
    world.make()
    path.unlink()

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.UNCHANGED
    assert len(world.office.desk.snapshots(world.ask, PROJECT).items) == 2


def test_a_deleted_project_keeps_its_title(world: World) -> None:
    world.make(SITE)
    world.make()
    world.db.project.delete_many({})

    titles = {view.scope: view.title for view in world.office.desk.scopes(world.ask)}

    assert titles[PROJECT] == "First (deleted)"
    assert titles[OTHER] == "Second (deleted)"
    assert world.office.desk.scope(world.ask, OTHER).title == "Second (deleted)"


def test_a_make_without_room_names_both_numbers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.make()
    world.write("big.bin", "x" * 2_000_000)
    monkeypatch.setattr("keyframe.stores.disk.free_bytes", lambda _: 1_500_000)

    outcome = world.done(world.office.desk.make(world.ask, PROJECT))

    assert outcome.problems[0].code == "no-room"
    assert "needs about 2.0 MB, the disk has 1.5 MB free" in outcome.problems[0].what
    assert len(world.office.desk.snapshots(world.ask, PROJECT).items) == 1


def test_work_past_the_gate_during_the_change_over_is_left_and_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyframe.backup.staging import Staging

    snapshot = world.make()
    world.spoil()
    top = f"edition/{EDITION[0]}"
    real = Staging.move
    rounds = []

    def write_past_the_gate(self: Staging, *given: Any) -> None:
        rounds.append(1)
        if len(rounds) > 1:
            return real(self, *given)
        world.write(f"{top}/model.glb", "an overwrite that nobody may lose")
        world.write(f"{top}/new dir/late.txt", "a file that nobody may lose")
        world.db.edition.insert_one({"_id": "late", "projectId": ONE, "title": "late"})
        world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "later still"}})
        return real(self, *given)

    monkeypatch.setattr(Staging, "move", write_past_the_gate)
    outcome = world.restore(snapshot)

    folder = world.folder(PROJECT)
    assert (folder / top / "model.glb").read_text() == "an overwrite that nobody may lose"
    assert (folder / top / "new dir/late.txt").read_text() == "a file that nobody may lose"
    assert {one["_id"] for one in world.db.edition.find({"title": {"$regex": "^late"}})} == {"late", EDITION[0]}
    assert outcome.status is OutcomeStatus.PARTIAL
    assert {one.subject for one in outcome.problems if one.code == "changed"} == {
        f"{top}/model.glb",
        f"{top}/new dir/late.txt",
        "edition/late",
        f"edition/{EDITION[0]}",
    }
    assert (folder / top / "articles/a.html").exists()  # the rest is as in the snapshot
    assert world.office.intents.open() == ()


def test_a_folder_that_somebody_puts_in_the_place_of_a_file_past_the_gate_is_left_with_what_is_in_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyframe.backup.staging import Staging

    top = f"edition/{EDITION[0]}"
    snapshot = world.make()
    world.spoil()
    world.write("goes.txt")
    taken = [f"{top}/model.glb", f"{top}/articles/a.html", "goes.txt"]  # replaced, created, deleted
    real = Staging.move
    rounds = []

    def put_folders(self: Staging, *given: Any) -> None:
        rounds.append(1)
        for path in taken if len(rounds) == 1 else ():
            (world.folder(PROJECT) / path).unlink(missing_ok=True)
            world.write(f"{path}/inside.txt", "precious")
        return real(self, *given)

    monkeypatch.setattr(Staging, "move", put_folders)
    outcome = world.restore(snapshot)

    assert [(world.folder(PROJECT) / path / "inside.txt").read_text() for path in taken] == ["precious"] * 3
    assert outcome.status is OutcomeStatus.PARTIAL
    assert {one.subject for one in outcome.problems} == {f"{path}/inside.txt" for path in taken}
    assert world.db.edition.find_one({"_id": EDITION[0]})["title"] == "Edition 0"  # type: ignore[index]
    assert world.office.intents.open() == ()


def test_work_done_by_hand_before_a_restore_is_finished_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from keyframe.backup.finishing import Finishing

    snapshot = world.make()
    world.spoil()
    world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    with monkeypatch.context() as patch:
        patch.setattr(Finishing, "_change", _fail)
        patch.setattr(Finishing, "finish", _stop)
        claim = world.office.jobs.claim()
        assert claim is not None
        world.office.work.run(claim)  # as if the program had ended with the intent on disk
    assert world.office.intents.open() == (PROJECT,)
    world.write("repaired.txt", "by hand")
    world.client[f"{world.db.name}_control"]["jobs"].delete_many({})
    world.client[f"{world.db.name}_control"]["locks"].delete_many({})

    assert world.office.work.recover() == 0

    assert (world.folder(PROJECT) / "repaired.txt").read_text() == "by hand"
    assert world.db.edition.find_one({"_id": EDITION[0]})["title"] == "Edition 0"  # type: ignore[index]


def _fail(*_: Any, **__: Any) -> None:
    raise OSError("the disk went away")


def _stop(*_: Any, **__: Any) -> None:
    from keyframe.errors import CancelledError

    raise CancelledError("The program is ending.")


def test_a_project_is_told_the_unknown_of_its_own_part_only(world: World) -> None:
    os.mkfifo(world.folder(PROJECT) / "pipe")
    os.mkfifo(world.folder(OTHER) / "secret")
    snapshot = world.make(SITE)
    (world.folder(PROJECT) / "pipe").unlink()
    world.write("pipe", "precious")

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot)

    assert {one.subject for one in plan.warnings if one.code == "left"} == {"pipe"}
    assert all("secret" not in one.subject for one in (*plan.warnings, *outcome.problems))
    assert plan.is_empty
    assert (world.folder(PROJECT) / "pipe").read_text() == "precious"

"""No room for a whole safety snapshot: a reduced one, for whoever confirms what it leaves out, on a small disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from crash_child import Crasher
from failing import DONE, Faults, impatient
from keyframe.backup import make, reducing
from keyframe.backup.make import Make
from keyframe.backup.recheck import Recheck
from keyframe.model import Outcome, Scope, Selection, Snapshot
from small_disk import mounted
from sweep import recovered
from whole import require_whole
from world import EDITION, ONE, PROJECT, SITE, World, new_world

ZERO, FIRST = (f"edition/{EDITION[number]}" for number in (0, 1))
MODEL = f"{ZERO}/model.glb"
PART = Selection(editions=(str(EDITION[0]),))
MB = 1_000_000


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return impatient(monkeypatch)


@pytest.fixture
def small(request: pytest.FixtureRequest, mongo_uri: str, tmp_path: Path, faults: Faults) -> Iterator[World]:
    """A world whose data directory is a file system of 8 MB."""
    data, kind = tmp_path / "var/data", getattr(request, "param", "tmpfs")
    if not mounted(kind, data, 8):
        pytest.skip(f"no {kind} can be mounted here")
    try:
        with new_world(mongo_uri, tmp_path) as world:
            yield world
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


both_kinds = pytest.mark.parametrize("small", ["tmpfs", "ext4"], indirect=True)


def fatten(world: World, path: str = f"{FIRST}/big.bin", megabytes: int = 20, scope: Scope = PROJECT) -> Path:
    """A file for which the disk of the snapshots has no room."""
    target = world.folder(scope) / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(os.urandom(megabytes * MB))
    return target


def fatten_records(world: World, collection: str, megabytes: int = 12, **fields: Any) -> None:
    rows = [{"_id": f"big-{n}", "text": os.urandom(MB // 2).hex(), "title": f"big {n}"} for n in range(megabytes)]
    world.db[collection].insert_many([row | fields for row in rows])


def listed(world: World, scope: Scope = PROJECT, *, trash: bool = False) -> list[str]:
    return [one.name for one in world.office.desk.snapshots(world.ask, scope, trash=trash).items]


def files_in(world: World, folder: str) -> dict[str, Any]:
    return {path: one for path, one in world.files(PROJECT).items() if path.startswith(f"{folder}/")}


def named(outcome: Outcome) -> list[str]:
    """What a refused restore says would not be kept."""
    assert (outcome.status, outcome.problems[0].code) == ("refused", "unsafe"), outcome
    return [one.subject for one in outcome.problems[1:]]


def require_tidy(world: World) -> None:
    """No intent, no draft, nothing staged, and every snapshot is whole."""
    assert not list((world.settings.data / ".keyframe/intents").glob("*.json"))
    assert not list((world.settings.repository / ".drafts").glob("*"))
    assert not list((world.settings.working / ".keyframe").glob("*"))
    for scope in (SITE, PROJECT):
        for one in world.office.desk.snapshots(world.ask, scope).items:
            if one.scope == scope:
                require_whole(world.stored(one), one)


def undo_anyway(world: World, scope: Scope = PROJECT) -> Outcome:
    """Undo the last restore or undo; what cannot be kept is confirmed."""
    desk = world.office.desk
    last = next(one for one in desk.jobs(world.ask, scope) if one.outcome and one.outcome.safety)
    outcome = world.done(desk.undo_job(world.ask, last.id))
    if outcome.confirm:
        outcome = world.done(desk.undo_job(world.ask, last.id, confirm=outcome.confirm))
    assert outcome.status in ("done", "partial"), outcome
    return outcome


def safety_of(world: World, outcome: Outcome, scope: Scope = PROJECT) -> Snapshot:
    assert outcome.safety is not None, outcome
    found = world.office.desk.snapshot(world.ask, scope, outcome.safety)
    require_whole(world.stored(found), found)
    verified = world.done(world.office.desk.verify(world.ask, scope, found.name))
    assert verified.report is not None and verified.report["status"] != "bad", verified
    return found


# --- refused, confirmed, undone


@both_kinds
def test_without_room_it_is_refused_with_all_numbers_and_what_would_be_left_out(small: World) -> None:
    older = small.make(PROJECT)
    small.spoil()
    fatten(small)
    before = small.state()

    outcome = small.restore(older, selection=PART)

    assert named(outcome) == [FIRST]
    what = outcome.problems[0].what
    assert "needs about 20.0 MB" in what and "MB free" in what
    assert "With 0.3 MB a reduced one keeps all that this restore changes, but not 1 file (20.0 MB)" in what
    assert outcome.problems[1].code == "no-room" and "1 file, 20.0 MB" in outcome.problems[1].what
    assert len(outcome.confirm) == 64
    assert "--into" in outcome.problems[0].hint
    assert outcome.report is not None and outcome.report["replaces"]["files"] == 1  # what it would do
    assert small.state() == before
    assert listed(small) == [older.name] and listed(small, trash=True) == []
    require_tidy(small)


@both_kinds
def test_who_confirms_it_gets_the_restore_and_each_undo_brings_back_exactly_what_was(small: World) -> None:
    older, wanted = small.make(PROJECT), files_in(small, ZERO)
    small.spoil()
    (small.folder(PROJECT) / f"{ZERO}/scene.svx.json").chmod(0o600)
    shutil.rmtree(small.folder(PROJECT) / f"{ZERO}/empty")
    (small.folder(PROJECT) / f"{ZERO}/empty").write_text("a file where a folder was")
    fatten(small)
    before, other = small.state(), files_in(small, FIRST)

    outcome = small.restore_anyway(older, selection=PART)

    assert outcome.status is DONE, outcome
    after = small.state()
    assert (files_in(small, ZERO), files_in(small, FIRST)) == (wanted, other)
    assert after[1]["edition"] != before[1]["edition"]
    found = safety_of(small, outcome)
    assert (found.status.value, [one.subject for one in found.problems]) == ("partial", [FIRST])
    for expected in (before, after, before):
        undo_anyway(small)
        assert small.state() == expected
    require_tidy(small)


def test_what_was_agreed_to_in_a_preview_is_what_is_done(small: World) -> None:
    older = small.make(PROJECT)
    small.spoil()
    fatten(small)
    plan = small.preview(older, selection=PART)

    outcome = small.restore_anyway(older, plan=plan.digest)

    assert outcome.status is DONE
    assert outcome.report is not None and outcome.report["digest"] == plan.digest


def test_figures_do_not_change_what_is_confirmed_and_names_do(small: World) -> None:
    older = small.make(PROJECT)
    small.spoil()
    big = fatten(small)
    first = small.restore(older, selection=PART)
    (small.settings.data / "filler").write_bytes(bytes(MB))
    big.write_bytes(os.urandom(21 * MB))
    same = small.restore(older, selection=PART)
    fatten(small, "another.bin", 9)
    before = small.state()

    other = small.restore(older, selection=PART, confirm=same.confirm)

    assert first.confirm == same.confirm
    assert set(named(other)) == {FIRST, "another.bin"}
    assert other.confirm not in ("", same.confirm)
    assert small.state() == before


def test_with_room_again_the_safety_snapshot_is_whole(small: World) -> None:
    older = small.make(PROJECT)
    small.spoil()
    big = fatten(small)
    refused = small.restore(older, selection=PART)
    big.unlink()

    outcome = small.restore(older, selection=PART, confirm=refused.confirm)

    assert outcome.status is DONE
    assert safety_of(small, outcome).status.value == "done"


def test_where_all_fits_but_the_json_nobody_is_asked(small: World) -> None:
    older = small.make(PROJECT)
    small.spoil()
    fatten_records(small, "edition", 5, projectId=ONE)
    before = small.state()

    outcome = small.restore(older)

    assert outcome.status is DONE, outcome
    found = safety_of(small, outcome)
    assert not (small.stored(found) / "db/json/edition.json").exists()
    undo_anyway(small)
    assert small.state() == before


def test_what_is_already_as_in_the_snapshot_needs_no_safety_snapshot(small: World) -> None:
    older = small.make(PROJECT)
    fatten(small)

    outcome = small.restore(older, selection=PART)

    assert outcome.status.value == "unchanged"
    require_tidy(small)


def test_an_overtaken_plan_is_stale_before_anything_is_asked(small: World) -> None:
    older = small.make(PROJECT)
    small.spoil()
    plan = small.preview(older, selection=PART)
    fatten(small)
    small.write(MODEL, "newer")

    assert small.restore(older, plan=plan.digest).problems[0].code == "stale"


# --- no room for that either


def test_where_even_a_reduced_one_has_no_room_all_numbers_are_named(small: World) -> None:
    older = small.make(PROJECT)
    fatten(small, f"{ZERO}/big.bin", 20)
    fatten(small, megabytes=15)
    before = small.state()

    outcome = small.restore(older, selection=PART)

    assert (outcome.status, outcome.problems[0].code, outcome.confirm) == ("refused", "no-room", "")
    what, hint = outcome.problems[0].what, outcome.problems[0].hint
    assert "the snapshot needs about 35.0 MB" in what and "A reduced safety snapshot needs about 20.3 MB" in what
    assert what.count("MB free") == 2
    assert "--into" in hint and "trash" in hint and "nothing was changed" in hint
    assert small.state() == before
    require_tidy(small)


def test_more_than_can_be_named_is_refused(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reducing, "MOST", 4)
    older = small.make(PROJECT)
    small.spoil()
    for number in range(6):
        fatten(small, f"{number}.bin", 2)

    outcome = small.restore(older, selection=PART)

    assert (outcome.status, outcome.problems[0].code) == ("refused", "no-room")
    assert "more than 4 files and folders" in outcome.problems[0].what
    require_tidy(small)


def test_a_long_list_is_cut_and_its_digest_stands_for_all_of_it(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyframe.work._NAMED", 3)
    older = small.make(PROJECT)
    small.spoil()
    for number in range(6):
        fatten(small, f"{number}.bin", 2)

    refused = small.restore(older, selection=PART)

    assert len(refused.problems) == 5
    assert "3 more" in refused.problems[-1].what
    assert small.restore(older, selection=PART, confirm=refused.confirm).status is DONE


@both_kinds
@pytest.mark.parametrize("what", ["files", "records"])
def test_a_disk_that_fills_up_in_the_middle_ends_in_the_same_refusal(
    small: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    older = small.make(SITE)
    small.write("about.txt", "of now", SITE)
    if what == "files":
        fatten(small, megabytes=12)
    else:
        fatten_records(small, "site")
    before = small.state()
    part = Selection(paths=("about.txt",))
    known = named(small.restore(older, SITE, selection=part))
    monkeypatch.setattr(make, "require_room", lambda *_: None)

    outcome = small.restore(older, SITE, selection=part)

    assert named(outcome) == known
    assert "more than the expected" in outcome.problems[0].what and "MB free" in outcome.problems[0].what
    assert small.state() == before
    assert listed(small, SITE) == [older.name] and listed(small, SITE, trash=True) == []
    require_tidy(small)
    assert small.restore(older, SITE, selection=part, confirm=outcome.confirm).status is DONE
    undo_anyway(small, SITE)
    assert small.state() == before


# --- records


def test_collections_that_the_plan_does_not_touch_are_left_and_the_others_kept_whole(small: World) -> None:
    older = small.make(SITE)
    small.spoil()
    fatten_records(small, "site")
    small.db.create_collection("looking", viewOn="edition", pipeline=[])
    before = small.state()
    part = Selection(collections=("edition",))

    refused = small.restore(older, SITE, selection=part)
    outcome = small.restore(older, SITE, selection=part, confirm=refused.confirm)

    assert "collection site" in named(refused) and "collection edition" not in named(refused)
    assert "1 collection (12.0 MB)" in refused.problems[0].what
    assert outcome.status is DONE, outcome
    found = safety_of(small, outcome, SITE)
    assert found.unknown_collections == ("site",)
    kept = {path.stem for path in (small.stored(found) / "db/bson").glob("*.bson")}
    assert {"edition", "project", "user"} <= kept and "site" not in kept  # those that cost nothing are kept, too
    assert small.records()["site"] == before[1]["site"]
    undo_anyway(small, SITE)
    assert small.state() == before


@pytest.mark.parametrize("touched", [True, False])
def test_capped_collections_are_kept_in_their_order_or_left(small: World, touched: bool) -> None:
    small.db.create_collection("log", capped=True, size=40 * MB)
    small.db.log.insert_many([{"_id": 3}, {"_id": 1}])
    older = small.make(SITE)
    small.write("about.txt", "of now", SITE)
    small.db.log.insert_many([{"_id": 2}, {"_id": 0}])
    fatten_records(small, "site")
    before, order = small.state(), [one["_id"] for one in small.db.log.find()]
    part = Selection(collections=("log",)) if touched else Selection(paths=("about.txt",))

    refused = small.restore(older, SITE, selection=part)
    outcome = small.restore(older, SITE, selection=part, confirm=refused.confirm)

    assert ("collection log" in named(refused)) != touched
    assert outcome.status is DONE, outcome
    safety_of(small, outcome, SITE)
    assert [one["_id"] for one in small.db.log.find()] == ([3, 1] if touched else order)
    undo_anyway(small, SITE)
    assert small.state() == before
    assert [one["_id"] for one in small.db.log.find()] == order


def test_a_time_series_and_new_and_dropped_collections_come_back_by_the_undo(small: World) -> None:
    small.db.create_collection("series", timeseries={"timeField": "at", "metaField": "of"})
    older = small.make(SITE)
    small.db.empty.drop()
    small.db.newborn.insert_many([{"_id": number} for number in range(3)])
    fatten_records(small, "user")  # people stay as they are
    before = small.state()

    outcome = small.restore_anyway(older, SITE)

    assert outcome.status is DONE, outcome
    assert "newborn" not in small.db.list_collection_names()
    assert small.records()["user"] == before[1]["user"]
    undo_anyway(small, SITE)
    assert small.state() == before


def test_a_project_is_told_that_not_all_of_it_is_in_a_reduced_snapshot_of_the_site(small: World) -> None:
    older = small.make(SITE)
    small.write("about.txt", "of now", SITE)
    fatten_records(small, "edition", 12, projectId=ONE)
    outcome = small.restore_anyway(older, SITE, selection=Selection(paths=("about.txt",)))
    found = safety_of(small, outcome, SITE)

    part = found.part_of(str(ONE))

    assert part.status.value == "partial"
    assert [(one.code, one.subject) for one in part.problems] == [("no-room", "the site")]
    plan = small.preview(found, PROJECT)
    assert plan.is_empty
    assert ("left", "collection edition") in [(one.code, one.subject) for one in plan.warnings]


# --- what happens meanwhile, past the gate


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, after the plan of the reduced safety snapshot and before that one is made."""
    run, done = Make.run, []

    def late(self: Make, *given: Any) -> Any:
        if self._reduction is not None and not done:
            done.append(act())
        return run(self, *given)

    monkeypatch.setattr(Make, "run", late)


def test_what_changes_meanwhile_in_what_is_left_out_stays_as_it_is(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, wanted = small.make(PROJECT), files_in(small, ZERO)
    small.spoil()
    fatten(small)
    refused = small.restore(older, selection=PART)
    between(monkeypatch, lambda: small.write(f"{FIRST}/model.glb", "changed past the gate"))

    outcome = small.restore(older, selection=PART, confirm=refused.confirm)

    assert outcome.status is DONE, outcome
    assert (small.folder(PROJECT) / FIRST / "model.glb").read_text() == "changed past the gate"
    assert files_in(small, ZERO) == wanted
    now = files_in(small, FIRST)
    undo_anyway(small)
    assert files_in(small, FIRST) == now


def test_what_changes_meanwhile_in_the_plan_is_kept_as_it_is_then(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = small.make(PROJECT)
    small.spoil()
    fatten(small)
    refused = small.restore(older, selection=PART)
    between(monkeypatch, lambda: small.write(MODEL, "newer still"))
    before = small.state()[1]

    outcome = small.restore(older, selection=PART, confirm=refused.confirm)

    assert outcome.status is DONE
    undo_anyway(small)
    assert (small.folder(PROJECT) / MODEL).read_text() == "newer still"
    assert small.records() == before


def becomes_a_folder(world: World) -> None:
    path = world.folder(PROJECT) / MODEL
    path.unlink()
    path.mkdir()
    (path / "inside.txt").write_text("of a folder in the place of a file")


def becomes_a_file(world: World) -> None:
    path = world.folder(PROJECT) / ZERO / "articles"
    shutil.rmtree(path, ignore_errors=True)
    path.write_text("of a file in the place of a folder")


def renames_a_collection(world: World) -> None:
    world.db.edition.rename("edition_2")


def replaces_a_collection(world: World) -> None:
    world.db.edition.drop()
    world.db.create_collection("edition", capped=True, size=MB).insert_one({"_id": 7, "projectId": ONE})


def moves_the_edition(world: World) -> None:
    (world.folder(PROJECT) / ZERO).rename(world.folder(PROJECT) / "edition/moved")


def comes_into_the_plan(world: World) -> None:
    world.write(f"{ZERO}/more.txt", "a new file that the snapshot does not have")


def content(state: Any) -> Any:
    files, records = state
    return files, {name: found for name, found in records.items() if found and " " not in name}


MEANWHILE = [
    becomes_a_folder,
    becomes_a_file,
    renames_a_collection,
    replaces_a_collection,
    moves_the_edition,
    comes_into_the_plan,
]


@pytest.mark.parametrize("act", MEANWHILE, ids=lambda act: act.__name__)
@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_nothing_is_lost_whatever_happens_between_plan_and_safety_snapshot(
    small: World, monkeypatch: pytest.MonkeyPatch, scope: Scope, act: Callable[[World], None]
) -> None:
    """Either nothing is done, or the undo brings back all that was live when the safety snapshot was made."""
    older = small.make(scope)
    small.spoil()
    fatten(small, *(("about.bin", 20, SITE) if scope.is_site else ()))
    of_site = Selection(paths=(f"project/{ONE}/{ZERO}",), collections=("edition",))
    selection = of_site if scope.is_site else PART
    refused = small.restore(older, scope, selection=selection)
    then: list[Any] = []

    def meanwhile() -> None:
        act(small)
        then.append(small.state())

    between(monkeypatch, meanwhile)

    outcome = small.restore(older, scope, selection=selection, confirm=refused.confirm)
    if outcome.status in ("done", "partial"):
        undo_anyway(small, scope)

    now = small.state()
    if not scope.is_site:  # which leaves an empty collection behind where there was none
        now, then[0] = content(now), content(then[0])
    assert now == then[0], outcome
    require_tidy(small)


def test_one_that_serves_no_restore_in_the_end_is_gone_for_good(small: World, monkeypatch: pytest.MonkeyPatch) -> None:
    older = small.make(PROJECT)
    small.spoil()
    fatten(small)
    before = small.state()
    refused = small.restore(older, selection=PART)
    monkeypatch.setattr(Recheck, "is_still", lambda _: None)

    outcome = small.restore(older, selection=PART, confirm=refused.confirm)

    assert outcome.problems[0].code == "stale"
    assert listed(small) == [older.name] and listed(small, trash=True) == []
    assert small.state() == before
    require_tidy(small)


# --- killed


@pytest.mark.parametrize("step", ["draft:after:2", "second pass:after:1", "dump:after:1", "manifest:after:1",
                                  "finish:after:1", "commit:before:1", "commit:after:1"])  # fmt: skip
def test_a_kill_in_the_middle_of_a_reduced_safety_snapshot_changes_nothing(
    small: World, crasher: Crasher, step: str
) -> None:
    older = small.make(PROJECT)
    small.spoil()
    fatten(small)
    before = small.state()
    confirm = small.restore(older, selection=PART).confirm
    job = small.office.desk.restore(small.ask, PROJECT, older.name, PART, confirm=confirm)

    death = crasher.run(small, job.id, step)
    recovered(small, job)

    assert death.killed
    assert small.state() == before
    assert small.restore(older, selection=PART, confirm=confirm).status is DONE
    undo_anyway(small)
    assert small.state() == before
    require_tidy(small)


@pytest.mark.parametrize("step", ["intent:after:1", "records:after:1", "rename:after:1"])
@pytest.mark.parametrize("back", [False, True], ids=["forth", "back"])
def test_what_was_killed_after_its_intent_is_finished_or_turned_round(
    small: World, crasher: Crasher, step: str, back: bool
) -> None:
    older, wanted = small.make(PROJECT), files_in(small, ZERO)
    small.spoil()
    fatten(small)
    before = small.state()
    confirm = small.restore(older, selection=PART).confirm
    job = small.office.desk.restore(small.ask, PROJECT, older.name, PART, confirm=confirm)

    death = crasher.run(small, job.id, step)
    if back:
        small.office.desk.turn_back(small.ask, PROJECT)
    recovered(small, job)

    assert death.killed
    if back:
        assert small.state() == before
    else:
        assert files_in(small, ZERO) == wanted
        undo_anyway(small)
        assert small.state() == before
    require_tidy(small)

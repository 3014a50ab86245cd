"""The mistakes of backup pages that went before us, a test for each."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from bson import ObjectId
from keyframe.errors import NotFoundError
from keyframe.model import Action, Actor, OutcomeStatus, Scope, Selection
from world import EDITION, ONE, OTHER, PROJECT, SITE, TWO, World, new_world

DONE = OutcomeStatus.DONE


def test_restore_reads_the_database_dump_back(world: World) -> None:
    before = world.records()
    snapshot = world.make(SITE)
    world.db.edition.delete_many({})
    world.db.project.update_many({}, {"$set": {"title": "lost"}})

    outcome = world.restore(snapshot, SITE)

    assert outcome.status is DONE
    assert world.records() == before


def test_an_empty_collection_does_not_break_a_restore(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    world.db.empty.insert_one({"no": "longer empty"})
    world.db.site.delete_many({})
    world.spoil()

    outcome = world.restore(snapshot, SITE)

    assert outcome.status is DONE
    assert world.state() == before


def test_an_empty_collection_that_was_dropped_comes_back(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    world.db.empty.drop()

    assert world.restore(snapshot, SITE).status is DONE

    assert world.state() == before


def test_collections_born_after_the_snapshot_go(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    world.db.newborn.insert_many([{"n": number} for number in range(3)])
    world.db.newborn.create_index("n")

    plan = world.preview(snapshot, SITE)
    outcome = world.restore(snapshot, SITE)

    assert plan.deletes.records == 3
    assert outcome.status is DONE
    assert world.state() == before


def test_indexes_and_validators_come_back(world: World) -> None:
    world.db.command("collMod", "edition", validator={"title": {"$type": "string"}}, validationLevel="moderate")
    before = world.records()
    snapshot = world.make(SITE)
    world.db.edition.drop_index("by_title")
    world.db.edition.create_index("title", name="another", sparse=True)
    world.db.command("collMod", "edition", validator={})

    assert world.restore(snapshot, SITE).status is DONE

    assert world.records() == before


def test_live_files_are_not_wiped_before_the_copy(world: World) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    untouched = world.folder(PROJECT) / f"edition/{EDITION[1]}/model.glb"
    inode = untouched.stat().st_ino
    stored = world.stored(snapshot) / f"files/edition/{EDITION[0]}/articles/a.html"
    stored.unlink()  # the snapshot turns out to be damaged only when its files are read
    before = world.state()

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.problems[0].code == "damaged.file-missing"
    assert world.state() == before
    assert untouched.stat().st_ino == inode


def test_two_snapshots_in_one_second_get_two_folders(mongo_uri: str, tmp_path: Path) -> None:
    moment = datetime(2026, 11, 21, 10, 53, 15, tzinfo=UTC)
    with new_world(mongo_uri, tmp_path, now=lambda: moment) as world:
        names = []
        for number in range(3):
            world.write("count.txt", str(number))
            names.append(world.make(PROJECT).name)
        world.write("count.txt", "of the site", OTHER)
        names.append(world.make(SITE).name)

    assert names == ["2026-11-21T10-53-15Z", "2026-11-21T10-53-16Z", "2026-11-21T10-53-17Z", "2026-11-21T10-53-18Z"]


def test_a_deleted_project_can_be_restored(world: World) -> None:
    before = world.state()
    snapshot = world.make(PROJECT)
    shutil.rmtree(world.folder(PROJECT))
    world.db.edition.delete_many({"projectId": ONE})
    world.db.project.delete_one({"_id": ONE})
    deleted = world.state()

    outcome = world.restore(snapshot)
    restored = world.state()
    undone = world.done(world.office.desk.undo(world.ask, PROJECT))

    assert outcome.status is DONE
    assert restored == before
    assert undone.status is DONE
    assert world.state() == deleted


def test_a_deleted_project_can_be_restored_out_of_a_site_snapshot(world: World) -> None:
    before = world.state()
    snapshot = world.make(SITE)
    shutil.rmtree(world.folder(PROJECT))
    world.db.edition.delete_many({"projectId": ONE})
    world.db.project.delete_one({"_id": ONE})

    outcome = world.restore(snapshot, PROJECT)

    assert outcome.status is DONE
    assert world.state() == before


@pytest.mark.parametrize("name", ["../../etc", "..", "2026-11-21T10-53-15Z/..", "x" * 10_000, "a\0b", "", ".trash"])
def test_names_from_outside_are_not_joined_to_paths(world: World, name: str) -> None:
    world.make(PROJECT)

    for act in (world.office.desk.snapshot, world.office.desk.delete, world.office.desk.restore):
        with pytest.raises(NotFoundError):
            act(world.ask, PROJECT, name or "-")
    with pytest.raises(ValueError, match="project"):
        Scope.project(name)


def test_a_site_restore_logs_nobody_out_and_takes_no_right(world: World) -> None:
    admin = Actor("admin", "Admin", "admin", "page")
    snapshot = world.make(SITE)
    world.db.user.update_one({"user": "anna"}, {"$set": {"role": "admin"}})
    world.db.user.insert_one({"user": "carla", "name": "Carla", "role": "user"})
    world.db.user.delete_one({"user": "bram"})
    world.spoil()
    people = world.records()["user"]

    world.ask = admin
    outcome = world.restore(snapshot, SITE)

    assert outcome.status is DONE
    assert world.records()["user"] == people
    assert world.office.desk.may(admin, Action.RESTORE, SITE)


def test_a_missing_source_directory_is_not_called_done(world: World) -> None:
    world.make(PROJECT)
    away = world.folder(PROJECT).rename(world.folder(PROJECT).with_name("elsewhere"))

    outcome = world.done(world.office.desk.make(world.ask, PROJECT))

    assert outcome.status is OutcomeStatus.PARTIAL
    assert outcome.problems[0].subject == "."
    assert world.office.desk.snapshot(world.ask, PROJECT, "latest").status == "partial"
    away.rename(world.folder(PROJECT))
    before = world.state()
    partial = world.office.desk.snapshot(world.ask, PROJECT, "latest")
    assert world.restore(partial).status in (OutcomeStatus.UNCHANGED, OutcomeStatus.PARTIAL)
    assert world.state() == before  # what the snapshot does not know is left as it is


def test_a_project_restore_does_not_pull_back_an_edition_that_moved(world: World) -> None:
    snapshot = world.make(PROJECT)
    moved = EDITION[0]
    world.db.edition.update_one({"_id": moved}, {"$set": {"projectId": TWO}})
    source = world.folder(PROJECT) / "edition" / str(moved)
    source.rename(world.folder(OTHER) / "edition" / str(moved))
    before = world.state()

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    assert [warning.code for warning in plan.warnings] == ["conflict"]
    assert outcome.status in (OutcomeStatus.UNCHANGED, OutcomeStatus.PARTIAL)
    assert world.state() == before


def test_stored_and_live_files_share_no_inode(world: World) -> None:
    first = world.make(PROJECT)
    world.write("more.txt")
    second = world.make(PROJECT)
    world.spoil()
    world.restore(first)

    live = {(one.stat().st_dev, one.stat().st_ino) for one in world.folder().rglob("*") if one.is_file()}
    stored = [one for one in world.settings.repository.rglob("*") if one.is_file() and "/files/" in str(one)]

    assert not any((one.stat().st_dev, one.stat().st_ino) in live for one in stored)
    assert os.stat(_model(world, first.name)).st_ino == os.stat(_model(world, second.name)).st_ino


def _model(world: World, name: str) -> Path:
    return PROJECT.stored_folder(world.settings.repository) / name / f"files/edition/{EDITION[0]}/model.glb"


def test_a_snapshot_without_manifest_or_with_half_of_it_is_listed_as_damaged(world: World) -> None:
    first = world.make(PROJECT)
    world.office.desk.note(world.ask, PROJECT, first.name, "before the talk")
    world.write("more.txt")
    second = world.make(PROJECT)
    world.write("more.txt", "again")
    third = world.make(PROJECT)
    (world.stored(first) / "manifest.jsonl").unlink()
    manifest = world.stored(second) / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-20])
    before = world.state()

    listed = world.office.desk.snapshots(world.ask, PROJECT).items
    outcomes = [world.restore(one) for one in (first, second)]

    assert {one.name: one.status.value for one in listed} == {
        first.name: "damaged",
        second.name: "damaged",
        third.name: "done",
    }
    assert [outcome.problems[0].code for outcome in outcomes] == ["damaged.manifest-missing", "damaged.manifest-size"]
    told = listed[-1]  # of the first one: what its header and labels say, which can still be read
    assert (told.note, told.made_by, told.reason) == ("before the talk", first.made_by, first.reason)
    assert (told.made_at, told.files, told.documents) == (first.made_at, first.files, first.documents)
    assert world.state() == before
    assert world.restore(third).status is OutcomeStatus.UNCHANGED


def test_nothing_is_invented_about_a_snapshot_whose_header_cannot_be_read(world: World) -> None:
    first = world.make(PROJECT)
    header = world.stored(first) / "snapshot.json"
    header.write_bytes(header.read_bytes()[:-40])

    found = world.office.desk.snapshot(world.ask, PROJECT, first.name)

    assert (found.status.value, found.reason.value, found.made_by, found.files) == ("damaged", "unknown", "", 0)
    assert found.name == first.name
    assert found.made_at == first.made_at.replace(microsecond=0)


def test_a_record_of_another_project_inside_a_project_snapshot_is_damage(world: World) -> None:
    snapshot = world.make(PROJECT)
    dump = world.stored(snapshot) / "db/bson/edition.bson"
    dump.write_bytes(dump.read_bytes().replace(ONE.binary, TWO.binary))

    outcome = world.restore(snapshot)

    assert outcome.problems[0].code in ("damaged.foreign-record", "damaged.collection-bytes")


def test_a_selection_touches_one_edition_only(world: World) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    world.write(f"edition/{EDITION[1]}/model.glb", "also changed")
    files, records = world.state()

    outcome = world.restore(snapshot, selection=Selection(editions=(str(EDITION[0]),)))

    inside = f"edition/{EDITION[0]}"
    now = world.files(PROJECT)
    stored = world.stored(snapshot) / "files" / inside / "model.glb"
    assert outcome.status is DONE
    assert (world.folder(PROJECT) / inside / "model.glb").read_bytes() == stored.read_bytes()
    assert not any("new dir" in path for path in now)
    outside = {path: one for path, one in files.items() if inside not in path}
    assert {path: one for path, one in world.files().items() if inside not in path} == outside
    assert world.db.edition.find_one({"_id": EDITION[0]})["title"] == "Edition 0"  # type: ignore[index]
    assert world.records()["edition"].keys() == records["edition"].keys()
    assert world.db.edition.find_one({"_id": ObjectId(EDITION[1])}) is None

"""Selections: what is chosen comes back exactly, what is left out is not touched, and an undo is about the same."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest
from bson import Int64, ObjectId
from keyframe.backup.finishing import Finishing
from keyframe.backup.staging import Staging
from keyframe.backup.target import Target
from keyframe.backup.touched import Touched
from keyframe.errors import CancelledError, DamagedError, InvalidError, NotFoundError
from keyframe.model import Action, Actor, Order, Outcome, OutcomeStatus, Plan, Scope, Selection, Snapshot
from keyframe.stores.idents import canonical_of, canonical_text, ident_of
from keyframe.stores.intents import Intent, Intents
from test_restore import items
from world import EDITION, ONE, OTHER, PROJECT, SITE, TWO, World

DONE = OutcomeStatus.DONE
TOP = f"edition/{EDITION[0]}"
EDITION_0, EDITION_1 = map(str, EDITION[:2])
RECORD = ("edition", f'{{"$oid": "{EDITION[0]}"}}')
ANNA = Actor("anna", "Anna", "user", "page")


def undone(world: World, outcome: Outcome, scope: Scope = PROJECT) -> Outcome:
    return world.done(world.office.desk.undo(world.ask, scope, outcome.safety or ""))


def codes(plan: Plan) -> list[str]:
    return [one.code for one in plan.warnings]


def problem_of(world: World, snapshot: Snapshot, selection: Selection, scope: Scope = PROJECT) -> str:
    """The code of the problem that a preview ends with."""
    outcome = world.done(world.office.desk.preview(world.ask, scope, snapshot.name, selection))
    return outcome.problems[0].code


# --- the noun


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "./a", "a/.", "a\0b", "\ud800", "x" * (1 << 20 | 1)]
)
def test_what_cannot_be_a_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError):
        Selection(paths=(path,))


@pytest.mark.parametrize(
    "chosen",
    [
        {"projects": ("../x",)},
        {"collections": ("",)},
        {"collections": ("a\0b",)},
        {"collections": ("\udc80",)},
        {"collections": ("x" * 256,)},
        {"records": (("", '"a"'),)},
        {"records": (("a", ""),)},
        {"records": (("a", "5"),)},
        {"records": (("a", "{"),)},
        {"records": (("a", "NaN"),)},
        {"records": (("a", '"\\ud800"'),)},
        {"records": (("a", "[" * 50_000),)},
        {"only": "both"},
        {"only": "files", "collections": ("a",)},
        {"only": "files", "records": (("a", '"b"'),)},
        {"only": "records", "paths": ("a",)},
    ],
)
def test_what_can_mean_nothing_is_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Selection(**chosen)


def test_a_selection_is_the_same_after_a_journey_as_json() -> None:
    chosen = Selection(
        ("2", "1", "1"),
        ("e",),
        ("b", "a/\udcff\n", "a", "."),
        ("edition", "x/y"),
        (RECORD, ("log", '{"$numberInt":"5"}')),
    )

    document = json.loads(json.dumps(chosen.as_dict()))

    assert chosen.projects == ("1", "2")
    assert document["paths"] == [".", "a", "b"]
    assert document["paths_b64"] == ["YS//Cg=="]
    assert Selection.from_dict(document) == chosen


def test_what_was_written_before_there_were_paths_and_records_is_still_read() -> None:
    assert Selection.from_dict({"projects": [], "editions": ["e"]}) == Selection(editions=("e",))
    assert Selection.from_dict({"projects": [], "editions": []}).is_empty


def test_a_selection_of_the_site_and_that_of_its_project_are_the_same() -> None:
    chosen = Selection(("1",), ("e",), ("project/1/edition/e", "project/1"), ("edition",))

    assert chosen.narrowed() == Selection((), ("e",), ("edition/e", "."), ("edition",))
    assert chosen.narrowed().widened("1") == chosen
    with pytest.raises(ValueError):
        Selection(("1",), paths=("project/12/a",)).narrowed()


@pytest.mark.parametrize(
    ("selection", "files", "records"),
    [
        (Selection(), True, True),
        (Selection(editions=("e",)), True, True),
        (Selection(paths=("a",)), True, False),
        (Selection(collections=("c",)), False, True),
        (Selection(records=(RECORD,)), False, True),
        (Selection(paths=("a",), collections=("c",)), True, True),
        (Selection(only="files"), True, False),
        (Selection(only="records"), False, True),
    ],
)
def test_naming_files_means_files_and_naming_records_means_records(
    selection: Selection, files: bool, records: bool
) -> None:
    assert (selection.has_files, selection.has_records) == (files, records)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("65A1b2c3d4e5f60718293a4b", '{"$oid": "65a1b2c3d4e5f60718293a4b"}'),
        ("6" * 24, f'{{"$oid": "{"6" * 24}"}}'),
        (f'"{"6" * 24}"', f'"{"6" * 24}"'),
        ("roses", '"roses"'),
        ('ro"ses\n', '"ro\\"ses\\n"'),
        ("5", '{"$numberInt": "5"}'),
        ('"5"', '"5"'),
        ("99999999999999999999", '"99999999999999999999"'),
        ("true", "true"),
        ('{"$date": "1970-01-01T00:00:01Z"}', '{"$date": {"$numberLong": "1000"}}'),
        ('{"a": 1, "b": {"$numberLong": "2"}}', '{"a": {"$numberInt": "1"}, "b": {"$numberLong": "2"}}'),
    ],
)
def test_an_id_is_taken_as_extended_json_or_as_pages_show_it(text: str, canonical: str) -> None:
    assert canonical_of(text) == canonical
    assert canonical_text(ident_of(canonical)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        '{"$oid": "zz"}',
        "\ud800",
        '{"$numberInt": "x"}',
        "[1]",
        '{"$undefined": true}',
        '{"$regularExpression": {"pattern": "a", "options": ""}}',
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        canonical_of(text)


def test_an_intent_keeps_its_selection(world: World) -> None:
    chosen = Selection((), ("e",), ("a/\udcff", "b"), ("edition",), (RECORD,))
    order = Order(Action.RESTORE, PROJECT, ANNA, source=SITE, snapshot="2026-11-21T10-53-15Z", selection=chosen)
    intents = Intents(world.settings.data / "intents")

    intents.write(Intent("7", order, "2026-11-21T10-53-16Z", "d", (), (), {}))

    read = intents.read(PROJECT)
    assert read is not None
    assert read.order == order


# --- paths


def test_a_path_comes_back_with_everything_below_it_and_nothing_else(world: World) -> None:
    snapshot = world.make()
    before = world.files(PROJECT)
    world.spoil()
    world.write(f"{TOP}/articles/new.html")
    files, records = world.files(PROJECT), world.records()

    outcome = world.restore(snapshot, selection=Selection(paths=(f"{TOP}/articles",)))

    inside = f"{TOP}/articles"
    now = world.files(PROJECT)
    assert outcome.status is DONE
    assert {key: one for key, one in now.items() if key.startswith(inside)} == {
        key: one for key, one in before.items() if key.startswith(inside)
    }
    assert {key: one for key, one in now.items() if not key.startswith(inside)} == {
        key: one for key, one in files.items() if not key.startswith(inside)
    }
    assert world.records() == records
    assert undone(world, outcome).status is DONE
    assert world.files(PROJECT) == files


def test_folders_on_the_way_to_a_path_come_back_and_go_again_with_the_undo(world: World) -> None:
    before = world.files(PROJECT)
    (world.folder(PROJECT) / TOP / "articles").chmod(0o750)
    snapshot = world.make()
    shutil.rmtree(world.folder(PROJECT) / "edition")
    gone = world.state()

    outcome = world.restore(snapshot, selection=Selection(paths=(f"{TOP}/articles/a.html",)))

    now = world.files(PROJECT)
    assert outcome.status is DONE
    assert set(now) == {"edition", TOP, f"{TOP}/articles", f"{TOP}/articles/a.html"}
    assert now[f"{TOP}/articles"] == ("other", 0o750)
    assert now[f"{TOP}/articles/a.html"] == before[f"{TOP}/articles/a.html"]
    assert undone(world, outcome).status is DONE
    assert world.state() == gone


def test_an_undo_leaves_folders_on_the_way_into_which_something_came(world: World) -> None:
    snapshot = world.make()
    shutil.rmtree(world.folder(PROJECT) / "edition")
    outcome = world.restore(snapshot, selection=Selection(paths=(f"{TOP}/articles/a.html",)))
    world.write(f"{TOP}/since.txt")

    assert undone(world, outcome).status is DONE

    assert set(world.files(PROJECT)) == {"edition", TOP, f"{TOP}/since.txt"}


def test_a_restore_of_a_path_leaves_an_empty_folder_that_is_not_in_the_snapshot(world: World) -> None:
    snapshot = world.make()
    world.write("new/deep/file.txt")
    world.write("gone.txt")
    later = world.make()
    (world.folder(PROJECT) / "gone.txt").unlink()

    plan = world.preview(snapshot, selection=Selection(paths=("new/deep/file.txt",)))
    world.restore(snapshot, selection=Selection(paths=("new/deep/file.txt",)))

    assert items(world, plan) == {("delete", "file", "new/deep/file.txt")}
    assert set(world.files(PROJECT)) >= {"new", "new/deep"}
    assert later.name != snapshot.name


def test_a_file_that_became_a_folder_and_a_folder_that_became_a_file_come_back(world: World) -> None:
    world.write("file.txt", "a file")
    world.write("folder/a.txt", "in a folder")
    snapshot = world.make()
    before = world.files(PROJECT)
    (world.folder(PROJECT) / "file.txt").unlink()
    world.write("file.txt/b.txt", "in what was a file")
    shutil.rmtree(world.folder(PROJECT) / "folder")
    world.write("folder", "was a folder")
    world.write("beside.txt", "not meant")
    spoilt = world.files(PROJECT)

    outcome = world.restore(snapshot, selection=Selection(paths=("file.txt", "folder")))

    now = world.files(PROJECT)
    assert outcome.status is DONE
    assert now.pop("beside.txt") == spoilt["beside.txt"]
    assert now == before
    assert undone(world, outcome).status is DONE
    assert world.files(PROJECT) == spoilt


@pytest.mark.parametrize("what", ["file", "link"])
def test_what_lies_on_the_way_and_is_no_folder_is_left_and_named(world: World, what: str) -> None:
    world.write("way/deep/a.txt", "wanted")
    world.write("other.txt", "wanted, too")
    snapshot = world.make()
    shutil.rmtree(world.folder(PROJECT) / "way")
    world.write("other.txt", "changed")
    elsewhere = world.write("elsewhere/deep/b.txt").parent.parent
    if what == "link":
        (world.folder(PROJECT) / "way").symlink_to(elsewhere)
    else:
        world.write("way", "in the way")
    spoilt = world.files(PROJECT)
    chosen = Selection(paths=("way/deep/a.txt", "other.txt"))

    plan = world.preview(snapshot, selection=chosen)
    outcome = world.restore(snapshot, selection=chosen, plan=plan.digest)

    assert items(world, plan) == {("replace", "file", "other.txt")}
    assert [(one.code, one.subject) for one in plan.warnings] == [("left", "way")]
    assert outcome.status is OutcomeStatus.PARTIAL
    assert (world.folder(PROJECT) / "other.txt").read_text() == "wanted, too"
    now = world.files(PROJECT)
    assert {key: one for key, one in now.items() if key != "other.txt"} == {
        key: one for key, one in spoilt.items() if key != "other.txt"
    }


def test_a_path_of_any_bytes_can_be_selected(world: World) -> None:
    name = os.fsdecode(b"\xff\n ")
    world.write(f"odd/{name}", "wanted")
    snapshot = world.make()
    world.write(f"odd/{name}", "changed")

    plan = world.preview(snapshot, selection=Selection(paths=(f"odd/{name}",)))
    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is DONE
    assert (world.folder(PROJECT) / "odd" / name).read_text() == "wanted"
    assert undone(world, outcome).status is DONE
    assert (world.folder(PROJECT) / "odd" / name).read_text() == "changed"


def test_a_path_counts_as_far_as_it_lies_in_the_chosen_editions(world: World) -> None:
    snapshot = world.make()
    for one in EDITION[:2]:
        world.write(f"edition/{one}/model.glb", "changed")

    plan = world.preview(snapshot, selection=Selection(editions=(str(EDITION[0]),), paths=("edition",)))

    assert items(world, plan) == {("replace", "file", f"{TOP}/model.glb")}
    outside = Selection(editions=(str(EDITION[0]),), paths=(f"edition/{EDITION[1]}",))
    assert problem_of(world, snapshot, outside) == "not-found"


def test_paths_of_the_site_and_of_its_projects(world: World) -> None:
    snapshot = world.make(SITE)
    world.write("about.txt", "changed", SITE)
    world.write(f"{TOP}/model.glb", "changed")
    world.write("more.txt", "more", OTHER)
    one = f"project/{ONE}"

    site = world.preview(snapshot, SITE, Selection(paths=("about.txt", f"{one}/{TOP}")))
    both = world.preview(
        snapshot, SITE, Selection(projects=(str(ONE), str(TWO)), paths=(f"{one}/{TOP}", f"project/{TWO}"))
    )
    narrow = world.preview(snapshot, SITE, Selection(projects=(str(ONE),), paths=(f"{one}/{TOP}/model.glb",)))

    assert items(world, site) == {("replace", "file", "about.txt"), ("replace", "file", f"{one}/{TOP}/model.glb")}
    assert items(world, both) == {
        ("replace", "file", f"{one}/{TOP}/model.glb"),
        ("delete", "file", f"project/{TWO}/more.txt"),
    }
    assert narrow.target == PROJECT
    assert narrow.selection == Selection(paths=(f"{TOP}/model.glb",))
    assert world.restore(snapshot, SITE, plan=narrow.digest).status is DONE
    with pytest.raises(InvalidError):
        world.preview(snapshot, SITE, Selection(projects=(str(ONE),), paths=("about.txt",)))


# --- records and collections


def test_a_single_record_comes_back_alone(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    world.db.edition.insert_one({"_id": EDITION[1], "projectId": ONE, "title": "written anew"})
    spoilt = world.state()

    outcome = world.restore(snapshot, selection=Selection(records=(RECORD,)))

    assert outcome.status is DONE
    assert world.db.edition.find_one({"_id": EDITION[0]})["title"] == "Edition 0"  # type: ignore[index]
    files, records = world.state()
    assert files == spoilt[0]
    assert {key: one for key, one in records["edition"].items() if str(EDITION[0]) not in key} == {
        key: one for key, one in spoilt[1]["edition"].items() if str(EDITION[0]) not in key
    }
    assert undone(world, outcome).status is DONE
    assert world.state() == spoilt


def test_a_record_that_is_not_in_the_snapshot_goes_and_one_that_is_gone_comes(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    spoilt = world.state()
    chosen = Selection(records=(("edition", '"stray"'), ("edition", f'{{"$oid": "{EDITION[1]}"}}')))

    plan = world.preview(snapshot, selection=chosen)
    outcome = world.restore(snapshot, selection=chosen, plan=plan.digest)

    assert items(world, plan) == {
        ("delete", "record", "edition/stray"),
        ("create", "record", f"edition/{EDITION[1]}"),
    }
    assert outcome.status is DONE
    assert undone(world, outcome).status is DONE
    assert world.state() == spoilt


def test_records_with_ids_of_any_type_are_told_apart(world: World) -> None:
    idents = [5, "5", ObjectId("5" * 24), {"a": 5}, {"a": "5"}, None, True, 7.5, Int64(2**40)]
    world.db.log.insert_many([{"_id": one, "text": "first"} for one in idents])
    snapshot = world.make(SITE)
    world.db.log.update_many({}, {"$set": {"text": "second"}})
    for number, one in enumerate(idents):
        text = canonical_of(json.dumps(one) if not isinstance(one, ObjectId) else str(one))

        outcome = world.restore(snapshot, SITE, Selection(records=(("log", text),)))

        assert outcome.status is DONE, one
        assert world.db.log.count_documents({"text": "first"}) == number + 1
        assert world.db.log.find_one({"_id": one})["text"] == "first"  # type: ignore[index]


def test_ids_that_mongodb_takes_for_the_same_are_the_same(world: World) -> None:
    world.db.log.insert_one({"_id": 5, "text": "first"})
    snapshot = world.make(SITE)
    world.db.log.delete_many({})
    world.db.log.insert_one({"_id": Int64(5), "text": "second"})
    spoilt = world.records()

    outcome = world.restore(snapshot, SITE, Selection(records=(("log", '{"$numberDouble": "5.0"}'),)))

    assert outcome.status is DONE
    assert world.db.log.find_one({}) == {"_id": 5, "text": "first"}
    assert undone(world, outcome, SITE).status is DONE
    assert world.records() == spoilt


def test_a_collection_of_a_project_comes_back_with_its_own_records_only(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    world.db.project.update_one({"_id": ONE}, {"$set": {"title": "changed"}})
    world.db.edition.update_one({"projectId": TWO}, {"$set": {"title": "of the other"}})
    world.db.edition.create_index("title", name="since")
    spoilt = world.state()

    outcome = world.restore(snapshot, selection=Selection(collections=("edition",)))

    files, records = world.state()
    assert outcome.status is DONE
    assert {one["title"] for one in world.db.edition.find({"projectId": ONE})} == {"Edition 0", "Edition 1"}
    assert files == spoilt[0]
    assert records["project"] == spoilt[1]["project"]
    assert records["edition indexes"] == spoilt[1]["edition indexes"]
    assert world.db.edition.find_one({"projectId": TWO})["title"] == "of the other"  # type: ignore[index]
    assert undone(world, outcome).status is DONE
    assert world.state() == spoilt


def test_a_collection_of_the_site_comes_back_with_options_and_indexes_and_no_other_does(world: World) -> None:
    level = {"validationLevel": "moderate", "validationAction": "warn"}
    world.db.create_collection("log", validator={"text": {"$type": "string"}}, **level)
    world.db.log.insert_one({"_id": 1, "text": "first"})
    world.db.log.create_index("text", name="by_text")
    snapshot = world.make(SITE)
    before = world.records()
    world.db.command("collMod", "log", validator={"text": {"$type": "int"}}, validationLevel="strict")
    world.db.log.drop_indexes()
    world.db.log.update_one({"_id": 1}, {"$set": {"text": 1}})
    world.db.log.insert_one({"_id": 2, "text": 2})
    world.db.site.create_index("title", name="since")
    world.db.site.update_one({"_id": 1}, {"$set": {"title": "changed"}})
    spoilt = world.state()

    outcome = world.restore(snapshot, SITE, Selection(collections=("log",)))

    files, records = world.state()
    assert outcome.status is DONE
    assert {key: one for key, one in records.items() if key.split()[0] == "log"} == {
        key: one for key, one in before.items() if key.split()[0] == "log"
    }
    assert {key: one for key, one in records.items() if key.split()[0] != "log"} == {
        key: one for key, one in spoilt[1].items() if key.split()[0] != "log"
    }
    assert files == spoilt[0]
    assert undone(world, outcome, SITE).status is DONE
    assert world.state() == spoilt


@pytest.mark.parametrize("kind", ["capped", "view", "timeseries"])
def test_a_collection_of_any_kind_can_be_selected(world: World, kind: str) -> None:
    options: dict[str, Any] = {
        "capped": {"capped": True, "size": 4096},
        "view": {"viewOn": "edition", "pipeline": []},
        "timeseries": {"timeseries": {"timeField": "at"}},
    }[kind]
    world.db.create_collection("special", **options)
    if kind == "capped":
        world.db.special.insert_one({"_id": 1})
    snapshot = world.make(SITE)
    before = world.records()
    world.db.special.drop()
    world.db.site.update_one({"_id": 1}, {"$set": {"title": "changed"}})
    spoilt = world.records()

    outcome = world.restore(snapshot, SITE, Selection(collections=("special",)))

    now = world.records()
    assert outcome.status is DONE
    assert now["site"] == spoilt["site"]
    assert {key: one for key, one in now.items() if "special" in key} == {
        key: one for key, one in before.items() if "special" in key
    }
    assert undone(world, outcome, SITE).status is DONE
    assert world.records() == spoilt


def test_a_record_whose_collection_is_gone_comes_back_into_one_as_it_was(world: World) -> None:
    world.db.create_collection("log", validator={"text": {"$type": "string"}})
    world.db.log.insert_many([{"_id": 1, "text": "first"}, {"_id": 2, "text": "second"}])
    world.db.log.create_index("text", name="by_text")
    snapshot = world.make(SITE)
    before = world.records()
    world.db.log.drop()
    spoilt = world.state()

    outcome = world.restore(snapshot, SITE, Selection(records=(("log", '{"$numberInt": "2"}'),)))

    now = world.records()
    assert outcome.status is DONE
    assert now["log"] == {"2": before["log"]["2"]}
    assert (now["log options"], now["log indexes"]) == (before["log options"], before["log indexes"])
    assert undone(world, outcome, SITE).status is DONE
    assert world.state() == spoilt


def test_an_undo_leaves_a_collection_into_which_something_came(world: World) -> None:
    world.db.log.insert_one({"_id": 1, "text": "first"})
    snapshot = world.make(SITE)
    world.db.log.drop()
    outcome = world.restore(snapshot, SITE, Selection(records=(("log", '{"$numberInt": "1"}'),)))
    world.db.log.insert_one({"_id": 2, "text": "since"})

    assert undone(world, outcome, SITE).status is DONE

    assert [one["_id"] for one in world.db.log.find()] == [2]


def test_single_records_of_a_capped_collection_are_refused(world: World) -> None:
    world.db.create_collection("ring", capped=True, size=4096).insert_one({"_id": 1})
    snapshot = world.make(SITE)

    chosen = Selection(records=(("ring", '{"$numberInt": "1"}'),))

    assert problem_of(world, snapshot, chosen, SITE) == "invalid"


# --- files only, records only


def test_files_only_and_records_only_leave_the_other_half(world: World) -> None:
    snapshot = world.make(SITE)
    before = world.state()
    world.spoil()
    world.db.site.create_index("title", name="since")
    spoilt = world.state()

    first = world.restore(snapshot, SITE, Selection(only="files"))
    files_only = world.state()
    second = world.restore(snapshot, SITE, Selection(only="records"))

    assert (first.status, second.status) == (DONE, DONE)
    assert files_only == (before[0], spoilt[1])
    assert world.state() == before
    assert undone(world, second, SITE).status is DONE
    assert world.state() == files_only
    assert undone(world, first, SITE).status is DONE
    assert world.state() == spoilt


def test_people_stay_with_every_selection(world: World) -> None:
    snapshot = world.make(SITE)
    world.db.user.delete_one({"user": "bram"})
    world.spoil()
    people = world.records()["user"]

    world.restore(snapshot, SITE, Selection(only="records"))

    assert world.records()["user"] == people
    with pytest.raises(InvalidError):
        world.preview(snapshot, SITE, Selection(only="records"), people=True)
    with pytest.raises(InvalidError, match="People are restored with the whole site only"):
        world.preview(snapshot, SITE, Selection(collections=("user",)))
    with pytest.raises(InvalidError, match="People are restored with the whole site only"):
        world.preview(snapshot, SITE, Selection(records=(("projectUser", '"a"'),)))


def test_an_edition_that_is_gone_altogether_comes_back_and_goes_again(world: World) -> None:
    snapshot = world.make()
    before = world.state()
    shutil.rmtree(world.folder(PROJECT) / "edition")
    world.db.edition.delete_many({"projectId": ONE})
    gone = world.state()

    outcome = world.restore(snapshot, selection=Selection(editions=tuple(map(str, EDITION[:2]))))

    assert outcome.status is DONE
    assert world.state() == before
    assert undone(world, outcome).status is DONE
    assert world.state() == gone


# --- what is not there, and what is nobody's business


@pytest.mark.parametrize(
    "chosen",
    [
        Selection(paths=("nowhere",)),
        Selection(paths=(f"{TOP}/model.glb", "nowhere/at/all")),
        Selection(records=(("edition", '"nobody"'),)),
        Selection(records=(RECORD, ("edition", f'"{EDITION[0]}"'))),
        Selection(editions=(str(EDITION[0]), "f" * 24)),
        Selection(collections=("nothing",)),
        Selection(records=(("nothing", '"a"'),)),
        Selection(editions=(str(EDITION[0]),), collections=("project",)),
        Selection(records=(("edition", f'{{"$oid": "{EDITION[2]}"}}'),)),
    ],
)
def test_what_is_named_and_nowhere_is_not_found(world: World, chosen: Selection) -> None:
    snapshot = world.make()
    world.spoil()

    try:
        code = problem_of(world, snapshot, chosen)
    except NotFoundError as error:
        code = error.code

    assert code == "not-found"


@pytest.mark.parametrize(
    ("chosen", "asked", "other"),
    [
        (Selection(editions=(EDITION_0,), collections=("project",)), f"edition {EDITION_0}", "collection project"),
        (Selection(editions=(EDITION_0,), paths=("about.txt",)), f"edition {EDITION_0}", "path about.txt"),
        (
            Selection(editions=(EDITION_0, EDITION_1), paths=(f"{TOP}/model.glb",)),
            f"edition {EDITION_1}",
            f"path {TOP}/model.glb",
        ),
        (
            Selection(editions=(EDITION_0,), paths=(f"{TOP}/model.glb", "edition/else")),
            "path edition/else",
            f"edition {EDITION_0}",
        ),
        (
            Selection(editions=(EDITION_0,), collections=("edition", "project")),
            "collection project",
            f"edition {EDITION_0}",
        ),
        (
            Selection(editions=(EDITION_0,), collections=("edition",), records=(("edition", '"other"'),)),
            'record edition/"other"',
            f"edition {EDITION_0}",
        ),
    ],
)
def test_what_the_rest_of_the_selection_excludes_is_named_with_what_excludes_it(
    world: World, chosen: Selection, asked: str, other: str
) -> None:
    snapshot = world.make()
    world.spoil()

    outcome = world.done(world.office.desk.preview(world.ask, PROJECT, snapshot.name, chosen))

    (problem,) = outcome.problems
    assert (problem.code, problem.subject) == ("not-found", asked)
    assert problem.what == f"is excluded by what else is selected: {other}."


def test_paths_outside_of_the_selected_projects_are_named_with_these(world: World) -> None:
    snapshot = world.make(SITE)
    chosen = Selection(projects=(str(ONE), str(TWO)), paths=(f"project/{ONE}/edition", "about.txt"))

    outcome = world.done(world.office.desk.preview(world.ask, SITE, snapshot.name, chosen))

    (problem,) = outcome.problems
    assert problem.subject == "path about.txt"
    assert problem.what.endswith(f": project {ONE}, project {TWO}.")


def test_an_edition_without_files_is_missed_among_the_files(world: World) -> None:
    world.db.edition.insert_one({"_id": "bare", "projectId": ONE, "title": "bare"})
    snapshot = world.make()

    both = [Selection(editions=("bare",), only=only) for only in ("files", "records")]
    found = [world.done(world.office.desk.preview(world.ask, PROJECT, snapshot.name, one)) for one in both]

    assert found[0].problems[0].what == "There is no such edition among the files, in the snapshot or now."
    assert found[1].problems == ()


def test_the_reserved_folder_of_the_site_is_nowhere(world: World) -> None:
    snapshot = world.make(SITE)
    (world.settings.working / ".keyframe").mkdir(exist_ok=True)

    assert problem_of(world, snapshot, Selection(paths=(".keyframe",)), SITE) == "not-found"


def test_a_project_does_not_learn_which_other_collections_there_are(world: World) -> None:
    snapshot = world.make(SITE)
    world.db.session.insert_one({"_id": 1})
    world.ask = ANNA
    said = set()

    for name in ("site", "user", "session", "nothing"):
        for chosen in (Selection(collections=(name,)), Selection(records=((name, '"a"'),))):
            with pytest.raises(NotFoundError) as refused:
                world.preview(snapshot, selection=chosen)
            said.add(str(refused.value).replace(name, "…"))

    assert len(said) == 1


def test_an_organiser_selects_within_his_project(world: World) -> None:
    snapshot = world.make(SITE)
    world.spoil()
    world.ask = ANNA

    outcome = world.restore(snapshot, selection=Selection(paths=(TOP,), records=(RECORD,)))

    assert outcome.status is DONE
    with pytest.raises(NotFoundError):
        world.preview(snapshot, SITE, Selection(paths=(f"project/{ONE}/{TOP}",)))
    with pytest.raises(NotFoundError):
        world.preview(snapshot, OTHER, Selection(paths=("edition",)))


def test_what_is_left_alone_is_never_restored_by_name(world: World) -> None:
    world.db.session.insert_one({"_id": 1})
    snapshot = world.make(SITE)

    with pytest.raises(InvalidError, match=r"scopes\.site\.leave"):
        world.preview(snapshot, SITE, Selection(collections=("session",)))


def test_what_is_no_id_is_refused_at_the_desk(world: World) -> None:
    snapshot = world.make()

    with pytest.raises(InvalidError, match="is not the id of a record"):
        world.preview(snapshot, selection=Selection(records=(("edition", '{"$oid": "zz"}'),)))


def test_an_undo_is_about_what_was_selected_also_where_that_is_gone_by_now(world: World) -> None:
    world.write("a.txt", "a")
    world.write("b.txt", "b")
    snapshot = world.make()
    (world.folder(PROJECT) / "a.txt").unlink()
    world.write("b.txt", "changed")
    outcome = world.restore(snapshot, selection=Selection(paths=("a.txt", "b.txt")))
    (world.folder(PROJECT) / "a.txt").unlink()

    assert undone(world, outcome).status is DONE

    assert (world.folder(PROJECT) / "b.txt").read_text() == "changed"
    assert not (world.folder(PROJECT) / "a.txt").exists()


# --- what goes wrong on the way


def lost_half(world: World) -> tuple[Snapshot, Selection]:
    """A snapshot of the site, and a selection that needs a folder and a collection made on its way."""
    world.db.log.insert_many([{"_id": 1, "text": "first"}, {"_id": 2, "text": "second"}])
    world.db.log.create_index("text", name="by_text")
    snapshot = world.make(SITE)
    shutil.rmtree(world.folder(PROJECT) / "edition")
    world.db.log.drop()
    path = f"project/{ONE}/{TOP}/articles/a.html"
    return snapshot, Selection(paths=(path, "about.txt"), records=(("log", '{"$numberInt": "2"}'),))


def test_a_restore_of_a_selection_is_finished_after_a_crash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, chosen = lost_half(world)
    (world.folder() / "about.txt").unlink()
    lost = world.state()
    job = world.office.desk.restore(world.ask, SITE, snapshot.name, chosen)
    with monkeypatch.context() as patch:
        patch.setattr(Staging, "move", _refuse)
        patch.setattr(Finishing, "finish", _stop)
        claim = world.office.jobs.claim()
        assert claim is not None
        world.office.work.run(claim)  # as if the program had ended after the records, before the files
    assert world.office.intents.open() == (SITE,)
    world.client[f"{world.db.name}_control"]["jobs"].delete_many({})
    world.client[f"{world.db.name}_control"]["locks"].delete_many({})

    assert world.office.work.recover() == 0

    assert set(world.files(PROJECT)) == {"edition", TOP, f"{TOP}/articles", f"{TOP}/articles/a.html"}
    assert (world.folder() / "about.txt").exists()
    assert [one["_id"] for one in world.db.log.find()] == [2]
    assert "by_text" in world.db.log.index_information()
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert world.state() == lost
    assert job.order.selection == chosen


def test_a_selection_that_cannot_be_brought_back_leaves_the_state_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, chosen = lost_half(world)
    lost = world.state()
    real = Finishing._verify

    def verify(self: Finishing, target: Target, *given: Any) -> Any:
        if target.snapshot.name == snapshot.name:
            raise DamagedError("file-bytes", "is not as it was written.", subject="a.html")
        return real(self, target, *given)

    monkeypatch.setattr(Touched, "is_as_planned", lambda *_: False)
    monkeypatch.setattr(Finishing, "_verify", verify)
    outcome = world.restore(snapshot, SITE, chosen)

    assert outcome.status is OutcomeStatus.FAILED
    assert "the state before it is live again" in outcome.problems[0].what
    assert world.state() == lost


def _refuse(*_: Any, **__: Any) -> None:
    raise OSError("the disk went away")


def _stop(*_: Any, **__: Any) -> None:
    raise CancelledError("The program is ending.")


# --- torn


def test_an_edition_without_its_record_is_named_where_that_differs(world: World) -> None:
    snapshot = world.make()
    world.write(f"{TOP}/model.glb", "changed")
    whole = world.preview(snapshot, selection=Selection(paths=(TOP,)))
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "changed"}})

    torn = [
        world.preview(snapshot, selection=one)
        for one in (Selection(paths=(f"{TOP}/model.glb",)), Selection(only="files"))
    ]
    both = world.preview(snapshot, selection=Selection(paths=(TOP,), records=(RECORD,)))
    alone = world.preview(snapshot, selection=Selection(editions=(str(EDITION[0]),)))

    assert [codes(one) for one in (whole, *torn, both, alone)] == [[], ["torn"], ["torn"], [], []]
    for plan in torn:
        assert str(EDITION[0]) in plan.warnings[0].subject
        assert "its record differs" in plan.warnings[0].what
    assert world.restore(snapshot, plan=torn[0].digest).status is DONE


def test_a_record_without_the_files_of_its_edition_is_named_where_they_differ(world: World) -> None:
    snapshot = world.make(SITE)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "changed"}})
    record = Selection(records=(RECORD,))
    whole = world.preview(snapshot, selection=record), world.preview(snapshot, SITE, record)
    world.write(f"{TOP}/new.txt", "changed")
    world.write(f"{TOP}/model.glb", "changed")

    torn = [
        world.preview(snapshot, selection=record),
        world.preview(snapshot, SITE, record),
        world.preview(snapshot, selection=Selection(only="records")),
        world.preview(snapshot, selection=Selection(records=(RECORD,), paths=(f"{TOP}/new.txt",))),
    ]

    assert [codes(one) for one in whole] == [[], []]
    for plan in torn:
        assert codes(plan) == ["torn"]
        assert str(EDITION[0]) in plan.warnings[0].subject
        assert "other files of it differ" in plan.warnings[0].what
    outcome = world.restore(snapshot, plan=torn[0].digest)
    assert outcome.status is DONE
    assert outcome.report is not None and outcome.report.items() >= torn[0].as_dict().items()


def test_a_project_without_its_record_is_named(world: World) -> None:
    world.write("about.txt", "first")
    snapshot = world.make()
    world.write("about.txt", "second")
    world.db.project.update_one({"_id": ONE}, {"$set": {"title": "changed"}})

    files = world.preview(snapshot, selection=Selection(paths=("about.txt",)))
    record = world.preview(snapshot, selection=Selection(collections=("project",)))

    assert [(one.code, one.subject) for one in (*files.warnings, *record.warnings)] == [
        ("torn", f"project First ({ONE})")
    ] * 2


def test_what_is_torn_tells_nothing_of_other_projects(world: World) -> None:
    snapshot = world.make(SITE)
    for one in EDITION:
        world.db.edition.update_one({"_id": one}, {"$set": {"title": f"changed {one}"}})
        for scope in (PROJECT, OTHER):
            world.write(f"edition/{one}/model.glb", "changed", scope)
    world.ask = ANNA

    plan = world.preview(snapshot, selection=Selection(only="files"))

    assert codes(plan) == ["torn"]
    assert "changed" not in plan.warnings[0].subject
    assert str(TWO) not in str(plan.as_dict())

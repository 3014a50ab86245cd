"""In which fields what a plan replaces differs, as the desk tells it."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import Any

import pytest
from keyframe.backup import differing
from keyframe.errors import UnavailableError
from keyframe.model import ABSENT, Actor, OutcomeStatus, Plan, PlanItem
from keyframe.stores import lookups, plan_bytes
from world import EDITION, PROJECT, SITE, World

DONE = OutcomeStatus.DONE


def items(world: World, plan: Plan, ask: Actor | None = None) -> dict[str, PlanItem]:
    page = world.office.desk.plan_items(ask or world.ask, plan.digest, limit=200, fields=True)
    return {one.name: one for one in page.items}


def fields(item: PlanItem) -> dict[str, tuple[Any, Any]]:
    assert item.fields is not None
    return {one.path: (one.old, one.new) for one in item.fields.named}


def why(item: PlanItem) -> str:
    assert item.fields is not None
    return item.fields.why


def of_edition(number: int = 0) -> str:
    return f"edition/{EDITION[number]}"


def test_a_replaced_record_names_its_fields_with_what_is_there_and_what_comes(world: World) -> None:
    snapshot = world.make()
    change = {"title": "new", "weights.1.a": 5, "note": "added", "passwordHash": "argon2"}
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": change})

    (item,) = items(world, world.preview(snapshot)).values()

    assert fields(item) == {
        "title": ("new", "Edition 0"),
        "weights[1].a": ({"$numberInt": "5"}, None),
        "note": ("added", ABSENT),
        "passwordHash": ("(hidden)", ABSENT),
    }
    assert item.as_dict()["fields_number"] == 4
    assert "argon2" not in repr(item)


def test_what_is_created_or_deleted_has_no_fields_and_who_does_not_ask_gets_none(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    plan = world.preview(snapshot)

    asked = items(world, plan)
    plain = world.office.desk.plan_items(world.ask, plan.digest).items

    assert {name for name, item in asked.items() if item.fields is not None} == {
        name for name, item in asked.items() if item.change.value == "replace"
    }
    assert all(item.fields is None and "fields" not in item.as_dict() for item in plain)


def test_the_values_are_those_of_the_plan_also_when_it_was_carried_out_and_the_snapshot_is_in_the_trash(
    world: World,
) -> None:
    snapshot = world.make()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "spoilt"}})
    plan = world.preview(snapshot)
    before = items(world, plan)

    outcome = world.restore(snapshot, plan=plan.digest)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "something else"}})
    world.office.desk.delete(world.ask, PROJECT, snapshot.name)

    assert outcome.status is DONE
    assert fields(before[of_edition()]) == {"title": ("spoilt", "Edition 0")}
    assert items(world, plan) == before


def test_what_was_not_kept_is_looked_for_in_the_database_and_counts_only_if_it_is_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_bytes, "MOST", 10)
    snapshot = world.make()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "spoilt"}})
    plan = world.preview(snapshot)

    there = items(world, plan)[of_edition()]
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "later"}})
    other = items(world, plan)[of_edition()]

    assert fields(there) == {"title": ("spoilt", "Edition 0")}
    assert (fields(other), why(other)) == ({}, "What was there is no longer known.")


@pytest.mark.parametrize("large", ["old", "new"])
def test_a_record_that_is_too_large_says_so(world: World, large: str) -> None:
    long = {"text": "x" * (plan_bytes.LARGEST + 1)}
    if large == "new":
        world.db.edition.update_one({"_id": EDITION[0]}, {"$set": long})
    snapshot = world.make()
    change = {"$set": long} if large == "old" else {"$unset": {"text": ""}}
    world.db.edition.update_one({"_id": EDITION[0]}, change)

    item = items(world, world.preview(snapshot))[of_edition()]

    assert fields(item) == {}
    assert "too large to show" in why(item)


def test_a_copy_that_is_damaged_or_gone_shows_nothing(world: World) -> None:
    snapshot = world.make()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "spoilt"}})
    plan = world.preview(snapshot)
    dump = world.stored(snapshot) / "db/bson/edition.bson"
    dump.write_bytes(dump.read_bytes().replace(b"Edition 0", b"Edition X"))
    damaged = items(world, plan)[of_edition()]
    shutil.rmtree(world.stored(snapshot))

    gone = items(world, plan)[of_edition()]

    assert (fields(damaged), why(damaged)) == (fields(gone), why(gone)) == ({}, "The snapshot's copy cannot be read.")


def test_an_order_of_fields_that_changed_is_said(world: World) -> None:
    snapshot = world.make()
    record = world.db.edition.find_one({"_id": EDITION[0]})
    assert record is not None
    world.db.edition.replace_one({"_id": EDITION[0]}, dict(reversed(record.items())))

    item = items(world, world.preview(snapshot))[of_edition()]

    assert (fields(item), why(item)[:25]) == ({}, "Only the order of its fie")


def test_without_a_database_a_plan_is_shown_all_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_bytes, "MOST", 0)
    snapshot = world.make()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "spoilt"}})
    world.write(f"edition/{EDITION[0]}/model.glb", "spoilt")
    plan = world.preview(snapshot)

    def away(*_: Any) -> Any:
        raise UnavailableError("MongoDB does not answer.")

    monkeypatch.setattr(differing, "found", away)
    told = items(world, plan)

    assert why(told[of_edition()]) == "What was there is no longer known."
    assert "size" in fields(told[f"edition/{EDITION[0]}/model.glb"])


def test_a_replaced_file_names_the_traits_that_differ(world: World) -> None:
    folder = world.folder(PROJECT) / "edition" / str(EDITION[0])
    model, scene, latest = folder / "model.glb", folder / "scene.svx.json", folder / "latest"
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    os.utime(scene, ns=(10**18, 10**18 + 7))
    snapshot = world.make()
    model.write_bytes(b"x")
    scene.chmod(0o600)
    os.utime(scene, ns=(10**18, 10**18 + 8))
    latest.unlink()
    latest.symlink_to("elsewhere")

    told = items(world, world.preview(snapshot))
    top = f"edition/{EDITION[0]}"

    assert {"size", "sha256", "modified"} == set(fields(told[f"{top}/model.glb"]))
    assert fields(told[f"{top}/model.glb"])["size"] == (1, 4000)
    assert fields(told[f"{top}/model.glb"])["sha256"][1] == digest
    assert fields(told[f"{top}/scene.svx.json"]) == {
        "mode": ("0600", "0640"),
        "modified": ("2001-09-09T01:46:40.000000008Z", "2001-09-09T01:46:40.000000007Z"),
    }
    assert fields(told[f"{top}/latest"])["target"] == ("elsewhere", "articles/a.html")


def test_options_and_indexes_that_are_replaced_name_what_differs_and_the_plan_holds(world: World) -> None:
    world.db.create_collection("notes", validator={"a": {"$gt": 1}})
    world.db.notes.create_index("a", name="by_a")
    world.db.create_collection("log", capped=True, size=8192)
    snapshot = world.make(SITE)
    world.db.command("collMod", "notes", validator={"a": {"$gt": 2}})
    world.db.notes.drop_index("by_a")
    world.db.notes.create_index([("a", -1)], name="by_a")
    plan = world.preview(snapshot, SITE)

    told = items(world, plan)
    outcome = world.restore(snapshot, SITE, plan=plan.digest)

    assert fields(told["notes"]) == {"validator.a": ({"$gt": {"$numberInt": "2"}}, {"$gt": {"$numberInt": "1"}})}
    assert fields(told["notes/by_a"]) == {"key.a": ({"$numberInt": "-1"}, {"$numberInt": "1"})}
    assert outcome.status is DONE


def test_fields_of_people_are_shown_to_root_only(world: World) -> None:
    snapshot = world.make(SITE)
    world.db.user.update_one({"user": "bram"}, {"$set": {"mail": "bram@example.org"}})
    plan = world.preview(snapshot, SITE, people=True)
    (name,) = (one for one in items(world, plan) if one.startswith("user/"))

    admin = items(world, plan, Actor("admin", "Admin", "admin", "page"))
    root = items(world, plan)

    assert root[name].fields is not None and list(fields(root[name])) == ["mail"]
    assert admin[name].fields is None


def test_the_records_are_looked_up_once_for_preview_and_restore(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from keyframe.backup import second_look

    asked: list[str] = []

    def counted(mongo: Any, collection: str, ids: Any, *more: Any) -> Any:
        asked.append(collection)
        return lookups.found(mongo, collection, ids, *more)

    snapshot = world.make()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "spoilt"}})
    monkeypatch.setattr(second_look, "found", counted)
    plan = world.preview(snapshot)

    assert world.restore(snapshot, plan=plan.digest).status is DONE
    assert asked == ["edition"]


def test_a_page_with_very_much_on_it_names_fields_as_long_as_that_is_bearable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(differing, "_PAGE", 500)
    snapshot = world.make()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "spoilt"}})
    world.db.edition.update_one({"_id": EDITION[1]}, {"$set": {"text": "x" * 1000}})
    world.write(f"edition/{EDITION[1]}/model.glb", "spoilt")

    told = items(world, world.preview(snapshot))

    assert fields(told[of_edition(0)]) == {"title": ("spoilt", "Edition 0")}
    assert "ask for fewer items" in why(told[of_edition(1)])

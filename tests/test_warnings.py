"""What a plan warns of: work since, people, age, another version, records that would not last."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from keyframe.backup import expiring, second_look
from keyframe.errors import Problem
from keyframe.model import Actor, OutcomeStatus, Plan, Selection
from keyframe.settings import Settings
from keyframe.stores.header_fields import mistakes_of, unknown_in
from keyframe.wiring import build
from world import EDITION, ONE, SITE, World, new_world

LATER = datetime(2100, 1, 1, tzinfo=UTC)
EARLY = datetime(2001, 1, 1, tzinfo=UTC)


def told(plan: Plan, code: str) -> list[Problem]:
    return [one for one in plan.warnings if one.code == code]


def the_one(plan: Plan, code: str) -> Problem:
    (found,) = told(plan, code)
    return found


# --- work since


def edit(world: World, ident: Any, by: Any, at: Any = LATER) -> None:
    world.db.edition.update_one({"_id": ident}, {"$set": {"modifiedBy": by, "dateModified": at}})


def test_work_done_since_is_named_with_who_did_it(world: World) -> None:
    more = [ObjectId() for _ in range(4)]
    world.db.edition.insert_many([{"_id": one, "projectId": ONE, "title": str(one)} for one in more[:2]])
    snapshot = world.make()
    world.db.edition.insert_many([{"_id": one, "projectId": ONE, "title": str(one)} for one in more[2:]])
    edit(world, EDITION[0], "anna")
    edit(world, EDITION[1], "bram", (datetime.now(UTC) + timedelta(hours=1)).isoformat())
    edit(world, more[0], "anna")
    edit(world, more[1], "nobody known", EARLY)  # changed since, but not by what it says
    edit(world, more[2], "anna")
    edit(world, EDITION[2], "bram")  # of another project

    plan = world.preview(snapshot)

    warning = the_one(plan, "edited")
    assert warning.what == "4 records were changed since the snapshot was made, by Anna (3), Bram (1)."


def test_of_many_who_worked_five_are_named_and_the_others_counted(world: World) -> None:
    snapshot = world.make()
    ids = [ObjectId() for _ in range(8)]
    world.db.edition.insert_many(
        [{"_id": one, "projectId": ONE, "title": str(one), "modifiedBy": f"p{n}", "dateModified": LATER}
         for n, one in enumerate(ids)]
    )  # fmt: skip

    warning = the_one(world.preview(snapshot), "edited")

    assert warning.what.endswith(", 3 more.")


@pytest.mark.parametrize("at", [EARLY, "no date", "", 5, None, [LATER], {"a": 1}])
def test_what_is_no_later_date_counts_as_no_work(world: World, at: Any) -> None:
    snapshot = world.make()
    edit(world, EDITION[0], "anna", at)

    assert told(world.preview(snapshot), "edited") == []


def test_the_fields_that_say_who_and_when_are_settings(mongo_uri: str, tmp_path: Path) -> None:
    def preview(**project: Any) -> Plan:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        with new_world(mongo_uri, folder, scopes={"project": project}) as world:
            snapshot = world.make()
            change = {"meta": {"at": LATER, "who": "bram"}, "modifiedBy": "anna", "dateModified": LATER}
            world.db.edition.update_one({"_id": EDITION[0]}, {"$set": change})
            return world.preview(snapshot)

    assert the_one(preview(changed_at="meta.at", changed_by="meta.who"), "edited").what.endswith("by Bram (1).")
    assert the_one(preview(changed_by=None), "edited").what.endswith("by somebody who is not recorded (1).")
    assert told(preview(changed_at=None), "edited") == []


def test_a_restore_reports_the_same_warnings_as_its_preview(world: World) -> None:
    snapshot = world.make()
    edit(world, EDITION[0], "anna")
    plan = world.preview(snapshot)

    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is OutcomeStatus.DONE
    assert outcome.report is not None
    assert outcome.report["warnings"] == plan.as_dict()["warnings"] != []


# --- people


def people(world: World) -> Any:
    snapshot = world.make(SITE)
    world.db.user.insert_one({"user": "carla", "name": "Carla", "role": "admin"})
    world.db.user.delete_one({"user": "bram"})
    world.db.user.update_one({"user": "anna"}, {"$set": {"role": "admin"}})
    world.db.user.update_one({"user": "admin"}, {"$set": {"mail": "a@example.org"}})
    return snapshot


def test_people_who_appear_vanish_or_change_their_role_are_named(world: World) -> None:
    snapshot = people(world)

    plan = world.preview(snapshot, SITE, people=True)

    assert the_one(plan, "people").what == (
        "People and roles change: 1 comes back, 1 is removed, 2 become as they were. Come back: Bram. "
        "Removed: Carla. Other roles: Anna."
    )
    assert told(plan, "yourself") == []
    assert told(world.preview(snapshot, SITE, people=False), "people") == []


def test_of_many_people_five_are_named(world: World) -> None:
    snapshot = world.make(SITE)
    world.db.user.insert_many([{"user": f"p{number}", "name": f"P{number}"} for number in range(12)])

    warning = the_one(world.preview(snapshot, SITE, people=True), "people")

    assert "Removed: P0, P1, P2, P3, P4 and 7 more." in warning.what


def removed(world: World) -> None:
    world.db.user.insert_one({"user": "newroot", "name": "New Root", "role": "root"})


def demoted(world: World) -> None:
    world.db.user.update_one({"user": "newroot"}, {"$set": {"role": "root"}})


def uncoupled(world: World) -> None:
    world.db.projectUser.insert_one({"user": "newroot", "projectId": ONE, "role": "organiser"})


@pytest.mark.parametrize(
    ("change", "before", "what"),
    [
        (removed, None, "would be removed and could not sign in any more"),
        (demoted, "admin", "would be admin instead of root"),
        (uncoupled, "root", "would gain or lose a role in a project or an edition"),
    ],
)
def test_who_asks_is_told_what_becomes_of_himself(
    world: World, change: Callable[[World], None], before: str | None, what: str
) -> None:
    if before:
        world.db.user.insert_one({"user": "newroot", "name": "New Root", "role": before})
    snapshot = world.make(SITE)
    change(world)
    world.ask = Actor("newroot", "New Root", "root", "page")

    plan = world.preview(snapshot, SITE, people=True)

    assert the_one(plan, "yourself").what == f"New Root, who asks for this, {what}."


def test_one_person_is_not_told_what_becomes_of_another_who_asked_before(world: World) -> None:
    snapshot = world.make(SITE)
    removed(world)
    world.ask = Actor("newroot", "New Root", "root", "page")
    first = world.preview(snapshot, SITE, people=True)
    world.ask = Actor("root", "Root", "root", "cli")

    second = world.preview(snapshot, SITE, people=True)

    assert first.digest == second.digest
    assert (len(told(first, "yourself")), told(second, "yourself")) == (1, [])


def test_what_comes_back_with_its_people_has_somebody_if_the_snapshot_says_so(world: World) -> None:
    world.db.editionUser.insert_one({"user": "anna", "editionId": EDITION[0], "role": "editor"})
    world.db.projectUser.delete_one({"user": "bram"})
    snapshot = world.make(SITE)
    world.db.project.delete_many({})
    world.db.edition.delete_many({})
    world.db.editionUser.delete_many({})
    world.db.projectUser.delete_many({})

    alone = {one.subject for one in told(world.preview(snapshot, SITE, people=False), "uncoupled")}
    along = {one.subject for one in told(world.preview(snapshot, SITE, people=True), "uncoupled")}

    assert alone == {"First, Second", "Edition 0, Edition 1, Edition 2"}
    assert along == {"Second", "Edition 1, Edition 2"}


# --- time


@pytest.fixture
def clock(mongo_uri: str, tmp_path: Path) -> Iterator[tuple[World, list[datetime]]]:
    at = [datetime.now(UTC)]
    with new_world(mongo_uri, tmp_path, now=lambda: at[0]) as world:
        yield world, at


def test_a_snapshot_is_old_after_the_days_of_the_setting(clock: tuple[World, list[datetime]]) -> None:
    world, at = clock
    snapshot = world.make()
    world.spoil()
    at[0] += timedelta(days=30, seconds=-1)
    young = world.preview(snapshot)
    at[0] += timedelta(seconds=2)

    old = world.preview(snapshot)

    assert (told(young, "old"), young.digest) == ([], old.digest)
    assert the_one(old, "old").what == "is 30 days old."


def test_no_snapshot_is_old_where_the_setting_says_never(mongo_uri: str, tmp_path: Path) -> None:
    at = [datetime.now(UTC)]
    with new_world(mongo_uri, tmp_path, now=lambda: at[0], restore={"old_after": 0}) as world:
        snapshot = world.make()
        at[0] += timedelta(days=4000)

        assert told(world.preview(snapshot), "old") == []


TTL: list[tuple[dict[str, Any], Any, bool]] = [
    ({"seen": EARLY}, 3600, True),
    ({"seen": [LATER, EARLY]}, 3600, True),
    ({"seen": LATER}, 3600, False),
    ({"seen": [LATER]}, 3600, False),
    ({"seen": "2001-01-01"}, 3600, False),
    ({"other": EARLY}, 3600, False),
    ({"seen": EARLY}, 2**31 - 1, False),
]


@pytest.mark.parametrize(("record", "seconds", "lasts_not"), TTL)
def test_records_that_a_ttl_index_would_delete_at_once_are_counted(
    world: World, record: dict[str, Any], seconds: int, lasts_not: bool
) -> None:
    world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
    try:
        world.db.visit.insert_many([{"_id": 1, **record}, {"_id": 2, **record}, {"_id": 3, "seen": LATER}])
        world.db.visit.create_index("seen", expireAfterSeconds=seconds)
        snapshot = world.make(SITE)
        world.db.visit.delete_many({})

        plan = world.preview(snapshot, SITE)
    finally:
        world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=True)

    found = [(one.subject, one.what[:13]) for one in told(plan, "expires")]
    assert found == ([("collection visit", "2 records are")] if lasts_not else [])


FILTERS: list[tuple[dict[str, Any], list[dict[str, Any]], int]] = [
    ({"state": "draft"}, [{"state": "draft"}, {"state": "final"}, {}], 1),
    ({"state": {"$exists": True}}, [{"state": None}, {"state": 1}, {}], 2),
    (
        {"n": {"$gt": 5}, "in.deep": {"$type": "string"}},
        [{"n": 6, "in": {"deep": "x"}}, {"n": 5.0, "in": {"deep": "x"}}],
        1,
    ),
    ({"state": "nobody's"}, [{"state": "draft"}], 0),
]


@pytest.mark.parametrize(("only", "records", "number"), FILTERS)
def test_of_a_ttl_index_with_a_filter_only_what_it_is_about_counts(
    world: World, monkeypatch: pytest.MonkeyPatch, only: dict[str, Any], records: list[dict[str, Any]], number: int
) -> None:
    monkeypatch.setattr(expiring, "_MOST", 2)
    world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
    try:
        world.db.visit.insert_many([{"seen": EARLY, **one} for one in records])
        world.db.visit.insert_many([{"seen": LATER, **one} for one in records])
        world.db.visit.create_index("seen", expireAfterSeconds=60, partialFilterExpression=only)
        world.db.visit.create_index("other", expireAfterSeconds=60, partialFilterExpression=only)
        snapshot = world.make(SITE)
        world.db.visit.delete_many({})

        plan = world.preview(snapshot, SITE)
    finally:
        world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=True)

    counted = {0: [], 1: ["One record is"], 2: ["2 records are"]}[number]
    assert [one.what.partition(" older")[0] for one in told(plan, "expires")] == counted
    control = world.client[world.settings.control_database]
    assert not [name for name in control.list_collection_names() if name.startswith("scratch_")]


def test_a_record_that_two_filters_let_in_counts_once(world: World) -> None:
    world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
    try:
        world.db.visit.insert_one({"seen": EARLY, "made": EARLY, "state": "draft"})
        for field in ("seen", "made"):
            world.db.visit.create_index(field, expireAfterSeconds=60, partialFilterExpression={"state": "draft"})
        snapshot = world.make(SITE)
        world.db.visit.delete_many({})

        plan = world.preview(snapshot, SITE)
    finally:
        world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=True)

    assert the_one(plan, "expires").what.startswith("One record is older")


def test_a_ttl_index_that_was_made_since_counts_for_a_project_too(world: World) -> None:
    world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=False)
    try:
        world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"until": EARLY}})
        snapshot = world.make()
        world.db.edition.delete_one({"_id": EDITION[0]})
        world.db.edition.create_index("until", expireAfterSeconds=1)

        plan = world.preview(snapshot)
    finally:
        world.db.client.admin.command("setParameter", 1, ttlMonitorEnabled=True)

    assert the_one(plan, "expires").what.startswith("One record is older")


# --- version


def with_version(world: World, version: str | None) -> World:
    """The same site, served by another version of the application."""
    settings: Settings = world.settings.model_copy(update={"application_version": version})
    world.office.database.client.close()
    world.office = build(settings)
    return world


def test_another_version_of_the_application_is_told(world: World) -> None:
    snapshot = with_version(world, "2.4.1").make()
    world.spoil()
    same = world.preview(snapshot)
    later = with_version(world, "3.0").preview(snapshot)
    unknown = with_version(world, None).preview(snapshot)

    assert (told(same, "version"), told(unknown, "version")) == ([], [])
    assert the_one(later, "version").what == "was made with version 2.4.1 of the application; now it is 3.0."
    assert same.digest == later.digest


def test_the_version_stands_in_the_header_and_an_older_header_is_good_without(world: World) -> None:
    before = world.make()
    world.spoil()
    after = with_version(world, "2.4.1").make()

    old, new = (json.loads((world.stored(one) / "snapshot.json").read_text()) for one in (before, after))

    assert "application" not in old["versions"]
    assert new["versions"]["application"] == "2.4.1"
    assert (mistakes_of(old), mistakes_of(new), unknown_in(new)) == ([], [], [])
    assert (before.application, after.application) == ("", "2.4.1")


# --- many


def test_many_records_are_looked_at_in_stretches_and_of_deleted_ones_the_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_look, "_BATCH", 7)
    monkeypatch.setattr(second_look, "_MOST_DELETED", 14)
    world.db.edition.insert_many([{"_id": n, "projectId": ONE, "title": f"t{n}", "n": 0} for n in range(40)])
    snapshot = world.make()
    world.db.edition.update_many({"_id": {"$lt": 40}}, {"$set": {"modifiedBy": "anna", "dateModified": LATER, "n": 1}})
    world.db.edition.insert_many(
        [{"_id": n, "projectId": ONE, "title": f"t{n}", "modifiedBy": "bram", "dateModified": LATER}
         for n in range(40, 80)]
    )  # fmt: skip

    plan = world.preview(snapshot)
    page = world.office.desk.plan_items(world.ask, plan.digest, limit=200, fields=True)

    assert the_one(plan, "edited").what == (
        "At least 49 records were changed since the snapshot was made, by Anna (40), Bram (9)."
    )
    replaced = [one for one in page.items if one.change.value == "replace"]
    assert len(replaced) == 40
    assert all(one.fields is not None and one.fields.number == 3 for one in replaced)
    assert world.restore(snapshot, selection=Selection(), plan=plan.digest).status is OutcomeStatus.DONE


def test_records_whose_ids_are_large_are_looked_at_few_at_a_time(world: World) -> None:
    """More of them than one command can name."""
    snapshot = world.make()
    world.db.edition.insert_many(
        [{"_id": f"{n}".ljust(400_000, "x"), "projectId": ONE, "title": f"t{n}", "modifiedBy": "anna",
          "dateModified": LATER} for n in range(60)]
    )  # fmt: skip

    plan = world.preview(snapshot)

    assert the_one(plan, "edited").what == "60 records were changed since the snapshot was made, by Anna (60)."

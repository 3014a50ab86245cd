"""A project out of a snapshot, restored as a new one: under new ids, beside the one it was made of."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, DBRef, Int64, ObjectId
from crash_child import Crasher
from failing import BROKEN, FULL, Faults, disk
from keyframe.errors import InvalidError, NotFoundError, RefusedError, UnavailableError
from keyframe.model import Actor, Job, Outcome, OutcomeStatus, Progress, Scope, Selection, Snapshot
from keyframe.stores.begun import BegunCopies
from keyframe.stores.intents import Intents
from keyframe.stores.new_project import NewProject
from keyframe.wiring import build
from world import EDITION, ONE, OTHER, PROJECT, SITE, World, new_world

pytestmark = pytest.mark.usefixtures("quick_transactions")

DONE, PARTIAL, FAILED = OutcomeStatus.DONE, OutcomeStatus.PARTIAL, OutcomeStatus.FAILED
ANNA, ADMIN = Actor("anna", "Anna", "user", "api"), Actor("admin", "Admin", "admin", "api")


def order(world: World, snapshot: Snapshot, scope: Scope = PROJECT, **more: Any) -> Job:
    return world.office.desk.duplicate(world.ask, scope, snapshot.name, **more)


def duplicate(world: World, snapshot: Snapshot, scope: Scope = PROJECT, **more: Any) -> Outcome:
    return world.done(order(world, snapshot, scope, **more))


def project_of(outcome: Outcome) -> ObjectId:
    assert outcome.report is not None, outcome
    return ObjectId(outcome.report["project_id"])


def editions_of(world: World, project: Any) -> dict[str, Any]:
    """The new project's editions: the number at the end of the title tells which one it was made of."""
    return {one["title"]: one["_id"] for one in world.db.edition.find({"projectId": project})}


def is_clean(world: World) -> None:
    """Nothing prepared, begun or half is left."""
    own = world.settings.data / ".keyframe"
    assert not list((own / "intents").glob("*.json"))
    assert not list((own / "copies").glob("*"))
    assert not list((world.settings.working / ".keyframe").glob("*"))


# --- what comes to be


@pytest.mark.parametrize("of_site", [True, False], ids=["out of a site snapshot", "out of its own"])
def test_the_new_project_has_all_of_it_under_new_ids_and_the_old_one_stays(world: World, of_site: bool) -> None:
    old_files = world.files(PROJECT)
    snapshot = world.make(SITE if of_site else PROJECT)
    world.spoil()
    files, records = world.state()

    outcome = duplicate(world, snapshot)

    new = project_of(outcome)
    assert (outcome.status, [one.code for one in outcome.warnings]) == (DONE, ["uncoupled"]), outcome
    made = world.db.project.find_one({"_id": new})
    assert made == {"_id": new, "title": f"First (copy of {snapshot.made_at:%Y-%m-%d %H:%M} UTC)"}
    editions = editions_of(world, new)
    assert sorted(editions) == ["Edition 0", "Edition 1"]
    assert not set(editions.values()) & set(EDITION)
    names = {str(EDITION[number]): str(editions[f"Edition {number}"]) for number in (0, 1)}
    expected = {}
    for path, one in old_files.items():
        for old, fresh in names.items():
            path = path.replace(old, fresh)
        expected[path] = one
    assert world.files(Scope.project(str(new))) == expected
    # Everything else is as it was.
    now_files, now_records = world.state()
    assert {path: one for path, one in now_files.items() if not path.startswith(f"project/{new}")} == files
    for name, there in records.items():
        mine = set(map(repr, (new, *editions.values())))
        assert {key: raw for key, raw in now_records[name].items() if key not in mine} == there
    assert outcome.report is not None
    assert (outcome.report["records"], outcome.report["title"]) == (3, made["title"])
    is_clean(world)


def test_the_new_project_can_be_saved_spoilt_and_restored_as_any_other(world: World) -> None:
    scope = Scope.project(str(project_of(duplicate(world, world.make(PROJECT)))))
    before = world.state()
    snapshot = world.make(scope)
    world.db.edition.delete_many({"projectId": ObjectId(scope.project_id)})

    assert world.restore(snapshot, scope).status is DONE

    assert world.state() == before


def test_references_inside_of_the_project_are_to_the_new_records(world: World) -> None:
    key = uuid.UUID(int=7)
    outside = ObjectId()
    world.db.edition.insert_one({"_id": Binary.from_uuid(key), "projectId": ONE, "title": "by uuid"})
    world.db.edition.update_one(
        {"_id": EDITION[0]},
        {
            "$set": {
                "next": EDITION[1],
                "other": EDITION[2],  # of another project
                "outside": outside,
                "deep": [{"a": [EDITION[1], {"p": ONE}]}, DBRef("edition", EDITION[1])],
                "asText": str(EDITION[1]),
                "uuids": [Binary.from_uuid(key), str(key)],
                "link": f"/project/{ONE}/edition/{EDITION[1]}",
                "weights": [1.5, {"a": None}],
            }
        },
    )
    outcome = duplicate(world, world.make(PROJECT))

    new = project_of(outcome)
    editions = editions_of(world, new)
    made = world.db.edition.find_one({"_id": editions["Edition 0"]})
    assert made is not None
    second, third = editions["Edition 1"], editions["by uuid"]
    assert isinstance(third, Binary) and third.subtype == 4 and third.as_uuid() != key
    assert (made["next"], made["other"], made["outside"]) == (second, EDITION[2], outside)
    assert made["deep"] == [{"a": [second, {"p": new}]}, DBRef("edition", second)]
    assert made["asText"] == str(second)
    assert made["uuids"] == [third, str(third.as_uuid())]
    assert made["link"] == f"/project/{ONE}/edition/{EDITION[1]}"  # words: left, and told
    assert list(made) == [*dict.fromkeys(["_id", "projectId", "title", "weights", *made])]
    told = next(one for one in outcome.warnings if one.code == "old-ids")
    assert str(EDITION[0]) in told.subject and "1 text" in told.what
    assert outcome.report is not None and outcome.report["texts"] == 1


def test_links_inside_of_the_project_lead_to_the_new_folders(world: World) -> None:
    top = world.folder(PROJECT)
    (top / "first").symlink_to(f"edition/{EDITION[0]}/model.glb")
    (top / "edition" / str(EDITION[1]) / "sibling").symlink_to(f"../{EDITION[0]}/scene.svx.json")
    (top / "away").symlink_to(f"../{OTHER.project_id}/edition/{EDITION[2]}")

    new = project_of(duplicate(world, world.make(PROJECT)))

    editions, live = editions_of(world, new), world.folder(Scope.project(str(new)))
    assert os.readlink(live / "first") == f"edition/{editions['Edition 0']}/model.glb"
    sibling = live / "edition" / str(editions["Edition 1"]) / "sibling"
    assert os.readlink(sibling) == f"../{editions['Edition 0']}/scene.svx.json"
    assert sibling.exists()
    assert os.readlink(live / "away") == f"../{OTHER.project_id}/edition/{EDITION[2]}"


@pytest.mark.parametrize("kind", ["int", "string"])
def test_ids_of_other_kinds_are_made_new_and_other_values_stay(kind: str, mongo_uri: str, tmp_path: Path) -> None:
    settings = {"scopes": {"project": {"id": kind, "collections": {
        "project": {"field": "_id"}, "edition": {"field": "owner.project"}}}}}  # fmt: skip
    is_int = kind == "int"
    one, first, second = (7, 1, Int64(2)) if is_int else ("my-blog", "one", "two")
    with new_world(mongo_uri, tmp_path, **settings) as world:
        db = world.db
        db.project.delete_many({})
        db.edition.drop()
        db.project.insert_many([{"_id": one, "title": "Blog"}, {"_id": 9 if is_int else "x", "title": "Other"}])
        db.edition.insert_many(
            [
                {"_id": first, "owner": {"project": one}, "title": "E1", "n": one, "editionIds": [second, first]},
                {"_id": second, "owner": {"project": one}, "title": "E2", "projectId": one, "size": first},
            ]
        )
        scope = Scope.project(str(one))
        world.write(f"edition/{first}/a.txt", "A", scope)

        outcome = duplicate(world, world.make(scope), scope)

        assert outcome.status is DONE and outcome.report is not None, outcome
        new: Any = outcome.report["project_id"]
        assert new == ("10" if is_int else "my-blog-copy")
        new = int(new) if is_int else new
        made = {row["title"]: row for row in db.edition.find({"owner.project": new})}
        e1, e2 = made["E1"], made["E2"]
        assert {e1["_id"], e2["_id"]} == {3, 4} if is_int else not {e1["_id"], e2["_id"]} & {"one", "two"}
        assert type(e2["_id"]) is type(second)
        assert e1["editionIds"] == [e2["_id"], e1["_id"]]
        assert (e1["n"], e2["size"], e2["projectId"]) == (one, first, new)  # a number may be anything
        assert (world.folder(Scope.project(str(new))) / f"edition/{e1['_id']}/a.txt").read_text() == "A"


def test_a_project_that_is_gone_comes_back_as_a_new_one(world: World) -> None:
    snapshot = world.make(SITE)
    world.db.project.delete_one({"_id": ONE})
    world.db.edition.delete_many({"projectId": ONE})

    outcome = duplicate(world, snapshot, SITE, selection=Selection(projects=(str(ONE),)))

    assert outcome.status is DONE
    assert len(editions_of(world, project_of(outcome))) == 2


def test_an_id_can_be_asked_for(world: World) -> None:
    wanted = str(ObjectId())

    assert str(project_of(duplicate(world, world.make(PROJECT), new_id=wanted))) == wanted


def test_many_records_come_in_several_transactions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyframe.stores.new_project._MOST_CHANGES", 2)
    monkeypatch.setattr("keyframe.stores.new_project._LOOKUP", 2)
    world.db.edition.insert_many([{"projectId": ONE, "title": f"E{number}"} for number in range(7)])

    outcome = duplicate(world, world.make(PROJECT))

    assert outcome.status is DONE
    assert len(editions_of(world, project_of(outcome))) == 9


def test_what_a_partial_snapshot_lacks_is_named(world: World) -> None:
    os.mkfifo(world.folder(PROJECT) / "pipe")

    outcome = duplicate(world, world.make(PROJECT))

    assert (outcome.status, [one.subject for one in outcome.problems]) == (PARTIAL, ["pipe"])


# --- what is refused


def test_only_admins_make_new_projects(world: World) -> None:
    snapshot = world.make(PROJECT)

    with pytest.raises(RefusedError):
        world.office.desk.duplicate(ANNA, PROJECT, snapshot.name)
    with pytest.raises(NotFoundError):
        world.office.desk.duplicate(ANNA, OTHER, snapshot.name)

    assert world.done(world.office.desk.duplicate(ADMIN, PROJECT, snapshot.name)).status is DONE


def test_only_a_whole_project_becomes_a_new_one(world: World) -> None:
    snapshot = world.make(SITE)

    for scope, selection in (
        (SITE, Selection()),
        (SITE, Selection(projects=(str(ONE), OTHER.project_id or ""))),
        (PROJECT, Selection(editions=(str(EDITION[0]),))),
    ):
        with pytest.raises(InvalidError, match="as a whole"):
            order(world, snapshot, scope, selection=selection)


@pytest.mark.parametrize("wanted", [str(ONE), "../x", "12", "x" * 200, "DD" * 12])
def test_ids_that_are_taken_or_cannot_be_are_refused(world: World, wanted: str) -> None:
    with pytest.raises(InvalidError):
        order(world, world.make(PROJECT), new_id=wanted)


def test_the_id_of_a_project_that_has_snapshots_is_refused(world: World) -> None:
    world.make(OTHER)
    snapshot = world.make(PROJECT)
    world.db.project.delete_one({"_id": ObjectId(OTHER.project_id)})

    with pytest.raises(InvalidError, match="or was"):
        order(world, snapshot, new_id=OTHER.project_id)


def test_an_id_whose_folder_or_records_are_there_is_refused_and_both_are_left(world: World) -> None:
    snapshot = world.make(PROJECT)
    with_folder, with_records = ObjectId(), ObjectId()
    kept = world.write("mine.txt", "mine", Scope.project(str(with_folder)))
    world.db.edition.insert_one({"_id": 1, "projectId": with_records, "title": "stray"})
    before = world.state()

    for wanted in (with_folder, with_records):
        outcome = duplicate(world, snapshot, new_id=str(wanted))
        assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid")

    assert kept.read_text() == "mine"
    assert world.state() == before
    is_clean(world)


def test_an_id_that_no_new_one_can_be_made_of_is_named(world: World) -> None:
    world.db.edition.insert_one({"_id": 1.5, "projectId": ONE, "title": "odd"})
    before = world.state()

    outcome = duplicate(world, world.make(PROJECT))

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid")
    assert outcome.problems[0].subject == "edition 1.5"
    assert world.state() == before


# --- what goes wrong


def spoilt_file(world: World, snapshot: Snapshot) -> None:
    path = world.stored(snapshot) / f"files/edition/{EDITION[0]}/model.glb"
    path.write_bytes(b"X" * path.stat().st_size)


def spoilt_dump(world: World, snapshot: Snapshot) -> None:
    path = world.stored(snapshot) / "db/bson/edition.bson"
    path.write_bytes(path.read_bytes().replace(b"Edition 1", b"Edition X"))


@pytest.mark.parametrize("spoil", [spoilt_file, spoilt_dump], ids=lambda one: one.__name__)
def test_of_a_damaged_snapshot_no_project_is_made(world: World, spoil: Any) -> None:
    snapshot = world.make(PROJECT)
    spoil(world, snapshot)
    before = world.state()

    outcome = duplicate(world, snapshot)

    assert outcome.status is FAILED
    assert outcome.problems[0].code in ("damaged.file-bytes", "damaged.collection-bytes")
    assert world.state() == before
    is_clean(world)


def test_a_unique_value_that_is_taken_takes_everything_back(world: World) -> None:
    snapshot = world.make(PROJECT)
    world.db.edition.create_index("title", unique=True, name="one of each")
    before = world.state()

    outcome = duplicate(world, snapshot)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid")
    assert world.state() == before
    is_clean(world)


def test_records_that_are_not_as_they_should_be_are_taken_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = world.make(PROJECT)
    before = world.state()
    monkeypatch.setattr("keyframe.stores.new_project.NewProject.differing", lambda *_: 1)

    outcome = duplicate(world, snapshot)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "internal")
    assert world.state() == before
    is_clean(world)


def test_what_cannot_be_taken_back_at_once_is_taken_back_later_as_the_job_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(PROJECT)
    before = world.state()
    Faults(monkeypatch).at(NewProject, "remove", lambda: UnavailableError("gone"))
    Faults(monkeypatch).at(Intents, "write", disk(FULL), first=2)  # that it shall be taken back cannot be noted either
    Faults(monkeypatch).at(BegunCopies, "write", disk(FULL))

    outcome = duplicate(world, snapshot)

    assert outcome.status is FAILED
    assert world.db.project.count_documents({}) == 3
    monkeypatch.undo()
    assert world.office.work.recover() == 0
    assert world.state() == before
    is_clean(world)


def test_a_new_project_that_is_there_has_not_failed_where_its_intent_cannot_be_removed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(PROJECT)
    Faults(monkeypatch).at(Intents, "remove", disk(BROKEN))

    outcome = duplicate(world, snapshot)

    assert outcome.status is DONE
    monkeypatch.undo()
    assert world.office.work.recover() == 0
    assert len(editions_of(world, project_of(outcome))) == 2
    is_clean(world)


def test_without_room_nothing_is_begun(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = world.make(PROJECT)
    before = world.state()
    monkeypatch.setattr("keyframe.stores.disk.free_bytes", lambda _: 5)

    outcome = duplicate(world, snapshot)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "no-room")
    assert world.state() == before
    is_clean(world)


@pytest.mark.parametrize("stage", ["choosing ids", "preparing records", "preparing files", "adding the project"])
def test_one_that_is_stopped_leaves_nothing(world: World, stage: str) -> None:
    job = order(world, world.make(PROJECT))
    before = world.state()
    claim = world.office.jobs.claim(only=job.id)
    assert claim is not None
    tell = claim.progress

    def stopping(progress: Progress) -> None:
        if progress.stage == stage:
            claim.stop()
        tell(progress)

    claim.progress = stopping  # type: ignore[method-assign]

    outcome = world.office.work.run(claim).outcome

    assert outcome is not None and outcome.status is OutcomeStatus.CANCELLED
    assert world.state() == before
    is_clean(world)


def test_a_collection_that_somebody_dropped_is_made_as_it_was(world: World) -> None:
    world.db.command("collMod", "edition", validator={"title": {"$type": "string"}})
    snapshot = world.make(PROJECT)
    known, options = world.db.edition.index_information(), world.db.edition.options()
    world.db.edition.drop()

    assert world.done(order(world, snapshot)).status is DONE

    assert world.db.edition.count_documents({}) == 2
    assert (world.db.edition.index_information(), world.db.edition.options()) == (known, options)


def test_a_killed_one_is_wholly_there_or_not_at_all(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    whole = crasher.run(world, order(world, snapshot).id)
    assert whole.code == 0
    steps = ("stage records", "place", "flush", "intent", "add files", "records", "body", "commit records", "compared",
             "note", "unlock", "end", "release", "unnote")  # fmt: skip
    points = [line for line in dict.fromkeys(whole.trace) if line.split(":")[0] in steps and line[-2:] in (":1", ":2")]
    assert {"intent:after:1", "add files:after:1", "records:after:1", "unlock:after:1"} < set(points)

    for point in points:
        before = world.state()
        job = order(world, snapshot)

        death = crasher.run(world, job.id, point)
        office = build(world.settings)
        assert office.work.recover() == 0
        ended = office.jobs.get(job.id).outcome
        office.database.client.close()

        assert death.killed and ended is not None, point
        new = ObjectId(job.order.new_id)
        if ended.status is DONE:
            assert world.db.project.find_one({"_id": new}) is not None, point
            assert len(editions_of(world, new)) == 2, point
            names = {str(one) for one in editions_of(world, new).values()}
            assert set(os.listdir(world.folder(Scope.project(str(new))) / "edition")) == names, point
            assert world.files(PROJECT) == {
                path.removeprefix(f"project/{ONE}/"): one
                for path, one in before[0].items()
                if path.startswith(f"project/{ONE}/")
            }
        else:
            assert ended.status is FAILED, point
            assert world.state() == before, point
        assert (ended.status is DONE) == ("commit records:after:1" in death.trace), point  # the transaction
        is_clean(world)


def test_a_recovery_that_is_killed_is_finished_by_the_next_one(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    for at, during in (("add files:after:1", "unlock:before:1"), ("records:after:1", "note:before:1")):
        before = world.state()
        job = order(world, snapshot)
        assert crasher.run(world, job.id, at).killed
        assert crasher.recover(world, during).killed

        assert world.office.work.recover() == 0

        made = world.db.project.find_one({"_id": ObjectId(job.order.new_id)})
        ended = world.office.jobs.get(job.id).outcome
        assert ended is not None and (ended.status is DONE) == (made is not None) == (at == "records:after:1")
        if made is None:
            assert world.state() == before
        is_clean(world)


def test_nobody_writes_while_a_killed_one_is_not_ended(world: World, crasher: Crasher) -> None:
    job = order(world, world.make(PROJECT))
    crasher.run(world, job.id, "add files:after:1")

    assert world.office.intents.open() == (Scope.project(job.order.new_id),)
    assert world.office.desk.health().intents == 1

    assert world.office.work.recover() == 0
    assert world.office.intents.open() == ()


def test_while_somebody_writes_nothing_is_added(mongo_uri: str, tmp_path: Path) -> None:
    with new_world(mongo_uri, tmp_path, gate={"close_within": 0.1}) as world:
        snapshot = world.make(PROJECT)
        before = world.state()

        with world.office.gate.shared(1):
            outcome = duplicate(world, snapshot)

        assert (outcome.status, outcome.problems[0].code) == (FAILED, "unavailable")
        assert world.state() == before
        is_clean(world)


def test_two_that_want_the_same_id_do_not_mix(world: World) -> None:
    snapshot, wanted = world.make(PROJECT), str(ObjectId())
    other = world.make(OTHER)
    first, second = order(world, snapshot, new_id=wanted), order(world, other, OTHER, new_id=wanted)

    assert world.done(first).status is DONE
    outcome = world.done(second)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid")
    assert len(editions_of(world, ObjectId(wanted))) == 2

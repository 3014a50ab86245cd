"""A snapshot, or a part of it, copied beside the live site: into a folder, into a database, or both."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import SON, Int64, ObjectId, Timestamp
from crash_child import Crasher
from failing import BROKEN, Faults, disk
from keyframe.backup import elsewhere
from keyframe.errors import InvalidError, NotFoundError, RefusedError, UnavailableError
from keyframe.model import Actor, Job, Outcome, OutcomeStatus, Progress, Scope, Selection, Snapshot
from keyframe.stores.other_database import MARK, OtherDatabase
from keyframe.wiring import build
from pymongo import MongoClient
from test_keeping import as_root, give_away, without_chown
from world import EDITION, ONE, OTHER, PROJECT, SITE, World, new_world

DONE, PARTIAL, FAILED = OutcomeStatus.DONE, OutcomeStatus.PARTIAL, OutcomeStatus.FAILED
ADMIN, ANNA = Actor("admin", "Admin", "admin", "api"), Actor("anna", "Anna", "user", "api")


@pytest.fixture
def name(world: World) -> Iterator[str]:
    """The name of a database that is not there; dropped in the end."""
    chosen = f"old_{secrets.token_hex(6)}"
    yield chosen
    world.client.drop_database(chosen)


@pytest.fixture(scope="module", autouse=True)
def _nothing_expires(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """The server deletes what is old once a minute, in the site as in a copy."""
    mongo_client.admin.command("setParameter", ttlMonitorEnabled=False)
    yield
    mongo_client.admin.command("setParameter", ttlMonitorEnabled=True)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "old"


def order(world: World, snapshot: Snapshot, scope: Scope = SITE, **more: Any) -> Job:
    return world.office.desk.copy(world.ask, scope, snapshot.name, **more)


def copy(world: World, snapshot: Snapshot, scope: Scope = SITE, **more: Any) -> Outcome:
    return world.done(order(world, snapshot, scope, **more))


def at(world: World, into: Path | None = None, name: str = "") -> World:
    """What is in a copy, looked at as the live site is."""
    settings = world.settings.model_copy(
        update={
            "working_dir": into or world.settings.working,
            "mongo": world.settings.mongo.model_copy(update={"database": name or world.db.name}),
        }
    )
    return World(settings, world.client)


def enrich(world: World) -> None:
    """Collections of every kind, and records that are hard to write."""
    db = world.db
    db.command("create", "viewing", viewOn="edition", pipeline=[{"$match": {"title": "Edition 0"}}])
    db.command("create", "a view of a view", viewOn="viewing", pipeline=[])
    db.command("create", "log", capped=True, size=4096, max=3)
    db.log.insert_many([{"_id": number} for number in (5, 4, 3, 2)])
    db.command("create", "weather", timeseries={"timeField": "at", "metaField": "where"})
    db.weather.insert_many([{"at": datetime(2026, 1, day, tzinfo=UTC), "where": "x", "t": day} for day in (1, 2, 3)])
    db.command("create", "strict", validator={"n": {"$type": "long"}}, validationAction="error")
    db.command("insert", "strict", documents=[{"_id": 1, "n": "wrong"}], bypassDocumentValidation=True)
    db.strict.create_index("n", name="by_n", sparse=True)
    db.odd.insert_one({"_id": 1})
    db.odd.update_one({"_id": 1}, [{"$replaceWith": {"$literal": SON([("_id", 1), ("t", Timestamp(0, 0))])}}])
    db.odd.insert_one(SON([("_id", SON([("b", 1), ("a", 2)])), ("$ref", "x"), ("n", Int64(7))]))
    db.passing.insert_one({"_id": 1, "at": datetime(2020, 1, 1, tzinfo=UTC)})
    db.passing.create_index("at", expireAfterSeconds=1)


def raws_of(world: World, collection: str) -> list[bytes]:
    return list(world.records()[collection].values())


def nothing_left(world: World, into: Path | None = None, name: str = "") -> None:
    """No copy, whole or half, and no note of one."""
    own = world.settings.data / ".keyframe/copies"
    assert not own.exists() or os.listdir(own) == []
    if into is not None:
        assert [one for one in os.listdir(into.parent) if "keyframe" in one or one == into.name] == []
    assert name not in world.client.list_database_names()


# --- what is copied


def test_a_copy_of_the_site_has_every_file_and_record_as_it_was(world: World, into: Path, name: str) -> None:
    enrich(world)
    (world.folder() / "about.txt").chmod(0o604)
    os.chown(world.folder() / "about.txt", 1234, 4321)
    os.setxattr(world.folder() / "about.txt", "user.author", b"Anna")
    os.utime(world.folder() / "about.txt", ns=(1, 1_234_567_890))
    before = world.state()
    snapshot = world.make(SITE)
    world.spoil()
    live = world.state()

    outcome = copy(world, snapshot, into=str(into), database=name)

    assert outcome.status is DONE, outcome
    there = at(world, into, name)
    assert there.files() == before[0]
    assert there.records() == before[1]
    status = (into / "about.txt").stat()
    assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (1234, 4321, 1_234_567_890)
    assert os.getxattr(into / "about.txt", "user.author") == b"Anna"
    assert (into / "about.txt").stat().st_nlink == 1  # never a second name of a stored file
    kinds = {one["name"]: one["type"] for one in world.client[name].list_collections()}
    assert (kinds["viewing"], kinds["weather"], kinds["log"]) == ("view", "timeseries", "collection")
    assert [one["_id"] for one in world.client[name].log.find()] == [4, 3, 2]
    assert world.client[name].weather.count_documents({}) == 3
    assert MARK not in kinds
    assert world.state() == live
    own = world.settings.data / ".keyframe/copies"
    assert os.listdir(own) == []


def test_a_folder_alone_needs_no_database_and_a_database_no_folder(world: World, into: Path, name: str) -> None:
    files, records = world.state()
    snapshot = world.make(SITE)

    assert copy(world, snapshot, into=str(into)).status is DONE
    assert copy(world, snapshot, database=name).status is DONE

    assert at(world, into).files() == files
    assert at(world, name=name).records() == records


@pytest.mark.parametrize("of_site", [True, False], ids=["out of a site snapshot", "out of its own"])
def test_a_copy_of_a_project_has_its_files_and_records_and_no_others(
    world: World, into: Path, name: str, of_site: bool
) -> None:
    files, records = world.files(PROJECT), world.records()
    snapshot = world.make(SITE if of_site else PROJECT)

    outcome = copy(world, snapshot, PROJECT, into=str(into), database=name)

    assert outcome.status is DONE, outcome
    assert at(world, into).files() == files
    there = at(world, name=name).records()
    assert set(there["project"]) == {repr(ONE)}
    assert there["edition"] == {key: value for key, value in records["edition"].items() if str(EDITION[2]) not in key}
    assert there["edition indexes"] == records["edition indexes"]
    assert not set(there) & {"user", "projectUser", "site"}


def test_some_editions_come_with_their_folders_only(world: World, into: Path, name: str) -> None:
    files = world.files(PROJECT)
    snapshot = world.make(PROJECT)
    chosen = Selection(editions=(str(EDITION[0]),))

    assert copy(world, snapshot, PROJECT, selection=chosen, into=str(into), database=name).status is DONE

    top = f"edition/{EDITION[0]}"
    chosen_files = {key: one for key, one in files.items() if key in ("edition", top) or key.startswith(f"{top}/")}
    assert at(world, into).files() == chosen_files
    assert set(at(world, name=name).records()["edition"]) == {repr(EDITION[0])}


def test_what_a_partial_snapshot_lacks_is_named(world: World, into: Path) -> None:
    snapshot = world.make(SITE)
    world.write("unkept", scope=SITE).unlink()
    os.mkfifo(world.folder() / "pipe")
    snapshot = world.make(SITE)

    outcome = copy(world, snapshot, into=str(into))

    assert outcome.status is PARTIAL
    assert [(one.code, one.subject) for one in outcome.problems] == [("left", "pipe")]
    assert "is not in the copy" in outcome.problems[0].what
    assert [(one.code, one.hint) for one in outcome.warnings] == [
        ("partial", "What it does not know is not in the copy.")
    ]
    assert (into / "about.txt").exists()


def test_some_projects_of_the_site_come_with_theirs_only(world: World, into: Path, name: str) -> None:
    world.db.project.insert_one({"_id": EDITION[0], "title": "Third"})
    world.write("third.txt", scope=Scope.project(str(EDITION[0])))
    files = world.files()
    snapshot = world.make(SITE)
    chosen = Selection(projects=(str(ONE), OTHER.project_id or ""))

    assert copy(world, snapshot, selection=chosen, into=str(into), database=name).status is DONE

    there = at(world, into, name)
    third = f"project/{EDITION[0]}"
    assert there.files() == {
        path: one for path, one in files.items() if path.startswith("project") and not path.startswith(third)
    }
    assert set(there.records()["project"]) == {repr(ONE), repr(ObjectId(OTHER.project_id))}
    assert len(there.records()["edition"]) == 3
    assert "user" not in there.records()


@as_root
def test_what_the_disk_does_not_keep_is_said(world: World, into: Path) -> None:
    give_away(world)
    snapshot = world.make(SITE)

    with without_chown():
        outcome = copy(world, snapshot, into=str(into))

    assert (outcome.status, [one.code for one in outcome.warnings]) == (DONE, ["unkept"]), outcome
    assert "more" in outcome.warnings[0].subject and "owner" in outcome.warnings[0].what
    assert at(world, into).files() == world.files()


def test_the_audit_says_where_a_copy_went_to(world: World, into: Path, name: str) -> None:
    copy(world, world.make(SITE), into=str(into), database=name)

    row = world.client[world.settings.control_database].audit.find_one({"act": "copy"})
    assert row is not None and f"into {into}, database {name}" in row["detail"]


# --- what is refused


def test_a_database_that_came_to_be_there_just_now_is_left_alone(
    world: World, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(SITE)
    inner = OtherDatabase.require_new
    calls: list[int] = []

    def require_new(self: OtherDatabase) -> None:
        inner(self)
        calls.append(1)
        if len(calls) == 2:  # after the last look
            world.client[name].mine.insert_one({"_id": 1})

    monkeypatch.setattr(OtherDatabase, "require_new", require_new)

    outcome = copy(world, snapshot, database=name)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid")
    assert world.client[name].mine.count_documents({}) == 1


def test_what_is_there_is_never_overwritten(world: World, into: Path, name: str) -> None:
    snapshot = world.make(SITE)
    into.mkdir()
    world.client[name].mine.insert_one({"_id": 1})

    for more in ({"into": str(into)}, {"database": name}, {"database": name.upper()}):
        outcome = copy(world, snapshot, **more)
        assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid"), more

    assert os.listdir(into) == []
    assert world.client[name].list_collection_names() == ["mine"]


@pytest.mark.parametrize("database", ["admin", "LOCAL", "config", "{app}", "{app}_control", "a/b", "x" * 64])
def test_databases_that_are_in_use_are_refused(world: World, database: str) -> None:
    snapshot = world.make(SITE)

    outcome = copy(world, snapshot, database=database.format(app=world.db.name))

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid")


def test_folders_inside_of_ours_or_nowhere_are_refused(world: World, tmp_path: Path) -> None:
    snapshot = world.make(SITE)
    (tmp_path / "link").symlink_to(world.settings.working)
    (tmp_path / "dangling").symlink_to("nowhere")
    own = world.settings
    wrong = [own.working / "x", own.data / "x", own.repository / "site/x", tmp_path / "link/x", tmp_path / "no/x", "x"]

    for into in [*wrong, tmp_path / "dangling"]:
        outcome = copy(world, snapshot, into=str(into))
        assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid"), into
        nothing_left(world)


def test_a_copy_that_goes_nowhere_is_refused_at_once(world: World) -> None:
    snapshot = world.make(SITE)

    with pytest.raises(InvalidError, match="not said where"):
        order(world, snapshot)


def test_only_admins_may_copy(world: World, into: Path) -> None:
    snapshot, desk = world.make(PROJECT), world.office.desk

    with pytest.raises(RefusedError):
        desk.copy(ANNA, PROJECT, snapshot.name, into=str(into))
    with pytest.raises(NotFoundError):
        desk.copy(ANNA, OTHER, snapshot.name, into=str(into))

    refused = list(world.client[world.settings.control_database].audit.find({"outcome": "refused"}))
    assert [(one["user"], one["act"]) for one in refused] == [("anna", "copy")]


def test_over_the_net_copies_are_put_below_the_configured_folder_only(mongo_uri: str, tmp_path: Path) -> None:
    below = tmp_path / "beside"
    below.mkdir()
    (below / "out").symlink_to(tmp_path)
    with new_world(mongo_uri, tmp_path, restore={"beside": below}) as world:
        snapshot = world.make(SITE)
        for into in (str(tmp_path / "x"), "../x", "out/x", str(below), f"{below}/../x"):
            with pytest.raises((RefusedError, InvalidError)):
                world.office.desk.copy(ADMIN, SITE, snapshot.name, into=into)

        assert world.done(world.office.desk.copy(ADMIN, SITE, snapshot.name, into="old")).status is DONE

        assert at(world, below / "old").files() == world.files()


def test_over_the_net_no_folder_is_written_where_none_is_configured(world: World) -> None:
    snapshot = world.make(SITE)

    with pytest.raises(RefusedError, match="command line only"):
        world.office.desk.copy(ADMIN, SITE, snapshot.name, into="old")


# --- what goes wrong


def spoilt_file(world: World, snapshot: Snapshot) -> str:
    path = world.stored(snapshot) / f"files/project/{ONE}/edition/{EDITION[0]}/model.glb"
    status = path.stat()
    path.write_bytes(b"X" * status.st_size)
    return path.name


def spoilt_dump(world: World, snapshot: Snapshot) -> str:
    path = world.stored(snapshot) / "db/bson/edition.bson"
    path.write_bytes(path.read_bytes().replace(b"Edition 1", b"Edition X"))
    return "edition"


@pytest.mark.parametrize("spoil", [spoilt_file, spoilt_dump], ids=lambda one: one.__name__)
def test_damage_is_named_and_nothing_of_the_copy_stays(world: World, into: Path, name: str, spoil: Any) -> None:
    snapshot = world.make(SITE)
    named = spoil(world, snapshot)

    outcome = copy(world, snapshot, into=str(into), database=name)

    assert outcome.status is FAILED
    problem = outcome.problems[0]
    assert problem.code in ("damaged.file-bytes", "damaged.collection-bytes")
    assert named in problem.subject + problem.what
    nothing_left(world, into, name)


def test_room_is_looked_at_before_anything_is_copied(
    world: World, into: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(SITE)
    monkeypatch.setattr("keyframe.stores.disk.free_bytes", lambda _: 5)

    outcome = copy(world, snapshot, into=str(into), database=name)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "no-room")
    assert "MB" in outcome.problems[0].what and "free" in outcome.problems[0].what
    nothing_left(world, into, name)


def test_the_room_of_the_server_counts_too(world: World, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = world.make(SITE)
    monkeypatch.setattr("keyframe.stores.mongo.Mongo.free_bytes", lambda _: 5)

    outcome = copy(world, snapshot, database=name)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "no-room")
    nothing_left(world, name=name)


@pytest.mark.parametrize("stage", ["comparing", "copying files", "copying records", "checking"])
def test_a_copy_that_is_stopped_leaves_nothing(world: World, into: Path, name: str, stage: str) -> None:
    snapshot = world.make(SITE)
    job = order(world, snapshot, into=str(into), database=name)
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
    nothing_left(world, into, name)


def test_a_folder_that_comes_to_be_there_meanwhile_is_left_alone(
    world: World, into: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(SITE)
    inner = world.office.work._backup._stores.begun.write

    def write(begun: Any) -> None:
        if begun.outcome is not None:
            into.mkdir()
        inner(begun)

    monkeypatch.setattr("keyframe.stores.begun.BegunCopies.write", lambda _, begun: write(begun))

    outcome = copy(world, snapshot, into=str(into), database=name)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "invalid")
    assert os.listdir(into) == []
    into.rmdir()
    nothing_left(world, into, name)


def test_a_copy_that_can_neither_be_named_nor_cleared_away_is_cleared_away_later(
    world: World, into: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, faults = world.make(SITE), Faults(monkeypatch)
    faults.at(elsewhere, "rename_new", disk(BROKEN))
    Faults(monkeypatch).at(OtherDatabase, "clear", lambda: UnavailableError("gone"), times=1)

    job = world.office.work.run_job(order(world, snapshot, into=str(into), database=name).id)

    assert job.outcome is not None and job.outcome.status is FAILED
    assert name in world.client.list_database_names()
    monkeypatch.undo()
    assert world.office.work.recover() == 0
    nothing_left(world, into, name)


def test_a_copy_that_is_there_has_not_failed_where_its_mark_cannot_be_removed(
    world: World, into: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(SITE)
    Faults(monkeypatch).at(OtherDatabase, "finish", lambda: UnavailableError("gone"))

    outcome = copy(world, snapshot, into=str(into), database=name)

    assert outcome.status is DONE, outcome
    assert MARK in world.client[name].list_collection_names()
    monkeypatch.undo()
    assert world.office.work.recover() == 0
    there = at(world, into, name)
    assert there.state() == world.state()
    assert os.listdir(world.settings.data / ".keyframe/copies") == []


def test_a_copy_whose_job_was_taken_over_gets_no_name(
    world: World, into: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(SITE)
    job = order(world, snapshot, into=str(into), database=name)
    inner = elsewhere.Elsewhere._check

    def check(*args: Any) -> Any:
        found = inner(*args)
        jobs = world.client[world.settings.control_database].jobs
        jobs.update_one({"_id": job.id}, {"$inc": {"fence": 1}})
        return found

    monkeypatch.setattr(elsewhere.Elsewhere, "_check", check)

    world.office.work.run_job(job.id)

    nothing_left(world, into, name)


def test_a_killed_copy_is_wholly_there_or_not_at_all(world: World, crasher: Crasher, into: Path, name: str) -> None:
    enrich(world)
    state = world.state()
    snapshot = world.make(SITE)
    job = order(world, snapshot, into=str(into), database=name)
    whole = crasher.run(world, job.id)
    assert whole.code == 0
    steps = (
        "note",
        "mark database",
        "place",
        "create",
        "fill collection",
        "create index",
        "check",
        "name",
        "unmark",
        "unnote",
    )
    points = [line for line in dict.fromkeys(whole.trace) if line.startswith(steps) and line.split(":")[2] in "12"]
    assert len(points) >= 20

    for point in points:
        world.client.drop_database(name)
        if into.exists():
            os.rename(into, into.with_name(f"was-{secrets.token_hex(4)}"))
        job = order(world, snapshot, into=str(into), database=name)

        death = crasher.run(world, job.id, point)
        office = build(world.settings)
        assert office.work.recover() == 0
        ended = office.jobs.get(job.id).outcome
        office.database.client.close()

        assert death.killed and ended is not None, point
        if ended.status is DONE:
            there = at(world, into, name)
            assert (there.files(), there.records()) == state, point
            assert os.listdir(world.settings.data / ".keyframe/copies") == [], point
            assert not [one for one in os.listdir(into.parent) if one.startswith(".old")], point
        else:
            assert ended.status is FAILED, point
            nothing_left(world, into, name)
        assert world.state() == state, point


def test_a_database_without_our_mark_is_never_dropped(world: World, crasher: Crasher, into: Path, name: str) -> None:
    snapshot = world.make(SITE)
    job = order(world, snapshot, into=str(into), database=name)
    assert crasher.run(world, job.id, "note:after:1").killed
    world.client[name].mine.insert_one({"_id": 1})

    assert world.office.work.recover() == 0

    assert world.client[name].list_collection_names() == ["mine"]
    assert os.listdir(world.settings.data / ".keyframe/copies") == []

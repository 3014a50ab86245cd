"""Collections and views of all kinds, with options and indexes; and what changes while they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Code, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from keyframe.model import OutcomeStatus, Scope, Selection
from keyframe.stores.dump import stem_of
from keyframe.stores.mongo import Mongo
from test_records import INT, raw, text
from whole import RAW, documents, put, require_whole
from world import ONE, PROJECT, SITE, World

DONE, PARTIAL = OutcomeStatus.DONE, OutcomeStatus.PARTIAL
LONG = "字" * 72
EARLY = datetime(1, 1, 1, tzinfo=UTC)


def make_collections(world: World) -> None:
    """Views, collations, validators, indexes of every kind, names that need escaping."""
    db = world.db
    names = ["with.dots", "with space", "ünïcode", "a/b", "100%", "-dash", "x" * 180, "ä" * 80, "CON", "*"]
    for name in names:
        db[name].insert_one({"_id": name, "of": name})
    db.command("create", "german", collation={"locale": "de", "strength": 1})
    db.german.insert_many([{"_id": one} for one in ("a", "Z", "ö", "p", 3)])
    db.german.create_index("name", collation={"locale": "simple"})
    db.command("create", "a view", viewOn="edition", pipeline=[{"$match": {"title": {"$ne": 1}}}])
    db.command("create", "view of view", viewOn="a view", pipeline=[])
    db.command("create", "sorted view", viewOn="german", pipeline=[], collation={"locale": "de"})
    db.command("create", "capped by name only", validator={"capped": True})
    db.command("create", "images", changeStreamPreAndPostImages={"enabled": True})
    db.command("create", "clustered", clusteredIndex={"key": {"_id": 1}, "unique": True, "name": "mine"})
    db.clustered.insert_one({"_id": 1})
    db.indexed.insert_one({"_id": 1, "place": [1.0, 2.0], "text": "word", "at": EARLY})
    for keys, options in [
        ([("text", "text"), ("more", "text")], {"weights": {"text": 5}, "default_language": "german"}),
        ([("place", "2dsphere")], {}), ([("flat", "2d")], {"bits": 20}), ([("hash", "hashed")], {}), ([("$**", 1)], {}),
        ([("at", 1)], {"expireAfterSeconds": 10**8}), ([("a", 1), ("b", -1)], {"unique": True, "name": "odd name/ü"}),
        ([("c", 1)], {"partialFilterExpression": {"c": {"$gt": 5}}}), ([("d", 1)], {"sparse": True, "hidden": True}),
        ([("e", 1)], {"collation": {"locale": "de"}}),
    ]:  # fmt: skip
        db.indexed.create_index(keys, **options)
    db.command("createIndexes", "indexed", indexes=[{"key": {"old": 1}, "name": "old", "v": 1}])  # of MongoDB 3.2


def described(world: World) -> dict[str, Any]:
    """What the server says of all collections; validation that was never set is as good as the default."""
    unset = {"validator": {}, "validationLevel": "strict", "validationAction": "error"}
    return {
        info["name"]: (
            {**(unset if info["type"] != "view" else {}), **info["options"]},
            {} if info["type"] == "view" else world.db[info["name"]].index_information(),
            [] if info["type"] == "view" else documents(world.db, info["name"]),
        )
        for info in world.db.list_collections()
        if not info["name"].startswith("system.")
    }


def test_collections_of_all_kinds_come_back(world: World) -> None:
    make_collections(world)
    before = described(world)
    snapshot = world.make(SITE)
    require_whole(world.stored(snapshot), snapshot)
    for name in world.db.list_collection_names():
        if name not in ("user", "projectUser", "site") and not name.startswith("system."):
            world.db.drop_collection(name)
    world.db.german.insert_one({"_id": "without collation"})
    world.db.create_collection("a view")

    assert world.restore(snapshot, SITE).status is DONE
    assert described(world) == before


def test_options_that_were_changed_are_changed_back(world: World) -> None:
    make_collections(world)
    world.db.command("create", "strict", validator={"a": 1}, validationLevel="moderate", validationAction="warn")
    before = described(world)
    snapshot = world.make(SITE)
    world.db.command("collMod", "strict", validator={"b": 2}, validationLevel="strict", validationAction="error")
    world.db.command("collMod", "empty", validator={"b": 2})
    world.db.command("collMod", "a view", viewOn="site", pipeline=[{"$limit": 5}])
    world.db.command("collMod", "images", changeStreamPreAndPostImages={"enabled": False})
    world.db.command("collMod", "indexed", index={"name": "d_1", "hidden": False})
    world.db.command("collMod", "indexed", index={"name": "at_1", "expireAfterSeconds": 99})
    changed = described(world)

    assert world.restore(snapshot, SITE).status is DONE
    assert described(world) == before
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert described(world) == changed


LATE = RawBSONDocument(bson.encode({"$lt": DatetimeMS(8_640_000_000_000_000)}))  # the last date of JavaScript
TWICE = RawBSONDocument(raw((16, b"a", INT[1]), (16, b"a", INT[2])))
BAD_TEXT = RawBSONDocument(raw((2, b"a", text(b"\xff"))))


def raw_descriptions(world: World, *names: str) -> list[Any]:
    """Options and indexes of these collections, as bytes."""
    listed = world.db.command({"listCollections": 1}, codec_options=RAW)["cursor"]["firstBatch"]
    options = [bytes(one["options"].raw) for name in names for one in listed if one["name"] == name]
    found = [world.db.command({"listIndexes": name}, codec_options=RAW)["cursor"]["firstBatch"] for name in names]
    return [options, [sorted(bytes(index.raw) for index in indexes) for indexes in found]]


def test_options_and_indexes_that_python_cannot_hold_come_back_exactly(world: World) -> None:
    world.db.command("create", "late", validator={"at": LATE})
    world.db.command("create", "twice", validator=TWICE, validationLevel="strict", validationAction="error")
    partial = {"at": LATE, "a": TWICE}
    index = {"key": {"at": 1}, "name": "at", "partialFilterExpression": partial}
    world.db.command("createIndexes", "late", indexes=[index])
    before = raw_descriptions(world, "late", "twice")
    snapshot = world.make(SITE)
    require_whole(world.stored(snapshot), snapshot)
    world.db.drop_collection("late")
    world.db.command("collMod", "twice", validator={"a": 2})

    assert snapshot.status == "done"
    assert world.restore(snapshot, SITE).status is DONE
    assert raw_descriptions(world, "late", "twice") == before
    assert world.restore(snapshot, SITE).status is OutcomeStatus.UNCHANGED


def test_options_that_json_cannot_hold_are_named_and_come_back_nearly(world: World) -> None:
    world.db.command("create", "bad text", validator=BAD_TEXT)
    one = raw((16, b"_id", INT[1]), (2, b"a", text(b"\xff")))
    put(world.db, "bad text", one)
    snapshot = world.make(SITE)
    world.db.drop_collection("bad text")

    assert [(one.code, one.subject) for one in snapshot.problems] == [("unavailable", "bad text")]
    assert world.restore(snapshot, SITE).status is DONE
    assert documents(world.db, "bad text") == [one]


def test_collections_whose_names_no_driver_takes_are_named_and_left_alone(world: World) -> None:
    def records(name: str) -> list[Any]:
        return list(world.db.command({"find": name})["cursor"]["firstBatch"])

    for name in ("two..dots", "at the end."):
        world.db.command({"insert": name, "documents": [{"_id": 1}]})
    snapshot = world.make(SITE)
    require_whole(world.stored(snapshot), snapshot)
    world.db.command({"drop": "two..dots"})
    world.db.command({"insert": "at the end.", "documents": [{"_id": 2}]})
    world.db.command({"insert": "another.", "documents": [{"_id": 3}]})
    world.db.site.update_one({"_id": 1}, {"$set": {"title": "spoilt"}})

    assert [one.subject for one in snapshot.problems] == ["at the end.", "two..dots"]
    assert world.restore_anyway(snapshot, SITE).status is PARTIAL
    assert [len(records(name)) for name in ("two..dots", "at the end.", "another.")] == [0, 2, 1]
    assert world.db.site.find_one() == {"_id": 1, "title": "The site"}


GERMAN = {"collation": {"locale": "de"}}
VIEWS: dict[str, tuple[list[tuple[str, str, Any]], list[tuple[str, str, Any]]]] = {
    "turned round": ([("v2", "edition", {}), ("v1", "v2", {})], [("v1", "edition", {}), ("v2", "v1", {})]),
    "other collation": (
        [("v1", "edition", GERMAN), ("v2", "v1", GERMAN)],
        [("v1", "edition", {}), ("v2", "v1", {}), ("v0", "v1", {}), ("v3", "v2", {})],
    ),
    "came later": ([], [("v1", "edition", {}), ("v2", "v1", {})]),
}


@pytest.mark.parametrize("case", VIEWS)
def test_views_that_do_not_fit_those_that_are_there_come_back(world: World, case: str) -> None:
    def make(views: list[tuple[str, str, Any]]) -> None:
        for name in ("v0", "v1", "v2", "v3"):
            world.db.drop_collection(name)
        for name, source, options in views:
            world.db.command("create", name, viewOn=source, pipeline=[{"$match": {"x": 1}}], **options)

    wanted, later = VIEWS[case]
    make(wanted)
    before, snapshot = described(world), world.make(SITE)
    make(later)
    spoilt = described(world)

    assert world.restore(snapshot, SITE).status is DONE
    assert described(world) == before
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert described(world) == spoilt


def make_special(world: World) -> None:
    """Capped collections, time series, functions of the server."""
    db = world.db
    db.command("create", "log", capped=True, size=8192, max=50)
    db.log.insert_many([{"_id": 100 - number, "n": number, "t": Timestamp(5, 5)} for number in range(70)])
    db.log.update_one({"_id": 50}, [{"$set": {"t": Timestamp(0, 0)}}])
    db.log.create_index("n", sparse=True)
    series = {"timeField": "at", "metaField": "m", "granularity": "minutes"}
    db.command("create", "series/ü", timeseries=series, expireAfterSeconds=10**9)
    points = [
        {"at": datetime(2024, 1, 1, number % 24, tzinfo=UTC), "m": number % 3, "x": number} for number in range(99)
    ]
    db["series/ü"].insert_many(points)
    db["series/ü"].create_index([("m", 1), ("at", -1)])
    db.command("create", LONG, timeseries={"timeField": "t"})  # with `system.buckets.` too long for a file
    db[LONG].insert_one({"t": EARLY.replace(year=2024)})
    db.command("create", "seconds", timeseries={"timeField": "t"}, collation={"locale": "de"})
    db["system.js"].insert_one({"_id": "f", "value": Code("function () {}")})


def special(world: World) -> dict[str, Any]:
    """All of them, the capped one in its order."""
    found = described(world)
    found["log in order"] = [bytes(one.raw) for one in world.db.get_collection("log", codec_options=RAW).find()]
    for name in ("system.buckets.series/ü", f"system.buckets.{LONG}", "system.buckets.seconds", "system.js"):
        found[name] = documents(world.db, name)
    return found


SPOILS: dict[str, Callable[[Any], Any]] = {
    "nothing left": lambda db: (
        [db.drop_collection(one) for one in ("log", "series/ü", "seconds", LONG)] + [db["system.js"].delete_many({})]
    ),
    "more came": lambda db: (
        db.log.insert_one({"_id": 500}),
        db["series/ü"].insert_one({"at": EARLY.replace(year=2025), "m": 1}),
        db["system.js"].insert_one({"_id": "g"}),
    ),
    "emptied": lambda db: (db.log.delete_many({}), db["series/ü"].delete_many({"m": {"$gte": 0}})),
    "another order": lambda db: (
        (rows := list(db.log.find())),
        db.log.delete_many({}),
        db.log.insert_many([rows[1], rows[0], *rows[2:]]),
    ),
    "other options": lambda db: (
        db.drop_collection("log"),
        db.command("create", "log", capped=True, size=4096),
        db.command("collMod", "series/ü", timeseries={"granularity": "hours"}),
    ),
    "other kinds": lambda db: (
        db.drop_collection("log"),
        db.drop_collection("series/ü"),
        db.log.insert_one({"_id": 99}),
        db.command("create", "series/ü", viewOn="edition", pipeline=[]),
    ),
    "other indexes": lambda db: (db.log.drop_indexes(), db["series/ü"].drop_indexes(), db.seconds.create_index("t")),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_capped_collections_and_time_series_come_back(world: World, spoil: str) -> None:
    make_special(world)
    before = special(world)
    snapshot = world.make(SITE)
    require_whole(world.stored(snapshot), snapshot)
    SPOILS[spoil](world.db)
    spoilt = special(world)
    plan = world.preview(snapshot, SITE)

    assert snapshot.status == "done"
    assert world.restore(snapshot, SITE, plan=plan.digest).status is DONE
    assert special(world) == before
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert special(world) == spoilt


def test_capped_collections_and_time_series_that_came_later_go_again(world: World) -> None:
    snapshot, before = world.make(SITE), special(world)
    make_special(world)
    spoilt = special(world)

    assert world.restore(snapshot, SITE).status is DONE
    assert special(world) == before
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert special(world) == spoilt


def test_capped_collections_and_time_series_that_did_not_change_make_no_snapshot(world: World) -> None:
    make_special(world)
    snapshot = world.make(SITE)

    again = world.make(SITE)

    assert again.name == snapshot.name
    assert world.restore(snapshot, SITE).status is OutcomeStatus.UNCHANGED


def test_a_capped_collection_too_large_for_the_gate_is_read_later_and_marked(world: World) -> None:
    make_special(world)
    engine = world.settings.engine.model_copy(update={"capped_in_gate": 0})
    object.__setattr__(world.settings, "engine", engine)
    before = special(world)

    snapshot = world.make(SITE)
    world.db.log.insert_one({"_id": 500})

    entries = world.office.work._backup._stores.repository.collections(snapshot)
    assert {name for name, one in entries.items() if one.outside_instant} == {"log"}
    require_whole(world.stored(snapshot), snapshot)
    assert world.restore(snapshot, SITE).status is DONE
    assert special(world) == before


def test_those_of_a_project_are_named_and_left_alone(world: World) -> None:
    world.db.edition.drop()
    world.db.command("create", "edition", capped=True, size=10_000)
    world.db.edition.insert_one({"_id": 1, "projectId": ONE})
    whole = world.make(SITE)
    snapshot = world.make(PROJECT)
    world.db.edition.insert_one({"_id": 2, "projectId": ONE})
    world.write("new.txt")

    assert (whole.status, snapshot.status) == ("done", "partial")
    assert {one.subject for one in snapshot.problems} == {"edition"}
    assert world.restore_anyway(snapshot, PROJECT).status is PARTIAL
    assert world.restore(whole, SITE, Selection(projects=(str(ONE),))).status is PARTIAL
    assert [one["_id"] for one in world.db.edition.find()] == [1, 2]


@pytest.mark.parametrize(
    ("stored", "since"),
    [
        ({}, {"validator": {"x": 1}}),
        ({}, {"validator": {"x": 1}, "validationLevel": "off", "validationAction": "warn"}),
        ({"validator": {"x": 1}}, {"validator": {}}),
        ({"validator": {"x": 1}, "validationLevel": "moderate"}, {"validator": {"y": 1}, "validationLevel": "strict"}),
    ],
)
def test_validation_that_was_never_set_comes_back_as_what_that_means(
    world: World, stored: dict[str, Any], since: dict[str, Any]
) -> None:
    world.db.create_collection("rules", **stored)
    snapshot = world.make(SITE)
    world.db.command("collMod", "rules", **since)
    spoilt = special(world)

    assert world.restore(snapshot, SITE).status is DONE

    options = next(one["options"] for one in world.db.list_collections(filter={"name": "rules"}))
    meant = {"validationLevel": "strict", "validationAction": "error", **stored}
    assert options == meant  # the server names what was never set
    assert world.preview(snapshot, SITE).is_empty
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert special(world) == spoilt


def test_long_names_have_files_of_their_own() -> None:
    stems = {stem_of("ä" * 80 + end) for end in ("", "b", "c")} | {stem_of("a/b"), stem_of("a%2Fb")}

    assert len(stems) == 5
    assert all(len(f"{stem}.metadata.json") <= 255 and "/" not in stem for stem in stems)


# --- what happens between the pin and the dump

CHANGES: dict[str, Callable[[Any], Any]] = {
    "dropped": lambda db: db.edition.drop(),
    "dropped and made again": lambda db: (db.edition.drop(), db.edition.insert_one({"_id": 1, "projectId": ONE})),
    "renamed": lambda db: db.edition.rename("editions"),
    "replaced by rename": lambda db: (db.other.insert_one({"_id": 9}), db.other.rename("edition", dropTarget=True)),
    "collMod": lambda db: db.command("collMod", "edition", validator={"x": 1}),
    "index made": lambda db: db.edition.create_index("another"),
    "index dropped": lambda db: db.edition.drop_index("by_title"),
    "made": lambda db: db.newborn.insert_one({"_id": 1}),
    "emptied": lambda db: db.edition.delete_many({"projectId": ONE}),
}


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
@pytest.mark.parametrize("change", CHANGES)
def test_collections_that_change_while_they_are_read_make_no_wrong_snapshot(
    world: World, monkeypatch: pytest.MonkeyPatch, scope: Scope, change: str
) -> None:
    states = [world.records()]
    pinned = Mongo.pinned

    @contextlib.contextmanager
    def changing(mongo: Mongo) -> Iterator[Any]:
        with pinned(mongo) as reader:
            if len(states) == 1:
                CHANGES[change](world.db)
                states.append(world.records())
            yield reader

    monkeypatch.setattr(Mongo, "pinned", changing)
    snapshot = world.make(scope)
    monkeypatch.undo()

    assert snapshot.status == "done"
    require_whole(world.stored(snapshot), snapshot)
    if scope is SITE:
        world.db.site.delete_many({})
    world.db.edition.delete_many({"projectId": ONE})
    assert world.restore(snapshot, scope).status in (DONE, OutcomeStatus.UNCHANGED)
    now = world.records()
    assert any(now.get("edition", {}) == state.get("edition", {}) for state in states)
    if scope is SITE:
        assert now in states

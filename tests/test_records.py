"""Documents and collections, whatever they hold: snapshot, spoil, restore, and every byte is as it was."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keyframe.model import OutcomeStatus, Scope
from keyframe.stores.draft import stem_of
from keyframe.stores.mongo import Mongo
from keyframe.stores.raw import id_bytes, is_one
from whole import documents, put, require_whole
from world import EDITION, ONE, PROJECT, SITE, World

DONE, PARTIAL = OutcomeStatus.DONE, OutcomeStatus.PARTIAL
EARLY = datetime(1, 1, 1, tzinfo=UTC)


def raw(*fields: tuple[int, bytes, bytes]) -> bytes:
    """A document by hand: type, name and bytes of each field."""
    body = b"".join(bytes([kind]) + name + b"\0" + value for kind, name, value in fields)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def text(value: bytes) -> bytes:
    return struct.pack("<i", len(value) + 1) + value + b"\0"


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"end": 1}
    for number in range(levels):
        value = {"d": [value] if number % 2 else value}
    return value


IDS = [
    1, Int64(2), 3.5, "text", "", "ü\0x", ObjectId("5" * 24), EARLY, Binary(b"\0\1", 0), Binary(uuid.uuid4().bytes, 4),
    Binary(b"legacy uuid 16 b", 3), Binary(b"", 128), None, True, False, {"a": 1, "b": {"c": [2]}}, {"b": 1, "a": 2},
    {}, Decimal128("4.50"), Decimal128("NaN"), float("inf"), -1e300, MinKey(), MaxKey(), Timestamp(5, 6), Code("f()"),
    Code("g()", {"x": 1}), Int64(2**63 - 1), DBRef("edition", 5),
]  # fmt: skip

VALUES: list[Any] = [
    float("nan"), -0.0, float("-inf"), Decimal128("9.999999999999999999999999999999999E+6144"), Decimal128("-0E-6176"),
    Decimal128("sNaN"), Decimal128("-Infinity"), Timestamp(0, 0), Timestamp(2**32 - 1, 2**32 - 1), Int64(-(2**63)),
    EARLY, Regex("a/b\n", "imx"), Code("x"), Code("y", {"z": Timestamp(0, 0)}), MinKey(), MaxKey(), Binary(b"x" * 9, 2),
    {"inside": Timestamp(0, 0)}, [Timestamp(0, 0), None, []], {}, [], "\0", "\u2028\ud7ff\ue000\U0010ffff",
    DBRef("a", 1, "b"),
]  # fmt: skip

LATE, BEFORE = (struct.pack("<q", one) for one in (2**62, -(2**62)))  # milliseconds, far from what Python can date
INT = [struct.pack("<i", one) for one in range(3)]

ODD = [
    raw((0x02, b"_id", text(b"big date")), (0x09, b"at", LATE), (0x09, b"b", BEFORE)),
    raw((0x02, b"_id", text(b"bad text")), (0x02, b"title", text(b"\xff\xfe\x80")), (0x02, b"\xff", text(b"x"))),
    raw((0x02, b"_id", text(b"both")), (0x02, b"t", text(b"\xff")), (0x09, b"at", LATE)),
    raw((0x02, b"_id", text(b"twice")), (0x10, b"a", INT[1]), (0x10, b"a", INT[2]), (0x02, b"a", text(b"3"))),
    raw((0x02, b"_id", text(b"undefined")), (0x06, b"u", b""), (0x0E, b"symbol", text(b"s"))),
    raw((0x09, b"_id", LATE), (0x08, b"date id", b"\1")),
    raw((0x02, b"_id", text(b"\xc3\x28 id")), (0x0A, b"bad id", b"")),
    raw((0x03, b"_id", raw((0x10, b"k", INT[1]), (0x10, b"k", INT[2]))), (0x0A, b"id twice", b"")),
    raw((0x02, b"_id", text(b"nan")), (0x01, b"n", struct.pack("<Q", 0x7FF800000000BEEF))),
    raw((0x02, b"_id", text(b"array")), (0x04, b"a", raw((0x10, b"5", INT[1]), (0x10, b"x", INT[2])))),
    raw((0x02, b"_id", text(b"zero")), (0x11, b"t", bytes(8)), (0x02, b"bad", text(b"\xff"))),
]

PLAIN = [
    {"_id": "dollars", "$set": 1, "$where": {"$gt": 2}, "a.b": {"c.d": 3}, "": "no name", "$db": "x"},
    {"_id": "deep", "deep": _deep(100)},
    {"_id": "values", **{f"v{number}": value for number, value in enumerate(VALUES)}},
    {"_id": "wide", **{f"field {number}": number for number in range(3000)}},
]


def fill(world: World, name: str = "odd", **field: Any) -> None:
    """All kinds of documents, in a collection that holds `field` in each."""
    own = bson.encode(field)[4:-1]
    for one in [bson.encode({"_id": ident, "n": 1}) for ident in IDS] + [bson.encode(one) for one in PLAIN] + ODD:
        body = one[4:-1] + own
        put(world.db, name, struct.pack("<i", len(body) + 5) + body + b"\0")
    # The server sets Timestamp(0, 0) at the top level to its clock on insertion; it comes in by an update.
    world.db[name].update_one({"_id": "values"}, [{"$set": {"v7": Timestamp(0, 0)}}])
    world.db[name].update_one({"_id": "zero"}, [{"$set": {"t": Timestamp(0, 0)}}])


def alter(world: World, name: str) -> None:
    """Remove a third of the documents, change a third, add others."""
    for number, one in enumerate(documents(world.db, name)):
        ident = is_one(id_bytes(one))
        if number % 3 == 0:
            assert world.db[name].delete_one(ident).deleted_count == 1
        elif number % 3 == 1:
            assert world.db[name].update_one(ident, {"$set": {"more": number}}).modified_count == 1
    put(world.db, name, *(bson.encode({"_id": f"new {number}", "n": number}) for number in range(5)))


# --- documents


def test_documents_of_all_kinds_come_back_byte_for_byte(world: World) -> None:
    fill(world)
    before = documents(world.db, "odd")
    snapshot = world.make(SITE)
    alter(world, "odd")
    altered = documents(world.db, "odd")
    plan = world.preview(snapshot, SITE)

    outcome = world.restore(snapshot, SITE, plan=plan.digest)
    restored = documents(world.db, "odd")
    undone = world.done(world.office.desk.undo(world.ask, SITE))

    assert (outcome.status, undone.status) == (DONE, DONE)
    assert len(before) == len(IDS) + len(PLAIN) + len(ODD)
    assert restored == before
    assert documents(world.db, "odd") == altered
    assert (
        plan.creates.records + plan.replaces.records + plan.deletes.records
        == 5 + 2 * (len(before) // 3) + len(before) % 3
    )


def test_documents_of_all_kinds_belong_to_their_project(world: World) -> None:
    world.db.edition.drop_index("by_title")
    fill(world, "edition", projectId=ONE)
    put(world.db, "project", raw((0x02, b"_id", text(b"bad")), (0x02, b"title", text(b"\xff"))))
    before = documents(world.db, "edition")
    snapshot = world.make(PROJECT)
    world.db.edition.delete_many({"_id": {"$ne": EDITION[2]}})

    outcome = world.restore(snapshot)

    assert outcome.status is DONE
    assert documents(world.db, "edition") == before


def test_records_of_all_kinds_that_another_project_has_now_are_conflicts(world: World) -> None:
    world.db.edition.drop_index("by_title")
    fill(world, "edition", projectId=ONE)
    snapshot = world.make(PROJECT)
    world.db.edition.update_many({"_id": {"$nin": EDITION}}, [{"$set": {"projectId": "7"}}])
    before = documents(world.db, "edition")

    outcome = world.restore(snapshot)

    assert outcome.report is not None
    assert [one["code"] for one in outcome.report["warnings"]] == ["conflict"] * (len(IDS) + len(PLAIN) + len(ODD))
    assert documents(world.db, "edition") == before


def test_the_dump_is_what_other_tools_read(world: World) -> None:
    fill(world)
    snapshot = world.make(SITE)

    folder = world.stored(snapshot) / "db"
    with open(folder / "bson/odd.bson", "rb") as file:
        count = sum(1 for _ in bson.decode_file_iter(file, codec_options=bson.raw_bson.DEFAULT_RAW_BSON_OPTIONS))
    lines = (folder / "json/odd.json").read_bytes().splitlines()
    exact = sum(_is_exact(line, before) for line, before in zip(lines, _in_order(folder), strict=True))
    entries = [json.loads(line) for line in (world.stored(snapshot) / "manifest.jsonl").read_bytes().splitlines()]
    inexact = next(one["json_inexact"] for one in entries if one.get("collection") == "odd")

    assert count == len(lines) == len(documents(world.db, "odd"))
    assert sorted(_in_order(folder)) == documents(world.db, "odd")
    assert exact >= len(lines) - inexact
    assert inexact <= len(ODD)
    require_whole(world.stored(snapshot), snapshot)


def _in_order(folder: Any) -> list[bytes]:
    with open(folder / "bson/odd.bson", "rb") as file:
        return [bytes(one.raw) for one in
                bson.decode_file_iter(file, codec_options=bson.raw_bson.DEFAULT_RAW_BSON_OPTIONS)]  # fmt: skip


def _is_exact(line: bytes, document: bytes) -> bool:
    import bsonjs

    json.loads(line)  # JSON it is, whatever the document holds
    try:
        return bool(bsonjs.loads(line.decode()) == document)
    except (ValueError, UnicodeError):
        return False


def test_a_document_near_the_limit_comes_back(world: World) -> None:
    big = bson.encode({"_id": "big", "t": Timestamp(1, 1), "pad": b"x" * (15 << 20)})
    put(world.db, "big", big, bson.encode({"_id": "other", "pad": b"y" * (15 << 20)}))
    world.db.big.update_one({"_id": "big"}, [{"$set": {"t": Timestamp(0, 0)}}])
    before = documents(world.db, "big")
    snapshot = world.make(SITE)
    world.db.big.delete_many({})
    put(world.db, "big", bson.encode({"_id": "other", "pad": b"z" * (15 << 20)}))

    assert world.restore(snapshot, SITE).status is DONE

    assert documents(world.db, "big") == before


def test_a_number_that_changed_its_type_is_another_record_with_the_same_id(world: World) -> None:
    put(world.db, "types", bson.encode({"_id": 5, "x": 1}), bson.encode({"_id": {"a": 1.0}}))
    before = documents(world.db, "types")
    snapshot = world.make(SITE)
    world.db.types.delete_many({})
    put(world.db, "types", bson.encode({"_id": 5.0, "x": 1}), bson.encode({"_id": {"a": Int64(1)}}))

    assert world.restore(snapshot, SITE).status is DONE

    assert documents(world.db, "types") == before


def test_unique_values_that_swapped_swap_back(world: World) -> None:
    world.db.unique.create_index("name", unique=True)
    world.db.unique.insert_many([{"_id": number, "name": f"n{number}"} for number in range(4)])
    before = documents(world.db, "unique")
    snapshot = world.make(SITE)
    world.db.unique.drop_index("name_1")
    world.db.unique.update_one({"_id": 0}, {"$set": {"name": "n1"}})
    world.db.unique.update_one({"_id": 1}, {"$set": {"name": "n0"}})
    world.db.unique.update_one({"_id": 2}, {"$set": {"name": "n3"}})  # twice now
    spoilt = world.state()

    assert world.restore(snapshot, SITE).status is DONE
    assert documents(world.db, "unique") == before
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert world.state() == spoilt


# --- collections


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


def test_capped_collections_and_time_series_are_named_and_left_alone(world: World) -> None:
    world.db.command("create", "capped", capped=True, size=10_000)
    world.db.command("create", "series", timeseries={"timeField": "at"})
    world.db.capped.insert_one({"_id": 1})
    world.db.series.insert_one({"at": EARLY, "x": 1})
    snapshot = world.make(SITE)
    world.db.capped.insert_one({"_id": 2})
    world.spoil()

    outcome = world.restore(snapshot, SITE)

    assert snapshot.status == "partial"
    assert {one.subject for one in snapshot.problems} == {"capped", "series"}
    assert outcome.status is PARTIAL
    assert [one["_id"] for one in world.db.capped.find()] == [1, 2]
    assert world.db.series.count_documents({}) == 1


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


# --- anything at all

NAMES = st.sampled_from(["a", "b", "ü\n", "d/e", "d/f", "d", "g/h/i", "g"])
FILES = st.dictionaries(NAMES, st.one_of(st.binary(max_size=20), st.sampled_from(["link", "folder"])), max_size=6)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5))
RECORDS = st.dictionaries(
    st.integers(0, 9), st.dictionaries(st.text("abc$.", max_size=3), SCALARS, max_size=3), max_size=5
)


def lay(world: World, files: dict[str, Any], records: dict[int, Any]) -> None:
    """Make the live state of the project this one; what does not fit (a file below a file) is passed over."""
    top = world.folder(PROJECT) / "any"
    shutil.rmtree(top, ignore_errors=True)
    top.mkdir()
    for name, content in files.items():
        path = top / name
        with contextlib.suppress(FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            if content == "link":
                path.symlink_to("a")
            elif content == "folder":
                path.mkdir(mode=0o750)
            elif not path.is_symlink():
                path.write_bytes(content)
    world.db.edition.delete_many({"projectId": ONE})
    for ident, fields in records.items():
        put(world.db, "edition", bson.encode({"_id": ident, **fields, "projectId": ONE}))


@settings(
    max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(first=st.tuples(FILES, RECORDS), second=st.tuples(FILES, RECORDS))
def _any_state(first: Any, second: Any) -> None:
    world = _WORLD[0]
    lay(world, *first)
    before = world.files(), documents(world.db, "edition")
    snapshot = world.make(PROJECT)
    lay(world, *second)
    after = world.files(), documents(world.db, "edition")

    restored = world.restore(snapshot)
    assert (world.files(), documents(world.db, "edition")) == before
    if restored.status is DONE:
        assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
    assert (world.files(), documents(world.db, "edition")) == after


_WORLD: list[World] = []


def test_any_state_comes_back_and_can_be_undone(world: World) -> None:
    world.db.edition.drop_index("by_title")
    _WORLD[:] = [world]

    _any_state()

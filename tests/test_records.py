"""Documents and collections, whatever they hold: snapshot, spoil, restore, and every byte is as it was."""

from __future__ import annotations

import contextlib
import json
import shutil
import struct
import uuid
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keyframe.model import OutcomeStatus, Scope
from keyframe.stores.mongo import Mongo
from keyframe.stores.raw import id_bytes, is_one
from whole import documents, put, require_whole
from world import EDITION, ONE, PROJECT, SITE, TWO, World

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
    raw((0x02, b"_id", text(b"old binary")), (0x05, b"b", struct.pack("<i", 0) + b"\2"), (0x10, b"a", INT[1])),
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


def test_a_title_that_no_driver_can_decode_hides_no_project(world: World) -> None:
    broken = (0x05, b"title", struct.pack("<i", 0) + b"\2")
    ident, above = ObjectId(), ObjectId(PROJECT.project_id)
    put(world.db, "project", raw((0x07, b"_id", ident.binary), broken))
    put(world.db, "edition", raw((0x07, b"_id", ident.binary), broken, (0x07, b"projectId", above.binary)))

    settings = world.settings
    mongo = Mongo(world.db.client, world.db.name, settings.control_database, settings.scopes)

    assert mongo.project_titles()[str(ident)] == str(ident)
    assert mongo.project_titles()[str(above)] == "First"
    assert mongo.edition_titles(PROJECT)[str(ident)] == str(ident)
    assert world.make(PROJECT).title == "First"


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


def test_records_with_large_ids_go_and_come_back(world: World) -> None:
    """More of them than one command can name."""

    def add(where: str, number: int, size: int, **more: Any) -> None:
        for one in range(number):
            put(world.db, where, bson.encode({"_id": f"{one}".ljust(size, "x"), "title": f"{one}", **more}))

    snapshot, before = world.make(SITE), world.state()
    add("large", 250, 70_000)

    assert world.restore(snapshot, SITE).status is DONE
    assert world.state() == before

    add("edition", 60, 300_000, projectId=ONE)
    snapshot, before = world.make(PROJECT), world.state()
    world.db.edition.delete_many({"projectId": ONE})

    assert world.restore(snapshot).status is DONE
    assert world.state() == before


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


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_an_id_in_an_array_makes_a_record_nobodys_and_holds_up_nothing(world: World, scope: Scope) -> None:
    snapshot = world.make(scope)
    world.db.edition.insert_one({"_id": "both", "projectId": [TWO, ONE], "title": "of two projects"})
    before = world.state()
    world.spoil()
    spoilt = world.state()

    outcome = world.restore(snapshot, scope)

    assert outcome.status is DONE
    assert (world.db.edition.find_one({"_id": "both"}) is None) == scope.is_site
    assert world.done(world.office.desk.undo(world.ask, scope)).status is DONE
    assert world.state() == spoilt != before

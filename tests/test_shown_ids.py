"""Ids of records as people see them: each is told from every other, and pasted back it is that very id."""

from __future__ import annotations

import json
import struct
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from keyframe.doors.api_selection import SelectionSchema, selection_of
from keyframe.doors.cli_selection import _record
from keyframe.doors.pages_selection import selection_of_form
from keyframe.errors import InvalidError
from keyframe.model import OutcomeStatus, Page, PlanItem, Selection, record_name, record_of_name
from keyframe.stores.idents import canonical_of, canonical_text, ident_of, shown_id
from keyframe.stores.raw import document_of, id_bytes
from test_any_document import IDS
from test_id_order import WHOLE_IDS
from werkzeug.datastructures import MultiDict
from whole import put
from world import EDITION, PROJECT, SITE, World

FREE = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
NO_ID = (0x04, 0x06, 0x0B)
# Texts that look like something else, or cannot be seen.
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["5", "-1", "1e5", "true", "null", "NaN", "Infinity", "", " ", " a", "a\n", "a/b", "6" * 24, '"5"',
                     "{}", "[1]", "é", "\u200b", "\u202e", "\U0001f600", "\0", "a b", "0x1", "$bson", "{", '"',
                     "F" * 24, "9" * 30, "\u2028", "1.0"]),
    st.builds(json.dumps, st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3))),
)  # fmt: skip


def of_value(kind: int, value: bytes) -> bytes:
    return document_of([(kind, b"_id", value)])


def of_text(kind: int, text: bytes) -> bytes:
    return of_value(kind, struct.pack("<i", len(text) + 1) + text + b"\0")


# Bytes that no driver of Python makes, and the server keeps.
RAW_IDS = st.one_of(
    st.builds(lambda text: of_text(0x02, text), st.binary(max_size=6)),
    st.builds(lambda text: of_text(0x0E, text.encode()), TEXTS),
    st.builds(lambda text: of_text(0x0D, text), st.binary(max_size=4)),
    st.builds(lambda value: of_value(0x01, value), st.binary(min_size=8, max_size=8)),
    st.builds(lambda value: of_value(0x09, value), st.binary(min_size=8, max_size=8)),
    st.builds(lambda value: of_value(0x11, value), st.binary(min_size=8, max_size=8)),
    st.builds(lambda value: of_value(0x12, value), st.binary(min_size=8, max_size=8)),
    st.builds(lambda value: of_value(0x13, value), st.binary(min_size=16, max_size=16)),
    st.builds(lambda kind, value: of_value(0x05, struct.pack("<iB", len(value), kind) + value), st.integers(0, 255),
              st.binary(max_size=18)),
    st.builds(lambda name, value: of_value(0x0C, struct.pack("<i", len(name) + 1) + name + b"\0" + value),
              st.sampled_from([b"", b"c", b"\xff"]), st.binary(min_size=12, max_size=12)),
    st.builds(lambda fields: of_value(0x03, document_of(fields)),
              st.lists(st.tuples(st.just(0x08), st.sampled_from([b"a", b"a", b"", b"\xff", b"a.b"]),
                                 st.sampled_from([b"\0", b"\1"])), max_size=3)),
)  # fmt: skip
PLAIN = st.builds(
    lambda value: id_bytes(bson.encode({"_id": value})),
    st.one_of(IDS, WHOLE_IDS, TEXTS, st.sampled_from([MinKey(), MaxKey(), None, True, Int64(5), 5.0, Timestamp(1, 2),
              Binary(b"ab", 0), Binary(b"ab", 2), Decimal128("5"), Code("a"), DBRef("c", 5), {"a": 5}, {"a": Int64(5)},
              {"$id": "x"}])),
)  # fmt: skip
ANY = st.one_of(PLAIN, RAW_IDS).filter(lambda ident: ident[4] not in NO_ID)


@FREE
@given(ident=ANY)
@example(ident=of_value(0x05, b"\x00\x00\x00\x00\x02"))  # of the old subtype, without the length that belongs there
@example(ident=id_bytes(bson.encode({"_id": ObjectId("5" * 24)})))
def test_what_is_shown_is_that_very_id_when_it_is_pasted(ident: bytes) -> None:
    shown = shown_id(ident)

    assert shown.isprintable() and shown == shown.strip() and shown
    assert ident_of(canonical_of(shown)) == ident
    assert ident_of(canonical_text(ident)) == ident


@FREE
@given(ident=ANY)
def test_every_door_takes_it_so(ident: bytes) -> None:
    shown = shown_id(ident)
    by_rest = SelectionSchema().load({"records": [{"collection": "c", "id": canonical_text(ident)}]})

    chosen = [
        _record(f"c/{shown}"),
        selection_of_form(MultiDict({"records": f"c/{shown}"})).records[0],
        selection_of(by_rest).records[0],
    ]

    assert {name for name, _ in chosen} == {"c"}
    assert [ident_of(text) for _, text in chosen] == [ident] * 3


@pytest.mark.parametrize(
    ("ident", "shown"),
    [
        (ObjectId("5" * 24), "5" * 24),
        ("5" * 24, f'"{"5" * 24}"'),
        ("roses", "roses"),
        ("red roses", "red roses"),
        (1, "1"),
        ("1", '"1"'),
        (Int64(1), '{"$numberLong": "1"}'),
        (Int64(2**40), "1099511627776"),
        (1.0, "1.0"),
        (Decimal128("1"), '{"$numberDecimal": "1"}'),
        (True, "true"),
        ("true", '"true"'),
        (None, "null"),
        ({"a": 1}, '{"a": 1}'),
        ({"a": Int64(1)}, '{"a": {"$numberLong": "1"}}'),
        ("a\n", '"a\\n"'),
        ("\u202egnp", '"\\u202egnp"'),
    ],
)
def test_an_id_is_shown_as_short_as_can_be(ident: Any, shown: str) -> None:
    assert shown_id(id_bytes(bson.encode({"_id": ident}))) == shown


@pytest.mark.parametrize("inside", ["!", "", "AAAA", "DwAAAAJ4AAIAAABhAAA=", "EAAAAARfaWQABQAAAAAA"])
def test_bytes_that_are_no_id_are_refused(inside: str) -> None:
    with pytest.raises(ValueError):
        canonical_of(json.dumps({"$bson": inside}))


# --- with their collection

COLLECTIONS = st.one_of(
    st.text("a/%25Ff", min_size=1, max_size=6),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8),
)


@FREE
@given(collection=COLLECTIONS, ident=st.one_of(TEXTS, st.text("a/%25", max_size=4)))
def test_collection_and_id_can_be_had_again_from_their_name(collection: str, ident: str) -> None:
    name = record_name(collection, ident)

    assert record_of_name(name) == (collection, ident)
    assert name.isprintable() or not (collection + ident).isprintable()


@pytest.mark.parametrize(
    ("line", "collection", "ident"),
    [
        ("a/b/5", "a", '"b/5"'),
        ("a%2Fb/5", "a/b", '{"$numberInt": "5"}'),
        ("a%2fb/5", "a/b", '{"$numberInt": "5"}'),
        ("a%252Fb/5", "a%2Fb", '{"$numberInt": "5"}'),
        ("50%25/a%2Fb", "50%", '"a%2Fb"'),
    ],
)
def test_the_first_slash_ends_the_collection(line: str, collection: str, ident: str) -> None:
    assert _record(line) == (collection, ident)
    assert selection_of_form(MultiDict({"records": line})).records == ((collection, ident),)


@pytest.mark.parametrize("line", ["a", "50%/a", "a%2/5", "a%20b/5", "%%25/5", "%/%", "/5"])
def test_what_no_record_is_named_like_is_refused_by_each_door(line: str) -> None:
    with pytest.raises(InvalidError, match="--record"):
        _record(line)
    with pytest.raises(InvalidError, match="What was chosen cannot be"):
        selection_of_form(MultiDict({"records": line}))


def test_what_is_shown_of_one_record_never_selects_another(world: World) -> None:
    both = (("a", "b/5"), ("a/b", 5), ("a%2Fb", 5), ("50%", "x"))
    for name, ident in both:
        world.db[name].insert_one({"_id": ident, "v": "was"})
    snapshot = world.make(SITE)
    for name, _ in both:
        world.db[name].update_one({}, {"$set": {"v": "now"}})
    shown = [one.name for one in items_of(world, world.preview(snapshot, SITE).digest).items if one.kind == "record"]

    assert sorted(shown) == sorted(["a/b/5", "a%2Fb/5", "a%252Fb/5", "50%25/x"])
    for number, name in enumerate(shown):
        (by_page,) = selection_of_form(MultiDict({"records": name})).records
        assert by_page == _record(name)
        chosen = Selection(records=(by_page,))
        plan = world.preview(snapshot, SITE, chosen)
        assert [one.name for one in items_of(world, plan.digest).items] == [name]
        assert world.restore(snapshot, SITE, chosen).status is OutcomeStatus.DONE
        assert sum(world.db[one].count_documents({"v": "was"}) for one, _ in both) == number + 1


# --- in plans


def items_of(world: World, digest: str) -> Page[PlanItem]:
    return world.office.desk.plan_items(world.ask, digest, limit=200)


def test_records_that_differ_only_in_the_type_of_their_id_can_be_restored_one_by_one(world: World) -> None:
    odd = [of_text(0x02, b"\xff"), of_value(0x05, b"\x00\x00\x00\x00\x02")]
    idents = [id_bytes(bson.encode({"_id": one})) for one in ("1", 1, ObjectId("5" * 24), "5" * 24, None, {"a": "1"})]
    log = world.db.log
    put(world.db, "log", *idents, *odd)
    snapshot = world.make(SITE)
    log.delete_many({})
    whole = [item for item in items_of(world, world.preview(snapshot, SITE).digest).items if item.kind == "record"]

    assert len({item.name for item in whole}) == len(idents) + len(odd)
    for number, item in enumerate(whole):
        assert item.record is not None
        assert item.as_dict()["record"] == {"collection": "log", "id": item.record[1]}
        chosen = Selection(records=(_record(item.name),))
        assert chosen.records == (item.record,)
        assert world.restore(snapshot, SITE, chosen).status is OutcomeStatus.DONE
        assert log.count_documents({}) == number + 1


def test_items_that_are_no_records_name_none(world: World) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "other"}})

    items = items_of(world, world.preview(snapshot, PROJECT).digest).items

    assert {item.kind for item in items} >= {"record", "file"}
    assert all((item.record is not None) == (item.kind == "record") for item in items)
    assert all(("record" in item.as_dict()) == (item.kind == "record") for item in items)

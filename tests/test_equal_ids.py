"""Ids that are one to the server are one to us, however deep inside they differ in type; all others are two."""

from __future__ import annotations

import itertools
import math
import struct
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.model import OutcomeStatus, Selection
from keyframe.stores.idents import canonical_text, key_of, key_text
from keyframe.stores.raw import document_of, fields, id_bytes
from keyframe.stores.unique import may_have_equals
from pymongo.database import Database
from pymongo.errors import BulkWriteError
from test_records import text
from whole import documents, put
from world import SITE, World

Value = tuple[int, bytes]  # type and bytes
Two = tuple[Value, Value]
DONE = OutcomeStatus.DONE
DUPLICATE = 11000


def value_of(value: Any) -> Value:
    ((kind, _, raw),) = fields(bson.encode({"v": value}))
    return kind, raw


# Each line is one id in several spellings, next to lines that nearly are.
SPELLINGS: list[list[Value]] = [
    *(
        [value_of(one) for one in line]
        for line in (
            [1, Int64(1), 1.0, Decimal128("1"), Decimal128("1.000"), Decimal128("10E-1")],
            [0, Int64(0), 0.0, -0.0, Decimal128("0"), Decimal128("-0E-6176")],
            [Int64(2**53), float(2**53), Decimal128(str(2**53))],
            [Int64(2**53 + 1), Decimal128(str(2**53 + 1))],
            [-0.5, Decimal128("-0.50")],
            [0.1], [Decimal128("0.1")], [Int64(2**63 - 1), Decimal128(str(2**63 - 1))], [2.0**63],
            [float("nan"), Decimal128("NaN")], [float("inf"), Decimal128("Infinity")], [float("-inf")],
            [True], [False], [None], [{}], [[]], [ObjectId("5" * 24)], [b""], [b"\0" * 12],
        )
    ),
    [(kind, text(b"")) for kind in (0x02, 0x0E)],
    [(kind, text(b"a")) for kind in (0x02, 0x0E)],
    [(kind, text(b"a\0b")) for kind in (0x02, 0x0E)],
    [(0x02, text(b"1"))], [(0x0D, text(b"a"))], [(0x09, bytes([1, *bytes(7)]))], [(0x11, bytes([1, *bytes(7)]))],
    [(0x05, struct.pack("<iB", 1, 0x80) + b"a")], [(0x05, struct.pack("<iB", 1, 0) + b"a")], [(0xFF, b"")],
    [(0x7F, b"")], [(0x0C, text(b"c") + b"5" * 12)],
]  # fmt: skip
ANY = [one for line in SPELLINGS for one in line]
LEAVES: st.SearchStrategy[Two] = st.one_of(
    *[st.sampled_from(SPELLINGS).flatmap(lambda line: st.tuples(st.sampled_from(line), st.sampled_from(line)))] * 5,
    st.tuples(st.sampled_from(ANY), st.sampled_from(ANY)),
)


def of_list(pairs: list[Two]) -> Two:
    one, other = (
        document_of((kind, str(place).encode(), raw) for place, (kind, raw) in enumerate(side))
        for side in ([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    )
    return (0x04, one), (0x04, other)


def of_document(named: list[tuple[bytes, Two]], turned: bool) -> Two:
    one = document_of((pair[0][0], name, pair[0][1]) for name, pair in named)
    other = document_of((pair[1][0], name, pair[1][1]) for name, pair in (named[::-1] if turned else named))
    return (0x03, one), (0x03, other)


def with_code(two: Two) -> Two:
    """The same documents as what a piece of code knows."""
    made = [text(b"code") + raw if kind == 0x03 else None for kind, raw in two]
    return tuple((0x0F, struct.pack("<i", len(one) + 4) + one) if one else (0x0A, b"") for one in made)  # type: ignore[return-value]


NAMES = st.sampled_from([b"a", b"b", b"", b"1"])
PAIRS: st.SearchStrategy[Two] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(of_list),
        st.builds(of_document, st.lists(st.tuples(NAMES, inner), max_size=3), st.sampled_from([False, False, True])),
        st.builds(of_document, st.lists(st.tuples(NAMES, inner), max_size=2), st.just(False)).map(with_code),
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("wrap", [False, True], ids=["plain", "inside"])
def test_two_ids_are_one_exactly_if_the_server_refuses_the_second(database: Database[Any], wrap: bool) -> None:
    seen = {True: 0, False: 0}

    @settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(PAIRS)
    def judged_alike(two: Two) -> None:
        if wrap:
            two = of_document([(b"k", two)], False)
        one, other = (document_of([(kind, b"_id", raw)]) for kind, raw in two)
        database.ids.delete_many({})
        try:
            put(database, "ids", one)
        except BulkWriteError:  # an array by itself, for one: no record has such an id
            return
        try:
            put(database, "ids", other)
            is_one = False
        except BulkWriteError as error:
            is_one = error.details["writeErrors"][0]["code"] == DUPLICATE
            if not is_one:
                return

        assert (key_of(one) == key_of(other)) == is_one, (one.hex(), other.hex())
        assert not is_one or hash(key_of(one)) == hash(key_of(other))
        seen[is_one] += one != other

    judged_alike()
    assert min(seen.values()) > 20, seen


EDGES = [
    0, -0.0, Decimal128("-0E-6176"), Decimal128("0E+6000"), Int64(2**53), float(2**53),
    Decimal128("9007199254740992.0"),
    Int64(2**63 - 1), Int64(-(2**63)), -(2.0**63), Decimal128("-9223372036854775808"), 2.0**63,
    Decimal128("9223372036854775808"), 1e308, Decimal128("9E+6144"), Decimal128("90E+6143"), Decimal128("1E-6176"), 0.5,
    Decimal128("0.50"), 0.1, 5e-324, math.inf, Decimal128("Infinity"), -math.inf, math.nan, Decimal128("NaN"),
]  # fmt: skip


def test_an_index_tells_numbers_apart_as_their_keys_do() -> None:
    idents = [id_bytes(bson.encode({"_id": one})) for one in EDGES]

    for one, other in itertools.combinations(idents, 2):
        assert (key_text(one) == key_text(other)) == (key_of(one) == key_of(other)), (one.hex(), other.hex())


@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(PAIRS)
def test_an_index_tells_ids_apart_as_their_keys_do(two: Two) -> None:
    one, other = (document_of([(kind, b"_id", raw)]) for kind, raw in two)

    assert (key_text(one) == key_text(other)) == (key_of(one) == key_of(other))


def test_ids_without_a_place_are_one_by_their_bytes_alone() -> None:
    odd = [document_of([(0x20, b"_id", bytes([number]))]) for number in (1, 2)]

    assert key_of(odd[0]) == key_of(bytes(odd[0]))
    assert key_of(odd[0]) != key_of(odd[1])


@pytest.mark.parametrize("chosen", ["snapshot", "live"])
@pytest.mark.parametrize(
    ("ident", "spelt"),
    [
        (value_of({"a": 5}), value_of({"a": 5.0})),
        (value_of({"a": [Int64(2**53), {"b": "x"}]}), value_of({"a": [float(2**53), {"b": "x"}]})),
        ((0x02, text(b"roses")), (0x0E, text(b"roses"))),
    ],
    ids=["inside", "deep", "symbol"],
)
def test_a_record_comes_back_for_the_one_that_has_its_id_in_another_spelling(
    world: World, ident: Value, spelt: Value, chosen: str
) -> None:
    was, now = ([document_of([(kind, b"_id", raw), (0x02, b"v", text(v))])] for (kind, raw), v in
                ((ident, b"was"), (spelt, b"now")))  # fmt: skip
    put(world.db, "notes", *was, bson.encode({"_id": {"a": 6}, "v": "beside"}))
    snapshot = world.make(SITE)
    world.db.notes.delete_many({})
    put(world.db, "notes", *now)
    text_of = canonical_text(id_bytes((was if chosen == "snapshot" else now)[0]))

    outcome = world.restore(snapshot, SITE, Selection(records=(("notes", text_of),)))

    assert outcome.status is DONE, outcome
    assert documents(world.db, "notes") == was
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert documents(world.db, "notes") == now


def test_fields_in_another_order_are_another_record(world: World) -> None:
    put(world.db, "notes", *(bson.encode({"_id": one, "v": "was"}) for one in ({"a": 1, "b": 2}, {"b": 2, "a": 1})))
    snapshot = world.make(SITE)
    world.db.notes.update_many({}, {"$set": {"v": "now"}})
    text_of = canonical_text(id_bytes(bson.encode({"_id": {"b": 2.0, "a": 1}})))

    outcome = world.restore(snapshot, SITE, Selection(records=(("notes", text_of),)))

    assert outcome.status is DONE
    assert [(list(one["_id"]), one["v"]) for one in world.db.notes.find().sort("v", -1)] == [
        (["b", "a"], "was"), (["a", "b"], "now"),
    ]  # fmt: skip


def test_what_may_be_asked_for_in_another_spelling_is_known_by_its_kind() -> None:
    several = [one for line in SPELLINGS if len(line) > 1 for one in line]

    assert all(may_have_equals(document_of([(kind, b"_id", raw)])) for kind, raw in [*several, value_of({"a": 1})])
    assert not may_have_equals(id_bytes(bson.encode({"_id": ObjectId()})))

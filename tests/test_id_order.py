"""Our order of `_id`s is the server's: whatever is inserted comes back in it, whatever the types."""

from __future__ import annotations

import itertools
import math
import struct
from decimal import Decimal
from typing import Any

import bson
import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.stores.id_order import Key, id_order
from keyframe.stores.raw import document_of, id_bytes
from pymongo.database import Database
from pymongo.errors import PyMongoError
from test_any_document import IDS, KEYS, SCALARS
from test_records import raw, text
from whole import RAW, put

EDGES = (0, 1, 2**31, 2**53, 2**62)
# Numbers that are close to one another in different types: where a comparison that rounds would go wrong.
NUMBERS = st.one_of(
    st.builds(lambda edge, more, sign: Int64(sign * min(edge + more, 2**63 - 1)), st.sampled_from(EDGES),
              st.integers(0, 3), st.sampled_from([1, -1])),
    st.builds(lambda edge, more: float(edge) + more, st.sampled_from(EDGES), st.sampled_from([-1.5, -0.1, 0.1, 0.5])),
    st.builds(lambda edge, more: Decimal128(Decimal(edge) + Decimal(more)), st.sampled_from(EDGES),
              st.sampled_from(["-0.1", "0.1", "0.5", "1", "1E-15", "0E+3", "1E+30", "-1E+30"])),
    st.sampled_from([0.1, -0.0, 5e-324, math.inf, -math.inf, math.nan, Decimal128("0.1"), Decimal128("-0E-6176"),
                     Decimal128("NaN"), Decimal128("sNaN"), Decimal128("Infinity"), Decimal128("-Infinity"),
                     Decimal128("9E+6144"), Decimal128("1E-6176"), 2**31 - 1, 0, 1, -1, True]),
)  # fmt: skip
# `$` begins a reference or an operator, which the server refuses in an `_id`.
PLAIN_KEYS = KEYS.filter(lambda key: not key.startswith("$"))
DEEP = st.recursive(
    st.one_of(NUMBERS, SCALARS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(PLAIN_KEYS, inner, max_size=3)),
    max_leaves=8,
)
WHOLE_IDS = st.one_of(IDS, NUMBERS, st.dictionaries(PLAIN_KEYS, DEEP, max_size=3), st.builds(Code, st.text(max_size=3)),
                      st.builds(lambda code, scope: Code(code, scope), st.sampled_from(["", "a", "b"]),
                                st.dictionaries(PLAIN_KEYS, NUMBERS, max_size=2)))  # fmt: skip


def as_read(database: Database[Any]) -> list[bytes]:
    found = database.get_collection("ids", codec_options=RAW).find().sort("_id", 1)
    return [id_bytes(bytes(one.raw)) for one in found]


def keys_of(idents: list[bytes]) -> list[Key]:
    keys = [id_order(ident) for ident in idents]
    return [key for key in keys if key is not None]


@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(idents=st.lists(WHOLE_IDS, min_size=2, max_size=40))
def _is_ordered(database: Database[Any], idents: list[Any]) -> None:
    database.ids.drop()
    for one in idents:
        try:
            put(database, "ids", bson.encode({"_id": one}))
        except PyMongoError as error:
            assert any(why in str(error) for why in ("duplicate key", "can't", "not valid", "not allowed")), error
    found = as_read(database)

    keys = keys_of(found)

    assert len(keys) == len(found), "each has its place"
    for before, after in itertools.pairwise(keys):
        assert before < after


def test_our_order_of_ids_is_that_of_the_server(database: Database[Any]) -> None:
    _is_ordered(database)


def test_ids_that_no_driver_makes_are_in_their_order_too(database: Database[Any]) -> None:
    def pointer(name: bytes, ident: bytes) -> tuple[int, bytes, bytes]:
        return 0x0C, b"_id", text(name) + ident * 12

    odd = [
        pointer(b"a", b"z"), pointer(b"b", b"a"), pointer(b"aa", b"a"), pointer(b"b", b"b"),
        (0x0E, b"_id", text(b"symbol")), (0x0E, b"_id", text(b"\xff\xfe")), (0x02, b"_id", text(b"\xc3\x28 text")),
        (0x02, b"_id", text(b"a\0b")), (0x02, b"_id", text(b"a")), (0x02, b"_id", text(b"a\1")),
        (0x05, b"_id", struct.pack("<i", 6) + b"\2" + struct.pack("<i", 2) + b"xy"),
        (0x05, b"_id", struct.pack("<i", 300) + b"\0" + b"x" * 300), (0x05, b"_id", struct.pack("<i", 1) + b"\x80z"),
        (0x03, b"_id", raw((0x06, b"k", b""))), (0x03, b"_id", raw((0x0A, b"k", b""))),
        (0x03, b"_id", raw((0x0B, b"k", b"a\0i\0"))), (0x03, b"_id", raw((0x0B, b"k", b"a\0\0"))),
        (0x03, b"_id", raw((0x0B, b"k", b"\0\0"))), (0x03, b"_id", raw((0x10, b"a", bytes(4)), (0x10, b"a", bytes(4)))),
        (0x09, b"_id", struct.pack("<q", 2**62)), (0x09, b"_id", struct.pack("<q", -(2**62))),
        (0x11, b"_id", struct.pack("<Q", 2**63 + 5)), (0x11, b"_id", struct.pack("<Q", 7)),
        (0x01, b"_id", struct.pack("<Q", 0x7FF800000000BEEF)),
    ]  # fmt: skip
    put(database, "ids", *(document_of([one]) for one in odd))
    found = as_read(database)

    keys = keys_of(found)

    assert len(keys) == len(found) == len(odd)
    assert all(before < after for before, after in itertools.pairwise(keys))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0), (1, Int64(1)), (1, Decimal128("1.00")), (0.0, -0.0), (0, Decimal128("-0E-6176")),
        (math.nan, Decimal128("NaN")), (math.inf, Decimal128("Infinity")), (0.5, Decimal128("0.5")),
        ({"a": 1}, {"a": 1.0}), ({"a": [2, {"b": 3}]}, {"a": [2.0, {"b": Int64(3)}]}),
    ],
)  # fmt: skip
def test_what_is_one_id_to_the_server_has_one_place(database: Database[Any], one: Any, other: Any) -> None:
    put(database, "ids", bson.encode({"_id": one}))

    with pytest.raises(PyMongoError, match="duplicate key"):
        put(database, "ids", bson.encode({"_id": other}))

    idents = [id_bytes(bson.encode({"_id": ident})) for ident in (one, other)]
    assert idents[0] != idents[1]
    assert id_order(idents[0]) == id_order(idents[1])


def test_what_differs_by_less_than_a_double_can_tell_has_two_places(database: Database[Any]) -> None:
    close = [Int64(2**53 + 1), float(2**53), Decimal128(str(2**53) + ".5"), Decimal128("0.1"), 0.1]
    put(database, "ids", *(bson.encode({"_id": one}) for one in close))

    keys = keys_of(as_read(database))

    assert len(keys) == len(close)
    assert all(before < after for before, after in itertools.pairwise(keys))


@pytest.mark.parametrize(
    "ident",
    [
        raw((0x20, b"_id", b"what is this")),
        raw((0x01, b"_id", b"short")),
        raw((0x0F, b"_id", struct.pack("<ii", 14, 99) + b"\0" + raw())),
        raw((0x0B, b"_id", b"no end")),
        raw((0x03, b"_id", raw((0x33, b"k", b"")))),
        raw((0x13, b"_id", b"too short")),
        b"",
        raw(),
    ],
    ids=lambda ident: ident[4:14].hex() or "nothing",
)
def test_bytes_that_are_no_value_have_no_place_and_break_nothing(ident: bytes) -> None:
    assert id_order(ident) is None


def test_every_type_has_its_place() -> None:
    one_each = [MinKey(), None, 5, "text", {"a": 1}, Binary(b"x", 5), ObjectId(), False, bson.decode(LATE)["_id"],
                Timestamp(1, 1), Code("x"), Code("x", {}), MaxKey(), DBRef("a", 1), Decimal128("4")]  # fmt: skip

    assert all(id_order(id_bytes(bson.encode({"_id": one}))) is not None for one in one_each)


LATE = raw((0x09, b"_id", struct.pack("<q", 86_400_000)))

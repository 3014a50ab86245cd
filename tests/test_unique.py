"""Unique values: what `stores/unique.py` finds is what the server would refuse."""

from __future__ import annotations

import json
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.stores import unique
from keyframe.stores.mongo import Mongo
from keyframe.stores.raw import id_bytes, id_text
from keyframe.stores.unique import UniqueIndex, holders, scratch, unique_indexes
from pymongo.errors import DuplicateKeyError, OperationFailure
from world import SITE, World

NOCASE = {"locale": "en", "strength": 2}
INDEXES: list[tuple[Any, dict[str, Any]]] = [
    ([("a", 1)], {}),
    ([("a", 1)], {"sparse": True}),
    ([("a", 1)], {"collation": NOCASE}),
    ([("a", -1)], {"partialFilterExpression": {"a": {"$exists": True}}}),
    ([("a", 1)], {"partialFilterExpression": {"b": {"$gt": 1}}}),
    ([("a", 1), ("b", -1)], {}),
    ([("a", 1), ("b", 1)], {"sparse": True, "collation": NOCASE}),
    ([("a.b", 1)], {}),
    ([("a.b", 1), ("a.c", 1)], {"sparse": True}),
    ([("a.0", 1)], {}),
]
SCALARS = st.sampled_from(
    [None, 1, 1.0, Int64(1), Decimal128("1"), 2, True, "a", "A", "b", "", MinKey(), MaxKey(), ObjectId("5" * 24),
     float("nan"), Regex("a"), Timestamp(1, 1)]
)  # fmt: skip
VALUES: Any = st.recursive(
    SCALARS,
    lambda inside: (
        st.lists(inside, max_size=2) | st.dictionaries(st.sampled_from(["b", "c", "0", "$gt"]), inside, max_size=2)
    ),
    max_leaves=4,
)
DOCUMENTS = st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2)


def index_of(world: World, keys: Any, options: dict[str, Any]) -> UniqueIndex:
    world.db.drop_collection("things")
    world.db.things.create_index(keys, unique=True, **options)
    (found,) = unique_indexes(mongo_of(world).collections(SITE)["things"].indexes)
    return found


def mongo_of(world: World) -> Mongo:
    return Mongo(world.client, world.db.name, world.settings.control_database, world.settings.scopes)


@pytest.mark.parametrize(("keys", "options"), INDEXES)
def test_what_the_server_would_refuse_is_found_and_nothing_else(world: World, keys: Any, options: Any) -> None:
    mongo, index = mongo_of(world), index_of(world, keys, options)

    with scratch(mongo, index) as beside:

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(DOCUMENTS, DOCUMENTS)
        def together(one: dict[str, Any], other: dict[str, Any]) -> None:
            there, wanted = bson.encode({"_id": 1, **one}), bson.encode({"_id": 2, **other})
            world.db.things.delete_many({})
            try:
                world.db.things.insert_one(bson.decode(there))
            except OperationFailure:  # two arrays in one index: such a record cannot be
                return
            found = holders(mongo, "things", index, [wanted])
            try:
                world.db.things.insert_one(bson.decode(wanted))
                refused = False
            except DuplicateKeyError:
                refused = True
            except OperationFailure:
                return

            judged = beside.put([there]) + beside.put([wanted])
            beside.take([id_bytes(there), id_bytes(wanted)])

            assert not refused or found == {id_bytes(there)}
            assert bool(judged) == refused

        together()


@pytest.mark.parametrize("most", [0, 4, 10**6])
def test_many_records_are_asked_for_together_and_none_is_missed(
    world: World, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(unique, "_MOST_COMBINATIONS", most)
    mongo, index = mongo_of(world), index_of(world, [("a", 1), ("b", 1)], {})
    there = [{"_id": f"{a} {b}", "a": a, "b": b} for a in (1, 2, "x") for b in (1, None, "y", [5, 6])]
    world.db.things.insert_many(there)
    wanted = [{"a": a, "b": b} for a in (1.0, "x", 3) for b in (1, "y", 6, [7, 5], {"c": 1})] + [{"a": 2}, {"b": 1}]

    found = holders(mongo, "things", index, [bson.encode({"_id": n, **one}) for n, one in enumerate(wanted)])

    held = {f"{a} {b}" for a in (1, "x") for b in (1, "y", [5, 6])} | {"2 None"}
    assert {id_text(one) for one in found} >= held
    if most == 0:  # each by itself: nothing else is found
        assert {id_text(one) for one in found} == held


def test_ids_that_a_collation_makes_equal_are_found(world: World) -> None:
    mongo = mongo_of(world)
    world.db.create_collection("names", collation=NOCASE).insert_one({"_id": "Anna"})
    info = mongo.collections(SITE)["names"]
    wanted = bson.encode({"_id": "anna"})

    (index,) = unique_indexes(info.indexes)
    with scratch(mongo, index) as beside:
        judged = beside.put([bson.encode({"_id": "Anna"}), wanted])

    assert holders(mongo, "names", index, [wanted]) == {id_bytes(bson.encode({"_id": "Anna"}))}
    assert judged == [1]


def test_indexes_that_are_not_unique_and_that_of_ids_are_none(world: World) -> None:
    world.db.edition.create_index("weights")
    found = unique_indexes(mongo_of(world).collections(SITE)["edition"].indexes)

    assert [(one.name, one.fields) for one in found] == [("by_title", ("projectId", "title"))]
    assert json.loads(found[0].text)["unique"] is True


def test_no_scratch_collection_stays_also_not_one_that_a_crash_left(world: World) -> None:
    mongo, index = mongo_of(world), index_of(world, "a", {})
    mongo.control.create_collection("scratch_1000_abc")

    with scratch(mongo, index) as beside:
        beside.put([bson.encode({"_id": 1, "a": 1})])
        during = [one for one in mongo.control.list_collection_names() if one.startswith("scratch_")]

    assert len(during) == 1 and during[0] != "scratch_1000_abc"
    assert not [one for one in mongo.control.list_collection_names() if one.startswith("scratch_")]

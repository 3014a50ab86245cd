"""What the change stream tells: everything behind an instant, nothing before it, and it says so where it cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bson import ObjectId
from keyframe.stores.changes import Changed, Changes, is_told
from keyframe.stores.mongo import Mongo
from keyframe.stores.raw import id_bytes, id_text
from world import World, new_world


@pytest.fixture
def world(mongo_uri: str, tmp_path: Path) -> Iterator[World]:
    with new_world(mongo_uri, tmp_path) as made:
        yield made


@pytest.fixture
def mongo(world: World) -> Mongo:
    return Mongo(world.client, world.db.name, f"{world.db.name}_control", world.settings.scopes)


def told(changes: list[Changed]) -> list[tuple[str, str]]:
    return [(one.collection, id_text(one.id) if one.id else "") for one in changes]


def test_all_that_was_written_behind_the_instant_is_told_in_its_order(world: World, mongo: Mongo) -> None:
    world.db.site.insert_one({"_id": "before"})
    instant = mongo.mark()
    world.db.site.insert_one({"_id": "new"})
    world.db.site.update_one({"_id": "new"}, {"$set": {"a": 1}})
    world.db.site.delete_one({"_id": "new"})

    found = list(Changes(mongo).since(instant))

    assert told(found) == [("site", "new")] * 3


def test_nothing_is_told_where_nothing_was_written_and_it_takes_no_time(world: World, mongo: Mongo) -> None:
    world.db.site.insert_one({"_id": "before"})
    instant = mongo.mark()
    began = time.monotonic()

    assert list(Changes(mongo).since(instant)) == []
    assert time.monotonic() - began < 2  # it does not wait for something to happen


def test_what_was_written_behind_the_second_instant_is_not_told(world: World, mongo: Mongo) -> None:
    instant = mongo.mark()
    world.db.site.insert_one({"_id": "between"})
    until = mongo.mark()
    world.db.site.insert_one({"_id": "behind"})

    assert told(list(Changes(mongo).since(instant, until))) == [("site", "between")]


def test_a_transaction_of_many_writes_is_told_as_a_whole(world: World, mongo: Mongo) -> None:
    instant = mongo.mark()
    ids = [ObjectId() for _ in range(5_000)]
    with world.client.start_session() as session, session.start_transaction():
        world.db.site.insert_many([{"_id": one, "text": "x" * 5000} for one in ids], session=session)

    found = list(Changes(mongo).since(instant))

    assert [one.id for one in found] == [id_bytes(b"\x16\0\0\0\x07_id\0" + one.binary + b"\0") for one in ids]


def test_collections_that_come_go_and_get_an_index_are_told_by_name(world: World, mongo: Mongo) -> None:
    instant = mongo.mark()
    world.db.create_collection("made")
    world.db.site.create_index("title")
    world.db.empty.drop()
    world.db.made.rename("moved")

    found = told(list(Changes(mongo).since(instant)))

    assert {("made", ""), ("site", ""), ("empty", ""), ("moved", "")} <= set(found)


def test_a_database_that_was_dropped_is_told_and_one_that_never_was_tells_nothing(world: World, mongo: Mongo) -> None:
    instant = mongo.mark()
    assert list(Changes(Mongo(world.client, "never_there", world.db.name, world.settings.scopes)).since(instant)) == []

    world.client.drop_database(world.db.name)

    assert Changed("", b"") in list(Changes(mongo).since(instant))


def test_what_other_databases_write_is_not_told(world: World, mongo: Mongo) -> None:
    instant = mongo.mark()
    world.client[f"{world.db.name}_control"].things.insert_one({"_id": 1})

    assert list(Changes(mongo).since(instant)) == []


def test_what_a_change_stream_leaves_out_is_known(world: World, mongo: Mongo) -> None:
    world.db.create_collection("weather", timeseries={"timeField": "at"})
    instant = mongo.mark()
    world.db.weather.insert_one({"at": instant.utc, "t": 4})
    world.db["system.js"].insert_one({"_id": "f", "value": "x"})

    assert [one for one in Changes(mongo).since(instant) if is_told(one.collection)] == []
    assert not is_told("system.js")
    assert not is_told("system.buckets.weather")
    assert is_told("site")

"""A server whose cache is too small for one transaction: the records go in batches, and none is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from keyframe import embedded
from keyframe.model import OutcomeStatus
from keyframe.stores import mongo_write
from keyframe.stores.cache_room import CacheRoom
from keyframe.stores.mongo import Mongo
from keyframe.stores.mongo_write import MongoWriter, RecordChange, TooMuchError, Tries
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure
from test_faults_outside import Faults, faults
from world import PROJECT, SITE, World

DONE = OutcomeStatus.DONE
MANY = 6_000
__all__ = ["faults"]  # a fixture

Client = MongoClient[dict[str, Any]]


@contextmanager
def cache(client: Client, megabytes: int) -> Iterator[None]:
    name = "wiredTigerEngineRuntimeConfig"
    client.admin.command("setParameter", **{name: f"cache_size={megabytes}M"})
    try:
        yield
    finally:
        client.admin.command("setParameter", **{name: "cache_size=1024M"})


def fill(world: World) -> None:
    world.db.notes.insert_many({"_id": number, "text": f"note {number} " * 20} for number in range(MANY))
    world.db.notes.create_index("text")


@contextmanager
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As a server answers whose user may not ask it for its state."""
    real = Database.command

    def command(self: Database[Any], command: Any, *given: Any, **more: Any) -> Any:
        if command == "serverStatus":
            raise OperationFailure("not authorized", 13)
        return real(self, command, *given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "command", command)
        yield


def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many records each transaction carries from now on."""
    found, real = list[int](), MongoWriter.write

    def write(self: MongoWriter, changes: list[RecordChange], *given: Any) -> bytes:
        found.append(len(changes))
        return real(self, changes, *given)

    monkeypatch.setattr(MongoWriter, "write", write)
    return found


def test_more_than_the_cache_holds_is_restored_in_batches(
    world: World, mongo_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    snapshot, before = world.make(SITE), world.state()
    world.db.notes.update_many({}, {"$set": {"text": "spoilt"}})
    written = sizes(monkeypatch)

    with cache(mongo_client, 8):
        outcome = world.restore(snapshot, SITE)

    assert outcome.status is DONE
    assert world.state() == before
    assert len(written) > 10
    assert max(written) == 100


def test_what_the_cache_holds_is_restored_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(world)
    snapshot = world.make(SITE)
    world.db.notes.update_many({}, {"$set": {"text": "spoilt"}})
    written = sizes(monkeypatch)

    assert world.restore(snapshot, SITE).status is DONE
    assert written == [MANY]


def test_a_server_that_tells_nothing_and_refuses_gets_batches(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    snapshot, before = world.make(SITE), world.state()
    world.db.notes.update_many({}, {"$set": {"text": "spoilt"}})
    written = sizes(monkeypatch)

    faults.at(MongoWriter, "_write", lambda: OperationFailure("too large", mongo_write._TOO_LARGE), times=2)
    with nothing_told(monkeypatch):
        outcome = world.restore(snapshot, SITE)

    assert outcome.status is DONE
    assert world.state() == before
    assert written[:3] == [MANY, 2_000, 1_000]  # all, a batch, half of it


def test_who_may_not_ask_for_the_cache_is_believed_to_have_room(
    world: World, mongo_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(world)
    mongo = Mongo(world.client, world.db.name, world.settings.control_database, world.settings.scopes)
    with nothing_told(monkeypatch):
        unknown = CacheRoom(mongo)
    with cache(mongo_client, 8):
        small = CacheRoom(mongo)

    assert unknown.holds({"notes": MANY})
    assert unknown.batch(2_000) == 2_000
    assert not small.holds({"notes": MANY})
    assert small.holds({"notes": 3})
    assert small.holds({"nothing": MANY})
    assert small.batch(2_000) == small.batch(100)
    assert small.batch(10) == 10


def test_another_transaction_in_the_way_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongo_write, "_LONG", 0.2)  # so that it counts as a full cache, too
    snapshot, before = world.make(PROJECT), world.state()
    world.spoil()
    with world.db.client.start_session() as session:
        session.start_transaction()
        for row in world.db.edition.find():
            world.db.edition.update_one({"_id": row["_id"]}, {"$set": {"foreign": 1}}, session=session)
        timer = threading.Timer(3, session.abort_transaction)
        timer.start()
        try:
            outcome = world.restore(snapshot)
        finally:
            timer.join()

    assert outcome.status is DONE
    assert world.state() == before


def test_tries_that_take_long_are_given_up_and_quick_ones_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Tries()
    for _ in range(50):
        quick.next()

    monkeypatch.setattr(mongo_write, "_LONG", -1.0)
    slow = Tries()
    slow.next()
    with pytest.raises(TooMuchError, match="memory"):
        slow.next()


def test_the_embedded_server_gets_an_eighth_of_the_memory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(embedded, "_CONTAINER", limit)
    at_most = embedded.cache_size()
    found = []
    for text in ("max\n", "100000000\n", "4000000000\n", "900000000000000\n"):
        limit.write_text(text)
        found.append(embedded.cache_size())

    assert found == [at_most, 0.25, min(at_most, 0.5), at_most]
    assert 0.25 <= at_most <= 2

"""A process that is killed within its transaction: whoever recovers need not wait until the server forgets it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from crash_child import Crasher
from keyframe.model import OutcomeStatus
from keyframe.stores.mongo import Mongo
from keyframe.stores.open_transactions import OpenTransactions
from pymongo import MongoClient
from world import PROJECT, SITE, World

SOON = 30  # seconds; the server keeps the transaction for 60


def notes(world: World) -> Path:
    return world.settings.data / ".keyframe/transactions"


@pytest.mark.parametrize("scope", [PROJECT, SITE], ids=["project", "site"])
def test_a_restore_that_was_killed_within_its_transaction_is_finished_soon(
    world: World, crasher: Crasher, scope: Any
) -> None:
    snapshot, wanted = world.make(scope), world.state()
    world.spoil()
    job = world.office.desk.restore(world.ask, scope, snapshot.name)
    assert crasher.run(world, job.id, "body:after:1").killed
    assert len(list(notes(world).iterdir())) == 1

    begun = time.monotonic()
    assert world.office.work.recover() == 0

    assert time.monotonic() - begun < SOON
    assert world.state() == wanted
    assert world.office.desk.job(world.ask, job.id).outcome.status is OutcomeStatus.DONE  # type: ignore[union-attr]
    assert list(notes(world).iterdir()) == []


def test_a_transaction_whose_process_lives_is_left_alone(world: World) -> None:
    mongo = Mongo(world.client, world.db.name, world.settings.control_database, world.settings.scopes)
    mine, other = OpenTransactions(notes(world)), OpenTransactions(notes(world))
    with world.client.start_session() as session, mine.noted(bytes(session.session_id["id"])):
        session.start_transaction()
        world.db.site.update_one({"_id": 1}, {"$set": {"seen": 1}}, session=session)
        assert other.end_lost(mongo) == 0
        session.commit_transaction()

    assert world.db.site.find_one({"_id": 1})["seen"] == 1
    assert list(notes(world).iterdir()) == []


def test_what_is_no_note_is_passed_over_and_a_lost_one_goes(world: World) -> None:
    mongo = Mongo(world.client, world.db.name, world.settings.control_database, world.settings.scopes)
    notes(world).mkdir(parents=True)
    foreign, lost = notes(world) / "README", notes(world) / ("ab" * 16)
    foreign.touch()
    lost.touch()

    assert OpenTransactions(notes(world)).end_lost(mongo) == 1
    assert list(notes(world).iterdir()) == [foreign]


def test_where_the_disk_takes_no_note_or_the_server_does_not_answer_nothing_fails(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    open_transactions = OpenTransactions(tmp_path / "file" / "transactions")
    with open_transactions.noted(bytes(16)):
        pass

    (tmp_path / "notes").mkdir()
    lost = tmp_path / "notes" / ("ab" * 16)
    lost.touch()
    with MongoClient[dict[str, Any]]("127.0.0.1", 1, serverSelectionTimeoutMS=200) as nobody:
        mongo = Mongo(nobody, "none", "none_control", world.settings.scopes)
        assert OpenTransactions(tmp_path / "notes").end_lost(mongo) == 0
    assert lost.exists()

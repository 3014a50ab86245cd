"""What happens to collections and server while the records are read: never a wrong snapshot, at no moment."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from keyframe.backup.dumping import Dumping
from keyframe.model import OutcomeStatus
from keyframe.stores import reader
from keyframe.stores.mongo import Mongo
from keyframe.stores.reader import Reader
from test_collections import CHANGES
from whole import require_whole
from world import PROJECT, SITE, World

DONE, FAILED = OutcomeStatus.DONE, OutcomeStatus.FAILED
AT = datetime(2024, 1, 1, tzinfo=UTC)

MORE: dict[str, Callable[[Any], Any]] = {
    **CHANGES,
    "a time series made again": lambda db: (db.series.drop(), make_series(db, 5)),
    "a time series dropped": lambda db: db.series.drop(),
    "a capped one made again": lambda db: (db.log.drop(), make_log(db, 5)),
    "written on": lambda db: (
        db.edition.insert_one({"_id": "late", "projectId": 1, "title": "late"}),
        db.series.insert_one({"at": AT, "x": 99}),
    ),
}


def make_series(db: Any, x: int) -> None:
    db.command("create", "series", timeseries={"timeField": "at"})
    db.series.insert_one({"at": AT, "x": x})


def make_log(db: Any, number: int) -> None:
    db.command("create", "log", capped=True, size=4096)
    db.log.insert_one({"_id": number})


def once(acts: list[Callable[[], Any]]) -> None:
    if acts:
        acts.pop()()


def before_pin(monkeypatch: pytest.MonkeyPatch, acts: list[Callable[[], Any]]) -> None:
    pinned = Mongo.pinned

    @contextlib.contextmanager
    def changing(mongo: Mongo) -> Iterator[Reader]:
        once(acts)
        with pinned(mongo) as found:
            yield found

    monkeypatch.setattr(Mongo, "pinned", changing)


def after_pin(monkeypatch: pytest.MonkeyPatch, acts: list[Callable[[], Any]]) -> None:
    pinned = Mongo.pinned

    @contextlib.contextmanager
    def changing(mongo: Mongo) -> Iterator[Reader]:
        with pinned(mongo) as found:
            once(acts)
            yield found

    monkeypatch.setattr(Mongo, "pinned", changing)


def in_the_middle(monkeypatch: pytest.MonkeyPatch, acts: list[Callable[[], Any]]) -> None:
    """After the first document of the collection, with more to come."""
    monkeypatch.setattr(reader, "_FIRST", 1)
    blocks = Reader.blocks

    def changing(one: Reader, collection: str, where: Any) -> Iterator[Any]:
        for block in blocks(one, collection, where):
            yield block
            if collection == "edition":
                once(acts)

    monkeypatch.setattr(Reader, "blocks", changing)


def after_the_last_read(monkeypatch: pytest.MonkeyPatch, acts: list[Callable[[], Any]]) -> None:
    write = Dumping._write

    def changing(dumping: Dumping, *args: Any) -> Any:
        written = write(dumping, *args)
        once(acts)
        return written

    monkeypatch.setattr(Dumping, "_write", changing)


MOMENTS = [before_pin, after_pin, in_the_middle, after_the_last_read]


def contents(world: World) -> dict[str, Any]:
    """What the snapshot has to be equal to, at one of the moments."""
    found: dict[str, Any] = dict(world.records())
    with contextlib.suppress(Exception):
        found["series buckets"] = sorted(repr(one) for one in world.db["system.buckets.series"].find())
    return found


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("change", MORE)
def test_a_change_at_any_moment_makes_no_wrong_snapshot(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str, moment: Callable[..., None]
) -> None:
    make_series(world.db, 1)
    make_log(world.db, 1)
    states = [contents(world)]

    def act() -> None:
        MORE[change](world.db)
        states.append(contents(world))

    acts = [act]
    moment(monkeypatch, acts)
    snapshot = world.make(SITE)
    monkeypatch.undo()

    assert not acts, "it was never done"
    assert snapshot.status == "done"
    require_whole(world.stored(snapshot), snapshot)
    world.db.site.delete_many({})
    world.db.edition.delete_many({})
    assert world.restore(snapshot, SITE).status is DONE
    assert contents(world) in states


@pytest.fixture
def short_history(world: World) -> Iterator[None]:
    """A server that keeps its history for a second."""
    admin = world.client.admin
    name = "minSnapshotHistoryWindowInSeconds"
    before = admin.command("getParameter", 1, **{name: 1})[name]
    admin.command("setParameter", 1, **{name: 1})
    try:
        yield
    finally:
        admin.command("setParameter", 1, **{name: before})


@pytest.mark.parametrize("moment", [after_pin, in_the_middle])
def test_a_dump_that_outlives_the_history_of_the_server_fails_with_a_hint(
    world: World, monkeypatch: pytest.MonkeyPatch, short_history: None, moment: Callable[..., None]
) -> None:
    before = world.office.desk.snapshots(world.ask, SITE).items

    def dawdle() -> None:
        until = time.monotonic() + 4
        while time.monotonic() < until:  # the server's oldest moment goes on with its writes
            world.db.site.update_one({"_id": 1}, {"$inc": {"n": 1}})
            time.sleep(0.05)

    moment(monkeypatch, [dawdle])
    outcome = world.done(world.office.desk.make(world.ask, SITE))
    monkeypatch.undo()

    assert outcome.status is FAILED
    assert outcome.problems[0].code == "unavailable"
    assert "minSnapshotHistoryWindowInSeconds" in outcome.problems[0].hint
    assert world.office.desk.snapshots(world.ask, SITE).items == before
    assert not list((world.settings.repository / ".drafts").glob("*"))
    assert world.make(PROJECT).status == "done"

"""The last look before a restore begins: nothing that was changed since the safety snapshot escapes it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup import recheck
from keyframe.backup.helpers import Helpers
from keyframe.backup.recheck import Recheck
from keyframe.backup.stores import Stores
from keyframe.backup.watches import Silent
from keyframe.model import Action, Order, Scope, Snapshot
from keyframe.stores import rows, seen
from keyframe.stores.changes import Changes
from pymongo import IndexModel
from world import EDITION, ONE, OTHER, PROJECT, SITE, TWO, World, new_world

MODEL = f"edition/{EDITION[0]}/model.glb"


@pytest.fixture
def world(mongo_uri: str, tmp_path: Path) -> Iterator[World]:
    with new_world(mongo_uri, tmp_path) as made:
        made.db.create_collection("weather", timeseries={"timeField": "at"})
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """It must be told without comparing all."""

    def never(_: Recheck) -> bool:
        raise AssertionError("all was compared")

    monkeypatch.setattr(Recheck, "_is_same_byte_for_byte", never)


def stores_of(world: World) -> Stores:
    backup: Any = world.office.work._backup
    return backup._stores


def is_still(world: World, safety: Snapshot, scope: Scope, *, people: bool = False) -> bool:
    order = Order(Action.RESTORE, scope, world.ask, people=people)
    with Helpers() as helpers:
        return Recheck(stores_of(world), order, safety, helpers, Silent()).is_still() is not None


def settle(world: World) -> None:
    """Let all stamps be old enough to be trusted."""
    time.sleep(seen.RACY_NS / 1e9 + 0.1)


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_where_nothing_was_changed_it_says_so(world: World, quick: None, scope: Scope) -> None:
    assert is_still(world, world.make(scope), scope)  # stamps are young: the files are read

    settle(world)
    world.write("again.txt", "", OTHER if scope.is_site else PROJECT)
    settle(world)

    assert is_still(world, world.make(scope), scope)


def _rewrite(world: World) -> None:
    path = world.folder(PROJECT) / MODEL
    before = path.stat()
    path.write_bytes(b"GLTF" * 1000)  # as long as before
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))


FILES: dict[str, Callable[[World], object]] = {
    "a file with the same size and time": _rewrite,
    "a new file": lambda world: world.write("new.txt"),
    "a removed file": lambda world: (world.folder(PROJECT) / MODEL).unlink(),
    "a removed file, and a new one": lambda world: (world.folder(PROJECT) / MODEL).rename(
        world.folder(PROJECT) / f"edition/{EDITION[0]}/renamed.glb"
    ),
    "a mode": lambda world: (world.folder(PROJECT) / MODEL).chmod(0o600),
    "a folder's mode": lambda world: (world.folder(PROJECT) / "edition").chmod(0o700),
    "an empty folder": lambda world: (world.folder(PROJECT) / "edition" / str(EDITION[0]) / "empty").rmdir(),
    "a new folder": lambda world: (world.folder(PROJECT) / "made").mkdir(),
    "a link": lambda world: [
        (world.folder(PROJECT) / "edition" / str(EDITION[0]) / "latest").unlink(),
        (world.folder(PROJECT) / "edition" / str(EDITION[0]) / "latest").symlink_to("elsewhere"),
    ],
    "a file that became a folder": lambda world: [
        (world.folder(PROJECT) / MODEL).unlink(),
        (world.folder(PROJECT) / MODEL).mkdir(),
    ],
    "an attribute": lambda world: os.setxattr(world.folder(PROJECT) / MODEL, "user.k", b"v"),
    "an attribute of a folder": lambda world: os.setxattr(world.folder(PROJECT) / "edition", "user.k", b"v"),
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_a_file_that_was_changed_is_noticed(world: World, quick: None, scope: Scope, what: str) -> None:
    safety = world.make(scope)

    FILES[what](world)

    assert not is_still(world, safety, scope)


def test_a_file_that_was_changed_long_after_is_noticed_by_its_stamp(world: World, quick: None) -> None:
    settle(world)
    safety = world.make(SITE)

    _rewrite(world)

    assert not is_still(world, safety, SITE)


RECORDS: dict[str, Callable[[World], object]] = {
    "a new record": lambda world: world.db.edition.insert_one({"projectId": ONE, "title": "n"}),
    "a changed record": lambda world: world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"a": 1}}),
    "a removed record": lambda world: world.db.edition.delete_one({"_id": EDITION[0]}),
    "a record that was moved away": lambda world: world.db.edition.update_one(
        {"_id": EDITION[0]}, {"$set": {"projectId": TWO}}
    ),
    "a record that was moved here": lambda world: world.db.edition.update_one(
        {"_id": EDITION[2]}, {"$set": {"projectId": ONE, "title": "x"}}
    ),
    "a collection that was dropped": lambda world: world.db.edition.drop(),
    "the database that was dropped": lambda world: world.client.drop_database(world.db.name),
}


@pytest.mark.parametrize("what", RECORDS)
@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_a_record_that_was_changed_is_noticed(world: World, quick: None, scope: Scope, what: str) -> None:
    safety = world.make(scope)

    RECORDS[what](world)

    assert not is_still(world, safety, scope)


STRUCTURE: dict[str, Callable[[World], object]] = {
    "an index": lambda world: world.db.site.create_index("title"),
    "an index that went": lambda world: world.db.edition.drop_index("by_title"),
    "a validator": lambda world: world.db.command("collMod", "site", validator={"title": {"$exists": True}}),
    "an empty collection": lambda world: world.db.create_collection("made"),
    "an empty collection that went": lambda world: world.db.empty.drop(),
    "a view": lambda world: world.db.create_collection("seen", viewOn="site", pipeline=[]),
    "a measurement of a time series": lambda world: world.db.weather.insert_one(
        {"at": world.db.command("hello")["localTime"], "t": 3}
    ),
    "a function of the server": lambda world: world.db["system.js"].insert_one({"_id": "f", "value": "x"}),
}


@pytest.mark.parametrize("what", STRUCTURE)
def test_in_a_site_a_collection_that_was_changed_is_noticed(world: World, quick: None, what: str) -> None:
    safety = world.make(SITE)

    STRUCTURE[what](world)

    assert not is_still(world, safety, SITE)


def test_what_the_restore_is_not_about_counts_for_nothing(world: World, quick: None) -> None:
    of_project, of_site = world.make(PROJECT), world.make(SITE)

    world.db.session.insert_one({"user": "anna"})
    world.db.user.update_one({"user": "anna"}, {"$set": {"seen": 1}})
    assert is_still(world, of_site, SITE)
    assert not is_still(world, of_site, SITE, people=True)

    world.db.edition.update_one({"_id": EDITION[2]}, {"$set": {"title": "of the other project"}})
    world.db.site.insert_one({"title": "of nobody"})
    world.db.edition.create_indexes([IndexModel("title")])
    world.write("of the other.txt", "", OTHER)
    assert is_still(world, of_project, PROJECT)
    assert not is_still(world, of_site, SITE)


def test_where_what_was_seen_is_lost_all_is_compared(world: World) -> None:
    safety = world.make(PROJECT)
    known = world.settings.data / ".keyframe" / "known"
    (known / "project-" / "x").parent.mkdir()
    for path in known.glob("project-6*"):
        path.unlink()

    assert is_still(world, safety, PROJECT)
    _rewrite(world)
    assert not is_still(world, safety, PROJECT)


def test_where_the_server_cannot_tell_all_is_compared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> Iterator[object]:
        raise recheck.UnavailableError("no longer knows")
        yield

    safety = world.make(PROJECT)
    monkeypatch.setattr(Changes, "since", lost)

    assert is_still(world, safety, PROJECT)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"a": 1}})
    assert not is_still(world, safety, PROJECT)


def test_young_stamps_are_not_trusted(world: World, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writes within a tick of the clock of stamps leave the same one: then the bytes tell."""
    safety = world.make(PROJECT)
    monkeypatch.setattr(rows.Row, "is_same", lambda _row, _other: True)
    monkeypatch.setattr(recheck._Seen, "has", _over_only)

    assert is_still(world, safety, PROJECT)
    _rewrite(world)
    assert not is_still(world, safety, PROJECT)


def _over_only(told: Any, sheet: Any) -> bool:
    told._over, told._at = told._beside.over(sheet), None
    return False

"""Stored bytes that have rotted never stand for live ones that were just read: after a restore nobody has these."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from crash_child import Crasher
from keyframe.backup.copying import Copying
from keyframe.backup.shelf import Shelf
from keyframe.model import OutcomeStatus, Snapshot, Weight
from keyframe.stores.readings import Readings
from keyframe.stores.seen import RACY_NS
from sweep import recovered
from test_serving import again, between
from world import EDITION, PROJECT, World

MODEL = f"edition/{EDITION[0]}/model.glb"
pytestmark = pytest.mark.usefixtures("quick_transactions")


def rot(world: World, snapshot: Snapshot) -> None:
    """One bit of a stored file is another one; nothing else tells of it."""
    path = world.stored(snapshot) / "files" / MODEL
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[3] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mode == stat.st_mode


def renew(world: World) -> None:
    """The live files become other ones with the same content, as a deployment does it."""
    kept = world.settings.var / "kept"
    shutil.copytree(world.folder(PROJECT), kept, symlinks=True)
    shutil.rmtree(world.folder(PROJECT))
    shutil.copytree(kept, world.folder(PROJECT), symlinks=True)
    shutil.rmtree(kept)


def require_good(world: World, name: str) -> None:
    found = world.done(world.office.desk.verify(world.ask, PROJECT, name)).report
    assert found is not None
    assert found["status"] == Weight.GOOD.value


def warned(snapshot: Snapshot) -> list[tuple[str, str]]:
    return [(one.code, one.subject) for one in snapshot.warnings]


def test_an_older_one_with_rotten_bytes_is_no_safety_snapshot(world: World) -> None:
    older, newer = between(world)
    before = world.state()
    rot(world, older)

    outcome = world.restore(newer)

    assert (outcome.status, outcome.safety_is_new) == (OutcomeStatus.DONE, True)
    made = again(world, outcome.safety or "")
    assert warned(made) == [("damaged.file-bytes", MODEL)]
    assert older.name in made.warnings[0].hint
    require_good(world, made.name)
    assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is OutcomeStatus.DONE
    assert world.state() == before


def test_the_newest_with_rotten_bytes_is_no_safety_snapshot(world: World) -> None:
    older = world.make()
    world.spoil()
    newest, before = world.make(), world.state()
    renew(world)
    rot(world, newest)

    outcome = world.restore(older)

    assert (outcome.status, outcome.safety_is_new) == (OutcomeStatus.DONE, True)
    assert warned(again(world, outcome.safety or "")) == [("damaged.file-bytes", MODEL)]
    world.done(world.office.desk.undo(world.ask, PROJECT))
    assert world.state() == before


def test_nothing_is_called_unchanged_where_the_newest_has_rotten_bytes(world: World) -> None:
    rotten = world.make()
    renew(world)
    rot(world, rotten)

    made = world.make()

    assert made.name != rotten.name
    assert warned(made) == [("damaged.file-bytes", MODEL)]
    require_good(world, made.name)
    assert world.make().name == made.name


def test_one_in_which_a_rotten_file_became_good_again_serves(world: World) -> None:
    older, newer = between(world)
    rot(world, older)
    rot(world, older)  # the same bit

    assert world.restore(newer).safety == older.name


@pytest.mark.parametrize("is_rotten", [True, False])
def test_what_was_copied_at_the_second_look_is_compared_with_the_newest(
    world: World, monkeypatch: pytest.MonkeyPatch, is_rotten: bool
) -> None:
    """A file that is another one while the bulk is copied, and is what it was when the gate is closed."""
    newest = world.make()
    live = world.folder(PROJECT) / MODEL
    content, stat = live.read_bytes(), live.stat()
    live.write_bytes(b"for a moment")
    bulk = Copying.bulk

    def and_back(copying: Copying) -> None:
        bulk(copying)
        live.write_bytes(content)
        os.utime(live, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    monkeypatch.setattr(Copying, "bulk", and_back)
    if is_rotten:
        rot(world, newest)

    made = world.make()

    assert (made.name != newest.name) is is_rotten
    assert warned(made) == ([("damaged.file-bytes", MODEL)] if is_rotten else [])
    require_good(world, made.name)


def test_what_an_interrupted_make_had_copied_is_compared_too(world: World, crasher: Crasher) -> None:
    """It goes with the draft that takes it over."""
    older, newer = between(world)
    before = world.state()
    job = world.office.desk.make(world.ask, PROJECT)
    assert crasher.run(world, job.id, "dump:before:1").killed
    recovered(world, job)
    rot(world, older)

    outcome = world.restore(newer)

    assert (outcome.status, outcome.safety_is_new) == (OutcomeStatus.DONE, True)
    world.done(world.office.desk.undo(world.ask, PROJECT))
    assert world.state() == before


def test_a_file_that_is_gone_meanwhile_serves_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where its stat was good a moment ago."""
    older, newer = between(world)
    before = world.state()
    fault = Shelf.fault

    def and_gone(shelf: Shelf, folder: str, path: str, *more: Any) -> str:
        found = fault(shelf, folder, path, *more)
        if path == MODEL and folder.endswith(older.name):
            Path(world.stored(older) / "files" / MODEL).unlink(missing_ok=True)
        return found

    monkeypatch.setattr(Shelf, "fault", and_gone)

    assert world.restore(newer).safety_is_new
    world.done(world.office.desk.undo(world.ask, PROJECT))
    assert world.state() == before


def test_what_is_known_is_not_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where nothing changed nor where an older snapshot holds what the newest shares with it."""
    older = world.make()
    time.sleep(RACY_NS / 1e9)
    assert world.make().name == older.name  # stamps are old enough to be trusted from now on
    monkeypatch.setattr(Shelf, "has_bytes", lambda *_: pytest.fail("a stored file was read"))
    monkeypatch.setattr(Readings, "add", lambda *_, **__: pytest.fail("a stored file was read"))

    assert world.make().name == older.name
    passing = world.write("passing.txt", "passing")
    newer = world.make()
    passing.unlink()
    assert world.restore(newer).safety == older.name

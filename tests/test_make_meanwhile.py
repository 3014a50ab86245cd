"""What happens to the live files while a snapshot is made: it holds the state as the gate closed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup import copying
from keyframe.backup.copying import Copying
from keyframe.model import OutcomeStatus, Snapshot
from keyframe.stores import taking
from keyframe.stores.draft_files import DraftFiles
from keyframe.stores.gate import Gate, Period
from keyframe.stores.mongo import Mongo
from keyframe.stores.trees import Tree
from whole import require_whole
from world import EDITION, PROJECT, SITE, World

DONE = OutcomeStatus.DONE
TOP = f"edition/{EDITION[0]}"


def stored(world: World, snapshot: Snapshot, path: str) -> Path:
    return world.stored(snapshot) / "files" / path


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Acts to be done once, by when: before the gate is closed, and after the pin."""
    acts: dict[str, Any] = {}
    bulk, pinned, closed = Copying.bulk, Mongo.pinned, Gate.closed

    def after_bulk(copying: Copying) -> None:
        bulk(copying)
        acts.pop("after bulk", lambda: None)()

    @contextlib.contextmanager
    def after_pin(mongo: Mongo) -> Iterator[Any]:
        with pinned(mongo) as reader:
            acts.pop("after pin", lambda: None)()
            yield reader

    @contextlib.contextmanager
    def before_gate(gate: Gate) -> Iterator[Period]:
        acts.pop("before gate", lambda: None)()
        with closed(gate) as period:
            yield period

    monkeypatch.setattr(Copying, "bulk", after_bulk)
    monkeypatch.setattr(Mongo, "pinned", after_pin)
    monkeypatch.setattr(Gate, "closed", before_gate)
    yield acts
    assert not acts, "it was never done"


def change_much(world: World) -> None:
    """Files are changed, made, removed and change their kind."""
    top = world.folder(PROJECT) / TOP
    world.spoil()
    (top / "empty").rmdir()
    (top / "empty").symlink_to("articles")
    (top / "latest").unlink()
    (top / "latest").mkdir()
    world.write(f"{TOP}/latest/x.txt")
    shutil.rmtree(top / "articles")
    (top / "articles").write_text("a file now")
    same = top / "scene.svx.json"
    status = same.stat()
    same.write_text("[]")  # as long as before
    os.utime(same, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("when", ["after bulk", "before gate"])
@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_a_snapshot_holds_the_state_as_the_gate_closed(
    world: World, meanwhile: dict[str, Any], when: str, scope: Any
) -> None:
    meanwhile[when] = lambda: change_much(world)

    snapshot = world.make(scope)
    at_the_gate = world.state()
    require_whole(world.stored(snapshot), snapshot)
    shutil.rmtree(world.folder(PROJECT) / TOP)
    world.db.edition.update_many({"projectId": PROJECT.project_id}, {"$set": {"title": "later"}})

    assert snapshot.status == "done"
    assert world.restore(snapshot, scope).status is DONE
    assert world.state() == at_the_gate


def test_a_directory_that_became_a_link_leads_nothing_out_of_the_draft(
    world: World, meanwhile: dict[str, Any], tmp_path: Path
) -> None:
    top = world.folder(PROJECT)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(top / TOP, elsewhere, symlinks=True)

    def move() -> None:
        (top / TOP).rename(top / "edition/moved")
        (top / TOP).symlink_to("moved")
        shutil.rmtree(top / f"edition/{EDITION[1]}")
        (top / f"edition/{EDITION[1]}").symlink_to(elsewhere)

    meanwhile["after bulk"] = move
    outside = sorted(elsewhere.rglob("*"))

    snapshot = world.make(PROJECT)

    assert sorted(elsewhere.rglob("*")) == outside
    require_whole(world.stored(snapshot), snapshot)
    assert stored(world, snapshot, "edition/moved/model.glb").read_bytes() == b"glTF" * 1000


def test_directories_that_go_and_come_between_two_readings_are_in_the_snapshot(
    world: World, meanwhile: dict[str, Any]
) -> None:
    top = world.folder(PROJECT)
    before = world.files()

    def away() -> None:
        (top / TOP).rename(top / "away")
        world.write("first only/x.txt")

    def back() -> None:  # and the collections changed, so that all is read again
        (top / "away").rename(top / TOP)
        shutil.rmtree(top / "first only")
        world.db.edition.create_index("another")

    meanwhile["after bulk"] = away
    meanwhile["after pin"] = back

    snapshot = world.make(PROJECT)

    require_whole(world.stored(snapshot), snapshot)
    shutil.rmtree(top)
    assert world.restore(snapshot).status is DONE
    assert world.files() == before


@pytest.mark.parametrize("other", ["link", "directory"])
def test_what_becomes_something_else_while_it_is_read_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    model = world.folder(PROJECT) / TOP / "model.glb"
    take, passes = copying.take, 0

    def swapping(row: Any, *args: Any) -> Any:
        nonlocal passes
        if row.path.decode() != f"{TOP}/model.glb":
            return take(row, *args)
        passes += 1
        model.unlink(missing_ok=True)
        model.symlink_to("/etc/hostname") if other == "link" else model.mkdir()
        try:
            return take(row, *args)
        finally:
            model.unlink() if other == "link" else model.rmdir()
            model.write_text("again")

    monkeypatch.setattr(DraftFiles, "way", lambda *_: None)  # each file by itself
    monkeypatch.setattr(taking, "take", swapping)
    monkeypatch.setattr(copying, "take", swapping)
    snapshot = world.make(PROJECT)

    assert passes == 2
    assert snapshot.status.value == "partial"
    assert [(one.code, one.subject) for one in snapshot.problems] == [("changed", f"{TOP}/model.glb")]
    assert not os.path.lexists(stored(world, snapshot, f"{TOP}/model.glb"))


@pytest.mark.parametrize("other", ["link", "nothing"])
def test_what_is_told_below_a_directory_is_told_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Listed as a directory, something else at the look, a directory again when it is gone into."""
    folder = world.folder(PROJECT) / TOP / "articles"
    aside, look, swaps = folder.with_name("aside"), Tree._look, 0

    def swapping(tree: Tree, frame: Any, name: str, problem: Any) -> Any:
        nonlocal swaps
        if name != "articles" or swaps:
            return look(tree, frame, name, problem)
        swaps += 1
        folder.rename(aside)
        if other == "link":
            folder.symlink_to(world.folder(PROJECT))
        try:
            return look(tree, frame, name, problem)
        finally:
            folder.unlink(missing_ok=True)
            aside.rename(folder)

    monkeypatch.setattr(Tree, "_look", swapping)
    snapshot = world.make(PROJECT)

    assert swaps == 1
    require_whole(world.stored(snapshot), snapshot)
    assert stored(world, snapshot, f"{TOP}/articles/a.html").is_file()

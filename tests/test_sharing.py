"""What snapshots share: unchanged files are links to one stored copy, within a scope and between site and project."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup import bulk, copying, rows
from keyframe.model import OutcomeStatus, Scope, Snapshot
from keyframe.stores import draft_files, seen
from keyframe.stores.disk import remove_tree
from whole import require_whole
from world import EDITION, PROJECT, SITE, World

TOP = f"edition/{EDITION[0]}"
MODEL = f"{TOP}/model.glb"


@pytest.fixture(autouse=True)
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stamps are trusted at once: the files of a test are younger than two seconds."""
    monkeypatch.setattr(seen, "RACY_NS", -(1 << 62))
    monkeypatch.setattr(rows, "RACY_NS", -(1 << 62))


def stored(world: World, snapshot: Snapshot, path: str) -> Path:
    return world.stored(snapshot) / "files" / path


def inode(world: World, snapshot: Snapshot, path: str = MODEL) -> int:
    return stored(world, snapshot, path).stat().st_ino


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of files whose bytes were read."""
    paths: list[str] = []
    take = bulk.take

    def told(row: Any, *args: Any) -> Any:
        paths.append(os.fsdecode(row.path))
        return take(row, *args)

    monkeypatch.setattr(bulk, "take", told)
    monkeypatch.setattr(copying, "take", told)
    return paths


def test_a_file_that_was_seen_is_linked_and_not_read(world: World, copied: list[str]) -> None:
    first = world.make(PROJECT)
    copied.clear()
    world.write("new.txt", "new")

    second = world.make(PROJECT)

    assert copied == ["new.txt"]
    assert inode(world, first) == inode(world, second) != (world.folder(PROJECT) / MODEL).stat().st_ino
    require_whole(world.stored(second), second)


@pytest.mark.parametrize(("one", "other"), [(PROJECT, SITE), (SITE, PROJECT)])
def test_site_and_project_share_their_files(world: World, copied: list[str], one: Scope, other: Scope) -> None:
    within = {PROJECT: MODEL, SITE: f"project/{PROJECT.project_id}/{MODEL}"}
    first = world.make(one)
    copied.clear()

    second = world.make(other)

    assert inode(world, first, within[one]) == inode(world, second, within[other])
    assert not [path for path in copied if path == within[other]]
    require_whole(world.stored(second), second)


def test_what_is_shared_outlives_the_snapshot_it_was_taken_from(world: World) -> None:
    first = world.make(SITE)
    second = world.make(PROJECT)
    before = world.state()
    shutil.rmtree(world.stored(first))
    world.spoil()

    assert world.restore(second).status is OutcomeStatus.DONE
    assert world.state() == before


def test_without_what_was_seen_equal_files_are_linked_all_the_same(world: World, copied: list[str]) -> None:
    first = world.make(PROJECT)
    world.write("new.txt", "new")
    for path in (world.settings.data / ".keyframe").glob("seen.sqlite*"):
        path.unlink()
    copied.clear()

    second = world.make(PROJECT)

    assert MODEL in copied  # read, to know that it is equal
    assert inode(world, first) == inode(world, second)


def test_a_restored_file_is_linked_again(world: World) -> None:
    first = world.make(PROJECT)
    world.spoil()
    world.restore(first)
    world.write("new.txt", "new")

    last = world.make(PROJECT)

    assert stored(world, last, MODEL).read_bytes() == stored(world, first, MODEL).read_bytes()
    require_whole(world.stored(last), last)


def test_nothing_is_linked_where_nothing_changed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.make(PROJECT)
    links = stored(world, first, MODEL).stat().st_nlink
    monkeypatch.setattr(draft_files.DraftFiles, "share", None)

    outcome = world.done(world.office.desk.make(world.ask, PROJECT, ""))

    assert outcome.status is OutcomeStatus.UNCHANGED
    assert stored(world, first, MODEL).stat().st_nlink == links


def test_hard_links_within_the_tree_are_stored_once_and_restored_as_files(world: World) -> None:
    model = world.folder(PROJECT) / MODEL
    twin = model.with_name("twin.glb")
    os.link(model, twin)
    before = world.state()
    snapshot = world.make(PROJECT)
    require_whole(world.stored(snapshot), snapshot)

    assert inode(world, snapshot) == inode(world, snapshot, f"{TOP}/twin.glb")

    twin.unlink()
    model.write_text("spoilt")
    assert world.restore(snapshot).status is OutcomeStatus.DONE
    assert world.state() == before
    assert model.stat().st_ino != twin.stat().st_ino


@pytest.mark.parametrize("number", [errno.EMLINK, errno.EXDEV, errno.EPERM])
def test_a_file_that_cannot_be_linked_is_copied(world: World, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    first = world.make(PROJECT)
    world.write("new.txt", "new")

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(draft_files.os, "link", refuse)
    second = world.make(PROJECT)

    assert second.status.value == "done"
    assert inode(world, first) != inode(world, second)
    require_whole(world.stored(second), second)


@pytest.mark.parametrize("damage", ["cut", "touched", "gone"])
def test_a_stored_copy_that_is_not_as_written_is_not_inherited(world: World, damage: str) -> None:
    first = world.make(PROJECT)
    copy = stored(world, first, MODEL)
    if damage == "gone":
        copy.unlink()
    elif damage == "cut":
        copy.write_bytes(b"")
    else:
        os.utime(copy, ns=(1, 1))

    second = world.make(PROJECT)

    assert second.name != first.name
    assert stored(world, second, MODEL).read_bytes() == (world.folder(PROJECT) / MODEL).read_bytes()
    assert [(one.code, one.subject) for one in second.warnings] == [("damaged.file-size", MODEL)]
    require_whole(world.stored(second), second)


def test_a_newest_snapshot_with_a_damaged_manifest_does_not_stop_the_next_one(world: World) -> None:
    first = world.make(PROJECT)
    manifest = world.stored(first) / "manifest.jsonl"
    content = bytearray(manifest.read_bytes())
    content[len(content) // 2] ^= 1
    manifest.write_bytes(content)

    second = world.make(PROJECT)

    assert second.status.value == "done"
    assert [one.code for one in second.warnings] == ["damaged.manifest-bytes"]
    require_whole(world.stored(second), second)


def test_a_renamed_file_keeps_its_bytes(world: World) -> None:
    world.make(PROJECT)
    model = world.folder(PROJECT) / MODEL
    model.rename(model.with_name("moved.glb"))

    second = world.make(PROJECT)

    assert stored(world, second, f"{TOP}/moved.glb").read_bytes() == model.with_name("moved.glb").read_bytes()
    assert not stored(world, second, MODEL).exists()
    require_whole(world.stored(second), second)


def test_a_tree_deeper_than_a_walk_keeps_open_is_kept(world: World) -> None:
    deep = world.folder(PROJECT) / Path(*["d"] * 150)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (world.folder(PROJECT) / Path(*["d"] * 20) / "other").write_text("less deep")

    snapshot = world.make(PROJECT)

    require_whole(world.stored(snapshot), snapshot)
    assert (world.stored(snapshot) / "files" / Path(*["d"] * 150) / "file").read_text() == "deep"
    assert (world.stored(snapshot) / "files" / Path(*["d"] * 20) / "other").read_text() == "less deep"


def test_a_tree_deeper_than_recursion_can_be_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    remove_tree(top)

    assert not top.exists()

"""What snapshots share: unchanged files are links to one stored copy, within a scope and between site and project."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup import copying, damage
from keyframe.model import OutcomeStatus, Scope, Snapshot
from keyframe.stores import draft_files, rows, seen, taking
from keyframe.stores.disk import remove_tree
from keyframe.stores.draft_files import DraftFiles
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
    take = taking.take

    def told(row: Any, *args: Any) -> Any:
        paths.append(os.fsdecode(row.path))
        return take(row, *args)

    monkeypatch.setattr(DraftFiles, "way", lambda *_: None)  # each file by itself
    monkeypatch.setattr(taking, "take", told)
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


@pytest.mark.parametrize("scope", [PROJECT, SITE])
def test_a_restored_file_is_linked_again_and_not_read(world: World, copied: list[str], scope: Scope) -> None:
    inside = MODEL if scope == PROJECT else f"project/{PROJECT.project_id}/{MODEL}"
    first = world.make(scope)
    world.spoil()
    world.restore(first, PROJECT if scope == PROJECT else SITE)
    world.write("new.txt", "new")
    copied.clear()

    last = world.make(PROJECT)

    assert copied == ["new.txt"]
    assert inode(world, last) == inode(world, first, inside)
    require_whole(world.stored(last), last)


def test_a_file_that_was_restored_just_now_is_read_and_linked(
    world: World, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (seen, rows):
        monkeypatch.setattr(module, "RACY_NS", 2_000_000_000)
    first = world.make(PROJECT)
    world.spoil()
    world.restore(first)
    world.write("new.txt", "new")
    copied.clear()

    last = world.make(PROJECT)

    assert MODEL in copied  # two writes within a few milliseconds may leave one stamp
    assert inode(world, last) == inode(world, first)
    require_whole(world.stored(last), last)


def test_a_stamp_that_is_too_young_hides_no_second_write(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (seen, rows):
        monkeypatch.setattr(module, "RACY_NS", 2_000_000_000)
    first = world.make(PROJECT)
    world.spoil()
    world.restore(first)
    model = world.folder(PROJECT) / MODEL
    stamp, size = model.stat().st_mtime_ns, model.stat().st_size
    model.write_bytes(b"x" * size)
    os.utime(model, ns=(stamp, stamp))

    last = world.make(PROJECT)

    assert stored(world, last, MODEL).read_bytes() == b"x" * size
    assert stored(world, first, MODEL).read_bytes() != b"x" * size


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


@pytest.mark.parametrize(
    ("damage", "code"),
    [("cut", "damaged.file-size"), ("touched", "noted.attributes"), ("gone", "damaged.file-missing")],
)
def test_a_stored_copy_that_is_not_as_written_is_not_inherited(world: World, damage: str, code: str) -> None:
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
    assert [(one.code, one.subject) for one in second.warnings] == [(code, MODEL)]
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


def spoil(path: Path) -> None:
    """Other bytes under the same size and time, as a bad sector has them."""
    stat = path.stat()
    with open(path, "r+b") as file:
        file.write(b"!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def verify(world: World, snapshot: Snapshot) -> OutcomeStatus:
    return world.done(world.office.desk.verify(world.ask, snapshot.scope, snapshot.name)).status


@pytest.mark.parametrize("place", ["here", "trash"])
def test_what_was_found_damaged_in_one_snapshot_is_not_shared_from_another(world: World, place: str) -> None:
    first, whole = world.make(PROJECT), world.make(SITE)
    world.write("new.txt", "new")
    second = world.make(PROJECT)
    scene = f"{TOP}/scene.svx.json"
    spoil(stored(world, first, MODEL))
    assert inode(world, first) == inode(world, second)

    assert verify(world, first) is OutcomeStatus.FAILED
    if place == "trash":
        world.office.desk.delete(world.ask, PROJECT, first.name)
    third, site = world.make(PROJECT), world.make(SITE)

    assert third.name != second.name and site.name != whole.name  # though nothing changed live
    assert [(one.code, one.subject) for one in third.warnings] == [("damaged.file-bytes", MODEL)]
    for snapshot, path in ((third, MODEL), (site, f"project/{PROJECT.project_id}/{MODEL}")):
        assert inode(world, snapshot, path) != inode(world, second)
        require_whole(world.stored(snapshot), snapshot)
    assert inode(world, third, scene) == inode(world, second, scene)
    again = world.done(world.office.desk.make(world.ask, PROJECT))
    assert (again.status, again.snapshot) == (OutcomeStatus.UNCHANGED, third.name)


def test_where_more_is_damaged_than_is_named_nothing_of_that_snapshot_is_shared(world: World) -> None:
    for number in range(30):
        world.write(f"many/{number:02}", "x" * 100)
    first = world.make(PROJECT)
    world.write("new.txt", "new")
    second = world.make(PROJECT)
    for number in range(30):
        spoil(stored(world, first, f"many/{number:02}"))

    assert verify(world, first) is OutcomeStatus.FAILED
    third = world.make(PROJECT)

    paths = [*(f"many/{number:02}" for number in range(30)), MODEL]
    assert not [path for path in paths if inode(world, third, path) == inode(world, second, path)]
    assert inode(world, third, "new.txt") == inode(world, second, "new.txt")
    require_whole(world.stored(third), third)


def test_a_damaged_name_that_no_database_can_hold_is_found_all_the_same(world: World) -> None:
    odd = "odd\udcff"
    (world.folder(PROJECT) / odd).write_text("some bytes")
    first = world.make(PROJECT)
    world.write("new.txt", "new")
    world.make(PROJECT)
    spoil(stored(world, first, odd))

    assert verify(world, first) is OutcomeStatus.FAILED
    third = world.make(PROJECT)

    require_whole(world.stored(third), third)


def test_a_dump_that_was_found_damaged_in_one_snapshot_is_not_shared_from_another(world: World) -> None:
    first = world.make(PROJECT)
    world.write("new.txt", "new")
    second = world.make(PROJECT)
    spoil(world.stored(first) / "db/json/edition.json")
    assert (world.stored(second) / "db/json/edition.json").stat().st_nlink == 2

    assert verify(world, first) is OutcomeStatus.FAILED
    world.write("new.txt", "newer")
    third = world.make(PROJECT)

    require_whole(world.stored(third), third)


def test_where_too_much_is_damaged_to_be_remembered_nothing_is_shared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "_MOST", 0)
    first = world.make(PROJECT)
    world.write("new.txt", "new")
    second = world.make(PROJECT)
    spoil(stored(world, first, MODEL))

    assert verify(world, first) is OutcomeStatus.FAILED
    third = world.make(PROJECT)

    assert not [path for path in (MODEL, "new.txt") if inode(world, third, path) == inode(world, second, path)]
    require_whole(world.stored(third), third)


def test_a_renamed_file_is_linked_to_its_copy(world: World) -> None:
    first = world.make(PROJECT)
    model = world.folder(PROJECT) / MODEL
    model.rename(model.with_name("moved.glb"))

    second = world.make(PROJECT)

    assert inode(world, second, f"{TOP}/moved.glb") == inode(world, first)
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


def test_what_is_spoilt_in_what_the_last_make_knew_is_in_no_manifest(world: World) -> None:
    first = world.make()
    (known,) = (world.settings.data / ".keyframe/known").iterdir()
    digest = hashlib.sha256((world.folder(PROJECT) / MODEL).read_bytes()).digest()
    content = known.read_bytes()
    assert digest in content
    known.write_bytes(content.replace(digest, bytes([digest[0] ^ 1]) + digest[1:]))
    world.write("more.txt")

    second = world.make()

    assert second.name != first.name
    require_whole(world.stored(second), second)
    assert inode(world, first) == inode(world, second)

"""Room: what a snapshot is said to need, and what works on real disks that are full, fill up, or are two."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from failing import DONE, FAILED, Faults, impatient, require_clean
from keyframe.backup import make, room
from keyframe.errors import KeyframeError, NoRoomError
from keyframe.model import Scope, Snapshot
from keyframe.stores.disk import require_room
from keyframe.stores.mongo import Mongo
from small_disk import fill_up, mounted
from whole import require_whole
from world import EDITION, OTHER, PROJECT, SITE, World, new_world

MODEL = f"edition/{EDITION[0]}/model.glb"


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return impatient(monkeypatch)


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, mongo_uri: str, tmp_path: Path, faults: Faults) -> Iterator[World]:
    """A world whose data directory is a file system of 8 MB."""
    data = tmp_path / "var/data"
    if not mounted(request.param, data, 8):
        pytest.skip(f"no {request.param} can be mounted here")
    try:
        with new_world(mongo_uri, tmp_path) as world:
            yield world
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


def listed(world: World, scope: Scope = PROJECT) -> list[str]:
    return [one.name for one in world.office.desk.snapshots(world.ask, scope).items]


# --- what is needed


def needed(world: World, scope: Scope, newest: Snapshot | None) -> int:
    return room.records_needed(world.office.work._backup._stores, scope, newest)


def test_records_that_did_not_change_need_no_room(world: World) -> None:
    before = needed(world, SITE, None)
    snapshot = world.make(SITE)

    assert before > 500
    assert needed(world, SITE, snapshot) == 0
    assert needed(world, PROJECT, world.make(PROJECT)) == 0
    world.db.site.insert_one({"_id": "more", "text": "x" * 100_000})
    assert 100_000 < needed(world, SITE, snapshot) < 400_000  # this collection, as BSON and as JSON


def test_a_project_needs_room_for_its_own_records_only(world: World) -> None:
    world.db.edition.insert_one({"_id": "big", "projectId": OTHER.project_id, "text": "x" * 1_000_000})

    assert needed(world, PROJECT, None) < needed(world, SITE, None)


def test_a_snapshot_that_cannot_fit_is_refused_with_both_numbers_before_anything_is_written(
    small: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = small.make(PROJECT)
    (small.folder(PROJECT) / "big.bin").write_bytes(os.urandom(20_000_000))
    copied: list[Any] = []
    monkeypatch.setattr("keyframe.backup.copying.Copying.bulk", lambda *_: copied.append(1))

    outcome = small.done(small.office.desk.make(small.ask, PROJECT))

    assert outcome.status is FAILED
    assert outcome.problems[0].code == "no-room"
    assert "needs about 20.0 MB" in outcome.problems[0].what and "MB free" in outcome.problems[0].what
    assert not copied
    assert listed(small) == [older.name]


def test_files_that_are_shared_are_not_counted(small: World) -> None:
    (small.folder(PROJECT) / "big.bin").write_bytes(os.urandom(5_000_000))
    small.make(PROJECT)
    small.write("more.txt")

    assert small.make(PROJECT).status.value == "done"  # there is no room for another 5 MB


# --- a disk that fills up all the same


@pytest.mark.parametrize("what", ["files", "records"])
def test_a_disk_that_fills_up_in_the_middle_leaves_nothing_behind(
    small: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    older = small.make(PROJECT)
    inodes = {path: path.stat().st_ino for path in small.stored(older).rglob("*")}
    if what == "files":
        for number in range(6):
            (small.folder(PROJECT) / f"{number}.bin").write_bytes(os.urandom(2_000_000))
    else:
        own = small.db.project.find_one()
        assert own is not None
        texts = [os.urandom(250_000).hex() for _ in range(20)]
        rows = [{"projectId": own["_id"], "title": str(n), "text": text} for n, text in enumerate(texts)]
        small.db.edition.insert_many(rows)
    before = small.state()
    monkeypatch.setattr(make, "require_room", lambda *_: None)

    outcome = small.done(small.office.desk.make(small.ask, PROJECT))

    assert outcome.status is FAILED
    assert [one.code for one in outcome.problems] == ["no-room"]
    assert listed(small) == [older.name]
    assert {path: path.stat().st_ino for path in small.stored(older).rglob("*")} == inodes
    require_clean(small)
    assert small.state() == before


# --- a disk that is full


def test_on_a_full_disk_snapshots_are_listed_shown_verified_deleted_and_put_back(small: World) -> None:
    desk = small.office.desk
    older, before = small.make(PROJECT), small.state()
    small.spoil()
    spoilt = small.state()
    filler = fill_up(small.settings.data)

    assert listed(small) == [older.name]
    assert desk.snapshot(small.ask, PROJECT, older.name).files == older.files
    assert small.done(desk.verify(small.ask, PROJECT, older.name)).status is DONE
    with pytest.raises(KeyframeError) as caught:
        desk.note(small.ask, PROJECT, older.name, "a note")
    assert caught.value.code == "no-room"
    desk.delete(small.ask, PROJECT, older.name)
    assert listed(small) == []
    gone = desk.snapshots(small.ask, PROJECT, trash=True).items[0]
    assert gone.name == older.name and gone.deleted_at is not None
    desk.undelete(small.ask, PROJECT, older.name)
    assert listed(small) == [older.name]
    assert desk.snapshot(small.ask, PROJECT, older.name).deleted_at is None
    for outcome in (small.done(desk.preview(small.ask, PROJECT, older.name)), small.restore(older)):
        assert outcome.status is FAILED
        assert outcome.problems[0].code == "no-room"
        assert "needs about" in outcome.problems[0].what and "MB free" in outcome.problems[0].what
    assert small.state() == spoilt
    filler.unlink()
    assert small.restore(older).status is DONE
    assert small.state() == before
    require_clean(small)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_what_was_seen_can_be_opened_on_a_full_disk(kind: str, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    if not mounted(kind, disk, 8):
        pytest.skip(f"no {kind} can be mounted here")
    code = "import sys, pathlib; from keyframe.stores.seen import Seen; print(Seen(pathlib.Path(sys.argv[1])).token())"
    asking = [sys.executable, "-c", code, str(disk / "seen.sqlite")]
    try:
        before = subprocess.run(asking, capture_output=True, check=True).stdout
        fill_up(disk)

        full = subprocess.run(asking, capture_output=True)

        assert full.returncode == 0, full.returncode
        assert full.stdout == before != b""
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_labels_that_say_deleted_count_for_nothing_where_the_snapshot_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = world.make(PROJECT)
    world.office.desk.delete(world.ask, PROJECT, older.name)

    def full(*_: object) -> None:
        raise NoRoomError("the disk is full.", subject="labels", hint="")

    monkeypatch.setattr("keyframe.stores.repository.Repository._relabel", full)
    back = world.office.desk.undelete(world.ask, PROJECT, older.name)

    assert back.deleted_at is None and back.deleted_by == ""


def test_on_a_disk_that_may_only_be_read_snapshots_are_listed_shown_and_verified(small: World) -> None:
    desk, data = small.office.desk, small.settings.data
    older, before = small.make(PROJECT), small.state()
    small.spoil()
    subprocess.run(["mount", "--bind", str(data), str(data)], check=True)  # over it, as nothing open stands in the way
    subprocess.run(["mount", "-o", "remount,ro,bind", str(data)], check=True)
    try:
        assert listed(small) == [older.name]
        assert desk.snapshot(small.ask, PROJECT, older.name).name == older.name
        assert small.done(desk.verify(small.ask, PROJECT, older.name)).status is DONE
        made = small.done(desk.make(small.ask, PROJECT))
        with pytest.raises(KeyframeError) as caught:
            desk.delete(small.ask, PROJECT, older.name)
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)
    assert made.problems[0].code == caught.value.code == "unavailable"
    for what in (made.problems[0].what, caught.value.what):
        assert "Read-only file system" in what
    assert small.restore(older).status is DONE
    assert small.state() == before


# --- two file systems


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    other = tmp_path / "other"
    if not mounted("tmpfs", other, 8):
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield other
    finally:
        subprocess.run(["umount", "-l", str(other)], check=True)


def test_copies_on_another_file_system_are_copied_again_and_the_rest_is_linked(
    world: World, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyframe.stores.seen.RACY_NS", -(1 << 62))
    monkeypatch.setattr("keyframe.stores.rows.RACY_NS", -(1 << 62))
    of_project = world.make(PROJECT)
    of_other = world.make(OTHER)
    moved = world.stored(of_project)  # by hand, to another disk
    shutil.copytree(moved, other_disk / moved.name, symlinks=True, copy_function=shutil.copy2)
    shutil.rmtree(moved)
    moved.symlink_to(other_disk / moved.name)

    with structlog.testing.capture_logs() as logs:
        of_site = world.make(SITE)

    top = world.stored(of_site) / "files/project"
    theirs = top / f"{OTHER.project_id}/edition/{EDITION[2]}/model.glb"
    ours = top / f"{PROJECT.project_id}/{MODEL}"
    assert theirs.samefile(world.stored(of_other) / f"files/edition/{EDITION[2]}/model.glb")
    assert ours.stat().st_dev != (moved / "files" / MODEL).stat().st_dev
    assert ours.read_bytes() == (moved / "files" / MODEL).read_bytes()
    assert [one["why"] for one in logs if one["event"] == "files.not-linked"] == ["Invalid cross-device link"]
    require_whole(world.stored(of_site), of_site)
    world.spoil()
    assert world.restore(of_project).status is DONE


def test_copies_on_another_file_system_count_as_needed(
    world: World, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (world.folder(PROJECT) / "big.bin").write_bytes(bytes(5_000_000))
    older = world.make(PROJECT)
    asked: list[int] = []

    def told(folder: Path, number: int, what: str, names: int) -> None:
        asked.append(number)
        require_room(folder, number, what, names)

    monkeypatch.setattr(make, "require_room", told)
    world.make(PROJECT)
    stored = world.stored(older)
    shutil.copytree(stored, other_disk / stored.name, symlinks=True)
    shutil.rmtree(stored)
    stored.symlink_to(other_disk / stored.name)
    world.make(PROJECT)

    assert asked[0] < 1_000_000 < 5_000_000 < asked[1]


@pytest.mark.parametrize("small", ["ext4"], indirect=True)
def test_a_disk_that_has_no_room_for_so_many_names_is_told_with_both_numbers(small: World) -> None:
    older = small.make(PROJECT)
    free = os.statvfs(small.settings.data).f_favail
    for number in range(free):
        small.write(f"many/{number:05}", "")

    outcome = small.done(small.office.desk.make(small.ask, PROJECT))

    assert (outcome.status, [one.code for one in outcome.problems]) == (FAILED, ["no-room"])
    found = re.findall(r"([\d,]+) new files and folders, the disk has room for ([\d,]+)", outcome.problems[0].what)
    wanted, has = (int(one.replace(",", "")) for one in found[0])
    assert wanted > free >= has
    assert listed(small) == [older.name]
    shutil.rmtree(small.folder(PROJECT) / "many")
    small.write("one more.txt", "")
    assert small.done(small.office.desk.make(small.ask, PROJECT)).status is DONE


def test_a_restore_for_whose_records_the_server_has_no_room_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    monkeypatch.setattr(Mongo, "free_bytes", lambda _: 10)

    outcome = world.restore(snapshot)

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "no-room")
    assert "MB" in outcome.problems[0].what and "0.0 MB free" in outcome.problems[0].what
    assert world.state() == before


def test_the_server_tells_its_room(world: World) -> None:
    free = Mongo(world.client, world.db.name, "control", world.settings.scopes).free_bytes()

    assert free is not None
    assert free > 10**8


def test_a_restore_whose_safety_snapshot_finds_no_room_is_refused_with_both_numbers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()

    def full(*_: object) -> None:
        raise NoRoomError("the snapshot needs about 4.2 MB, the disk has 1.1 MB free.", subject="disk")

    monkeypatch.setattr(make, "require_room", full)
    outcome = world.restore(snapshot)

    assert (outcome.status, outcome.problems[0].code) == ("refused", "no-room")
    assert "4.2 MB" in outcome.problems[0].what and "1.1 MB" in outcome.problems[0].what
    assert "safety snapshot" in outcome.problems[0].hint
    assert world.state() == before
    require_clean(world)

"""Extended attributes and access lists: kept, shared only where they are equal, compared and brought back."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from failing import Faults
from keyframe.model import OutcomeStatus, Snapshot
from keyframe.stores import attributes, rows, seen
from keyframe.stores.attributes import read
from keyframe.stores.validator import Validator
from whole import require_whole
from world import EDITION, PROJECT, SITE, World

TOP = f"edition/{EDITION[0]}"
MODEL = f"{TOP}/model.glb"
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
UNDECODABLE = b"user.\xff"


def acl(*entries: tuple[int, int, int]) -> bytes:
    """An access list as the kernel takes it: tag, permissions, id."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)


NOBODY = 0xFFFF_FFFF
LIST = acl((1, 6, NOBODY), (2, 4, 1234), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))
INHERITED = acl((1, 7, NOBODY), (2, 7, 1234), (4, 5, NOBODY), (16, 7, NOBODY), (32, 5, NOBODY))


@pytest.fixture(autouse=True)
def kept_here(tmp_path: Path) -> None:
    try:
        os.setxattr(tmp_path, "user.one", b"")
    except OSError:
        pytest.skip("the file system of the tests has no attributes")
    os.removexattr(tmp_path, "user.one")


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stamps are trusted at once: the files of a test are younger than two seconds."""
    monkeypatch.setattr(seen, "RACY_NS", -(1 << 62))
    monkeypatch.setattr(rows, "RACY_NS", -(1 << 62))


def all_of(top: Path) -> dict[str, Any]:
    """The attributes of everything below a folder, and of itself."""
    found = {}
    for path in (top, *sorted(top.rglob("*"))):
        if here := read(str(path)):
            found[str(path.relative_to(top))] = here
    return found


def adorn(world: World) -> dict[str, Any]:
    top = world.folder(PROJECT)
    model, folder = top / MODEL, top / TOP / "articles"
    os.setxattr(model, "user.author", b"Anna")
    os.setxattr(model, "user.empty", b"")
    os.setxattr(model, UNDECODABLE, bytes(range(256)))
    os.setxattr(model, ACCESS, LIST)
    os.setxattr(top, "user.top", b"\0\xff")
    os.setxattr(folder, "user.folder", b"1")
    os.setxattr(folder, DEFAULT, INHERITED)
    (top / "link").symlink_to("/nowhere")
    if os.geteuid() == 0:
        os.setxattr(model, "trusted.keyframe", b"2")
        os.setxattr(model, "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
        os.setxattr(top / "link", "trusted.link", b"3", follow_symlinks=False)
    return all_of(top)


def verdict(folder: Path) -> list[str]:
    return [one.code for one in Validator(folder).run(datetime.now(UTC)).problems]


def files_of(world: World, snapshot: Snapshot) -> Path:
    return world.stored(snapshot) / "files"


def test_attributes_are_stored_and_come_back(world: World) -> None:
    before, state = adorn(world), world.state()
    assert UNDECODABLE in dict(before[MODEL])
    snapshot = world.make(PROJECT)
    require_whole(world.stored(snapshot), snapshot)
    assert all_of(files_of(world, snapshot)) == before
    assert verdict(world.stored(snapshot)) == []
    top = world.folder(PROJECT)
    world.spoil()
    for path in (top, top / TOP / "articles"):
        for name, _ in read(str(path)):
            os.removexattr(path, name)
    os.setxattr(top / TOP, "user.more", b"too much")
    (top / "link").unlink()

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.DONE
    assert world.state() == state
    assert all_of(top) == before


def test_only_an_attribute_is_a_change_that_is_undone_without_copying(world: World) -> None:
    before = adorn(world)
    snapshot = world.make(PROJECT)
    model = world.folder(PROJECT) / MODEL
    inode = model.stat().st_ino
    os.setxattr(model, "user.author", b"Otto")
    os.removexattr(model, ACCESS)
    os.chmod(model, 0o640)
    spoilt = all_of(world.folder(PROJECT))

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot)

    assert (plan.replaces.files, plan.bytes_needed) == (1, 0)
    assert outcome.status is OutcomeStatus.DONE
    assert all_of(world.folder(PROJECT)) == before
    assert model.stat().st_ino == inode

    assert outcome.safety is not None
    undo = world.office.desk.undo(world.ask, PROJECT, outcome.safety)
    assert world.done(undo).status is OutcomeStatus.DONE
    assert all_of(world.folder(PROJECT)) == spoilt


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("where", [MODEL, TOP, "."])
def test_only_an_attribute_makes_another_snapshot(world: World, where: str) -> None:
    first = world.make(PROJECT)
    os.setxattr(world.folder(PROJECT) / where, "user.new", b"1")

    second = world.make(PROJECT)

    assert second.name != first.name
    assert all_of(files_of(world, first)) == {}
    assert all_of(files_of(world, second)) == {where: ((b"user.new", b"1"),)}
    again = world.done(world.office.desk.make(world.ask, PROJECT, ""))
    assert again.status is OutcomeStatus.UNCHANGED


@pytest.mark.usefixtures("trusting")
def test_a_stored_copy_is_shared_only_with_the_same_attributes(world: World) -> None:
    model = world.folder(PROJECT) / MODEL
    os.setxattr(model, "user.new", b"1")
    first = world.make(PROJECT)
    os.setxattr(model, "user.new", b"2")
    world.preview(first)  # what was read for it is seen, and says nothing of the stored copy

    of_site = world.make(SITE)
    os.setxattr(model, "user.new", b"1")
    third = world.make(PROJECT)

    inside = f"project/{PROJECT.project_id}/{MODEL}"
    copies = [files_of(world, first) / MODEL, files_of(world, of_site) / inside, files_of(world, third) / MODEL]
    assert [os.getxattr(one, "user.new") for one in copies] == [b"1", b"2", b"1"]
    assert copies[0].stat().st_ino != copies[1].stat().st_ino
    assert copies[0].stat().st_ino == copies[2].stat().st_ino  # equal to the stored copy again


def test_without_what_was_seen_attributes_are_looked_at(world: World) -> None:
    model = world.folder(PROJECT) / MODEL
    os.setxattr(model, "user.new", b"1")
    first = world.make(PROJECT)
    for path in (world.settings.data / ".keyframe").glob("seen.sqlite*"):
        path.unlink()
    os.setxattr(model, "user.new", b"2")

    second = world.make(PROJECT)

    assert os.getxattr(files_of(world, first) / MODEL, "user.new") == b"1"
    assert os.getxattr(files_of(world, second) / MODEL, "user.new") == b"2"


@pytest.mark.usefixtures("trusting")
def test_attributes_of_unchanged_files_are_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    adorn(world)
    world.make(PROJECT)
    listed: list[Any] = []
    real = os.listxattr
    monkeypatch.setattr(os, "listxattr", lambda place, **how: listed.append(place) or real(place, **how))

    outcome = world.done(world.office.desk.make(world.ask, PROJECT, ""))

    assert outcome.status is OutcomeStatus.UNCHANGED
    top = world.folder(PROJECT)
    others = [one for one in (top, *top.rglob("*")) if one.is_symlink() or one.is_dir()]
    assert 0 < len(listed) <= 3 * len(others)  # three looks at directories and links: before, in and after the gate


def test_a_default_list_around_it_is_not_handed_down_to_what_is_stored_or_restored(world: World) -> None:
    for place in (world.settings.working, world.settings.data):
        place.mkdir(parents=True, exist_ok=True)
        os.setxattr(place, DEFAULT, INHERITED)
    snapshot = world.make(PROJECT)
    before = all_of(world.folder(PROJECT))
    world.spoil()

    assert world.restore(snapshot).status is OutcomeStatus.DONE

    assert all_of(files_of(world, snapshot)) == before == {}
    assert all_of(world.folder(PROJECT)) == {}


def test_a_file_system_without_attributes_keeps_none_and_misses_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    adorn(world)
    with_them = world.make(PROJECT)
    faults = Faults(monkeypatch)
    for name in ("listxattr", "getxattr", "setxattr", "removexattr"):
        faults.at(os, name, lambda: OSError(errno.EOPNOTSUPP, "Operation not supported"))
    state = world.state()
    world.spoil()

    outcome = world.restore(with_them)
    without = world.make(PROJECT)

    assert outcome.status is OutcomeStatus.DONE
    assert world.state() == state
    assert without.status.value == "done"
    assert not any("attributes" in line for line in lines(world, without))
    assert world.preview(with_them).is_empty
    assert verdict(world.stored(with_them)) == []


def lines(world: World, snapshot: Snapshot) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (world.stored(snapshot) / "manifest.jsonl").read_text().splitlines()]


def test_a_disk_that_takes_no_attributes_for_stored_copies_is_no_problem(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = adorn(world)
    with monkeypatch.context() as patch:
        Faults(patch).at(os, "setxattr", lambda: OSError(errno.ENOSPC, "No space left on device"))
        snapshot = world.make(PROJECT)
    assert snapshot.status.value == "done"
    assert set(verdict(world.stored(snapshot))) == {"noted.attributes"}
    world.spoil()
    os.setxattr(world.folder(PROJECT), "user.top", b"other")

    assert world.restore(snapshot).status is OutcomeStatus.DONE
    assert all_of(world.folder(PROJECT)) == before


def test_a_lost_attribute_of_a_stored_file_is_noted(world: World) -> None:
    adorn(world)
    snapshot = world.make(PROJECT)

    os.removexattr(files_of(world, snapshot) / MODEL, "user.author")

    assert verdict(world.stored(snapshot)) == ["noted.attributes"]


def test_the_stored_tree_brings_them_back_with_cp(world: World, tmp_path: Path) -> None:
    before = adorn(world)
    snapshot = world.make(PROJECT)

    subprocess.run(["cp", "-a", files_of(world, snapshot), tmp_path / "copy"], check=True)

    assert all_of(tmp_path / "copy") == before


def test_names_of_the_machine_are_not_kept() -> None:
    for name in (b"security.selinux", b"security.ima", b"trusted.overlay.opaque", b"system.nfs4_acl", b"user."):
        assert not attributes.is_known(name)

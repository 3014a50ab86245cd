"""Disks that do not keep all of a file: owners that root may not give, modes, fine times; names in any case."""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyframe.backup import copying, filling, helpers
from keyframe.model import OutcomeStatus
from keyframe.stores import keeping, seen
from keyframe.stores.disk import names_in
from keyframe.stores.keeping import WHOLE, Keeping, keeping_of
from keyframe.stores.trees import Tree
from keyframe.stores.walking import Stored, sheets_beside
from whole import require_whole
from world import PROJECT, World

OLD_ENOUGH = seen.RACY_NS / 1e9 + 0.1
REGULAR = 0o100644
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def without_chown() -> Iterator[None]:
    """A root who may not give files away, as on a network share; so are the threads and programs that he starts."""
    libc, header, data = ctypes.CDLL(None, use_errno=True), _Header(0x20080522, 0), (_Data * 2)()
    assert libc.capget(ctypes.byref(header), data) == 0
    before = data[0].effective
    data[0].effective &= ~1  # CAP_CHOWN
    assert libc.capset(ctypes.byref(header), data) == 0
    keeping._tried.cache_clear()
    try:
        yield
    finally:
        data[0].effective = before
        assert libc.capset(ctypes.byref(header), data) == 0
        keeping._tried.cache_clear()


def give_away(world: World) -> None:
    for path in [world.folder(PROJECT), *world.folder(PROJECT).rglob("*")]:
        os.chown(path, 1234, 4321, follow_symlinks=False)


@as_root
@pytest.mark.parametrize("helped", [True, False])
def test_where_owners_are_refused_files_are_shared_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch, helped: bool
) -> None:
    if helped:
        for module, name in ((copying, "WORTH_COPYING"), (filling, "WORTH_COPYING"), (helpers, "WORTH_WALKING")):
            monkeypatch.setattr(module, name, 0)
        monkeypatch.setattr(helpers, "_BRANCHES", 2)
    (world.folder(PROJECT) / "link").symlink_to("nowhere")
    give_away(world)
    time.sleep(OLD_ENOUGH)

    with without_chown():
        one = world.make(PROJECT)
        assert world.make(PROJECT).name == one.name
        world.write("new.txt", "new")
        two = world.make(PROJECT)
        for path in (world.settings.data / ".keyframe").rglob("*"):  # what was seen; the manifest is left
            if path.is_file() and ("seen" in path.name or path.parent.name == "known"):
                path.unlink()
        assert world.make(PROJECT).name == two.name

    assert (one.warnings, two.warnings, two.problems) == ((), (), ())
    places = [world.stored(snapshot) / "files" for snapshot in (one, two)]
    stored = [path.relative_to(places[0]) for path in places[0].rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(stored) > 3
    assert all((places[0] / path).stat().st_ino == (places[1] / path).stat().st_ino for path in stored)
    if not helped:  # a program that root starts may give files away again
        assert {(places[0] / path).stat().st_uid for path in stored} == {0}
    assert b'"uid":1234,"gid":4321' in (world.stored(one) / "manifest.jsonl").read_bytes()
    require_whole(world.stored(two), two)


@as_root
def test_copies_that_another_user_wrote_are_not_called_damaged_by_root(world: World) -> None:
    give_away(world)
    time.sleep(OLD_ENOUGH)
    with without_chown():
        one = world.make(PROJECT)
    world.write("new.txt", "new")

    two = world.make(PROJECT)

    assert two.name != one.name
    assert two.warnings == ()
    owners = {path.lstat().st_uid for path in (world.stored(two) / "files/edition").rglob("*")}
    assert owners == {1234}


@as_root
def test_a_disk_that_keeps_all_is_known_as_such(tmp_path: Path) -> None:
    assert keeping_of(tmp_path) == WHOLE
    assert keeping_of(tmp_path / "away") == WHOLE
    assert names_in(tmp_path) == []


def test_what_is_not_kept_is_not_compared() -> None:
    coarse = Keeping(owners=False, modes=False, grain=2_000_000_000)
    assert coarse.pressed(REGULAR, 1, 2, 3, 5_999_999_999) == coarse.pressed(0o100600, 7, 8, 3, 4_000_000_000)
    for other in ((REGULAR, 1, 2, 4, 0), (REGULAR, 1, 2, 3, 2_000_000_000), (0o120777, 1, 2, 3, 0)):
        assert coarse.pressed(*other) != coarse.pressed(REGULAR, 1, 2, 3, 0)
    whole = [(REGULAR, 1, 2, 3, 4), (REGULAR, 9, 2, 3, 4), (REGULAR, 1, 2, 3, 5), (0o100640, 1, 2, 3, 4)]
    assert len({WHOLE.pressed(*one) for one in whole}) == 4


def test_a_stored_tree_with_coarse_times_is_as_it_was_written(tmp_path: Path) -> None:
    for place, stamp in (("live", 1_700_000_000_123_456_789), ("stored", 1_700_000_000_000_000_000)):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a").write_text("a")
        os.utime(tmp_path / place / "a", ns=(stamp, stamp))

    def kept(keeping: Keeping) -> list[bytes | None]:
        stored = Stored(tmp_path / "stored", tmp_path.stat().st_dev, keeping)
        return [sheet.kept for sheet in sheets_beside(Tree(tmp_path / "live"), stored, print)]

    assert kept(WHOLE) == [b"", b"\0"]
    assert kept(Keeping(grain=1_000_000_000)) == [b"", b""]


def test_where_two_names_would_be_one_nothing_is_stored(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: exists(path.with_name(path.name.lower())))

    outcome = world.done(world.office.desk.make(world.ask, PROJECT))
    monkeypatch.undo()

    assert outcome.status is OutcomeStatus.FAILED
    assert "upper and lower case" in outcome.problems[0].what
    assert world.office.desk.snapshots(world.ask, PROJECT).items == ()

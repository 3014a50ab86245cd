"""What snapshots have shared for long is copied anew, a little at a time: one bad sector cannot hurt them all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup import freshening
from keyframe.model import OutcomeStatus, Snapshot
from keyframe.stores.births import born_ns
from whole import require_whole
from world import EDITION, PROJECT, World, new_world

MODEL = f"edition/{EDITION[0]}/model.glb"
MANY = [f"many/{number:03}.bin" for number in range(200)]
SIZE = 1000


class Clock:
    """The clock of the server, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def old(mongo_uri: str, tmp_path: Path, clock: Clock) -> Iterator[World]:
    """A site with many files of one size, and a snapshot of it."""
    with new_world(mongo_uri, tmp_path, clock) as world:
        for path in MANY:
            world.write(path, "x" * SIZE)
        world.make(PROJECT)
        if born_ns(os.open(tmp_path, os.O_RDONLY), "var") is None:
            pytest.skip("this file system does not tell how old a file is")
        yield world


def inodes(world: World, snapshot: Snapshot) -> dict[str, int]:
    top = world.stored(snapshot) / "files"
    return {
        str(one.relative_to(top)): one.stat().st_ino for one in top.rglob("*") if one.is_file() and not one.is_symlink()
    }


def renewed(world: World, before: Snapshot, after: Snapshot) -> list[str]:
    """The unchanged files that both snapshots hold and do not share."""
    one, other = inodes(world, before), inodes(world, after)
    return sorted(path for path in one if path != "new.txt" and path in other and one[path] != other[path])


def newest(world: World) -> Snapshot:
    return world.office.desk.snapshots(world.ask, PROJECT).items[0]


def change(world: World) -> Snapshot:
    world.write("new.txt")
    return world.make(PROJECT)


def test_a_twentieth_of_the_bytes_is_copied_anew_when_it_is_old(old: World, clock: Clock) -> None:
    first, live = newest(old), (old.folder(PROJECT) / MANY[0]).stat()
    clock.ahead = timedelta(days=91)

    second, third = change(old), change(old)

    found = renewed(old, first, second)
    limit = second.bytes // 20
    assert limit - SIZE < sum((old.stored(second) / "files" / path).stat().st_size for path in found) <= limit
    assert renewed(old, second, third)
    for snapshot in (second, third):
        require_whole(old.stored(snapshot), snapshot)
    assert inodes(old, second)[MANY[0]] != live.st_ino


def test_what_was_copied_anew_is_young_again(old: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    birth = Births(monkeypatch, clock)
    clock.ahead = timedelta(days=91)
    rounds = []
    for _ in range(3):
        before = newest(old)
        rounds.append(set(renewed(old, before, change(old))))

    assert all(rounds) and not rounds[0] & rounds[1] and not (rounds[0] | rounds[1]) & rounds[2]
    assert birth.asked


class Births:
    """Births as they would be if the clock were right: what was made after it was put forward is young."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
        self.asked: list[str] = []
        began = time.time_ns()

        def born(folder: int, name: str) -> int | None:
            self.asked.append(name)
            real = born_ns(folder, name)
            return real if real is None or real < began else real + int(clock.ahead.total_seconds() * 1e9)

        monkeypatch.setattr(freshening.Freshening.__init__, "__defaults__", (born,))


@pytest.mark.parametrize(("days", "setting"), [(89, 90), (1000, 0), (6, 7)])
def test_what_is_young_or_never_to_be_renewed_is_shared(old: World, clock: Clock, days: int, setting: int) -> None:
    set_days(old, setting)
    first = newest(old)
    clock.ahead = timedelta(days=days)

    assert renewed(old, first, change(old)) == []


def set_days(world: World, days: int) -> None:
    engine = world.settings.engine.model_copy(update={"fresh_copy_after": days})
    object.__setattr__(world.settings, "engine", engine)


def test_unchanged_stays_unchanged_however_old_the_copies_are(old: World, clock: Clock) -> None:
    first, before = newest(old), inodes(old, newest(old))
    clock.ahead = timedelta(days=1000)

    outcome = old.done(old.office.desk.make(old.ask, PROJECT))

    assert (outcome.status, outcome.snapshot) == (OutcomeStatus.UNCHANGED, first.name)
    assert inodes(old, first) == before


def test_a_file_larger_than_the_share_has_its_turn_alone_and_later(
    old: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    age = timedelta()

    def born(_: int, name: str) -> int:
        return int((clock() - (age if name.startswith("large") else timedelta())).timestamp() * 1e9)

    monkeypatch.setattr(freshening.Freshening.__init__, "__defaults__", (born,))
    old.write("large.bin", "y" * SIZE * 100)
    old.write("larger.bin", "z" * SIZE * 150)
    first = old.make(PROJECT)
    age = timedelta(days=179)
    second = change(old)
    age = timedelta(days=181)
    third = change(old)

    assert renewed(old, first, second) == []
    assert renewed(old, second, third) == ["large.bin"]
    require_whole(old.stored(third), third)


def test_a_file_that_changes_meanwhile_is_shared_as_it_was(
    old: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = newest(old)
    clock.ahead = timedelta(days=91)
    live = [old.folder(PROJECT) / path for path in MANY]
    copied = freshening.Freshening._copy

    def meanwhile(self: Any, row: Any, files: Any) -> bool:
        target = live[MANY.index(os.fsdecode(row.path))] if os.fsdecode(row.path) in MANY else live[0]
        stat = target.stat()
        target.write_text("changed".ljust(SIZE))
        os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        return copied(self, row, files)

    monkeypatch.setattr(freshening.Freshening, "_copy", meanwhile)
    second = change(old)

    assert not [path for path in renewed(old, first, second) if path in MANY]
    require_whole(old.stored(second), second)
    monkeypatch.undo()
    assert old.make(PROJECT).name != second.name


@pytest.mark.parametrize("gone", [FileNotFoundError, PermissionError])
def test_a_live_file_that_cannot_be_read_any_more_is_shared_as_it_was(
    old: World, clock: Clock, monkeypatch: pytest.MonkeyPatch, gone: type[OSError]
) -> None:
    first = newest(old)
    clock.ahead = timedelta(days=91)
    fill = freshening.Freshening._copy

    def refuse(self: Any, row: Any, files: Any) -> bool:
        def fail(*_: object) -> None:
            raise gone

        with monkeypatch.context() as patched:
            patched.setattr(files, "copy", fail)
            return fill(self, row, files)

    monkeypatch.setattr(freshening.Freshening, "_copy", refuse)
    second = change(old)

    assert renewed(old, first, second) == []
    require_whole(old.stored(second), second)


def test_safety_snapshots_renew_nothing(old: World, clock: Clock) -> None:
    first = newest(old)
    clock.ahead = timedelta(days=91)
    old.write("later.txt")

    outcome = old.restore(first)

    safety = old.office.desk.snapshot(old.ask, PROJECT, str(outcome.safety))
    assert (outcome.status, renewed(old, first, safety)) == (OutcomeStatus.DONE, [])


def test_where_nobody_knows_how_old_a_copy_is_it_is_shared(
    old: World, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody: Callable[[int, str], int | None] = lambda _folder, _name: None  # noqa: E731
    monkeypatch.setattr(freshening.Freshening.__init__, "__defaults__", (nobody,))
    first = newest(old)
    clock.ahead = timedelta(days=1000)

    assert renewed(old, first, change(old)) == []


def test_in_a_large_scope_only_some_are_asked(old: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    birth = Births(monkeypatch, clock)
    monkeypatch.setattr(freshening, "_ASKED", 20)

    change(old)

    assert 0 < len(birth.asked) <= 20


def test_the_birth_of_a_file_is_not_changed_by_time_and_links(tmp_path: Path) -> None:
    before = time.time_ns()
    (tmp_path / "a").write_text("x")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        born = born_ns(folder, "a")
        os.utime(tmp_path / "a", ns=(1, 1))
        os.link(tmp_path / "a", tmp_path / "b")

        assert born is None or before - 10**9 < born <= time.time_ns()
        assert born_ns(folder, "b") == born
        assert born_ns(folder, "nothing") is None
    finally:
        os.close(folder)

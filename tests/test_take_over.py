"""What an interrupted make has copied is taken over by the next one, and only what is as it was written."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from crash_child import Crasher
from keyframe.backup import bulk, copying
from keyframe.stores.copies import TargetError
from keyframe.stores.draft_files import DraftFiles
from keyframe.stores.drafts import Drafts
from whole import require_whole
from world import SITE, World

FILES = 1200
OLD_ENOUGH = 2.2  # seconds; a younger stamp is not trusted


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that makes of this process copied."""
    paths: list[str] = []
    copy = DraftFiles.copy

    def noted(files: DraftFiles, live: Any, path: str, *args: Any) -> Any:
        paths.append(path)
        return copy(files, live, path, *args)

    monkeypatch.setattr(DraftFiles, "way", lambda *_: None)  # each file by itself
    monkeypatch.setattr(DraftFiles, "copy", noted)
    monkeypatch.setattr(copying, "WORTH_COPYING", 1 << 60)
    return paths


@pytest.fixture
def many(world: World) -> World:
    for number in range(FILES):
        world.write(f"many/{number:04}.txt", f"file {number} ".ljust(40), SITE)
    time.sleep(OLD_ENOUGH)
    return world


def interrupt(world: World, crasher: Crasher, point: str) -> Path:
    """Kill a real make by SIGKILL; its draft."""
    job = world.office.desk.make(world.ask, SITE)
    assert crasher.run(world, job.id, point).killed
    world.office.work.recover()
    return drafts(world)[-1]


def drafts(world: World) -> list[Path]:
    return sorted((world.settings.repository / ".drafts").glob("site-*"), key=lambda path: path.stat().st_mtime)


def require_exact(world: World) -> None:
    """The next make holds the live state, and nothing is left."""
    snapshot = world.make(SITE)
    assert snapshot.status.value == "done"
    require_whole(world.stored(snapshot), snapshot)
    for number in range(FILES):
        path = world.folder(SITE) / f"many/{number:04}.txt"
        stored = world.stored(snapshot) / f"files/many/{number:04}.txt"
        assert stored.exists() == path.exists()
        assert not path.exists() or stored.read_bytes() == path.read_bytes()
    assert drafts(world) == []
    names = {path.name for path in world.stored(snapshot).iterdir()}
    assert not [name for name in names if name.startswith(".")]


def test_a_make_that_was_killed_half_way_is_gone_on_with(many: World, crasher: Crasher, copied: list[str]) -> None:
    draft = interrupt(many, crasher, "copy:after:900")
    there = len(list((draft / "files/many").iterdir()))
    assert 500 < there < FILES, "it was to be killed half-way"

    require_exact(many)

    again = [path for path in copied if path.startswith("many/")]
    assert (
        FILES - there <= len(again) <= FILES - 490
    )  # what it had seen is written down every 500 files, or every second
    assert len(set(again)) == len(again)


def test_a_make_that_is_killed_again_and_again_comes_to_its_end(
    many: World, crasher: Crasher, copied: list[str]
) -> None:
    interrupt(many, crasher, "copy:after:600")
    interrupt(many, crasher, "copy:after:550")
    assert len(drafts(many)) == 2
    interrupt(many, crasher, "finish:before:1")

    require_exact(many)

    assert len([path for path in copied if path.startswith("many/")]) == 0


def test_what_changed_since_is_copied(many: World, crasher: Crasher, copied: list[str]) -> None:
    interrupt(many, crasher, "second pass:before:1")
    many.write("many/0007.txt", "changed".ljust(40), SITE)
    (many.folder(SITE) / "many/0008.txt").unlink()
    many.write("many/new.txt", "new", SITE)

    require_exact(many)

    assert sorted(path for path in copied if path.startswith("many/")) == ["many/0007.txt", "many/new.txt"]


def spoil(draft: Path) -> None:
    """As a power cut does: one file has no bytes, one has zeros and looks as it should, one is gone."""
    top = draft / "files/many"
    (top / "0001.txt").write_bytes(b"")
    (top / "0003.txt").unlink()
    zeros = top / "0002.txt"
    stat = zeros.stat()
    zeros.write_bytes(bytes(stat.st_size))
    os.utime(zeros, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_of_one_folder_of_large_files_each_is_known_as_soon_as_it_is_copied(
    world: World, copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        world.write(f"large/{number:02}.bin", f"{number:02}" * 250_000, SITE)  # half a megabyte, twenty in all
    time.sleep(OLD_ENOUGH)
    take_all = bulk.take_all

    def failing(work: Any, *args: Any) -> Any:
        if any(row.path.endswith(b"/39.bin") for row in work.rows.values()):
            raise TargetError(errno.EIO, "Input/output error")
        return take_all(work, *args)

    with monkeypatch.context() as patch:
        patch.setattr(copying, "_KEPT_EVERY", 0)  # the disks of tests are fast
        patch.setattr(bulk, "take_all", failing)
        patch.setattr(Drafts, "sweep", lambda *_: None)  # as where the machine stops there
        assert world.done(world.office.desk.make(world.ask, SITE)).status.value == "failed"
    done = {path for path in copied if path.startswith("large/")}
    copied.clear()

    snapshot = world.make(SITE)

    require_whole(world.stored(snapshot), snapshot)
    assert len(done) >= 30
    assert not done & set(copied)


@pytest.mark.parametrize("note", ["of another boot", "", None])
def test_after_a_power_cut_only_what_has_the_right_bytes_is_taken_over(
    many: World, crasher: Crasher, copied: list[str], note: str | None
) -> None:
    draft = interrupt(many, crasher, "second pass:before:1")
    spoil(draft)
    (draft / ".boot").unlink() if note is None else (draft / ".boot").write_text(note)

    require_exact(many)

    assert sorted(path for path in copied if path.startswith("many/")) == [f"many/000{one}.txt" for one in (1, 2, 3)]


def test_an_interrupted_make_leaves_nothing_when_the_next_one_finds_nothing_new(many: World, crasher: Crasher) -> None:
    many.make(SITE)
    interrupt(many, crasher, "second pass:before:1")

    many.make(SITE)

    assert drafts(many) == []

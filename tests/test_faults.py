"""Errors of disk and server instead of kills: a job finishes or fails cleanly, the live state is wholly old or new."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from failing import (
    BROKEN,
    CODES,
    DONE,
    FAILED,
    FULL,
    UNCHANGED,
    Faults,
    disk,
    impatient,
    require_clean,
    require_outcome,
    spoilt,
)
from keyframe.backup import finishing, make, staging
from keyframe.backup.staging import Staging
from keyframe.model import OutcomeStatus
from keyframe.stores import disk as disk_of_ours
from keyframe.stores import draft, draft_files, files, headers, repository, written
from keyframe.stores.disk import translate
from keyframe.stores.intents import Intents
from keyframe.stores.manifest import ManifestWriter
from keyframe.stores.plans import PlanWriter
from whole import require_whole
from world import EDITION, PROJECT, World


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return impatient(monkeypatch)


# --- making


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (files.os, "write"), (draft_files.os, "mkdir"), (draft_files, "copy_link"), (ManifestWriter, "_write"),
        (draft, "write_json"), (written.Written, "write"), (draft, "flush_open"), (repository, "_rename_new"),
        (repository, "sync_folder"),
    ],
)  # fmt: skip
def test_a_make_whose_draft_cannot_be_written_fails_and_leaves_nothing(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, number: int
) -> None:
    older = world.make(PROJECT)
    world.spoil()
    world.write("many.txt")
    before = world.state()
    faults.at(place, name, disk(number))

    outcome = world.done(world.office.desk.make(world.ask, PROJECT))
    monkeypatch.undo()

    assert outcome.status is FAILED
    assert outcome.problems[0].code == CODES[number]
    assert faults.calls
    assert world.state() == before
    names = [one.name for one in world.office.desk.snapshots(world.ask, PROJECT).items]
    assert names[-1] == older.name and len(names) <= 2  # what was renamed but not flushed is there, and whole
    assert world.done(world.office.desk.make(world.ask, PROJECT)).status in (DONE, UNCHANGED)
    require_clean(world)


def test_what_a_flush_ahead_of_the_last_one_tells_is_not_lost(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "_WORTH_FLUSHING", -1)
    faults.at(draft, "flush_open", disk(BROKEN), times=1)  # the system tells of a lost write once

    outcome = world.done(world.office.desk.make(world.ask, PROJECT))

    assert (outcome.status, [one.code for one in outcome.problems]) == (FAILED, ["unavailable"])
    assert world.office.desk.snapshots(world.ask, PROJECT).items == ()
    assert world.done(world.office.desk.make(world.ask, PROJECT)).status is DONE
    assert faults.calls == 3  # with the flush after a failed one left out
    require_clean(world)


def test_a_flush_is_of_a_folder_that_was_open_before_anything_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draft").mkdir()
    made = draft.Draft(tmp_path / "draft")
    # Whoever opens it now is not told of what was lost by now and somebody else was told of.
    monkeypatch.setattr(disk_of_ours.os, "open", lambda *_: pytest.fail("opened too late"))

    made.begin_flush()
    made.flush()
    made.abandon()


def test_a_live_file_that_cannot_be_read_is_named(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, before = world.make(PROJECT), world.state()
    bad = f"edition/{EDITION[0]}/model.glb"
    world.write(bad, "changed")

    real = files.Descent.open

    def failing(descent: files.Descent, path: str) -> Any:
        if path == bad and descent.root == world.folder(PROJECT):
            raise OSError(BROKEN, "Input/output error")
        return real(descent, path)

    monkeypatch.setattr(files.Descent, "open", failing)
    snapshot = world.make(PROJECT)
    world.write("more.txt")
    outcome = world.restore_anyway(good)
    monkeypatch.undo()

    assert snapshot.status == "partial"
    assert [one.subject for one in snapshot.problems] == [bad]
    assert not (world.stored(snapshot) / "files" / bad).exists()
    require_whole(world.stored(snapshot), snapshot)
    assert outcome.status is OutcomeStatus.PARTIAL
    assert (world.folder(PROJECT) / bad).read_text() == "changed"  # it is in no safety snapshot
    assert world.restore(good).status is DONE
    assert world.state() == before


# --- finishing


BEFORE = [
    (Staging, "_stage"),
    (staging, "copy_file"),
    (staging, "flush_open"),
    (PlanWriter, "save"),
    (headers.os, "replace"),
    (Intents, "write"),
]
LIVE = [(Staging, name) for name in ("_place", "_remove", "_make_folder", "_dress_live")] + [(staging, "flush_open")]


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(("place", "name"), BEFORE, ids=lambda one: one if isinstance(one, str) else "")
def test_a_restore_that_cannot_be_prepared_changes_nothing(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, number: int
) -> None:
    snapshot, good, bad = spoilt(world)
    world.make(PROJECT)
    error = disk(number) if place is not Intents else lambda: translate(disk(number)(), "it", "nothing was changed")
    faults.at(place, name, error)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert outcome.status is FAILED
    assert outcome.problems[0].code == CODES[number]
    require_outcome(world, outcome, good, bad)


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(("place", "name"), LIVE, ids=lambda one: one if isinstance(one, str) else "")
def test_a_restore_that_stumbles_over_the_live_files_ends_wholly_old_or_new(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, times: int, number: int
) -> None:
    snapshot, good, bad = spoilt(world)
    staged = int(name == "flush_open")  # what is staged is flushed as well, before anything is changed
    faults.at(place, name, disk(number), first=1 + staged, times=times)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert faults.calls > staged
    if times == 1:
        assert outcome.status is DONE  # what is left was worked out, and done
    require_outcome(world, outcome, good, bad)


def test_a_file_that_can_never_be_replaced_turns_the_restore_round(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, good, bad = spoilt(world)
    place = Staging._place

    def refusing(self: Staging, number: int, item: Any) -> None:
        if item.name.endswith("scene.svx.json"):  # the last one: others are in their place already
            raise PermissionError(errno.EPERM, "Operation not permitted")
        place(self, number, item)

    monkeypatch.setattr(Staging, "_place", refusing)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert outcome.status is FAILED
    assert "the state before it is live again" in outcome.problems[0].what
    require_outcome(world, outcome, good, bad)


@pytest.mark.parametrize("error", [*map(disk, CODES), lambda: ValueError("not foreseen")])
def test_a_restore_is_done_though_it_cannot_be_compared_once_more(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    snapshot, good, bad = spoilt(world)
    faults.at(PlanWriter, "save", error, first=2)  # the first is the plan that is carried out

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert (outcome.status, faults.calls) == (DONE, 2)
    require_outcome(world, outcome, good, bad)


def test_a_full_disk_turns_the_restore_round_in_the_end(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, good, bad = spoilt(world)
    faults.at(Staging, "_place", disk(FULL), first=2, times=finishing._PATIENCE + 1)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert outcome.status is FAILED
    require_outcome(world, outcome, good, bad)


@pytest.mark.parametrize(
    ("error", "times"), [(ValueError("not foreseen"), 1), (KeyError("x"), 2), (RecursionError(), 4)], ids=repr
)
def test_an_error_that_nobody_foresaw_does_not_leave_half_a_restore(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, error: Exception, times: int
) -> None:
    snapshot, good, bad = spoilt(world)
    faults.at(Staging, "_place", lambda: error, first=2, times=times)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    require_outcome(world, outcome, good, bad)


@pytest.mark.parametrize("times", [1, 2])
def test_an_intent_that_cannot_be_removed_at_first_is_removed(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    snapshot, good, bad = spoilt(world)
    unlink = Path.unlink

    def failing(path: Path, *args: Any, **options: Any) -> None:
        if path.parent.name == "intents" and path.suffix == ".json" and faults.calls < times:
            faults.calls += 1
            raise OSError(BROKEN, "Input/output error")
        unlink(path, *args, **options)

    monkeypatch.setattr(Path, "unlink", failing)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert (outcome.status, faults.calls) == (DONE, times)
    require_outcome(world, outcome, good, bad)


def test_the_snapshot_that_vanishes_while_it_is_restored_turns_it_round(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, _, bad = spoilt(world)
    move = Staging.move

    def vanishing(self: Staging, *args: Any) -> None:
        if world.stored(snapshot).exists():
            shutil.rmtree(world.stored(snapshot))
            raise OSError(BROKEN, "Input/output error")
        move(self, *args)

    monkeypatch.setattr(Staging, "move", vanishing)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert outcome.status is FAILED
    assert world.state() == bad
    require_clean(world)

"""Errors of disk and server instead of kills: a job finishes or fails cleanly, the live state is wholly old or new."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup import restore as restoring
from keyframe.backup import staging
from keyframe.backup.staging import Staging
from keyframe.backup.stores import Stores
from keyframe.errors import KeyframeError
from keyframe.model import Outcome, OutcomeStatus, Snapshot
from keyframe.stores import draft, files, headers, repository
from keyframe.stores.intents import Intents
from keyframe.stores.manifest import ManifestWriter
from keyframe.stores.mongo_write import MongoWriter
from keyframe.stores.plans import PlanWriter
from mongod import Mongod
from pymongo.errors import AutoReconnect, OperationFailure
from whole import require_whole
from world import EDITION, ONE, OTHER, PROJECT, SITE, TWO, World, new_world

DONE, UNCHANGED, FAILED = OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.FAILED
FULL, BROKEN, FORBIDDEN = errno.ENOSPC, errno.EIO, errno.EACCES
CODES = {FULL: "no-room", BROKEN: "unavailable", FORBIDDEN: "unavailable"}


class Faults:
    """Makes functions fail: from their `first` call on, `times` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.calls = 0

    def at(
        self,
        place: Any,
        name: str,
        error: Callable[[], Exception],
        first: int = 1,
        times: int = 10**9,
        after: bool = False,
    ) -> None:
        inner = getattr(place, name)

        def failing(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            fails = first <= self.calls < first + times
            if fails and not after:
                raise error()
            result = inner(*args, **kwargs)
            if fails:
                raise error()
            return result

        self._monkeypatch.setattr(place, name, failing)


def disk(number: int) -> Callable[[], OSError]:
    return lambda: OSError(number, os.strerror(number))


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    monkeypatch.setattr(restoring, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(restoring, "_LONGEST_PAUSE", 0.05)
    return Faults(monkeypatch)


def require_clean(world: World) -> None:
    """No intent, no draft, nothing staged, and every snapshot is whole."""
    assert not list((world.settings.data / ".keyframe/intents").glob("*.json"))
    assert not list((world.settings.repository / ".drafts").glob("*"))
    assert not list((world.settings.working / ".keyframe").glob("*"))
    for snapshot in world.office.desk.snapshots(world.ask, PROJECT).items:
        require_whole(world.stored(snapshot), snapshot)


# --- making


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (files.os, "write"), (draft.os, "mkdir"), (draft, "copy_link"), (ManifestWriter, "_line"),
        (draft, "write_json"), (draft._Hashed, "write"), (repository, "flush"), (repository, "_rename_new"),
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


def test_a_live_file_that_cannot_be_read_is_named(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, before = world.make(PROJECT), world.state()
    bad = f"edition/{EDITION[0]}/model.glb"
    world.write(bad, "changed")
    read = files.Tree.read

    def failing(tree: files.Tree, path: str, *args: Any) -> Any:
        if path == bad and tree.root == world.folder(PROJECT):
            raise OSError(BROKEN, "Input/output error")
        return read(tree, path, *args)

    monkeypatch.setattr(files.Tree, "read", failing)
    snapshot = world.make(PROJECT)
    world.write("more.txt")
    outcome = world.restore(good)
    monkeypatch.undo()

    assert snapshot.status == "partial"
    assert [one.subject for one in snapshot.problems] == [bad]
    assert not (world.stored(snapshot) / "files" / bad).exists()
    require_whole(world.stored(snapshot), snapshot)
    assert outcome.status is OutcomeStatus.PARTIAL
    assert (world.folder(PROJECT) / bad).read_text() == "changed"  # it is in no safety snapshot
    assert world.restore(good).status is DONE
    assert world.state() == before


# --- restoring


def spoilt(world: World) -> tuple[Snapshot, Any, Any]:
    """A snapshot, the state that it holds, and the other state that is live now."""
    snapshot, good = world.make(PROJECT), world.state()
    world.spoil()
    (world.folder(PROJECT) / f"edition/{EDITION[0]}/scene.svx.json").chmod(0o600)
    shutil.rmtree(world.folder(PROJECT) / f"edition/{EDITION[0]}/empty")
    return snapshot, good, world.state()


def require_outcome(world: World, outcome: Outcome, good: Any, bad: Any) -> None:
    """The outcome says which of the two states is live, wholly; and everything goes on."""
    assert outcome.status in (DONE, FAILED)
    assert world.state() == (good if outcome.status is DONE else bad)
    require_clean(world)
    assert world.done(world.office.desk.make(world.ask, PROJECT)).status in (DONE, UNCHANGED)
    if outcome.status is DONE:
        assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
        assert world.state() == bad


BEFORE = [
    (Staging, "_stage"),
    (staging, "copy_file"),
    (PlanWriter, "save"),
    (headers.os, "replace"),
    (Intents, "write"),
]
LIVE = [(Staging, name) for name in ("_place", "_remove", "_make_folder", "_dress_live")] + [(restoring, "flush")]


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize(("place", "name"), BEFORE, ids=lambda one: one if isinstance(one, str) else "")
def test_a_restore_that_cannot_be_prepared_changes_nothing(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, number: int
) -> None:
    snapshot, good, bad = spoilt(world)
    world.make(PROJECT)
    error = (
        disk(number) if place is not Intents else lambda: files.translate(disk(number)(), "it", "nothing was changed")
    )
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
    faults.at(place, name, disk(number), times=times)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert faults.calls
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


def test_a_full_disk_turns_the_restore_round_in_the_end(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, good, bad = spoilt(world)
    faults.at(Staging, "_place", disk(FULL), first=2, times=restoring._PATIENCE + 1)

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
        if path.parent.name == "intents" and faults.calls < times:
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


# --- the server


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "error",
    [AutoReconnect("gone"), OperationFailure("no", 96), OperationFailure("late", 50)],
    ids=["gone", "no", "late"],
)
@pytest.mark.parametrize("name", ["write", "_write"])
def test_a_server_that_fails_leaves_a_whole_state(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, times: int, after: bool
) -> None:
    from keyframe.stores.mongo import translated

    snapshot, good, bad = spoilt(world)

    def fail() -> Exception:
        if name == "_write":
            return error
        try:
            with translated("records"):
                raise error
        except KeyframeError as translation:
            return translation

    faults.at(MongoWriter, name, fail, times=times, after=after)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    require_outcome(world, outcome, good, bad)


def test_a_unique_value_that_another_record_has_now_turns_the_restore_round(world: World, faults: Faults) -> None:
    world.db.edition.create_index("code", unique=True, partialFilterExpression={"code": {"$exists": True}})
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"code": "A"}})
    snapshot = world.make(PROJECT)
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$unset": {"code": 1}})
    world.db.edition.update_one({"_id": EDITION[2]}, {"$set": {"code": "A"}})
    assert world.db.edition.find_one({"_id": EDITION[2]})["projectId"] == TWO  # type: ignore[index]
    before = world.state()

    outcome = world.restore(snapshot)

    assert outcome.status is FAILED
    assert world.state() == before
    require_clean(world)
    world.db.edition.update_one({"_id": EDITION[2]}, {"$unset": {"code": 1}})
    assert world.restore(snapshot).status is DONE
    assert world.db.edition.find_one({"_id": EDITION[0]})["code"] == "A"  # type: ignore[index]


@pytest.fixture
def private(tmp_path: Path, faults: Faults) -> Iterator[tuple[World, Mongod]]:
    """A world on a server of its own, which can be stopped."""
    server = Mongod(tmp_path / "mongod").start()
    try:
        with new_world(server.uri, tmp_path) as world:
            yield world, server
    finally:
        server.stop()


@pytest.mark.parametrize("moment", ["before the records", "after the records", "while it is verified"])
def test_a_server_that_goes_and_comes_back_in_the_middle_of_a_restore(
    private: tuple[World, Mongod], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    world, server = private
    snapshot, good, bad = spoilt(world)
    stopped = threading.Event()

    def stop() -> None:
        if not stopped.is_set():
            server.stop()
            stopped.set()

    place, name = {
        "before the records": (MongoWriter, "write"), "after the records": (Staging, "move"),
        "while it is verified": (restoring.Restore, "_verify"),
    }[moment]  # fmt: skip
    inner = getattr(place, name)

    def stopping(*args: Any) -> Any:
        stop()
        return inner(*args)

    monkeypatch.setattr(place, name, stopping)
    order = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    outcomes: list[Outcome] = []
    worker = threading.Thread(target=lambda: outcomes.append(world.done(order)))
    worker.start()
    assert stopped.wait(30)
    time.sleep(4)  # longer than the driver waits for a server
    server.start()  # in this thread: the server ends with the thread that started it
    worker.join(60)
    monkeypatch.undo()

    assert outcomes[0].status is DONE
    require_outcome(world, outcomes[0], good, bad)


def test_a_make_without_a_server_fails_and_says_so(private: tuple[World, Mongod]) -> None:
    world, server = private
    older = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.make(world.ask, PROJECT)
    claim = world.office.jobs.claim(only=job.id)
    assert claim is not None
    server.stop()
    ended: list[Any] = []
    worker = threading.Thread(target=lambda: ended.append(world.office.work.run(claim)))
    worker.start()
    time.sleep(4)
    server.start()
    worker.join(60)

    assert ended[0].outcome.problems[0].code == "unavailable"
    assert [one.name for one in world.office.desk.snapshots(world.ask, PROJECT).items] == [older.name]
    assert world.done(world.office.desk.make(world.ask, PROJECT)).status is DONE


# --- real disks: a small one, one that may only be read


@pytest.fixture
def small_disk(mongo_uri: str, tmp_path: Path, faults: Faults) -> Iterator[tuple[World, Path]]:
    """A world whose data directory is a file system of 1 MB."""
    folder = tmp_path / "var/data"
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    try:
        with new_world(mongo_uri, tmp_path) as world:
            yield world, folder
            world.office.database.client.close()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_data_disk_takes_no_new_snapshot_and_harms_no_older_one(small_disk: tuple[World, Path]) -> None:
    world, folder = small_disk
    desk = world.office.desk
    older, good = world.make(PROJECT), world.state()
    world.spoil()
    (world.folder(PROJECT) / "big.bin").write_bytes(os.urandom(2_000_000))
    before = world.state()

    made = world.done(desk.make(world.ask, PROJECT))
    restored = world.restore(older)

    assert (made.status, restored.status) == (FAILED, FAILED)
    assert [one.problems[0].code for one in (made, restored)] == ["no-room", "no-room"]
    assert world.state() == before
    assert [one.name for one in desk.snapshots(world.ask, PROJECT).items] == [older.name]
    require_clean(world)
    # Full to the last byte:
    with contextlib.suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    outcomes = [
        world.done(desk.make(world.ask, OTHER)),
        world.done(desk.preview(world.ask, PROJECT, older.name)),
        world.restore(older),
    ]
    assert [one.problems[0].code for one in outcomes] == ["no-room"] * 3
    assert [one.name for one in desk.snapshots(world.ask, PROJECT).items] == [older.name]
    with pytest.raises(KeyframeError) as caught:
        desk.note(world.ask, PROJECT, older.name, "a note")
    assert caught.value.code == "no-room"
    desk.delete(world.ask, PROJECT, older.name)  # a rename needs no room
    assert desk.snapshots(world.ask, PROJECT).items == ()
    assert world.state() == before
    (folder / "filler").unlink()
    (world.folder(PROJECT) / "big.bin").unlink()
    desk.undelete(world.ask, PROJECT, older.name)
    assert world.restore(older).status is DONE
    assert world.state() == good
    require_clean(world)


def test_a_data_disk_that_may_only_be_read_is_unavailable(small_disk: tuple[World, Path]) -> None:
    world, folder = small_disk
    desk = world.office.desk
    made: list[Snapshot] = []
    # In a thread of its own, that nothing is open on the disk afterwards.
    maker = threading.Thread(target=lambda: made.append(world.make(PROJECT)))
    maker.start()
    maker.join()
    older = made[0]
    world.spoil()
    before = world.state()
    gc.collect()
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)

    outcomes = [
        world.done(desk.make(world.ask, PROJECT)),
        world.done(desk.preview(world.ask, PROJECT, older.name)),
        world.restore(older),
    ]
    errors = []
    for act in (desk.note, desk.delete):
        with pytest.raises(KeyframeError) as caught:
            act(world.ask, PROJECT, older.name, *(["a note"] if act == desk.note else []))
        errors.append(caught.value.code)
    listed = desk.snapshots(world.ask, PROJECT).items
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)

    assert [one.problems[0].code for one in outcomes] == ["unavailable"] * 3
    assert errors == ["unavailable"] * 2
    assert [one.name for one in listed] == [older.name]
    assert world.state() == before
    assert world.restore(older).status is DONE


def test_live_files_that_may_only_be_read_leave_everything_as_it_is(
    mongo_uri: str, tmp_path: Path, faults: Faults
) -> None:
    if os.geteuid() != 0:
        pytest.skip("file systems cannot be mounted here")
    with new_world(mongo_uri, tmp_path) as world:
        snapshot, good, bad = spoilt(world)
        top = str(world.folder(SITE))
        if subprocess.run(["mount", "--bind", top, top], capture_output=True).returncode != 0:
            pytest.skip("file systems cannot be mounted here")
        try:
            subprocess.run(["mount", "-o", "remount,ro,bind", top], check=True)
            outcome = world.restore(snapshot)
        finally:
            subprocess.run(["umount", "-l", top], check=True)

        assert outcome.problems[0].code == "unavailable"
        require_outcome(world, outcome, good, bad)


def test_stores_are_what_is_wrapped_here() -> None:
    assert {"writer", "intents", "plans"} <= set(Stores.__dataclass_fields__)
    assert ONE != TWO

"""Servers that go and come back, disks that are full or may only be read."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from failing import DONE, FAILED, Faults, impatient, require_clean, require_outcome, spoilt
from keyframe.backup import finishing
from keyframe.backup.staging import Staging
from keyframe.backup.touched import Touched
from keyframe.errors import KeyframeError, UnavailableError
from keyframe.model import Outcome, Snapshot
from keyframe.stores.mongo_errors import translated
from keyframe.stores.mongo_write import MongoWriter
from mongod import Mongod
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure, WriteConcernError
from world import EDITION, OTHER, PROJECT, SITE, World, new_world


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    return impatient(monkeypatch)


# --- the server


# As the server says it when it ends while it waits for the majority.
ENDING = {"code": 91, "errmsg": "Replication is being shut down", "errorLabels": ["RetryableWriteError"]}


def test_a_server_that_is_being_shut_down_does_not_answer() -> None:
    unsafe = {"writeErrors": [], "writeConcernErrors": [ENDING]}
    for error in (WriteConcernError("shut down", 91, ENDING), BulkWriteError(unsafe)):
        with pytest.raises(UnavailableError), translated("records"):
            raise error


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("gone"),
        OperationFailure("no", 96),
        OperationFailure("late", 50),
        WriteConcernError("shut down", 91, ENDING),
    ],
    ids=["gone", "no", "late", "ending"],
)
@pytest.mark.parametrize("name", ["write", "_write"])
def test_a_server_that_fails_leaves_a_whole_state(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, times: int, after: bool
) -> None:
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


def test_a_transaction_that_meets_conflicts_all_the_time_is_tried_again_later(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, good, bad = spoilt(world)
    labels = {"errorLabels": ["TransientTransactionError"], "code": 112, "errmsg": "conflict"}

    def conflict() -> Exception:
        try:
            with translated("records"):
                raise OperationFailure("conflict", 112, labels)
        except KeyframeError as translation:
            return translation

    faults.at(MongoWriter, "write", conflict, times=finishing._PATIENCE + 2)

    outcome = world.restore(snapshot)
    monkeypatch.undo()

    assert outcome.status is DONE
    require_outcome(world, outcome, good, bad)


def test_a_unique_value_that_somebody_takes_in_the_middle_turns_the_restore_round(
    world: World, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.db.edition.create_index("code", unique=True, partialFilterExpression={"code": {"$exists": True}})
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"code": "A"}})
    snapshot = world.make(PROJECT)
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$unset": {"code": 1}})
    before = world.state()
    real = MongoWriter.write

    def take_and_write(self: MongoWriter, *given: Any) -> None:
        world.db.edition.update_one({"_id": EDITION[2]}, {"$set": {"code": "A"}})  # past the gate, of another project
        real(self, *given)

    monkeypatch.setattr(MongoWriter, "write", take_and_write)
    outcome = world.restore(snapshot)
    monkeypatch.setattr(MongoWriter, "write", real)
    world.db.edition.update_one({"_id": EDITION[2]}, {"$unset": {"code": 1}})

    assert outcome.status is FAILED
    assert world.state() == before
    require_clean(world)
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
        "while it is verified": (Touched, "is_as_planned"),
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

    assert (made.status, restored.status) == (FAILED, "refused")  # no room for its safety snapshot
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

"""200 kills at random moments under load: one process goes back and forth, people write, SIGKILL comes at any time.

`make soak` runs it until its seconds are over, or all kills are done; the seed is printed.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from pathlib import Path
from typing import Any

import bson
import looper
from keyframe.errors import UnavailableError
from keyframe.model import OutcomeStatus, Snapshot
from keyframe.wiring import build
from pymongo import MongoClient
from sweep import prepare, short_transactions
from whole import require_whole
from world import SITE, World

KILLS = 200
SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
TOP = "numbers"  # the collection and the folder of what people write


class Writer:
    """Writes numbered changes as a request of the host does: with the gate shared, and not while an intent lies."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._office = build(world.settings)
        self._over, self._paused, self._idle = threading.Event(), threading.Event(), threading.Event()
        self.written: set[int] = set()
        self.refused = 0
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        number = 0
        while not self._over.wait(0.02 if number % 100 < 80 else 0.2):  # people pause, too
            if self._paused.is_set():
                self._idle.set()
                continue
            number += 1
            try:
                with self._office.gate.shared(1):
                    if self._office.intents.open():
                        self.refused += 1
                        continue
                    self._world.db[TOP].insert_one({"_id": number})
                    (self._world.folder(SITE) / TOP / f"{number}.txt").write_text(str(number))
                    self.written.add(number)
            except UnavailableError:
                self.refused += 1

    def pause(self) -> None:
        self._idle.clear()
        self._paused.set()
        assert self._idle.wait(20)

    def go_on(self) -> None:
        self._paused.clear()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._office.database.client.close()


def parted(state: Any) -> tuple[Any, set[int]]:
    """A state without what the writer wrote, and that; AssertionError where a change is there by half."""
    files, records = ({**part} for part in state)
    names = [name for name in files if name.startswith(f"{TOP}/") and not name.endswith("first")]
    there = {int(Path(name).stem) for name in names}
    for name in names:
        del files[name]
    kept = {int(one) for one in records.pop(TOP, {})}
    assert kept == there, f"mixed: {kept ^ there}"
    return (files, records), kept


def numbers_in(folder: Path) -> set[int]:
    dump = folder / f"db/bson/{TOP}.bson"
    records = {one["_id"] for one in bson.decode_all(dump.read_bytes())}
    files = {int(path.stem) for path in (folder / "files" / TOP).glob("*.txt")}
    assert records == files, f"{folder.name} is mixed: {records ^ files}"
    return records


class Shelf:
    """What the snapshots hold; each is judged once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.numbers: dict[str, set[int]] = {}

    def all(self) -> set[int]:
        for trash in (False, True):
            for snapshot in self._world.office.desk.snapshots(self._world.ask, SITE, trash=trash).items:
                if snapshot.name not in self.numbers:
                    self.numbers[snapshot.name] = self._judged(snapshot, trash=trash)
        return set().union(*self.numbers.values())

    def _judged(self, snapshot: Snapshot, *, trash: bool) -> set[int]:
        top = self._world.settings.repository / ".trash" if trash else self._world.settings.repository
        folder = SITE.stored_folder(top) / snapshot.name
        assert snapshot.status == "done", snapshot
        require_whole(folder, snapshot)
        return numbers_in(folder)


def test_a_kill_at_any_moment_leaves_a_whole_state_and_loses_nothing(
    world: World, mongo_client: MongoClient[dict[str, Any]]
) -> None:
    chance = random.Random(SEED)
    (world.folder(SITE) / TOP).mkdir()
    (world.folder(SITE) / TOP / "first").touch()
    world.db.create_collection(TOP)
    good, _ = prepare(world, SITE, collections=True)
    whole = [parted(world.state())[0]]
    other = world.make(SITE)
    assert world.restore(good, SITE).status is OutcomeStatus.DONE
    whole.append(parted(world.state())[0])
    names = (good.name, other.name)
    writer, shelf, kills, finished, found = Writer(world), Shelf(world), 0, 0, [0, 0]
    end = time.monotonic() + SECONDS
    try:
        with short_transactions(mongo_client):
            while kills < KILLS and time.monotonic() < end:
                finished += die_and_recover(world, names, chance)
                kills += 1
                writer.pause()
                state, numbers = parted(world.state())
                assert state in whole, f"neither old nor new; seed {SEED}, kill {kills}"
                found[whole.index(state)] += 1
                lost = writer.written - numbers - shelf.all()
                assert not lost, f"lost: {lost}; seed {SEED}, kill {kills}"
                writer.go_on()
    finally:
        writer.stop()
    print(
        f"\n{kills} kills, {finished} of them in a restore that recovery finished, seed {SEED}:"
        f" {found[0]} times the one state, {found[1]} times the other;"
        f" {len(writer.written)} changes written, {writer.refused} refused, none lost; {len(shelf.numbers)} snapshots"
    )
    assert kills
    assert kills < 50 or all(found)


def die_and_recover(world: World, names: tuple[str, str], chance: random.Random) -> bool:
    """Let a process work for a moment, kill it, and recover; half of the kills come soon after an intent was written.

    Whether there was something to be finished.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["keyframe.wiring"])
    settings = world.settings
    place = (str(settings.var), settings.mongo.uri, settings.mongo.database)
    process = context.Process(target=looper.loop, args=(*place, names, chance.randrange(2**31)), daemon=True)
    process.start()
    wait = chance.uniform(0.3, 6.0)
    if chance.random() < 0.5:  # else most kills meet a safety snapshot, which takes longest
        wait = chance.uniform(0.0, 0.3)
        end = time.monotonic() + 15
        while not list((settings.data / ".keyframe/intents").glob("*.json")) and time.monotonic() < end:
            time.sleep(0.002)
    time.sleep(wait)
    process.kill()
    process.join()
    office = build(settings)
    try:
        begun = bool(office.intents.open())
        assert office.work.recover() == 0
        assert not list((settings.data / ".keyframe/intents").iterdir())
        return begun
    finally:
        office.database.client.close()

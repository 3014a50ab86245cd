"""What scripts do past the gate while a snapshot is made: none of it makes a wrong snapshot, and it is named."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson.timestamp import Timestamp
from keyframe.backup.dumping import Dumping
from keyframe.model import OutcomeStatus
from keyframe.stores.disk import has_our_clock
from keyframe.stores.gate import Gate, Period
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from running import until
from world import SITE, World

DONE, PARTIAL = OutcomeStatus.DONE, OutcomeStatus.PARTIAL
NAMES = ("shape_a", "shape_b")


# --- collections


@dataclass(frozen=True)
class Shape:
    """A collection as a script has left it; no name: there is none."""

    name: str = ""
    generation: int = 0
    records: int = 0
    indexed: bool = False
    validated: bool = False


@dataclass(frozen=True)
class Step:
    """One act of the script: the server's time before and after it, and what there was afterwards."""

    before: Timestamp
    after: Timestamp
    shape: Shape


class Reshaping:
    """A script that drops, makes, fills, renames, indexes and modifies a collection, one act after the other.

    It waits for `acting` before it goes on: as a snapshot tries three instants, two acts at a time never use them up.
    """

    def __init__(self, client: MongoClient[dict[str, Any]], database: str) -> None:
        self._db = client[database]
        self._client = client
        self._stop = threading.Event()
        self._granted = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run)
        self._chance = random.Random(4)
        self.steps: list[Step] = []
        self.failure: BaseException | None = None

    def __enter__(self) -> Reshaping:
        with self._client.start_session() as session:
            self._act(session, self._make)
            self._act(session, self._fill)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._granted.release()
        self._thread.join()

    @contextlib.contextmanager
    def acting(self, acts: int) -> Iterator[None]:
        """It does some more acts while the `with` lasts, which ends when they are done."""
        done = len(self.steps) + acts
        self._granted.release(acts)
        yield
        until(lambda: len(self.steps) >= done or self.failure is not None, 30, "the script's acts")

    def _run(self) -> None:
        try:
            with self._client.start_session() as session:
                while self._granted.acquire() and not self._stop.wait(self._chance.choice([0.01, 0.05, 0.1, 0.2])):
                    shape = self.steps[-1].shape
                    acts = [self._rename, self._index, self._modify, self._drop, self._drop]
                    act = self._make if not shape.name else self._chance.choice(acts) if shape.records else self._fill
                    self._act(session, act)
        except BaseException as error:
            self.failure = error

    def _act(self, session: ClientSession, act: Callable[[ClientSession, Shape], Shape]) -> None:
        shape = self.steps[-1].shape if self.steps else Shape()
        self._db.command("ping", session=session)
        before = session.operation_time
        shape = act(session, shape)
        after = session.operation_time
        assert before is not None and after is not None
        self.steps.append(Step(before, after, shape))

    def _make(self, session: ClientSession, shape: Shape) -> Shape:
        self._db.create_collection(NAMES[0], session=session)
        return Shape(NAMES[0], shape.generation + 1)

    def _fill(self, session: ClientSession, shape: Shape) -> Shape:
        with session.start_transaction():
            records = [{"_id": number, "generation": shape.generation} for number in range(200)]
            self._db[shape.name].insert_many(records, session=session)
        return replace(shape, records=200)

    def _drop(self, session: ClientSession, shape: Shape) -> Shape:
        self._db.drop_collection(shape.name, session=session)
        return Shape(generation=shape.generation)

    def _rename(self, session: ClientSession, shape: Shape) -> Shape:
        other = NAMES[1 - NAMES.index(shape.name)]
        self._db[shape.name].rename(other, session=session)
        return replace(shape, name=other)

    def _index(self, session: ClientSession, shape: Shape) -> Shape:
        if shape.indexed:
            self._db[shape.name].drop_index("by_generation", session=session)
        else:
            self._db[shape.name].create_index("generation", name="by_generation", session=session)
        return replace(shape, indexed=not shape.indexed)

    def _modify(self, session: ClientSession, shape: Shape) -> Shape:
        validator = {} if shape.validated else {"generation": {"$exists": True}}
        self._db.command("collMod", shape.name, validator=validator, session=session)
        return replace(shape, validated=not shape.validated)

    def possible(self, at: Timestamp) -> list[Shape]:
        """What there was at a time; two where an act was under way."""
        following = [step.after for step in self.steps[1:]] + [Timestamp(2**32 - 1, 0)]
        return [
            step.shape for step, end in zip(self.steps, following, strict=True) if step.before <= at <= end
        ]  # fmt: skip


def stored_shape(folder: Path) -> Shape:
    """What a snapshot holds of the collection."""
    found = [name for name in NAMES if (folder / f"db/bson/{name}.metadata.json").exists()]
    assert len(found) < 2, "one collection under two names"
    if not found:
        return Shape()
    metadata = json.loads((folder / f"db/bson/{found[0]}.metadata.json").read_bytes())
    documents = bson.decode_all((folder / f"db/bson/{found[0]}.bson").read_bytes())
    generations = {one["generation"] for one in documents}
    assert len(generations) < 2, "records of two lives of a collection"
    indexes = {one["name"] for one in metadata["indexes"]}
    return Shape(
        found[0],
        generations.pop() if generations else 0,
        len(documents),
        "by_generation" in indexes,
        bool(metadata["options"].get("validator")),
    )


def test_what_becomes_of_a_collection_during_a_dump_never_makes_a_wrong_snapshot(world: World) -> None:
    world.db.bulk.insert_many([{"_id": number, "text": "x" * 80} for number in range(4000)])
    outcomes = []
    with Reshaping(world.client, world.db.name) as script:
        for number in range(14):
            world.write("round.txt", str(number), SITE)
            with script.acting(2):
                outcomes.append(world.done(world.office.desk.make(world.ask, SITE)))

    assert script.failure is None
    assert [outcome.status for outcome in outcomes] == [DONE] * 14
    retried = 0
    for snapshot in world.office.desk.snapshots(world.ask, SITE).items:
        assert snapshot.instant is not None
        possible = script.possible(Timestamp(snapshot.instant.seconds, snapshot.instant.counter))
        # Of an empty collection the generation cannot be told.
        told = [shape if shape.records else replace(shape, generation=0) for shape in possible]
        folder = world.stored(snapshot)
        assert stored_shape(folder) in told
        retried += json.loads((folder / "snapshot.json").read_bytes())["retries"]
    assert retried > 0, "nothing was reshaped during a dump"


def test_the_header_tells_of_the_instant_that_was_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    instants, run = [], Dumping.run

    def reshaped(dumping: Dumping, *args: Any) -> bool:
        if not instants:  # at the first one only
            world.db.edition.create_index("another")
        instants.append(args)
        return run(dumping, *args)

    monkeypatch.setattr(Dumping, "run", reshaped)
    header = json.loads((world.stored(world.make(SITE)) / "snapshot.json").read_bytes())

    assert (len(instants), header["retries"], header["passes"]) == (2, 1, 3)
    assert header["gate"]["tries"] == 1
    assert header["gate"]["closed_seconds"] > 0
    assert set(header["instant"]["cluster_time"]) == {"t", "i"}
    moment = datetime.fromisoformat(header["instant"]["utc"])
    assert moment.timestamp() == header["instant"]["cluster_time"]["t"]


# --- files


@pytest.fixture
def past_the_gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    """Acts that are done while the gate is closed, as the last thing before it opens."""
    acts: list[Callable[[], object]] = []
    closed = Gate.closed

    @contextlib.contextmanager
    def closed_and_written_past(gate: Gate) -> Iterator[Period]:
        with closed(gate) as period:
            yield period
            while acts:
                acts.pop()()

    monkeypatch.setattr(Gate, "closed", closed_and_written_past)
    yield acts
    assert not acts, "it was never done"


def test_a_file_that_a_script_writes_past_the_closed_gate_is_named(
    world: World, past_the_gate: list[Callable[[], object]]
) -> None:
    world.write("script.txt", "before", SITE)
    past_the_gate.append(lambda: world.write("script.txt", "past the gate", SITE))

    outcome = world.done(world.office.desk.make(world.ask, SITE))

    assert outcome.status is PARTIAL
    assert [(one.code, one.subject) for one in outcome.problems] == [("changed", "script.txt")]


def test_what_a_script_makes_removes_and_renames_past_the_closed_gate_is_named(
    world: World, past_the_gate: list[Callable[[], object]]
) -> None:
    top = world.folder(SITE)
    for name in ("removed.txt", "deep/old.txt", "deep/kept.txt"):
        world.write(name, "before", SITE)
    (top / "moded").mkdir()

    def act() -> None:
        world.write("fresh/made.txt", "past the gate", SITE)
        (top / "removed.txt").unlink()
        (top / "deep/old.txt").rename(top / "deep/new.txt")
        (top / "moded").chmod(0o711)
        (top / "link").symlink_to("about.txt")
        world.write("there/and gone.txt", "past the gate", SITE).unlink()

    past_the_gate.append(act)
    outcome = world.done(world.office.desk.make(world.ask, SITE))

    assert outcome.status is PARTIAL
    assert {one.code for one in outcome.problems} == {"changed"}
    named = {one.subject for one in outcome.problems}
    assert named == {"fresh/made.txt", "removed.txt", "deep/old.txt", "deep/new.txt", "moded", "link"}


def test_a_restore_leaves_alone_what_was_written_past_the_gate(
    world: World, past_the_gate: list[Callable[[], object]]
) -> None:
    world.write("script.txt", "before", SITE)
    past_the_gate.append(lambda: world.write("script.txt", "past the gate", SITE))
    snapshot = world.make(SITE)
    world.write("script.txt", "today", SITE)
    world.write("about.txt", "today", SITE)

    outcome = world.restore(snapshot, SITE)

    assert [(one.code, one.subject) for one in outcome.problems] == [("left", "script.txt")]
    assert (world.folder(SITE) / "script.txt").read_text() == "today"
    assert (world.folder(SITE) / "about.txt").read_text() == "the site's own"


def test_a_script_that_writes_all_the_time_is_named_and_nobody_else_is(world: World) -> None:
    """Real threads: one asks at the gate before it writes, the other does not."""
    for number in range(3000):  # so that the gate is closed for a while
        world.write(f"many/{number % 50}/{number}.txt", "x", SITE)
    stop = threading.Event()

    def proper() -> None:
        while not stop.wait(0.001):
            with world.office.gate.shared(10):
                world.write("proper.txt", "", SITE)

    def script() -> None:
        while not stop.wait(0.002):
            world.write(f"script/{time.monotonic_ns()}.log", "", SITE)
            world.write("script/again.log", "same size", SITE)

    threads = [threading.Thread(target=one) for one in (proper, script)]
    for thread in threads:
        thread.start()
    try:
        outcomes = [world.done(world.office.desk.make(world.ask, SITE)) for _ in range(3)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()

    assert [outcome.status for outcome in outcomes] == [PARTIAL] * 3
    named = {one.subject for outcome in outcomes for one in outcome.problems}
    assert {name.partition("/")[0] for name in named} == {"script"}
    assert "script/again.log" in named  # though it is written once more when the gate is open


def test_stamps_of_another_clock_accuse_nobody(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_our_clock(world.folder(SITE) / ".keyframe")
    clock = time.clock_gettime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda number: clock(number) + 3600 * 10**9)
    assert not has_our_clock(world.folder(SITE) / ".keyframe")


def test_what_is_written_after_the_gate_has_opened_is_nobodys_problem(world: World) -> None:
    """The other side of the test above: who waited at the gate writes at once when it opens."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.001):
            with world.office.gate.shared(10):
                world.write("proper.txt", f"{number}", SITE)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        outcomes = [world.done(world.office.desk.make(world.ask, SITE)) for _ in range(4)]
    finally:
        stop.set()
        writer.join()

    assert [outcome.status for outcome in outcomes] == [DONE] * 4

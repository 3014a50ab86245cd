"""How long a snapshot keeps the gate closed at most, with people who write: it opens, and what was copied is done."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup.copying import Copying
from keyframe.model import Snapshot
from keyframe.settings import GateSettings
from keyframe.stores.draft_files import DraftFiles
from keyframe.stores.gate import Gate
from whole import require_whole
from world import SITE, World, new_world


@contextlib.contextmanager
def closed_at_most(mongo_uri: str, folder: Path, seconds: float) -> Iterator[World]:
    with new_world(mongo_uri, folder, gate=GateSettings(closed_at_most=seconds, close_within=10)) as world:
        yield world


def header_of(world: World, snapshot: Snapshot) -> Any:
    return json.loads((world.stored(snapshot) / "snapshot.json").read_bytes())


def after_bulk(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """People do something after the bulk was copied, before the gate is closed."""
    bulk = Copying.bulk

    def then(copying: Copying) -> None:
        bulk(copying)
        act()

    monkeypatch.setattr(Copying, "bulk", then)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was copied to its end."""
    counted: Counter[str] = Counter()
    copy = DraftFiles.copy

    def counting(files: DraftFiles, live: Any, path: str, *args: Any) -> Any:
        found = copy(files, live, path, *args)
        counted[path] += 1
        return found

    monkeypatch.setattr(DraftFiles, "copy", counting)
    return counted


class Waiting:
    """Somebody who writes all the time through the gate; `longest` is how long he had to wait for it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.longest = 0.0

    def __enter__(self) -> Waiting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stop.wait(0.005):
            began = time.monotonic()
            with self._gate.shared(60):
                self.longest = max(self.longest, time.monotonic() - began)


def test_a_second_pass_that_takes_too_long_lets_writers_in_and_goes_on(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: Counter[str]
) -> None:
    def upload() -> None:
        for number in range(400):
            world.write(f"late/{number:03}.bin", "x" * 400_000, SITE)

    after_bulk(monkeypatch, upload)
    with closed_at_most(mongo_uri, tmp_path, 0.12) as world, Waiting(world.office.gate) as writer:
        snapshot = world.make(SITE)
        header, folder = header_of(world, snapshot), world.stored(snapshot)
        require_whole(folder, snapshot)

        assert snapshot.status.value == "done"
        assert len(list((folder / "files/late").iterdir())) == 400
    assert header["gate"]["tries"] > 1, "it was to take too long"
    assert 0.12 <= header["gate"]["closed_seconds"] < 1.0
    assert header["passes"] == 2 * header["gate"]["tries"]
    assert writer.longest < header["gate"]["closed_seconds"] + 0.5
    assert {copies[f"late/{number:03}.bin"] for number in range(400)} == {1}, "what was copied is done"


def test_a_file_that_is_too_large_for_the_time_is_copied_with_the_gate_open(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: Counter[str]
) -> None:
    def upload() -> None:
        with open(world.folder(SITE) / "large.bin", "wb") as file:
            for number in range(250):
                file.write(bytes([number]) * 1_000_000)

    after_bulk(monkeypatch, upload)
    with closed_at_most(mongo_uri, tmp_path, 0.1) as world:
        snapshot = world.make(SITE)
        header = header_of(world, snapshot)
        require_whole(world.stored(snapshot), snapshot)

    assert (snapshot.status.value, header["gate"]["tries"]) == ("done", 2)
    assert 0.1 <= header["gate"]["closed_seconds"] < 0.5, "it was to be stopped in the middle of the file"
    assert copies["large.bin"] == 1


def test_what_people_change_and_remove_between_two_tries_is_as_the_gate_closed(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upload() -> None:
        for number in range(300):
            world.write(f"late/{number:03}.bin", "x" * 400_000, SITE)

    closed, times = Gate.closed, 0

    @contextlib.contextmanager
    def changed_before(gate: Gate) -> Iterator[Any]:
        nonlocal times
        times += 1
        if times > 1:
            world.write("late/000.bin", f"changed {times}", SITE)
            (world.folder(SITE) / f"late/{100 + times}.bin").unlink()
            world.write(f"late/new-{times}.txt", "new", SITE)
        with closed(gate) as period:
            yield period

    monkeypatch.setattr(Gate, "closed", changed_before)
    after_bulk(monkeypatch, upload)
    with closed_at_most(mongo_uri, tmp_path, 0.12) as world:
        snapshot = world.make(SITE)
        at_the_gate = world.files()
        assert times == header_of(world, snapshot)["gate"]["tries"] > 1
        world.write("late/000.bin", "later", SITE)
        for path in (world.folder(SITE) / "late").glob("2*.bin"):
            path.unlink()
        world.restore(snapshot, SITE)
        assert (snapshot.status.value, world.files()) == ("done", at_the_gate)


def test_after_three_tries_that_took_too_long_it_goes_on_without_the_gate_and_says_so(
    mongo_uri: str, tmp_path: Path
) -> None:
    with closed_at_most(mongo_uri, tmp_path, 0.000001) as world, Waiting(world.office.gate) as writer:
        snapshot = world.make(SITE)
        header = header_of(world, snapshot)
        require_whole(world.stored(snapshot), snapshot)

    assert snapshot.status.value == "partial"
    assert [(one.code, one.subject) for one in snapshot.problems] == [("changed", "")]
    assert snapshot.problems[0].what.startswith("The gate could not be closed")  # a sentence: it has no subject
    assert header["gate"]["tries"] == 3
    assert 0 < header["gate"]["closed_seconds"] < 1
    assert writer.longest < header["gate"]["closed_seconds"] + 0.5


def test_capped_collections_for_which_there_is_no_time_are_read_later_and_marked(
    mongo_uri: str, tmp_path: Path
) -> None:
    with closed_at_most(mongo_uri, tmp_path, 0.000001) as world:
        world.db.create_collection("ring", capped=True, size=100_000).insert_one({"_id": 1})
        snapshot = world.make(SITE)
        lines = (world.stored(snapshot) / "manifest.jsonl").read_text().splitlines()
    ring = [json.loads(one) for one in lines if '"collection":"ring"' in one]

    assert [(one["documents"], one.get("outside_instant")) for one in ring] == [(1, True)]

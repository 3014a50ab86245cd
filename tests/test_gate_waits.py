"""How long writers wait for a snapshot: as long as it says that the gate was closed, and not through all its tries."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from keyframe.settings import GateSettings
from keyframe.stores.gate import Gate
from world import SITE, World, new_world


class Writers:
    """One who holds the gate for `slow` seconds, and one who takes it again and again; how long that one waited."""

    def __init__(self, gate: Gate, slow: float) -> None:
        self._gate = gate
        self._slow = slow
        self._stop = threading.Event()
        self._inside = threading.Event()
        self.longest = 0.0

    def __enter__(self) -> Writers:
        self._threads = [threading.Thread(target=one) for one in (self._write_slowly, self._write_often)]
        for thread in self._threads:
            thread.start()
        assert self._inside.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write_slowly(self) -> None:
        with self._gate.shared(10):
            self._inside.set()
            self._stop.wait(self._slow)

    def _write_often(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            with self._gate.shared(30):
                self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.005)


@contextlib.contextmanager
def closing_within(mongo_uri: str, folder: Path, seconds: float) -> Iterator[World]:
    with new_world(mongo_uri, folder, gate=GateSettings(close_within=seconds)) as world:
        yield world


def test_the_header_counts_all_the_time_that_writers_were_kept_out(mongo_uri: str, tmp_path: Path) -> None:
    with closing_within(mongo_uri, tmp_path, 10) as world:
        with Writers(world.office.gate, slow=1.0) as writers:
            snapshot = world.make(SITE)
        header = json.loads((world.stored(snapshot) / "snapshot.json").read_bytes())

    assert header["gate"]["tries"] == 1
    assert writers.longest > 0.5, "somebody was to wait"
    assert writers.longest < header["gate"]["closed_seconds"] + 0.1


def test_writers_are_let_in_between_two_tries_to_close_the_gate(mongo_uri: str, tmp_path: Path) -> None:
    with closing_within(mongo_uri, tmp_path, 1.0) as world:
        with Writers(world.office.gate, slow=60) as writers:
            snapshot = world.make(SITE)
        header = json.loads((world.stored(snapshot) / "snapshot.json").read_bytes())

    assert (snapshot.status.value, header["gate"]) == ("partial", {"closed_seconds": 0.0, "tries": 3})
    assert 0.8 < writers.longest < 2.0

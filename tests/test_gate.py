"""The gate, between real processes: who waits for whom, for how long, and what a killed one leaves."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from keyframe.errors import UnavailableError
from keyframe.settings import GateSettings
from keyframe.stores.gate import Gate

SPAWN = multiprocessing.get_context("spawn")


def gate_in(folder: Path, close_within: float = 10.0) -> Gate:
    return Gate(folder / ".keyframe", GateSettings(close_within=close_within))


# What other processes do. Each tells twice: that it is about to begin, and when it had what it wanted.


def write_once(folder: Path, tell: Connection) -> None:
    tell.send(time.monotonic())
    with gate_in(folder).shared(60):
        tell.send(time.monotonic())


def write_until_killed(folder: Path, tell: Connection) -> None:
    tell.send(time.monotonic())
    with gate_in(folder).shared(60):
        tell.send(time.monotonic())
        signal.pause()


def close_until_killed(folder: Path, tell: Connection) -> None:
    tell.send(time.monotonic())
    with gate_in(folder).closed():
        tell.send(time.monotonic())
        signal.pause()


def write_again_and_again(folder: Path, tell: Connection) -> None:
    """Four threads, each of which holds the gate for 40 ms, lets go, and takes it again at once."""

    def write() -> None:
        while True:
            with gate_in(folder).shared(60):
                time.sleep(0.04)

    tell.send(time.monotonic())
    for _ in range(4):
        threading.Thread(target=write, daemon=True).start()
        time.sleep(0.01)
    tell.send(time.monotonic())
    signal.pause()


class Other:
    """Another process."""

    def __init__(self, what: Callable[[Path, Connection], None], folder: Path) -> None:
        self._pipe, theirs = SPAWN.Pipe(duplex=False)
        self._process = SPAWN.Process(target=what, args=(folder, theirs))
        self._process.start()
        theirs.close()
        self.told()

    def told(self, seconds: float = 30.0) -> float:
        """When it came to its next point."""
        assert self._pipe.poll(seconds), "the other process did not get there"
        return float(self._pipe.recv())

    def is_silent_for(self, seconds: float) -> bool:
        return not self._pipe.poll(seconds)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@contextmanager
def other(what: Callable[[Path, Connection], None], folder: Path) -> Iterator[Other]:
    process = Other(what, folder)
    try:
        yield process
    finally:
        process.kill()


def test_writers_of_several_processes_share_the_gate(tmp_path: Path) -> None:
    with other(write_until_killed, tmp_path) as first, other(write_until_killed, tmp_path) as second:
        first.told()
        second.told()

        with gate_in(tmp_path).shared(0):
            pass


def test_a_stream_of_writers_does_not_starve_who_closes(tmp_path: Path) -> None:
    with other(write_again_and_again, tmp_path) as first, other(write_again_and_again, tmp_path) as second:
        first.told()
        second.told()

        for _ in range(5):
            with gate_in(tmp_path).closed():
                pass


def test_writers_wait_while_the_gate_is_closed(tmp_path: Path) -> None:
    closed = ExitStack()
    closed.enter_context(gate_in(tmp_path).closed())
    with other(write_once, tmp_path) as writer:
        waited = writer.is_silent_for(0.5)
        opened = time.monotonic()
        closed.close()

        assert waited
        assert writer.told() >= opened


def test_who_closes_waits_for_the_writers_before_him_and_lets_none_in_after_him(tmp_path: Path) -> None:
    writing = ExitStack()
    writing.enter_context(gate_in(tmp_path).shared(0))
    with other(close_until_killed, tmp_path) as closer:
        waited = closer.is_silent_for(0.5)
        with pytest.raises(UnavailableError), gate_in(tmp_path).shared(0.2):
            pass
        writing.close()

        assert waited
        closer.told()


@pytest.mark.parametrize("what", [write_until_killed, close_until_killed])
def test_a_killed_process_leaves_no_lock(tmp_path: Path, what: Callable[[Path, Connection], None]) -> None:
    with other(what, tmp_path) as process:
        process.told()
        process.kill()

    with gate_in(tmp_path, close_within=0.5).closed():
        pass


def test_a_child_that_was_forked_meanwhile_keeps_no_lock(tmp_path: Path) -> None:
    gate = gate_in(tmp_path, close_within=0.5)
    with gate.shared(0):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)

    try:
        with gate.closed():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_writer_gives_up_at_his_deadline(tmp_path: Path) -> None:
    with gate_in(tmp_path).closed():
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="nobody can write at the moment"), gate_in(tmp_path).shared(0.3):
            pass

        assert 0.3 <= time.monotonic() - began < 5


def test_who_cannot_close_in_time_lets_the_writers_in_again(tmp_path: Path) -> None:
    gate = gate_in(tmp_path, close_within=0.3)
    with gate.shared(0):
        began = time.monotonic()
        with pytest.raises(UnavailableError, match=r"still writing after 0\.3 s"), gate.closed():
            pass

        assert 0.3 <= time.monotonic() - began < 5
        with gate.shared(0):
            pass


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    gate = gate_in(tmp_path, close_within=0.2)
    with gate.closed(), pytest.raises(UnavailableError), gate.shared(0):
        pass
    with gate.shared(0), pytest.raises(UnavailableError), gate.closed():
        pass


def test_the_gate_opens_when_what_is_done_inside_fails(tmp_path: Path) -> None:
    gate = gate_in(tmp_path, close_within=0.2)
    with pytest.raises(OSError, match="inside"), gate.closed():
        raise OSError("inside")

    with gate.closed():
        pass


def test_the_lock_files_are_never_replaced(tmp_path: Path) -> None:
    gate = gate_in(tmp_path)
    with gate.closed():
        before = {path.name: path.stat().st_ino for path in (tmp_path / ".keyframe").iterdir()}
    with gate.shared(0), gate.shared(0):
        pass

    after = {path.name: path.stat().st_ino for path in (tmp_path / ".keyframe").iterdir()}
    assert after == before
    assert set(after) == {"turnstile", "gate"}


def test_a_gate_is_made_without_touching_the_disk_and_says_when_it_cannot(tmp_path: Path) -> None:
    (tmp_path / ".keyframe").write_text("not a folder")
    gate = gate_in(tmp_path)

    with pytest.raises(UnavailableError, match="lock file cannot be used"), gate.shared(0):
        pass
    with pytest.raises(UnavailableError, match="lock file cannot be used"), gate.closed():
        pass

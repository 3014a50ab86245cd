"""Making stores fail: errors put around the real functions, and what must hold afterwards."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from typing import Any

import pytest
from keyframe.backup import finishing
from keyframe.model import Outcome, OutcomeStatus, Snapshot
from whole import require_whole
from world import EDITION, PROJECT, World

DONE, UNCHANGED, FAILED = OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.FAILED
_LONGEST_WAIT = 60.0  # seconds; no test needs more
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


def impatient(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Faults, and a restore that does not wait long between its tries to finish."""
    monkeypatch.setattr(finishing, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(finishing, "_LONGEST_PAUSE", 0.05)
    began, wait = time.monotonic(), finishing.Finishing._wait

    def bounded(restore: finishing.Finishing, seconds: float, *more: Any, **named: Any) -> None:
        assert time.monotonic() - began < _LONGEST_WAIT, "the restore waits for ever"
        wait(restore, seconds, *more, **named)

    monkeypatch.setattr(finishing.Finishing, "_wait", bounded)
    return Faults(monkeypatch)


def require_clean(world: World) -> None:
    """No intent, no draft, nothing staged, and every snapshot is whole."""
    assert not list((world.settings.data / ".keyframe/intents").glob("*.json"))
    assert not list((world.settings.repository / ".drafts").glob("*"))
    assert not list((world.settings.working / ".keyframe").glob("*"))
    for snapshot in world.office.desk.snapshots(world.ask, PROJECT).items:
        require_whole(world.stored(snapshot), snapshot)


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

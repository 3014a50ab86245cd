"""Each named step meets an error once: the state is wholly old or wholly new, nothing is left over.

The errors are dealt round robin; `make soak` tries every pair of a step and an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
import structlog
from crash_child import Crasher
from failing import impatient
from failing_steps import ERRORS, Failing
from keyframe.backup import copying
from keyframe.stores.draft_files import DraftFiles
from mongod import Mongod, roomy
from steps import STEPS
from sweep import BEGINNING, COPIES, DECIDING, ENDING, FILES, PASSED, PREPARING, RECOVERING
from world import PROJECT, SITE, new_world

RECORDS = ("records", "fence", "body", "commit records")
POINTS = {
    "restore": (*BEGINNING, *PREPARING, *DECIDING, *RECORDS, *FILES, *ENDING),
    "make": PASSED["make"],
    "undo": ("mark undone",),
    "recover": (*RECOVERING, "lock files", "records", "rename", "conclude", "unlock"),
    "delete": PASSED["delete"],
    "undelete": PASSED["undelete"],
    "copy": (*PASSED["copy"], "note:2", "confirm", "end"),
    "duplicate": (*PASSED["duplicate"], "note", "place", "intent", "json", "records", "commit records", "unlock",
                  "unnote"),
}  # fmt: skip
STRUCTURE = ("create", "fill collection", "drop", "modify", "drop index", "create index")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """A server of these tests alone: it is killed."""
    with roomy(tmp_path_factory.mktemp("mongod")) as folder:
        own = Mongod(folder)
        try:
            yield own.start()
        finally:
            own.stop()


@pytest.fixture(autouse=True)
def patient_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No long pauses between tries, and each file is copied by itself: that is a named step. Errors that nobody foresaw
    are logged plainly; to show them with all values in them takes a second for each."""
    impatient(monkeypatch)
    monkeypatch.setattr("failing._LONGEST_WAIT", 10**6)
    monkeypatch.setattr(copying, "WORTH_COPYING", 1 << 60)
    monkeypatch.setattr(DraftFiles, "way", lambda *_: None)
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])
    yield
    structlog.reset_defaults()


def test_no_step_is_left_out() -> None:
    met = {step.partition(":")[0] for steps in POINTS.values() for step in steps} | {*STRUCTURE}

    assert len(met) >= 40
    assert {*COPIES} <= met
    assert set(STEPS) - met == {"turn back"}  # a file that is touched


@pytest.mark.parametrize("act", POINTS)
def test_an_error_at_any_step_leaves_a_whole_state(server: Mongod, crasher: Crasher, tmp_path: Path, act: str) -> None:
    with new_world(server.uri, tmp_path) as world:
        failing, errors = Failing(world, server, crasher, PROJECT), cycle(ERRORS)

        missed = [step for number, step in enumerate(POINTS[act]) if not failing.meet(act, step, next(errors), number)]

    assert missed == []


def test_an_error_at_any_step_about_collections_leaves_a_whole_state(
    server: Mongod, crasher: Crasher, tmp_path: Path
) -> None:
    with new_world(server.uri, tmp_path) as world:
        failing, errors = Failing(world, server, crasher, SITE), cycle([*ERRORS][3:])

        missed = [
            step for number, step in enumerate(STRUCTURE) if not failing.meet("restore", step, next(errors), number)
        ]

    assert missed == []

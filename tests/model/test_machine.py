"""All interleavings of the small machine, up to a bound: nothing is lost, nothing is mixed, an undo is exact."""

from __future__ import annotations

import itertools
from typing import Any

import machine
import promises
import pytest
from crash_child import Crasher
from machine import BY_PEOPLE, PROGRAMS, RESTORE, Bounds, Move, Snap, State, explore
from steps import STEPS
from sweep import COPIES
from world import PROJECT, World


def first(**bounds: int) -> State:
    """A live state, and a snapshot of an older one."""
    return State((2, 2), (Snap((1, 1)),), (), (None, None), bounds=Bounds(**bounds))


# Everything at once is too much; each of these goes through all of a part.
BOUNDS = {
    "a restore, its undo, and writers": {"jobs": 2, "writes": 2, "crashes": 0},
    "crashes, of the recovery too": {"jobs": 1, "writes": 1, "crashes": 3, "wishes": 1},
    "two jobs, and a crash": {"jobs": 2, "writes": 1, "crashes": 1, "wishes": 1},
    "a process that wakes up when its job is another's": {"jobs": 1, "writes": 1, "crashes": 1, "stops": 2},
    "deletions": {"jobs": 2, "writes": 1, "crashes": 0, "deletes": 1},
}


@pytest.mark.parametrize("name", BOUNDS)
def test_no_interleaving_breaks_a_promise(name: str) -> None:
    outcomes: set[tuple[str, str]] = set()

    def check(before: State, after: State) -> None:
        promises.require(before, after)
        outcomes.update((job.kind, job.outcome) for job in after.jobs if job.outcome)

    states = explore(first(**BOUNDS[name]), check, most=400_000)

    assert states > 1_000
    assert ("restore", "done") in outcomes and ("make", "done") in outcomes
    if BOUNDS[name]["jobs"] > 1:
        assert ("undo", "done") in outcomes
    if BOUNDS[name].get("wishes"):
        assert ("restore", "cancelled") in outcomes
    if BOUNDS[name]["crashes"]:
        assert ("restore", "failed") in outcomes


def without(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the machine in one place."""
    for name, moves in PROGRAMS.items():
        broken = [Move(move.steps, machine.nothing) if change in move.steps else move for move in moves]
        monkeypatch.setitem(PROGRAMS, name, broken)


# Each of these is needed: without it the machine finds a way to break a promise.
@pytest.mark.parametrize(
    ("step", "bounds"),
    [
        ("recheck", BOUNDS["a restore, its undo, and writers"]),
        ("close gate", BOUNDS["a restore, its undo, and writers"]),
        ("mark", BOUNDS["crashes, of the recovery too"]),
        ("mark undone", BOUNDS["a restore, its undo, and writers"]),
        ("lock files", BOUNDS["a process that wakes up when its job is another's"]),
        ("confirm", BOUNDS["a process that wakes up when its job is another's"]),
    ],
)
def test_the_machine_finds_a_step_that_lacks(
    monkeypatch: pytest.MonkeyPatch, step: str, bounds: dict[str, int]
) -> None:
    without(step, monkeypatch)

    with pytest.raises(AssertionError):
        explore(first(**bounds), promises.require, most=400_000)


# --- the machine and the code


def test_the_steps_of_the_machine_are_those_of_the_code() -> None:
    named = {step for moves in PROGRAMS.values() for move in moves for step in move.steps} | {*BY_PEOPLE}

    assert named == set(STEPS) - {*COPIES}  # which change nothing that is live


def test_the_code_takes_its_steps_in_the_order_of_the_machine(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)

    trace: Any = crasher.run(world, job.id).trace

    entered = [line.split(":")[0] for line in trace if ":before:" in line]
    ended = [line.split(":")[0] for line in trace if ":after:" in line]
    moves = [[step for step in move.steps if entered.count(step) == 1] for move in RESTORE]
    order = [step for steps in moves for step in steps]
    assert len(order) > 20
    for earlier, later in itertools.pairwise(moves):
        for one in earlier:
            for other in later:
                assert entered.index(one) < entered.index(other), f"{one} before {other}"
    for one, other in (("intent", "records"), ("records", "touched"), ("touched", "conclude")):
        assert ended.index(one) < ended.index(other)

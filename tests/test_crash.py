"""A process that restores is killed at every named step: the state is wholly old or wholly new.

Each time a process of its own (`crash_child.py`) does the job and ends by SIGKILL at the step; then a fresh office
recovers, as a starting worker does. The same of undo and recovery is in `test_crash_recovery.py`, of the restore of a
project, of making, deleting and undeleting in `test_crash_make.py`.
"""

from __future__ import annotations

import pytest
from crash_child import Crasher
from steps import MANAGERS, STEPS
from sweep import (
    BEGINNING,
    COMMITTING,
    COPYING,
    DATABASE,
    DECIDING,
    ENDING,
    FILES,
    PASSED,
    PREPARING,
    kill_a_restore,
)
from world import SITE, World

pytestmark = pytest.mark.usefixtures("quick_transactions")

GROUPS = [(*BEGINNING, *PREPARING), (*DECIDING, *ENDING), DATABASE, FILES]
INSIDE_THE_SAFETY_SNAPSHOT = (*COPYING, *COMMITTING)


def test_every_named_step_is_passed_by_a_sweep() -> None:
    assert len(STEPS) >= 40
    assert {step for steps in PASSED.values() for step in steps} == set(STEPS)
    assert {step for group in GROUPS for step in group} | {*INSIDE_THE_SAFETY_SNAPSHOT} == set(PASSED["restore"])
    assert set(STEPS) >= MANAGERS


@pytest.mark.parametrize("steps", GROUPS, ids=lambda steps: steps[0])
def test_a_killed_restore_of_the_site_is_wholly_old_or_wholly_new(
    world: World, crasher: Crasher, steps: tuple[str, ...]
) -> None:
    kill_a_restore(world, crasher, SITE, steps, turns=None if steps != GROUPS[0] else 0)


def test_a_restore_that_is_killed_in_its_safety_snapshot_changes_nothing(world: World, crasher: Crasher) -> None:
    kill_a_restore(world, crasher, SITE, INSIDE_THE_SAFETY_SNAPSHOT, turns=0)

"""Every pair of a named step and an error, in an order of chance.

`make soak` runs it until its seconds are over, or all pairs are done; the seed is printed.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from crash_child import Crasher
from failing_steps import ERRORS, Failing
from mongod import Mongod
from test_fault_sweep import POINTS, STRUCTURE, patient_tests, server
from world import PROJECT, SITE, new_world

__all__ = ["patient_tests", "server"]  # fixtures

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)


def test_every_error_at_every_step_leaves_a_whole_state(server: Mongod, crasher: Crasher, tmp_path: Path) -> None:
    pairs = [(act, step, error) for act, steps in POINTS.items() for step in steps for error in ERRORS]
    pairs += [("structure", step, error) for step in STRUCTURE for error in ERRORS]
    random.Random(SEED).shuffle(pairs)
    end, done, missed = time.monotonic() + SECONDS, 0, []
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
    with new_world(server.uri, tmp_path / "a") as one, new_world(server.uri, tmp_path / "b") as other:
        of_project, of_site = Failing(one, server, crasher, PROJECT), Failing(other, server, crasher, SITE)
        for number, (act, step, error) in enumerate(pairs):
            if time.monotonic() > end:
                break
            failing, what = (of_site, "restore") if act == "structure" else (of_project, act)
            if not failing.meet(what, step, error, number):
                missed.append((act, step))
            done += 1
    print(f"\n{done} of {len(pairs)} pairs of a step and an error, seed {SEED}")
    assert done
    assert missed == []

"""A process that makes, deletes or undeletes is killed at every named step: a snapshot is whole, in one place, or not.

As `test_crash.py` does it with a restore of the site; and the restore of a project, in one transaction and in batches.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from crash_child import Crasher
from keyframe.model import Scope
from sweep import (
    DECIDING,
    DONE,
    ENDING,
    FILES,
    PASSED,
    UNCHANGED,
    kill_a_restore,
    points,
    recovered,
    require_clean,
    turn,
)
from whole import require_whole
from world import PROJECT, SITE, World, new_world

pytestmark = pytest.mark.usefixtures("quick_transactions")


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_a_killed_make_leaves_a_whole_snapshot_or_none(world: World, crasher: Crasher, scope: Scope) -> None:
    desk = world.office.desk
    checked: set[Path] = set()
    world.make(scope)
    turn(world, "first")
    whole = crasher.run(world, desk.make(world.ask, scope).id, one_by_one=True)

    for number, point in enumerate(points(whole.trace, PASSED["make"], turns=int(scope.is_site))):
        turn(world, f"{number}")
        before, listed = world.state(), desk.snapshots(world.ask, scope).items
        job = desk.make(world.ask, scope)

        death = crasher.run(world, job.id, point)
        recovered(world, job)

        assert death.killed, point
        assert world.state() == before, point
        committed = "commit:after:1" in death.trace
        assert len(desk.snapshots(world.ask, scope).items) == len(listed) + committed, point
        made = world.done(desk.make(world.ask, scope))
        assert made.status is (UNCHANGED if committed else DONE), point
        require_clean(world, checked)


@pytest.mark.parametrize("act", ["delete", "undelete"])
def test_a_killed_move_of_a_snapshot_leaves_it_whole_in_one_place(world: World, crasher: Crasher, act: str) -> None:
    desk = world.office.desk
    snapshot = world.make(PROJECT, note="kept")
    before = world.state()

    def deleted() -> bool:
        lists = [[one.name for one in desk.snapshots(world.ask, PROJECT, trash=trash).items] for trash in (False, True)]
        assert sorted(lists) == [[], [snapshot.name]], "it is in one place"
        return not lists[0]

    def bring(to_trash: bool) -> None:
        if deleted() != to_trash:
            (desk.delete if to_trash else desk.undelete)(world.ask, PROJECT, snapshot.name)

    bring(act == "undelete")
    whole = crasher.ask(world, act, PROJECT.key, snapshot.name)
    assert (whole.code, deleted()) == (0, act == "delete")

    for point in points(whole.trace, PASSED[act]):
        bring(act == "undelete")

        death = crasher.ask(world, act, PROJECT.key, snapshot.name, point)

        assert death.killed, point
        moved = any(line.startswith("commit:after") for line in death.trace)
        assert deleted() == (moved == (act == "delete")), point
        bring(False)  # whoever died holds nothing up
        found = desk.snapshot(world.ask, PROJECT, snapshot.name)
        assert (found.status, found.note, found.deleted_at) == ("done", "kept", None), point
        require_whole(world.stored(snapshot), found)
        assert world.state() == before, point
    world.spoil()
    assert world.restore(snapshot).status is DONE
    assert world.state() == before


# --- the restore of a project


def test_a_killed_restore_of_a_project_is_wholly_old_or_wholly_new(world: World, crasher: Crasher) -> None:
    steps = ("recheck", *DECIDING, "records", "fence", "body", "commit records", *FILES, *ENDING)
    kill_a_restore(world, crasher, PROJECT, steps, turns=1)


def test_a_killed_restore_in_batches_is_wholly_old_or_wholly_new(
    mongo_uri: str, tmp_path: Path, crasher: Crasher
) -> None:
    with new_world(mongo_uri, tmp_path, restore={"transaction_records": 1}) as world:
        kill_a_restore(world, crasher, PROJECT, ("records", "fence", "body", "commit records"), in_batches=True)

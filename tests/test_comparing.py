"""How far a comparison is, as the job tells it while records are compared."""

from __future__ import annotations

import pytest
from keyframe.backup.watches import Comparing, Silent
from keyframe.model import Job, Progress, Scope
from world import ONE, PROJECT, SITE, World

_MANY, _PAD = 12_000, "x" * 1000


def told(world: World, job: Job) -> list[Progress]:
    """What a job tells of its comparison, done here."""
    claim = world.office.jobs.claim(only=job.id)
    assert claim is not None
    tell, found = claim.progress, list[Progress]()

    def listening(progress: Progress) -> None:
        found.append(progress)
        tell(progress)

    claim.progress = listening  # type: ignore[method-assign]
    assert world.office.work.run(claim).outcome is not None
    return [one for one in found if one.stage == "comparing"]


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
@pytest.mark.parametrize("changed", [False, True], ids=["unchanged", "changed"])
def test_while_records_are_compared_the_percentage_grows(world: World, scope: Scope, changed: bool) -> None:
    world.db.edition.insert_many([{"projectId": ONE, "title": f"{n}", "pad": _PAD} for n in range(_MANY)])
    snapshot = world.make(scope)
    if changed:
        world.db.edition.update_many({"pad": _PAD}, {"$set": {"pad": "y"}})

    found = told(world, world.office.desk.preview(world.ask, scope, snapshot.name))

    done = [one.done for one in found]
    assert done == sorted(done)
    assert {one.total for one in found} == {100}
    inside = {one.done for one in found if one.item.startswith("edition")}
    assert len([one for one in inside if 5 < one < 95]) >= 3, inside
    percents = [world.office.messages.percent(one) for one in found]
    assert percents == sorted(percents) and max(percents) > 50


def test_where_there_is_nothing_to_compare_nothing_is_divided(world: World) -> None:
    comparing = Comparing(Silent(), (1, 1), 0)

    comparing.expect({})
    comparing.begin("gone")
    comparing.passed(5)
    comparing.end()

    empty = world.make(SITE)
    assert told(world, world.office.desk.preview(world.ask, SITE, empty.name))


def test_in_a_restore_the_comparison_is_one_step_of_it(world: World) -> None:
    snapshot = world.make(SITE)
    world.spoil()

    found = told(world, world.office.desk.restore(world.ask, SITE, snapshot.name))

    assert {(one.step, one.steps) for one in found} == {(2, 5)}

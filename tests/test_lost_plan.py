"""A plan that is swept away while it is carried out is computed again, and never taken for one that does nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from keyframe.backup.finishing import Finishing
from keyframe.backup.restore import Restore
from keyframe.backup.staging import Staging
from keyframe.backup.touched import Touched
from keyframe.errors import NotFoundError
from keyframe.model import OutcomeStatus
from keyframe.stores.mongo_write import MongoWriter
from keyframe.stores.plans import Plans
from world import PROJECT, World

PLACES = [
    (Restore, "_begin"),
    (MongoWriter, "write"),
    (Staging, "move"),
    (Touched, "is_as_planned"),
    (Finishing, "_conclude"),
]


def lose(world: World) -> int:
    """Remove all plans, as the next preview of anybody does where the clock was set forward. How many files it were."""
    lost = [path for path in (world.settings.data / ".keyframe/plans").iterdir() if path.suffix]
    for path in lost:
        path.unlink()
    return len(lost)


def losing(world: World, real: Callable[..., Any], *, after: bool, lost: list[int]) -> Callable[..., Any]:
    def with_loss(*given: Any, **more: Any) -> Any:
        if not after and not lost:
            lost.append(lose(world))
        found = real(*given, **more)
        if after and not lost:
            lost.append(lose(world))
        return found

    return with_loss


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("place", "name"), PLACES, ids=[name for _, name in PLACES])
def test_a_restore_that_is_done_is_done_whatever_became_of_its_plan(
    world: World, monkeypatch: pytest.MonkeyPatch, place: type, name: str, after: bool
) -> None:
    snapshot, wanted = world.make(PROJECT), world.state()
    world.spoil()
    spoilt, lost = world.state(), list[int]()

    with monkeypatch.context() as patch:
        patch.setattr(place, name, losing(world, getattr(place, name), after=after, lost=lost))
        outcome = world.restore(snapshot)

    assert lost[0] > 0
    assert world.state() == (wanted if outcome.status is OutcomeStatus.DONE else spoilt)
    assert outcome.status is OutcomeStatus.DONE
    assert outcome.warnings == ()


def test_a_lost_plan_is_none_and_an_empty_one_does_nothing(world: World) -> None:
    snapshot = world.make(PROJECT)
    plan = world.preview(snapshot)
    plans = Plans(world.settings.data / ".keyframe/plans")

    assert list(plans.items(plan.digest)) == list(plans.items_of(plan.digest, "file", "record")) == []
    lose(world)
    with pytest.raises(NotFoundError):
        list(plans.items(plan.digest))
    with pytest.raises(NotFoundError):
        list(plans.items_of(plan.digest, "file"))


def test_a_plan_that_waited_long_for_its_files_is_kept_for_another_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, wanted = world.make(PROJECT), world.state()
    world.spoil()
    real = Staging.fill

    def long_after(self: Staging, *given: Any) -> None:
        real(self, *given)
        for path in (world.settings.data / ".keyframe/plans").iterdir():
            os.utime(path, (0, 0))

    monkeypatch.setattr(Staging, "fill", long_after)
    begin = Restore._begin

    def begun(self: Restore, *given: Any) -> Any:
        Plans(world.settings.data / ".keyframe/plans").writer().drop()  # sweeps
        return begin(self, *given)

    monkeypatch.setattr(Restore, "_begin", begun)
    real_finish = Finishing.finish
    finished = list[object]()
    monkeypatch.setattr(Finishing, "finish", lambda self, intent: finished.append(intent) or real_finish(self, intent))

    assert world.restore(snapshot).status is OutcomeStatus.DONE
    assert world.state() == wanted
    assert finished == []

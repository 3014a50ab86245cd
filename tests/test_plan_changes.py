"""What became different between the plan that was agreed to and the one that would be carried out now."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.model import Change, Counts, Plan, PlanChange, PlanChanges, PlanItem, Scope, Selection
from keyframe.stores import plan_changes
from keyframe.stores.plan_changes import MOST, changes_of
from keyframe.stores.plans import Plans
from world import EDITION, PROJECT, World

NONE = Counts()
CREATE, REPLACE, DELETE = Change.CREATE, Change.REPLACE, Change.DELETE


def item(number: int, change: Change = CREATE, size: int = 1) -> PlanItem:
    """The `number`-th thing of a site: files, records, indexes by turns."""
    kind = ("file", "record", "index")[number % 3]
    detail: dict[str, Any] = {"collection": "c", "id": f"{number:04x}"} if kind == "record" else {}
    return PlanItem(change, kind, f"{kind}/{number}", size, "", detail)


def save(plans: Plans, items: Iterable[PlanItem]) -> str:
    writer = plans.writer()
    for one in items:
        writer.add(one)
    head = Plan(Scope.site(), Scope.site(), "x", Selection(), False, False, NONE, NONE, NONE, NONE, 0, (), "")
    return writer.save(head).digest


THINGS = st.dictionaries(st.integers(0, 30), st.tuples(st.sampled_from(list(Change)), st.integers(1, 2)), max_size=14)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(THINGS, THINGS)
def test_the_differences_are_exactly_what_is_in_one_plan_only_or_another_in_the_second(
    tmp_path: Path, old: dict[int, tuple[Change, int]], new: dict[int, tuple[Change, int]]
) -> None:
    plans = Plans(tmp_path)
    agreed, now = (save(plans, (item(one, *side[one]) for one in sorted(side))) for side in (old, new))

    found = changes_of(plans, agreed, now)

    expected = {
        item(one).name: (old[one][0] if one in old else None, new[one][0] if one in new else None)
        for one in old.keys() | new.keys()
        if old.get(one) != new.get(one)
    }
    assert found.number == len(expected)
    named = {one.name: (one.was, one.now) for one in found.named}
    assert named.items() <= expected.items()
    assert len(named) == min(MOST, len(expected))
    assert not list(tmp_path.glob(".compare-*"))


def test_of_many_the_first_are_named_and_all_are_counted(tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    agreed = save(plans, map(item, range(5000)))
    now = save(plans, (item(one, size=2 if one > 4000 else 1) for one in range(10, 6000)))

    found = changes_of(plans, agreed, now)

    assert found.number == 10 + 999 + 1000
    assert [one.name for one in found.named[:2]] == [item(4001).name, item(4002).name]
    assert (found.named[0].was, found.named[0].now) == (CREATE, CREATE)


def test_a_plan_that_is_gone_or_a_full_disk_tells_nothing_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = Plans(tmp_path)
    agreed, now = save(plans, [item(1)]), save(plans, [item(2)])
    (tmp_path / f"{agreed}.items").rename(tmp_path / "elsewhere")

    gone = changes_of(plans, agreed, now)
    (tmp_path / "elsewhere").rename(tmp_path / f"{agreed}.items")

    def full(*_: Any, **__: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(plan_changes.sqlite3, "connect", full)
    assert gone == PlanChanges()
    assert changes_of(plans, agreed, now) == PlanChanges()


def test_names_of_any_bytes_are_told_apart(tmp_path: Path) -> None:
    plans = Plans(tmp_path)
    odd = [replace(item(0), name=name) for name in ("a\udcff", "a\udcfe", "a\ufffd")]

    found = changes_of(plans, save(plans, odd[:1]), save(plans, odd))

    assert [one.as_dict()["name"] for one in found.named] == ["a\ufffd", "a\ufffd"]
    assert sorted(one.name.encode("utf-8", "surrogateescape") for one in found.named) == [b"a\xef\xbf\xbd", b"a\xfe"]


def test_a_change_survives_the_way_through_a_report() -> None:
    changes = PlanChanges(
        (PlanChange("file", "a", "", None, DELETE), PlanChange("record", "c/1", "t", REPLACE, None)), 7
    )

    assert PlanChanges.from_dict({"digest": "x", **changes.as_dict()}) == changes
    assert PlanChanges.from_dict({"digest": "x"}) == PlanChanges()


def test_an_overtaken_restore_names_what_became_different(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    plan = world.preview(snapshot)
    world.write(f"edition/{EDITION[1]}/late.txt")
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "once more"}})
    world.db.edition.delete_one({"_id": "stray"})

    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name, plan=plan.digest)
    outcome = world.done(job)

    assert outcome.report is not None
    changed = PlanChanges.from_dict(outcome.report)
    assert {(one.name, one.was, one.now) for one in changed.named} == {
        (f"edition/{EDITION[1]}/late.txt", None, DELETE),
        (f"edition/{EDITION[0]}", REPLACE, REPLACE),
        ("edition/stray", DELETE, None),
    }
    said = world.office.messages.outcome(world.office.desk.job(world.ask, job.id))
    assert sorted(world.office.messages.problem(one) for one in said.problems) == [
        "Record edition Edition 0 has changed since; it would be replaced.",
        "Record edition stray is as in the snapshot by now: nothing would happen to it.",
        f"edition/{EDITION[1]}/late.txt would be removed now.",
    ]

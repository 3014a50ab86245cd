"""Collections that projects share: the restore of one makes them where they are gone, its undo drops them."""

from __future__ import annotations

from typing import Any

import pytest
from keyframe.backup.finishing import Finishing
from keyframe.backup.staging import Staging
from keyframe.errors import CancelledError, UnavailableError
from keyframe.model import Outcome, OutcomeStatus, Scope, Selection, Snapshot
from keyframe.stores.gate import Gate
from keyframe.stores.mongo_write import MongoWriter
from world import EDITION, ONE, PROJECT, SITE, TWO, World

pytestmark = pytest.mark.usefixtures("quick_transactions")

DONE = OutcomeStatus.DONE


@pytest.fixture
def snapshot(world: World) -> Snapshot:
    """Of the first project, with a collection that has everything one can have."""
    records = list(world.db.edition.find())
    world.db.edition.drop()
    world.db.create_collection(
        "edition",
        collation={"locale": "nl", "strength": 1},
        validator={"title": {"$type": "string"}},
        validationLevel="moderate",
    ).insert_many(records)
    world.db.edition.create_index("title", unique=True, collation={"locale": "en", "strength": 2})
    world.db.edition.create_index("weights", name="partial", partialFilterExpression={"title": {"$exists": True}})
    return world.make()


def structure(world: World) -> tuple[Any, ...]:
    records = world.records()
    return tuple(records.get(f"edition {what}") for what in ("options", "indexes"))


def undo(world: World, scope: Scope = PROJECT) -> Outcome:
    return world.done(world.office.desk.undo(world.ask, scope))


def planned(world: World, plan: Any) -> list[tuple[str, str, str]]:
    items = world.office.desk.plan_items(world.ask, plan.digest).items
    return [(one.change, one.kind, one.name) for one in items if one.kind not in ("record", "file", "link")]


@pytest.mark.parametrize("scope", [PROJECT, SITE], ids=["its own snapshot", "one of the site"])
def test_a_collection_that_is_gone_is_made_as_it_was_and_dropped_by_the_undo(
    world: World, snapshot: Snapshot, scope: Scope
) -> None:
    snapshot = snapshot if scope is PROJECT else world.make(SITE)
    chosen = None if scope is PROJECT else Selection(projects=(str(ONE),))
    before = structure(world)
    world.db.edition.drop()
    gone = world.state()

    plan = world.preview(snapshot, scope, *([chosen] if chosen else []))
    outcome = world.restore(snapshot, scope, chosen, plan=plan.digest)
    restored = world.state()

    assert planned(world, plan) == [
        ("create", "collection", "edition"),
        ("create", "index", "edition/partial"),
        ("create", "index", "edition/title_1"),
    ]
    assert (outcome.status, outcome.problems, outcome.warnings) == (DONE, (), ())
    assert structure(world) == before
    assert {one["_id"] for one in world.db.edition.find()} == set(EDITION[:2])
    assert undo(world).status is DONE
    assert world.state() == gone
    assert undo(world).status is DONE
    assert world.state() == restored


def test_an_edition_alone_comes_back_into_a_collection_as_it_was(world: World, snapshot: Snapshot) -> None:
    before = structure(world)
    world.db.edition.drop()
    gone = world.state()

    outcome = world.restore(snapshot, selection=Selection(editions=(str(EDITION[0]),)))

    assert outcome.status is DONE
    assert structure(world) == before
    assert [one["_id"] for one in world.db.edition.find()] == [EDITION[0]]
    assert undo(world).status is DONE
    assert world.state() == gone


def test_a_restore_without_records_makes_no_collection(world: World, snapshot: Snapshot) -> None:
    world.db.edition.drop()
    world.write("new.txt")

    assert world.restore(snapshot, selection=Selection(only="files")).status is DONE

    assert "edition" not in world.db.list_collection_names()


def test_a_collection_into_which_others_have_written_since_stays_with_the_undo(
    world: World, snapshot: Snapshot
) -> None:
    world.db.edition.drop()
    assert world.restore(snapshot).status is DONE
    world.db.edition.insert_one({"_id": "theirs", "projectId": TWO, "title": "Theirs"})
    before = structure(world)

    assert undo(world).status is DONE

    assert [one["_id"] for one in world.db.edition.find()] == ["theirs"]
    assert structure(world) == before


def test_a_collection_that_others_have_made_meanwhile_is_left_as_it_is(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.db.edition.drop()
    agreed = world.preview(snapshot)
    world.db.edition.insert_one({"_id": "theirs", "projectId": TWO, "title": "Edition 0"})
    before = structure(world)

    assert world.restore(snapshot, plan=agreed.digest).problems[0].code == "stale"
    assert world.restore(snapshot).status is DONE

    assert structure(world) == before
    assert {one["_id"] for one in world.db.edition.find()} == {*EDITION[:2], "theirs"}


@pytest.mark.parametrize("act", ["restore", "undo"])
def test_what_others_write_just_before_the_gate_closes_begins_it_again(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    world.db.edition.drop()
    if act == "undo":
        assert world.restore(snapshot).status is DONE
    real = Staging.fill
    rounds: list[int] = []

    def fill_and_write(self: Staging, *given: Any) -> None:
        real(self, *given)
        if not rounds:
            world.db.edition.insert_one({"_id": "theirs", "projectId": TWO, "title": "Theirs"})
        rounds.append(1)

    monkeypatch.setattr(Staging, "fill", fill_and_write)
    outcome = world.restore(snapshot) if act == "restore" else undo(world)

    assert (outcome.status, len(rounds)) == (DONE, 2)
    kept = {*EDITION[:2], "theirs"} if act == "restore" else {"theirs"}
    assert {one["_id"] for one in world.db.edition.find()} == kept
    assert outcome.report is not None
    assert (outcome.report["creates"]["other"], outcome.report["deletes"]["other"]) == (0, 0)


def interrupted(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Claim the next job, and end it where this step of the writer begins, as if the program had ended."""

    def refuse(*_: Any, **__: Any) -> None:
        raise UnavailableError("is away.")

    def stop(*_: Any) -> Outcome:
        raise CancelledError("was stopped.")

    with monkeypatch.context() as patch:
        patch.setattr(MongoWriter, step, refuse)
        patch.setattr(Finishing, "finish", stop)
        claim = world.office.jobs.claim()
        assert claim is not None
        world.office.work.run(claim)
    assert world.office.intents.open() == (PROJECT,)


@pytest.mark.parametrize("step", ["write", "create_index"])
def test_a_collection_of_which_half_was_made_is_finished_after_a_crash(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before = structure(world)
    world.db.edition.drop()
    gone = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    interrupted(world, monkeypatch, step)
    assert structure(world) != before

    assert world.office.work.run_job(job.id).outcome.status is DONE  # type: ignore[union-attr]

    assert structure(world) == before
    assert {one["_id"] for one in world.db.edition.find()} == set(EDITION[:2])
    assert undo(world).status is DONE
    assert world.state() == gone


def test_a_collection_of_which_half_was_made_goes_where_somebody_wants_the_state_before(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.db.edition.drop()
    gone = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    interrupted(world, monkeypatch, "create_index")

    world.office.desk.turn_back(world.ask, PROJECT)

    assert world.office.work.run_job(job.id).outcome.status is OutcomeStatus.CANCELLED  # type: ignore[union-attr]
    assert world.state() == gone


def test_what_others_write_after_a_crash_keeps_the_collection(
    world: World, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.db.edition.drop()
    assert world.restore(snapshot).status is DONE
    job = world.office.desk.undo(world.ask, PROJECT)
    interrupted(world, monkeypatch, "drop")
    world.db.edition.insert_one({"_id": "theirs", "projectId": TWO, "title": "Theirs"})

    assert world.office.work.run_job(job.id).outcome.status is DONE  # type: ignore[union-attr]

    assert [one["_id"] for one in world.db.edition.find()] == ["theirs"]


def test_the_gate_can_be_closed_again_by_who_has_it_closed(world: World) -> None:
    gate = Gate(world.settings.data / ".keyframe", world.settings.gate)

    with gate.closed() as period:
        with gate.closed() as again:
            assert again is period
        with pytest.raises(UnavailableError), gate.shared(0):
            pass

    with gate.shared(0):
        assert period.until_ns > period.since_ns

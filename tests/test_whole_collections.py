"""Large collections that are not there any more: they come back as a whole, without an item for each record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice

import pytest
from crash_child import Crasher
from keyframe.backup import pairing
from keyframe.model import OutcomeStatus, Plan, Selection, Snapshot
from keyframe.stores.intents import Intent, Intents
from keyframe.stores.mongo_write import MongoWriter
from keyframe.stores.plans import Plans
from sweep import has_begun, recovered
from world import SITE, World

pytestmark = pytest.mark.usefixtures("quick_transactions")

DONE = OutcomeStatus.DONE
MANY = pairing.MANY + 200


def fill(world: World) -> None:
    rows = [{"_id": number, "text": f"note {number}", "zero": 0} for number in range(MANY)]
    world.db.notes.insert_many(rows)
    world.db.notes.create_index("text", unique=True)
    world.db.command("collMod", "notes", validator={"text": {"$type": "string"}})
    world.db.few.insert_many(rows[:5])
    world.db.passing.insert_many([{**row, "at": datetime(2020, 1, 1, tzinfo=UTC)} for row in rows])
    world.db.passing.create_index("at", expireAfterSeconds=10**9)


def items(world: World, plan: Plan) -> set[tuple[str, str, str]]:
    found = Plans(world.settings.data / ".keyframe/plans").items(plan.digest)
    return {(item.change.value, item.kind, item.name) for item in found}


@pytest.fixture
def lost(world: World) -> tuple[Snapshot, object]:
    """A snapshot of a site with large collections, which are then dropped; and the state that it holds."""
    fill(world)
    snapshot, state = world.make(SITE), world.state()
    for name in ("notes", "few", "passing"):
        world.db[name].drop()
    return snapshot, state


def test_one_comes_back_as_one_item_and_its_records_are_counted(world: World, lost: tuple[Snapshot, object]) -> None:
    snapshot, state = lost
    before = world.state()

    plan = world.preview(snapshot, SITE)
    outcome = world.restore(snapshot, SITE, plan=plan.digest)

    of_notes = {("create", "collection", "notes"), ("create", "index", "notes/text_1")}
    assert {one for one in items(world, plan) if one[2].startswith("notes")} == of_notes
    assert {one for one in items(world, plan) if one[2].startswith("few/")} == {
        ("create", "record", f"few/{number}") for number in range(5)
    }
    assert plan.creates.records == 2 * MANY + 5
    assert outcome.status is DONE and outcome.warnings == ()
    assert world.state() == state
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert world.state() == before


def test_records_of_which_more_is_told_stay_apart(world: World, lost: tuple[Snapshot, object]) -> None:
    plan = world.preview(lost[0], SITE)

    assert sum(name.startswith("passing/") for _, kind, name in items(world, plan) if kind == "record") == MANY


def test_one_that_is_selected_comes_back_alone(world: World, lost: tuple[Snapshot, object]) -> None:
    outcome = world.restore(lost[0], SITE, selection=Selection(collections=("notes",)))

    assert outcome.status is DONE
    assert world.db.notes.count_documents({}) == MANY
    assert world.db.passing.count_documents({}) == 0


def test_a_death_half_way_is_finished_and_nothing_comes_twice(
    world: World, crasher: Crasher, lost: tuple[Snapshot, object]
) -> None:
    snapshot, state = lost
    job = world.office.desk.restore(world.ask, SITE, snapshot.name)

    death = crasher.run(world, job.id, "fill collection:after:1")

    assert death.killed and has_begun(death)
    assert recovered(world, job).status is DONE
    assert world.state() == state


def test_a_write_past_the_gate_into_one_is_left_and_what_lacks_is_added(
    world: World, lost: tuple[Snapshot, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, state = lost
    fill_whole = MongoWriter.fill

    def cut_short(self: MongoWriter, name: str, documents: Iterator[bytes]) -> None:
        fill_whole(self, name, islice(documents, 10))
        world.db[name].insert_one({"_id": "somebody's", "text": "somebody's"})

    monkeypatch.setattr(MongoWriter, "fill", cut_short)

    outcome = world.restore(snapshot, SITE)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [problem.subject for problem in outcome.problems] == ["notes/somebody's"]
    assert world.db.notes.delete_one({"_id": "somebody's"}).deleted_count == 1
    assert world.state() == state


def test_a_write_past_the_gate_into_another_collection_is_noticed(
    world: World, lost: tuple[Snapshot, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot, _ = lost
    fill_whole = MongoWriter.fill

    def then_another(self: MongoWriter, name: str, documents: Iterator[bytes]) -> None:
        fill_whole(self, name, documents)
        world.db.site.update_one({}, {"$set": {"past": "the gate"}})

    monkeypatch.setattr(MongoWriter, "fill", then_another)

    outcome = world.restore(snapshot, SITE)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [problem.subject.split("/")[0] for problem in outcome.problems] == ["site"]
    assert world.db.site.find_one({})["past"] == "the gate"


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Somebody does this past the gate, right after the intent was written."""
    write = Intents.write

    def then(self: Intents, intent: Intent) -> None:
        write(self, intent)
        act()

    monkeypatch.setattr(Intents, "write", then)


def test_one_that_somebody_made_meanwhile_keeps_what_he_put_in(
    world: World, lost: tuple[Snapshot, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: world.db.notes.insert_one({"_id": "mine", "text": "mine"}))

    outcome = world.restore(lost[0], SITE)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [problem.subject for problem in outcome.problems] == ["notes/mine"]
    assert world.db.notes.count_documents({}) == MANY + 1


def test_one_that_goes_stays_where_somebody_wrote_into_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = world.make(SITE)
    world.db.newborn.insert_one({"_id": 1})
    meanwhile(monkeypatch, lambda: world.db.newborn.insert_one({"_id": "mine"}))

    outcome = world.restore(snapshot, SITE)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [problem.subject for problem in outcome.problems] == ["newborn/mine"]
    assert [one["_id"] for one in world.db.newborn.find()] == ["mine"]


def test_a_capped_one_that_somebody_wrote_into_is_left_and_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.db.create_collection("log", capped=True, size=8192).insert_many([{"_id": 1}, {"_id": 2}])
    snapshot = world.make(SITE)
    world.db.log.insert_one({"_id": 3})
    meanwhile(monkeypatch, lambda: world.db.log.insert_one({"_id": "mine"}))

    outcome = world.restore(snapshot, SITE)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [problem.subject for problem in outcome.problems] == ["log"]
    assert [one["_id"] for one in world.db.log.find()] == [1, 2, 3, "mine"]


def test_a_capped_one_of_which_a_part_was_written_is_finished_after_a_death(world: World, crasher: Crasher) -> None:
    world.db.create_collection("log", capped=True, size=8192).insert_many([{"_id": one} for one in range(9)])
    snapshot, state = world.make(SITE), world.state()
    world.db.log.insert_one({"_id": "later"})
    job = world.office.desk.restore(world.ask, SITE, snapshot.name)
    death = crasher.run(world, job.id, "fill collection:before:1")
    options = world.db.log.options()
    world.db.log.drop()
    world.db.create_collection("log", **options).insert_many([{"_id": one} for one in range(4)])

    assert death.killed
    assert recovered(world, job).status is DONE
    assert world.state() == state

"""Unique values that others have by now: named before anything changes, never overwritten."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId
from keyframe.backup import conflicts
from keyframe.errors import UnavailableError
from keyframe.model import Actor, Outcome, OutcomeStatus, Scope, Selection
from keyframe.stores.idents import shown_id
from keyframe.stores.mongo_write import MongoWriter
from keyframe.stores.raw import id_bytes
from world import EDITION, ONE, PROJECT, SITE, TWO, World

DONE, PARTIAL, REFUSED = OutcomeStatus.DONE, OutcomeStatus.PARTIAL, OutcomeStatus.REFUSED
ANNA = Actor("anna", "Anna", "user", "page")
NOCASE = {"locale": "en", "strength": 2}


def codes(world: World, snapshot: Any, scope: Scope = PROJECT) -> list[str]:
    return [one.code for one in world.preview(snapshot, scope).conflicts]


def titles(world: World) -> dict[Any, str]:
    return {one["_id"]: one["title"] for one in world.db.edition.find()}


def require_restored_but(world: World, outcome: Outcome, snapshot: Any, *left: Any) -> None:
    """The restore is partial, names what is left, and another look finds nothing else to do."""
    assert outcome.status is PARTIAL, outcome
    assert [one.code for one in outcome.problems] == ["conflict"] * len(left)
    again = world.preview(snapshot)
    assert again.is_empty
    assert len(again.conflicts) == len(left)


INDEXES: list[tuple[dict[str, Any], Any, Any]] = [
    ({"keys": [("doi", 1)], "sparse": True}, {"doi": "10/1"}, {"doi": "10/1"}),
    ({"keys": [("doi", 1)], "partialFilterExpression": {"doi": {"$exists": True}}}, {"doi": 1}, {"doi": 1.0}),
    ({"keys": [("doi", 1)], "sparse": True, "collation": NOCASE}, {"doi": "Abc"}, {"doi": "aBC"}),
    ({"keys": [("ids", 1)], "sparse": True}, {"ids": ["a", "b"]}, {"ids": ["b", "c"]}),
    ({"keys": [("names.short", 1)], "sparse": True}, {"names": [{"short": "x"}]}, {"names": {"short": "x"}}),
    ({"keys": [("a", 1), ("b", 1)], "sparse": True}, {"a": 1}, {"a": 1, "b": None}),
]


@pytest.mark.parametrize(("index", "mine", "theirs"), INDEXES)
def test_a_unique_value_that_another_project_has_now_is_left_there(
    world: World, index: dict[str, Any], mine: Any, theirs: Any
) -> None:
    world.db.edition.create_index(index.pop("keys"), unique=True, **index)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": mine})
    snapshot = world.make()
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$unset": dict.fromkeys(mine, "")})
    world.db.edition.update_one({"_id": EDITION[2]}, {"$set": theirs})
    before = world.db.edition.find_one({"_id": EDITION[0]})
    files = world.files(Scope.project(str(ONE)))

    outcome = world.restore(snapshot)

    require_restored_but(world, outcome, snapshot, EDITION[0])
    assert world.db.edition.find_one({"_id": EDITION[0]}) == before
    assert world.db.edition.find_one({"_id": EDITION[2]})["title"] == "Edition 2"  # type: ignore[index]
    assert set(titles(world)) == set(EDITION)  # the other one is back, what was new is gone
    own = f"edition/{EDITION[0]}/"
    assert {one: what for one, what in world.files(PROJECT).items() if one.startswith(own)} == {
        one: what for one, what in files.items() if one.startswith(own)
    }


def test_values_that_swapped_between_records_of_the_plan_are_no_conflict(world: World) -> None:
    snapshot = world.make()
    before = titles(world)
    for one, title in ((EDITION[0], "x"), (EDITION[1], "Edition 0"), (EDITION[0], "Edition 1")):
        world.db.edition.update_one({"_id": one}, {"$set": {"title": title}})

    outcome = world.restore(snapshot)

    assert outcome.status is DONE
    assert titles(world) == before


def test_a_value_of_what_the_selection_leaves_out_is_a_conflict(world: World) -> None:
    snapshot = world.make()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "free"}})
    world.db.edition.update_one({"_id": EDITION[1]}, {"$set": {"title": "Edition 0"}})
    only = Selection(editions=(str(EDITION[0]),))

    outcome = world.restore(snapshot, selection=only)

    assert (outcome.status, [one.code for one in outcome.problems]) == (PARTIAL, ["conflict"])
    assert titles(world) == {EDITION[0]: "free", EDITION[1]: "Edition 0", EDITION[2]: "Edition 2"}


def test_a_record_that_is_left_keeps_its_value_from_those_that_need_it(world: World) -> None:
    """The first needs what another project has; so its own value is not free for the second."""
    world.db.edition.drop_index("by_title")
    world.db.edition.create_index("title", unique=True)
    snapshot = world.make()
    for one, title in ((EDITION[0], "y"), (EDITION[2], "Edition 0"), (EDITION[1], "z"), (EDITION[0], "Edition 1")):
        world.db.edition.update_one({"_id": one}, {"$set": {"title": title}})
    before = world.records()

    outcome = world.restore(snapshot)

    assert outcome.status is PARTIAL
    assert [one.subject for one in outcome.problems] == ["edition Edition 0", "edition Edition 1"]
    assert world.records() == before


def test_records_that_collide_under_an_index_made_since_are_left_and_the_rest_comes_back(world: World) -> None:
    world.db.edition.drop_index("by_title")
    more = [ObjectId() for _ in range(3)]
    world.db.edition.insert_many(
        [{"_id": one, "projectId": ONE, "title": f"More {number}", "doi": "same" if number < 2 else "other"}
         for number, one in enumerate(more)]
    )  # fmt: skip
    snapshot = world.make()
    world.db.edition.delete_many({"_id": {"$in": more}})
    world.db.edition.create_index("doi", unique=True, sparse=True)

    outcome = world.restore(snapshot)

    require_restored_but(world, outcome, snapshot, *more[:2])
    assert [one.subject for one in outcome.problems] == ["edition More 0", "edition More 1"]
    assert world.db.edition.find_one({"_id": more[2]}) is not None
    assert world.db.edition.count_documents({"doi": "same"}) == 0


@pytest.mark.parametrize("chosen", [Selection(collections=("log",)), Selection(only="records")])
def test_an_index_that_goes_with_the_restore_of_its_collection_is_in_nobodys_way(
    world: World, chosen: Selection
) -> None:
    world.db.log.insert_many([{"_id": 1, "user": "anna"}, {"_id": 2, "user": "anna"}])
    snapshot = world.make(SITE)
    wanted = world.records()
    world.db.log.delete_many({})
    world.db.log.create_index("user", unique=True)
    before = world.records()

    outcome = world.restore(snapshot, SITE, chosen)

    assert (outcome.status, outcome.problems) == (DONE, ())
    assert world.records() == wanted
    assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    assert world.records() == before


def test_an_undo_of_a_restore_with_conflicts_brings_the_state_before(world: World) -> None:
    world.db.edition.create_index("doi", unique=True, sparse=True)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"doi": 1}})
    snapshot = world.make()
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$unset": {"doi": ""}})
    world.db.edition.update_one({"_id": EDITION[2]}, {"$set": {"doi": 1}})
    before = world.state()

    restored = world.restore(snapshot)
    undone = world.done(world.office.desk.undo(world.ask, PROJECT))

    assert (restored.status, undone.status) == (PARTIAL, DONE)
    assert world.state() == before


@pytest.mark.parametrize(("mine", "other"), [(5, 5.0), (Int64(5), 5), ({"a": 1}, {"a": 1.0})])
def test_an_id_that_the_server_takes_for_that_of_another_project_is_a_conflict(
    world: World, mine: Any, other: Any
) -> None:
    world.db.edition.insert_many([{"_id": one, "projectId": ONE, "title": str(one)} for one in (mine, 7)])
    snapshot = world.make()
    world.db.edition.delete_many({"_id": {"$in": [mine, 7]}})
    world.db.edition.insert_one({"_id": other, "projectId": TWO, "title": "of another project"})

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    assert [one.subject for one in plan.conflicts] == [f"edition {mine}"]
    assert (outcome.status, outcome.problems) == (PARTIAL, plan.conflicts)
    assert world.db.edition.find_one({"_id": 7}) is not None
    assert world.db.edition.find_one({"_id": other})["projectId"] == TWO  # type: ignore[index]


@pytest.mark.parametrize(
    ("mine", "other", "chosen"),
    [
        (5, 5.0, Selection(editions=("5", "7"))),
        (Int64(5), Decimal128("5.0"), Selection(editions=("5", "7"))),
    ],
)
def test_an_id_that_the_server_takes_for_that_of_what_the_selection_leaves_out_is_a_conflict(
    world: World, mine: Any, other: Any, chosen: Selection
) -> None:
    world.db.edition.insert_many([{"_id": one, "projectId": ONE, "title": str(one)} for one in (mine, 7)])
    snapshot = world.make()
    world.db.edition.delete_many({"_id": {"$in": [mine, 7]}})
    world.db.edition.insert_one({"_id": other, "projectId": ONE, "title": "made anew"})

    plan = world.preview(snapshot, selection=chosen)
    outcome = world.restore(snapshot, selection=chosen, plan=plan.digest)

    assert [one.subject for one in plan.conflicts] == [f"edition {mine}"]
    assert f"(_id: {shown_id(id_bytes(bson.encode({'_id': mine})))})" in plan.conflicts[0].what
    assert (outcome.status, outcome.problems) == (PARTIAL, plan.conflicts)
    assert world.db.edition.find_one({"_id": 7}) is not None
    assert world.db.edition.find_one({"_id": other})["title"] == "made anew"  # type: ignore[index]


def test_an_id_that_goes_makes_room_for_one_that_the_server_takes_for_the_same(world: World) -> None:
    world.db.edition.insert_one({"_id": 5, "projectId": ONE, "title": "five"})
    snapshot = world.make()
    world.db.edition.delete_one({"_id": 5})
    world.db.edition.insert_one({"_id": 5.0, "projectId": ONE, "title": "another five"})

    outcome = world.restore(snapshot)

    assert (outcome.status, outcome.problems) == (DONE, ())
    assert type(world.db.edition.find_one({"_id": 5})["_id"]) is int  # type: ignore[index]


def test_ids_that_the_collation_of_their_collection_makes_equal_are_a_conflict(world: World) -> None:
    world.db.drop_collection("edition")
    world.db.create_collection("edition", collation=NOCASE).insert_many(
        [{"_id": "mill", "projectId": ONE, "title": "The mill"}, {"_id": "tower", "projectId": ONE, "title": "T"}]
    )
    snapshot = world.make()
    world.db.edition.delete_many({})
    world.db.edition.insert_one({"_id": "MILL", "projectId": TWO, "title": "Another mill"})

    outcome = world.restore(snapshot)

    require_restored_but(world, outcome, snapshot, "mill")
    assert titles(world) == {"MILL": "Another mill", "tower": "T"}


def test_an_organiser_is_refused_before_anything_changes_and_learns_nothing_of_the_other(world: World) -> None:
    world.db.edition.create_index("doi", unique=True, sparse=True)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"doi": "10/1"}})
    snapshot = world.make()
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$unset": {"doi": ""}})
    world.db.edition.update_one({"_id": EDITION[2]}, {"$set": {"doi": "10/1"}})
    before, listed = world.state(), world.office.desk.snapshots(world.ask, PROJECT).items
    world.ask = ANNA

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is REFUSED
    assert [one.code for one in outcome.problems] == ["refused", "conflict"]
    assert world.state() == before
    assert world.office.desk.snapshots(ANNA, PROJECT).items == listed  # no safety snapshot was made for it
    told = repr((plan, outcome))
    assert "10/1" in told  # the value is his own
    assert not any(word in told for word in (str(TWO), str(EDITION[2]), "Edition 2", "Second"))


def test_the_role_that_counts_is_that_of_the_moment_when_it_begins(world: World) -> None:
    world.db.edition.create_index("doi", unique=True, sparse=True)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"doi": 1}})
    snapshot = world.make()
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$unset": {"doi": ""}})
    world.db.edition.update_one({"_id": EDITION[2]}, {"$set": {"doi": 1}})
    world.db.user.update_one({"user": "anna"}, {"$set": {"role": "admin"}})

    job = world.office.desk.restore(Actor("anna", "Anna", "admin", "page"), PROJECT, snapshot.name)
    world.db.user.update_one({"user": "anna"}, {"$set": {"role": "user"}})

    assert world.done(job).status is REFUSED


def test_conflicts_are_found_however_many_records_there_are(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflicts, "_MOST_HITS", 100)
    monkeypatch.setattr(conflicts, "_MOST_NAMED", 3)
    world.db.edition.create_index("number", unique=True, sparse=True)
    world.db.edition.insert_many([{"projectId": ONE, "title": f"N {n}", "number": n} for n in range(1200)])
    snapshot = world.make()
    world.db.edition.delete_many({"number": {"$gte": 600}})
    world.db.edition.update_many({"number": {"$lt": 600}}, [{"$set": {"number": {"$subtract": [-1, "$number"]}}}])
    taken = [5, 700, 1199, 0]
    world.db.edition.insert_many([{"projectId": TWO, "title": f"T {n}", "number": n} for n in taken])

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    named = [one.subject for one in outcome.problems]
    assert set(named[:3]) < {f"edition N {number}" for number in taken}
    assert (len(set(named)), named[3]) == (4, "")
    assert outcome.problems[-1].what.startswith("1 more record is left")
    assert plan.creates.records + plan.replaces.records == 1200 - len(taken)
    assert world.preview(snapshot).is_empty
    assert world.db.edition.count_documents({"projectId": TWO, "number": {"$in": taken}}) == len(taken)


def test_what_somebody_takes_past_the_gate_begins_the_restore_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of the safety snapshot is in conflict at the last look: that is a change, not agreement."""
    from keyframe.backup.staging import Staging

    snapshot = world.make()
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"projectId": ONE, "title": "mine"}})
    real = Staging.fill
    rounds: list[int] = []

    def fill_and_move(self: Staging, *given: Any) -> None:
        real(self, *given)
        if not rounds:
            world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"projectId": TWO}})
        rounds.append(1)

    monkeypatch.setattr(Staging, "fill", fill_and_move)
    outcome = world.restore(snapshot)

    assert len(rounds) == 2
    assert outcome.status is PARTIAL
    assert world.db.edition.find_one({"_id": EDITION[0]})["projectId"] == TWO  # type: ignore[index]


def test_a_restore_of_the_whole_site_asks_nobody_for_unique_values(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> Any:
        raise AssertionError("asked")

    snapshot = world.make(SITE)
    world.spoil()
    monkeypatch.setattr(conflicts, "holders", never)

    assert world.restore(snapshot, SITE).status is DONE


def test_a_record_that_cannot_be_written_is_named_in_the_outcome(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.db.edition.create_index([("doi", 1), ("part", 1)], unique=True, sparse=True)
    world.db.edition.insert_one({"_id": 5, "projectId": ONE, "doi": "10/1", "part": "secret"})
    snapshot = world.make()
    world.spoil()
    world.db.edition.delete_one({"_id": 5})
    before = world.state()
    real = MongoWriter.write

    def write_while_it_is_taken(self: MongoWriter, *given: Any) -> None:
        world.db.edition.insert_one({"_id": "other", "projectId": TWO, "doi": "10/1", "part": "secret"})
        try:
            real(self, *given)
        finally:
            world.db.edition.delete_one({"_id": "other"})

    monkeypatch.setattr(MongoWriter, "write", write_while_it_is_taken)
    outcome = world.restore(snapshot)

    (problem,) = outcome.problems
    assert (outcome.status, problem.subject) == (OutcomeStatus.FAILED, "collection edition, record 5")
    assert "(could not be written: another record has its unique value of doi, part (error 11000" in problem.what
    assert "secret" not in repr(outcome.problems)
    assert world.state() == before


def test_a_restore_with_conflicts_that_was_interrupted_is_finished_as_it_was_agreed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.db.edition.create_index("doi", unique=True, sparse=True)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"doi": 1}})
    snapshot = world.make()
    world.spoil()
    world.db.edition.update_one({"_id": EDITION[0]}, {"$unset": {"doi": ""}})
    world.db.edition.update_one({"_id": EDITION[2]}, {"$set": {"doi": 1}})
    real = MongoWriter.write
    tries: list[int] = []

    def fail_once(self: MongoWriter, *given: Any) -> None:
        tries.append(1)
        if len(tries) == 1:
            raise UnavailableError("MongoDB does not answer.")
        real(self, *given)

    monkeypatch.setattr(MongoWriter, "write", fail_once)
    outcome = world.restore(snapshot)

    assert len(tries) == 2
    require_restored_but(world, outcome, snapshot, EDITION[0])
    assert set(titles(world)) == set(EDITION)

"""The records of a plan: as many as there are, with ids of every kind, in every collation, of whom they belong to."""

from __future__ import annotations

import hashlib
import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64
from keyframe.backup.compare import Compare
from keyframe.backup.inventory import StoredInventory
from keyframe.backup.target import Target
from keyframe.backup.watches import Silent
from keyframe.errors import DamagedError
from keyframe.model import EVERYTHING, OutcomeStatus, Plan, Selection, Snapshot
from keyframe.stores.blocks import blocks_of
from keyframe.stores.raw import id_bytes
from pymongo.errors import OperationFailure
from test_format import rewrite_manifest
from test_records import alter, fill
from whole import documents, put
from world import EDITION, ONE, PROJECT, SITE, TWO, World

DONE = OutcomeStatus.DONE
_MANY = 40_000


def by_id(raws: list[bytes]) -> dict[bytes, bytes]:
    return {id_bytes(raw): raw for raw in raws}


def require_exact(plan: Plan, before: list[bytes], now: list[bytes]) -> None:
    """The plan's numbers of records are those of the two states of the only collection that changed."""
    want, have = by_id(before), by_id(now)
    assert plan.creates.records == len(want.keys() - have.keys())
    assert plan.deletes.records == len(have.keys() - want.keys())
    assert plan.replaces.records == sum(want[one] != have[one] for one in want.keys() & have.keys())


def test_a_plan_is_exact_for_ids_of_every_kind_in_one_collection(world: World) -> None:
    fill(world)
    before = documents(world.db, "odd")
    snapshot = world.make(SITE)
    unchanged = world.preview(snapshot, SITE).unchanged.records
    alter(world, "odd")
    now = documents(world.db, "odd")

    plan = world.preview(snapshot, SITE)

    require_exact(plan, before, now)
    assert plan.unchanged.records == unchanged - plan.creates.records - plan.replaces.records
    assert world.restore(snapshot, SITE, plan=plan.digest).status is DONE
    assert documents(world.db, "odd") == before


def test_an_id_of_another_number_type_is_another_record(world: World) -> None:
    put(world.db, "numbers", *(bson.encode({"_id": one}) for one in (0, 1, 2, Int64(3))))
    before = documents(world.db, "numbers")
    snapshot = world.make(SITE)
    world.db.numbers.delete_many({"_id": {"$in": [1, 3]}})
    put(world.db, "numbers", *(bson.encode({"_id": one}) for one in (1.0, Decimal128("3"))))

    plan = world.preview(snapshot, SITE)

    assert (plan.creates.records, plan.replaces.records, plan.deletes.records) == (2, 0, 2)
    assert world.restore(snapshot, SITE, plan=plan.digest).status is DONE
    assert documents(world.db, "numbers") == before


@pytest.mark.parametrize("collation", [{"locale": "en", "strength": 2}, {"locale": "de", "numericOrdering": True}])
def test_a_collection_in_a_collation_of_its_own_is_paired_by_exact_ids(world: World, collation: dict[str, Any]) -> None:
    world.db.create_collection("collated", collation=collation)
    letters = ["".join(one) for one in itertools.product("bAäBaZ", "2110", "cÇ9")]
    seen: set[str] = set()
    for number, ident in enumerate(letters):
        if ident.casefold() not in seen:
            put(world.db, "collated", bson.encode({"_id": ident, "n": number}))
            seen.add(ident.casefold())
    before = documents(world.db, "collated")
    snapshot = world.make(SITE)
    for number, raw in enumerate(list(world.db.collated.find())):
        ident = raw["_id"]
        if number % 4 == 0:
            world.db.collated.delete_one({"_id": ident})
        elif number % 4 == 1:
            world.db.collated.update_one({"_id": ident}, {"$set": {"n": -1}})
        elif number % 4 == 2:
            # The same id to this collection, in other letters: another record.
            world.db.collated.delete_one({"_id": ident})
            put(world.db, "collated", bson.encode({"_id": ident.swapcase(), "n": raw["n"]}))
    now = documents(world.db, "collated")

    plan = world.preview(snapshot, SITE)

    require_exact(plan, before, now)
    assert plan.creates.records > 8 <= plan.deletes.records
    assert world.restore(snapshot, SITE, plan=plan.digest).status is DONE
    assert documents(world.db, "collated") == before


def test_a_collated_collection_is_sorted_on_the_disk_where_the_servers_memory_is_used_up(world: World) -> None:
    world.db.create_collection("collated", collation={"locale": "en", "strength": 2})
    put(world.db, "collated", *(bson.encode({"_id": f"{'aBc'[one % 3]}{one:05}", "text": "x" * 1000, "n": one})
                                for one in range(4000)))  # fmt: skip
    before = documents(world.db, "collated")
    limit = "internalQueryMaxBlockingSortMemoryUsageBytes"
    usual = world.client.admin.command("setParameter", 1, **{limit: 1_000_000})["was"]
    try:
        snapshot = world.make(SITE)
        world.db.collated.delete_many({"n": {"$mod": [100, 7]}})
        plan = world.preview(snapshot, SITE)
        with pytest.raises(OperationFailure, match="Sort exceeded memory limit"):
            list(world.db.collated.find(collation={"locale": "simple"}, allow_disk_use=False).sort("_id", 1))
    finally:
        world.client.admin.command("setParameter", 1, **{limit: usual})

    require_exact(plan, before, documents(world.db, "collated"))
    assert plan.creates.records == 40


def sorted_anew(folder: Path, name: str) -> None:
    """Write a dump, and its JSON, in an order that nobody has, and seal the snapshot again."""
    bson_path, json_path = folder / f"db/bson/{name}.bson", folder / f"db/json/{name}.json"
    raws = [raw for block in blocks_of(bson_path) for raw in block.documents()]
    lines = json_path.read_bytes().splitlines(keepends=True)
    order = sorted(range(len(raws)), key=lambda number: hashlib.sha256(raws[number]).digest())
    for path, parts in ((bson_path, raws), (json_path, lines)):
        old, new = path.read_bytes(), b"".join(parts[number] for number in order)
        assert new != old
        path.write_bytes(new)
        digests = [hashlib.sha256(one).hexdigest().encode() for one in (old, new)]
        rewrite_manifest(folder, lambda text, digests=digests: text.replace(*digests))


def test_a_dump_in_another_order_is_paired_all_the_same(world: World) -> None:
    put(world.db, "many", *(bson.encode({"_id": f"id {one:04}", "n": one}) for one in range(500)))
    before = documents(world.db, "many")
    snapshot = world.make(SITE)
    sorted_anew(world.stored(snapshot), "many")
    world.db.many.delete_many({"n": {"$mod": [10, 0]}})
    world.db.many.update_many({"n": {"$mod": [10, 1]}}, {"$set": {"n": -1}})
    world.db.many.insert_one({"_id": "id 0250 more"})

    plan = world.preview(snapshot, SITE)

    require_exact(plan, before, documents(world.db, "many"))
    assert world.restore(snapshot, SITE, plan=plan.digest).status is DONE
    assert documents(world.db, "many") == before
    assert world.preview(snapshot, SITE).is_empty


# --- damage


def _alter(raw: bytes) -> bytes:
    assert raw.endswith(b"the last one\0\0")
    return raw[:-5] + b"E" + raw[-4:]


@pytest.mark.parametrize("live_too", [False, True])
def test_a_dump_that_is_damaged_in_its_last_bytes_is_told(world: World, live_too: bool) -> None:
    put(world.db, "many", *(bson.encode({"_id": one, "text": f"number {one}"}) for one in range(3000)))
    last = bson.encode({"_id": 5000, "text": "the last one"})
    put(world.db, "many", last)
    snapshot = world.make(SITE)
    path = world.stored(snapshot) / "db/bson/many.bson"
    path.write_bytes(_alter(path.read_bytes()))
    if live_too:
        world.db.many.delete_one({"_id": 5000})
        put(world.db, "many", _alter(last))
    state = world.state()

    outcomes = [
        world.done(world.office.desk.preview(world.ask, SITE, snapshot.name, EVERYTHING, None)),
        world.restore(snapshot, SITE),
    ]

    for outcome in outcomes:
        assert outcome.status is OutcomeStatus.FAILED
        assert outcome.problems[0].code == "damaged.collection-bytes"
    assert world.state() == state


def between(world: World, want: Snapshot, have: Snapshot) -> Plan:
    """The plan that leads from one snapshot to another."""
    stores = world.office.work._backup._stores
    sides = [StoredInventory(stores, one, SITE, Silent()) for one in (want, have)]
    return Compare(stores, Target(SITE, want, EVERYTHING, people=True), Silent()).run(*sides)


def test_a_dump_that_two_snapshots_share_is_counted_and_checked_though_it_is_read_once(world: World) -> None:
    put(world.db, "many", *(bson.encode({"_id": one, "text": f"number {one}"}) for one in range(3000)))
    first = world.make(SITE)
    world.db.site.update_one({"_id": 1}, {"$set": {"title": "changed"}})
    second = world.make(SITE)
    paths = [world.stored(one) / "db/bson/many.bson" for one in (first, second)]
    assert paths[0].samefile(paths[1])

    plan = between(world, first, second)

    assert (plan.replaces.records, plan.creates.items, plan.deletes.items) == (1, 0, 0)
    assert plan.unchanged.records == first.documents - 1
    assert plan.unchanged.bytes > paths[0].stat().st_size
    paths[0].write_bytes(paths[0].read_bytes().replace(b"number 2999", b"NUMBER 2999"))
    with pytest.raises(DamagedError, match="is not the one that was written"):
        between(world, first, second)


def test_a_damaged_copy_of_the_same_dump_in_either_snapshot_is_told(world: World) -> None:
    put(world.db, "many", *(bson.encode({"_id": one, "text": f"number {one}"}) for one in range(3000)))
    first = world.make(SITE)
    world.db.site.update_one({"_id": 1}, {"$set": {"title": "changed"}})
    second = world.make(SITE)
    path = world.stored(second) / "db/bson/many.bson"
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole.replace(b"number 2999", b"NUMBER 2999"))

    for one, other in ((first, second), (second, first)):
        with pytest.raises(DamagedError) as error:
            between(world, one, other)
        assert (error.value.code, error.value.subject) == ("damaged.collection-bytes", second.name)


# --- whose they are


def interleaved(world: World, count: int) -> None:
    """Many editions of two projects, whose ids take turns."""
    world.db.edition.insert_many(
        {"_id": f"many-{number:05}", "projectId": (ONE, TWO, TWO)[number % 3], "title": f"Many {number}"}
        for number in range(count)
    )


def spoil_many(world: World) -> None:
    """Of each project some are changed, some go, some move to the other one, one comes."""
    edition = world.db.edition
    ids = {owner: [one["_id"] for one in edition.find({"projectId": owner, "_id": {"$type": "string"}}).sort("_id")]
           for owner in (ONE, TWO)}  # fmt: skip
    for owner, other in ((ONE, TWO), (TWO, ONE)):
        edition.update_many({"_id": {"$in": ids[owner][10:20]}}, {"$set": {"title": f"new {owner}"}})
        edition.delete_many({"_id": {"$in": ids[owner][30:37]}})
        edition.update_many({"_id": {"$in": ids[owner][50:53]}}, {"$set": {"projectId": other}})
        edition.insert_one({"_id": f"many-00100-of-{owner}", "projectId": owner})


@pytest.fixture
def taking_turns(world: World) -> World:
    world.db.edition.drop_indexes()
    interleaved(world, 600)
    return world


def conflicts(plan: Plan) -> int:
    return sum(one.code == "conflict" for one in plan.warnings)


@pytest.mark.parametrize("of_site", [False, True])
def test_a_project_gets_its_records_back_and_those_that_moved_are_left(taking_turns: World, of_site: bool) -> None:
    world = taking_turns
    snapshot = world.make(SITE if of_site else PROJECT)
    spoil_many(world)
    source = SITE if of_site else PROJECT
    before_of_other = world.db.edition.count_documents({"projectId": TWO})

    job = world.office.desk.preview(world.ask, source, snapshot.name, Selection(projects=(str(ONE),)) if of_site
                                    else EVERYTHING, None)  # fmt: skip
    report = world.done(job).report
    assert report is not None
    plan = Plan.from_dict(report)

    # Changed ones; gone ones; the stray one and those that came from the other project.
    assert (plan.replaces.records, plan.creates.records, plan.deletes.records) == (10, 7, 1 + 3)
    assert conflicts(plan) == 3
    assert plan.unchanged.records == 200 + 2 + 1 - 10 - 7 - 3
    outcome = world.restore(snapshot, source, Selection(projects=(str(ONE),)) if of_site else None, plan=plan.digest)
    assert outcome.status is OutcomeStatus.PARTIAL
    assert world.db.edition.count_documents({"projectId": TWO}) == before_of_other
    assert world.db.edition.count_documents({"title": f"new {ONE}"}) == 0


def test_chosen_editions_are_counted_alone(taking_turns: World) -> None:
    world = taking_turns
    snapshot = world.make(PROJECT)
    spoil_many(world)
    ids = [one["_id"] for one in world.db.edition.find({"projectId": ONE, "_id": {"$type": "string"}}).sort("_id")]
    changed, same = ids[12], ids[150]

    plan = world.preview(snapshot, PROJECT, Selection(editions=(changed, same, str(EDITION[0]))))

    assert (plan.replaces.records, plan.creates.records, plan.deletes.records) == (1, 0, 0)
    assert plan.unchanged.records == 2


def test_a_collection_that_is_made_again_gets_all_of_its_records(world: World) -> None:
    put(world.db, "many", *(bson.encode({"_id": one}) for one in range(700)))
    snapshot = world.make(SITE)
    world.db.many.drop()
    world.db.create_collection("many", collation={"locale": "de"})
    put(world.db, "many", *(bson.encode({"_id": one}) for one in range(710)))

    plan = world.preview(snapshot, SITE)

    assert (plan.replaces.records, plan.deletes.records) == (700, 10)
    assert world.restore(snapshot, SITE, plan=plan.digest).status is DONE
    assert len(documents(world.db, "many")) == 700
    assert "collation" not in world.db.many.options()


# --- size


@pytest.mark.parametrize("is_new", [False, True])
def test_a_preview_holds_nothing_of_a_large_collection_that_is_on_one_side_only(world: World, is_new: bool) -> None:
    def insert() -> None:
        for begin in range(0, _MANY, 5000):
            world.db.many.insert_many({"_id": one, "text": f"number {one}"} for one in range(begin, begin + 5000))

    if not is_new:
        insert()
    snapshot = world.make(SITE)
    if is_new:
        insert()
    else:
        world.db.many.drop()
    world.preview(snapshot, SITE)  # what is imported and connected on first use

    tracemalloc.start()
    plan = world.preview(snapshot, SITE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (plan.deletes if is_new else plan.creates).records == _MANY
    assert peak < 15_000_000, "each record takes some hundred bytes: 30 MB and more"

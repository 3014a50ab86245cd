"""Forged dumps: whatever the server would refuse is found before anything is changed, by a code and with a name; and
nothing is refused that the server takes."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, Regex
from forging import forge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.backup import pairing
from keyframe.model import Outcome, OutcomeStatus, Scope, Selection, Snapshot
from keyframe.stores.blocks import Block
from keyframe.stores.documents import Documents, Source
from keyframe.stores.pair_index import PairIndex
from keyframe.stores.raw import document_of, fields
from keyframe.stores.soundness import Soundness
from pymongo.database import Database
from pymongo.errors import PyMongoError
from test_any_document import IDS
from whole import RAW, put
from world import ONE, PROJECT, SITE, TWO, World

pytestmark = pytest.mark.usefixtures("quick_transactions")

DONE, FAILED, PARTIAL = OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.PARTIAL
FUZZ = settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = 12


def document(ident: Any, **more: Any) -> bytes:
    return bson.encode({"_id": ident, "text": "note", "inside": {"_id": 1, "list": [1, "two"]}, **more})


GOOD = [document(number) for number in range(MANY)]


def deep(levels: int) -> bytes:
    value = document_of([])
    for _ in range(levels):
        value = document_of([(0x03, b"a", value)])
    return document_of([(0x10, b"_id", struct.pack("<i", 99)), (0x03, b"deep", value)])


def with_first(ident: tuple[int, bytes]) -> bytes:
    return document_of([(ident[0], b"_id", ident[1]), (0x10, b"n", bytes(4))])


# What a dump holds, and what is said of it.
FORGED: dict[str, tuple[Sequence[bytes], str, str]] = {
    "twice": ([*GOOD[:5], GOOD[4], *GOOD[5:]], "collection-cut", "two records with the _id 4"),
    "twice, as another number": ([*GOOD[:5], document(4.0), *GOOD[5:]], "collection-cut", "the _id 4.0"),
    "twice, far apart": ([*GOOD, GOOD[0]], "collection-cut", "the record 0 behind 11"),
    "backwards": (GOOD[::-1], "collection-cut", "the record 10 behind 11"),
    "no _id": ([*GOOD, bson.encode({"text": "a"})], "collection-cut", "a record without _id"),
    "empty": ([*GOOD, document_of([])], "collection-cut", "a record without _id"),
    "two _ids": ([*GOOD, document_of([(0x10, b"_id", struct.pack("<i", 99)), (0x08, b"b", b"\0"),
                                      (0x10, b"_id", struct.pack("<i", 98))])], "collection-cut", "two _ids"),
    "an array": ([*GOOD, bson.encode({"_id": [1]})], "collection-cut", "_id of a kind"),
    "a pattern": ([*GOOD, bson.encode({"_id": Regex("a")})], "collection-cut", "_id of a kind"),
    "undefined": ([with_first((0x06, b"")), *GOOD], "collection-cut", "_id of a kind"),
    "an operator": ([*GOOD, bson.encode({"_id": {"$set": 1}})], "collection-cut", "_id of a kind"),
    "a boolean of 7": ([*GOOD, document_of([(0x10, b"_id", struct.pack("<i", 99)), (0x08, b"b", b"\7")])],
                       "collection-cut", "not BSON"),
    "a string without end": ([*GOOD, document_of([(0x10, b"_id", struct.pack("<i", 99)),
                                                  (0x02, b"s", struct.pack("<i", 2) + b"ab")])],
                             "collection-cut", "not BSON"),
    "an unknown type": ([*GOOD, document_of([(0x10, b"_id", struct.pack("<i", 99)), (0x20, b"s", b"")])],
                        "collection-cut", "not BSON"),
    "too deep": ([*GOOD, deep(200)], "collection-cut", "not BSON"),
    "too large": ([*GOOD, document(99, much="x" * (1 << 24))], "collection-cut", "larger than MongoDB takes"),
    "cut": ([*GOOD, GOOD[0][:-3]], "collection-cut", "ends too early"),
    "no length": ([*GOOD, b"\3\0\0\0"], "collection-cut", "is not BSON"),
    "another length inside": ([*GOOD, GOOD[0][:40] + b"\xff" + GOOD[0][41:]], "collection-cut", "not BSON"),
}  # fmt: skip


def replace_dump(world: World, snapshot: Snapshot, name: str, raws: Sequence[bytes]) -> None:
    """Another dump of a collection, with a manifest and a header that fit it."""
    content = b"".join(raws)
    path = world.stored(snapshot) / f"db/bson/{name}.bson"
    path.unlink()
    path.write_bytes(content)

    def change(documents: list[dict[str, Any]]) -> None:
        (line,) = [one for one in documents if one.get("collection") == name]
        line.update(documents=len(raws), bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    forge(world, snapshot, change)


@pytest.fixture
def lost(world: World, monkeypatch: pytest.MonkeyPatch) -> Snapshot:
    """A snapshot of a site with a large collection and a capped one, which are then dropped."""
    monkeypatch.setattr(pairing, "MANY", MANY)
    put(world.db, "notes", *GOOD)
    world.db.create_collection("log", capped=True, size=1 << 26)
    put(world.db, "log", *GOOD[::-1])
    snapshot = world.make(SITE)
    world.db.notes.drop()
    world.db.log.drop()
    world.db.site.update_one({}, {"$set": {"title": "since then"}})
    return snapshot


def require_refused(world: World, outcome: Outcome, before: Any, code: str, name: str, said: str) -> None:
    assert outcome.status is FAILED
    assert (f"damaged.{code}", True) in [(one.code, f"dump of {name}" in one.what) for one in outcome.problems], outcome
    assert any(said in one.what for one in outcome.problems), outcome.problems
    assert world.state() == before
    assert not list((world.settings.data / ".keyframe/intents").glob("*"))


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_dump_is_refused_before_anything_is_changed(world: World, lost: Snapshot, case: str) -> None:
    raws, code, said = FORGED[case]
    replace_dump(world, lost, "notes", raws)
    before = world.state()

    previewed = world.done(world.office.desk.preview(world.ask, SITE, lost.name))
    outcome = world.restore(lost, SITE)

    require_refused(world, previewed, before, code, "notes", said)
    require_refused(world, outcome, before, code, "notes", said)


def test_a_capped_one_may_be_in_any_order_but_holds_no_id_twice(world: World, lost: Snapshot) -> None:
    replace_dump(world, lost, "log", [*GOOD[::-1], GOOD[3]])
    before = world.state()

    outcome = world.restore(lost, SITE)

    require_refused(world, outcome, before, "collection-cut", "log", "two records with the _id 3")


@pytest.mark.parametrize("case", ["twice", "too deep", "cut"])
def test_what_is_intact_comes_back_without_it_as_the_plan_says(world: World, lost: Snapshot, case: str) -> None:
    replace_dump(world, lost, "notes", FORGED[case][0])
    preview = world.done(world.office.desk.preview(world.ask, SITE, lost.name, only_intact=True)).report
    assert preview is not None

    outcome = world.restore(lost, SITE, plan=preview["digest"])

    assert outcome.status is PARTIAL
    assert [one.subject for one in outcome.problems] == ["collection notes"]
    assert "notes" not in world.db.list_collection_names()
    assert [one["_id"] for one in world.db.log.find()] == list(range(MANY))[::-1]
    assert world.db.site.find_one({})["title"] != "since then"  # type: ignore[index]


def test_a_damaged_dump_that_is_no_forgery_is_told_by_its_bytes(world: World, lost: Snapshot) -> None:
    path = world.stored(lost) / "db/bson/notes.bson"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(b"".join([GOOD[1], GOOD[0], *GOOD[2:]]))
    assert len(content) == path.stat().st_size
    before = world.state()

    outcome = world.restore(lost, SITE)

    require_refused(world, outcome, before, "collection-bytes", "notes", "not the one that was written")


def test_a_whole_one_comes_back_as_it_was(world: World, lost: Snapshot) -> None:
    outcome = world.restore(lost, SITE)

    assert outcome.status is DONE
    assert [bytes(one.raw) for one in world.db.get_collection("notes", codec_options=RAW).find()] == GOOD
    assert [bytes(one.raw) for one in world.db.get_collection("log", codec_options=RAW).find()] == GOOD[::-1]


@pytest.mark.parametrize(("one", "other"), [(3, 3.0), (Int64(3), Decimal128("3.0")), ({"a": 1}, {"a": 1.0})])
def test_a_capped_one_holds_no_id_in_two_spellings(world: World, lost: Snapshot, one: Any, other: Any) -> None:
    replace_dump(world, lost, "log", [document(one), *GOOD[4:], document(other)])
    before = world.state()

    outcome = world.restore(lost, SITE)

    require_refused(world, outcome, before, "collection-cut", "log", "two records with the _id")


# --- record by record

OF_ONE = (0x07, b"projectId", ONE.binary)
NUMBER = (0x10, b"_id", struct.pack("<i", 99))
# One record, before all others in the order of `_id`, and what is said of it.
UNSOUND: dict[str, tuple[bytes, str]] = {
    "two _ids": (document_of([NUMBER, OF_ONE, (0x10, b"_id", struct.pack("<i", 98))]), "two _ids (99)"),
    "an array": (document_of([(0x04, b"_id", document_of([])), OF_ONE]), "_id of a kind that none can have ("),
    "an operator": (bson.encode({"_id": {"$set": 1}, "projectId": ONE}), "none can have ({"),
    "a boolean of 7": (document_of([NUMBER, OF_ONE, (0x08, b"b", b"\7")]), "not BSON (99)"),
    "an unknown type": (document_of([NUMBER, OF_ONE, (0x03, b"b", document_of([(0x20, b"s", b"")]))]), "not BSON (99)"),
    "too deep": (document_of([NUMBER, OF_ONE, *list(fields(deep(200)))[1:]]), "not BSON (99)"),
    "too large": (bson.encode({"_id": 99, "projectId": ONE, "much": "x" * (1 << 24)}), "than MongoDB takes (99)"),
}


def forged_by_one(world: World, scope: Scope, raw: bytes) -> Snapshot:
    """A snapshot in whose dump of editions one record was put in front; the state is another since."""
    snapshot = world.make(scope)
    world.spoil()
    dump = (world.stored(snapshot) / "db/bson/edition.bson").read_bytes()
    replace_dump(world, snapshot, "edition", [raw, *(bytes(one.raw) for one in bson.decode_all(dump, RAW))])
    return snapshot


@pytest.mark.parametrize("scope", [PROJECT, SITE], ids=["project", "site"])
@pytest.mark.parametrize("case", UNSOUND)
def test_a_record_that_no_server_takes_is_refused_before_anything_is_changed(
    world: World, scope: Scope, case: str
) -> None:
    raw, said = UNSOUND[case]
    snapshot = forged_by_one(world, scope, raw)
    before = world.state()

    previewed = world.done(world.office.desk.preview(world.ask, scope, snapshot.name))
    outcome = world.restore(snapshot, scope)

    require_refused(world, previewed, before, "collection-cut", "edition", said)
    require_refused(world, outcome, before, "collection-cut", "edition", said)


def test_so_is_one_that_would_replace_another(world: World) -> None:
    world.db.edition.insert_one({"_id": 99, "projectId": ONE, "title": "live"})
    snapshot = forged_by_one(world, PROJECT, UNSOUND["a boolean of 7"][0])
    before = world.state()

    outcome = world.restore(snapshot)

    require_refused(world, outcome, before, "collection-cut", "edition", "not BSON (99)")


def test_what_is_intact_comes_back_without_the_collection_of_such_a_record(world: World) -> None:
    snapshot = forged_by_one(world, PROJECT, UNSOUND["too deep"][0])
    editions = world.records()["edition"]
    preview = world.done(world.office.desk.preview(world.ask, PROJECT, snapshot.name, only_intact=True)).report
    assert preview is not None

    outcome = world.restore(snapshot, plan=preview["digest"])

    assert outcome.status is PARTIAL
    assert [one.subject for one in outcome.problems] == ["collection edition"]
    assert world.records()["edition"] == editions


def test_one_that_belongs_to_another_project_is_nobodys_matter(world: World) -> None:
    theirs = document_of([NUMBER, (0x07, b"projectId", TWO.binary), (0x08, b"b", b"\7")])
    snapshot = forged_by_one(world, SITE, theirs)

    outcome = world.restore(snapshot, SITE, Selection(projects=(str(ONE),)))

    assert outcome.status is DONE, outcome


def test_a_dump_that_is_not_the_one_that_was_written_is_told_as_that(world: World) -> None:
    world.db.edition.insert_one({"_id": 99, "projectId": ONE, "flag": True})
    snapshot = world.make()
    world.db.edition.delete_many({"projectId": ONE})
    path = world.stored(snapshot) / "db/bson/edition.bson"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content.replace(b"flag\0\1", b"flag\0\7"))
    before = world.state()

    outcome = world.restore(snapshot)

    require_refused(world, outcome, before, "collection-bytes", "edition", "not the one that was written")


# --- by chance


@FUZZ
@given(
    ids=st.lists(IDS, min_size=MANY, max_size=MANY + 8),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), max_size=3),
    swap=st.booleans(),
)
def test_a_dump_of_any_documents_comes_back_exactly_or_not_at_all(
    world: World, lost: Snapshot, ids: list[Any], flips: list[tuple[int, int]], swap: bool
) -> None:
    raws = [bytearray(document(one)) for one in ids]
    for at, bit in flips:
        raw = raws[at % len(raws)]
        raw[at // len(raws) % len(raw)] ^= 1 << bit
    if swap:
        raws[0], raws[-1] = raws[-1], raws[0]
    replace_dump(world, lost, "notes", [bytes(one) for one in raws])
    before = world.state()

    outcome = world.restore(lost, SITE)

    if outcome.status is DONE:
        now = sorted(bytes(one.raw) for one in world.db.get_collection("notes", codec_options=RAW).find())
        assert now == sorted(map(bytes, raws))
        assert world.done(world.office.desk.undo(world.ask, SITE)).status is DONE
    else:
        assert outcome.status is FAILED
        assert {one.code for one in outcome.problems} <= {"damaged.collection-cut"}
    assert world.state() == before


def fault_of(raws: Sequence[bytes], index: PairIndex | None = None) -> str:
    soundness = Soundness(index)
    for run in Documents(Source([Block(b"".join(raws), [])], _broken, lambda: None)).stretches():
        soundness.add(run)
    return soundness.fault


def _broken(_damage: str, what: str) -> Exception:
    return AssertionError(what)


def takes(database: Database[Any], raw: bytes) -> bool:
    """Whether the server takes a document as it stands there."""
    database.any.drop()
    try:
        put(database, "any", raw)
    except PyMongoError:
        return False
    return [bytes(one.raw) for one in database.get_collection("any", codec_options=RAW).find()] == [raw]


VALUES = st.recursive(
    IDS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner)),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(ident=IDS, value=VALUES, at=st.integers(0, 10**6), bit=st.integers(0, 8))
def test_what_the_server_takes_is_sound_and_what_it_refuses_is_not(
    database: Database[Any], ident: Any, value: Any, at: int, bit: int
) -> None:
    raw = bytearray(bson.encode({"_id": ident, "value": value, "more": {"_id": 1}}))
    if bit < 8:  # the length of the whole stays: what is cut is found by whoever cuts documents out
        raw[4 + at % (len(raw) - 5)] ^= 1 << bit

    assert (fault_of([bytes(raw)]) == "") == takes(database, bytes(raw)), raw.hex()


@pytest.mark.parametrize("levels", [100, 150, 175, 176, 177, 178, 179, 180, 181, 190, 200, 250])
def test_it_is_as_deep_as_the_server_takes_it(database: Database[Any], levels: int) -> None:
    raw = deep(levels)

    assert (fault_of([raw]) == "") == takes(database, raw)

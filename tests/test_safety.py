"""The state before a restore: kept as a whole, or somebody has said that its gaps do not matter."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from keyframe.backup.finishing import Finishing
from keyframe.backup.leftovers import kept_folder
from keyframe.backup.staging import Staging
from keyframe.errors import CancelledError, InvalidError, Problem
from keyframe.model import Fence, Outcome, OutcomeStatus, Plan, Scope
from keyframe.stores.jobs import JobStore
from keyframe.stores.mongo import Mongo
from keyframe.stores.mongo_write import MongoWriter, RecordChange
from keyframe.stores.raw import id_bytes
from world import EDITION, ONE, PROJECT, SITE, World

MODEL = f"edition/{EDITION[0]}/model.glb"


def make_gap(world: World, name: str = "pipe") -> Path:
    """Something that no snapshot keeps."""
    path = world.folder(PROJECT) / name
    os.mkfifo(path)
    return path


def test_a_state_that_cannot_be_kept_as_a_whole_is_not_given_up(world: World) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    make_gap(world)
    before = world.state()

    outcome = world.restore(snapshot, PROJECT)

    assert (outcome.status, outcome.problems[0].code) == (OutcomeStatus.REFUSED, "unsafe")
    assert [one.subject for one in outcome.problems[1:]] == ["pipe"]
    assert outcome.report is not None
    assert world.state() == before
    assert world.office.desk.snapshots(world.ask, PROJECT).items == (snapshot,)  # nothing is left of the try


def test_it_goes_on_for_whoever_confirms_exactly_what_was_named(world: World) -> None:
    snapshot = world.make(PROJECT)
    wanted = world.state()
    world.spoil()
    pipe = make_gap(world)
    spoilt = world.state()

    refused = world.restore(snapshot, PROJECT)
    outcome = world.restore(snapshot, PROJECT, confirm=refused.confirm)

    assert outcome.status is OutcomeStatus.PARTIAL  # the pipe is left as it is, and named
    assert [one.subject for one in outcome.problems] == ["pipe"]
    assert pipe.exists()
    pipe.unlink()
    assert world.state() == wanted
    make_gap(world)
    job = world.office.desk.jobs(world.ask, PROJECT)[0]
    undo = world.done(world.office.desk.undo_job(world.ask, job.id))
    assert undo.problems[0].code == "unsafe"
    undo = world.done(world.office.desk.undo_job(world.ask, job.id, confirm=undo.confirm))
    assert undo.status is OutcomeStatus.PARTIAL
    assert world.state() == spoilt


def test_what_was_confirmed_counts_for_that_list_only(world: World) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    make_gap(world)
    refused = world.restore(snapshot, PROJECT)
    make_gap(world, "another")
    before = world.state()

    outcome = world.restore(snapshot, PROJECT, confirm=refused.confirm)

    assert (outcome.status, outcome.problems[0].code) == (OutcomeStatus.REFUSED, "unsafe")
    assert outcome.confirm != refused.confirm
    assert world.state() == before


def test_a_confirmation_where_nothing_is_missing_does_no_harm(world: World) -> None:
    snapshot = world.make(PROJECT)
    wanted = world.state()
    world.spoil()

    assert world.restore(snapshot, PROJECT, confirm="0" * 64).status is OutcomeStatus.DONE
    assert world.state() == wanted


@pytest.mark.parametrize("text", ["yes", "0" * 63, "G" * 64, "0" * 64 + "\n"])
def test_what_is_no_digest_confirms_nothing(world: World, text: str) -> None:
    snapshot = world.make(PROJECT)

    with pytest.raises(InvalidError):
        world.office.desk.restore(world.ask, PROJECT, snapshot.name, confirm=text)


# --- one that serves again


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_what_was_changed_and_changed_back_holds_up_no_restore(world: World, scope: Scope) -> None:
    snapshot, wanted = world.make(scope), world.state()
    world.spoil()
    serving, before = world.make(scope), world.state()
    for title in ("another", "spoilt"):
        world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": title}})
    assert world.state() == before

    outcome = world.restore(snapshot, scope)

    assert (outcome.status, outcome.safety) == (OutcomeStatus.DONE, serving.name)
    assert world.state() == wanted
    world.done(world.office.desk.undo(world.ask, scope))
    assert world.state() == before


# --- what is newer than the plan


def test_what_changes_until_then_may_be_agreed_to(world: World) -> None:
    snapshot = world.make(PROJECT)
    wanted = world.state()
    world.spoil()
    plan = world.preview(snapshot, PROJECT)
    world.write("newer.txt", "made since the preview")
    newer = world.state()

    assert world.restore(snapshot, PROJECT, plan=plan.digest).problems[0].code == "stale"
    outcome = world.restore(snapshot, PROJECT, plan=plan.digest, newer=True)

    assert outcome.status is OutcomeStatus.DONE
    assert world.state() == wanted
    assert outcome.safety is not None
    assert outcome.report is not None
    assert [one["name"] for one in outcome.report["changed"]] == ["newer.txt"]  # what came in between is named
    world.done(world.office.desk.undo(world.ask, PROJECT, outcome.safety))
    assert world.state() == newer  # it is in the safety snapshot


def test_newer_than_nothing_is_invalid(world: World) -> None:
    snapshot = world.make(PROJECT)

    with pytest.raises(InvalidError):
        world.office.desk.restore(world.ask, PROJECT, snapshot.name, newer=True)


# --- what is kept until the end is verified


def test_replaced_and_removed_files_are_kept_until_all_is_verified(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    spoilt = (world.folder(PROJECT) / MODEL).read_bytes()
    kept: list[set[bytes]] = []
    conclude = Finishing._conclude

    def look(self: Finishing, intent: Any, *more: Any, **named: Any) -> Outcome:
        folder = kept_folder(self._stores, PROJECT, intent.job)
        kept.append({path.read_bytes() for path in folder.iterdir()})
        return conclude(self, intent, *more, **named)

    monkeypatch.setattr(Finishing, "_conclude", look)
    outcome = world.restore(snapshot, PROJECT)

    assert outcome.status is OutcomeStatus.DONE
    assert kept == [{spoilt, b"new"}]
    assert list((world.settings.working / ".keyframe").iterdir()) == []


def test_what_was_touched_is_read_back_before_the_gate_opens(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that writes something else than it was told is noticed, and made good."""
    snapshot = world.make(PROJECT)
    wanted = world.state()
    world.spoil()
    place, spoilt = Staging._place, []

    def misplace(self: Staging, number: int, item: Any) -> None:
        place(self, number, item)
        path = self._live.root / item.name
        if item.name == MODEL and not spoilt:
            spoilt.append(path)
            before = path.stat()
            path.write_bytes(b"G" + path.read_bytes()[1:])
            os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    monkeypatch.setattr(Staging, "_place", misplace)
    outcome = world.restore(snapshot, PROJECT)

    assert spoilt
    # By its content it may be somebody's work past the gate: it is left and named, never called done.
    if outcome.status is OutcomeStatus.DONE:
        assert world.state() == wanted
    else:
        assert [one.subject for one in outcome.problems] == [MODEL]


def test_the_report_says_what_became_different_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = world.make(SITE)
    world.spoil()
    compared = Finishing.compared

    def edit_then_compare(self: Finishing, *more: Any) -> tuple[Problem, ...]:
        world.write("later.txt")
        return compared(self, *more)

    monkeypatch.setattr(Finishing, "compared", edit_then_compare)
    outcome = world.restore(snapshot, SITE)

    assert outcome.status is OutcomeStatus.DONE
    assert [(one.code, one.subject) for one in outcome.warnings] == [("newer", f"project/{ONE}/later.txt")]
    assert outcome.report is not None
    assert not Plan.from_dict(outcome.report).is_empty


# --- who lost his job writes nothing


def test_a_transaction_of_a_job_that_was_taken_over_does_not_commit(world: World) -> None:
    store = JobStore(world.client[world.settings.control_database])
    world.make(PROJECT)
    job = world.office.desk.jobs(world.ask, PROJECT)[0]
    world.client[world.settings.control_database]["jobs"].update_one({}, {"$set": {"state": "running", "fence": 7}})
    mongo = Mongo(world.client, world.db.name, world.settings.control_database, world.settings.scopes)
    raw = mongo.database.edition.find_one({"_id": EDITION[0]})
    change = RecordChange("edition", id_bytes(b"\x16\0\0\0\x07_id\0" + EDITION[1].binary + b"\0"), None, b"")
    before = world.records()

    with pytest.raises(CancelledError):
        MongoWriter(mongo).write([change], (PROJECT,), Fence(job.id, 6))
    assert raw is not None
    assert world.records() == before

    MongoWriter(mongo).write([change], (PROJECT,), Fence(job.id, 7))
    assert store.get(job.id).fence == 7

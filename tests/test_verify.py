"""Verifying a stored snapshot as an act: job, verdict that is remembered, who may, what the lists show."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from keyframe.claims import Claim
from keyframe.errors import CancelledError, NotFoundError, UnavailableError
from keyframe.model import Actor, Job, JobState, OutcomeStatus, Snapshot, Verdict, Weight
from keyframe.stores.audit import Audit
from keyframe.stores.verdicts import Verdicts
from test_validator import contents
from world import ONE, OTHER, PROJECT, SITE, TWO, World

ROOT, ADMIN = Actor("root", "Root", "root", "page"), Actor("admin", "Admin", "admin", "page")
ANNA, BRAM = Actor("anna", "Anna", "user", "page"), Actor("bram", "Bram", "user", "page")


def verify(world: World, snapshot: Snapshot, scope: Any = None, *, quick: bool = False, who: Actor = ROOT) -> Job:
    job = world.office.desk.verify(who, scope or snapshot.scope, snapshot.name, quick=quick)
    return world.office.work.run_job(job.id)


def shown(world: World, snapshot: Snapshot, scope: Any = None, who: Actor = ROOT) -> Verdict | None:
    """The verdict as the list and the page of one snapshot show it: the same."""
    desk, scope = world.office.desk, scope or snapshot.scope
    listed = {one.name: one.verified for one in desk.snapshots(who, scope).items}
    assert listed[snapshot.name] == desk.snapshot(who, scope, snapshot.name).verified
    return listed[snapshot.name]


def spoil(folder: Path) -> Path:
    """Other bytes in a stored file, with size and time as they were."""
    path = next(path for path in sorted(folder.rglob("a.html")))
    content, status = path.read_bytes(), path.stat()
    path.unlink()  # its inode may be that of other snapshots
    path.write_bytes(content[:-1] + b"?")
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return path


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_a_good_snapshot_is_verified_and_the_lists_say_so(world: World, scope: Any) -> None:
    snapshot = world.make(scope)
    before = contents(world.stored(snapshot))
    assert shown(world, snapshot) is None

    ended = verify(world, snapshot)

    assert ended.outcome is not None and ended.outcome.status is OutcomeStatus.DONE
    verdict = shown(world, snapshot)
    assert verdict is not None and verdict.as_dict() == ended.outcome.report
    assert (verdict.status, verdict.quick, verdict.files) == (Weight.GOOD, False, snapshot.files)
    assert (verdict.documents, verdict.bytes) == (snapshot.documents, snapshot.bytes)
    assert contents(world.stored(snapshot)) == before


def test_damage_ends_the_job_with_its_code_and_stays_in_the_lists(world: World) -> None:
    snapshot = world.make()
    spoil(world.stored(snapshot))

    ended = verify(world, snapshot)

    assert ended.outcome is not None and ended.outcome.status is OutcomeStatus.FAILED
    assert [one.code for one in ended.outcome.problems] == ["damaged.file-bytes"]
    found = world.office.desk.snapshot(ROOT, PROJECT, snapshot.name)
    assert found.is_damaged and found.verified is not None and found.verified.is_bad
    assert ("damaged", "bad") in world.office.messages.badges(found, PROJECT)


def test_a_quick_look_takes_no_damage_back_and_reads_no_file(world: World) -> None:
    snapshot = world.make()
    spoil(world.stored(snapshot))

    first = verify(world, snapshot, quick=True)
    assert first.outcome is not None and first.outcome.status is OutcomeStatus.DONE
    quick = shown(world, snapshot)
    assert quick is not None and (quick.quick, quick.status) == (True, Weight.GOOD)
    verify(world, snapshot)
    verify(world, snapshot, quick=True)

    verdict = shown(world, snapshot)
    assert verdict is not None and verdict.is_bad and not verdict.quick


def test_a_quick_look_that_finds_damage_counts_more_than_an_older_verification(world: World) -> None:
    snapshot = world.make()
    verify(world, snapshot)
    next(world.stored(snapshot).rglob("a.html")).unlink()

    verify(world, snapshot, quick=True)

    verdict = shown(world, snapshot)
    assert verdict is not None and verdict.is_bad and verdict.quick


def test_the_trash_keeps_the_verdict(world: World) -> None:
    snapshot, desk = world.make(), world.office.desk
    verify(world, snapshot)
    verdict = shown(world, snapshot)

    gone = desk.delete(ROOT, PROJECT, snapshot.name)
    (in_trash,) = desk.snapshots(ROOT, PROJECT, trash=True).items
    back = desk.undelete(ROOT, PROJECT, snapshot.name)

    assert gone.verified == in_trash.verified == back.verified == shown(world, snapshot) == verdict is not None


def test_lists_work_when_the_control_database_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = world.make()
    verify(world, snapshot)

    def away(*_: Any) -> Any:
        raise UnavailableError("The control database does not answer.")

    monkeypatch.setattr(Verdicts, "of", away)

    assert shown(world, snapshot) is None


def test_what_another_version_remembered_is_left_out(world: World) -> None:
    snapshot = world.make()
    verify(world, snapshot)
    control = world.client[world.settings.control_database]
    control.verdicts.update_one({}, {"$set": {"thorough": {"of a": "later version"}}})

    assert shown(world, snapshot) is None


def test_another_run_mode_has_its_own_verdicts(world: World) -> None:
    snapshot = world.make()
    verify(world, snapshot)
    control = world.client[world.settings.control_database]

    assert Verdicts(control, "test").of(PROJECT, [snapshot])
    assert not Verdicts(control, "prod").of(PROJECT, [snapshot])


def test_it_can_be_stopped_and_nothing_is_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot, calls = world.make(), itertools.count()

    def check(_claim: Claim) -> None:
        if next(calls) > 1:
            raise CancelledError("Somebody stopped it.")

    monkeypatch.setattr(Claim, "check", check)
    ended = verify(world, snapshot)

    assert ended.outcome is not None and ended.outcome.status is OutcomeStatus.CANCELLED
    assert shown(world, snapshot) is None


def test_a_snapshot_that_is_gone_when_its_turn_comes_is_not_found(world: World) -> None:
    snapshot, desk = world.make(), world.office.desk
    job = desk.verify(ROOT, PROJECT, snapshot.name)
    desk.delete(ROOT, PROJECT, snapshot.name)

    ended = world.office.work.run_job(job.id)

    assert ended.outcome is not None and [one.code for one in ended.outcome.problems] == ["not-found"]
    assert ended.state is JobState.ENDED


def test_the_next_snapshot_shares_nothing_with_a_damaged_one(world: World) -> None:
    first = world.make()
    spoil(world.stored(first))
    verify(world, first)

    second = world.make()

    assert second.name != first.name
    assert verify(world, second).outcome.status is OutcomeStatus.DONE  # type: ignore[union-attr]
    assert world.make().name == second.name


def test_nor_does_a_snapshot_of_another_scope(world: World) -> None:
    first = world.make(PROJECT)
    bad = spoil(world.stored(first))
    verify(world, first)

    site = world.make(SITE)

    stored = world.stored(site) / "files/project" / str(ONE) / bad.relative_to(world.stored(first) / "files")
    assert stored.read_bytes() != bad.read_bytes()
    assert verify(world, site).outcome.status is OutcomeStatus.DONE  # type: ignore[union-attr]


# --- who may


def test_an_organiser_verifies_the_part_of_his_project_and_hears_of_nobody_else(world: World) -> None:
    snapshot = world.make(SITE)
    spoil(world.stored(snapshot) / "files/project" / str(TWO))

    mine = verify(world, snapshot, PROJECT, who=ANNA)
    assert mine.outcome is not None and mine.outcome.status is OutcomeStatus.DONE
    assert shown(world, snapshot, PROJECT, ANNA).status is Weight.GOOD  # type: ignore[union-attr]
    assert shown(world, snapshot) is None  # nobody has looked at all of it
    theirs = verify(world, snapshot, OTHER, who=BRAM)
    assert theirs.outcome is not None and theirs.outcome.status is OutcomeStatus.FAILED

    assert shown(world, snapshot).is_bad  # type: ignore[union-attr]  # damage in a part is damage of the whole
    whole = verify(world, snapshot, SITE)
    assert whole.outcome is not None and whole.outcome.status is OutcomeStatus.FAILED
    seen = shown(world, snapshot, PROJECT, ANNA)
    assert seen is not None and seen.status is Weight.GOOD
    assert str(TWO) not in str(seen.as_dict())
    assert str(ONE) not in str(shown(world, snapshot, OTHER, BRAM).as_dict())  # type: ignore[union-attr]


def test_who_may_not_see_learns_nothing(world: World) -> None:
    site, own = world.make(SITE), world.make(PROJECT)

    for who, scope, name in (
        (ANNA, SITE, site.name),
        (BRAM, PROJECT, own.name),
        (Actor("guest", "Guest", "guest", "page"), PROJECT, own.name),
    ):
        with pytest.raises(NotFoundError):
            world.office.desk.verify(who, scope, name)
        with pytest.raises(NotFoundError):
            world.office.desk.verify_here(who, scope, name, lambda _done, _total: None)
    for who in (ANNA, ADMIN):
        assert verify(world, own, who=who).outcome.status is OutcomeStatus.DONE  # type: ignore[union-attr]
    assert verify(world, site, who=ADMIN).outcome.status is OutcomeStatus.DONE  # type: ignore[union-attr]


def test_the_audit_says_who_verified_what_and_what_was_found(world: World) -> None:
    snapshot = world.make()
    spoil(world.stored(snapshot))
    verify(world, snapshot, who=ANNA)
    with pytest.raises(NotFoundError):
        world.office.desk.verify(BRAM, PROJECT, snapshot.name)

    refused, done = Audit(world.client[world.settings.control_database]).rows(2)

    assert (done.user, done.act, done.outcome) == ("anna", "verify", "failed")
    assert snapshot.name in done.detail and "damaged.file-bytes" in done.detail
    assert (refused.user, refused.act, refused.outcome) == ("bram", "verify", "not-found")


def test_verifying_here_needs_no_control_database_and_remembers_nothing(world: World) -> None:
    snapshot, told = world.make(SITE), []

    verdict = world.office.desk.verify_here(
        world.ask, SITE, snapshot.name, lambda done, total: told.append((done, total))
    )

    assert verdict.status is Weight.GOOD
    assert told and told[-1][0] >= snapshot.bytes == told[-1][1]
    assert shown(world, snapshot) is None

"""A source that is suddenly empty, or much smaller: partial until somebody says that it is right."""

from __future__ import annotations

import json
import shutil

import pytest
from keyframe.errors import InvalidError
from keyframe.model import Outcome, OutcomeStatus, Plan, Reason, Scope
from world import EDITION, ONE, PROJECT, SITE, World

DONE, UNCHANGED, PARTIAL = OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.PARTIAL


def make(world: World, scope: Scope = PROJECT, confirm: tuple[str, ...] = ()) -> Outcome:
    return world.done(world.office.desk.make(world.ask, scope, "", confirm))


def empty(world: World, scope: Scope = PROJECT) -> None:
    """As a mount point is, when its disk is not there."""
    for one in world.folder(scope).iterdir():
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def fill(world: World, number: int) -> None:
    for one in range(number):
        world.write(f"many/{one}.txt", "x")


def codes(outcome: Outcome) -> list[tuple[str, str]]:
    return [(one.code, one.subject) for one in outcome.problems]


@pytest.mark.parametrize("scope", [PROJECT, SITE])
def test_an_empty_source_is_partial_until_it_is_confirmed(world: World, scope: Scope) -> None:
    held = world.make(scope).files
    empty(world, scope)

    outcomes = [make(world, scope), make(world, scope), make(world, scope, ("shrunk",)), make(world, scope)]

    assert [one.status for one in outcomes] == [PARTIAL, PARTIAL, DONE, UNCHANGED]
    assert codes(outcomes[0]) == codes(outcomes[1]) == [("shrunk", "files")]
    assert f"All {held} files have gone" in outcomes[0].problems[0].what
    confirmed = world.office.desk.snapshot(world.ask, scope, str(outcomes[2].snapshot))
    header = json.loads((world.stored(confirmed) / "snapshot.json").read_text())
    assert (header["status"], header["problems"]) == ("done", [])
    assert header["confirmed"] == [one.as_dict() for one in confirmed.confirmed]
    assert [(one.code, one.subject) for one in confirmed.confirmed] == [("shrunk", "files")]
    assert world.office.desk.snapshot(world.ask, scope, str(outcomes[0].snapshot)).unknown_paths == ()


def test_more_than_half_of_the_files_gone_is_named_with_the_numbers(world: World) -> None:
    fill(world, 40)
    before = world.make(PROJECT).files
    shutil.rmtree(world.folder(PROJECT) / "many")

    outcome = make(world)

    assert codes(outcome) == [("shrunk", "files")]
    assert outcome.problems[0].what.startswith(f"40 of {before} files have gone since ")


@pytest.mark.parametrize(("gone", "status"), [(20, DONE), (21, DONE), (30, PARTIAL)])
def test_half_of_it_is_not_more_than_half(world: World, gone: int, status: OutcomeStatus) -> None:
    fill(world, 40)
    half = world.make(PROJECT).files // 2
    for one in range(gone):
        (world.folder(PROJECT) / f"many/{one}.txt").unlink()

    assert (gone > half) == (status is PARTIAL)
    assert make(world).status is status


def test_a_few_of_a_few_are_nothing_to_ask_about(world: World) -> None:
    world.make(PROJECT)
    shutil.rmtree(world.folder(PROJECT) / f"edition/{EDITION[0]}")
    world.db.edition.delete_many({"projectId": ONE})

    assert make(world).status is DONE


def test_records_that_are_gone_are_named_beside_files(world: World) -> None:
    world.db.edition.insert_many(
        [{"_id": f"more {one}", "projectId": ONE, "title": f"more {one}"} for one in range(30)]
    )
    fill(world, 40)
    held = world.make(PROJECT)
    world.db.edition.delete_many({"projectId": ONE})
    shutil.rmtree(world.folder(PROJECT) / "many")

    outcome = make(world)

    assert codes(outcome) == [("shrunk", "files"), ("shrunk", "records")]
    assert outcome.problems[1].what.startswith(f"{held.documents - 1} of {held.documents} records have gone since ")
    assert make(world, confirm=("shrunk",)).status is DONE


def test_an_empty_database_is_named_however_small_it_was(world: World) -> None:
    world.make(SITE)
    world.client.drop_database(world.db.name)

    assert codes(make(world, SITE)) == [("shrunk", "records")]


def test_the_first_snapshot_of_a_scope_has_lost_nothing(world: World) -> None:
    empty(world)

    assert make(world).status is DONE


def test_a_confirmation_does_not_cover_other_problems(world: World) -> None:
    world.make(PROJECT)
    shutil.rmtree(world.folder(PROJECT))

    outcome = make(world, confirm=("shrunk",))

    assert (outcome.status, codes(outcome)) == (PARTIAL, [("unavailable", ".")])


def test_a_confirmation_that_was_not_needed_changes_nothing(world: World) -> None:
    first = world.make(PROJECT)

    assert make(world, confirm=("shrunk",)).status is UNCHANGED

    world.write("new.txt")
    assert world.make(PROJECT).confirmed == first.confirmed == ()


def test_who_confirmed_stands_in_the_audit(world: World) -> None:
    world.make(PROJECT)
    empty(world)

    outcome = make(world, confirm=("shrunk", "shrunk"))

    row = world.db.client[world.settings.control_database].audit.find_one({"detail": {"$regex": "confirmed"}})
    assert row is not None
    assert (row["act"], row["outcome"], row["user"]) == ("make", "done", "root")
    assert row["detail"].endswith(f"snapshot {outcome.snapshot}; confirmed shrunk")


def test_what_nobody_can_confirm_is_invalid(world: World) -> None:
    with pytest.raises(InvalidError) as caught:
        world.office.desk.make(world.ask, PROJECT, "", ("changed", "shrunk"))

    assert "'changed'" in caught.value.what
    assert "shrunk" in caught.value.hint


def test_safety_snapshots_are_not_asked_about_and_say_nothing_of_what_is_right(world: World) -> None:
    fill(world, 40)
    whole = world.make(PROJECT)
    empty(world)

    restored = world.restore(whole)
    shutil.rmtree(world.folder(PROJECT) / "many")

    safety = world.office.desk.snapshot(world.ask, PROJECT, str(restored.safety))
    assert (restored.status, safety.reason, safety.status.value, safety.files) == (DONE, Reason.SAFETY, "done", 0)
    assert codes(make(world)) == [("shrunk", "files")]


def test_what_was_brought_back_as_a_whole_was_agreed_to(world: World) -> None:
    small = world.make(PROJECT)
    fill(world, 40)
    world.make(PROJECT)

    assert world.restore(small).status is DONE
    world.write("new.txt")

    assert make(world).status is DONE


def test_a_restore_brings_back_that_it_was_not_there_and_says_so_first(world: World) -> None:
    world.make(PROJECT)
    model = world.folder(PROJECT) / f"edition/{EDITION[0]}/model.glb"
    aside = world.folder(PROJECT).rename(world.folder() / "aside")
    world.folder(PROJECT).mkdir()
    shrunk = world.make(PROJECT)
    world.folder(PROJECT).rmdir()
    aside.rename(world.folder(PROJECT))
    before = world.state()

    plan = world.preview(shrunk)
    outcome = world.restore(shrunk)

    assert isinstance(plan, Plan)
    assert [one.code for one in plan.warnings] == ["shrunk"]
    assert plan.deletes.files == shrunk_files(world, before)
    assert (outcome.status, model.exists()) == (DONE, False)
    assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
    assert world.state() == before


def shrunk_files(world: World, before: object) -> int:
    """How many files the project had."""
    files = before[0]  # type: ignore[index]
    top = str(world.folder(PROJECT).relative_to(world.folder()))
    return sum(path.startswith(f"{top}/") and what[0] != "other" for path, what in files.items())


def test_latest_is_not_what_most_was_missing_from(world: World) -> None:
    first = world.make(PROJECT)
    empty(world)
    shrunk = world.make(PROJECT)

    latest = world.office.desk.snapshot(world.ask, PROJECT, "latest")

    assert (latest.name, shrunk.status.value) == (first.name, "partial")


def test_a_project_is_told_that_the_site_shrank_and_no_numbers(world: World) -> None:
    world.make(SITE)
    for one in world.folder(SITE).iterdir():
        if one.name != "project":
            shutil.rmtree(one) if one.is_dir() else one.unlink()
    for one in range(40):
        world.write(f"many/{one}", "x", SITE)
    world.make(SITE)
    shutil.rmtree(world.folder(SITE) / "many")
    shrunk = world.make(SITE)

    shown = world.office.desk.snapshot(world.ask, PROJECT, shrunk.name)

    assert shown.status.value == "partial"
    assert [one.code for one in shown.problems] == ["shrunk"]
    assert not any(char.isdigit() for char in shown.problems[0].what)

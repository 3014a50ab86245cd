"""What readers of the site are told while a restore changes it in several transactions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from editions_site import MILLS, OIL_MILL, TABLE, World, address, sample_world
from keyframe.doors.office import Office
from keyframe.model import Actor, Outcome, Progress, Scope
from pages_site import text_of
from pymongo import MongoClient

SAID = "A restore is changing this at the moment."
ROOT = Actor("root", "Root", "root", "cli")
PROJECT = Scope.project(MILLS)


@pytest.fixture
def world(tmp_path: Path, mongo_client: MongoClient[dict[str, Any]], mongo_uri: str) -> Iterator[World]:
    with sample_world(tmp_path, mongo_client, mongo_uri, restore={"transaction_records": 1}) as made:
        yield made


def office_of(world: World) -> Office:
    office: Office = world.app.extensions["keyframe"].office
    return office


def make(world: World, scope: Scope) -> str:
    office = office_of(world)
    outcome = office.work.run_job(office.desk.make(ROOT, scope).id).outcome
    assert outcome is not None and outcome.snapshot is not None
    return outcome.snapshot


def restore(world: World, scope: Scope, name: str, at_each_batch: Any) -> Outcome:
    """A restore, done here; somebody looks after each of its transactions."""
    office = office_of(world)
    job = office.desk.restore(ROOT, scope, name)
    claim = office.jobs.claim(only=job.id)
    assert claim is not None
    tell = claim.progress

    def looking(progress: Progress) -> None:
        tell(progress)
        if progress.stage == "changing over in batches":
            at_each_batch()

    claim.progress = looking  # type: ignore[method-assign]
    outcome = office.work.run(claim).outcome
    assert outcome is not None
    return outcome


def spoil(world: World) -> None:
    for number in ("one", "two"):
        world.database["edition"].update_one({"_id": ObjectId(OIL_MILL)}, {"$set": {number: "spoilt"}})
    world.database["project"].update_one({"_id": ObjectId(MILLS)}, {"$set": {"spoilt": True}})


def test_who_reads_between_two_transactions_is_told_that_it_may_be_a_mixture(world: World) -> None:
    name = make(world, PROJECT)
    spoil(world)
    reader, root = world.browser(), world.browser("root")
    pages = {address(MILLS): reader, address(TABLE): reader, "/": reader}
    seen: dict[str, set[bool]] = {path: set() for path in pages}
    jobs: set[str] = set()

    def look() -> None:
        for path, browser in pages.items():
            seen[path].add(SAID in text_of(browser.get(path)))
        own = root.get(f"/snapshots/project/{MILLS}")
        jobs.add(text_of(own))

    outcome = restore(world, PROJECT, name, look)

    assert outcome.status == "done"
    assert seen[address(TABLE)] == {False}  # another project is not touched by it
    assert seen["/"] == {True}
    assert seen[address(MILLS)] == {True}  # also where its record is not there at this moment
    assert all("Whoever reads may see some records of before and some of after." in page for page in jobs)
    assert not any(SAID in page for page in jobs)
    assert SAID not in text_of(reader.get(address(MILLS)))


def test_a_restore_of_the_site_is_told_on_every_page_and_a_disk_that_fails_spoils_none(world: World) -> None:
    name = make(world, Scope.site())
    spoil(world)
    reader = world.browser()
    seen: set[bool] = set()

    restore(world, Scope.site(), name, lambda: seen.add(SAID in text_of(reader.get(address(TABLE)))))

    assert seen == {True}
    folder = world.settings.data / ".keyframe/intents"
    folder.rename(folder.with_name("away"))
    folder.write_text("no folder")
    answer = reader.get(address(TABLE))
    assert (answer.status_code, SAID in text_of(answer)) == (200, False)

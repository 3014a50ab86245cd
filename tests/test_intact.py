"""A damaged snapshot: refused with everything named; what is intact of it can be had, with a plan of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from keyframe.errors import InvalidError
from keyframe.main import cli
from keyframe.model import OutcomeStatus, Snapshot
from world import EDITION, PROJECT, SITE, World

MODEL, ARTICLE = f"edition/{EDITION[0]}/model.glb", f"edition/{EDITION[0]}/articles/a.html"


def damage(path: Path) -> None:
    """Turn a bit of a stored file, in a copy of its own."""
    raw = bytearray(path.read_bytes())
    stat = path.stat()
    raw[len(raw) // 2] ^= 1
    path.unlink()
    path.write_bytes(raw)
    path.chmod(stat.st_mode & 0o7777)


@pytest.fixture
def snapshot(world: World) -> Snapshot:
    """Of the first project, which is spoilt since; two files and nothing else of it are damaged."""
    made = world.make(PROJECT)
    world.spoil()
    damage(world.stored(made) / "files" / MODEL)
    (world.stored(made) / "files" / ARTICLE).unlink()
    return made


def test_everything_that_is_damaged_is_named_and_nothing_is_changed(world: World, snapshot: Snapshot) -> None:
    before = world.state()

    outcome = world.restore(snapshot, PROJECT)

    assert outcome.status is OutcomeStatus.FAILED
    assert {one.subject for one in outcome.problems} == {MODEL, ARTICLE}
    assert all(one.code.startswith("damaged.") for one in outcome.problems)
    assert world.state() == before


def test_what_is_not_read_need_not_be_intact(world: World) -> None:
    made = world.make(PROJECT)
    wanted = world.state()
    damage(world.stored(made) / "files" / MODEL)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "other"}})

    assert world.restore(made, PROJECT).status is OutcomeStatus.DONE
    assert world.state() == wanted


def test_the_rest_comes_back_as_its_plan_says(world: World, snapshot: Snapshot) -> None:
    spoilt = (world.folder(PROJECT) / MODEL).read_bytes()

    job = world.office.desk.preview(world.ask, PROJECT, snapshot.name, only_intact=True)
    report = world.done(job).report
    assert report is not None
    assert report["only_intact"]
    assert {one["subject"] for one in report["warnings"] if one["code"] == "left"} == {MODEL, ARTICLE}
    outcome = world.restore(snapshot, PROJECT, plan=report["digest"])

    assert outcome.status is OutcomeStatus.PARTIAL
    assert {one.subject for one in outcome.problems} == {MODEL, ARTICLE}
    assert (world.folder(PROJECT) / MODEL).read_bytes() == spoilt
    assert not (world.folder(PROJECT) / ARTICLE).exists()
    assert not (world.folder(PROJECT) / f"edition/{EDITION[0]}/new dir").exists()
    assert world.db.edition.find_one({"_id": EDITION[0]})["title"] == "Edition 0"  # type: ignore[index]


def test_it_can_be_undone(world: World, snapshot: Snapshot) -> None:
    before = world.state()

    outcome = world.restore(snapshot, PROJECT, only_intact=True)
    assert outcome.safety is not None
    world.done(world.office.desk.undo(world.ask, PROJECT, outcome.safety))

    assert world.state() == before


def test_a_collection_whose_dump_is_damaged_is_left_as_it_is(world: World) -> None:
    made = world.make(SITE)
    world.db.site.update_one({}, {"$set": {"title": "other"}})
    world.spoil()
    damage(world.stored(made) / "db/bson/site.bson")

    refused = world.restore(made, SITE)
    assert [(one.code, "dump of site" in one.what) for one in refused.problems] == [("damaged.collection-bytes", True)]
    outcome = world.restore(made, SITE, only_intact=True)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [one.subject for one in outcome.problems] == ["collection site"]
    assert world.db.site.find_one({})["title"] == "other"  # type: ignore[index]
    assert world.db.edition.find_one({"_id": EDITION[0]})["title"] == "Edition 0"  # type: ignore[index]


def test_the_command_line_says_how_the_rest_comes_back(world: World, snapshot: Snapshot) -> None:
    @contextmanager
    def opener() -> Iterator[Any]:
        yield world.office

    words = [snapshot.name, "--project", str(PROJECT.project_id)]
    refused = CliRunner().invoke(cli, ["restore", *words, "--yes"], obj=lambda _: opener)
    rest = CliRunner().invoke(cli, ["restore", *words, "--only-intact", "--yes"], obj=lambda _: opener)

    assert refused.exit_code == 6
    assert "bring back the rest, add --only-intact" in refused.output
    assert refused.output.lower().count("nothing was changed") == 1
    assert (rest.exit_code, "add --only-intact" in rest.output) == (11, False)


def test_of_a_whole_snapshot_only_what_is_intact_is_all_of_it(world: World) -> None:
    made = world.make(PROJECT)
    wanted = world.state()
    world.spoil()

    assert world.restore(made, PROJECT, only_intact=True).status is OutcomeStatus.DONE
    assert world.state() == wanted


def test_a_manifest_that_is_damaged_is_refused_in_any_case(world: World, snapshot: Snapshot) -> None:
    manifest = world.stored(snapshot) / "manifest.jsonl"
    lines = manifest.read_text().splitlines()
    document = json.loads(lines[1])
    lines[1] = json.dumps({**document, "uid": 7})
    manifest.write_text("\n".join(lines) + "\n")
    before = world.state()

    outcome = world.restore(snapshot, PROJECT, only_intact=True)

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.problems[0].code.startswith("damaged.manifest")
    assert world.state() == before


def test_a_plan_of_everything_is_none_of_what_is_intact(world: World) -> None:
    made = world.make(PROJECT)
    world.spoil()
    plan = world.preview(made, PROJECT)

    with pytest.raises(InvalidError):
        world.office.desk.restore(world.ask, PROJECT, made.name, plan=plan.digest, only_intact=True)

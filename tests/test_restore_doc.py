"""docs/restore.md does what it says: its commands are run as they stand there, by the real program."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from crash_child import Crasher
from keyframe.model import OutcomeStatus
from pymongo import MongoClient
from world import ONE, PROJECT, SITE, World

DOCUMENT = Path(__file__).parents[1] / "docs/restore.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```sh (\S+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
PROGRAMS = Path(sys.executable).parent


def run(world: World, label: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a block of the document in a shell."""
    settings = world.settings
    env = {
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "HOME": str(settings.var),
        "KEYFRAME_VAR": str(settings.var),
        "KEYFRAME_RUN_MODE": "test",
        "KEYFRAME_MONGO__URI": settings.mongo.uri or "",
        "KEYFRAME_MONGO__DATABASE": settings.mongo.database,
        **more,
    }
    shell = ["bash", "-u", "-o", "pipefail", "-c", BLOCKS[label]]
    return subprocess.run(shell, cwd=settings.var, env=env, capture_output=True, text=True, timeout=170)


def test_every_block_is_run_by_a_test_and_is_a_script() -> None:
    source = Path(__file__).read_text(encoding="utf-8")

    assert TEXT.count("```") == 2 * len(BLOCKS)
    assert [label for label in BLOCKS if f'"{label}"' not in source] == []


def test_every_outcome_of_a_job_is_explained() -> None:
    assert {str(one) for one in OutcomeStatus} <= set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))


def test_look_restore_and_undo(world: World) -> None:
    world.make(SITE)
    world.spoil()
    spoilt = world.state()

    done = run(world, "short")

    assert done.returncode == 0, done.stderr
    assert "the restore is undone" in done.stdout
    assert world.state() == spoilt


def test_an_undo_is_looked_at_first_and_does_just_that(world: World) -> None:
    snapshot = world.make(SITE)
    world.spoil()
    spoilt = world.state()
    world.restore(snapshot, SITE)

    done = run(world, "undo")

    assert done.returncode == 0, done.stderr
    assert "the restore is undone" in done.stdout
    assert world.state() == spoilt


def test_what_changes_until_then(world: World) -> None:
    wanted = world.state()
    world.make(SITE)
    world.spoil()

    done = run(world, "newer")

    assert done.returncode == 0, done.stderr
    assert world.state() == wanted


def test_what_cannot_be_kept_is_confirmed(world: World) -> None:
    wanted = world.state()
    world.make(SITE)
    world.spoil()
    pipe = world.folder(PROJECT) / "pipe"
    os.mkfifo(pipe)

    done = run(world, "unsafe")

    assert done.returncode == 11, done.stderr  # partial: the pipe is left as it is
    pipe.unlink()
    assert world.state() == wanted


def test_what_is_intact_of_a_damaged_snapshot(world: World) -> None:
    made = world.make(SITE)
    world.write("about.txt", "of now", SITE)
    world.db.site.update_one({}, {"$set": {"title": "of now"}})
    (world.stored(made) / "files/about.txt").write_text("spoilt")

    done = run(world, "intact")

    assert done.returncode == 11, done.stderr
    assert "about.txt" in done.stdout
    assert (world.folder(SITE) / "about.txt").read_text() == "of now"
    assert world.db.site.find_one({})["title"] == "The site"  # type: ignore[index]


def test_a_part(world: World) -> None:
    world.make(SITE)
    world.write("about.txt", "of now", SITE)
    world.write("later.txt", "stays", PROJECT)

    done = run(world, "part")

    assert done.returncode == 0, done.stderr
    assert (world.folder(SITE) / "about.txt").read_text() == "the site's own"
    assert (world.folder(PROJECT) / "later.txt").exists()


def test_the_past_beside_the_present(
    world: World, tmp_path: Path, mongo_client: MongoClient[dict[str, object]]
) -> None:
    world.make(SITE)
    name = f"{world.db.name}_past"
    world.spoil()
    spoilt = world.state()
    try:
        done = run(world, "beside", FOLDER=str(tmp_path / "past"), DATABASE=name)

        assert done.returncode == 0, done.stderr
        assert (tmp_path / "past/about.txt").read_text() == "the site's own"
        assert mongo_client[name]["project"].find_one({"_id": ONE}) == {"_id": ONE, "title": "First"}
        assert world.state() == spoilt
    finally:
        mongo_client.drop_database(name)


@pytest.mark.parametrize("label", ["recover", "back"])
def test_what_was_interrupted_is_finished_or_turned_back(world: World, crasher: Crasher, label: str) -> None:
    wanted = world.state()
    snapshot = world.make(PROJECT)
    world.spoil()
    spoilt = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "rename:after:1").killed

    done = run(world, label)

    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout
    assert world.state() == (wanted if label == "recover" else spoilt)

"""A power cut at any point of a make: nothing is listed that is not good. What the disk was asked for is recorded.

The record is strace's; without that program the tests are skipped.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from keyframe.model import Snapshot, Status
from keyframe.stores.repository import Repository
from recording import Disk, Event, Recording, recorded
from whole import require_whole
from world import EDITION, PROJECT, SITE, World, new_world

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is missing: what the disk is asked for cannot be recorded"
)

CHILD = """
import json, sys
from pathlib import Path
from keyframe.settings import Settings
from keyframe.wiring import build
if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    mongo = {"uri": told["uri"], "database": told["database"]}
    build(Settings(var=Path(told["var"]), run_mode="test", mongo=mongo)).work.run_job(told["job"])
"""


def made(world: World, folder: Path) -> tuple[Recording, Snapshot]:
    """A snapshot of the site made by a process that is recorded."""
    root, settings = world.settings.repository, world.settings
    root.mkdir(parents=True, exist_ok=True)
    before = Disk.of(root)
    job = world.office.desk.make(world.ask, SITE)
    told = {"uri": settings.mongo.uri, "database": settings.mongo.database, "var": str(settings.var), "job": job.id}
    child = folder / "child.py"
    child.write_text(CHILD)
    events = recorded([str(child), json.dumps(told)], folder / "record")
    outcome = world.office.jobs.get(job.id).outcome
    assert outcome is not None and outcome.snapshot is not None, outcome
    return Recording(root, before, events), world.office.desk.snapshot(world.ask, SITE, outcome.snapshot)


@pytest.fixture(scope="module", params=["the first", "a later one"])
def recording(
    mongo_uri: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Recording, Snapshot]]:
    """The record of making a snapshot; a later one shares files with the first."""
    folder = tmp_path_factory.mktemp("power")
    with new_world(mongo_uri, folder) as world:
        if request.param == "a later one":
            world.make(SITE)
            world.spoil()
            (world.folder(PROJECT) / f"edition/{EDITION[0]}/new dir/ü\n.txt").unlink()  # strace escapes such a name
        yield made(world, folder)


def commit_of(recording: Recording, snapshot: Snapshot) -> Event:
    """The one rename that makes the snapshot exist."""
    folder = str(SITE.stored_folder(recording.root) / snapshot.name)
    found = [one for one in recording.inside() if one.kind == "rename" and one.path == folder]
    assert len(found) == 1
    return found[0]


def bad_states(recording: Recording, snapshot: Snapshot, scratch: Path, seed: int = 1) -> list[str]:
    """The power cuts after which something is listed as good that is not; also counts what was looked at."""
    folder = str(SITE.stored_folder(recording.root) / snapshot.name)
    bad, seen = [], set()
    for count, disk in recording.states(random.Random(seed)):
        if folder not in disk.names:
            continue
        state = (frozenset(disk.names.items()), frozenset(disk.torn.items()))
        if state in seen:
            continue
        seen.add(state)
        recording.build(disk, scratch)
        for one in Repository(scratch).snapshots(SITE):
            if one.status is not Status.DAMAGED:
                try:
                    require_whole(SITE.stored_folder(scratch) / one.name, one)
                except (AssertionError, OSError) as error:
                    bad.append(f"after {count} events: {one.name}: {str(error)[:80]}")
        if len(bad) > 2:
            break
    assert seen, "in no state the snapshot was there"
    return bad


def finds(recording: Recording, snapshot: Snapshot, scratch: Path) -> bool:
    """Whether some of the states are bad; of the many possible ones each seed tries a few."""
    return any(bad_states(recording, snapshot, scratch, seed) for seed in range(1, 10))


def test_everything_is_flushed_before_the_rename_and_the_name_after_it(recording: tuple[Recording, Snapshot]) -> None:
    record, snapshot = recording
    commit = commit_of(record, snapshot)
    inside = record.inside()
    draft = [one for one in inside if one.path.startswith(commit.other) and one.kind not in ("flush", "flush all")]
    flushes = [one for one in inside if one.kind == "flush all" and one.ended < commit.begun]
    parents = [one for one in inside if one.kind == "flush" and one.path == os.path.dirname(commit.path)]

    assert len([one for one in draft if one.kind == "bytes"]) > 20
    assert {one.kind for one in draft} >= {"folder", "file", "symlink", "bytes"}
    assert max(one.ended for one in draft) < flushes[-1].begun, "something was written after the last flush"
    assert any(one.begun > commit.ended for one in parents), "the new name was not flushed"
    later = [one for one in inside if one.begun > commit.ended and one.path.startswith(commit.path + "/")]
    assert later == [], "a snapshot does not change after its commit"


def test_no_flush_is_asked_for_that_is_not_needed(recording: tuple[Recording, Snapshot]) -> None:
    record, snapshot = recording
    top = os.path.dirname(commit_of(record, snapshot).path)

    flushes = [(one.kind, one.path) for one in record.inside() if one.kind in ("flush", "flush all")]

    assert [kind for kind, _ in flushes] == ["flush all", "flush"]
    assert flushes[1][1] == top


def test_a_snapshot_that_was_told_as_done_is_there_after_a_power_cut(
    recording: tuple[Recording, Snapshot], tmp_path: Path
) -> None:
    record, snapshot = recording
    last = [disk for count, disk in record.states(random.Random(2)) if count == len(record.inside())]

    for disk in last:
        record.build(disk, tmp_path / "after")
        listed = Repository(tmp_path / "after").get(SITE, snapshot.name)
        assert listed.status is Status.DONE
        require_whole(SITE.stored_folder(tmp_path / "after") / listed.name, listed)
    assert len(last) > 5

    unflushed = replace(record, events=[one for one in record.events if one.kind != "flush"])
    lost = [disk for count, disk in unflushed.states(random.Random(2)) if count == len(unflushed.inside())]
    folder = str(SITE.stored_folder(record.root) / snapshot.name)
    assert any(folder not in disk.names for disk in lost), "the simulation forgets no rename"


def test_no_power_cut_leaves_a_listed_snapshot_that_is_not_good(
    recording: tuple[Recording, Snapshot], tmp_path: Path
) -> None:
    record, snapshot = recording

    assert bad_states(record, snapshot, tmp_path / "after") == []


def test_the_simulation_finds_what_is_not_flushed(recording: tuple[Recording, Snapshot], tmp_path: Path) -> None:
    record, snapshot = recording
    commit = commit_of(record, snapshot)

    without = replace(record, events=[one for one in record.events if one.kind != "flush all"])
    assert finds(without, snapshot, tmp_path / "after")

    last = max(one.ended for one in record.events)
    late = [replace(one, begun=last + 1, ended=last + 2) if one.kind == "flush all" else one for one in record.events]
    assert commit.ended < last + 1
    late.sort(key=lambda one: one.begun)
    assert finds(replace(record, events=late), snapshot, tmp_path / "after")

"""docs/restore-by-hand.md does what it says: its commands are run as they stand there, on a real snapshot.

What needs MongoDB's own tools is tried where they are, and skipped, with a word, where they are not: nothing here
pretends to be one of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from keyframe.model import Scope, Snapshot
from world import EDITION, ONE, PROJECT, SITE, World

DOCUMENT = Path(__file__).parents[1] / "docs/restore-by-hand.md"
BLOCKS = dict(re.findall(r"^```sh (\S+)\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))


def needs(*programs: str) -> pytest.MarkDecorator:
    """For the steps that only MongoDB's tools can do."""
    missing = [one for one in programs if shutil.which(one) is None]
    reason = f"{' and '.join(missing)} not on this machine: this step of the document was not tried"
    return pytest.mark.skipif(bool(missing), reason=reason)


def run(world: World, snapshot: Snapshot, *labels: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run blocks of the document in one shell, after its names were set to those of the test."""
    names = {
        "SNAPSHOT": str(world.stored(snapshot)),
        "DATA": str(world.settings.data),
        "WORKING": str(world.settings.working),
        "MONGO_URI": world.settings.mongo.uri or "",
        "DATABASE": world.db.name,
        "PROJECT": str(ONE),
        "KEPT": str(world.settings.var / "kept"),
        **more,
    }
    blocks = [BLOCKS[label] for label in labels]
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", "\n".join(blocks)],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **names},
        capture_output=True,
        text=True,
        timeout=120,
    )


def require_done(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


# --- the document itself


def test_every_block_is_whole_and_uses_only_names_that_the_document_sets() -> None:
    names = set(re.findall(r"^(?:export )?([A-Z_]+)=", BLOCKS["names"], re.MULTILINE))

    assert len(BLOCKS) >= 15
    assert DOCUMENT.read_text(encoding="utf-8").count("```") == 2 * len(BLOCKS)  # each has a label, each is known
    for label, block in BLOCKS.items():
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert checked.returncode == 0, (label, checked.stderr)
        own = set(re.findall(r"\b([A-Z_]+)=", block))
        used = set(re.findall(r"\$\{?([A-Z_]+)", block))
        assert used <= names | own, label


def test_every_block_is_run_by_a_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")

    assert [label for label in BLOCKS if label != "names" and f'"{label}"' not in source] == []


# --- README.txt of a snapshot, which says the same in short


def of_readme(world: World, snapshot: Snapshot) -> list[str]:
    """The commands with which it brings back what it is of, a line each."""
    text = (world.stored(snapshot) / "README.txt").read_text(encoding="utf-8")
    section = text[text.index("To bring back ") :]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def without_names(lines: list[str]) -> tuple[set[str], list[str]]:
    """The names that are set, and the other lines."""
    names = [line for line in lines if re.match(r"(?:export )?[A-Z_]+=", line)]
    found = {line.removeprefix("export ").partition("=")[0] for line in names}
    return found, [line for line in lines if line not in names]


@pytest.mark.parametrize(
    ("scope", "labels"),
    [
        (SITE, ("unfinished", "keep", "keep-records", "files", "records")),
        (PROJECT, ("unfinished", "keep", "keep-records", "project-files", "project-records-away", "project-records")),
    ],
    ids=["site", "project"],
)
def test_the_readme_of_a_snapshot_has_these_commands_in_this_order(
    world: World, scope: Scope, labels: tuple[str, ...]
) -> None:
    named, lines = without_names(of_readme(world, world.make(scope)))

    assert lines == [line for label in labels for line in BLOCKS[label].splitlines()]
    assert named == set(re.findall(r"\$\{?([A-Z_]+)", "\n".join(lines)))
    assert named <= set(re.findall(r"^(?:export )?([A-Z_]+)=", BLOCKS["names"], re.MULTILINE))


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_the_files_come_back_by_the_readme_of_a_snapshot_as_it_stands(world: World, scope: Scope) -> None:
    before = world.files()
    snapshot = world.make(scope)
    world.spoil()
    shutil.rmtree(world.settings.working / ".keyframe", ignore_errors=True)
    spoilt = world.files()
    lines = of_readme(world, snapshot)
    intents = world.settings.data / ".keyframe/intents"
    intents.mkdir(parents=True, exist_ok=True)
    (intents / "site.json").touch()
    places = {
        "DATA=": str(world.settings.data),
        "WORKING=": str(world.settings.working),
        "KEPT=": str(world.settings.var / "kept"),
    }
    for start, value in places.items():
        (one,) = [line for line in lines if line.startswith(start)]
        lines[lines.index(one)] = f"{start}{value}"
    program = "\n".join(lines[: lines.index(next(one for one in lines if one.startswith(("mongorestore", "mongosh"))))])
    if shutil.which("mongodump") is None:  # as it says itself, that one can be left out
        program = re.sub(r"^mongodump .*$", "", program, flags=re.MULTILINE)

    done = subprocess.run(
        [
            "bash",
            "-eu",
            "-c",
            program.replace("mongodb://127.0.0.1:27017/?replicaSet=rs0", world.settings.mongo.uri or ""),
        ],
        cwd=world.stored(snapshot),
        capture_output=True,
        text=True,
        timeout=120,
    )

    require_done(done)
    assert "site.json" in done.stdout.splitlines()  # what an interrupted restore left is seen
    assert world.files() == before
    kept = world.settings.var / "kept"
    moved = kept / "working" if scope.is_site else kept / "project"
    assert (moved / f"project/{ONE}" if scope.is_site else moved).joinpath(
        f"edition/{EDITION[0]}/model.glb"
    ).read_bytes() == b"spoilt"
    assert spoilt != before


# --- look and check


def test_the_snapshot_says_what_it_is_and_that_it_is_whole(world: World) -> None:
    snapshot = world.make(SITE)
    (world.settings.data / ".keyframe/intents").mkdir(exist_ok=True)

    looked = run(world, snapshot, "unfinished", "look")
    checked = run(world, snapshot, "check")

    require_done(looked)
    assert "A snapshot of the whole site" in looked.stdout and '"status": "done"' in looked.stdout
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_check_names_what_is_damaged(world: World) -> None:
    snapshot = world.make(SITE)
    (world.stored(snapshot) / "files/about.txt").write_text("spoilt")

    checked = run(world, snapshot, "check")

    assert checked.returncode != 0
    assert "files/about.txt: FAILED" in checked.stdout


def test_a_record_is_found_without_a_database(world: World) -> None:
    found = run(world, world.make(SITE), "find-record")

    require_done(found)
    assert [json.loads(line) for line in found.stdout.splitlines()] == [{"_id": {"$oid": str(ONE)}, "title": "First"}]


# --- files


def test_the_files_of_the_site_are_as_they_were_and_those_of_now_are_kept(world: World) -> None:
    before = world.files()
    snapshot = world.make(SITE)
    world.spoil()
    shutil.rmtree(world.settings.working / ".keyframe", ignore_errors=True)
    spoilt = world.files()

    require_done(run(world, snapshot, "keep", "files"))

    assert world.files() == before
    kept = World(world.settings.model_copy(update={"working_dir": world.settings.var / "kept/working"}), world.client)
    assert kept.files() == spoilt
    for path in world.settings.working.rglob("*.glb"):
        assert path.stat().st_nlink == 1  # a copy: who writes to it leaves the snapshot as it is


def test_files_come_back_to_a_machine_that_has_none(world: World) -> None:
    before = world.files()
    snapshot = world.make(SITE)
    shutil.rmtree(world.settings.working)

    require_done(run(world, snapshot, "keep", "files"))

    assert world.files() == before


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not on this machine: this way was not tried")
def test_the_way_with_rsync_does_the_same(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = world.files()
    snapshot = world.make(SITE)
    world.spoil()
    command = re.search(r"`(rsync [^`]+)`", DOCUMENT.read_text(encoding="utf-8"))
    assert command is not None
    first, rest = BLOCKS["files"].split("\n", 1)
    assert first.startswith("cp -a")
    monkeypatch.setitem(BLOCKS, "files with rsync", f"{command.group(1)}\n{rest}")

    require_done(run(world, snapshot, "keep", "files with rsync"))

    assert world.files() == before


@pytest.mark.parametrize(
    ("scope", "label"), [(PROJECT, "project-files"), (SITE, "project-files-of-site")], ids=["its own", "of the site"]
)
def test_the_files_of_one_project_come_back_and_no_others(world: World, scope: object, label: str) -> None:
    before = world.files()
    snapshot = world.make(PROJECT if scope == PROJECT else SITE)
    world.spoil()
    world.write("about.txt", "changed since", SITE)
    others = {path: one for path, one in world.files().items() if not path.startswith(f"project/{ONE}/")}

    require_done(run(world, snapshot, "keep", label))

    now = world.files()
    mine = f"project/{ONE}/"
    assert {path: one for path, one in now.items() if path.startswith(mine)} == {
        path: one for path, one in before.items() if path.startswith(mine)
    }
    assert {path: one for path, one in now.items() if not path.startswith(mine)} == others
    assert (world.settings.var / f"kept/project/edition/{EDITION[0]}/model.glb").read_bytes() == b"spoilt"


@pytest.mark.parametrize("part", [".", f"project/{ONE}"])
def test_modes_and_times_come_out_of_the_manifest_where_the_disk_did_not_keep_them(
    world: World, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("edition/odd \\ name\n", "odd")
    (world.folder(PROJECT) / os.fsdecode(b"not utf-8 \xff")).write_text("odd")
    before = world.files()
    snapshot = world.make(SITE)
    for path in [world.settings.working, *world.settings.working.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o777 if path.is_dir() else 0o600)
        if os.geteuid() == 0:
            os.chown(path, 1234, 1234, follow_symlinks=False)
        os.utime(path, ns=(5, 5), follow_symlinks=False)
    block = BLOCKS["modes"].replace("PART=.", f"PART={part}").replace("$WORKING", "$TREE")
    monkeypatch.setitem(BLOCKS, "modes of a part", block)

    require_done(run(world, snapshot, "modes of a part", TREE=str(world.settings.working / part)))

    now = world.files()
    inside = {path for path in before if part == "." or path.startswith(f"{part}/")}
    assert {path: now[path] for path in inside} == {path: before[path] for path in inside}
    assert {(world.settings.working / path).lstat().st_uid for path in inside} == {os.geteuid()}
    assert all(now[path] != before[path] for path in set(before) - inside if before[path][0] == "file")


# --- records


@needs("mongorestore", "mongodump")
def test_the_records_of_the_site_are_as_they_were(world: World) -> None:
    world.db.command("create", "viewing", viewOn="edition", pipeline=[])
    world.db.command("create", "log", capped=True, size=4096)
    world.db.log.insert_many([{"_id": number} for number in (3, 1, 2)])
    world.db.command("create", "strict", validator={"n": {"$type": "long"}})
    before = world.records()
    snapshot = world.make(SITE)
    world.spoil()
    world.db.user.delete_many({})

    require_done(run(world, snapshot, "keep", "keep-records", "records"))

    assert world.records() == before
    assert [one["_id"] for one in world.db.log.find()] == [3, 1, 2]


@needs("mongorestore")
def test_the_records_can_be_put_beside_the_live_ones(world: World) -> None:
    before = world.records()
    snapshot = world.make(SITE)
    world.spoil()
    live = world.records()
    beside = f"{world.db.name}_old"
    try:
        require_done(run(world, snapshot, "records-beside"))
        settings = world.settings.model_copy(
            update={"mongo": world.settings.mongo.model_copy(update={"database": beside})}
        )
        assert World(settings, world.client).records() == before
    finally:
        world.client.drop_database(beside)
    assert world.records() == live


@needs("mongorestore")
def test_one_collection_comes_back_alone(world: World) -> None:
    before = world.records()["edition"]
    snapshot = world.make(SITE)
    world.spoil()
    world.db.site.insert_one({"_id": "since then"})

    require_done(run(world, snapshot, "one-collection"))

    assert world.records()["edition"] == before
    assert world.db.site.count_documents({"_id": "since then"}) == 1


@needs("mongorestore", "mongosh")
def test_the_records_of_one_project_come_back_and_those_of_others_stay(world: World) -> None:
    before = world.records()
    snapshot = world.make(PROJECT)
    world.spoil()

    require_done(run(world, snapshot, "project-records-away", "project-records"))

    assert world.records() == before


@needs("mongorestore", "mongodump", "mongosh")
def test_the_records_of_one_project_come_out_of_a_snapshot_of_the_site(world: World) -> None:
    snapshot = world.make(SITE)
    before = world.records()
    world.spoil()
    world.db.project.update_one({"_id": {"$ne": ONE}}, {"$set": {"title": "since then"}})
    try:
        require_done(run(world, snapshot, "keep", "project-records-away", "project-records-of-site"))
    finally:
        world.client.drop_database(f"{world.db.name}_scratch")

    assert world.records()["edition"] == before["edition"]
    assert world.db.project.find_one({"_id": ONE}) == {"_id": ONE, "title": "First"}
    assert world.db.project.count_documents({"title": "since then", "_id": {"$ne": ONE}}) == 1

"""What the settings exclude is in no snapshot, and no restore creates, changes or deletes it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from keyframe.backup.staging import Staging
from keyframe.backup.watches import Silent
from keyframe.model import OutcomeStatus, Snapshot
from keyframe.settings import ExcludeSettings, FileSettings
from keyframe.wiring import build
from whole import require_whole
from world import EDITION, OTHER, PROJECT, SITE, World

DONE, UNCHANGED = OutcomeStatus.DONE, OutcomeStatus.UNCHANGED
TOP = f"edition/{EDITION[0]}"
INSIDE = f"project/{PROJECT.project_id}/"


def choose(world: World, *project: str, site: tuple[str, ...] = ()) -> None:
    """Other patterns from now on, as after a change of config.yaml and a restart."""
    files = FileSettings(exclude=ExcludeSettings(site=site, project=project))
    world.office.database.client.close()
    world.settings = world.settings.model_copy(update={"files": files})
    world.office = build(world.settings)


def paths(world: World, snapshot: Snapshot) -> set[str]:
    lines = (world.stored(snapshot) / "manifest.jsonl").read_text().splitlines()
    return {one["path"] for one in map(json.loads, lines) if "path" in one}


def live(world: World, path: str) -> Path:
    return world.folder(PROJECT) / path


def test_caches_and_thumbnails_are_left_out_by_default(world: World) -> None:
    for path in (".cache/a/b", f"{TOP}/Thumbs.db", f"{TOP}/.DS_Store", "x/__pycache__/y.pyc"):
        world.write(path)

    of_project, of_site = world.make(PROJECT), world.make(SITE)

    left = [".cache", f"{TOP}/.DS_Store", f"{TOP}/Thumbs.db", "x/__pycache__"]
    assert sorted(of_project.excluded.paths) == left
    assert sorted(of_site.excluded.paths) == [INSIDE + path for path in left]
    assert (of_project.excluded.count, of_site.projects[str(PROJECT.project_id)].excluded) == (4, 4)
    inside = {path.removeprefix(INSIDE) for path in paths(world, of_site) if path.startswith(INSIDE)}
    assert inside == paths(world, of_project) - {"."}
    assert "x" in inside
    for one in (of_project, of_site):
        require_whole(world.stored(one), one)


def test_readme_and_page_data_say_what_is_not_held(world: World) -> None:
    choose(world, "*.tmp", "build/", site=("/logs/",))
    world.write("a\nb.tmp")
    world.write("logs/today", "x", SITE)

    of_project, of_site = world.make(PROJECT), world.make(SITE)

    text = (world.stored(of_site) / "README.txt").read_text()
    assert "in the folder of a project: *.tmp, build/\n" in text
    assert "anywhere else: /logs/\n" in text
    assert "2 files and folders were left out:\n    logs\n" in text
    assert "a\nb.tmp" not in text
    text = (world.stored(of_project) / "README.txt").read_text()
    assert "/logs/" not in text
    assert of_project.as_dict()["excluded"] == {
        "patterns": {"site": [], "project": ["*.tmp", "build/"]}, "count": 1, "paths": ["a\nb.tmp"],
    }  # fmt: skip


def test_a_project_is_told_nothing_of_what_was_left_out_elsewhere(world: World) -> None:
    choose(world, "*.tmp", site=("secret*",))
    world.write("secret-of-the-site", "x", SITE)
    world.write("theirs.tmp", "x", OTHER)
    world.write("ours.tmp", "x", PROJECT)

    world.make(SITE)
    part = world.office.desk.snapshots(world.ask, PROJECT).items[0]

    assert part.excluded.count == 1
    assert part.excluded.paths == (f"{INSIDE}ours.tmp",)
    said = json.dumps(part.as_dict())
    assert "theirs" not in said and "secret" not in said


def test_a_restore_touches_nothing_that_is_excluded(world: World) -> None:
    choose(world, "*.tmp", "build/")
    world.write("build/a", "old")
    world.write(f"{TOP}/a.tmp", "old")
    good, snapshot = world.state(), world.make(PROJECT)
    world.spoil()
    world.write("build/a", "new")
    world.write("build/b/c", "new")
    live(world, f"{TOP}/a.tmp").unlink()
    world.write("other.tmp", "new")

    assert world.restore(snapshot).status is DONE

    assert live(world, "build/a").read_text() == live(world, "build/b/c").read_text() == "new"
    assert live(world, "other.tmp").read_text() == "new"
    assert not live(world, f"{TOP}/a.tmp").exists()
    for path in ("build/b/c", "other.tmp"):
        live(world, path).unlink()
    shutil.rmtree(live(world, "build"))
    world.write("build/a", "old")
    world.write(f"{TOP}/a.tmp", "old")
    assert set(world.files()) == set(good[0])


def test_a_folder_that_holds_something_excluded_stays_and_the_plan_says_so(world: World) -> None:
    choose(world, "*.tmp")
    snapshot = world.make(PROJECT)
    world.write("new/deep/a.tmp", "kept")
    world.write("new/deep/gone.txt", "x")
    world.write("new/empty/gone.txt", "x")

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is DONE
    assert [(one.code, one.subject) for one in plan.warnings] == [("excluded", "new/deep, new")]
    found = {path for path in world.files(PROJECT) if path.startswith("new")}
    assert found == {"new", "new/deep", "new/deep/a.tmp"}
    assert world.restore(snapshot).status is UNCHANGED  # there is nothing left to do
    assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
    assert live(world, "new/empty/gone.txt").exists() and live(world, "new/deep/a.tmp").exists()


def test_something_excluded_that_comes_at_the_last_moment_keeps_its_folder(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(world, "*.tmp")
    snapshot = world.make(PROJECT)
    world.write("new/deep/gone.txt", "x")
    move = Staging.move

    def late(*args: object) -> None:
        world.write("new/deep/late.tmp", "late")
        move(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Staging, "move", late)
    outcome = world.restore(snapshot)

    assert outcome.status is DONE
    assert {path for path in world.files(PROJECT) if path.startswith("new")} == {"new", "new/deep", "new/deep/late.tmp"}


def test_what_a_snapshot_never_looked_at_is_not_deleted_after_a_change_of_patterns(world: World) -> None:
    choose(world, "*.tmp", "build/")
    world.write("build/a", "old")
    snapshot = world.make(PROJECT)
    choose(world)  # nothing is excluded any more
    world.write("new/x.tmp", "x")
    world.write("build/a", "new")
    before = world.files(PROJECT)
    world.spoil()

    outcome = world.restore(snapshot)

    assert outcome.status is DONE
    assert world.files(PROJECT) == before
    assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE


def test_what_is_excluded_now_does_not_come_back_from_an_older_snapshot(world: World) -> None:
    choose(world)
    world.write("old.tmp", "old")
    world.write("changed.tmp", "old")
    world.write("build/a", "old")
    snapshot = world.make(PROJECT)
    choose(world, "*.tmp", "build/")
    live(world, "old.tmp").unlink()
    world.write("changed.tmp", "new")
    shutil.rmtree(live(world, "build"))
    world.write("some.txt", "x")

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is DONE
    assert not live(world, "old.tmp").exists() and not live(world, "build").exists()
    assert live(world, "changed.tmp").read_text() == "new"
    assert not live(world, "some.txt").exists()
    named = [(one.code, one.subject) for one in plan.warnings]
    assert named == [("excluded", "build/a, changed.tmp, old.tmp")]
    choose(world)  # whoever wants them changes the setting, and restores again
    assert world.restore(snapshot).status is DONE
    assert [live(world, path).read_text() for path in ("old.tmp", "changed.tmp", "build/a")] == ["old"] * 3


def test_a_project_out_of_a_snapshot_of_the_site_keeps_what_is_excluded(world: World) -> None:
    choose(world, "*.tmp", site=("*.bak",))
    snapshot = world.make(SITE)
    choose(world, site=("*.txt",))
    world.spoil()
    world.write("x.tmp", "x")
    world.write("x.bak", "x")
    world.write("x.txt", "x")

    assert world.restore(world.office.desk.snapshot(world.ask, PROJECT, snapshot.name)).status is DONE

    # In the folder of a project those for projects count, whoever restores.
    assert [live(world, f"x.{one}").exists() for one in ("tmp", "bak", "txt")] == [True, False, False]


@pytest.mark.parametrize("is_folder", [False, True], ids=["file", "folder"])
def test_nothing_is_put_into_the_place_of_something_excluded(world: World, is_folder: bool) -> None:
    choose(world, *(["thing/"] if is_folder else ["thing", "!thing/"]))
    if is_folder:
        world.write("thing", "a file, which is not excluded")
    else:
        world.write("thing/in", "a folder, which is not excluded")
    snapshot = world.make(PROJECT)
    if is_folder:
        live(world, "thing").unlink()
        world.write("thing/in", "excluded")
    else:
        shutil.rmtree(live(world, "thing"))
        world.write("thing", "excluded")
    world.write("other.txt")

    plan = world.preview(snapshot)
    outcome = world.restore(snapshot, plan=plan.digest)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [(one.code, one.subject) for one in outcome.problems] == [("left", "thing")]
    assert live(world, "thing/in" if is_folder else "thing").read_text() == "excluded"
    assert not live(world, "other.txt").exists()


def test_a_file_is_not_put_where_a_folder_with_excluded_files_is(world: World) -> None:
    choose(world, "*.tmp")
    world.write("thing", "a file")
    snapshot = world.make(PROJECT)
    live(world, "thing").unlink()
    world.write("thing/a.tmp", "kept")

    outcome = world.restore(snapshot)

    assert [(one.code, one.subject) for one in outcome.problems] == [("left", "thing")]
    assert live(world, "thing/a.tmp").read_text() == "kept"


def test_unchanged_means_the_same_patterns_too(world: World) -> None:
    choose(world, "*.tmp")
    first = world.make(PROJECT)
    assert world.make(PROJECT).name == first.name
    choose(world, "*.tmp", "*.bak")

    second = world.make(PROJECT)  # the same content, but it leaves more open

    assert second.name != first.name
    assert second.manifest_sha256 == first.manifest_sha256
    world.write("x.bak")
    assert world.make(PROJECT).name == second.name  # what is excluded is no change


def test_an_undo_takes_back_what_came_from_a_snapshot_without_patterns(world: World) -> None:
    choose(world)
    world.write("x.tmp", "x")
    snapshot = world.make(PROJECT)
    live(world, "x.tmp").unlink()
    choose(world, "*.tmp")
    world.make(PROJECT)
    choose(world)

    assert world.restore(snapshot).status is DONE
    assert live(world, "x.tmp").exists()

    assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
    assert not live(world, "x.tmp").exists()


def test_the_folder_of_a_project_stays_where_excluded_files_lie_in_it(world: World) -> None:
    choose(world, "*.tmp")
    shutil.rmtree(world.folder(OTHER))
    snapshot = world.make(SITE)
    world.write("x.tmp", "kept", OTHER)
    world.write("y.txt", "gone", OTHER)

    assert world.restore(snapshot, SITE).status is DONE

    assert [path.name for path in world.folder(OTHER).iterdir()] == ["x.tmp"]


def test_a_restore_that_was_killed_is_finished_with_the_patterns_it_began_with(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(world)
    world.write("x.tmp", "old")
    world.write("x.bak", "old")
    good, snapshot = world.state(), world.make(PROJECT)
    world.spoil()
    world.write("x.tmp", "new")
    world.write("x.bak", "new")
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    monkeypatch.setattr(Staging, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        world.office.work.run_job(job.id)
    monkeypatch.undo()
    choose(world, "*.tmp")

    outcome = world.office.work._backup.finish(PROJECT, Silent())

    assert outcome is not None and outcome.status is DONE
    assert not (world.settings.data / ".keyframe/intents" / f"project.{PROJECT.project_id}.json").exists()
    assert world.state() == good  # wholly new, although *.tmp is excluded by now


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_fewer_files_after_a_change_of_patterns_are_no_source_that_shrank(world: World) -> None:
    choose(world)
    for number in range(100):
        world.write(f"{number}.tmp")
    world.make(PROJECT)
    choose(world, "*.tmp")

    assert world.make(PROJECT).status.value == "done"

    for number in range(100):
        world.write(f"{number}.txt")
    world.make(PROJECT)
    for number in range(100):
        live(world, f"{number}.txt").unlink()
    assert world.make(PROJECT).status.value == "partial"  # with the same patterns that is another matter

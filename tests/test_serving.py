"""Where the live state is that of a snapshot which is there already, that one serves as safety snapshot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash_child import Crasher
from keyframe.backup.recheck import Recheck
from keyframe.errors import NotFoundError
from keyframe.model import Action, Order, Outcome, OutcomeStatus, Scope, Snapshot, Status, Undos
from world import EDITION, PROJECT, SITE, World

SCOPES = pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])


def between(world: World, scope: Scope = PROJECT) -> tuple[Snapshot, Snapshot]:
    """Two snapshots; the live state is that of the older one again, and was brought there by hand."""
    older = world.make(scope)
    kept = world.settings.var / "kept"
    shutil.copytree(world.folder(PROJECT), kept, symlinks=True)
    editions = list(world.db.edition.find())
    world.spoil()
    newer = world.make(scope)
    shutil.rmtree(world.folder(PROJECT))
    shutil.copytree(kept, world.folder(PROJECT), symlinks=True)
    shutil.rmtree(kept)
    world.db.edition.delete_many({})
    world.db.edition.insert_many(editions)
    return older, newer


def names(world: World, scope: Scope = PROJECT) -> list[str]:
    return [one.name for one in world.office.desk.snapshots(world.ask, scope).items]


def again(world: World, name: str, scope: Scope = PROJECT) -> Snapshot:
    return world.office.desk.snapshot(world.ask, scope, name)


@SCOPES
def test_an_older_snapshot_of_the_state_now_serves_and_is_marked(world: World, scope: Scope) -> None:
    older, newer = between(world, scope)
    before = world.state()

    outcome = world.restore(newer, scope)

    assert (outcome.status, outcome.safety, outcome.safety_is_new) == (OutcomeStatus.DONE, older.name, False)
    assert names(world, scope) == [newer.name, older.name]
    mark = again(world, older.name, scope).undoable
    assert mark is not None
    assert (mark.snapshot, mark.by, mark.act, mark.state) == (newer.name, "root", "restore", "done")
    undo = world.done(world.office.desk.undo(world.ask, scope))
    assert (undo.status, undo.safety, undo.safety_is_new) == (OutcomeStatus.DONE, newer.name, False)
    assert world.state() == before


def test_a_state_that_no_snapshot_holds_has_one_made_for_it(world: World) -> None:
    _, newer = between(world)
    world.write("one more.txt", "more")
    before = world.state()

    outcome = world.restore(newer)

    assert outcome.safety_is_new
    assert outcome.safety == names(world)[0] != newer.name
    world.done(world.office.desk.undo(world.ask, PROJECT))
    assert world.state() == before


def test_restoring_to_and_fro_leaves_no_heap_of_snapshots_and_always_the_right_undo(world: World) -> None:
    snapshot, first = world.make(), world.state()
    world.spoil()
    second = world.state()
    desk = world.office.desk

    made = world.restore(snapshot).safety or ""
    for wanted in (second, first, second, first):
        assert world.done(desk.undo(world.ask, PROJECT)).status is OutcomeStatus.DONE
        assert world.state() == wanted

    assert names(world) == [made, snapshot.name]
    acts = [mark.act for mark in sorted((m for n in names(world) for m in again(world, n).restores), key=_at)]
    assert acts == ["restore", "undo", "redo", "undo", "redo"]
    assert world.done(desk.undo(world.ask, PROJECT, made)).problems == ()  # that redo is what it served last
    assert world.state() == second


def _at(mark: Any) -> Any:
    return mark.at


def test_the_last_look_is_as_quick_as_after_a_new_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, newer = between(world)
    monkeypatch.setattr(Recheck, "_is_same_byte_for_byte", lambda _: pytest.fail("all was compared again"))
    for folder, _, files in os.walk(world.folder(PROJECT)):  # stamps that need no second look
        for name in [*files, "."]:
            path = os.path.join(folder, name)
            os.utime(path, ns=(os.lstat(path).st_atime_ns, os.lstat(path).st_mtime_ns), follow_symlinks=False)

    assert world.restore(newer).status is OutcomeStatus.DONE


@pytest.mark.parametrize("harm", ["gone", "shorter", "found", "dump", "metadata"])
def test_one_that_is_damaged_serves_nobody(world: World, harm: str) -> None:
    older, newer = between(world)
    before = world.state()
    stored = world.stored(older) / "files" / "edition" / str(EDITION[0]) / "model.glb"
    if harm == "gone":
        stored.unlink()
    elif harm == "shorter":
        stored.write_bytes(b"")
    elif harm in ("dump", "metadata"):
        name = "edition.bson" if harm == "dump" else "edition.metadata.json"
        (world.stored(older) / "db/bson" / name).unlink()
    else:
        stored.write_bytes(b"x" * stored.stat().st_size)
        world.done(world.office.desk.verify(world.ask, PROJECT, older.name))

    outcome = world.restore(newer)

    assert (outcome.status, outcome.safety_is_new) == (OutcomeStatus.DONE, True)
    assert again(world, older.name).restores == ()
    world.done(world.office.desk.undo(world.ask, PROJECT))
    assert world.state() == before


def _rewrite(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def _swap_link(path: Path) -> None:
    stat = path.lstat()
    target = os.readlink(path)
    path.unlink()
    path.symlink_to("x" * len(target))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns), follow_symlinks=False)


def _as_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("no folder")


TOP = f"files/edition/{EDITION[0]}"
HARMS: dict[str, Callable[[Path], object]] = {
    "other metadata": lambda folder: (folder / "db/bson/edition.metadata.json").write_text("{}"),
    "no JSON": lambda folder: shutil.rmtree(folder / "db/json"),
    "a dump more": lambda folder: (folder / "db/bson/more.bson").write_bytes(b""),
    "no sums": lambda folder: (folder / "manifest-sha256.txt").unlink(),
    "another sum": lambda folder: _rewrite(folder / "manifest-sha256.txt", "a.html", "b.html"),
    "another sum of the README": lambda folder: _rewrite(folder / "manifest-sha256.txt", "README", "README2"),
    "no README": lambda folder: (folder / "README.txt").unlink(),
    "another header": lambda folder: _rewrite(folder / "snapshot.json", '"root"', '"toor"'),
    "no link": lambda folder: (folder / TOP / "latest").unlink(),
    "another link": lambda folder: _swap_link(folder / TOP / "latest"),
    "a file more": lambda folder: (folder / TOP / "more").write_text("more"),
    "a file in place of a folder": lambda folder: _as_file(folder / TOP / "articles"),
}


@pytest.mark.parametrize("is_newest", [False, True], ids=["older", "newest"])
@pytest.mark.parametrize("harm", HARMS)
def test_what_a_quick_verification_finds_lets_it_serve_nobody(world: World, harm: str, is_newest: bool) -> None:
    older, newer = between(world)
    serves, restored = older, newer
    if is_newest:
        world.spoil()
        serves, restored = world.make(), older
    before = world.state()
    HARMS[harm](world.stored(serves))

    outcome = world.restore(restored)

    assert (outcome.status, outcome.safety_is_new) == (OutcomeStatus.DONE, True)
    assert again(world, serves.name).restores == ()
    quick = world.done(world.office.desk.verify(world.ask, PROJECT, serves.name, quick=True))
    warned = {one.code for one in again(world, outcome.safety or "").warnings}
    assert warned and (warned <= {one.code for one in quick.problems} or harm.endswith("folder"))
    world.done(world.office.desk.undo(world.ask, PROJECT))
    assert world.state() == before


@pytest.mark.parametrize("harm", ["other metadata", "no sums", "no JSON", "another header"])
def test_nothing_is_called_unchanged_where_the_newest_is_not_as_it_was_written(world: World, harm: str) -> None:
    newest = world.make()
    HARMS[harm](world.stored(newest))

    made = world.make()

    assert made.name != newest.name
    assert newest.name in made.warnings[0].hint
    assert world.make().name == made.name


def test_one_in_the_trash_serves_nobody(world: World) -> None:
    older, newer = between(world)
    world.office.desk.delete(world.ask, PROJECT, older.name)

    assert world.restore(newer).safety_is_new


def test_one_that_is_partial_serves_nobody(world: World) -> None:
    os.mkfifo(world.folder(PROJECT) / "pipe")
    older, newer = between_partial(world)
    assert older.status is Status.PARTIAL

    assert world.restore_anyway(newer).safety_is_new


def between_partial(world: World) -> tuple[Snapshot, Snapshot]:
    older = world.make()
    path = world.write("more.txt", "more")
    newer = world.make()
    path.unlink()
    return older, newer


def test_a_snapshot_by_hand_is_made_though_an_older_one_is_the_same(world: World) -> None:
    older, _ = between(world)

    made = world.make()

    assert made.name not in (older.name, "")
    assert made.manifest_sha256 == older.manifest_sha256


def test_the_undo_goes_into_the_trash_with_it_and_comes_back(world: World) -> None:
    older, newer = between(world)
    before = world.state()
    world.restore(newer)
    desk = world.office.desk
    job = desk.jobs(world.ask, PROJECT)[0]

    gone = desk.delete(world.ask, PROJECT, older.name)
    with pytest.raises(NotFoundError):
        desk.undo_job(world.ask, job.id)
    back = desk.undelete(world.ask, PROJECT, older.name)

    assert gone.undoable is not None and back.undoable == gone.undoable
    world.done(desk.undo_job(world.ask, job.id))
    assert world.state() == before


def test_a_restore_that_was_killed_says_afterwards_what_had_served_it(world: World, crasher: Crasher) -> None:
    older, newer = between(world)
    job = world.office.desk.restore(world.ask, PROJECT, newer.name)
    assert crasher.run(world, job.id, "rename:after:1").killed

    world.office.work.recover()

    outcome = world.office.desk.job(world.ask, job.id).outcome
    assert outcome is not None
    assert (outcome.status, outcome.safety, outcome.safety_is_new) == (OutcomeStatus.DONE, older.name, False)


def test_what_was_restored_counts_though_the_one_that_served_is_old(world: World) -> None:
    """A restore to much less, served by an old snapshot: the next snapshot by hand is not called shrunk."""
    for number in range(30):
        world.write(f"many/{number}.txt", "x")
    older = world.make()
    shutil.rmtree(world.folder(PROJECT) / "many")
    fewer = world.make()
    for number in range(30):
        world.write(f"many/{number}.txt", "x")
    for number in range(30):
        path = world.stored(older) / "files" / "many" / f"{number}.txt"
        live = world.folder(PROJECT) / "many" / f"{number}.txt"
        os.utime(live, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert fewer.status is Status.PARTIAL
    assert world.restore(fewer).safety == older.name

    world.write("new.txt", "new")
    made = world.make()

    assert made.status is Status.DONE, made.problems


# --- what was turned back


def test_an_undo_that_was_turned_back_is_not_taken_for_one(world: World, crasher: Crasher) -> None:
    snapshot, first = world.make(), world.state()
    world.spoil()
    desk = world.office.desk
    world.restore(snapshot)
    world.write("since.txt", "since")  # so that each undo has a safety snapshot of its own
    undo = desk.undo(world.ask, PROJECT)
    assert crasher.run(world, undo.id, "rename:after:1").killed
    desk.turn_back(world.ask, PROJECT)
    world.office.work.recover()
    (world.folder(PROJECT) / "since.txt").unlink()
    assert world.state() == first

    assert world.done(desk.undo(world.ask, PROJECT)).status is OutcomeStatus.DONE

    found = desk.snapshots(world.ask, PROJECT).items
    said = [world.office.messages.why(one, one.made_at, Undos.of(found)) for one in found]
    assert sum("done again" in one for one in said) == 0, said
    assert sum("that was turned back" in one for one in said) == 1
    assert sum("that was undone since" in one for one in said) == 1
    turned = next(one for one in found if one.restores and one.restores[0].turned_back)
    shown = turned.as_dict()["safety_of"]
    assert (shown["job"], shown["act"], shown["state"]) == (undo.id, "undo", "turned-back")


def test_what_a_snapshot_served_is_told_also_when_it_is_undone(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    made = world.restore(snapshot).safety or ""
    restored = world.office.desk.jobs(world.ask, PROJECT)[0]
    world.done(world.office.desk.undo(world.ask, PROJECT))

    told = again(world, made).as_dict()["safety_of"]

    assert (told["job"], told["snapshot"], told["by"]) == (restored.id, snapshot.name, "root")
    assert (told["act"], told["state"]) == ("restore", "undone")


def test_labels_of_before_are_read(world: World) -> None:
    """Those that say nothing of who, of what kind, and of what was turned back."""
    import json

    snapshot = world.make()
    world.spoil()
    outcome: Outcome = world.restore(snapshot)
    path = world.stored(again(world, outcome.safety or "")) / "labels.json"
    labels = json.loads(path.read_text())
    for key in ("by", "act", "undoes", "turned_back"):
        del labels["restores"][0][key]
    path.write_text(json.dumps(labels))

    mark = again(world, outcome.safety or "").undoable

    assert mark is not None
    assert (mark.by, mark.act, mark.undoes, mark.turned_back) == ("", "restore", "", False)
    assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is OutcomeStatus.DONE
    order = Order(Action.UNDO, PROJECT, world.ask)
    assert order.mark_job == ""

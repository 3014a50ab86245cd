"""Sifting says the same as comparing all: same plan, same counts, whatever was changed and whatever is not known."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from forging import forge
from keyframe.backup import sifting
from keyframe.backup.sifting import Sifting
from keyframe.model import OutcomeStatus, Plan, Scope, Selection, Snapshot
from keyframe.stores import rows, seen
from keyframe.stores.plans import Plans
from test_excluded import choose
from test_format import rewrite_manifest
from test_recheck import FILES
from world import EDITION, PROJECT, SITE, World

DONE = OutcomeStatus.DONE
TOP = f"edition/{EDITION[0]}"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stamps are old enough to be trusted after a moment."""
    for module in (seen, rows):
        monkeypatch.setattr(module, "RACY_NS", 50_000_000)


def settle() -> None:
    time.sleep(0.1)


@pytest.fixture
def sifted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many paths each comparison was left with; -1: it was not sifted."""
    found: list[int] = []
    streams = Sifting.streams

    def counted(self: Sifting, *args: Any) -> Any:
        result = streams(self, *args)
        if result is None:
            found.append(-1)
            return None
        wanted, there = list(result[0]), list(result[1])
        found.append(len({entry.path for entry in (*wanted, *there)}))
        return iter(wanted), iter(there), result[2]

    monkeypatch.setattr(Sifting, "streams", counted)
    yield found


def whole_plan(world: World, snapshot: Snapshot, scope: Scope) -> Plan:
    """As it is without sifting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sifting, "streams", lambda *_: None)
        return world.preview(snapshot, scope)


def require_same(world: World, snapshot: Snapshot, scope: Scope) -> Plan:
    plan, whole = world.preview(snapshot, scope), whole_plan(world, snapshot, scope)
    assert (plan.digest, plan.unchanged) == (whole.digest, whole.unchanged)
    assert plan.as_dict() == whole.as_dict()
    return plan


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_a_change_is_found_among_what_is_the_same(
    world: World, short: None, sifted: list[int], scope: Scope, what: str
) -> None:
    settle()
    snapshot = world.make(scope)
    settle()
    FILES[what](world)

    plan = require_same(world, snapshot, scope)

    assert not plan.is_empty
    assert 1 <= sifted[-1] <= 3


def test_nothing_changed_leaves_nothing_to_be_compared(world: World, short: None, sifted: list[int]) -> None:
    settle()
    snapshot = world.make(SITE)

    assert require_same(world, snapshot, SITE).is_empty
    assert sifted == [0]


def test_stamps_that_are_too_young_are_not_trusted(world: World, sifted: list[int]) -> None:
    snapshot = world.make()
    path = world.folder(PROJECT) / TOP / "model.glb"
    before = path.stat()
    path.write_bytes(b"GLTF" * 1000)
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))

    plan = require_same(world, snapshot, PROJECT)

    assert plan.replaces.files == 1
    assert sifted[-1] > 1


def test_an_older_snapshot_is_sifted_by_its_lines(world: World, short: None, sifted: list[int]) -> None:
    settle()
    old = world.make()
    world.spoil()
    (world.folder(PROJECT) / TOP / "latest").unlink()
    settle()
    world.make()
    settle()
    world.write("since.txt")
    (world.folder(PROJECT) / TOP / "scene.svx.json").chmod(0o600)

    plan = require_same(world, old, PROJECT)

    assert 5 <= sifted[-1] <= 12
    assert world.restore(old, plan=plan.digest).status is DONE


def everything(world: World) -> None:
    """Type changes in all directions, names whose order matters, and names that are no UTF-8."""
    top = world.folder(PROJECT) / TOP
    for name in ("a", "a-b", "a.b", "a/b/c", "a0", "ab"):
        world.write(f"{TOP}/order/{name.replace('a/', 'aa/')}")
    (top / "articles/a.html").unlink()
    (top / "articles").rmdir()
    (top / "articles").write_text("a file")
    (top / "model.glb").unlink()
    (top / "model.glb").mkdir()
    (top / "model.glb/inside").symlink_to("x")
    (top / "latest").unlink()
    (top / "latest").mkdir()
    with open(os.fsencode(top) + b"/\xff\xfe.bin", "wb") as file:
        file.write(b"no text")


def test_anything_may_become_anything(world: World, short: None, sifted: list[int]) -> None:
    settle()
    old = world.make()
    everything(world)
    settle()
    new = world.make()
    settle()

    there = require_same(world, old, PROJECT)
    assert world.restore(old, plan=there.digest).status is DONE
    back = require_same(world, new, PROJECT)
    assert world.restore(new, plan=back.digest).status is DONE
    assert require_same(world, new, PROJECT).is_empty
    assert -1 not in sifted


@pytest.mark.parametrize("lost", ["gone", "spoilt"])
def test_without_what_the_last_make_knew_all_is_compared(
    world: World, short: None, sifted: list[int], lost: str
) -> None:
    snapshot = world.make()
    known = world.settings.data / ".keyframe/known"
    for path in known.iterdir():
        path.unlink() if lost == "gone" else path.write_bytes(path.read_bytes()[:-1] + b"?")

    world.spoil()

    assert require_same(world, snapshot, PROJECT).replaces.files == 1
    assert sifted == [-1]


def test_a_part_is_not_sifted(world: World, sifted: list[int]) -> None:
    snapshot = world.make()
    world.spoil()

    world.preview(snapshot, selection=Selection(paths=(TOP,)))

    assert sifted == [-1]


def test_more_than_can_be_held_is_compared_as_a_whole(
    world: World, sifted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sifting, "MOST", 2)
    snapshot = world.make()
    world.spoil()

    require_same(world, snapshot, PROJECT)

    assert sifted == [-1]


def test_what_cannot_be_looked_at_is_left_as_it_is(world: World, short: None, sifted: list[int]) -> None:
    snapshot = world.make()
    os.mkfifo(world.folder(PROJECT) / TOP / "pipe")
    (world.folder(PROJECT) / TOP / "model.glb").unlink()
    os.mkfifo(world.folder(PROJECT) / TOP / "model.glb")

    plan = require_same(world, snapshot, PROJECT)

    assert plan.is_empty
    assert sifted == [-1]


def below_no_folder(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        if entry.get("path") == f"{TOP}/articles":
            entry.update(type="link", target="/etc", mtime_ns=0)


def out_of_order(entries: list[dict[str, Any]]) -> None:
    files = [number for number, entry in enumerate(entries) if entry.get("type") == "file"]
    entries[files[0]], entries[files[1]] = entries[files[1]], entries[files[0]]


def of_no_kind(entries: list[dict[str, Any]]) -> None:
    next(entry for entry in entries if entry.get("type") == "file")["type"] = "device"


def outside(entries: list[dict[str, Any]]) -> None:
    next(entry for entry in entries if entry.get("type") == "file")["path"] = "../outside"


@pytest.mark.parametrize("change", [below_no_folder, out_of_order, of_no_kind, outside], ids=lambda one: one.__name__)
def test_a_forged_older_manifest_is_refused(
    world: World, short: None, change: Callable[[list[dict[str, Any]]], None]
) -> None:
    settle()
    old = world.make()
    world.write("newer.txt")
    settle()
    world.make()
    forge(world, old, change)

    outcome = world.done(world.office.desk.preview(world.ask, PROJECT, old.name))

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.problems[0].code.startswith("damaged")


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
@pytest.mark.parametrize("field", ["path", "type"])
def test_a_field_that_stands_twice_is_refused(world: World, short: None, scope: Scope, field: str) -> None:
    settle()
    old = world.make(scope)
    world.write("newer.txt", "", scope)
    settle()
    world.make(scope)
    name = "about.txt" if scope.is_site else f"{TOP}/model.glb"
    twice = b',"path":".keyframe/x"' if field == "path" else b',"type":"directory"'

    def change(manifest: bytes) -> bytes:
        lines = manifest.splitlines(keepends=True)
        return b"".join(
            line.replace(b"}\n", twice + b"}\n") if f'"{name}"'.encode() in line else line for line in lines
        )

    rewrite_manifest(world.stored(old), change)

    outcome = world.done(world.office.desk.preview(world.ask, scope, old.name))

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.problems[0].code == "damaged.manifest-invalid"


def test_what_is_excluded_since_stays(world: World, short: None) -> None:
    settle()
    world.write("keep.log", "as it was")
    snapshot = world.make()
    plans = Plans(world.settings.data / ".keyframe/plans")
    settle()
    world.write("keep.log", "as it is")
    choose(world, "*.log")

    plan = require_same(world, snapshot, PROJECT)

    assert "keep.log" not in {item.name for item in plans.items(plan.digest)}

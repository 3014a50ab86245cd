"""Snapshots whose bits flip, whose files are cut, whose manifests are absurd, restored through the desk.

Whatever is done to one: it is refused by a code and nothing live is changed, or what is restored is exactly what was
saved. Nothing outside the scope is ever written.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from forging import FILE, FOLDER, LINK, everything_else, forge
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from keyframe.model import Outcome, OutcomeStatus, Snapshot
from world import EDITION, PROJECT, TWO, World

DONE, FAILED = OutcomeStatus.DONE, OutcomeStatus.FAILED
MODEL = f"edition/{EDITION[0]}/model.glb"
FUZZ = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Victim:
    """A world with a good snapshot, of which each try spoils a fresh copy, and what lies around it."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._elsewhere = folder / "elsewhere"
        shutil.copytree(world.folder(PROJECT), self._elsewhere, symlinks=True)
        self.snapshot, self.good = world.make(PROJECT), world.state()
        self.folder = world.stored(self.snapshot)
        self._whole = folder / "whole"
        shutil.copytree(self.folder, self._whole, symlinks=True)
        world.spoil()
        world.make(PROJECT)
        self.before = world.state()

    def around(self) -> Any:
        """All that is not the project's."""
        records = self.world.records()
        foreign = {name: value for name, value in records.items() if not name.startswith("edition")}
        others = {key: raw for key, raw in records["edition"].items() if TWO.binary in raw}
        return everything_else(self.world, self._elsewhere), foreign, others

    def restored(self) -> Outcome:
        """Preview and restore what the snapshot is now; AssertionError where a promise is broken."""
        world, around = self.world, self.around()
        preview = world.done(world.office.desk.preview(world.ask, PROJECT, self.snapshot.name))
        assert world.state() == self.before
        outcome = world.restore(self.snapshot)
        now = world.state()
        assert self.around() == around, "something outside the scope was written"
        assert not list((world.settings.data / ".keyframe/intents").glob("*"))
        if outcome.status is DONE:
            assert now == self.good, "something else was restored than was saved"
            assert world.done(world.office.desk.undo(world.ask, PROJECT)).status is DONE
        else:
            assert outcome.status is FAILED
            codes = {one.code for one in (*outcome.problems, *preview.problems)}
            assert all(code.startswith("damaged.") or code == "no-room" for code in codes), codes
        assert world.state() == self.before
        return outcome

    def heal(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self._whole, self.folder, symlinks=True)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.fixture
def victim(world: World, tmp_path: Path) -> Victim:
    return Victim(world, tmp_path)


# --- damage by chance


@FUZZ
@given(
    which=some.integers(0, 10**6), at=some.integers(0, 10**6), how=some.sampled_from(["flip", "cut", "grow", "gone"])
)
def test_flipped_bits_and_cut_files_are_refused_or_do_not_matter(victim: Victim, which: int, at: int, how: str) -> None:
    victim.heal()
    files = victim.files()
    path = files[which % len(files)]
    content = bytearray(path.read_bytes())
    if how == "flip" and content:
        content[at // 8 % len(content)] ^= 1 << at % 8
    elif how == "cut":
        del content[at % (len(content) + 1) :]
    elif how == "grow":
        content += b"\n"
    path.unlink()
    if how != "gone":
        path.write_bytes(content)

    victim.restored()


# --- a manifest that fits its header, and says what it likes


ODD_PATHS = ["../evil", "/etc/evil", "a/../../evil", "..", ".", "edition", MODEL, MODEL + "/evil", ".keyframe/x",
             f"edition/{EDITION[0]}/latest/evil", "\udcff", "a" * 300, "d/" * 200 + "x", "evil\0"]  # fmt: skip
ODD_NUMBERS = [0, -1, 1, 2**31, 2**32, 2**62, 2**63, 2**64, 10**30]
ENTRY = some.one_of(
    some.builds(lambda path: {**FILE, "path": path}, some.sampled_from(ODD_PATHS)),
    some.builds(lambda size: {**FILE, "path": "aa", "size": size}, some.sampled_from(ODD_NUMBERS)),
    some.builds(lambda time: {**FILE, "path": "aa", "mtime_ns": time}, some.sampled_from(ODD_NUMBERS)),
    some.builds(lambda uid: {**FOLDER, "path": "aa", "uid": uid}, some.sampled_from(ODD_NUMBERS)),
    some.builds(
        lambda kind: {**FILE, "path": "aa", "type": kind},
        some.sampled_from(["device", "fifo", "socket", "", "collection", "directory", "link"]),
    ),
    some.builds(
        lambda path, target: {**LINK, "path": path, "target": target},
        some.sampled_from(ODD_PATHS),
        some.sampled_from(["/", "/etc", "../../..", ".", "x" * 5000]),
    ),
)


@FUZZ
@given(entries=some.lists(ENTRY, min_size=1, max_size=4), at=some.integers(0, 12), orderly=some.booleans())
def test_an_absurd_manifest_is_refused_and_nothing_is_written_outside(
    victim: Victim, entries: list[dict[str, Any]], at: int, orderly: bool
) -> None:
    victim.heal()

    def change(documents: list[dict[str, Any]]) -> None:
        documents[at:at] = [json.loads(json.dumps(one)) for one in entries]
        if orderly:  # the reader wants an order; what is in that order it has to look at
            paths = [one for one in documents if "path" in one]
            rest = [one for one in documents if "path" not in one]
            documents[:] = sorted(paths, key=lambda one: "" if one["path"] == "." else one["path"]) + rest

    forge(victim.world, victim.snapshot, change)

    assert victim.restored().status is FAILED


def test_a_manifest_of_very_many_entries_that_are_not_stored_is_refused(victim: Victim) -> None:
    many = [{**FILE, "path": f"many-{number:06}.txt"} for number in range(50_000)]

    forge(victim.world, victim.snapshot, lambda documents: documents.extend(_in_order(documents, many)))

    assert victim.restored().status is FAILED


def _in_order(documents: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All of it in the order of a manifest; what was there is taken out."""
    paths = [one for one in documents if "path" in one] + more
    rest = [one for one in documents if "path" not in one]
    documents.clear()
    return sorted(paths, key=lambda one: "" if one["path"] == "." else one["path"]) + rest


def test_more_bytes_than_any_disk_has_are_refused_before_anything_is_staged(victim: Victim) -> None:
    def change(documents: list[dict[str, Any]]) -> None:
        for one in documents:
            if one.get("path") == MODEL:
                one["size"] = 2**62

    forge(victim.world, victim.snapshot, change)

    outcome = victim.restored()

    assert (outcome.status, outcome.problems[0].code) == (FAILED, "no-room")


# --- links that lead out of the live tree


@pytest.mark.parametrize("place", [f"edition/{EDITION[0]}", f"edition/{EDITION[0]}/articles", MODEL])
def test_a_live_link_in_the_way_is_replaced_and_never_followed(world: World, tmp_path: Path, place: str) -> None:
    snapshot: Snapshot = world.make(PROJECT)
    good = world.state()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "model.glb").write_text("not ours")
    live = world.folder(PROJECT) / place
    shutil.rmtree(live) if live.is_dir() else live.unlink()
    live.symlink_to(outside if place != MODEL else outside / "model.glb")

    outcome = world.restore(snapshot)

    assert outcome.status is DONE
    assert world.state() == good
    assert os.listdir(outside) == ["model.glb"]
    assert (outside / "model.glb").read_text() == "not ours"

"""The manifest is read with suspicion: what is wrong in it is named, and leads nothing out of the scope."""

from __future__ import annotations

import base64
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forging import DIGEST, FILE, FOLDER, LINK, everything_else, forge, lines
from keyframe.errors import DamagedError
from keyframe.model import FileEntry, OutcomeStatus
from keyframe.stores.file_lines import encode_line, file_line
from keyframe.stores.manifest import ManifestWriter, read_manifest
from world import EDITION, PROJECT, World

DONE, FAILED = OutcomeStatus.DONE, OutcomeStatus.FAILED
COLLECTION: dict[str, Any] = {
    "collection": "edition", "stem": "edition", "type": "collection", "documents": 1, "bytes": 5, "sha256": DIGEST,
    "options": "{}", "indexes": '[{"v":2,"key":{"_id":1},"name":"_id_"}]', "json_bytes": 5, "json_sha256": DIGEST,
    "json_inexact": 1, "json_named": [{"line": 1, "_id": "5", "reason": "is odd"}], "outside_instant": False,
}  # fmt: skip


def b64(path: bytes) -> str:
    return base64.b64encode(path).decode()


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {one: value for one, value in document.items() if one != key}


def test_a_good_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    deep = [{**FILE, "path": one} for one in ("c-c/x", "c.txt", "c/a", "c/a.b", "c/a/b", "c0")]
    deep[2] |= {"type": "directory"}
    odd = {**without(FILE, "path"), "path_b64": b64(b"\xff\n")}
    other = {**COLLECTION, "collection": "x", "stem": "x"}
    path.write_bytes(
        lines({**FOLDER, "path": "."}, FILE, FOLDER, {**FOLDER, "path": "c-c"}, *deep, LINK, odd, COLLECTION, other)
    )

    found = list(read_manifest(path))

    assert [one.path for one in found if isinstance(one, FileEntry)][-1] == os.fsdecode(b"\xff\n")
    assert len(found) == 14


BAD_PATHS = ["..", "../x", "a/../../x", "/etc/passwd", "", "a//b", "a/", "./a", "a/.", "a\0b"]
BAD_VALUES: dict[str, list[Any]] = {
    "path": [5, None, ["x"]],
    "type": ["socket", None, ["file"]],
    "size": [-1, 1 << 63, "3", True, 1.5],
    "uid": [-1, 1 << 32],
    "gid": [1 << 80],
    "mtime_ns": [1 << 63, None],
    "sha256": ["0" * 63, "A" * 64, 5, ""],
    "mode": ["0o644", "17777", "-644", 644, "0999"],
    "attributes": [
        None,
        "user.a",
        [["user.a", ""]],
        {"user.a": 5},
        {"user.a": "?"},
        {"user.": ""},
        {"security.selinux": ""},
        {"trusted.overlay.opaque": ""},
        {"system.x": ""},
        {"user.a\0": ""},
        {"user." + "a" * 251: ""},
        {"user.a": b64(b"x" * 65_537)},
    ],
    "attributes_b64": [None, {"?": ""}, {b64(b"security.ima"): ""}, {b64(b"user.\xff"): "?"}],
}
BAD_COLLECTIONS: dict[str, list[Any]] = {
    "collection": ["", "system.users", "$cmd", "a\0b", None],
    "stem": ["a/b", "../x", "..", ".", "", "a\0", 5],
    "type": ["bucket"],
    "documents": [-1, True],
    "bytes": [1 << 63],
    "sha256": ["x"],
    "options": ["{", "[]", {}],
    "indexes": ["{}", "[5]", '[{"key":{}}]', '[{"name":5,"key":{}}]'],
    "json_inexact": [None],
    "json_bytes": [-1, None],
    "json_sha256": [None, "0" * 63],
    "json_named": [None, [{"line": 0, "_id": "5", "reason": ""}], [{"line": 1, "_id": 5, "reason": ""}]],
    "outside_instant": [None, 0],
}
BAD = {
    **{f"path {path!r}": lines({**FILE, "path": path}) for path in BAD_PATHS},
    **{f"path_b64 {path!r}": lines({**without(FILE, "path"), "path_b64": b64(path.encode())}) for path in BAD_PATHS},
    **{f"no {key}": lines(without(FILE, key)) for key in FILE},
    **{f"folder without {key}": lines(without(FOLDER, key)) for key in FOLDER},
    **{f"link without {key}": lines(without(LINK, key)) for key in LINK},
    **{f"collection without {key}": lines(without(COLLECTION, key)) for key in COLLECTION if key != "collection"},
    **{f"{key} {value!r}": lines({**FILE, key: value}) for key, values in BAD_VALUES.items() for value in values},
    **{
        f"collection {key} {value!r}": lines({**COLLECTION, key: value})
        for key, values in BAD_COLLECTIONS.items()
        for value in values
    },
    "attribute twice": lines({**FILE, "attributes": {"user.a": ""}, "attributes_b64": {b64(b"user.a"): ""}}),
    "not base64": lines({**without(FILE, "path"), "path_b64": "?"}),
    "link to nothing": lines({**LINK, "target": ""}),
    "link with NUL": lines({**LINK, "target": "a\0b"}),
    "two with the same files": lines(COLLECTION, {**COLLECTION, "collection": "x"}),
    "unsorted": lines({**FILE, "path": "b"}, {**FILE, "path": "a"}),
    "twice": lines(FILE, FILE),
    "top is a link": lines({**LINK, "path": "."}),
    "top is a file": lines({**FILE, "path": "."}),
    "top is not there": lines(FILE),
    "path in two ways": lines({**FILE, "path_b64": b64(b"b.txt")}),
    "target in two ways": lines({**LINK, "target_b64": b64(b"elsewhere")}),
    "view with documents": lines({**COLLECTION, "type": "view", "bytes": 0, "json_bytes": 0}),
    "view with bytes": lines({**COLLECTION, "type": "view", "documents": 0}),
    "top not first": lines(FILE, {**FOLDER, "path": "."}),
    "collections unsorted": lines({**COLLECTION, "collection": "x"}, COLLECTION),
    "collection twice": lines(COLLECTION, COLLECTION),
    "file after collection": lines(COLLECTION, FILE),
    "below a file": lines({**FILE, "path": "a"}, {**FILE, "path": "a-b"}, {**FILE, "path": "a/b"}),
    "below a link": lines(
        {**LINK, "path": "a"}, {**FOLDER, "path": "a.d"}, {**FILE, "path": "a.d/x"}, {**FILE, "path": "a/b/c"}
    ),
    "cut": lines(FILE)[:-1],
    "cut inside": lines(FILE)[:-20],
    "empty line": b"\n",
    "no object": b"5\n",
    "text": b'"collection"\n',
    "list": b'["collection"]\n',
    "not UTF-8": b'{"path":"\xff"}\n',
    "lone surrogate": b'{"path":"\\udc80","type":"directory","mode":"0755","uid":0,"gid":0}\n',
    "deep": b"[" * 100_000 + b"\n",
    "no JSON": b"\0" * 100 + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda name: name.encode("ascii", "backslashreplace").decode())
def test_a_bad_line_is_refused_with_its_number(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(lines({**FOLDER, "path": "."}) + BAD[bad] if not bad.startswith("top") else BAD[bad])

    with pytest.raises(DamagedError) as caught:
        list(read_manifest(path))

    assert caught.value.code == "damaged.manifest-invalid"
    assert "line" in caught.value.what


def test_our_own_folder_is_in_no_manifest_of_the_site(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    folder = {**FOLDER, "path": ".keyframe"}
    path.write_bytes(lines({**FOLDER, "path": "."}, folder, {**FILE, "path": ".keyframe/x"}))

    assert len(list(read_manifest(path))) == 3  # a project may have one
    with pytest.raises(DamagedError, match="keyframe") as caught:
        list(read_manifest(path, is_site=True))

    assert caught.value.code == "damaged.manifest-invalid"


def test_a_manifest_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DamagedError) as caught:
        list(read_manifest(tmp_path / "manifest.jsonl"))

    assert caught.value.code == "damaged.manifest-missing"


def test_damaged_bytes_are_read_or_refused_but_never_crash(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    good = lines({**FOLDER, "path": "."}, FILE, FOLDER, {**FILE, "path": "c/x"}, LINK, COLLECTION)
    chance = random.Random(7)

    for _ in range(3000):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(damaged))
            if chance.random() < 0.3:
                del damaged[at : at + chance.randint(1, 30)]
            else:
                damaged[at] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            entries = list(read_manifest(path))
        except DamagedError as error:
            assert error.code == "damaged.manifest-invalid"
        else:
            assert all(".." not in one.path.split("/") for one in entries if isinstance(one, FileEntry))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    entries = [
        FileEntry(".", "directory", 0, 0o755, 0, 0, 0),
        FileEntry("a\n\\", "file", 2**62, 0o4777, 2**31, 2**32 - 2, -5, DIGEST),
        FileEntry("ü", "link", 0, 0o777, 1, 2, 3, "", os.fsdecode(b"../\xff")),
        FileEntry("ü!", "file", 1, 0, 0, 0, 0, DIGEST, "", ((b"user.\xc3\xbc", b""), (b"user.\xff", b"\0\xff"))),
        FileEntry(os.fsdecode(b"\xff"), "directory", 0, 0, 0, 0, 0, attributes=((b"system.posix_acl_default", b"1"),)),
    ]
    writer = ManifestWriter(tmp_path / "manifest.jsonl")
    for entry in entries:
        writer.files([encode_line(file_line(entry))])
    writer.close()

    assert list(read_manifest(tmp_path / "manifest.jsonl")) == entries


# --- forged snapshots


ESCAPES: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "up": lambda all: all.insert(1, {**FILE, "path": "../evil.txt"}),
    "absolute": lambda all: all.insert(1, {**FILE, "path": "/tmp/evil.txt"}),
    "through a link of its own": lambda all: all.__setitem__(
        slice(1, 1), [{**LINK, "path": "a", "target": "/"}, {**FILE, "path": "a/evil.txt"}]
    ),
    "stem": lambda all: all[-1].update(stem="../../../evil"),
    "into the server": lambda all: all.append({**COLLECTION, "collection": "system.views", "stem": "edition"}),
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_forged_manifest_writes_nothing_outside(world: World, tmp_path: Path, escape: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(world.folder(PROJECT), elsewhere, symlinks=True)
    snapshot = world.make(PROJECT)
    (world.stored(snapshot).parent / "evil.txt").write_text("abc")
    forge(world, snapshot, ESCAPES[escape])
    world.spoil()
    before, outside = world.state(), everything_else(world, elsewhere)

    outcomes = [world.restore(snapshot), world.done(world.office.desk.preview(world.ask, PROJECT, snapshot.name))]

    assert [one.status for one in outcomes] == [FAILED, FAILED]
    assert {one.problems[0].code for one in outcomes} == {"damaged.manifest-invalid"}
    assert world.state() == before
    assert everything_else(world, elsewhere) == outside


def test_other_files_than_the_manifest_says_are_damage(world: World) -> None:
    snapshot = world.make(PROJECT)
    forge(world, snapshot, lambda all: all.insert(1, {**FILE, "path": "a.txt"}))
    before = world.state()

    outcome = world.restore(snapshot)

    assert outcome.problems[0].code == "damaged.file-missing"
    assert world.state() == before


def test_a_link_planted_in_the_snapshot_is_not_followed(world: World, tmp_path: Path) -> None:
    snapshot = world.make(PROJECT)
    folder = world.stored(snapshot) / f"files/edition/{EDITION[0]}"
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    world.spoil()
    before = world.state()

    outcome = world.restore(snapshot)

    assert outcome.status is FAILED
    assert outcome.problems[0].code == "damaged.file-missing"
    assert world.state() == before


# --- links planted in the live files


@pytest.mark.parametrize("planted", [f"edition/{EDITION[0]}", f"edition/{EDITION[0]}/articles", "edition"])
def test_a_link_planted_live_does_not_lead_a_restore_outside(world: World, tmp_path: Path, planted: str) -> None:
    before = world.state()
    snapshot = world.make(PROJECT)
    elsewhere = tmp_path / "elsewhere"
    (world.folder(PROJECT) / planted).rename(elsewhere)
    for path in elsewhere.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.write_text("not of this project")
    (world.folder(PROJECT) / planted).symlink_to(elsewhere)
    spoilt, outside = world.state(), everything_else(world, elsewhere)

    restored = world.restore(snapshot)
    after = world.state()
    undone = world.done(world.office.desk.undo(world.ask, PROJECT))

    assert (restored.status, undone.status) == (DONE, DONE)
    assert after == before
    assert world.state() == spoilt
    assert everything_else(world, elsewhere) == outside


def test_a_link_planted_while_a_restore_moves_does_not_lead_it_outside(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keyframe.backup.staging import Staging

    before = world.state()
    snapshot = world.make(PROJECT)
    world.spoil()
    elsewhere = tmp_path / "elsewhere"
    move, folder = Staging.move, world.folder(PROJECT) / f"edition/{EDITION[0]}"

    def plant(staging: Staging, *args: Any) -> None:
        if not elsewhere.exists():
            folder.rename(elsewhere)
            folder.symlink_to(elsewhere)
        move(staging, *args)

    monkeypatch.setattr(Staging, "move", plant)

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.PARTIAL
    assert [(one.code, one.subject) for one in outcome.problems] == [("changed", f"edition/{EDITION[0]}")]
    assert folder.is_symlink()
    assert (elsewhere / "model.glb").read_bytes() == b"spoilt"
    folder.unlink()
    assert world.restore(snapshot).status is DONE
    assert world.state() == before

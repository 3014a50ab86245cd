"""Names and trees, whatever they are: made, verified, checked with sha256sum, spoilt, restored, undone; all exact."""

from __future__ import annotations

import os
import shutil
import stat as modes
import subprocess
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.model import OutcomeStatus, Snapshot
from keyframe.stores.disk import remove_tree
from keyframe.stores.validator import Validator
from world import PROJECT, World

quick = settings(
    max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

E_ACUTE = [unicodedata.normalize(form, "é").encode() for form in ("NFC", "NFD")]
# Few, so that two trees meet at the same names.
ODD = [
    b"a", b"a.txt", b"a-b", b"a0", b"-rf", b"--", b" ", b"new\nline", b"\r", b"back\\slash", b"\xff\xfe", b"\\\n", b"*",
    b"snapshot.json", b"manifest.jsonl", b"manifest-sha256.txt", b"README.txt", b"labels.json", b"files", b"db",
    b".rows-1", b".keyframe", b".drafts", b"$(id)", b"\x01", b"x" * 255, b"\xc3" * 255, *E_ACUTE,
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(ODD),
    st.binary(min_size=1, max_size=20)
    .map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"-"))
    .filter(lambda raw: raw not in (b".", b"..")),
)
MTIMES = st.one_of(st.sampled_from([0, 1, -1, 999_999_999]), st.integers(-(2**31) * 10**9, 2**33 * 10**9))
MODES = st.one_of(st.sampled_from([0o644, 0o755, 0, 0o4755, 0o2770, 0o1777]), st.integers(0, 0o7777))
XATTRS = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b.c", b"user.\xff", b"user." + b"n" * 200]), st.binary(max_size=40), max_size=2
)
OWNERS = st.sampled_from([0, 1000, 65_534])
FILES = st.tuples(st.just("file"), st.binary(max_size=40), MODES, MTIMES, XATTRS, OWNERS)
LINKS = st.tuples(
    st.just("link"),
    st.sampled_from([b"a", b"../../..", b"/etc/passwd", b"/nowhere\xff", b".", b"x" * 1000]),
    st.just(0),
    MTIMES,
    st.just({}),
    OWNERS,
)
TREES = st.recursive(
    st.one_of(FILES, LINKS),
    lambda inner: st.tuples(
        st.just("folder"), st.dictionaries(NAMES, inner, max_size=4), MODES, st.just(0), XATTRS, OWNERS
    ),
    max_leaves=10,
)
TOPS = st.dictionaries(NAMES, TREES, max_size=6)


@pytest.fixture(autouse=True)
def for_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make any owner and mode, and read it again")


def build(folder: int, nodes: dict[bytes, Any]) -> None:
    """Make a tree below an open directory."""
    for name, (kind, content, mode, mtime, xattrs, owner) in nodes.items():
        place = b"/proc/self/fd/%d/%s" % (folder, name)
        if kind == "link":
            os.symlink(content, name, dir_fd=folder)
        elif kind == "file":
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder)
            os.write(descriptor, content)
            os.close(descriptor)
        else:
            os.mkdir(name, dir_fd=folder)
            below = os.open(name, os.O_RDONLY, dir_fd=folder)
            build(below, content)
            os.close(below)
        os.chown(name, owner, owner, dir_fd=folder, follow_symlinks=False)
        for key, value in xattrs.items():
            os.setxattr(place, key, value)
        if kind != "link":
            os.chmod(name, mode, dir_fd=folder)
        os.utime(name, ns=(mtime, mtime), dir_fd=folder, follow_symlinks=False)


def state(folder: int, prefix: bytes = b"") -> dict[bytes, Any]:
    """Everything below an open directory, past the product."""
    found = {}
    for name in map(os.fsencode, os.listdir(folder)):
        place = b"/proc/self/fd/%d/%s" % (folder, name)
        stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
        xattrs = {
            one: os.getxattr(place, one, follow_symlinks=False) for one in os.listxattr(place, follow_symlinks=False)
        }
        seen: list[Any] = [stat.st_mode, stat.st_uid, stat.st_gid, xattrs]
        if modes.S_ISDIR(stat.st_mode):
            below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            found |= state(below, prefix + name + b"/")
            os.close(below)
        elif modes.S_ISLNK(stat.st_mode):
            seen += [stat.st_mtime_ns, os.readlink(name, dir_fd=folder)]
        else:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            seen += [stat.st_mtime_ns, os.read(descriptor, 1 << 20)]
            os.close(descriptor)
        found[prefix + name] = seen
    return found


class Top:
    """The folder of the project, filled anew and looked at."""

    def __init__(self, world: World) -> None:
        self.path = world.folder(PROJECT)

    def fill(self, nodes: dict[bytes, Any]) -> dict[bytes, Any]:
        remove_tree(self.path)
        self.path.mkdir()
        folder = os.open(self.path, os.O_RDONLY)
        build(folder, nodes)
        os.close(folder)
        return self.state()

    def state(self) -> dict[bytes, Any]:
        folder = os.open(self.path, os.O_RDONLY)
        try:
            return state(folder)
        finally:
            os.close(folder)


def check(world: World, snapshot: Snapshot) -> None:
    """By ourselves, and with coreutils."""
    folder = world.stored(snapshot)
    assert snapshot.status.value == "done"
    assert Validator(folder).run(datetime.now(UTC)).counts == {}
    ran = subprocess.run(
        ["sha256sum", "-c", "--quiet", "--strict", "manifest-sha256.txt"], cwd=folder, capture_output=True, check=False
    )
    assert ran.returncode == 0, (ran.stdout, ran.stderr)


def there_and_back(world: World, first: dict[bytes, Any], second: dict[bytes, Any]) -> Snapshot:
    """Make, check, spoil, restore, undo."""
    top = Top(world)
    before = top.fill(first)
    outcome = world.done(world.office.desk.make(world.ask, PROJECT, confirm=["shrunk"]))  # an empty tree is meant
    snapshot = world.office.desk.snapshot(world.ask, PROJECT, outcome.snapshot or "")
    check(world, snapshot)
    stored = os.open(world.stored(snapshot) / "files", os.O_RDONLY)
    assert state(stored) == before
    os.close(stored)
    spoilt = top.fill(second)

    outcome = world.restore(snapshot)

    assert top.state() == before
    if spoilt == before:
        return snapshot
    assert outcome.status is OutcomeStatus.DONE and outcome.safety is not None, outcome
    undone = world.done(world.office.desk.undo(world.ask, PROJECT, outcome.safety))
    assert undone.status is OutcomeStatus.DONE, undone
    assert top.state() == spoilt
    return snapshot


@quick
@given(TOPS, TOPS)
def test_any_tree_goes_there_and_back(world: World, first: dict[bytes, Any], second: dict[bytes, Any]) -> None:
    there_and_back(world, first, second)


def test_every_odd_name_goes_there_and_back(world: World) -> None:
    plain = ("file", b"1", 0o644, 5, {}, 0)
    inside = dict.fromkeys(ODD, plain)
    first = {**inside, b"folder": ("folder", inside, 0o755, 0, {}, 0)}
    second = {**{name: ("link", b"a", 0, 5, {}, 0) for name in ODD}, b"folder": plain}

    snapshot = there_and_back(world, first, second)

    assert snapshot.files == 2 * len(ODD)


def test_paths_that_no_program_can_open_go_there_and_back(world: World) -> None:
    plain = ("file", b"deep", 0o644, -1, {b"user.a": b"1"}, 0)
    node: Any = ("folder", {b"last": plain, b"link": ("link", b"/", 0, 7, {}, 0)}, 0o700, 0, {b"user.b": b"2"}, 0)
    for depth in range(20):
        node = ("folder", {b"%03d" % depth + b"d" * 250: node, b"file": plain}, 0o755, 0, {}, 0)

    snapshot = there_and_back(world, {b"top": node, b"other": plain}, {b"other": plain})

    folder = world.stored(snapshot)
    assert len(max(Path(folder / "manifest.jsonl").read_text().splitlines(), key=len)) > 5000
    assert "/last" in (folder / "README.txt").read_text()
    shutil.rmtree(world.folder(PROJECT), ignore_errors=True)

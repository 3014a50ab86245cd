"""Files that cannot be read, or not to an end: tried again where that helps, then named; no crash, no silence."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from keyframe.errors import Problem
from keyframe.model import OutcomeStatus, Snapshot
from keyframe.stores.small import Way
from keyframe.stores.stored_tree import StoredTree
from keyframe.stores.trees import Tree
from keyframe.stores.validator import Validator
from whole import require_whole
from world import EDITION, PROJECT, World

MODEL = f"edition/{EDITION[0]}/model.glb"
SIZE = 3 << 20

Act = Callable[[Path], object]


def stored(world: World, snapshot: Snapshot, path: str = MODEL) -> Path:
    return world.stored(snapshot) / "files" / path


class Reads:
    """Real readings of one file, with something that happens to it after each, the first `times` times."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, act: Act, times: int = 10**9) -> None:
        self.count = self.bytes = 0
        inode = path.stat().st_ino

        def reading(real: Callable[..., bytes], descriptor: int, *place: int) -> bytes:
            chunk = real(descriptor, *place)
            if os.fstat(descriptor).st_ino == inode:
                self.count += 1
                self.bytes += len(chunk)
                if self.count <= times:
                    act(path)
            return chunk

        for name in ("read", "pread"):
            monkeypatch.setattr(os, name, partial(reading, getattr(os, name)))


def grow(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"y" * (1 << 20))


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def dress(path: Path) -> None:
    os.setxattr(path, "user.count", str(os.urandom(4)).encode())


@pytest.fixture
def model(world: World) -> Path:
    path = world.folder(PROJECT) / MODEL
    path.write_bytes(b"x" * SIZE)
    return path


@pytest.mark.parametrize("act", [grow, shrink, dress])
def test_what_never_holds_still_is_named_and_left_out(
    world: World, model: Path, monkeypatch: pytest.MonkeyPatch, act: Act
) -> None:
    reads = Reads(monkeypatch, model, act)

    snapshot = world.make(PROJECT)

    monkeypatch.undo()
    assert [(one.code, one.subject) for one in snapshot.problems] == [("changed", MODEL)]
    assert snapshot.status.value == "partial"
    assert not stored(world, snapshot).exists()
    require_whole(world.stored(snapshot), snapshot)
    assert 0 < reads.count < 200  # three tries in each of two passes, each as far as the file was long: it ends
    now = model.read_bytes()
    world.write("more.txt")
    assert world.restore(snapshot).status is OutcomeStatus.PARTIAL
    assert model.read_bytes() == now  # unknown is not absent


@pytest.mark.parametrize("act", [grow, shrink, dress])
def test_what_changes_once_is_read_again(world: World, model: Path, monkeypatch: pytest.MonkeyPatch, act: Act) -> None:
    reads = Reads(monkeypatch, model, act, times=1)

    snapshot = world.make(PROJECT)

    assert reads.count > 1
    assert snapshot.status.value == "done"
    assert stored(world, snapshot).read_bytes() == model.read_bytes()
    assert os.listxattr(stored(world, snapshot)) == os.listxattr(model)
    require_whole(world.stored(snapshot), snapshot)


def test_what_vanishes_while_it_is_read_is_absent(world: World, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(monkeypatch, model, lambda path: path.unlink(missing_ok=True))

    snapshot = world.make(PROJECT)

    assert reads.count
    assert snapshot.status.value == "done"
    assert not stored(world, snapshot).exists()
    require_whole(world.stored(snapshot), snapshot)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
@pytest.mark.parametrize("call", ["read", "listxattr"])
def test_a_file_that_the_disk_does_not_give_is_named(
    world: World, model: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    inode, real = model.stat().st_ino, getattr(os, call)

    def failing(descriptor: Any, *args: Any, **how: Any) -> Any:
        if isinstance(descriptor, int) and os.fstat(descriptor).st_ino == inode:
            raise OSError(number, os.strerror(number))
        return real(descriptor, *args, **how)

    monkeypatch.setattr(os, call, failing)

    snapshot = world.make(PROJECT)

    assert [(one.code, one.subject) for one in snapshot.problems] == [("unavailable", MODEL)]
    assert os.strerror(number) in snapshot.problems[0].what
    assert snapshot.unknown_paths == (MODEL,)
    require_whole(world.stored(snapshot), snapshot)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anybody may look into, as those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="keyframe-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_whoever_may_not_read_is_told_what_it_is_about(open_folder: Path) -> None:
    for name in ("closed", "open"):
        (open_folder / name).mkdir()
        (open_folder / name / "file").write_text("x")
    (open_folder / "secret").write_text("x")
    (open_folder / "secret").chmod(0)
    (open_folder / "closed").chmod(0)
    problems: dict[str, Problem] = {}

    os.seteuid(65_534)
    try:
        tree = Tree(open_folder)
        paths = [look.entry.path for look in tree.walk(problems.__setitem__)]
        with tree.descent() as descent, pytest.raises(PermissionError):
            descent.digest("secret")
    finally:
        os.seteuid(0)

    assert paths == [".", "closed", "open", "open/file", "secret"]
    assert {path: one.code for path, one in problems.items()} == {"closed": "unavailable"}


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_bits_that_a_writing_takes_away_are_given_back_without_root_too(open_folder: Path) -> None:
    there, here = open_folder / "there", open_folder / "here"
    open_folder.chmod(0o777)
    os.seteuid(65_534)
    try:
        for folder in (there, here):
            folder.mkdir()
        for name, content in (("1", b""), ("2", b"x"), ("3", b"y")):  # an empty one loses nothing
            (there / name).write_bytes(content)
            (there / name).chmod(0o4755)
        source, target = os.open(there, os.O_RDONLY), os.open(here, os.O_RDONLY)
        way = Way(source, target)
        copied = [way.copy(name) for name in ("1", "2", "3")]
        os.close(source)
        os.close(target)
    finally:
        os.seteuid(0)
    assert None not in copied
    assert [(here / name).stat().st_mode & 0o7777 for name in ("1", "2", "3")] == [0o4755] * 3


def test_a_pipe_that_comes_in_the_place_of_a_file_keeps_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    os.mkfifo(tmp_path / "pipe")
    pipe = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    source, target = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path / "here", os.O_RDONLY)
    os.write(pipe, b"for another")

    found = Way(source, target).copy("pipe", 100, lambda _: False)

    assert found is None
    assert os.read(pipe, 100) == b"for another"
    for descriptor in (pipe, source, target):
        os.close(descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_stored_folder_that_may_be_listed_and_not_searched_is_walked_past(open_folder: Path) -> None:
    for name in ("files", "files/above", "files/above/listed", "files/above/z"):
        (open_folder / name).mkdir(mode=0o755)
    (open_folder / "files/above/listed").chmod(0o444)
    unlisted: list[str] = []

    os.seteuid(65_534)
    try:
        paths = [seen.path for seen in StoredTree(open_folder, "files").walk(lambda path, _: unlisted.append(path))]
    finally:
        os.seteuid(0)

    assert (paths, unlisted) == ([".", "above", "above/listed", "above/z"], [])


def test_a_folder_that_could_not_be_listed_is_no_damage_of_the_snapshot(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its copy has its mode: whoever made it cannot list the copy either."""
    (world.folder(PROJECT) / "closed").mkdir()
    opened, below = Tree._open, StoredTree._below

    def refusing(tree: Tree, frame: Any, above: Any, name: str, problem: Any) -> bool:
        if name == "closed":
            problem(name, Problem("unavailable", "cannot be listed (Permission denied).", name, "Look at its rights."))
            return False
        return opened(tree, frame, above, name, problem)

    def refused(tree: StoredTree, folder: int, name: str, path: str, unlisted: Any) -> int | None:
        if name == "closed":
            unlisted(path, PermissionError(errno.EACCES, "Permission denied"))
            return None
        return below(tree, folder, name, path, unlisted)

    monkeypatch.setattr(Tree, "_open", refusing)
    snapshot = world.make()
    monkeypatch.setattr(StoredTree, "_below", refused)

    assert snapshot.status.value == "partial"
    assert Validator(world.stored(snapshot)).run(datetime.now(UTC)).counts == {"noted.partial": 1}

"""Sparse files: holes are hashed, not read, and stay holes in stored and restored files."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.errors import ChangedError
from keyframe.model import OutcomeStatus
from keyframe.stores.copies import copy_file
from keyframe.stores.sparse import pour
from keyframe.stores.trees import Tree
from whole import require_whole
from world import EDITION, PROJECT, World

SPARSE = f"edition/{EDITION[0]}/volume.raw"
SIZE = 64 << 20

quick = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def room(path: Path) -> int:
    return path.stat().st_blocks * 512


def make_sparse(path: Path, size: int = SIZE) -> str:
    """A file with 4 KiB of data near its beginning and in the middle, and a hole at its end; its digest."""
    with open(path, "wb") as file:
        for at in (4096, size // 2):
            file.seek(at)
            file.write(b"k" * 4096)
        file.truncate(size)
    if room(path) >= size:
        pytest.skip("the file system of the tests has no holes")
    digest, zeros = hashlib.sha256(), bytes(1 << 20)
    for start in range(0, size, 1 << 20):
        block = zeros
        for at in (4096, size // 2):
            if start <= at < start + (1 << 20):
                block = block[: at - start] + b"k" * 4096 + block[at - start + 4096 :]
        digest.update(block[: size - start])
    return digest.hexdigest()


def test_a_gigabyte_with_8_kb_of_data_takes_little_room_and_no_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = make_sparse(tmp_path / "one", 1 << 30)
    read: list[int] = []
    real = os.read
    monkeypatch.setattr(os, "read", lambda *args: read.append(args[1]) or real(*args))

    with Tree(tmp_path).descent() as source:
        entry, _ = copy_file(source, "one", tmp_path / "copy")

    assert (entry.sha256, entry.size) == (sha256, 1 << 30)
    assert (tmp_path / "copy").stat().st_size == 1 << 30
    assert room(tmp_path / "copy") <= 64 << 10
    assert sum(read) <= 64 << 10  # what is hashed beside that never came from the disk


def test_holes_stay_holes_when_stored_and_restored(world: World) -> None:
    path = world.folder(PROJECT) / SPARSE
    sha256 = make_sparse(path)
    before = world.files(PROJECT)
    snapshot = world.make(PROJECT)
    stored = world.stored(snapshot) / "files" / SPARSE
    path.write_bytes(b"spoilt")

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.DONE
    assert world.files(PROJECT) == before
    assert before[SPARSE][1] == sha256
    assert room(stored) <= 64 << 10
    assert room(path) <= 64 << 10
    assert snapshot.bytes >= SIZE


def test_a_snapshot_of_holes_needs_no_room_for_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path = world.folder(PROJECT) / SPARSE
    make_sparse(path)
    snapshot = world.make(PROJECT)
    path.unlink()
    real, free = os.statvfs, SIZE // 2

    def little(place: Any) -> Any:
        found = real(place)
        values = list(found)
        values[4] = free // found.f_frsize  # f_bavail
        return os.statvfs_result(values)

    monkeypatch.setattr(os, "statvfs", little)

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.DONE
    assert path.stat().st_size == SIZE
    again = world.make(PROJECT)
    require_whole(world.stored(again), again)


STRETCHES = st.lists(st.tuples(st.booleans(), st.integers(1, 70_000)), max_size=6)


@quick
@given(STRETCHES)
def test_any_file_with_holes_is_copied_and_hashed_exactly(
    tmp_path_factory: pytest.TempPathFactory, stretches: list[tuple[bool, int]]
) -> None:
    folder = tmp_path_factory.mktemp("holes")
    content = b""
    with open(folder / "one", "wb") as file:
        for is_data, length in stretches:
            if is_data:
                file.write(b"d" * length)
            else:
                file.seek(length, os.SEEK_CUR)
            content += (b"d" if is_data else b"\0") * length
        file.truncate(len(content))

    with Tree(folder).descent() as source:
        entry, _ = copy_file(source, "one", folder / "copy")
        _, sha256, _ = source.digest("one")

    assert (folder / "copy").read_bytes() == content
    assert entry.sha256 == sha256 == hashlib.sha256(content).hexdigest()
    assert room(folder / "copy") <= room(folder / "one") + 8192


def test_a_file_system_that_does_not_tell_of_holes_is_read_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = make_sparse(tmp_path / "one", 8 << 20)
    real = os.lseek

    def refusing(descriptor: int, offset: int, how: int) -> int:
        if how in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, offset, how)

    monkeypatch.setattr(os, "lseek", refusing)

    with Tree(tmp_path).descent() as source:
        entry, _ = copy_file(source, "one", tmp_path / "copy")

    assert entry.sha256 == sha256 == hashlib.sha256((tmp_path / "copy").read_bytes()).hexdigest()


def test_a_sparse_file_that_is_cut_while_it_is_read_has_changed(tmp_path: Path) -> None:
    make_sparse(tmp_path / "one", 8 << 20)
    descriptor = os.open(tmp_path / "one", os.O_RDONLY)
    stat = os.fstat(descriptor)
    try:
        with pytest.raises(ChangedError):
            pour(descriptor, stat, "one", lambda _: os.truncate(tmp_path / "one", 1 << 20))
    finally:
        os.close(descriptor)

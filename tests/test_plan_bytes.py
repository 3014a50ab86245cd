"""What is kept beside a plan: the records that it replaces, as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from keyframe.stores import plan_bytes
from keyframe.stores.plan_bytes import BytesWriter, KeptBytes


def test_a_record_is_found_by_the_number_of_its_item(tmp_path: Path) -> None:
    writer = BytesWriter(tmp_path / ".draft")
    for number in range(3, 900, 3):
        writer.add(number, b"record %d" % number)
    writer.save(tmp_path / "abc.items")

    kept = KeptBytes(tmp_path / "abc.items")
    assert all(kept.get(number) == (None if number % 3 else b"record %d" % number) for number in range(1, 900))
    assert (kept.get(0), kept.get(900)) == (None, None)
    assert {path.name for path in tmp_path.iterdir()} == {"abc.before", "abc.before-index"}


def test_what_is_too_large_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_bytes, "LARGEST", 10)
    monkeypatch.setattr(plan_bytes, "MOST", 25)
    writer = BytesWriter(tmp_path / ".draft")
    for number, size in enumerate((10, 11, 10, 10, 5)):
        writer.add(number, b"x" * size)
    writer.save(tmp_path / "abc.items")

    kept = KeptBytes(tmp_path / "abc.items")
    assert [kept.get(number) is not None for number in range(5)] == [True, False, True, False, False]
    assert writer.is_full


def test_nothing_stays_of_a_plan_that_is_dropped_and_nothing_is_made_for_nothing(tmp_path: Path) -> None:
    writer, empty = BytesWriter(tmp_path / ".draft"), BytesWriter(tmp_path / ".other")
    writer.add(0, b"x")
    writer.drop()
    empty.save(tmp_path / "abc.items")

    assert list(tmp_path.iterdir()) == []
    assert KeptBytes(tmp_path / "abc.items").get(0) is None


def test_an_index_that_was_cut_short_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    writer = BytesWriter(tmp_path / ".draft")
    writer.add(7, b"x")
    writer.save(tmp_path / "abc.items")
    index = tmp_path / "abc.before-index"
    index.write_bytes(index.read_bytes()[:-1])

    assert KeptBytes(tmp_path / "abc.items").get(7) is None

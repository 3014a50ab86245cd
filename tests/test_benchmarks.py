"""`make bench` in small: every workload is made, ours and the peer are run, and the page has a place for each part."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from measure import Measured, disk_bytes, file_system
from report import Part, write_part

ROOT = Path(__file__).parents[1]
RUN = ROOT / "benchmarks/run.py"
PAGE = ROOT / "docs/performance.md"


def run(second: float, peak: int = 0) -> Measured:
    return Measured(second, second / 2, 0.0, peak, 5_000_000)


@pytest.mark.parametrize("names", [("F1", "list"), ("D1", "S")], ids=" and ".join)
def test_the_benchmarks_run_in_small(tmp_path: Path, names: tuple[str, ...]) -> None:
    page = PAGE.read_bytes()
    only = [word for name in names for word in ("--only", name)]

    said = subprocess.run(
        [sys.executable, str(RUN), "--small", "--runs", "1", "--folder", str(tmp_path / "bench"), *only],
        capture_output=True,
        text=True,
        timeout=150,
    )

    assert said.returncode == 0, said.stderr[-2000:]
    for name in names:
        assert f"## {name}\n" in said.stdout
    assert len(re.findall(r"\| Keyframe, 1 % changed \| 1 \| \d", said.stdout)) == 1
    assert len(re.findall(r"\| Keyframe, preview, 1 % changed \| 1 \| \d", said.stdout)) == 1
    assert "| to reach | wanted, at most | found | |" in said.stdout
    assert PAGE.read_bytes() == page, "a small run writes no page"


def test_restores_are_measured_in_small(tmp_path: Path) -> None:
    said = subprocess.run(
        [
            sys.executable,
            str(RUN),
            "--small",
            "--runs",
            "1",
            "--folder",
            str(tmp_path / "bench"),
            "--only",
            "restore_F1D1",
        ],
        capture_output=True,
        text=True,
        timeout=150,
    )

    assert said.returncode == 0, said.stderr[-2000:]
    for row in ("restore, 1 % changed", "the same and the comparison for the report", "restore to an empty machine"):
        assert re.search(rf"\| Keyframe, {row} \| 1 \| \d", said.stdout), said.stdout
    assert len(re.findall(r"\| peer[^|]*\| 1 \| \d", said.stdout)) == 2


def test_the_page_has_a_place_for_each_part(tmp_path: Path) -> None:
    told = subprocess.run([sys.executable, str(RUN), "--help"], capture_output=True, text=True, timeout=60).stdout
    names = re.search(r"--only \{([^}]+)\}", told)
    assert names is not None
    page = tmp_path / "page.md"
    page.write_bytes(PAGE.read_bytes())

    for name in names[1].split(","):
        write_part(page, name, f"measured {name}")

    assert re.findall(r"^measured (\w+)$", page.read_text(), flags=re.MULTILINE) == [
        *re.findall(r"^<!-- (\w+) -->$", PAGE.read_text(), flags=re.MULTILINE)
    ]
    with pytest.raises(ValueError, match="no markers for other"):
        write_part(page, "other", "")


def test_a_part_tells_each_goal_beside_its_number() -> None:
    part = Part("F9", "some files")
    for seconds in (1.0, 4.0, 2.0):
        part.add("ours", run(seconds, peak=int(seconds * 1e6)))
    part.add("peer", run(4.0))
    part.ratio("fast", "ours", "peer", 0.8)
    part.ratio("faster", "ours", "peer", 0.4)
    part.ratio("fastest", "ours", "nobody", 0.1)
    part.plus("not much slower", "ours", "peer", 0.5)
    part.most("memory", part.peak("ours") / 1e6, 3, "MB")

    text = part.text("a machine")

    assert "| ours | 3 | 2.00 | 1.00–4.00 | 1.00 | 0.00 | 4 | 5.0 |" in text
    assert "| fast | 0.8 x | 0.50 x | yes |" in text
    assert "| faster | 0.4 x | 0.50 x | **no** |" in text
    assert "| fastest | 0.1 x | not run |  |" in text
    assert "| not much slower | peer + 0.5 s | peer -2.00 s | yes |" in text
    assert "| memory | 3 MB | 4 MB | **no** |" in text
    assert "a machine" in text


def test_what_two_folders_share_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "old/shared").write_bytes(b"x" * 100_000)
    (tmp_path / "new/shared").hardlink_to(tmp_path / "old/shared")
    (tmp_path / "new/twice").write_bytes(b"x" * 50_000)
    (tmp_path / "new/again").hardlink_to(tmp_path / "new/twice")

    assert 50_000 <= disk_bytes(tmp_path / "new", tmp_path / "old") < 60_000
    assert disk_bytes(tmp_path / "new") > 150_000


def test_the_file_system_is_named() -> None:
    assert file_system(Path("/proc")) == "proc"

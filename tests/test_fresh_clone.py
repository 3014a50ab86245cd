"""A stranger's first five minutes: clone, `make run`, a page, Ctrl-C. Installs everything anew."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from program import ROOT, Up, environment, until
from real_data import real_data

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_make_run_in_a_fresh_clone_starts_the_site_and_ctrl_c_ends_it(clone: Path, tmp_path: Path) -> None:
    one = Up(tmp_path / "var", ("make", "run"), cwd=clone)
    found = real_data()
    inner = {"KEYFRAME_REAL_DATA": str(found)} if found else {}
    try:
        one.start(**inner)
        one.wait_until_healthy(480)
        until(lambda: "Ctrl-C" in one.said, 5, "the screen")

        assert "a button each" in one.said, "make run switches the sign-in buttons on"
        assert (clone / ".venv" / ".ready").exists()
        git = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
        assert git.stdout == "", "set-up and run leave nothing that git would see"

        # Ctrl-C goes to the whole group of the terminal, make among them.
        os.killpg(one.pid, signal.SIGINT)
        one.wait(20)
        until(lambda: not one.processes(), 3, "the end of all processes")
    finally:
        one.kill()

    again = subprocess.run(["make", "--question", "setup"], cwd=clone, env=environment(tmp_path / "var"))
    assert again.returncode == 0, "a second set-up has nothing to do"

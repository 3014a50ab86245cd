"""The lock of a scope on disk: one at a time changes live files, and who sleeps too long does no harm any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keyframe.errors import CancelledError, UnavailableError
from keyframe.model import Scope
from keyframe.stores.scope_files import ScopeFiles
from world import OTHER, PROJECT, SITE

HOLDER = """
import sys, time
from pathlib import Path
from keyframe.model import Scope
from keyframe.stores.scope_files import ScopeFiles
with ScopeFiles(Path(sys.argv[1])).held(Scope.from_key(sys.argv[2]), lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""


class Stopped(Exception):  # noqa: N818  (how a wait ends)
    """The wait was stopped."""


def never() -> None:
    raise Stopped


@pytest.fixture
def files(tmp_path: Path) -> ScopeFiles:
    return ScopeFiles(tmp_path / "scopes")


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    found: list[subprocess.Popen[str]] = []
    yield found
    for one in found:
        one.kill()
        one.wait(10)
        assert one.stdout is not None
        one.stdout.close()


def hold(holders: list[subprocess.Popen[str]], folder: Path, scope: Scope) -> subprocess.Popen[str]:
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(folder / "scopes"), scope.key]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    holders.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize(
    ("held", "wanted", "waits"),
    [
        (SITE, SITE, True), (SITE, PROJECT, True), (PROJECT, SITE, True), (PROJECT, PROJECT, True),
        (PROJECT, OTHER, False),
    ],
)  # fmt: skip
def test_the_site_excludes_all_and_a_project_itself(files: ScopeFiles, held: Scope, wanted: Scope, waits: bool) -> None:
    with files.held(held, never):
        if waits:
            with pytest.raises(Stopped), files.held(wanted, never):
                pass
        else:
            with files.held(wanted, never):
                pass
    with files.held(wanted, never):
        pass


def test_who_waits_gets_it_when_it_is_free(files: ScopeFiles) -> None:
    had = threading.Event()

    def wait() -> None:
        with files.held(PROJECT, lambda: None):
            had.set()

    thread = threading.Thread(target=wait)
    with files.held(SITE, never):
        thread.start()
        assert not had.wait(0.2)
    thread.join(10)
    assert had.is_set()


def test_a_process_that_died_leaves_no_lock(
    files: ScopeFiles, holders: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = hold(holders, tmp_path, PROJECT)
    process.kill()
    process.wait(10)

    with files.held(SITE, never):
        pass


@pytest.mark.parametrize(("held", "wanted"), [(PROJECT, PROJECT), (PROJECT, SITE), (SITE, PROJECT), (SITE, SITE)])
def test_a_holder_that_is_stopped_is_killed(
    files: ScopeFiles, holders: list[subprocess.Popen[str]], tmp_path: Path, held: Scope, wanted: Scope
) -> None:
    process = hold(holders, tmp_path, held)
    os.kill(process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 20

    def check() -> None:
        if time.monotonic() > deadline:
            raise Stopped

    with files.held(wanted, check):
        assert process.wait(10) == -signal.SIGKILL


def test_a_holder_that_works_is_waited_for(
    files: ScopeFiles, holders: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = hold(holders, tmp_path, SITE)
    asked = 0

    def check() -> None:
        nonlocal asked
        asked += 1
        if asked > 10:
            raise CancelledError("enough")

    with pytest.raises(CancelledError), files.held(SITE, check):
        pass
    assert process.poll() is None


def test_another_who_is_stopped_and_holds_nothing_is_left_alone(
    files: ScopeFiles, holders: list[subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Only who stands in the file of the scope, or, for the site, in any, can be the holder."""
    other = hold(holders, tmp_path, OTHER)
    os.kill(other.pid, signal.SIGSTOP)

    with files.held(PROJECT, never):
        pass

    assert other.poll() is None


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(UnavailableError), ScopeFiles(tmp_path / "file" / "scopes").held(SITE, never):
        pass

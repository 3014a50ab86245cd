"""Helper programs copy, link and walk just as one process does; they end with their parent, and may be lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest
from keyframe.backup import bulk, copying, filling, helpers
from keyframe.backup.closing import Closing
from keyframe.backup.helpers import Helpers
from keyframe.backup.known import Known
from keyframe.backup.shelf import Shelf
from keyframe.backup.watches import Silent
from keyframe.errors import CancelledError, Problem, UnavailableError
from keyframe.model import OutcomeStatus, Patterns, Scope
from keyframe.patterns import Exclusion
from keyframe.stores.programs import Programs
from keyframe.stores.seen import Seen
from keyframe.stores.trees import Tree
from program import until
from whole import require_whole
from world import PROJECT, SITE, World

OLD_ENOUGH = 2.1
THRESHOLDS = [(copying, "WORTH_COPYING"), (filling, "WORTH_COPYING"), (helpers, "WORTH_WALKING")]


@pytest.fixture
def helped(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Whether helpers do whatever they can do, or nothing."""

    def switch(on: bool) -> None:
        for module, name in THRESHOLDS:
            monkeypatch.setattr(module, name, 0 if on else 1 << 60)
        monkeypatch.setattr(helpers, "_BRANCHES", 2)

    return switch


@pytest.fixture
def motley(world: World) -> World:
    """All kinds of things, in many directories."""
    top = world.folder(PROJECT)
    for folder in range(6):
        for number in range(70 if folder == 3 else 9):
            world.write(f"many/{folder}/deep/{number:03}.txt", f"{folder} {number} ".ljust(number * 40))
        (top / f"many/{folder}/empty").mkdir()
        (top / f"many/{folder}/link").symlink_to("deep/000.txt")
        os.link(top / f"many/{folder}/deep/001.txt", top / f"many/{folder}/deep/twin")
        os.mkfifo(top / f"many/{folder}/pipe")
    (top / "many/0/deep/e\u0301.txt").write_text("decomposed")
    (top / "many/0/deep/\u00e9.txt").write_text("composed")
    Path(os.fsdecode(os.fsencode(top) + b'/many/1/deep/\xff\n\\"')).write_text("odd")
    (top / "many/2/deep/set").write_text("bits")
    (top / "many/2/deep/set").chmod(0o4751)
    os.setxattr(top / "many/2/deep/000.txt", "user.author", b"Anna")
    with (top / "many/4/deep/holes").open("wb") as file:
        file.truncate(300_000)
    with (top / "many/4/deep/large").open("wb") as file:
        file.write(os.urandom(2_000_000))
    os.chown(top / "many/5/deep/000.txt", 1234, 4321)
    (top / "many/5").chmod(0o550)
    return world


def make(world: World) -> Any:
    outcome = world.done(world.office.desk.make(world.ask, PROJECT))
    assert outcome.snapshot is not None, outcome
    snapshot = world.office.desk.snapshot(world.ask, PROJECT, outcome.snapshot)
    require_whole(world.stored(snapshot), snapshot)
    assert [one.subject for one in snapshot.problems] == [f"many/{folder}/pipe" for folder in range(6)]
    return snapshot


def manifest(world: World, snapshot: Any) -> bytes:
    return (world.stored(snapshot) / "manifest.jsonl").read_bytes()


def at_take(monkeypatch: pytest.MonkeyPatch, number: int, act: Callable[[Helpers], None]) -> None:
    """Do something when helpers have been given so much work."""
    take, asked = Helpers.take, 0

    def counting(self: Helpers, work: Any) -> Any:
        nonlocal asked
        asked += 1
        future = take(self, work)
        if asked == number:
            act(self)
        return future

    monkeypatch.setattr(Helpers, "take", counting)


def forget(world: World) -> None:
    for path in (world.settings.data / ".keyframe").glob("seen.sqlite*"):
        path.unlink()


@pytest.mark.parametrize("first", [True, False])
def test_with_helpers_and_without_the_same_is_made(motley: World, helped: Callable[[bool], None], first: bool) -> None:
    time.sleep(OLD_ENOUGH)
    helped(first)
    one = make(motley)
    helped(not first)
    two = make(motley)
    assert manifest(motley, one) == manifest(motley, two)

    motley.write("many/0/deep/003.txt", "other")
    motley.write("many/3/deep/0335.txt", "new")
    (motley.folder(PROJECT) / "many/3/deep/000.txt").unlink()
    (motley.folder(PROJECT) / "many/4/empty").rmdir()
    helped(first)
    three = make(motley)
    forget(motley)
    helped(not first)
    four = make(motley)
    assert manifest(motley, three) == manifest(motley, four) != manifest(motley, one)

    before = motley.files(PROJECT)
    motley.restore(one)
    motley.restore(four)
    assert motley.files(PROJECT) == before


def test_what_is_unchanged_shares_its_files_whoever_links_them(motley: World, helped: Callable[[bool], None]) -> None:
    helped(True)
    time.sleep(OLD_ENOUGH)
    one = make(motley)
    motley.write("many/3/deep/069.txt", "other")
    two = make(motley)

    places = [motley.stored(snapshot) / "files" for snapshot in (one, two)]
    files = [path.relative_to(places[0]) for path in places[0].rglob("*") if path.is_file() and not path.is_symlink()]
    other = [str(path) for path in files if len({(place / path).stat().st_ino for place in places}) == 2]
    assert other == ["many/3/deep/069.txt"]
    live = {path.stat().st_ino for path in motley.folder(PROJECT).rglob("*") if path.is_file()}
    assert not live & {path.stat().st_ino for path in places[1].rglob("*") if path.is_file()}


def test_a_helper_that_is_lost_fails_the_make_and_nothing_is_left(
    motley: World, helped: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    helped(True)

    def kill(some: Helpers) -> None:
        until(lambda: bool(some._copying.running), 10, "a helper")
        for program in some._copying.running:
            program.kill()

    at_take(monkeypatch, 3, kill)
    outcome = motley.done(motley.office.desk.make(motley.ask, PROJECT))
    monkeypatch.undo()

    assert outcome.status is OutcomeStatus.FAILED
    assert "ended before its work was done" in outcome.problems[0].what
    assert motley.office.desk.snapshots(motley.ask, PROJECT).items == ()
    assert list((motley.settings.repository / ".drafts").glob("project*")) == []
    make(motley)


def test_a_helper_that_does_not_answer_does_not_keep_the_gate_closed(
    motley: World, helped: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    helped(True)
    monkeypatch.setattr(Closing, "_rest", lambda *_: None)
    stopped: list[int] = []
    second_pass = copying.Copying.second_pass

    def stopping(self: copying.Copying, limit: Any) -> None:
        if not stopped:
            for program in self._helpers._walking.running:
                program.send_signal(signal.SIGSTOP)
                stopped.append(program.pid)
        second_pass(self, limit)

    monkeypatch.setattr(copying.Copying, "second_pass", stopping)
    made: list[Any] = []
    making = threading.Thread(target=lambda: made.append(motley.make(PROJECT)), daemon=True)
    making.start()
    making.join(25)
    for pid in stopped:
        if is_running(pid):
            os.kill(pid, signal.SIGCONT)
    making.join(25)

    assert stopped
    header = json.loads((motley.stored(made[0]) / "snapshot.json").read_bytes())
    assert header["gate"]["tries"] > 1
    assert header["gate"]["closed_seconds"] < 10  # five, as the settings say


def test_helpers_end_with_their_parent_even_if_that_is_killed() -> None:
    script = (
        "import time\n"
        "from keyframe.stores.programs import Programs\n"
        "programs = Programs('keyframe.stores.file_program', 2)\n"
        "programs.begin()\n"
        "while len(programs.running) < 2: time.sleep(0.01)\n"
        "print(*[one.pid for one in programs.running], flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = list(map(int, parent.stdout.readline().split()))
        assert len(pids) == 2
        parent.send_signal(signal.SIGKILL)
    until(lambda: not any(is_running(pid) for pid in pids), 10, "their end")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# The walk


@pytest.fixture
def some_helpers() -> Iterator[Helpers]:
    with Helpers(2) as found:
        yield found


def told(sheets: Any) -> list[tuple[bytes, bytes, bytes, bytes]]:
    return [(one.prefix, one.names, one.stats, one.marks) for one in sheets]


@pytest.mark.parametrize(("worth", "least"), [(0, 2), (100, 10)])  # from the beginning, or when it is seen to be large
def test_a_walk_among_helpers_tells_the_same_in_the_same_order(
    motley: World,
    helped: Callable[[bool], None],
    some_helpers: Helpers,
    monkeypatch: pytest.MonkeyPatch,
    worth: int,
    least: int,
) -> None:
    helped(True)
    monkeypatch.setattr(helpers, "WORTH_WALKING", worth)
    monkeypatch.setattr(helpers, "_BRANCHES", least)
    excluded = Exclusion(Scope.site(), Patterns(("*.svx.json",), ("003.txt", "/many/2/")))
    found: list[Any] = []
    for walk in (
        lambda tree, note: tree.sheets(note),
        lambda tree, note: some_helpers.sheets(tree, 0, note, Silent()),
    ):
        left_out: list[str] = []
        problems: list[tuple[str, str]] = []
        tree = Tree(motley.folder(SITE), ".keyframe", excluded, left_out.append)

        def note(path: str, problem: Problem, problems: list[tuple[str, str]] = problems) -> None:
            problems.append((path, problem.what))

        found.append((told(walk(tree, note)), sorted(problems), sorted(left_out)))
    assert found[0] == found[1]
    assert len(found[0][0]) > 20
    assert len(found[0][1]) == 5
    assert len(found[0][2]) > 5
    assert some_helpers._walking.running


def test_a_walk_that_is_given_up_leaves_nobody_waiting(
    motley: World, helped: Callable[[bool], None], some_helpers: Helpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    helped(True)
    monkeypatch.setattr(helpers, "_FRAMES", 1)
    tree = Tree(motley.folder(SITE))
    begun = some_helpers.sheets(tree, 1, print, Silent())  # never asked for anything
    given_up = some_helpers.sheets(tree, 1, print, Silent())
    next(given_up)
    given_up.close()  # type: ignore[attr-defined]
    assert told(some_helpers.sheets(tree, 1, print, Silent())) == told(tree.sheets(lambda *_: None))
    del begun


@pytest.mark.parametrize("answer", [b"\xff" * 8, b"\x01" + bytes(7) + b"?"])  # a size that cannot be; no message
def test_a_helper_that_talks_nonsense_leaves_nobody_waiting(answer: bytes, tmp_path: Path) -> None:
    (tmp_path / "nonsense.py").write_text(
        f"import sys, time\nsys.stdout.buffer.write({answer!r})\nsys.stdout.flush()\ntime.sleep(60)\n"
    )
    future: Future[Any] = Future()
    with Programs("nonsense", 1, {"PYTHONPATH": str(tmp_path)}) as programs:
        programs.ask_one(b"a question", lambda frame: msgspec.msgpack.decode(frame, type=list[int]), future)
        with pytest.raises(UnavailableError):
            future.result(20)


def test_a_branch_that_vanishes_holds_up_nobody(
    tmp_path: Path, helped: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    helped(True)
    monkeypatch.setattr(helpers, "_FRAMES", 1)
    for folder in "ab":
        (tmp_path / "top" / folder).mkdir(parents=True)
        for number in range(4000 if folder == "a" else 3):
            (tmp_path / "top" / folder / f"{number:04}").touch()
    is_full, sink = threading.Event(), helpers._Part.sink

    def second(part: helpers._Part, frame: bytes) -> None:
        if part._frames.full():
            is_full.set()
        sink(part, frame)

    monkeypatch.setattr(helpers._Part, "sink", second)
    tree = Tree(tmp_path / "top")
    with Helpers(1) as one:
        walk = one.sheets(tree, 1, print, Silent())
        assert is_full.wait(20)  # nobody takes any of it yet
        (tmp_path / "top/a").rename(tmp_path / "a")
        found: list[Any] = []
        taking = threading.Thread(target=lambda: found.extend(told(walk)), daemon=True)
        taking.start()
        taking.join(20)
        is_stuck = taking.is_alive()
    assert not is_stuck
    assert found == told(tree.sheets(print))


def test_a_name_more_moves_only_the_ends_of_the_sheets_near_it(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"{number:05}").touch()
    before = {one.names for one in Tree(tmp_path).sheets(print)}
    (tmp_path / "01000-new").touch()
    after = {one.names for one in Tree(tmp_path).sheets(print)}
    assert len(before) > 25
    assert len(after - before) <= len(before) / 2


# What the last make knew


def test_where_nothing_changed_nothing_is_looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    time.sleep(OLD_ENOUGH)
    one = world.make(PROJECT)
    for module, name in ((Seen, "find"), (bulk, "take_all"), (Shelf, "fault"), (Known, "begin")):
        monkeypatch.setattr(module, name, lambda *_, name=name: pytest.fail(name))

    assert world.make(PROJECT).name == one.name


@pytest.mark.parametrize("spoilt", [b"", b"\x00" * 9000, b"\xff" * 5000])
def test_what_it_knew_can_be_spoilt_or_gone(motley: World, spoilt: bytes) -> None:
    time.sleep(OLD_ENOUGH)
    one = make(motley)
    (path,) = (motley.settings.data / ".keyframe" / "known").glob("project*")
    content = path.read_bytes()
    path.write_bytes(content[:4200] + spoilt if spoilt else b"")
    motley.write("many/0/deep/003.txt", "other")
    two = make(motley)
    assert manifest(motley, one) != manifest(motley, two)
    assert isinstance(Known(path, "x").load("", ""), type(None))


def test_a_stored_file_that_was_cut_short_is_found_though_nothing_changed(world: World) -> None:
    world.write("cut.txt", "whole", PROJECT)
    time.sleep(OLD_ENOUGH)
    one = world.make(PROJECT)
    stored = world.stored(one) / "files/cut.txt"
    stamp = stored.stat().st_mtime_ns
    stored.write_bytes(b"")
    os.utime(stored, ns=(stamp, stamp))

    two = world.make(PROJECT)

    assert two.name != one.name
    assert [(warning.code, warning.subject) for warning in two.warnings] == [("damaged.file-size", "cut.txt")]
    assert (world.stored(two) / "files/cut.txt").read_text() == "whole"


def test_programs_that_were_not_wanted_yet_are_closed_at_once() -> None:
    programs = Programs("keyframe.stores.file_program", 2)
    programs.begin()
    began = time.monotonic()
    programs.close()
    assert time.monotonic() - began < 5


def test_what_cannot_be_listed_any_more_is_not_taken_for_unchanged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write("closed/secret.txt", "secret", PROJECT)
    time.sleep(OLD_ENOUGH)
    one = world.make(PROJECT)
    real = Tree._open

    def refusing(tree: Tree, frame: Any, above: Any, name: str, problem: Any) -> bool:
        if frame.prefix == "closed/":
            problem("closed", Problem("unavailable", "cannot be listed.", "closed", ""))
            return False
        return real(tree, frame, above, name, problem)

    monkeypatch.setattr(Tree, "_open", refusing)
    two = world.make(PROJECT)

    assert two.name != one.name
    assert two.status.value == "partial"
    assert b"secret.txt" not in manifest(world, two)


def test_a_make_that_is_cancelled_leaves_no_draft_though_helpers_were_at_it(
    motley: World, helped: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    helped(True)

    def cancel(_: Helpers) -> None:
        raise CancelledError("enough")

    at_take(monkeypatch, 5, cancel)
    outcome = motley.done(motley.office.desk.make(motley.ask, PROJECT))
    monkeypatch.undo()

    assert outcome.status is OutcomeStatus.CANCELLED
    time.sleep(0.3)
    assert list((motley.settings.repository / ".drafts").iterdir()) == []


def test_a_large_site_is_made_by_helpers_and_restored_exactly(world: World) -> None:
    """Nothing is patched: more files than it takes for helpers to copy and to walk."""
    for folder in range(40):
        (world.folder(SITE) / f"large/{folder}").mkdir(parents=True)
        for number in range(520):
            (world.folder(SITE) / f"large/{folder}/{number}").write_bytes(b"%d %d" % (folder, number))
    time.sleep(OLD_ENOUGH)
    one = world.make(SITE)
    require_whole(world.stored(one), one)
    assert world.make(SITE).name == one.name
    before = world.files()
    for folder in range(0, 40, 7):
        world.write(f"large/{folder}/17", "changed", SITE)
        (world.folder(SITE) / f"large/{folder}/18").unlink()
    two = world.make(SITE)
    require_whole(world.stored(two), two)
    assert two.files == one.files - 6
    assert world.restore(one, SITE).status is OutcomeStatus.DONE
    assert world.files() == before

"""Patterns leave out what git would ignore, in the scope where they apply, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.model import Patterns, Scope
from keyframe.patterns import Exclusion, mistake_of
from keyframe.settings import ExcludeSettings
from keyframe.stores.trees import Tree

SITE, PROJECT = Scope.site(), Scope.project("1")

TREE = [
    ".cache/x", "a.txt", "a.log", "keep.log", "cache/b", "cache/c.txt", "d/.cache/y", "d/e/a.log", "d/e/Thumbs.db",
    "d/cache", "d/[x]", "d/a b", "d/éé", "lost+found/z", "d/f/g/h.txt", "Thumbs.db/in", "d/#x", "d/!x", "d/x ",
]  # fmt: skip


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tree")
    for path in TREE:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def kept_by_git(top: Path, patterns: list[str]) -> set[str]:
    """The files that git does not ignore by these patterns alone."""
    command = ["git", "-c", "core.excludesFile=/dev/null", "ls-files", "-z", "--others"]
    for line in patterns:
        command += ["-x", line]
    found = subprocess.run(command, cwd=top, capture_output=True, check=True).stdout
    return {path.decode() for path in found.split(b"\0") if path}


def kept_by_us(top: Path, patterns: list[str]) -> set[str]:
    excluded = Exclusion(PROJECT, Patterns((), tuple(patterns)))
    looks = Tree(top, ".git", excluded).walk(lambda *_: None)
    return {look.entry.path for look in looks if look.entry.kind == "file"}


KNOWN = [
    ["*.log"], ["*.log", "!keep.log"], ["/cache/"], ["cache"], ["cache/"], ["d/**"], ["**/e"], ["d/*/a.log"], ["d/e"],
    ["/a.*"], [".cache/", "Thumbs.db"], ["Thumbs.db/"], ["d/", "!d/e/"], ["*", "!*.txt"], ["*", "!*/", "!*.txt"],
    ["d/\\[x\\]"], ["d/[[]x]"], ["a b"], ["é*"], ["d/[x]?"], ["\\#x"], ["\\!x"], ["x\\ "], ["lost+found/"], ["**/f/**"],
    ["/d/f/g/h.txt"], ["[a-c].txt"], ["[!a].txt"],
]  # fmt: skip


@pytest.mark.parametrize("patterns", KNOWN, ids=" ".join)
def test_what_is_left_out_is_what_git_ignores(top: Path, patterns: list[str]) -> None:
    assert kept_by_us(top, patterns) == kept_by_git(top, patterns)


PIECES = st.sampled_from(
    ["a", "b", "cache", ".cache", "*", "**", "d", "e", "?", "*.log", "*.txt", "Thumbs.db", "f", "g"]
)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    pieces = draw(st.lists(PIECES, min_size=1, max_size=3))
    end = "" if pieces[-1] == "**" else draw(st.sampled_from(["", "/"]))  # `a/**/` leaves out files, too
    return draw(st.sampled_from(["", "/", "!"])) + "/".join(pieces) + end


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(patterns(), min_size=1, max_size=4))
def test_any_patterns_leave_out_what_git_ignores(top: Path, patterns: list[str]) -> None:
    assert kept_by_us(top, patterns) == kept_by_git(top, patterns)


def walked(excluded: Exclusion, root: Path) -> tuple[set[str], list[str]]:
    told: list[str] = []
    return {look.entry.path for look in Tree(root, "", excluded, told.append).walk(lambda *_: None)}, told


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for path in ("x.tmp", "x.cache", "project/x.tmp", "project/1/x.tmp", "project/1/x.cache", "project/1/a/cache/b"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    return tmp_path


def test_a_project_has_its_own_patterns_and_the_site_has_those_for_the_rest(site: Path) -> None:
    chosen = Patterns(("*.tmp",), ("*.cache", "/a/cache/"))

    of_site, told = walked(Exclusion(SITE, chosen), site)
    of_project, _ = walked(Exclusion(PROJECT, chosen), site / "project/1")

    assert of_site == {".", "x.cache", "project", "project/1", "project/1/x.tmp", "project/1/a"}
    assert sorted(told) == ["project/1/a/cache", "project/1/x.cache", "project/x.tmp", "x.tmp"]
    inside = {path.removeprefix("project/1/") for path in of_site if path.startswith("project/1/")}
    assert of_project == inside | {"."}  # one truth: the part of a project is the same in both


def test_folders_of_projects_are_never_left_out(site: Path) -> None:
    found, told = walked(Exclusion(SITE, Patterns(("*", "project/"), ("nothing",))), site)

    assert {"project", "project/1", "project/1/x.tmp"} <= found
    assert sorted(told) == ["project/x.tmp", "x.cache", "x.tmp"]


def test_a_walk_does_not_go_down_into_what_is_left_out(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = Tree._open

    def told(tree: Tree, frame: object, above: object, name: str, problem: object) -> bool:
        opened.append(name)
        return real(tree, frame, above, name, problem)  # type: ignore[arg-type]

    monkeypatch.setattr(Tree, "_open", told)
    walked(Exclusion(SITE, Patterns((), ("a/",))), site)

    assert opened == [".", "project", "1"]


def test_names_of_any_bytes_are_matched(tmp_path: Path) -> None:
    names = [b"a\nb.tmp", b"\xff.tmp", b"x.tmp\n", b"-x.tmp", b"a\\b.tmp", b"x\n/y.tmp"]
    for name in names:
        path = tmp_path / Path(*[part.decode("utf-8", "surrogateescape") for part in name.split(b"/")])
        path.parent.mkdir(exist_ok=True)
        path.write_text("")

    found, _ = walked(Exclusion(PROJECT, Patterns((), ("*.tmp",))), tmp_path)

    assert found == {".", "x.tmp\n", "x\n"}


def test_what_lies_in_something_left_out_is_covered() -> None:
    excluded = Exclusion(PROJECT, Patterns((), ("cache/", "*.tmp", "!*.tmp/")))

    assert excluded.covers("a/cache/b/c", is_folder=False)
    assert excluded.covers("a/" * 3000 + "cache/b", is_folder=False)  # deeper than recursion
    assert not excluded.covers("a/cache", is_folder=False)  # a file of that name
    assert excluded.covers("x.tmp", is_folder=False)
    assert not excluded.covers("x.tmp/y", is_folder=False)


def test_two_sets_of_patterns_leave_out_what_either_does() -> None:
    both = Exclusion(PROJECT, Patterns((), ("*.a",))) | Exclusion(PROJECT, Patterns((), ("*.b", "!x.a")))

    assert [both.covers(path, is_folder=False) for path in ("x.a", "x.b", "x.c")] == [True, True, False]


@pytest.mark.parametrize("pattern", ["", "  ", "# note", "a\nb", "!", "a\0"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    assert mistake_of(pattern)
    with pytest.raises(ValueError, match="gitignore"):
        ExcludeSettings(project=(pattern,))


def test_the_defaults_are_looked_up_at_once() -> None:
    excluded = Exclusion(SITE, ExcludeSettings().patterns)
    plain = [f"{number}.jpg" for number in range(1000)]

    assert excluded.kept("project/1/", plain, print) is plain  # not even looked at one by one
    assert all(excluded.covers(f"project/1/{one.rstrip('/')}", is_folder=one.endswith("/")) for one in
               ExcludeSettings().project)  # fmt: skip
    assert all(excluded.covers(one.rstrip("/"), is_folder=one.endswith("/")) for one in ExcludeSettings().site)

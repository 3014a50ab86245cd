"""Sites, edits and selections, whatever they are: what is inside is as in the snapshot, what is outside as it was."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keyframe.errors import NotFoundError
from keyframe.model import Outcome, OutcomeStatus, Scope, Selection
from keyframe.stores.idents import canonical_of
from world import EDITION, ONE, PROJECT, SITE, TWO, World

quick = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    database=None,
    suppress_health_check=list(HealthCheck),
)

# Few names at few places, so that two trees meet, and one has a folder where the other has a file.
E = [str(one) for one in EDITION]
PLACES = ["", "d/", "d/e/", f"edition/{E[0]}/", f"edition/{E[0]}/d/", f"edition/{E[1]}/", "d-x/"]
PATHS = [f"{place}{name}" for place in PLACES for name in ("a", "d", "\udcff")]
FILES = st.dictionaries(
    st.sampled_from(PATHS),
    st.tuples(st.sampled_from(["file", "link", "folder"]), st.integers(0, 2), st.sampled_from([0o644, 0o600, 0o750])),
    max_size=8,
)
IDS: list[Any] = [*EDITION[:2], "a", "b", 1, 2.5, {"a": 1}, None]
RECORDS = st.dictionaries(st.integers(0, len(IDS) - 1), st.integers(0, 2), max_size=5)
COLLECTIONS = ["edition", "log", "site"]
STATES = st.fixed_dictionaries(
    {"files": FILES, "more": FILES, **dict.fromkeys(COLLECTIONS, RECORDS), "project": st.integers(0, 2)}
)


def fill(world: World, state: dict[str, Any]) -> None:
    """Make the live site this one."""
    for scope, files in ((PROJECT, state["files"]), (Scope.project(str(TWO)), state["more"])):
        top = world.folder(scope)
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        for path in sorted(files, key=lambda one: (-one.count("/"), one)):
            put(top, path, *files[path])
    world.db.project.update_one({"_id": ONE}, {"$set": {"title": state["project"]}})
    for name in COLLECTIONS:
        world.db[name].delete_many({})
        for number, content in state[name].items():
            world.db[name].insert_one(document(name, number, content))


def document(name: str, number: int, content: int) -> dict[str, Any]:
    """A record of an edition belongs to the first project, but those of two ids, which are of the second."""
    owner = {"projectId": TWO if number in (3, 5) else ONE} if name == "edition" else {}
    return {"_id": IDS[number], **owner, "title": f"{number} {content}"}


def put(top: Path, path: str, kind: str, content: int, mode: int) -> None:
    """What there is at a path, unless something lies there already or on the way."""
    target = top / path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            return
    except OSError:
        return
    if kind == "link":
        target.symlink_to(f"to {content}")
        os.utime(target, ns=(content, content), follow_symlinks=False)
        return
    if kind == "folder":
        target.mkdir()
    else:
        target.write_text(str(content))
        os.utime(target, ns=(content, content))
    target.chmod(mode)


# --- what a selection means, said once more


def holds(path: str, folders: list[str]) -> bool:
    return any(path == one or path.startswith(f"{one}/") or one == "." for one in folders)


class Meant:
    """What is inside of a selection of the project or the site, as docs and docstrings say it."""

    def __init__(self, chosen: Selection, scope: Scope) -> None:
        self.chosen, self.is_site = chosen, scope.is_site
        self.top = "" if scope.is_site else f"project/{ONE}/"

    def path(self, path: str) -> bool:
        """Of a path below the site's folder."""
        chosen = self.chosen
        if chosen.only == "records" or ((chosen.collections or chosen.records) and not chosen.paths):
            return False
        if not path.startswith(self.top):
            return False
        path = path[len(self.top) :]
        if chosen.projects and not holds(path, [f"project/{one}" for one in chosen.projects]):
            return False
        if chosen.editions and not holds(path, [f"edition/{one}" for one in chosen.editions]):
            return False
        return not chosen.paths or holds(path, list(chosen.paths))

    def record(self, name: str, number: int) -> bool:
        chosen = self.chosen
        if chosen.only == "files" or (chosen.paths and not (chosen.collections or chosen.records)):
            return False
        if not self.is_site or chosen.projects:
            owners = set(chosen.projects) if self.is_site else {str(ONE)}
            if name != "edition" or str(document(name, number, 0)["projectId"]) not in owners:
                return False
        if chosen.editions and str(IDS[number]) not in chosen.editions:
            return False
        named = name in chosen.collections or (name, text_of(number)) in chosen.records
        return named or not (chosen.collections or chosen.records)


def text_of(number: int) -> str:
    ident = IDS[number]
    return canonical_of(str(ident) if isinstance(ident, ObjectId) else json.dumps(ident))


def selections(scope: Scope, paths: list[str], numbers: list[tuple[str, int]]) -> st.SearchStrategy[Selection]:
    """Any that mean something, of what is there."""
    top = "" if scope.is_site else f"project/{ONE}/"
    below = [path[len(top) :] for path in paths if path.startswith(top)] + ["."]
    records = [(name, text_of(number)) for name, number in numbers if scope.is_site or name == "edition"]

    def some(values: list[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(st.sampled_from(values), max_size=3).map(tuple) if values else st.just(())

    return st.fixed_dictionaries(
        {
            "projects": st.sampled_from([(), (), (str(ONE), str(TWO))]) if scope.is_site else st.just(()),
            "editions": st.just(()) if scope.is_site else st.sampled_from([(), (), (E[0],), (E[0], E[1])]),
            "paths": st.one_of(st.just(()), some(below)),
            "collections": st.one_of(st.just(()), some(COLLECTIONS if scope.is_site else ["edition"])),
            "records": st.one_of(st.just(()), some(records)),
            "only": st.sampled_from(["", "", "files", "records"]),
        }
    ).flatmap(meaningful)


def meaningful(given: dict[str, Any]) -> st.SearchStrategy[Selection]:
    try:
        return st.just(Selection(**given))
    except ValueError:
        return st.just(Selection(**{**given, "only": ""}))


# --- the check


def look(world: World) -> tuple[dict[str, Any], dict[tuple[str, int], Any]]:
    """All files of the site, and the records that the test knows."""
    records = {(name, IDS.index(one["_id"])): (one, list(one)) for name in COLLECTIONS for one in world.db[name].find()}
    return world.files(SITE), records


def there_and_back(world: World, first: dict[str, Any], second: dict[str, Any], data: Any, scope: Scope) -> bool:
    """Make, edit, restore a selection, undo; whether anything was restored."""
    fill(world, first)
    wanted_files, wanted_records = look(world)
    made = world.done(world.office.desk.make(world.ask, SITE, confirm=["shrunk"]))
    snapshot = world.office.desk.snapshot(world.ask, SITE, made.snapshot or "")
    fill(world, second)
    before = world.state()
    files, records = look(world)
    chosen = data.draw(selections(scope, sorted({*files, *wanted_files}), sorted({*records, *wanted_records})))

    try:
        outcome = world.done(world.office.desk.restore(world.ask, scope, snapshot.name, chosen))
    except NotFoundError:  # a collection that no project has
        assert chosen.projects and chosen.named_collections
        return False

    if outcome.status in (OutcomeStatus.FAILED, OutcomeStatus.UNCHANGED):
        assert outcome.status is OutcomeStatus.UNCHANGED or outcome.problems[0].code == "not-found", outcome
        assert world.state() == before
        return False
    now = look(world)
    check_records(Meant(chosen, scope), wanted_records, records, now[1])
    check_files(Meant(chosen, scope), wanted_files, files, now[0], outcome)
    undone = world.done(world.office.desk.undo(world.ask, scope, outcome.safety or ""))
    assert undone.status is OutcomeStatus.DONE, undone
    assert world.state() == before
    return True


def check_records(meant: Meant, wanted: dict[Any, Any], before: dict[Any, Any], now: dict[Any, Any]) -> None:
    for number in {*wanted, *before, *now}:
        source = wanted if meant.record(*number) else before
        assert now.get(number) == source.get(number), (number, meant.chosen)


def check_files(
    meant: Meant, wanted: dict[str, Any], before: dict[str, Any], now: dict[str, Any], outcome: Outcome
) -> None:
    barred = [meant.top + one.subject for one in outcome.problems if one.code == "left"]
    assert (outcome.status is OutcomeStatus.PARTIAL) == bool(barred)
    for path in {*wanted, *before, *now}:
        if holds(path, barred):
            assert now.get(path) == before.get(path), (path, meant.chosen)
        elif meant.path(path):
            assert now.get(path) == wanted.get(path), (path, meant.chosen)
        elif path in before or path not in now:
            assert now.get(path) == before.get(path), (path, meant.chosen)
        else:  # a folder on the way to what came back
            assert now[path] == wanted[path], (path, meant.chosen)
            assert any(one.startswith(f"{path}/") and meant.path(one) for one in now), (path, meant.chosen)


@pytest.mark.parametrize("scope", [PROJECT, SITE], ids=["of_a_project", "of_the_site"])
def test_any_selection_goes_there_and_back(world: World, scope: Scope) -> None:
    for name in COLLECTIONS:
        world.db[name].drop()
    world.db.edition.create_index([("projectId", 1)])
    restored = []

    @quick
    @given(STATES, STATES, st.data())
    def run(first: dict[str, Any], second: dict[str, Any], data: Any) -> None:
        restored.append(there_and_back(world, first, second, data, scope))

    run()
    assert sum(restored) > len(restored) / 2

"""The folder is the layer: imports point down only, and only some rooms know Flask or MongoDB."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "control"

# From the top down. A floor is a list of rooms that do not know each other; a room of several names is one topic in
# several files.
FLOORS: list[list[set[str]]] = [
    [{"__init__"}],  # what a host imports
    [{"main"}],
    [{"up", "welcome"}, {"site", "web"}],
    [{"sample"}, {"editions"}, {"embedded"}, {"run"}],
    [{"wiring"}],
    [{"doors"}],
    [{"desk", "copy_desk", "restore_desk", "undo_desk", "backroom"}, {"work"}],
    [{"catalogue"}, {"reception"}],
    [
        {"auth"},
        {"backup"},
        {"hooks"},
        {"jobs", "claims"},
        {"messages", "phrases", "plan_words", "verdict_words", "copy_words"},
    ],
    [{"stores"}],
    [{"plan", "slices"}, {"fields"}, {"retention"}, {"settings", "scope_settings", "config"}],
    [{"patterns"}],
    [{"model"}],
    [{"errors"}],
    # What knows nothing of the rest, and the rest may use.
    [{"logs"}, {"processes"}, {"resources"}, {"version"}],
]
HOSTS = {"main", "up", "welcome", "site", "web", "sample", "editions", "embedded"}
WITH_FLASK = HOSTS | {"doors", "wiring"}
WITH_MONGO = HOSTS | {"stores"}


def floor_of(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) for names in floor if room in names)


def same_room(one: str, other: str) -> bool:
    return any(one in names and other in names for floor in FLOORS for names in floor)


def sources(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported(path: Path) -> Iterator[str]:
    """Full names of what a file of the package imports; relative ones begin with `keyframe`."""
    package = ("keyframe", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            module = (*base, *(node.module or "").split(".")) if node.module else base
            if module == ("keyframe",):  # from . import logs
                yield from (f"keyframe.{alias.name}" for alias in node.names)
            else:
                yield ".".join(module)


def rooms_used(path: Path) -> set[str]:
    own = [name.split(".") for name in imported(path) if name.split(".")[0] == "keyframe"]
    # `import keyframe`, and names that are no room, are of the package itself
    rooms = {name[1] if len(name) > 1 else "__init__" for name in own}
    return {room if any(room in names for floor in FLOORS for names in floor) else "__init__" for room in rooms}


def outside(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def test_every_room_has_its_floor() -> None:
    known = {name for floor in FLOORS for names in floor for name in names}

    assert {room_of(path) for path in sources(PACKAGE)} - known == set()


@pytest.mark.parametrize("path", [*sources(PACKAGE)], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)

    wrong = [used for used in rooms_used(path) if floor_of(used) <= floor_of(room) and not same_room(used, room)]

    assert wrong == [], f"{path.name} may not know {wrong}"


def test_flask_is_known_to_doors_wiring_and_hosts_only() -> None:
    flask = {"flask", "flask_login", "flask_wtf", "flask_smorest", "werkzeug", "jinja2", "markupsafe"}

    assert {room_of(path) for path in sources(PACKAGE) if outside(path) & flask} <= WITH_FLASK


def test_mongodb_is_known_to_stores_and_hosts_only() -> None:
    mongo = {"pymongo", "bson", "gridfs", "bsonjs"}

    assert {room_of(path) for path in sources(PACKAGE) if outside(path) & mongo} <= WITH_MONGO


def test_the_sites_editions_are_known_to_create_app_and_the_program_only() -> None:
    users = {room_of(path) for path in sources(PACKAGE) if "editions" in rooms_used(path)}

    assert users <= {"editions", "site", "main"}


def test_inside_the_package_imports_are_relative() -> None:
    for path in sources(PACKAGE):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert "keyframe" not in {name.partition(".")[0] for name in names}, path


def test_nothing_imports_the_folder_by_its_own_name() -> None:
    for path in (ROOT / "app.py", *sources(PACKAGE), *sources(ROOT / "tests"), *sources(ROOT / "benchmarks")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert "control" not in {name.partition(".")[0] for name in names}, path

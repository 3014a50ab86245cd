"""The documents say what the code does: acts, routes, commands, error codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from flask import Flask
from keyframe import errors
from keyframe.desk import Desk
from keyframe.doors.cli_frame import EXIT_CODES, EXIT_INTERRUPTED, EXIT_PARTIAL
from keyframe.doors.problems import HTTP_STATUS, DoorError
from keyframe.main import cli
from keyframe.settings import Settings
from keyframe.stores.findings import texts
from keyframe.wiring import Keyframe

ROOT = Path(__file__).parents[1]
DOOR_CODES = {"method", "precondition", "too-large", "media-type", "slow-down"}
PREFIX = "/api/v1"


def tables(document: str) -> Iterator[list[dict[str, str]]]:
    """The Markdown tables of a document, a dict per row."""
    rows: list[Sequence[str]] = []
    for line in [*(ROOT / "docs" / document).read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            yield [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
            rows = []


def rows_with(document: str, *columns: str) -> list[dict[str, str]]:
    """The rows of all tables that have these columns."""
    return [row for table in tables(document) for row in table if set(columns) <= set(row)]


def coded(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", re.sub(r"\([^)]*\)", "", cell))


def expanded(route: str) -> set[str]:
    """`GET /<scope>/x` for the site and for projects."""
    return {route.replace("<scope>", scope) for scope in ("site", "projects/<project_id>")}


@pytest.fixture(scope="module")
def routes() -> set[str]:
    """Method and path of every REST route of the code."""
    app = Flask("host")
    mongo = {"uri": "mongodb://127.0.0.1:1/?replicaSet=none"}
    keyframe = Keyframe(Settings(mongo=mongo))  # type: ignore[arg-type]
    keyframe.init_app(app)
    keyframe.office.database.client.close()
    found = set()
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("keyframe_api."):
            view = app.view_functions[rule.endpoint].view_class  # type: ignore[attr-defined]
            found |= {f"{method} {rule.rule.removeprefix(PREFIX)}" for method in view.methods}
    return found


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command of the program, by the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{above}{name} ")
        else:
            yield above + name, command


def test_the_acts_are_the_methods_of_the_desk() -> None:
    named = {name for row in rows_with("acts.md", "desk") for name in coded(row["desk"])}

    assert named == {name for name, _ in inspect.getmembers(Desk, inspect.isfunction) if not name.startswith("_")}


def test_the_routes_are_those_of_the_rest_door(routes: set[str]) -> None:
    acts = {route for row in rows_with("acts.md", "REST") for one in coded(row["REST"]) for route in expanded(one)}
    short = {route for row in rows_with("acts.md", "route") for one in coded(row["route"]) for route in expanded(one)}

    assert acts == routes
    assert short == routes


def test_the_commands_are_those_of_the_program() -> None:
    named = {name for row in rows_with("acts.md", "command") for name in coded(row["command"])}

    assert named == {name for name, _ in commands(cli)}


def test_every_command_lists_the_exit_codes_in_its_help() -> None:
    for name, command in commands(cli):
        assert "Exit codes" in command.get_help(click.Context(command)), name


def test_exit_codes_of_the_acts_are_known() -> None:
    known = {*EXIT_CODES.values(), 0, EXIT_PARTIAL, EXIT_INTERRUPTED}

    for row in rows_with("acts.md", "command", "exit codes"):
        assert {int(number) for number in re.findall(r"\d+", row["exit codes"])} <= known
        assert (row["exit codes"] == "–") == (not coded(row["command"]))


def test_the_error_codes_are_those_of_the_code() -> None:
    kinds = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.KeyframeError)]
    rows = rows_with("errors.md", "code", "class")
    documented = {coded(row["code"])[0].removesuffix(".<what>"): coded(row["class"])[0] for row in rows}

    expected = {kind.kind: kind.__name__ for kind in kinds} | dict.fromkeys(DOOR_CODES, DoorError.__name__)
    assert documented == expected
    assert set(HTTP_STATUS) == set(documented)


def test_the_statuses_and_exit_codes_are_those_of_the_doors() -> None:
    for row in rows_with("errors.md", "code", "class"):
        code = coded(row["code"])[0].removesuffix(".<what>")

        assert row["HTTP"] == str(HTTP_STATUS[code])
        assert row["exit"] == str(EXIT_CODES.get(code, "–")), code
    assert set(EXIT_CODES) == set(HTTP_STATUS) - (DOOR_CODES - {"slow-down"})


def test_the_kinds_of_damage_are_those_of_the_code() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "control").rglob("*.py"))
    raised = set(re.findall(r'(?:DamagedError|\._damage)\(\s*"([a-z-]+)"', source))

    damages = {coded(row["code"])[0] for row in rows_with("errors.md", "code", "how it came")}
    findings = {coded(row["finding"])[0] for row in rows_with("errors.md", "finding", "what it says")}
    assert damages | findings == set(texts())
    assert all(code.startswith("damaged.") for code in damages)
    assert not any(code.startswith("damaged.") for code in findings)
    assert {f"damaged.{kind}" for kind in raised} <= damages


def test_codes_of_problems_without_an_exception_are_documented() -> None:
    """Warnings of a plan, and what an outcome or a snapshot names."""
    known = {coded(row["code"])[0].removesuffix(".<what>") for row in rows_with("errors.md", "code", "class")}
    warnings = {coded(row["warning"])[0] for row in rows_with("errors.md", "warning")}
    used = {
        code.partition(".")[0]
        for path in (ROOT / "control").rglob("*.py")
        for code in re.findall(r'\bProblem\(\s*"([a-z.-]+)"', path.read_text(encoding="utf-8"))
    }

    assert used - known == warnings

"""The options of `restore` that put the past beside the present, and change nothing that is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import InvalidError
from ..model import Scope, Selection
from .cli_frame import Opener, print_end
from .cli_jobs import wait_for

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Beside:
    """Where a copy goes to: a folder by its whole path, a database (empty: not there); or a new project and its id."""

    into: str = ""
    database: str = ""
    as_new: bool = False
    new_id: str = ""

    def __bool__(self) -> bool:
        return bool(self.into or self.database or self.as_new or self.new_id)


def beside_options(command: _Command) -> _Command:
    """Gives a command `beside`."""
    given = "keyframe.beside"

    def add(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        found = ctx.meta.setdefault(given, {})
        found[param.name] = value or ""
        if len(found) == 4:
            into = str(Path(found["into"]).absolute()) if found["into"] else ""
            ctx.params["beside"] = Beside(into, found["database"], bool(found["as_new"]), found["new_id"])

    for option in (
        click.option(
            "--new-id",
            metavar="ID",
            callback=add,
            expose_value=False,
            help="With --as-new: the id that the new project shall have. Otherwise one is chosen.",
        ),
        click.option(
            "--as-new",
            is_flag=True,
            callback=add,
            expose_value=False,
            help="As a new project beside the one that is there, under a new id. Nobody is coupled to it.",
        ),
        click.option(
            "--database",
            metavar="NAME",
            callback=add,
            expose_value=False,
            help="Beside the live site: put the records into this new database. Nothing live is changed.",
        ),
        click.option(
            "--into",
            metavar="FOLDER",
            callback=add,
            expose_value=False,
            help="Beside the live site: put the files into this new folder. Nothing live is changed.",
        ),
    ):
        command = option(command)
    return command


def require_alone(beside: Beside, people: bool, digest: str) -> None:
    """Refuse what means a restore of the live site, and what does not go together."""
    if beside.new_id and not beside.as_new:
        raise InvalidError("is the id of a new project.", subject="--new-id", hint="Add --as-new. Nothing was made.")
    if beside.as_new and (beside.into or beside.database):
        hint = "Choose one of both; nothing was made."
        raise InvalidError("comes into the live site, not beside it.", subject="--as-new", hint=hint)
    if people or digest:
        raise InvalidError(
            "is for a restore of the live site.",
            subject="--people" if people else "--plan",
            hint="Leave it out: a copy of the site has its people, and there is no plan to agree to. Nothing was made.",
        )


def copy_beside(opener: Opener, scope: Scope, name: str, selection: Selection, beside: Beside, *, as_json: bool) -> int:
    """Make the copy, or the new project, and say how it came out; returns the exit code."""
    with opener() as office:
        actor = office.login.shell_actor()
        if beside.as_new:
            job = office.desk.duplicate(actor, scope, name, selection, beside.new_id)
        else:
            job = office.desk.copy(actor, scope, name, selection, beside.into, beside.database)
        return print_end(office, wait_for(office, actor, job), as_json, lambda ended: {"job": ended.as_dict()})

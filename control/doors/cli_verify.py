"""The command `verify`: judges a stored snapshot, or any folder that holds one.

Rules:

- With a folder it needs no settings and no database: it is the validator of docs/snapshot-format.md.
- With `--site` or `--project` it is a job like the others, and what it came to is remembered. Where the database does
  not answer it is done all the same, and nothing is remembered.
- Damage is exit code 6, whichever way it was found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from ..errors import NotFoundError, UnavailableError
from ..model import Progress, Scope, Verdict, is_snapshot_name
from .cli_frame import Group, Opener, json_option, print_document, print_end, scope_of, tell_problem
from .cli_jobs import progress_of, wait_for
from .office import Office

if TYPE_CHECKING:  # loading it takes time that `keyframe up` does not have
    from ..messages import Messages


def add_to(cli: Group) -> None:
    """Add the command to the program."""
    cli.add_command(verify)


@click.command("verify", short_help="Compare a snapshot with what was written.")
@click.option("--site", is_flag=True, help="NAME is a snapshot of the whole site.")
@click.option("--project", metavar="ID", help="NAME is a snapshot of this project, or one of the site that holds it.")
@click.argument("what", metavar="NAME|FOLDER")
@click.option("--quick", is_flag=True, help="Compare names and sizes only; the bytes are not read.")
@json_option
@click.pass_obj
def verify(opener: Opener, site: bool, project: str | None, what: str, quick: bool, as_json: bool) -> int:
    """Compare all of a snapshot with what was written: every byte, count, missing and extra file.

    With --site or --project it is the stored snapshot of that name, or latest. Without, it is the folder of a snapshot,
    wherever it lies; that needs no settings and no database. Nothing is changed.
    """
    if site and project is not None:
        raise click.UsageError("Say which part is meant: --site, or --project ID.")
    if site or project is not None:
        return _stored(opener, scope_of(project), _name(what), quick, as_json)
    return _folder(Path(what), quick, as_json)


def _name(text: str) -> str:
    if text != "latest" and not is_snapshot_name(text):
        hint = "Names are like 2026-11-21T10-53-15Z, or latest; leave --site and --project out to verify a folder."
        raise NotFoundError("There is no such snapshot.", subject=text[:50], hint=hint)
    return text


def _folder(folder: Path, quick: bool, as_json: bool) -> int:
    from ..messages import Messages
    from ..stores.validator import Validator

    if not folder.is_dir():
        looks = is_snapshot_name(folder.name) or folder.name == "latest"
        hint = "For a stored snapshot add --site, or --project ID." if looks else "Name the folder of a snapshot."
        raise NotFoundError("There is no such folder.", subject=str(folder), hint=hint)
    messages = Messages(ZoneInfo("UTC"))
    with progress_of(messages) as show:
        verdict = Validator(folder, quick=quick, told=_telling(show)).run(datetime.now(UTC))
    return _tell(messages, verdict, str(folder), as_json)


def _stored(opener: Opener, scope: Scope, name: str, quick: bool, as_json: bool) -> int:
    try:
        with opener() as office:
            actor = office.login.shell_actor()
            job = wait_for(office, actor, office.desk.verify(actor, scope, name, quick=quick))
            report = job.outcome.report if job.outcome else None
            if report is None:  # it did not come to an end
                return print_end(office, job, as_json, lambda ended: {"job": ended.as_dict()})
            return _tell(office.messages, Verdict.from_dict(report), job.order.snapshot, as_json, job=job.as_dict())
    except UnavailableError as error:
        click.echo(f"{error.what} It is verified all the same, but not remembered.", err=True)
    with opener(database=False) as office:
        return _here(office, scope, name, quick, as_json)


def _here(office: Office, scope: Scope, name: str, quick: bool, as_json: bool) -> int:
    with progress_of(office.messages) as show:
        verdict = office.desk.verify_here(office.login.shell_actor(), scope, name, _telling(show), quick=quick)
    return _tell(office.messages, verdict, name, as_json)


def _telling(show: Callable[[Progress], None]) -> Callable[[int, int], None]:
    """What shows how far it is, to who looks on; a script is told the verdict only."""
    if not sys.stderr.isatty():
        return lambda _done, _total: None
    return lambda done, total: show(Progress("verifying", 1, 1, min(done, total), total, "bytes"))


def _tell(messages: Messages, verdict: Verdict, called: str, as_json: bool, **more: object) -> int:
    """Print the verdict; the exit code."""
    if as_json and verdict.is_bad:
        return tell_problem(verdict.damages[0], True, verdict=verdict.as_dict(), **more)
    if as_json:
        print_document({**more, "verdict": verdict.as_dict()})
        return 0
    words = messages.checked(verdict, called)
    click.echo(f"{words.title}.", err=verdict.is_bad)
    for line in (words.text, *(messages.coded(problem) for problem in words.problems)):
        click.echo(line, err=verdict.is_bad)
    return 6 if verdict.is_bad else 0

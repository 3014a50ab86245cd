"""The command line: `keyframe make --site`, `keyframe restore --project ID latest`, and the rest of the acts.

Rules:

- A command parses, makes one call to the desk, and prints; it acts as the shell's user.
- It waits for its job. `list` and `show` read storage only and need no database.
- `main.py` gives it an opener and adds the commands of the hosts (`up`, `sample`, `people`).

>>> cli(["list", "--site"], obj=opener_of)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from ..errors import UnavailableError
from ..model import Job, Scope, Snapshot, Undos
from ..version import VERSION
from . import cli_recover, cli_restore, cli_tokens, cli_verify
from .cli_frame import Group, Opener, json_option, named, print_document, print_end, scoped
from .cli_jobs import wait_for
from .cli_words import describe, option_of, rows_of, table, unfinished_line
from .office import Office
from .worker import serve, stop_when_told

_LOOKED_AT = 1000  # snapshots that tell what was undone


@click.group("keyframe", cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings, instead of config.yaml.")
@click.version_option(VERSION, prog_name="keyframe")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Snapshots of a site, its files and its database at one instant; and their restore, without losing anything.

    Works with a running `keyframe up`, with a database that the settings name, or with nothing running at all.
    """
    opener_of: Callable[[Path | None], Opener] = ctx.obj
    ctx.obj = opener_of(config)


@cli.command("make")
@scoped
@click.option("--note", default="", metavar="TEXT", help="What it is for, in a few words.")
@click.option(
    "--confirm",
    multiple=True,
    metavar="WHAT",
    help="Say that something is right which would make the snapshot partial: `shrunk`, that most files or records are"
    " gone. May be given several times.",
)
@json_option
@click.pass_obj
def make(opener: Opener, scope: Scope, note: str, confirm: tuple[str, ...], as_json: bool) -> int:
    """Make a snapshot."""
    with opener() as office:
        actor = office.login.shell_actor()
        job = wait_for(office, actor, office.desk.make(actor, scope, note, confirm))

        def document(ended: Job) -> Mapping[str, Any]:
            name = ended.outcome.snapshot if ended.outcome else None
            return {"job": ended.as_dict(), "snapshot": office.desk.snapshot(actor, scope, name or "latest").as_dict()}

        code = print_end(office, job, as_json, document)
        if not as_json and job.outcome is not None and job.outcome.snapshot:
            click.echo(job.outcome.snapshot)
        return code


@cli.command("list")
@scoped
@click.option("--trash", is_flag=True, help="Those that were deleted.")
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at most.")
@click.option("--cursor", default="", metavar="TEXT", help="Go on where a list before this one ended.")
@json_option
@click.pass_obj
def list_snapshots(opener: Opener, scope: Scope, trash: bool, limit: int, cursor: str, as_json: bool) -> None:
    """List the snapshots, newest first. Needs no database."""
    with opener(database=False) as office:
        actor = office.login.shell_actor()
        page = office.desk.snapshots(actor, scope, trash=trash, cursor=cursor, limit=limit)
        unfinished = office.desk.unfinished(actor, scope)
        if as_json:
            shown = {"snapshots": [one.as_dict() for one in page.items], "next": page.next}
            print_document({**shown, "unfinished": [one.as_dict() for one in unfinished]})
            return
        for one in unfinished:
            click.echo(unfinished_line(one), err=True)
        if not page.items:
            click.echo(_nothing(office, scope, trash))
            return
        click.echo(table(rows_of(office.messages, page.items, scope, datetime.now(UTC), Undos.of(page.items))))
        if page.next:
            click.echo(f"There are more: --cursor {page.next}", err=True)


def _nothing(office: Office, scope: Scope, trash: bool) -> str:
    """Says where it looked, too: in his worst hour nobody should take another folder's emptiness for his own."""
    where = office.settings.repository
    if trash:
        return f"The trash is empty (in {where})."
    return f"No snapshot yet in {where}.\nTo make one: keyframe make {option_of(scope)}"


@cli.command("show")
@scoped
@named
@json_option
@click.pass_obj
def show(opener: Opener, scope: Scope, name: str, as_json: bool) -> None:
    """Show one snapshot. Needs no database."""
    with opener(database=False) as office:
        actor = office.login.shell_actor()
        snapshot = office.desk.snapshot(actor, scope, name)
        if as_json:
            print_document(snapshot.as_dict())
        else:
            undos = Undos.of(office.desk.snapshots(actor, scope, limit=_LOOKED_AT).items)
            click.echo(describe(office.messages, snapshot, scope, datetime.now(UTC), undos))


@cli.command("delete")
@scoped
@named
@click.option("--yes", is_flag=True, expose_value=False, help="Nothing is asked: undelete takes it back.")
@json_option
@click.pass_obj
def delete(opener: Opener, scope: Scope, name: str, as_json: bool) -> None:
    """Move a snapshot to the trash."""
    with opener() as office:
        snapshot = office.desk.delete(office.login.shell_actor(), scope, name)
        _print_moved(office, snapshot, as_json, to_trash=True)


@cli.command("undelete")
@scoped
@named
@json_option
@click.pass_obj
def undelete(opener: Opener, scope: Scope, name: str, as_json: bool) -> None:
    """Take a snapshot out of the trash."""
    with opener() as office:
        snapshot = office.desk.undelete(office.login.shell_actor(), scope, name)
        _print_moved(office, snapshot, as_json, to_trash=False)


def _print_moved(office: Office, snapshot: Snapshot, as_json: bool, *, to_trash: bool) -> None:
    if as_json:
        print_document(snapshot.as_dict())
        return
    undo = snapshot.undoable is not None
    words = office.messages.moved(snapshot.name, to_trash, datetime.now(UTC), undo=undo)
    click.echo(" ".join(part for part in (words.title, words.text) if part))


@cli.command("worker", short_help="Do jobs, until told to end.")
@click.pass_obj
def worker(opener: Opener) -> None:
    """Do jobs until told to end (SIGTERM or Ctrl-C); `keyframe up` runs one.

    A job that runs then is brought to a safe point within 25 s. A database that does not answer is waited for.
    """
    stop = stop_when_told()
    said = False
    while not stop.is_set():
        try:
            with opener() as office:
                serve(office, stop)
        except UnavailableError as error:
            if opener.settings.mongo.uri is None:
                raise
            if not said:
                click.echo(f"{error} Waiting for it.", err=True)
            said = True
            stop.wait(2)


cli_recover.add_to(cli)
cli_restore.add_to(cli)
cli_tokens.add_to(cli)
cli_verify.add_to(cli)

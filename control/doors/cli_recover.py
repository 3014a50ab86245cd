"""The command `recover`: finishes restores that were interrupted, or brings back the state before them.

Rules:

- The worker does the same by itself whenever it starts; this is for when none runs, or to see what it waits for.
- Nothing is left half-way: a restore that had begun to change something is finished, one that had not is cleared away.
- It gives up waiting, not finishing: what is still unfinished then is tried again by the next start.

>>> cli(["recover", "--for", "60"], obj=opener_of)      # doctest: +SKIP
"""

from __future__ import annotations

import time

import click

from ..model import Progress, Scope
from .cli_frame import Group, Opener, json_option, print_document
from .office import Office

EXIT_UNFINISHED = 8
_LOOK_AGAIN = 0.5  # seconds, while another process is at it


def add_to(cli: Group) -> None:
    """Add the command to the program."""
    cli.add_command(recover)


@click.command("recover", short_help="Finish restores that were interrupted.")
@click.option("--back", is_flag=True, help="Bring back the state before them instead, from their safety snapshots.")
@click.option("--for", "seconds", type=click.FloatRange(0, 86_400), default=30.0, show_default=True, metavar="SECONDS",
              help="How long to wait for a disk or a database that does not answer.")  # fmt: skip
@json_option
@click.pass_obj
def recover(opener: Opener, back: bool, seconds: float, as_json: bool) -> int:
    """Finish all restores that were interrupted, wholly; those that had not begun to change anything are cleared away.

    What cannot be finished within SECONDS stays as it is, and nobody can write there until it is: exit code 8.
    """
    with opener() as office:
        actor = office.login.shell_actor()
        begun = office.intents.open()
        if back:
            for scope in begun:
                office.desk.turn_back(actor, scope)
        left = _wait(office, time.monotonic() + seconds, quiet=as_json)
        finished = [scope for scope in begun if scope not in left]
        if as_json:
            print_document({
                "finished": [scope.as_dict() for scope in finished],
                "unfinished": [scope.as_dict() for scope in left],
            })  # fmt: skip
        else:
            _print(finished, left)
        return EXIT_UNFINISHED if left else 0


def _wait(office: Office, until: float, *, quiet: bool) -> tuple[Scope, ...]:
    """Recover, and wait for whoever else is at it; the scopes that are unfinished in the end."""
    said = ""

    def tell(progress: Progress) -> None:
        nonlocal said
        words = f"{progress.stage} {progress.item}".strip()
        if words != said and not quiet and progress.stage.startswith("waiting"):
            click.echo(office.messages.plain(words), err=True)
        said = words

    while True:
        office.work.recover(lambda: time.monotonic() > until, tell)
        left = office.intents.open()
        if not left or time.monotonic() > until:
            return left
        time.sleep(_LOOK_AGAIN)


def _print(finished: list[Scope], left: tuple[Scope, ...]) -> None:
    if not finished and not left:
        click.echo("No restore is unfinished.")
    for scope in finished:
        click.echo(f"{_called(scope)}: finished. keyframe list shows how it came out.")
    for scope in left:
        click.echo(
            f"{_called(scope)}: not finished yet, and nobody can write there until it is; nothing is lost. "
            "See that disk and database answer, then try again, or bring back the state before with --back.",
            err=True,
        )


def _called(scope: Scope) -> str:
    return "the site" if scope.is_site else f"project {scope.project_id}"

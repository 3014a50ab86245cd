"""The command `recover`: finishes restores that were interrupted, or brings back the state before them.

Rules:

- The worker does the same by itself whenever it starts; this is for when none runs, or to see what it waits for.
- Nothing is left half-way: a restore that had begun to change something is finished, one that had not is cleared away.
- It says of each how it came out, and how it is taken back; the exit code is that of the worst.
- It gives up waiting, not finishing: what is still unfinished then is tried again by the next start.

>>> cli(["recover", "--for", "60"], obj=opener_of)      # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import time

import click

from ..errors import NotFoundError
from ..model import Action, Job, OutcomeStatus, Progress, Scope, Unfinished
from .cli_frame import Group, Opener, end_code, json_option, print_document, print_outcome
from .cli_jobs import begun_restores
from .cli_words import called, option_of
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

    It says how each came out. What cannot be finished within SECONDS stays as it is, and nobody can write there until
    it is: exit code 8.
    """
    with opener() as office:
        actor = office.login.shell_actor()
        begun = begun_restores(office)
        for one in begun if back else ():
            office.desk.turn_back(actor, one.scope)
        ended, left = _wait(office, time.monotonic() + seconds, quiet=as_json)
        for one in begun:  # another process may have been at it
            if one.scope not in left and one.job not in ended:
                with contextlib.suppress(NotFoundError):
                    ended[one.job] = office.desk.job(actor, one.job)
        finished = [one for one in begun if one.scope not in left]
        if as_json:
            print_document({
                "finished": [one.scope.as_dict() for one in finished],
                "unfinished": [scope.as_dict() for scope in left],
                "jobs": [job.as_dict() for job in ended.values()],
            })  # fmt: skip
        else:
            _print(office, finished, ended, left)
        return EXIT_UNFINISHED if left else max((_code(job, back=back) for job in ended.values()), default=0)


def _wait(office: Office, until: float, *, quiet: bool) -> tuple[dict[str, Job], tuple[Scope, ...]]:
    """Recover, and wait for whoever else is at it; the jobs that were ended, by id, and the scopes that are unfinished
    in the end."""
    said = ""
    ended: dict[str, Job] = {}

    def tell(progress: Progress) -> None:
        nonlocal said
        words = f"{progress.stage} {progress.item}".strip()
        if words != said and not quiet and progress.stage.startswith("waiting"):
            click.echo(office.messages.plain(words), err=True)
        said = words

    def note(job: Job) -> None:
        ended[job.id] = job

    while True:
        office.work.recover(lambda: time.monotonic() > until, tell, note)
        left = office.intents.open()
        if not left or time.monotonic() > until:
            return ended, left
        time.sleep(_LOOK_AGAIN)


def _code(job: Job, *, back: bool) -> int:
    """The exit code of how a job came out; 0 where it had changed nothing, or the state before was asked for."""
    outcome = job.outcome
    if outcome is None or outcome.safety is None or (back and outcome.status is OutcomeStatus.CANCELLED):
        return 0
    return end_code(outcome)


def _print(office: Office, finished: list[Unfinished], ended: dict[str, Job], left: tuple[Scope, ...]) -> None:
    if not finished and not ended and not left:
        click.echo("No restore is unfinished.")
    begun = {one.job for one in finished}
    for job in ended.values():
        how = "finished" if job.id in begun else "cleared away"
        click.echo(f"{called(job.order.changed)}: {how} (job {job.id}).")
        print_outcome(office, job)
        outcome = job.outcome
        if job.order.act in (Action.RESTORE, Action.UNDO) and outcome and outcome.safety and outcome.is_good:
            click.echo(f"To take it back: keyframe undo {option_of(job.order.scope)} {outcome.safety}")
    for one in finished:
        if one.job not in ended:
            click.echo(f"{called(one.scope)}: finished; of job {one.job} nothing more is known.")
    for scope in left:
        click.echo(
            f"{called(scope)}: not finished yet, and nobody can write there until it is; nothing is lost. "
            "See that disk and database answer, then try again, or bring back the state before with --back.",
            err=True,
        )

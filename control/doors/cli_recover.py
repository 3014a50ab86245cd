"""The command `recover`: finishes restores that were interrupted, or brings back the state before them.

Rules:

- The worker does the same by itself whenever it starts; this is for when none runs, or to see what it waits for.
- Nothing is left half-way: a restore that had begun to change something is finished, one that had not is cleared away.
- It says of each how it came out, and how it is taken back; the exit code is that of the worst.
- What is unfinished stands on disk: it is named, and the state before can be asked for, while the database is away.
- It gives up waiting, not finishing: what is still unfinished then is tried again by the next start.

>>> cli(["recover", "--for", "60"], obj=opener_of)      # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ..errors import NotFoundError, UnavailableError
from ..model import Job, OutcomeStatus, Progress, Unfinished
from .cli_frame import Group, Opener, end_code, json_option, print_document, print_outcome, print_way_back
from .cli_jobs import begun_restores
from .cli_words import called
from .office import Office

if TYPE_CHECKING:  # loading it takes time that `keyframe up` does not have
    from ..messages import Messages

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
    until = time.monotonic() + seconds
    with opener(database=False) as office:
        found, messages = _Found(begun_restores(office), wishes_back=back), office.messages
    said = as_json
    while True:
        try:
            with opener() as office:
                return _finished(office, found, until, as_json)
        except UnavailableError as error:
            found.wish(opener)
            if time.monotonic() > until:
                return _unreached(opener, found, error, as_json)
            if not said:
                _say_waiting(messages, found, error)
            said = True
            time.sleep(_LOOK_AGAIN)


class _Found:
    """What was unfinished at first, as it stands on disk, and what became of it meanwhile."""

    def __init__(self, begun: list[Unfinished], *, wishes_back: bool) -> None:
        self.begun = begun
        self.ended: dict[str, Job] = {}
        self.back = wishes_back
        self._wished = not wishes_back

    def finished(self, left: list[Unfinished]) -> list[Unfinished]:
        """Those of them that are not among `left`."""
        scopes = {one.scope for one in left}
        return [one for one in self.begun if one.scope not in scopes]

    def ask_for_it(self, office: Office) -> None:
        """Ask for the state before, once."""
        if not self._wished:
            self._wished = True
            open_now = office.intents.open()
            for one in self.begun:
                if one.scope in open_now:  # else somebody has finished it just now
                    office.desk.turn_back(office.login.shell_actor(), one.scope)

    def wish(self, opener: Opener) -> None:
        """The same without a database: it stands on disk, for whoever is first when the database is back."""
        with opener(database=False) as office:
            self.ask_for_it(office)


def _finished(office: Office, found: _Found, until: float, as_json: bool) -> int:
    """Recover and say how it came out; returns the exit code."""
    actor, ended = office.login.shell_actor(), found.ended
    found.ask_for_it(office)
    _wait(office, until, ended, quiet=as_json)
    left = begun_restores(office)
    for one in found.finished(left):  # another process may have been at it
        if one.job not in ended:
            with contextlib.suppress(NotFoundError):
                ended[one.job] = office.desk.job(actor, one.job)
    _tell(office, found, left, as_json)
    return EXIT_UNFINISHED if left else max((_code(job, back=found.back) for job in ended.values()), default=0)


def _unreached(opener: Opener, found: _Found, error: UnavailableError, as_json: bool) -> int:
    """The end where the database did not answer in time: what is unfinished is known all the same.

    Raises
    ------
    UnavailableError: nothing is unfinished, so there is nothing more to say.
    """
    with opener(database=False) as office:
        left = begun_restores(office)
        if not left:
            raise error
        click.echo(_what(office.messages, error), err=True)
        _tell(office, found, left, as_json)
    return EXIT_UNFINISHED


def _say_waiting(messages: Messages, found: _Found, error: UnavailableError) -> None:
    """What is waited for, and for which restores."""
    for one in found.begun:
        click.echo(f"A restore of {called(one.scope)} was interrupted (job {one.job or 'unknown'}).", err=True)
    click.echo(f"{_what(messages, error)} It is waited for.", err=True)


def _what(messages: Messages, error: UnavailableError) -> str:
    """What does not answer; without its hint, which is for a call that found nothing begun."""
    return messages.problem(replace(error.problem(), hint=""))


def _tell(office: Office, found: _Found, left: list[Unfinished], as_json: bool) -> None:
    if not as_json:
        _print(office, found, left)
        return
    print_document({
        "finished": [one.scope.as_dict() for one in found.finished(left)],
        "unfinished": [one.as_dict() for one in left],
        "jobs": [job.as_dict() for job in found.ended.values()],
    })  # fmt: skip


def _wait(office: Office, until: float, ended: dict[str, Job], *, quiet: bool) -> None:
    """Recover, and wait for whoever else is at it; notes the jobs that were ended, by id."""
    said = ""

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
        if not office.intents.open() or time.monotonic() > until:
            return
        time.sleep(_LOOK_AGAIN)


def _code(job: Job, *, back: bool) -> int:
    """The exit code of how a job came out; 0 where it had changed nothing, or the state before was asked for."""
    outcome = job.outcome
    if outcome is None or outcome.safety is None or (back and outcome.status is OutcomeStatus.CANCELLED):
        return 0
    return end_code(outcome)


def _print(office: Office, found: _Found, left: list[Unfinished]) -> None:
    finished, ended = found.finished(left), found.ended
    if not finished and not ended and not left:
        click.echo("No restore is unfinished.")
    begun = {one.job for one in finished}
    for job in ended.values():
        how = "finished" if job.id in begun else "cleared away"
        click.echo(f"{called(job.order.changed)}: {how} (job {job.id}).")
        print_outcome(office, job)
        print_way_back(job)
    for one in finished:
        if one.job not in ended:
            click.echo(f"{called(one.scope)}: finished; of job {one.job} nothing more is known.")
    for one in left:
        job_named = f" (job {one.job})" if one.job else ""
        way = (
            "The state before is asked for; whoever finishes it brings that back. See that disk and database answer."
            if office.intents.is_turned_back(one.scope)
            else "See that disk and database answer, then try again, or bring back the state before with --back."
        )
        click.echo(
            f"{called(one.scope)}: not finished yet{job_named}, and nobody can write there until it is; nothing is "
            f"lost. {way}",
            err=True,
        )

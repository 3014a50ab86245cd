"""Waiting for a job at the command line: a progress bar on a terminal, plain lines elsewhere.

Rules:

- Where a worker is heard of, it does the job and this only looks on. Where none is, the job is done here, under the
  same lease; so nothing needs to be running.
- What is finished on the way, and what becomes of a job whose worker is gone, is said, with the job's number.
- Ctrl-C brings a job that is done here to a safe point, and withdraws one that waits; one that a worker does goes on.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from ..errors import KeyframeError, UnavailableError
from ..model import Actor, Job, JobState, Progress, Unfinished
from .cli_words import called
from .office import Office

if TYPE_CHECKING:  # loading them takes time that `keyframe up` does not have
    from ..claims import Claim
    from ..messages import Messages

_LOOK = 0.25  # seconds between two looks
_LOOK_FOR_HOLDER = 1.0  # seconds between two looks for whoever does the job
_SAFE_POINT_SECONDS = 25.0

Show = Callable[[Progress], None]


def wait_for(office: Office, actor: Actor, job: Job) -> Job:
    """The job when it has ended; shows its progress on standard error meanwhile.

    Raises
    ------
    KeyboardInterrupt: Ctrl-C; a job done here has come to a safe point then.
    UnavailableError: the control database does not answer; says what becomes of the job.
    """
    with _saying_what_stands(office, job.id), progress_of(office.messages) as show:
        here, holder = _Here(office, show), _Holder(office, actor)
        try:
            while True:
                job = office.desk.wait(actor, job.id, _LOOK)
                if job.state is JobState.RUNNING:
                    show(job.progress)
                    holder.look(job)
                if job.state is JobState.ENDED:
                    here.join()
                    return job
                here.help_with(job)
        except KeyboardInterrupt:
            if here.stop():
                pass
            elif office.work.withdraw(job.id):
                click.echo("It had not begun, and will not: nothing was changed.", err=True)
            elif holder.is_gone:
                click.echo(f"The next worker, or keyframe recover, brings job {job.id} to its end.", err=True)
            else:
                click.echo(f"The worker goes on with it; the job's number is {job.id}.", err=True)
            raise


def begun_restores(office: Office) -> list[Unfinished]:
    """The restores that have begun to change something and are not finished, as they stand on disk."""
    found = []
    for scope in office.intents.open():
        intent = None
        with contextlib.suppress(KeyframeError):  # one that cannot be read is unfinished all the same
            intent = office.intents.read(scope)
        found.append(Unfinished(scope, intent.job if intent else ""))
    return found


@contextlib.contextmanager
def _saying_what_stands(office: Office, job: str) -> Iterator[None]:
    """Adds to the error of a database that does not answer what becomes of the job: an intent stands on disk."""
    try:
        yield
    except UnavailableError as error:
        if any(one.job == job for one in begun_restores(office)):
            what = (
                "The restore has begun to change things: it will be finished by a worker, or by keyframe recover, as "
                "soon as it answers; nobody can write there until then, and nothing is lost. keyframe recover --back "
                "brings back the state before instead"
            )
            hint = f"{what} (job {job})."
        else:
            hint = f"{error.hint} Whatever is left of job {job} is brought to its end then."
        raise UnavailableError(error.what, subject=error.subject, hint=hint) from error


class _Holder:
    """Whoever does the job that is waited for: says once that he is gone, and what becomes of the job."""

    def __init__(self, office: Office, actor: Actor) -> None:
        self._office = office
        self._actor = actor
        self._fence = 0
        self._next = 0.0
        self.is_gone = False

    def look(self, job: Job) -> None:
        """Look at a job that runs, once a second."""
        if self.is_gone or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _LOOK_FOR_HOLDER
        self._fence = self._fence or job.fence
        if job.fence == self._fence and (self._office.jobs.is_held(job.id) or self._has_ended(job)):
            return
        self.is_gone = True
        if any(one.job == job.id for one in begun_restores(self._office)):
            words = (
                "The restore had begun to change things and will be finished, by another worker or here, in a moment"
            )
            click.echo(f"The worker that did it is gone. {words} (job {job.id}).", err=True)
        else:
            click.echo(f"The worker that did it is gone; job {job.id} is brought to its end.", err=True)

    def _has_ended(self, job: Job) -> bool:
        return self._office.desk.wait(self._actor, job.id, 0).state is JobState.ENDED


class _Here:
    """The work that this process does itself, in a thread, so that Ctrl-C is heard."""

    def __init__(self, office: Office, show: Show) -> None:
        self._office = office
        self._show = show
        self._claim: Claim | None = None
        self._thread: threading.Thread | None = None
        self._recovered = False

    def help_with(self, job: Job) -> None:
        """Do the job, where it waits and no worker is heard of."""
        if self._thread is not None or self._office.jobs.worker_alive():
            return
        if not self._recovered:  # what a crash left behind comes first, and jobs whose worker was lost end
            self._recovered = self._recover(job) == 0
        self._claim = self._office.jobs.claim(only=job.id)
        if self._claim is not None:
            self._thread = threading.Thread(target=self._office.work.run, args=(self._claim,), daemon=True)
            self._thread.start()

    def _recover(self, mine: Job) -> int:
        """Finish what a crash left behind, and say so; how `mine` came out is said by whoever waits for it."""
        office = self._office
        for one in begun_restores(office):
            if one.job != mine.id and not office.jobs.is_held(one.job):
                click.echo(
                    f"A restore of {called(one.scope)} was interrupted (job {one.job}): it is finished first.", err=True
                )

        def ended(job: Job) -> None:
            if job.id != mine.id:
                words = office.messages.outcome(job)
                click.echo(f"Job {job.id}, {called(job.order.changed)}: {words.title}. {words.text}".strip(), err=True)

        return office.work.recover(told=self._show, ended=ended)

    def join(self) -> None:
        """Wait until the scope is free again, too."""
        if self._thread is not None:
            self._thread.join(_SAFE_POINT_SECONDS)

    def stop(self) -> bool:
        """Bring the work to a safe point; False if nothing is done here."""
        if self._claim is None or self._thread is None:
            return False
        click.echo("Coming to a safe point; Ctrl-C again ends at once.", err=True)
        self._claim.stop()
        self._thread.join(_SAFE_POINT_SECONDS)
        return True


@contextlib.contextmanager
def progress_of(messages: Messages) -> Iterator[Show]:
    """What shows how far a job is: a bar where standard error is a terminal, else a line for each step."""
    if sys.stderr.isatty():
        with _bar(messages) as show:
            yield show
        return
    last = ""

    def line(progress: Progress) -> None:
        nonlocal last
        if progress.stage and progress.stage != last:
            last = progress.stage
            click.echo(messages.progress(progress), err=True)

    yield line


@contextlib.contextmanager
def _bar(messages: Messages) -> Iterator[Show]:
    from rich.console import Console  # a tenth of a second that only a terminal needs
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("Waiting.", total=100)

        def show(progress: Progress) -> None:
            words = " ".join(part for part in (messages.progress(progress), progress.item) if part)
            bar.update(task, completed=messages.percent(progress), description=messages.plain(words))

        yield show

"""What all commands share: exit codes, errors as words or as a document, the scope they are about.

Rules:

- One table from code to exit code, printed in each help text; `docs/errors.md` has the same.
- With `--json` the one document on standard output is the result or the problem, in the shapes of REST; words go to
  standard error.
- What nobody foresaw is one sentence; the log has all of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

import click
import structlog

from .. import logs
from ..errors import CancelledError, InvalidError, KeyframeError, NotFoundError, Problem, StaleError, no_such_project
from ..model import Action, Job, Outcome, OutcomeStatus, Scope, is_snapshot_name
from ..settings import Settings
from .cli_words import option_of
from .office import Office

log = structlog.get_logger(__name__)

EXIT_CODES: Mapping[str, int] = {
    "internal": 1,
    "invalid": 2,
    "settings": 2,
    "refused": 3,
    "not-found": 4,
    "expired": 4,
    "busy": 5,
    "stale": 5,
    "damaged": 6,  # and each damaged.<what>
    "no-room": 7,
    "unavailable": 8,
    "slow-down": 8,
    "changed": 9,
    "cancelled": 10,
    "sign-in": 12,
    "unsafe": 13,
}
EXIT_PARTIAL = 11
EXIT_INTERRUPTED = 130

_EXIT_WORDS = (
    (0, "done, or nothing to do"),
    (1, "something unforeseen"),
    (2, "the call or the settings are wrong"),
    (3, "not allowed"),
    (4, "not there"),
    (5, "busy, or the plan was overtaken"),
    (6, "the snapshot is damaged"),
    (7, "no room"),
    (8, "database or disk does not answer"),
    (9, "a file would not hold still"),
    (10, "stopped"),
    (11, "partial: done, but with problems"),
    (12, "not signed in"),
    (13, "the state before cannot be kept as a whole"),
    (130, "Ctrl-C"),
)

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Opener(Protocol):
    """Opens the office for one command: finds the running server, or starts one for the call."""

    @property
    def settings(self) -> Settings: ...

    @property
    def config(self) -> Path | None: ...

    def __call__(self, database: bool = True) -> AbstractContextManager[Office]: ...


def exit_code(code: str) -> int:
    """The exit code of an error's code; that of `damaged` for each `damaged.<what>`."""
    return EXIT_CODES[code.partition(".")[0]]


class Command(click.Command):
    """A command whose help ends with the exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        if "Exit codes" in (self.help or ""):
            return
        with formatter.section("Exit codes"):
            formatter.write_dl([(f"{number:>3}", words) for number, words in _EXIT_WORDS])


class Group(click.Group):
    """A group of commands; run as a program it answers every error with words or a document, and its exit code."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._later: dict[str, Callable[[], click.Command]] = {}

    def add_later(self, name: str, command: Callable[[], click.Command]) -> None:
        """Add a command whose code is loaded only when it is called, or its help is asked for."""
        self._later[name] = command

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._later:
            self.add_command(self._later.pop(cmd_name)(), cmd_name)
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._later})

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Commands of other rooms get the exit codes in their help too."""
        commands = list(cmd.commands.values()) if isinstance(cmd, click.Group) else [cmd]
        for one in commands:
            if type(one) is click.Command:
                one.__class__ = Command
        super().add_command(cmd, name)

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in words
        extra["standalone_mode"] = False
        try:
            ended = super().main(words, *more, **extra)
            sys.exit(ended if isinstance(ended, int) else 0)
        except click.UsageError as error:
            if not as_json:
                error.show()
                sys.exit(2)
            problem = InvalidError(error.format_message(), hint="keyframe --help lists commands and options.")
            sys.exit(tell(problem, as_json))
        except click.ClickException as error:
            sys.exit(tell(InvalidError(error.format_message()), as_json))
        except (click.Abort, KeyboardInterrupt):
            if as_json:
                tell(CancelledError("was interrupted.", subject="the command"), as_json)
            sys.exit(EXIT_INTERRUPTED)
        except KeyframeError as error:
            sys.exit(tell(error, as_json))
        except Exception as error:  # a program's last resort: one sentence here, the whole in the log
            sys.exit(tell(_unforeseen(error), as_json))


def _unforeseen(error: Exception) -> KeyframeError:
    path = logs.path()
    if path:  # without a file structlog would print the trace, with the values of variables in it
        log.error("cli.failed", exc_info=error)
    where = f"The log {path} has the details." if path else f"{type(error).__name__}: {error}"
    return KeyframeError("Something went wrong that nobody foresaw.", hint=where)


def tell(error: KeyframeError, as_json: bool) -> int:
    """Print an error, as words to standard error or as a document to standard output; returns its exit code."""
    more: dict[str, Any] = {}
    if isinstance(error, InvalidError):
        more["mistakes"] = list(error.mistakes)
    if isinstance(error, StaleError):
        more["plan"] = error.report
    return tell_problem(error.problem(), as_json, **more)


def tell_problem(problem: Problem, as_json: bool, **more: Any) -> int:
    """The same for a problem that is known as a value only, like that of a job's outcome."""
    if as_json:
        from .problems import problem_document  # it knows Flask, which most calls do without

        print_document(problem_document(problem, **more))
        return exit_code(problem.code)
    mistakes = more.get("mistakes") or []
    if len(mistakes) > 1:
        click.echo(f"{problem.subject}: {len(mistakes)} mistakes.", err=True)
        for mistake in mistakes:
            click.echo(f"  {mistake}", err=True)
        click.echo(problem.hint, err=True)
    else:
        from ..messages import Messages  # loading it takes time that `keyframe up` does not have

        click.echo(Messages(ZoneInfo("UTC")).problem(problem), err=True)
    return exit_code(problem.code)


def print_document(document: Mapping[str, Any]) -> None:
    """The one document of `--json`; ASCII only, since the name of a file may hold bytes that no encoding knows."""
    click.echo(json.dumps(document, indent=2))


def print_end(office: Office, job: Job, as_json: bool, document: Callable[[Job], Mapping[str, Any]]) -> int:
    """Print how an ended job ended; returns the exit code.

    Parameters
    ----------
    document: makes what `--json` prints of a job that did what was asked.
    """
    if job.outcome is None:
        raise RuntimeError("the end of a job that has not ended")
    outcome = job.outcome
    if as_json and not outcome.is_good:
        plan = outcome.report if outcome.problems[0].code in ("stale", "unsafe", "refused") else None
        return tell_problem(outcome.problems[0], True, job=job.as_dict(), plan=plan)
    if as_json:
        print_document(document(job))
    else:
        print_outcome(office, job, bad=not outcome.is_good)
        print_way_back(job)
    return end_code(outcome)


def print_outcome(office: Office, job: Job, *, bad: bool = False) -> None:
    """How an ended job ended, in words; `bad`: to standard error, as what was not done."""
    words = office.messages.outcome(job)
    click.echo(f"{words.title}.", err=bad)
    for line in (words.text, *map(office.messages.problem, (*words.problems, *words.along))):
        if line:
            click.echo(line, err=bad)
    if office.messages.may_leave_damage(job):
        click.echo("To leave what is damaged as it is, and bring back the rest, add --only-intact.", err=True)
    if job.outcome is not None and job.outcome.confirm:
        click.echo(f"To go on all the same, say it again with --confirm {job.outcome.confirm}", err=True)


def print_way_back(job: Job) -> None:
    """How a restore or an undo that did something is taken back: with its safety snapshot."""
    outcome = job.outcome
    carried_out = outcome is not None and outcome.status in (OutcomeStatus.DONE, OutcomeStatus.PARTIAL)
    if job.order.act in (Action.RESTORE, Action.UNDO) and carried_out and outcome and outcome.safety:
        click.echo(f"To take it back: keyframe undo {option_of(job.order.scope)} {outcome.safety}")


def end_code(outcome: Outcome) -> int:
    """The exit code of how a job ended."""
    if not outcome.is_good:
        return exit_code(outcome.problems[0].code)
    return EXIT_PARTIAL if outcome.status is OutcomeStatus.PARTIAL else 0


# Options and arguments


def scoped(command: _Command) -> _Command:
    """Gives a command `scope`: `--site`, or `--project ID`."""

    def add(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        given = ctx.meta.setdefault("keyframe.scope", {})
        given[param.name] = value
        if len(given) < 2:
            return None
        if bool(given["site"]) == (given["project"] is not None):
            both = "--site and --project were both given; say which one is meant."
            raise click.UsageError(both if given["site"] else "Say which part is meant: --site, or --project ID.", ctx)
        ctx.params["scope"] = scope_of(None if given["site"] else given["project"])
        return None

    for option in (
        click.option("--project", metavar="ID", callback=add, expose_value=False, help="One project."),
        click.option("--site", is_flag=True, callback=add, expose_value=False, help="The whole site."),
    ):
        command = option(command)
    return command


def scope_of(project_id: str | None) -> Scope:
    """The checked scope; what cannot be the id of a project is no project."""
    try:
        return Scope(project_id)
    except ValueError as error:
        raise no_such_project() from error


def _checked_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and value != "latest" and not is_snapshot_name(value):
        hint = "Names are like 2026-11-21T10-53-15Z, or latest; keyframe list shows them."
        raise NotFoundError("There is no such snapshot.", subject=value[:50], hint=hint)
    return value


def named(command: _Command) -> _Command:
    """Gives a command `name`, that of a snapshot or `latest`."""
    return click.argument("name", metavar="NAME", callback=_checked_name)(command)


def maybe_named(command: _Command) -> _Command:
    """The same where it may be absent."""
    argument = click.argument("name", metavar="[NAME]", required=False, callback=_checked_name)
    return argument(command)


def json_option(command: _Command) -> _Command:
    """Gives a command `as_json`."""
    option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, as REST answers it.")
    return option(command)

"""The commands that look at a restore, carry it out and take it back: `preview`, `restore`, `undo`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from ..catalogue import LATEST
from ..errors import InvalidError
from ..model import Actor, Job, JobState, OutcomeStatus, Plan, Scope, Selection, Undoing
from .cli_copies import Beside, beside_options, copy_beside, require_alone
from .cli_frame import Group, Opener, json_option, maybe_named, named, print_end, scoped
from .cli_jobs import wait_for
from .cli_selection import selecting
from .cli_words import field_lines, plan_lines
from .office import Office

_ITEMS = 50  # of a plan are listed by name; the rest is counted
_PAGE = 200

_Command = TypeVar("_Command", bound=Callable[..., Any])


def add_to(cli: Group) -> None:
    """Add these commands to the program."""
    for command in (preview, restore, undo):
        cli.add_command(command)


def _listing(command: _Command) -> _Command:
    """Gives a command `whole` and `fields`: how much of a plan is shown."""
    words = "Of what is replaced, name the fields that differ, with old and new value."
    for option in (
        click.option("--fields", is_flag=True, help=words),
        click.option("--all", "whole", is_flag=True, help=f"Name every item, not the first {_ITEMS} only."),
    ):
        command = option(command)
    return command


def _agreeing(command: _Command) -> _Command:
    """Gives a command `digest`, `newer` and `confirm`: what is agreed to."""
    words = "What a refused call named: what its safety snapshot cannot keep does not matter."
    for option in (
        click.option("--confirm", default="", metavar="DIGEST", help=words),
        click.option("--newer", is_flag=True, help="With --plan: what changes until it begins is agreed to as well."),
        click.option(
            "--plan", "digest", default="", metavar="DIGEST", help="Only if the plan is still the one of a preview."
        ),
    ):
        command = option(command)
    return command


def _asking(command: _Command) -> _Command:
    """Gives a command `yes`."""
    option = click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
    return option(command)


@click.command("preview")
@scoped
@named
@selecting
@_listing
@json_option
@click.pass_obj
def preview(
    opener: Opener,
    scope: Scope,
    name: str,
    selection: Selection,
    people: bool,
    only_intact: bool,
    whole: bool,
    fields: bool,
    as_json: bool,
) -> int:
    """Show what a restore would do; nothing is changed."""
    with opener() as office:
        actor = office.login.shell_actor()
        order = office.desk.preview(actor, scope, name, selection, people or None, only_intact=only_intact)
        job = wait_for(office, actor, order)
        plan = _plan_of(job)
        if plan is None or as_json:
            return print_end(office, job, as_json, _report_of)
        _print_plan(office, actor, plan, None if whole else _ITEMS, fields=fields)
        return 0


@click.command("restore")
@scoped
@named
@selecting
@_agreeing
@beside_options
@_asking
@json_option
@click.pass_obj
def restore(
    opener: Opener,
    scope: Scope,
    name: str,
    selection: Selection,
    people: bool,
    only_intact: bool,
    digest: str,
    newer: bool,
    confirm: str,
    beside: Beside,
    yes: bool,
    as_json: bool,
) -> int:
    """Bring a snapshot back. A safety snapshot is made first, so that `undo` takes it back.

    Without --yes it shows what it would do, and asks. With --into or --database it is put beside the live site, to be
    looked at with any tool; with --as-new a project comes back as another one. Then nothing that is there is changed,
    and nothing is asked.
    """
    if beside:
        require_alone(beside, people, digest)
        return copy_beside(opener, scope, name, selection, beside, as_json=as_json)
    _require_answer(yes, as_json, "restore", "restores", "keyframe preview")
    with opener() as office:
        actor = office.login.shell_actor()
        if not yes:
            order = office.desk.preview(actor, scope, name, selection, people or None, only_intact=only_intact)
            looked = wait_for(office, actor, order)
            plan = _plan_of(looked)
            if plan is None:
                return print_end(office, looked, as_json, _job_of)
            if not _agreed(office, actor, plan):
                return 0
            digest = digest or plan.digest
        # A plan knows what was selected and whether people come along; without one it is said here.
        chosen, along = (None, None) if digest and selection.is_empty and not people else (selection, people or None)
        job = office.desk.restore(
            actor, scope, name, chosen, along, digest, newer=newer, confirm=confirm, only_intact=only_intact
        )
        if yes and not as_json and name == LATEST:
            click.echo(f"latest is {job.order.snapshot}", err=True)
        return print_end(office, wait_for(office, actor, job), as_json, _job_of)


@click.command("undo", short_help="Take a restore back.")
@scoped
@maybe_named
@click.option("--preview", "only_looks", is_flag=True, help="Show what it would do; nothing is changed.")
@_listing
@_agreeing
@_asking
@json_option
@click.pass_obj
def undo(
    opener: Opener,
    scope: Scope,
    name: str | None,
    only_looks: bool,
    whole: bool,
    fields: bool,
    digest: str,
    newer: bool,
    confirm: str,
    yes: bool,
    as_json: bool,
) -> int:
    """Take a restore back: the latest one, or that of the safety snapshot NAME. An undo can be undone, too.

    Without --yes it shows what it would do, and asks. With --preview it only shows it.
    """
    if not only_looks:
        _require_answer(yes, as_json, "undo", "undoes", "keyframe undo --preview")
    with opener() as office:
        actor = office.login.shell_actor()
        if only_looks or not yes:
            looked = wait_for(office, actor, office.desk.preview_undo(actor, scope, name or ""))
            plan = _plan_of(looked)
            if plan is None or (only_looks and as_json):
                return print_end(office, looked, as_json, _report_of)
            most = None if whole else _ITEMS
            undoing = office.desk.undoing(actor, plan, looked.order.mark_job)
            if only_looks:
                _print_plan(office, actor, plan, most, undoing, fields=fields)
                return 0
            if not _agreed(office, actor, plan, most, undoing, fields=fields):
                return 0
            name, digest = looked.order.snapshot, digest or plan.digest
        job = office.desk.undo(actor, scope, name or "", digest, newer=newer, confirm=confirm)
        return print_end(office, wait_for(office, actor, job), as_json, _job_of)


def _require_answer(yes: bool, as_json: bool, command: str, does: str, look: str) -> None:
    """Refuse to act where nobody has said yes, and nobody can be asked."""
    if not yes and (as_json or not sys.stdin.isatty()):
        raise InvalidError(
            f"asks before it {does}, and nobody can be asked here.",
            subject=f"keyframe {command}",
            hint=f"Look with {look}, then add --yes; nothing was changed.",
        )


def _agreed(
    office: Office,
    actor: Actor,
    plan: Plan,
    most: int | None = _ITEMS,
    undoing: Undoing | None = None,
    *,
    fields: bool = False,
) -> bool:
    """Shows a plan and asks; whether it is wanted."""
    _print_plan(office, actor, plan, most, undoing, fields=fields)
    taken = undoing.taken if undoing is not None else ""
    if not plan.is_empty and click.confirm(f"{office.messages.plan_button(plan, taken)}?", err=True):
        return True
    click.echo("Nothing was changed.")
    return False


def _plan_of(job: Job) -> Plan | None:
    """The plan that a preview found; None if it did not come to one."""
    if job.state is not JobState.ENDED or job.outcome is None or job.outcome.report is None:
        return None
    return Plan.from_dict(job.outcome.report) if job.outcome.status is OutcomeStatus.DONE else None


def _report_of(job: Job) -> Mapping[str, Any]:
    if job.outcome is None or job.outcome.report is None:
        raise RuntimeError(f"preview {job.id} ended without a plan")
    return job.outcome.report


def _job_of(job: Job) -> Mapping[str, Any]:
    return {"job": job.as_dict()}


def _print_plan(
    office: Office,
    actor: Actor,
    plan: Plan,
    most: int | None,
    undoing: Undoing | None = None,
    *,
    fields: bool = False,
) -> None:
    """What it amounts to, then its items by name, at most so many."""
    for line in plan_lines(office.messages, plan, undoing, datetime.now(UTC)):
        click.echo(line)
    everything = plan.creates.items + plan.replaces.items + plan.deletes.items
    count = 0
    cursor: str | None = ""
    while cursor is not None and (most is None or count < most):
        limit = _PAGE if most is None else min(_PAGE, most - count)
        page = office.desk.plan_items(actor, plan.digest, cursor=cursor, limit=limit, fields=fields)
        for item in page.items:
            word, _ = office.messages.change(item.change)
            title = f"  {office.messages.plain(item.title)}" if item.title else ""
            click.echo(f"  {word:<11} {item.kind:<10} {office.messages.path(item.name)}{title}")
            for line in field_lines(office.messages, item):
                click.echo(line)
        count += len(page.items)
        cursor = page.next
    if everything > count:
        left = office.messages.number(everything - count)
        command = "preview" if undoing is None else "undo --preview"
        click.echo(f"  … and {left} more; keyframe {command} --all names them")

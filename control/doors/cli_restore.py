"""The commands that look at a restore, carry it out and take it back: `preview`, `restore`, `undo`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import click

from ..catalogue import LATEST
from ..errors import InvalidError
from ..model import Actor, Job, JobState, OutcomeStatus, Plan, Scope, Selection, Snapshot
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


def _confirming(command: _Command) -> _Command:
    """Gives a command `confirm`."""
    words = "What a refused call named: what its safety snapshot cannot keep does not matter."
    option = click.option("--confirm", default="", metavar="DIGEST", help=words)
    return option(command)


@click.command("preview")
@scoped
@named
@selecting
@click.option("--all", "whole", is_flag=True, help=f"Name every item, not the first {_ITEMS} only.")
@click.option(
    "--fields", is_flag=True, help="Of what is replaced, name the fields that differ, with old and new value."
)
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
@click.option("--plan", "digest", default="", metavar="DIGEST", help="Only if the plan is still the one of a preview.")
@click.option("--newer", is_flag=True, help="With --plan: what changes until it begins is agreed to as well.")
@_confirming
@beside_options
@click.option("--yes", is_flag=True, help="Do not ask. Needed where nobody can be asked.")
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
    if not yes and (as_json or not sys.stdin.isatty()):
        raise InvalidError(
            "asks before it restores, and nobody can be asked here.",
            subject="keyframe restore",
            hint="Look with keyframe preview, then add --yes; nothing was changed.",
        )
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
@_confirming
@click.option("--yes", is_flag=True, help="Do not ask. Where nobody can be asked, it does not ask anyway.")
@json_option
@click.pass_obj
def undo(opener: Opener, scope: Scope, name: str | None, confirm: str, yes: bool, as_json: bool) -> int:
    """Take a restore back: the latest one, or that of the safety snapshot NAME. An undo can be undone, too.

    On a terminal it shows what it would do, and asks.
    """
    with opener() as office:
        actor = office.login.shell_actor()
        served = None if yes or as_json or not sys.stdin.isatty() else _to_undo(office, actor, scope, name)
        if served is not None and served.undoable is not None:
            mark = served.undoable
            order = office.desk.preview(actor, scope, served.name, mark.selection, mark.people or None)
            looked = wait_for(office, actor, order)
            plan = _plan_of(looked)
            if plan is None:
                return print_end(office, looked, as_json, _job_of)
            if not _agreed(office, actor, plan):
                return 0
            name = served.name
        job = office.desk.undo(actor, scope, name or "", confirm=confirm)
        return print_end(office, wait_for(office, actor, job), as_json, _job_of)


def _to_undo(office: Office, actor: Actor, scope: Scope, name: str | None) -> Snapshot | None:
    """The snapshot that the undo would bring back; None: there is none, and the undo itself says so."""
    if name is not None:
        return office.desk.snapshot(actor, scope, name)
    found: list[tuple[datetime, Snapshot]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = office.desk.snapshots(actor, scope, cursor=cursor, limit=_PAGE)
        found += [(one.undoable.at, one) for one in page.items if one.undoable is not None and one.scope == scope]
        cursor = page.next
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _agreed(office: Office, actor: Actor, plan: Plan) -> bool:
    """Shows a plan and asks; whether it is wanted."""
    _print_plan(office, actor, plan, _ITEMS)
    if not plan.is_empty and click.confirm(f"{office.messages.plan_button(plan)}?", err=True):
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


def _print_plan(office: Office, actor: Actor, plan: Plan, most: int | None, *, fields: bool = False) -> None:
    """What it amounts to, then its items by name, at most so many."""
    for line in plan_lines(office.messages, plan):
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
        click.echo(f"  … and {left} more; keyframe preview --all names them")

"""How the command line shows snapshots and plans: plain text, one fact a line, tables without lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..model import Change, Plan, PlanItem, Reason, Scope, Snapshot, Undoing, Undos, Unfinished

if TYPE_CHECKING:  # loading it takes time that `keyframe up` does not have
    from ..messages import Messages

_HEAD = ("name", "when", "by", "why", "size", "files", "records", "note")
_RIGHT = {4, 5, 6}


def rows_of(
    messages: Messages, snapshots: Sequence[Snapshot], below: Scope, now: datetime, undos: Undos
) -> Iterator[tuple[str, ...]]:
    """The head of the list and a row per snapshot."""
    yield _HEAD
    for one in snapshots:
        marks = [f"[{word}]" for word, _ in messages.badges(one, below)]
        known = one.reason is not Reason.UNKNOWN
        yield (
            one.name,
            messages.when(messages.called(one), now),
            messages.plain(one.made_by),
            messages.why(one, now, undos) if one.is_safety else _REASONS[one.reason],
            *(
                (messages.size(one.bytes), messages.number(one.files), messages.number(one.documents))
                if known
                else ("",) * 3
            ),
            " ".join([*marks, messages.plain(one.note)]).strip(),
        )


_REASONS = {Reason.MANUAL: "by hand", Reason.API: "by script", Reason.UNKNOWN: ""}


def table(rows: Iterator[tuple[str, ...]]) -> str:
    """The rows as columns, numbers to the right."""
    lines = list(rows)
    widths = [max(len(row[column]) for row in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in _RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    )


def describe(messages: Messages, snapshot: Snapshot, below: Scope, now: datetime, undos: Undos) -> str:
    """All that is known of one snapshot."""
    instant = messages.exact(snapshot.instant.utc) if snapshot.instant else ""
    status = snapshot.status.value
    marks = [word for word, _ in messages.badges(snapshot, below) if word != status]
    restored = snapshot.undoable
    facts = (
        ("snapshot", snapshot.name),
        ("of", called(snapshot.scope)),
        ("made", f"{messages.when(snapshot.made_at, now)} ({messages.exact(snapshot.made_at)})"),
        ("by", messages.plain(snapshot.made_by)),
        ("why", messages.why(snapshot, now, undos)),
        ("note", messages.plain(snapshot.note)),
        ("shows", instant),
        ("holds", messages.holds(snapshot) if snapshot.reason is not Reason.UNKNOWN else ""),
        *(("excluded", word) for word in messages.excluded(snapshot.excluded)),
        ("status", ", ".join([status, *marks])),
        ("undo", f"takes back the {'undo' if restored.is_undo else 'restore'} that it served" if restored else ""),
        (
            "deleted",
            messages.when(snapshot.deleted_at, now) + (f" by {snapshot.deleted_by}" if snapshot.deleted_by else "")
            if snapshot.deleted_at
            else "",
        ),
        *(("problem", messages.problem(problem)) for problem in snapshot.problems),
        *(("warning", messages.problem(problem)) for problem in snapshot.warnings),
        *(("confirmed", messages.plain(problem.what)) for problem in snapshot.confirmed),
        *_verified(messages, snapshot, now),
    )
    return "\n".join(f"{name:<9} {value}" for name, value in facts if value)


def _verified(messages: Messages, snapshot: Snapshot, now: datetime) -> Iterator[tuple[str, str]]:
    """What its last verification found, a fact a line."""
    if snapshot.verified is not None:
        words = messages.verified(snapshot.verified, now)
        yield "verified", f"{words.title} {words.text}".strip()
        yield from (("found", messages.problem(problem)) for problem in words.problems)


def called(scope: Scope) -> str:
    """The scope, for a sentence."""
    return "the site" if scope.is_site else f"project {scope.project_id}"


def option_of(scope: Scope) -> str:
    """The option that names a scope."""
    return "--site" if scope.is_site else f"--project {scope.project_id}"


def unfinished_line(one: Unfinished) -> str:
    """That nobody can write somewhere, and what ends that."""
    job = f" (job {one.job})" if one.job else ""
    return (
        f"A restore of {called(one.scope)}{job} has begun to change things and is not finished: nobody can write there "
        "until it is. A worker finishes it by itself; so does keyframe recover."
    )


def plan_lines(messages: Messages, plan: Plan, undoing: Undoing | None, now: datetime) -> Iterator[str]:
    """What a plan amounts to, and of which snapshot it is; what it takes back, if it is that of an undo."""
    if undoing is not None:
        yield f"undo of {messages.taken_back(undoing, now)}"
    yield f"snapshot {plan.snapshot}"
    if not plan.selection.is_empty:
        yield f"  only {messages.chosen(plan.selection, plan.target.is_site)}"
    words = messages.plan_verdict(plan, undoing.taken if undoing is not None else "")
    yield f"{words.title} {words.text}".strip()
    for change, counts in (
        (Change.CREATE, plan.creates),
        (Change.REPLACE, plan.replaces),
        (Change.DELETE, plan.deletes),
    ):
        if counts.items:
            tally = ", ".join(messages.tally(counts))
            yield f"  {messages.change(change)[0]}: {tally} ({messages.size(counts.bytes)})"
    for warning in plan.warnings:
        yield f"  note: {messages.problem(warning)}"
    yield f"  plan {plan.digest}"


def field_lines(messages: Messages, item: PlanItem) -> Iterator[str]:
    """The fields in which an item differs, a line each, as far as they were asked for."""
    if item.fields is None:
        return
    for one in item.fields.named:
        yield f"      {messages.plain(one.path)}: {messages.value(one.old)} → {messages.value(one.new)}"
    if more := item.fields.number - len(item.fields.named):
        yield f"      … and {messages.number(more)} more"
    if item.fields.why:
        yield f"      {item.fields.why}"

"""Messages: words for people, made from jobs, plans, snapshots and problems.

Rules:

- Pure: no clock, no disk, no server; the moment of reading comes in as `now`, the zone with the constructor.
- Things come back, are replaced, are removed, or stay as they are. "Nothing was changed." is said whenever it is true.
- Colour never alone: every tone (good, warn, bad, note) comes with words.

>>> Messages(ZoneInfo("UTC")).reason("no-room")
'the disk has no room'
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from .copy_words import copied, duplicated
from .errors import Problem
from .model import (
    NO_UNDOS,
    Action,
    Job,
    JobState,
    Outcome,
    OutcomeStatus,
    Plan,
    PlanChanges,
    Reason,
    RestoreMark,
    Scope,
    Snapshot,
    Status,
    Undos,
    Verdict,
    found_unchanged,
    taken_back,
)
from .phrases import Words, moment_of
from .plan_words import PlanWords, left_aside
from .verdict_words import VerdictWords

_FRESH = timedelta(days=7)  # a last snapshot older than this is no good news
NOTHING = "Nothing was changed."
_SAID = re.compile(r"(?:[;,](?: and)? nothing was changed(?=\.)| ?\bNothing was changed\.)")


class Messages(VerdictWords, PlanWords):
    """Sentences about snapshots, plans and jobs, in English."""

    # Snapshots

    def holds(self, snapshot: Snapshot) -> str:
        """`41 files, 3 records, 212 MB`."""
        counts = f"{self.count(snapshot.files, 'file')}, {self.count(snapshot.documents, 'record')}"
        return f"{counts}, {self.size(snapshot.bytes)}"

    def badges(self, snapshot: Snapshot, below: Scope) -> tuple[tuple[str, str], ...]:
        """Word and tone of each mark of a snapshot, as listed below the scope `below`."""
        found = [("partial", "warn")] if snapshot.status is Status.PARTIAL else []
        known = self.verdict_badge(snapshot.verified) if snapshot.verified else None
        found += [("damaged", "bad")] if snapshot.is_damaged else [known] if known else []
        found += [("worth a look", "warn")] if snapshot.warnings else []
        found += [("safety", "note")] if snapshot.is_safety else []
        found += [("site snapshot", "note")] if snapshot.scope.is_site and not below.is_site else []
        return tuple(found + ([("pinned", "note")] if snapshot.pinned else []))

    def called(self, snapshot: Snapshot) -> datetime:
        """The time that a snapshot goes by: its name's, which tells two of the same second apart."""
        return moment_of(snapshot.name) or snapshot.made_at

    def why(self, snapshot: Snapshot, now: datetime, undos: Undos = NO_UNDOS) -> str:
        """Why a snapshot was made, for a sentence or a row of a table; empty where nobody knows."""
        words = {Reason.MANUAL: "made by hand", Reason.API: "made by a script (REST)"}
        said = words.get(snapshot.reason, "")
        told = snapshot.told_mark
        if told is None:
            return said if snapshot.reason is not Reason.SAFETY else "made before a restore that changed nothing"
        who = f", by {self.plain(told.by)}" if told.by not in ("", snapshot.made_by) else ""
        last = self._before(told, now) + who + _since(told, undos)
        if snapshot.reason is not Reason.SAFETY:
            return f"{said}{'; ' if said else ''}served as safety snapshot before {last}"
        first = min(snapshot.restores, key=lambda mark: mark.at)
        if first is told:
            return f"made before {last}"
        return f"made before {self._before(first, now)}; served again before {last}"

    def _before(self, mark: RestoreMark, now: datetime) -> str:
        """What a snapshot was the safety snapshot of."""
        if mark.is_undo:
            return "undoing a restore"
        if mark.is_redo:
            return "undoing an undo"
        moment = moment_of(mark.snapshot)
        return f"bringing back the snapshot of {self.when(moment, now)}" if moment else "a restore"

    def served(self, snapshot: Snapshot) -> datetime | None:
        """The moment that `why` speaks of: what was restored when this snapshot served."""
        mark = snapshot.told_mark
        return self.brought_back(mark) if mark else None

    def brought_back(self, mark: RestoreMark) -> datetime | None:
        """The moment of what was restored."""
        return moment_of(mark.snapshot)

    def is_kept(self, snapshot: Snapshot) -> bool:
        """Whether somebody wanted this snapshot: no safety snapshot, unless it was given a note."""
        return snapshot.reason is not Reason.SAFETY or bool(snapshot.note)

    def verdict(
        self, snapshots: Sequence[Snapshot], scope: Scope, exists: bool, now: datetime, jobs: Iterable[Job] = ()
    ) -> Words:
        """What is known of how safe the scope is, from the newest snapshots of its list and its latest jobs."""
        what = "site" if scope.is_site else "project"
        kept = [one for one in snapshots if self.is_kept(one)]
        good = next((one for one in kept if one.status is Status.DONE and not one.is_damaged), None)
        if not exists:
            return Words(f"This {what} was deleted.", "A snapshot below brings it back.", "warn")
        if not snapshots:
            return Words("No snapshot yet.", "The first takes a few seconds; nobody has to stop working.", "warn")
        if not kept:
            text = "Each holds the state before a restore. Make one with a note, to have one of your own."
            return Words("Only safety snapshots.", text, "warn")
        damaged, partial = kept[0].is_damaged, kept[0].status is Status.PARTIAL
        if good is None:
            text = "Each of those below lacks something; what that is stands beside it."
            return Words(f"This {what} has no whole snapshot.", text, "bad" if damaged else "warn")
        ago, seen = self.ago(good.made_at, now), found_unchanged(jobs, good.name)
        tone = "warn" if now - (seen or good.made_at) > _FRESH else "good"
        since = (
            f"{self.ago(seen, now).capitalize()} it held everything." if seen else "What was done since is not in it."
        )
        if damaged:
            bad = f"The snapshot of {self.when(self.called(kept[0]), now)} is damaged: delete it."
            if seen:
                return Words(f"Last whole snapshot {ago}.", f"{since} {bad}", tone, moment=good.made_at)
            text = f"Last whole snapshot {ago}. Make another one; delete the damaged one."
            return Words("The newest snapshot is damaged.", text, "bad", moment=good.made_at)
        if partial:
            return Words("The newest snapshot is partial.", f"Last whole snapshot {ago}.", "warn", moment=good.made_at)
        return Words(f"Last snapshot {ago}.", since, tone, moment=good.made_at)

    def moved(self, name: str, to_trash: bool, now: datetime, *, undo: bool = False) -> Words:
        """That a snapshot went into the trash, or came out of it; `undo`: and with it the undo of a restore."""
        moment = moment_of(name)
        called = f"The snapshot of {self.when(moment, now)}" if moment else "The snapshot"
        if to_trash:
            gone = "With it goes the undo of the restore that it served. Both come back when it is put back."
            text = gone if undo else "It can be put back."
            return Words(f"{called} is in the trash.", text, "warn" if undo else "note", moment=moment)
        text = "The restore that it served can be undone again." if undo else ""
        return Words(f"{called} is back in the list.", text, "good", moment=moment)

    # Jobs

    def job_title(self, job: Job, now: datetime) -> Words:
        """What a queued or running job is about."""
        moment = moment_of(job.order.snapshot)
        called = f"the snapshot of {self.when(moment, now)}" if moment else "a snapshot"
        what = {
            Action.MAKE: "Making a snapshot",
            Action.PREVIEW: f"Looking what undoing the {_taken(job)} would do"
            if _taken(job)
            else f"Comparing with {called}",
            Action.RESTORE: f"Bringing back {called}",
            Action.UNDO: "Undoing an undo" if job.order.redo else "Undoing a restore",
            Action.VERIFY: f"Verifying {called}",
            Action.COPY: f"Copying {called}",
            Action.DUPLICATE: f"Making a new project of {called}",
        }[job.order.act]
        return Words(what, self._standing(job), "warn" if job.interrupted else "note", moment=moment)

    def _standing(self, job: Job) -> str:
        """How far a job is that has not ended, or what it waits for."""
        if job.interrupted and job.turned_back:
            return "It was interrupted. The state before was asked for; it is brought back when a worker runs."
        if job.interrupted:
            return "It was interrupted; it will be finished when a worker runs."
        said = self.progress(job.progress) if job.state is JobState.RUNNING else "Waiting."
        return f"{said}. The state before was asked for." if job.turned_back else said

    def headline(self, job: Job, now: datetime) -> Words:
        """What a job is about while it goes on, how it ended afterwards; the title of its page."""
        return self.job_title(job, now) if job.outcome is None else self.outcome(job, now)

    def state(self, job: Job) -> str:
        """One word for how an ended job ended, or that it waits or runs."""
        if job.outcome is None:
            running = "interrupted" if job.interrupted else "running"
            return running if job.state is JobState.RUNNING else "waiting"
        if job.order.act is Action.VERIFY and job.outcome.status is OutcomeStatus.FAILED and job.outcome.report:
            return "damaged"  # it did what was asked
        return job.outcome.status.value

    def outcome(self, job: Job, now: datetime | None = None) -> Words:
        """How an ended job ended, in words; `now` (default: its end) is the moment of reading.

        Raises
        ------
        RuntimeError: the job has not ended.
        """
        if job.outcome is None:
            raise RuntimeError("outcome of a job that has not ended")
        said = self._ended(job, job.outcome, now)
        if not job.outcome.interrupted:
            return said
        return replace(said, text=f"It was interrupted, and brought to its end afterwards. {said.text}".strip())

    def _ended(self, job: Job, outcome: Outcome, now: datetime | None) -> Words:
        moment = moment_of(job.order.snapshot)
        called = f"the snapshot of {self._told(job, moment, now)}" if moment else "the snapshot"
        status = outcome.status
        if job.order.act is Action.VERIFY and outcome.report:
            return self.checked(Verdict.from_dict(outcome.report), called, moment)
        if status is OutcomeStatus.UNCHANGED:
            return self._unchanged(job, called, moment, now)
        if status not in (OutcomeStatus.DONE, OutcomeStatus.PARTIAL):
            done = self._not_done(job)
            return replace(done, problems=(*done.problems, *outcome.warnings))
        if job.order.act is Action.COPY:
            done = copied(self, job, called, moment)
        elif job.order.act is Action.DUPLICATE:
            done = duplicated(self, job, moment)
        elif job.order.act is Action.MAKE:
            done = self._made(job)
        else:
            done = self._restored(job, called, moment, now)
        along = self.taken_along(PlanChanges.from_dict(outcome.report or {}))
        found = (*outcome.problems, *outcome.warnings)
        return replace(done, tone="warn" if found else done.tone, problems=found or done.problems, along=along)

    def _unchanged(self, job: Job, called: str, restored: datetime | None, now: datetime | None) -> Words:
        if job.order.act is not Action.MAKE:
            plan = _report(job)
            left = left_aside(plan.warnings) if plan else ()
            if left:
                return self._only_left(left)
            text = f"Everything is already as in {called}. {NOTHING}"
            return Words("Nothing to do", text, "good", moment=restored)
        moment = moment_of(job.outcome.snapshot or "") if job.outcome else None
        since = f" of {self.when(moment, now or job.ended_at or job.created_at)}" if moment else ""
        text = f"The newest snapshot{since} already holds everything as it is now, so no other one was stored."
        return Words("Nothing has changed since the last snapshot", text, "good", moment=moment)

    def _only_left(self, left: tuple[Problem, ...]) -> Words:
        """Of a restore that found nothing to do but what it leaves alone."""
        title = f"{NOTHING.removesuffix('.')}: {self.left_words(left)}"
        return Words(title, "Nothing else differs from the snapshot. What is named here was left:", "warn", left)

    def _made(self, job: Job) -> Words:
        if job.outcome and job.outcome.status is OutcomeStatus.PARTIAL:
            found, warnings = self.count(len(job.outcome.problems), "problem"), len(job.outcome.warnings)
            found += f" and {self.count(warnings, 'thing')}" if warnings else ""
            return Words("The snapshot is made, but not whole", f"It is kept as partial; {found} to know of:")
        more = " Worth a look:" if job.outcome and job.outcome.warnings else ""
        return Words("Done: the snapshot is made", f"It can be restored at any time.{more}", "good")

    def _restored(self, job: Job, called: str, moment: datetime | None, now: datetime | None) -> Words:
        plan = _report(job)
        partial = job.outcome is not None and job.outcome.status is OutcomeStatus.PARTIAL
        if job.order.act is Action.PREVIEW:
            would = self.plan_verdict(plan, _taken(job)) if plan else Words("")
            return Words("The plan is ready", f"{would.title} Nothing is changed by looking.", "good", moment=moment)
        if partial and plan and plan.is_empty and job.outcome:
            return self._only_left(job.outcome.problems)
        what = f"{called} is back"
        if job.order.act is Action.UNDO:
            what = "the undo is undone, the restore holds again" if job.order.redo else "the restore is undone"
        title = f"Not all of it: {what}, with exceptions" if partial else f"Done: {what}"
        did = self.plan_done(plan) if plan else ""
        checked = "" if partial else "; every one was compared with the snapshot afterwards"
        text = f"{did}{checked}." if did else f"Everything was already as in {called}. {NOTHING}" if plan else ""
        text += self._served_by(job, now)
        hooks = job.outcome is not None and any(one.code == "hook" for one in job.outcome.warnings)
        if partial:
            text += " What is named here stayed as it was:" if not hooks else " What is named here is worth a look:"
        return Words(title, text.strip(), "good", moment=moment)

    def _told(self, job: Job, moment: datetime, now: datetime | None) -> str:
        """The time of a snapshot in words about a job's end: with seconds where they speak of two of one minute."""
        times = {one for one in (moment_of(job.order.snapshot), _served(job)) if one is not None}
        said = self.when if len({self.when(one, moment) for one in times}) == len(times) else self.exactly
        return said(moment, now or job.ended_at or job.created_at)

    def _served_by(self, job: Job, now: datetime | None) -> str:
        """That no safety snapshot had to be made; to follow other sentences, hence with a space before it."""
        moment = _served(job)
        called = f"The snapshot of {self._told(job, moment, now)}" if moment else ""
        return f" {called} served as safety snapshot, because everything was still as in it." if called else ""

    def _not_done(self, job: Job) -> Words:
        outcome = job.outcome
        if outcome is None or not outcome.problems:
            raise RuntimeError("an outcome without problems was not done")
        first = outcome.problems[0]
        text = self.problem(first)
        if _untouched(job) and "othing was" not in text and "changed nothing" not in text:
            text += f" {NOTHING}"
        calm = outcome.status in (OutcomeStatus.REFUSED, OutcomeStatus.CANCELLED) or first.code in ("stale", "busy")
        changed = (
            self.changed(PlanChanges.from_dict(outcome.report)) if first.code == "stale" and outcome.report else ()
        )
        more = tuple(_unsaid(one) for one in outcome.problems[1:])
        return Words(f"Not done: {self.reason(first.code)}", text, "warn" if calm else "bad", (*more, *changed))

    def may_leave_damage(self, job: Job) -> bool:
        """Whether a restore, or its preview, that was refused for damage may be asked for again without what is
        damaged: not where nothing can be told of the snapshot any more."""
        order, outcome = job.order, job.outcome
        if outcome is None or not outcome.problems or order.act not in (Action.RESTORE, Action.PREVIEW):
            return False
        code, _, damage = outcome.problems[0].code.partition(".")
        known = not damage.startswith(("header", "format", "manifest"))
        return code == "damaged" and known and not order.only_intact and not order.mark_job


def _since(mark: RestoreMark, undos: Undos) -> str:
    """What became of a restore, to follow what it was."""
    if mark.turned_back:
        return "; that was turned back"
    if mark.state != "undone":
        return ""
    return f"; that was undone{', and done again' if undos.is_again(mark) else ' since'}"


def _served(job: Job) -> datetime | None:
    """The moment of the snapshot that served as safety snapshot; None where one was made for it."""
    outcome = job.outcome
    return None if outcome is None or outcome.safety_is_new else moment_of(outcome.safety or "")


def _report(job: Job) -> Plan | None:
    report = job.outcome.report if job.outcome else None
    return Plan.from_dict(report) if report else None


def _unsaid(problem: Problem) -> Problem:
    """A problem that follows another one: that nothing was changed is said already."""
    return replace(problem, hint=_SAID.sub("", problem.hint).strip())


def _taken(job: Job) -> str:
    """What an undo, or its preview, takes back; empty for every other job."""
    return taken_back(is_redo=job.order.redo) if job.order.mark_job else ""


def _untouched(job: Job) -> bool:
    """Whether a job that was not done is known to have left everything as it was.

    A restore makes its safety snapshot before it changes anything, and reports its plan once it carries it out.
    """
    outcome = job.outcome
    if outcome is None or job.order.act not in (Action.RESTORE, Action.UNDO):
        return True
    if outcome.safety is None:
        return True
    return outcome.report is None or outcome.problems[0].code == "stale"

"""The pages of what takes time: make, preview and its plan, restore, undo, verify, and how far a job is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response as AnyResponse

from ..errors import InvalidError, NotFoundError, UnavailableError
from ..model import (
    Action,
    Actor,
    Job,
    JobState,
    OutcomeStatus,
    Plan,
    PlanItem,
    RestoreMark,
    ScopeView,
    Undoing,
)
from ..stores.raw import id_text
from .pages_frame import NAME, Frame, may_undo
from .pages_selection import options_of, selection_of_form
from .patience import waiting

PREVIEW_WAIT = 8.0  # seconds; longer ones get the page of the job
MAKE_WAIT = 3.0
_PAGE = 50
_PARTS_READ = 1000  # items of a plan that are looked through for editions to choose from
_CARRIED_OUT = (OutcomeStatus.DONE, OutcomeStatus.PARTIAL)


class JobPages:
    """The pages of jobs and plans."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.desk = frame.office.desk
        # Waiting holds a thread: at most a quarter of them do, who comes then sees the page of his job at once.
        self._places = threading.BoundedSemaphore(max(1, frame.office.settings.web.threads // 4))

    # Acts

    def make(self, project_id: str | None = None) -> AnyResponse:
        scope, actor = self.frame.scope(project_id), self.frame.actor()
        note, confirm = request.form.get("note", "").strip(), request.form.getlist("confirm")
        job = self.desk.make(actor, scope, note, confirm)
        job = self._wait(actor, job, MAKE_WAIT)
        outcome = job.outcome
        whole = outcome is not None and outcome.status in (OutcomeStatus.DONE, OutcomeStatus.UNCHANGED)
        whole = whole and not (outcome and outcome.warnings)
        if whole and request.form.get("from") == "section":
            return self.frame.go(f"{self.frame.home(scope)[0]}#outcome")
        if whole:
            return self.frame.go(self.frame.list_url(scope, _anchor="outcome"))
        return self._to_job(job)

    def preview(self, name: str, project_id: str | None = None) -> AnyResponse:
        """Find out what a restore would do, then show the plan; nothing is changed."""
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        actor = self.frame.actor()
        only_intact = request.form.get("only_intact") == "yes"
        job = self.desk.preview(actor, scope, name, selection_of_form(request.form), _people(), only_intact=only_intact)
        return self._to_plan(actor, job)

    def preview_undo(self, name: str, project_id: str | None = None) -> AnyResponse:
        """Find out what an undo would do, then show the plan; nothing is changed."""
        scope, name, actor = self.frame.scope(project_id), self.frame.snapshot_name(name), self.frame.actor()
        return self._to_plan(actor, self.desk.preview_undo(actor, scope, name))

    def preview_undo_job(self, job_id: str) -> AnyResponse:
        """The same for the restore that a job carried out."""
        actor = self.frame.actor()
        return self._to_plan(actor, self.desk.preview_undo_job(actor, self.frame.identifier(job_id)))

    def restore(self, name: str, project_id: str | None = None) -> AnyResponse:
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        return self._to_job(self.desk.restore(self.frame.actor(), scope, name, **self._agreement()))

    def copy(self, name: str, project_id: str | None = None) -> AnyResponse:
        """Put a snapshot beside the live site."""
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        into, database = request.form.get("into", "").strip(), request.form.get("database", "").strip()
        return self._to_job(self.desk.copy(self.frame.actor(), scope, name, into=into, database=database))

    def duplicate(self, name: str, project_id: str | None = None) -> AnyResponse:
        """Restore a project as a new one."""
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        new_id = request.form.get("new_id", "").strip()
        return self._to_job(
            self.desk.duplicate(self.frame.actor(), scope, name, selection_of_form(request.form), new_id)
        )

    def undo(self, name: str, project_id: str | None = None) -> AnyResponse:
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        return self._to_job(self.desk.undo(self.frame.actor(), scope, name, **self._agreement()))

    def verify(self, name: str, project_id: str | None = None) -> AnyResponse:
        """Compare a snapshot with what was written; its page tells what that came to."""
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        job = self.desk.verify(self.frame.actor(), scope, name, quick=request.form.get("quick") == "yes")
        return self._to_job(job)

    def undo_job(self, job_id: str) -> AnyResponse:
        job_id = self.frame.identifier(job_id)
        return self._to_job(self.desk.undo_job(self.frame.actor(), job_id, **self._agreement()))

    def turn_back(self, job_id: str) -> AnyResponse:
        return self._to_job(self.desk.turn_job_back(self.frame.actor(), self.frame.identifier(job_id)))

    # What they show

    def plan(self, digest: str) -> str:
        """What a restore would do, or, with `?undo=`, the undo of one; with `?job=`, what was done."""
        actor, digest = self.frame.actor(), self.frame.identifier(digest)
        plan = self.desk.plan(actor, digest)
        cursor = request.args.get("cursor", "")
        page = self.desk.plan_items(actor, digest, cursor=cursor, limit=_PAGE, fields=True)
        job = self._job_of(actor, plan)
        undoing = self._undoing(actor, plan) if job is None else None
        titles, changes = self._editions(actor, plan)
        choosable = plan.target.project_id is not None and job is None and undoing is None
        return self.frame.page(
            "keyframe/plan.html",
            plan=plan,
            page=page,
            cursor=cursor,
            undoing=undoing,
            view=self.desk.scope(actor, plan.target),
            snapshot=self._snapshot(actor, plan),
            job=job,
            refused=bool(plan.conflicts) and not actor.is_admin,
            titles=titles,
            edition_of=self._edition_of(plan),
            parts_of=[(one, titles.get(one, ""), number) for one, number in sorted(changes.items())]
            if choosable
            else (),
            options=options_of(plan.selection),
            named=self.frame.office.settings.scopes.project.editions,
            may_people=job is None and plan.selection.is_empty and self.desk.may(actor, Action.PEOPLE, plan.target),
        )

    def job(self, job_id: str) -> str:
        """How far a job is, or how it ended."""
        actor = self.frame.actor()
        job = self.desk.job(actor, self.frame.identifier(job_id))
        view = self.desk.scope(actor, job.order.scope)
        more = {"job": job, "view": view, **self._end(actor, job, view)}
        if not self.frame.is_fragment():
            return self.frame.page("keyframe/job.html", part="job", **more)
        part = request.args.get("part", "job")
        return self.frame.fragment(
            "keyframe/_job.html", part=part if part in ("section", "page") else "job", swapped=True, **more
        )

    def _end(self, actor: Actor, job: Job, view: ScopeView) -> dict[str, Any]:
        """What can be done after the job: undo it, look at its plan; or why it does not begin."""
        if job.state is not JobState.ENDED or job.outcome is None:
            waiting = job.state is JobState.QUEUED and not self.desk.health().worker
            return {"worker_away": waiting, "undoable": False, "undone": False, "safety_is": "", "plan_digest": ""}
        outcome, undoable, undone, safety_is = job.outcome, False, False, ""
        carried_out = outcome.status in _CARRIED_OUT and job.order.act in (Action.RESTORE, Action.UNDO)
        if carried_out and outcome.safety:
            mark, safety_is = self._mark(actor, job, outcome.safety)
            undone = mark is not None and mark.state == "undone"
            undoable = mark is not None and mark.state == "done" and may_undo(mark, view)
        digest = ""
        stopped = bool(outcome.problems) and outcome.problems[0].code in ("stale", "unsafe", "refused")
        if outcome.report and (carried_out or stopped or job.order.act is Action.PREVIEW):
            digest = self._known(actor, str(outcome.report["digest"]))
        return {
            "worker_away": False,
            "undoable": undoable,
            "undone": undone,
            "safety_is": safety_is,
            "plan_digest": digest,
        }

    def _mark(self, actor: Actor, job: Job, safety: str) -> tuple[RestoreMark | None, str]:
        """What the safety snapshot tells of the job, and where it is: `here`, in the `trash`, or `gone`."""
        for place in ("here", "trash"):
            with suppress(NotFoundError):
                restores = self.desk.snapshot(actor, job.order.scope, safety, trash=place == "trash").restores
                mark = next((one for one in restores if one.job == job.id), None)
                return (mark if place == "here" or mark is None or mark.state == "undone" else None), place
        return None, "gone"

    def _known(self, actor: Actor, digest: str) -> str:
        try:
            return self.desk.plan(actor, digest).digest
        except NotFoundError:  # plans are kept for a day
            return ""

    def _job_of(self, actor: Actor, plan: Plan) -> Job | None:
        """The job named by `?job=`, if it carried out this plan."""
        named = request.args.get("job", "")
        if not named:
            return None
        job = self.desk.job(actor, self.frame.identifier(named))
        outcome = job.outcome
        same = outcome is not None and outcome.status in _CARRIED_OUT and outcome.report is not None
        return job if same and outcome and outcome.report and outcome.report["digest"] == plan.digest else None

    def _undoing(self, actor: Actor, plan: Plan) -> Undoing | None:
        """The restore that `?undo=` names by its job, if this plan takes it back."""
        named = request.args.get("undo", "")
        return self.desk.undoing(actor, plan, self.frame.identifier(named)) if named else None

    def _snapshot(self, actor: Actor, plan: Plan) -> Any:
        try:
            return self.desk.snapshot(actor, plan.target, plan.snapshot)
        except NotFoundError:  # deleted since the preview
            return None

    def _edition_of(self, plan: Plan) -> Callable[[PlanItem], str]:
        """Which edition an item of this plan belongs to; empty: none."""
        settings = self.frame.office.settings.scopes.project.editions
        return partial(_edition, settings.folder, settings.collection, plan.target.is_site)

    def _editions(self, actor: Actor, plan: Plan) -> tuple[dict[str, str], Counter[str]]:
        """Titles and numbers of changes of the editions that a plan touches, by id.

        A title is that of the snapshot where the plan has the edition's record, else the one that it has now.
        """
        edition_of = self._edition_of(plan)
        titles, changes = self._titles(actor, plan), Counter[str]()
        cursor: str | None = ""
        read = 0
        while cursor is not None and read < _PARTS_READ:
            page = self.desk.plan_items(actor, plan.digest, cursor=cursor, limit=200)
            for item in page.items:
                edition = edition_of(item)
                if edition:
                    titles[edition] = (item.kind == "record" and item.title) or titles.get(edition, "")
                    changes[edition] += 1
            cursor, read = page.next, read + len(page.items)
        return titles, changes

    def _titles(self, actor: Actor, plan: Plan) -> dict[str, str]:
        """The titles of the editions that are there now."""
        try:
            titles = self.desk.edition_titles(actor, plan.target)
            return {one: title for one, title in titles.items() if title != one}
        except UnavailableError:  # a plan can be looked at all the same
            return {}

    def _wait(self, actor: Actor, job: Job, seconds: float) -> Job:
        if not self._places.acquire(blocking=False):
            return job
        try:
            return waiting(self.desk.wait, actor, job.id, seconds)
        except UnavailableError:  # the job was accepted; its page will tell
            return job
        finally:
            self._places.release()

    def _agreement(self) -> dict[str, Any]:
        """What a form says yes to, as the desk takes it."""
        digest = request.form.get("plan", "")
        if not digest:
            raise InvalidError("The form names no plan.", hint="Look at what it would do first.")
        newer, confirm = request.form.get("accept") == "newer", request.form.get("confirm", "")
        return {"plan": self.frame.identifier(digest), "newer": newer, "confirm": confirm}

    def _to_plan(self, actor: Actor, job: Job) -> AnyResponse:
        """To the plan of a preview, where that comes soon; else to its job."""
        job = self._wait(actor, job, PREVIEW_WAIT)
        done = job.outcome is not None and job.outcome.status is OutcomeStatus.DONE
        if done and job.outcome is not None and job.outcome.report:
            undo = job.order.mark_job or None
            return self.frame.go(url_for(f"{NAME}.plan", digest=job.outcome.report["digest"], undo=undo))
        return self._to_job(job)

    def _to_job(self, job: Job) -> AnyResponse:
        return self.frame.go(url_for(f"{NAME}.job", job_id=job.id))


def _people() -> bool | None:
    """Whether people shall come along, where the form asks; None: as the desk finds right."""
    said = request.form.getlist("people")
    return "yes" in said if said else None


def _edition(folder: str, collection: str, is_site: bool, item: PlanItem) -> str:
    """The edition that an item of a plan belongs to; empty: none."""
    if item.kind == "record":
        return id_text(bytes.fromhex(item.detail["id"])) if item.detail["collection"] == collection else ""
    name = item.name
    if is_site:
        top, _, name = name.partition("/")
        _, _, name = name.partition("/")
        if top != "project":
            return ""
    head, _, rest = name.partition("/")
    return rest.partition("/")[0] if head == folder else ""

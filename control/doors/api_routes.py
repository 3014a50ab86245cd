"""The REST routes: parse, one call to the desk, answer. `docs/acts.md` has the table.

The same views serve `/site/snapshots` and `/projects/<id>/snapshots`; only the scope differs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, url_for
from marshmallow import Schema

from ..errors import NotFoundError, Problem, no_such_job
from ..model import Action, Actor, Job, OutcomeStatus, Scope, Selection
from .api_answers import (
    JobAnswer,
    JobSchema,
    MadeAnswer,
    PlanItemsSchema,
    PlanSchema,
    ScopesSchema,
    SnapshotSchema,
    SnapshotsSchema,
)
from .api_door import (
    METHODS,
    ApiBlueprint,
    Door,
    ScopedDoor,
    View,
    answer,
    answers,
    may_wait,
    nothing_to_say,
    office,
    state,
    takes_body,
    takes_query,
)
from .api_schemas import (
    AgreedSchema,
    CopySchema,
    DuplicateSchema,
    MakeSchema,
    NoteSchema,
    NothingSchema,
    PlanQuery,
    PreviewSchema,
    RestoreSchema,
    SnapshotsQuery,
    VerifySchema,
)
from .api_selection import selection_of
from .api_waits import Waited
from .problems import answer_problem

PREVIEW_WAIT = 10  # seconds, unless the request says otherwise
NAME = "keyframe_api"

blueprint = ApiBlueprint(NAME, __name__, description="Snapshots of the site and of projects")


def _where(endpoint: str, **values: Any) -> str:
    return url_for(f"{NAME}.{endpoint}", **values)


def _snapshot_url(scope: Scope, name: str) -> str:
    if scope.project_id is None:
        return _where("site_snapshot", name=name)
    return _where("project_snapshot", project_id=scope.project_id, name=name)


def _accepted(waited: Waited) -> Response:
    headers = {"Location": _where("job", job_id=waited.job.id), **waited.headers}
    return answer({"job": waited.job.as_dict()}, 202, headers)


def _bad_end(waited: Waited) -> Response | None:
    """The problem document of a job that ended without doing what was asked; None if it did."""
    outcome = waited.job.outcome
    bad = (OutcomeStatus.FAILED, OutcomeStatus.REFUSED, OutcomeStatus.CANCELLED)
    if outcome is None or outcome.status not in bad:
        return None
    problem: Problem = outcome.problems[0]
    headers = {"Location": _where("job", job_id=waited.job.id), **waited.headers}
    plan = outcome.report if problem.code in ("stale", "unsafe", "refused") else None
    return answer_problem(problem, headers=headers, job=waited.job.as_dict(), plan=plan)


def _carried_out(actor: Actor, job: Job) -> Response:
    """What restore and undo answer: 202, or how the job ended if that was waited for."""
    waited = state().waits.wait(office().desk, actor, job)
    if not waited.ended:
        return _accepted(waited)
    return _bad_end(waited) or answer({"job": waited.job.as_dict()}, 200, waited.headers)


def orders(schema: type[Schema], more: str = "") -> Callable[[View], View]:
    """The view orders a job that one may wait for; its first argument is the body, as `schema` let it through."""

    def documented(view: View) -> View:
        done = answers(200, JobAnswer, f"With Prefer: wait, and done in time{more}")
        accepted = answers(202, JobAnswer, "The job was accepted")
        return may_wait(takes_body(schema)(accepted(done(view))))

    return documented


def _looked_at(actor: Actor, job: Job) -> Response:
    """What a preview answers: the plan, or 202 where it takes longer than one waits for it."""
    waited = state().waits.wait(office().desk, actor, job, PREVIEW_WAIT)
    if not waited.ended:
        return _accepted(waited)
    bad = _bad_end(waited)
    if bad is not None:
        return bad
    if waited.job.outcome is None or waited.job.outcome.report is None:
        raise RuntimeError(f"preview {waited.job.id} ended without a plan")
    return answer(waited.job.outcome.report, 200, waited.headers)


def looks(schema: type[Schema]) -> Callable[[View], View]:
    """The view orders a plan; its first argument is the body, as `schema` let it through."""

    def documented(view: View) -> View:
        accepted = answers(202, JobAnswer, "Not found in time")
        done = answers(200, PlanSchema, "Found in time; Prefer: wait says how long, 10 seconds otherwise")
        return may_wait(takes_body(schema)(done(accepted(view))))

    return documented


def _agreement(body: dict[str, Any]) -> dict[str, Any]:
    """What a body says yes to, as the desk takes it."""
    return {"plan": body["plan"] or "", "newer": body["accept"] == "newer", "confirm": body["confirm"] or ""}


class Scopes(Door):
    @answers(200, ScopesSchema)
    def get(self, actor: Actor) -> Response:
        """The site and the projects that the caller may see, and what he may do there."""
        order = list(Action)
        views = [
            {
                **view.scope.as_dict(),
                "title": view.title,
                "exists": view.exists,
                "acts": [act.value for act in sorted(view.acts, key=order.index)],
            }
            for view in office().desk.scopes(actor)
        ]
        return answer({"scopes": views})


class Snapshots(ScopedDoor):
    @takes_query(SnapshotsQuery)
    @answers(200, SnapshotsSchema)
    def get(self, query: dict[str, Any], actor: Actor, scope: Scope) -> Response:
        """The snapshots, newest first."""
        page = office().desk.snapshots(actor, scope, **query)
        unfinished = [one.as_dict() for one in office().desk.unfinished(actor, scope)]
        shown = [snapshot.as_dict() for snapshot in page.items]
        return answer({"snapshots": shown, "next": page.next, "unfinished": unfinished})

    @may_wait
    @takes_body(MakeSchema)
    @answers(202, JobAnswer, "The job was accepted")
    @answers(201, MadeAnswer, "With Prefer: wait, and made in time")
    @answers(200, MadeAnswer, "With Prefer: wait: nothing changed since this one, the newest")
    def post(self, body: dict[str, Any], actor: Actor, scope: Scope) -> Response:
        """Make a snapshot."""
        desk = office().desk
        waited = state().waits.wait(desk, actor, desk.make(actor, scope, **body))
        outcome = waited.job.outcome
        if not waited.ended or outcome is None:
            return _accepted(waited)
        bad = _bad_end(waited)
        if bad is not None:
            return bad
        snapshot = desk.snapshot(actor, scope, outcome.snapshot or "latest")
        headers = {"Location": _snapshot_url(scope, snapshot.name), **waited.headers}
        status = 200 if outcome.status is OutcomeStatus.UNCHANGED else 201
        return answer({"job": waited.job.as_dict(), "snapshot": snapshot.as_dict()}, status, headers)


class OneSnapshot(ScopedDoor):
    @answers(200, SnapshotSchema)
    def get(self, actor: Actor, scope: Scope, name: str) -> Response:
        """One snapshot; `latest` is the newest."""
        return answer(office().desk.snapshot(actor, scope, name).as_dict())

    @takes_body(NoteSchema)
    @answers(200, SnapshotSchema)
    def patch(self, body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """Change its note."""
        return answer(office().desk.note(actor, scope, name, body["note"]).as_dict())

    @answers(204, None, "It lies in the trash")
    def delete(self, actor: Actor, scope: Scope, name: str) -> Response:
        """Move it to the trash."""
        office().desk.delete(actor, scope, name)
        return nothing_to_say()


class Preview(ScopedDoor):
    @looks(PreviewSchema)
    def post(self, body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """What a restore would create, replace and delete; nothing is changed."""
        selection = selection_of(body["selection"] or {})
        people, only_intact = body["people"], body["only_intact"]
        return _looked_at(actor, office().desk.preview(actor, scope, name, selection, people, only_intact=only_intact))


class Restore(ScopedDoor):
    @orders(RestoreSchema)
    def post(self, body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """Bring the snapshot back, as the plan that was agreed to says."""
        selection: Selection | None = None if body["selection"] is None else selection_of(body["selection"])
        people, only_intact = body["people"], body["only_intact"]
        job = office().desk.restore(actor, scope, name, selection, people, only_intact=only_intact, **_agreement(body))
        return _carried_out(actor, job)


class Copy(ScopedDoor):
    @orders(CopySchema, "; the job's report says where it is")
    def post(self, body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """Copy it, or a part of it, beside the live site: into a new folder, a new database, or both."""
        selection = selection_of(body["selection"] or {})
        job = office().desk.copy(actor, scope, name, selection, body["into"], body["database"])
        return _carried_out(actor, job)


class Duplicate(ScopedDoor):
    @orders(DuplicateSchema, "; the job's report has the new project's id")
    def post(self, body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """Restore a project as a new one, under a new id; the one it is made of stays as it is."""
        selection = selection_of(body["selection"] or {})
        return _carried_out(actor, office().desk.duplicate(actor, scope, name, selection, body["new_id"]))


class PreviewUndo(ScopedDoor):
    @looks(NothingSchema)
    def post(self, _body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """What an undo of the latest restore that this safety snapshot served would do; nothing is changed."""
        return _looked_at(actor, office().desk.preview_undo(actor, scope, name))


class Undo(ScopedDoor):
    @orders(AgreedSchema)
    def post(self, body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """Undo the latest restore that this safety snapshot served and that is not undone yet."""
        return _carried_out(actor, office().desk.undo(actor, scope, name, **_agreement(body)))


class Verify(ScopedDoor):
    @may_wait
    @takes_body(VerifySchema)
    @answers(202, JobAnswer, "The job was accepted")
    @answers(200, JobAnswer, "With Prefer: wait, and nothing is damaged; the job's report is the verdict")
    def post(self, body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """Compare all of it with what was written; damage is 422 with the code of the first that was found."""
        return _carried_out(actor, office().desk.verify(actor, scope, name, quick=body["quick"]))


class Undelete(ScopedDoor):
    @takes_body(NothingSchema)
    @answers(200, SnapshotSchema)
    def post(self, _body: dict[str, Any], actor: Actor, scope: Scope, name: str) -> Response:
        """Take it out of the trash."""
        return answer(office().desk.undelete(actor, scope, name).as_dict())


class PlanItems(Door):
    @takes_query(PlanQuery)
    @answers(200, PlanItemsSchema)
    def get(self, query: dict[str, Any], actor: Actor, digest: str) -> Response:
        """What a plan would change, by name; kept for 24 hours."""
        if not (digest.isascii() and digest.isalnum() and len(digest) <= 128):
            raise NotFoundError("There is no such plan.", hint="Plans are kept for 24 hours; make a new preview.")
        page = office().desk.plan_items(actor, digest, **query)
        return answer({"items": [item.as_dict() for item in page.items], "next": page.next})


class OneJob(Door):
    @answers(200, JobSchema)
    def get(self, actor: Actor, job_id: str) -> Response:
        """How far a job is, or how it ended."""
        return answer(office().desk.job(actor, _job_id(job_id)).as_dict())


class PreviewUndoJob(Door):
    @looks(NothingSchema)
    def post(self, _body: dict[str, Any], actor: Actor, job_id: str) -> Response:
        """What an undo of that restore would do; nothing is changed."""
        return _looked_at(actor, office().desk.preview_undo_job(actor, _job_id(job_id)))


class UndoJob(Door):
    @orders(AgreedSchema)
    def post(self, body: dict[str, Any], actor: Actor, job_id: str) -> Response:
        """Undo that restore."""
        return _carried_out(actor, office().desk.undo_job(actor, _job_id(job_id), **_agreement(body)))


class TurnBack(Door):
    @takes_body(NothingSchema)
    @answers(202, JobAnswer, "The state before will be live when the job has ended")
    def post(self, _body: dict[str, Any], actor: Actor, job_id: str) -> Response:
        """Bring back the state before, where a restore has begun and cannot be finished."""
        job = office().desk.turn_job_back(actor, _job_id(job_id))
        return answer({"job": job.as_dict()}, 202, {"Location": _where("job", job_id=job.id)})


def _job_id(text: str) -> str:
    if not (text.isascii() and text.replace("-", "").isalnum() and len(text) <= 64):
        raise no_such_job()
    return text


def _route(path: str, view: type[Door], endpoint: str, tag: str) -> None:
    blueprint.add_url_rule(path, endpoint, view, tags=[tag], methods=METHODS)


_route("/scopes", Scopes, "scopes", "scopes")
_route("/jobs/<job_id>", OneJob, "job", "jobs")
_route("/jobs/<job_id>/undo", UndoJob, "undo_job", "jobs")
_route("/jobs/<job_id>/undo/preview", PreviewUndoJob, "preview_undo_job", "jobs")
_route("/jobs/<job_id>/back", TurnBack, "turn_back", "jobs")
_route("/plans/<digest>", PlanItems, "plan", "plans")
for _scope, _path in (("site", "/site/snapshots"), ("project", "/projects/<project_id>/snapshots")):
    _route(_path, Snapshots, f"{_scope}_snapshots", _scope)
    _route(f"{_path}/<name>", OneSnapshot, f"{_scope}_snapshot", _scope)
    _route(f"{_path}/<name>/preview", Preview, f"{_scope}_preview", _scope)
    _route(f"{_path}/<name>/restore", Restore, f"{_scope}_restore", _scope)
    _route(f"{_path}/<name>/copy", Copy, f"{_scope}_copy", _scope)
    _route(f"{_path}/<name>/duplicate", Duplicate, f"{_scope}_duplicate", _scope)
    _route(f"{_path}/<name>/undo", Undo, f"{_scope}_undo", _scope)
    _route(f"{_path}/<name>/undo/preview", PreviewUndo, f"{_scope}_preview_undo", _scope)
    _route(f"{_path}/<name>/verify", Verify, f"{_scope}_verify", _scope)
    _route(f"{_path}/<name>/undelete", Undelete, f"{_scope}_undelete", _scope)

"""The pages that show snapshots: the list of a scope, one snapshot, the trash; the section for a host's own page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

import structlog
from flask import redirect, request, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response as AnyResponse

from ..catalogue import LATEST
from ..errors import NotFoundError, RefusedError, SignInError, UnavailableError
from ..model import Action, Actor, Job, JobState, Page, Reason, Scope, ScopeView, Snapshot, Undos, is_snapshot_name
from ..phrases import Words
from .pages_frame import NAME, Frame
from .writes import is_own

log = structlog.get_logger(__name__)
LONGEST_NOTE = 500
_JOBS = 20  # the latest of a scope, to tell from how it is
_RECENT = timedelta(hours=1)  # so long the list says how the last job ended
_LOOKED_AT = 1000  # snapshots after a page without one that somebody wanted


@dataclass(frozen=True)
class Work:
    """What goes on in a scope: jobs that wait or run, the last one if it ended a short time ago; the latest; and
    when the whole site was restored, if that was a short time ago and later than the last one."""

    active: tuple[Job, ...] = ()
    last: Job | None = None
    jobs: tuple[Job, ...] = ()
    site_restored: datetime | None = None


@dataclass(frozen=True)
class Notice:
    """What an act just did, and the snapshot that can be put back, if one was deleted."""

    words: Words
    deleted: str = ""


class ListPages:
    """The pages that show what there is, and the acts that need no job."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.desk = frame.office.desk

    def index(self) -> str | AnyResponse:
        """The scopes that the person may see; if it is only one, its list."""
        views = self.desk.scopes(self.frame.actor())
        if len(views) == 1:
            return self.frame.go(self.frame.list_url(views[0].scope))
        return self.frame.page("keyframe/scopes.html", views=views)

    def list(self, project_id: str | None = None) -> str:
        """The snapshots of a scope, newest first."""
        scope = self.frame.scope(project_id)
        actor = self.frame.actor()
        cursor = request.args.get("cursor", "")
        if self.frame.is_fragment():
            part = "section" if request.args.get("part") == "section" else "page"
            return self.frame.fragment("keyframe/_section.html", **self._section(actor, scope, part, cursor))
        more = self._section(actor, scope, "page", cursor)
        others = self.desk.scopes(actor) if scope.is_site else ()
        projects = [view for view in others if not view.scope.is_site]
        return self.frame.page("keyframe/list.html", **more, projects=projects, notice=self._notice(actor, scope))

    def section(self, project_id: str) -> Markup:
        """The list for a host's own page of a project; empty for who may not see it. Never raises."""
        try:
            actor = self.frame.actor()
            more = self._section(actor, Scope.project(str(project_id)), "section", "")
            return self.frame.fragment("keyframe/_host.html", **more, notice=self._notice(actor, more["view"].scope))
        except (SignInError, NotFoundError, RefusedError, ValueError):
            return Markup("")
        except Exception as error:
            if not isinstance(error, UnavailableError):
                log.error("section.failed", project_id=str(project_id), exc_info=error)
            return self.frame.fragment("keyframe/_away.html")

    def mixture(self, project_id: str | None = None) -> Markup:
        """For a host's own pages: that a restore is changing what they show; empty where none is. Never raises."""
        if request.endpoint is None or is_own(request.endpoint):  # ours say it themselves, with more
            return Markup("")
        try:
            scope = Scope(str(project_id) if project_id is not None else None)
            is_changing = bool(self.frame.office.intents.touching(scope))
            return self.frame.fragment("keyframe/_mixture.html") if is_changing else Markup("")
        except Exception as error:
            log.error("mixture.failed", project_id=str(project_id), exc_info=error)
            return Markup("")

    def snapshot(self, name: str, project_id: str | None = None) -> str | AnyResponse:
        """One snapshot; `latest` leads to the one that it means now."""
        scope, actor = self.frame.scope(project_id), self.frame.actor()
        if name == LATEST:
            newest = self.desk.snapshot(actor, scope, LATEST).name
            return redirect(url_for(f"{NAME}.snapshot", project_id=project_id, name=newest))
        name = self.frame.snapshot_name(name)
        view = self.desk.scope(actor, scope)
        found = self.desk.snapshot(actor, scope, name)
        titles = {}
        if found.scope.is_site and scope.is_site:
            titles = {one.scope.project_id: one.title for one in self.desk.scopes(actor)}
        return self.frame.page(
            "keyframe/snapshot.html",
            view=view,
            snapshot=found,
            own=found.scope == scope,
            titles=titles,
            undos=Undos.of(self.desk.snapshots(actor, scope, limit=_LOOKED_AT).items),
            copies_into=self.desk.copies_into(),
            left_out=self.frame.office.settings.scopes.site.leave,
            longest_note=LONGEST_NOTE,
            saved=request.args.get("done") == "noted",
        )

    def trash(self, project_id: str | None = None) -> str:
        """The snapshots that were deleted."""
        scope = self.frame.scope(project_id)
        actor = self.frame.actor()
        view = self.desk.scope(actor, scope)
        page = self.desk.snapshots(actor, scope, trash=True, cursor=request.args.get("cursor", ""))
        return self.frame.page("keyframe/trash.html", view=view, page=page, undos=Undos.of(page.items))

    def note(self, name: str, project_id: str | None = None) -> AnyResponse:
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        self.desk.note(self.frame.actor(), scope, name, request.form.get("note", "").strip())
        return self.frame.go(
            url_for(f"{NAME}.snapshot", project_id=project_id, name=name, done="noted", _anchor="note")
        )

    def delete(self, name: str, project_id: str | None = None) -> AnyResponse:
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        self.desk.delete(self.frame.actor(), scope, name)
        return self.frame.go(self.frame.after(scope, "deleted", name))

    def undelete(self, name: str, project_id: str | None = None) -> AnyResponse:
        scope, name = self.frame.scope(project_id), self.frame.snapshot_name(name)
        self.desk.undelete(self.frame.actor(), scope, name)
        return self.frame.go(self.frame.after(scope, "undeleted", name))

    def _section(self, actor: Actor, scope: Scope, part: str, cursor: str) -> dict[str, Any]:
        view: ScopeView = self.desk.scope(actor, scope)
        page = self.desk.snapshots(actor, scope, cursor=cursor)
        now, words = self.frame.now(), self.frame.office.messages
        work = self._work(actor, scope, now)
        days = [
            (words.called(found[0]), tuple(found))
            for _, each in groupby(page.items, key=lambda one: words.day(words.called(one), now))
            if (found := list(each))
        ]
        newest = self._newest(actor, scope, page)
        made = next((one for one in newest if one.scope == scope and one.reason is not Reason.SAFETY), None)
        return {
            "view": view,
            "part": part,
            "lost": made.shrunk if made is not None and not cursor else (),
            "days": days,
            "undos": Undos.of(page.items),
            "minutes": Counter(words.called(one).replace(second=0) for one in page.items),
            "next_cursor": page.next,
            "cursor": cursor,
            "verdict": None if cursor else words.verdict(newest, scope, view.exists, now, work.jobs),
            "work": work,
            "longest_note": LONGEST_NOTE,
            "restorable": {Action.PREVIEW, Action.RESTORE} <= view.acts,
        }

    def _newest(self, actor: Actor, scope: Scope, page: Page[Snapshot]) -> Sequence[Snapshot]:
        """This page, with what follows where it holds safety snapshots only."""
        if page.next is None or any(map(self.frame.office.messages.is_kept, page.items)):
            return page.items
        return (*page.items, *self.desk.snapshots(actor, scope, cursor=page.next, limit=_LOOKED_AT).items)

    def _work(self, actor: Actor, scope: Scope, now: datetime) -> Work:
        try:
            jobs = self.desk.jobs(actor, scope, _JOBS)
        except UnavailableError:  # the list of what is stored needs no database
            return Work()
        site_restored = None if scope.is_site else self.desk.site_restored_at(actor, scope)
        active = tuple(job for job in jobs if job.state is not JobState.ENDED)
        last = next((job for job in jobs if job.ended_at and job.order.act is not Action.PREVIEW), None)
        recent = last is not None and last.ended_at is not None and now - last.ended_at < _RECENT
        shown = last if recent and not active else None
        later = site_restored is not None and now - site_restored < _RECENT
        if shown is not None and shown.ended_at is not None and site_restored is not None:
            later = later and site_restored > shown.ended_at
        return Work(active, shown, jobs, site_restored if later else None)

    def _notice(self, actor: Actor, scope: Scope) -> Notice | None:
        """What the act that led here did, as the address says; the words are ours, the name is checked."""
        name, done = request.args.get("of", ""), request.args.get("done")
        if not is_snapshot_name(name) or done not in ("deleted", "undeleted"):
            return None
        to_trash, undo = done == "deleted", False
        with suppress(NotFoundError):  # somebody has moved it on since
            undo = self.desk.snapshot(actor, scope, name, trash=to_trash).undoable is not None
        words = self.frame.office.messages.moved(name, to_trash, self.frame.now(), undo=undo)
        return Notice(words, name if to_trash else "")

"""The pages of the extension, below `/snapshots`, and the section for a host's own project page.

Rules:

- Parse, one call to the desk, render; a GET changes nothing, every change is a POST with a CSRF token.
- What a person may not do is absent from the page; whether he may is the desk's answer, here and when he asks.
- All HTML is in `templates/keyframe`; every page works without JavaScript.

>>> app.register_blueprint(pages(office))        # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from flask import Blueprint

from ..resources import resource_folder
from .office import Office
from .pages_frame import NAME, OWN_LAYOUT, Frame, secure
from .pages_jobs import JobPages
from .pages_lists import ListPages
from .pages_tokens import TokenPages
from .patience import bounded_view

PREFIX = "/snapshots"


def pages(office: Office, layout: str = OWN_LAYOUT, project_page: Callable[[str], str] | None = None) -> Blueprint:
    """The blueprint `keyframe`, with the Jinja globals `keyframe_section(project_id)` and `keyframe_notice(…)`.

    Parameters
    ----------
    layout: the host's template that each page extends; it has the blocks `title` and `main`.
    project_page: the URL of the host's page of a project; "back" and the breadcrumbs lead there.
    """
    blueprint = Blueprint(
        NAME,
        __name__,
        url_prefix=PREFIX,
        template_folder=str(resource_folder("templates")),
        static_folder=str(resource_folder("static")),
        static_url_path="/static",
    )
    frame = Frame(office, layout, project_page)
    lists = ListPages(frame)
    seconds = office.settings.mongo.timeout
    _routes(blueprint, lists, JobPages(frame), TokenPages(frame), seconds)
    section = bounded_view(seconds, lists.section)
    blueprint.before_request(bounded_view(seconds, frame.guard))
    blueprint.after_request(secure)
    blueprint.register_error_handler(Exception, frame.failed)
    more = {"keyframe_section": section, "keyframe_notice": lists.mixture}
    blueprint.record(lambda state: state.app.jinja_env.globals.update(more))
    return blueprint


def _routes(blueprint: Blueprint, lists: ListPages, jobs: JobPages, tokens: TokenPages, seconds: float) -> None:
    # A view has several addresses, and Flask knows it by its identity: it is wrapped once.
    bounded = cache(partial(bounded_view, seconds))

    def get(path: str, view: Callable[..., Any], endpoint: str | None = None) -> None:
        blueprint.add_url_rule(path, endpoint or view.__name__, bounded(view), methods=["GET"])

    def post(path: str, view: Callable[..., Any]) -> None:
        blueprint.add_url_rule(path, view.__name__, bounded(view), methods=["POST"])

    get("/", lists.index)
    get("/jobs/<job_id>", jobs.job)
    post("/jobs/<job_id>/undo", jobs.undo_job)
    post("/jobs/<job_id>/undo/preview", jobs.preview_undo_job)
    post("/jobs/<job_id>/back", jobs.turn_back)
    get("/plans/<digest>", jobs.plan)
    get("/me", tokens.me)
    post("/me/tokens", tokens.create)
    post("/me/tokens/<token_id>/revoke", tokens.revoke)
    for scope in ("/site", "/project/<project_id>"):
        get(scope, lists.list)
        get(f"{scope}/trash", lists.trash)
        post(f"{scope}/make", jobs.make)
        get(f"{scope}/<name>", lists.snapshot)
        post(f"{scope}/<name>/note", lists.note)
        post(f"{scope}/<name>/preview", jobs.preview)
        post(f"{scope}/<name>/restore", jobs.restore)
        post(f"{scope}/<name>/copy", jobs.copy)
        post(f"{scope}/<name>/duplicate", jobs.duplicate)
        post(f"{scope}/<name>/undo", jobs.undo)
        post(f"{scope}/<name>/undo/preview", jobs.preview_undo)
        post(f"{scope}/<name>/verify", jobs.verify)
        post(f"{scope}/<name>/delete", lists.delete)
        post(f"{scope}/<name>/undelete", lists.undelete)

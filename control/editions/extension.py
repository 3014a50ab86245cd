"""Puts the editions site into a Flask application."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Blueprint, Flask, Response, current_app, request, url_for
from flask_login import LoginManager
from flask_wtf.csrf import generate_csrf
from pymongo.database import Database
from pymongo.errors import PyMongoError

from ..settings import Settings
from . import edition_pages, file_pages, metadata, project_pages, signin, words
from .answers import check_form, register_errors, secure
from .context import NAME, Site, site, viewer_or_nobody
from .records import Records
from .sessions import Sessions
from .sizes import Sizes

LAYOUT = "editions/layout.html"
# Signing in and out writes nothing that a snapshot holds, and must work while a snapshot or a restore holds its gate.
EXEMPT = frozenset(f"{NAME}.{view}" for view in ("sign_in", "sign_in_sample", "sign_out"))

LARGEST_REQUEST_BYTES = 1_000_000_000
_LARGEST_FORM_BYTES = 4_000_000


class EditionsSite:
    """The site as a Flask extension.

    Parameters
    ----------
    settings: run mode and address (who may sign in by a button), the working directory, the time zone.
    database: the application's database.
    """

    def __init__(self, settings: Settings, database: Database[dict[str, Any]]) -> None:
        sizes = Sizes(database, settings.working)
        self._site = Site(settings, Records(database), Sessions(database), sizes)
        self._zone = ZoneInfo(settings.time_zone)

    def init_app(self, app: Flask) -> None:
        """Register pages, sign-in, headers and error pages with `app`, which finds our templates and static files."""
        app.extensions[NAME] = self._site
        app.config.update(
            MAX_CONTENT_LENGTH=LARGEST_REQUEST_BYTES,
            MAX_FORM_MEMORY_SIZE=_LARGEST_FORM_BYTES,
            SESSION_COOKIE_HTTPONLY=True,
            SESSION_COOKIE_SAMESITE="Lax",
            WTF_CSRF_TIME_LIMIT=None,  # a form may stay open over lunch; the token ends with the session
        )
        login = LoginManager()
        login.login_view = f"{NAME}.sign_in"
        login.user_loader(signin.SignedIn)
        login.init_app(app)
        blueprint = self._blueprint()
        register_errors(app, blueprint)
        app.register_blueprint(blueprint)
        app.after_request(secure)

    def _blueprint(self) -> Blueprint:
        blueprint = Blueprint(NAME, __name__)
        # Browsers ask for it where a page names none, as an article does.
        blueprint.add_url_rule("/favicon.ico", view_func=favicon)
        for pages in (signin, project_pages, edition_pages, file_pages):
            pages.register(blueprint)
        blueprint.before_request(check_form)
        blueprint.after_request(forget_sizes_of_changed)
        blueprint.context_processor(self._page_words)
        blueprint.app_context_processor(self._frame)
        return blueprint

    def _page_words(self) -> dict[str, Any]:
        def stamp(moment: datetime) -> str:
            return words.day_and_time(moment, self._zone)

        return {"size": words.size, "count": words.count, "stamp": stamp, "paragraphs": metadata.paragraphs}

    def _frame(self) -> dict[str, Any]:
        """What `layout.html` needs, also around the extension's pages."""
        return {"csrf_token": generate_csrf, "frame_viewer": viewer_or_nobody(), "snapshots_url": snapshots_url}


def forget_sizes_of_changed(response: Response) -> Response:
    """Whatever a form changes in a project, its files may be others now."""
    project_id = (request.view_args or {}).get("project_id")
    if project_id is not None and request.method not in ("GET", "HEAD", "OPTIONS"):
        with contextlib.suppress(PyMongoError):  # it is done all the same, and what was counted lasts minutes only
            site().sizes.forget([project_id])
    return response


def favicon() -> Response:
    return current_app.send_static_file("icon.svg")


def snapshots_url(page: str, **values: Any) -> str:
    """The address of a page or file of the extension (`list` is the site's), empty where it is not mounted."""
    endpoint = f"keyframe.{page}"
    return url_for(endpoint, **values) if endpoint in current_app.view_functions else ""

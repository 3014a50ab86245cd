"""What all pages share: who asks, the CSRF token, checked types, rendering, error pages, security headers.

Rules:

- Who asks is settled before anything else; then a POST must show its token. A GET changes nothing.
- An id or a name of the URL becomes a checked type at once, or the page is the one that says "not there".
- Every answer has a policy that allows what we serve ourselves and nothing else; no trace ever goes out.
- An error page needs neither the database nor the host's layout: where these fail it is rendered without them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from flask import Response, current_app, g, redirect, render_template, request, url_for
from flask_login import login_url
from flask_wtf.csrf import generate_csrf, validate_csrf
from markupsafe import Markup, escape
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.wrappers import Response as AnyResponse
from wtforms import ValidationError as CsrfError

from ..errors import (
    ExpiredError,
    InvalidError,
    KeyframeError,
    NotFoundError,
    Problem,
    RefusedError,
    SignInError,
    UnavailableError,
)
from ..messages import NOTHING, Messages
from ..model import Action, Actor, RestoreMark, Scope, ScopeView, Selection, is_snapshot_name, utc_text
from ..phrases import cut, moment_of
from .login import shows_token
from .office import Office
from .pages_selection import fields_of
from .problems import foreseen, http_status

NAME = "keyframe"
OWN_LAYOUT = "keyframe/base.html"
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; form-action 'self'"
)
log = structlog.get_logger(__name__)
_CODE = re.compile(r"`([^`\n]+)`")
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


@dataclass(frozen=True)
class Frame:
    """What the pages are put into.

    Parameters
    ----------
    layout: the template that each page extends; it has the blocks `title` and `main`.
    project_page: the URL of the host's own page of a project, where there is one.
    """

    office: Office
    layout: str
    project_page: Callable[[str], str] | None

    # Who asks, and for what

    def actor(self) -> Actor:
        """Who makes this request; asked once for each.

        Raises
        ------
        SignInError: nobody who is known.
        UnavailableError: the people cannot be asked now.
        """
        if "keyframe_actor" not in g:
            g.keyframe_actor = self.office.login.actor(via="page")
        actor: Actor = g.keyframe_actor
        return actor

    def guard(self) -> None:
        """Before each request: who asks, and did the change come from a page of ours?"""
        if request.endpoint == f"{NAME}.static":
            return
        self.actor()
        if request.method == "POST":
            try:
                validate_csrf(request.form.get("csrf_token") or request.headers.get("X-CSRFToken"))
            except CsrfError as error:
                raise RefusedError(
                    "This form is too old, or it came from elsewhere.",
                    hint="Go back, load the page again, and repeat what you did.",
                ) from error

    def now(self) -> datetime:
        """The moment of this answer: the same for everything that is said in it."""
        if "keyframe_now" not in g:
            g.keyframe_now = datetime.now(UTC)
        moment: datetime = g.keyframe_now
        return moment

    def scope(self, project_id: str | None) -> Scope:
        """The scope that a URL names."""
        try:
            return Scope(project_id)
        except ValueError as error:
            raise NotFoundError("There is no such project.") from error

    def snapshot_name(self, text: str) -> str:
        """The name of a snapshot that a URL names."""
        if text == "make":  # the address of an act, looked at
            raise MethodNotAllowed(["POST"])
        if not is_snapshot_name(text):
            raise NotFoundError("There is no such snapshot.")
        return text

    def identifier(self, text: str) -> str:
        """The id of a job or a token, or a plan's digest, that a URL names."""
        if not _ID.match(text):
            raise NotFoundError("There is no such job or plan.")
        return text

    # Where things are

    def list_url(self, scope: Scope, **more: Any) -> str:
        return url_for(f"{NAME}.list", project_id=scope.project_id, **more)

    def home(self, scope: Scope, title: str = "") -> tuple[str, str]:
        """URL and name of the page that a scope's list belongs to: the host's, or else the list itself."""
        if scope.project_id is not None and self.project_page is not None:
            return self.project_page(scope.project_id), title or "the project"
        return self.list_url(scope), title or ("Snapshots of the site" if scope.is_site else "Snapshots")

    def after(self, scope: Scope, done: str, name: str) -> str:
        """Where to go after an act on a list: to where its button was, on the host's page or on ours."""
        if request.form.get("from") != "section":
            return self.list_url(scope, done=done, of=name, _anchor="outcome")
        home = self.home(scope)[0]
        return f"{home}{'&' if '?' in home else '?'}done={done}&of={name}#outcome"

    def go(self, url: str) -> AnyResponse:
        """On to another page after a POST."""
        return redirect(url, 303)

    # Rendering

    def context(self) -> dict[str, Any]:
        """What every template of ours may use."""
        now = self.now()
        return {
            "layout": self.layout,
            "words": self.office.messages,
            "now": now,
            "csrf_token": generate_csrf,
            "time_tag": lambda moment, style="when": time_tag(self.office.messages, moment, now, style),
            "timed": lambda text, moment, style="when": timed(self.office.messages, text, moment, now, style),
            "home": self.home,
            "coded": coded,
            "sentence": lambda problem: sentence(self.office.messages, problem),
            "fields_of": fields_of,
            "name_tag": lambda name: name_tag(self.office.messages, name),
            "moment_of": moment_of,
            "may_undo": may_undo,
            "api": f"{request.url_root}api/v1",
        }

    def page(self, template: str, **more: Any) -> str:
        """A whole page, in the host's layout."""
        return render_template(template, **self.context(), actor=self.actor(), **more)

    def fragment(self, template: str, **more: Any) -> Markup:
        """A part of a page, without what the host adds to the context of its pages."""
        rendered = current_app.jinja_env.get_template(template).render(**self.context(), **more)
        return Markup(rendered)  # noqa: S704  (made by our own template, which escapes)

    def is_fragment(self) -> bool:
        """Whether htmx asks for the changing part of a page only."""
        return request.headers.get("HX-Request") == "true"

    # Errors

    def failed(self, error: Exception) -> AnyResponse:
        """The page of an error; what nobody foresaw is logged under a number."""
        known = foreseen(error)
        if isinstance(known, SignInError) and not shows_token():
            target = self._sign_in_url()
            if target and self.is_fragment():
                return Response("", 401, {"HX-Redirect": target})
            if target:
                return redirect(target, 302 if request.method == "GET" else 303)
        if isinstance(known, UnavailableError):
            log.warning("page.unavailable", path=request.path, what=known.what)
        status = http_status(known.code)
        response = Response(self._error_page(known, status), status, mimetype="text/html")
        if status == 503:
            response.headers["Retry-After"] = "5"
        return response

    def _error_page(self, error: KeyframeError, status: int) -> str:
        messages = self.office.messages
        what = messages.problem(error.problem())
        if isinstance(error, NotFoundError) and not isinstance(error, ExpiredError):
            # The same text whether it is absent or hidden.
            what = "There is nothing at this address, or it is not for you to see."
        untouched = request.method == "POST" and status != 500 and "othing was" not in what
        reason = messages.reason(error.code)
        more = {
            "title": f"Not done: {reason}" if request.method == "POST" else f"{reason[0].upper()}{reason[1:]}",
            "text": f"{what} {NOTHING}" if untouched else what,
            "mistakes": error.mistakes if isinstance(error, InvalidError) else (),
            "status": status,
            "actor": g.get("keyframe_actor"),
            "again": _again(error) if isinstance(error, ExpiredError) else None,
        }
        if status not in (500, 503):
            try:
                return render_template("keyframe/error.html", **self.context(), **more)
            except Exception as second:  # the host's layout may need what is away
                log.warning("page.layout_failed", path=request.path, exc_info=second)
        bare = {**self.context(), "layout": OWN_LAYOUT}
        return current_app.jinja_env.get_template("keyframe/error.html").render(**bare, **more)

    def _sign_in_url(self) -> str | None:
        manager = getattr(current_app, "login_manager", None)
        if manager is None or not manager.login_view:
            return None
        if request.method == "GET" and not self.is_fragment():
            after = request.full_path.rstrip("?")
        else:
            after = url_for(f"{NAME}.index")
        return str(login_url(manager.login_view, next_url=after))


def _again(error: ExpiredError) -> dict[str, Any]:
    """What a form has to say to preview the same once more."""
    was: Mapping[str, Any] = error.again
    return {
        "name": was["snapshot"],
        "project_id": was["scope"]["project_id"],
        "chosen": Selection.from_dict(was["selection"]),
        "people": was["people"],
        "only_intact": was["only_intact"],
        "undo_of": was["undo_of"],
    }


def secure(response: AnyResponse) -> AnyResponse:
    """After each request: what a browser may do with our answer."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if request.endpoint != f"{NAME}.static":  # these have an ETag, and nothing of anybody in them
        response.headers["Cache-Control"] = "no-store"
        response.vary.add("HX-Request")
    return response


def may_undo(mark: RestoreMark | None, view: ScopeView) -> bool:
    """Whether a button for undoing this restore makes sense; one that brought people back is for who may do that."""
    needed = {Action.UNDO, Action.PEOPLE} if mark is not None and mark.people else {Action.UNDO}
    return mark is not None and needed <= view.acts


def time_tag(messages: Messages, moment: datetime, now: datetime, style: str) -> Markup:
    """`<time>` with the exact UTC, in the words of the site's zone; `keyframe.js` puts it into the reader's."""
    text = {
        "when": lambda: messages.when(moment, now),
        "exactly": lambda: messages.exactly(moment, now),
        "clock": lambda: messages.clock(moment),
        "second": lambda: messages.second(moment),
        "ago": lambda: messages.ago(moment, now),
        "day": lambda: messages.day(moment, now),
    }[style]()
    return Markup('<time datetime="{}" title="{}" data-time="{}">{}</time>').format(
        utc_text(moment), messages.exact(moment), style, text
    )


def coded(text: str) -> Markup:
    """A sentence in which what stands between backticks, as a command does, is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  (it was escaped)


def sentence(messages: Messages, problem: Problem) -> Markup:
    """A problem as sentences; a long name in it is cut, and stands there as a whole for who points at it."""
    short = cut(problem.subject)
    sentences = coded(messages.problem(replace(problem, subject=short)))
    if short == problem.subject:
        return sentences
    return Markup('<span title="{}">{}</span>').format(messages.plain(problem.subject), sentences)


def name_tag(messages: Messages, name: str) -> Markup:
    """A path, cut where it is long."""
    whole = messages.path(name)
    short = cut(whole)
    title = Markup(' title="{}"').format(whole) if short != whole else ""
    return Markup("<code{}>{}</code>").format(title, short)


def timed(messages: Messages, text: str, moment: datetime | None, now: datetime, style: str) -> Markup:
    """A sentence in which the words for `moment` are a `<time>`."""
    if moment is None:
        return escape(text)
    if style != "ago" and messages.exactly(moment, now) in text:  # where two are of the same minute
        style = "exactly"
    words = {"ago": messages.ago, "exactly": messages.exactly}.get(style, messages.when)
    before, found, after = text.partition(words(moment, now))
    if not found:
        return escape(text)
    return escape(before) + time_tag(messages, moment, now, style) + escape(after)

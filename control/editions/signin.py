"""Signing in and out; on a laptop with sample data, also by a button per sample person.

Rules:

- Who signs out, or signs in as somebody else, ends his session on the server: no copy of the cookie counts any more.
- A wrong password and an unknown person get the same answer, in the same time.
- The buttons exist only where nobody but the person at this machine can reach them; each press checks that again.
"""

from __future__ import annotations

import ipaddress
from functools import cached_property
from typing import Any

from flask import Blueprint, Request, redirect, render_template, request, session, url_for
from flask_login import login_user, logout_user
from werkzeug.wrappers import Response as AnyResponse

from ..errors import InvalidError, RefusedError
from ..settings import Settings
from .context import NAME, forget_session, safe_next, site, tell
from .nouns import Account
from .passwords import password_fits

_LOCAL_NAMES = ("localhost", "127.0.0.1")
_SESSION = "editions_session"  # the key in the cookie


class SignedIn:
    """Whom the cookie names, as Flask-Login asks for him; the server is asked only where it matters who he is."""

    is_active = True
    is_anonymous = False

    def __init__(self, user: str) -> None:
        self._user = user

    @cached_property
    def is_authenticated(self) -> bool:
        """Whether his session lives. Raises the driver's errors."""
        return site().sessions.lives(_session_id(), self._user)

    def get_id(self) -> str:
        return self._user


def register(blueprint: Blueprint) -> None:
    blueprint.add_url_rule("/sign-in", view_func=sign_in, methods=["GET", "POST"])
    blueprint.add_url_rule("/sign-in/sample", view_func=sign_in_sample, methods=["POST"])
    blueprint.add_url_rule("/sign-out", view_func=sign_out, methods=["POST"])


def sign_in() -> str | AnyResponse | tuple[str, int]:
    """The form, and its answer."""
    if request.method == "GET":
        return _form()
    account = site().records.account(request.form.get("user", "").strip())
    fits = password_fits(account.password if account else "", request.form.get("password", ""))
    if account is None or not fits:
        return _form(mistake="This name and this password do not belong together."), 422
    return _enter(account)


def sign_in_sample() -> AnyResponse:
    """A button was pressed.

    Raises
    ------
    RefusedError: there are no buttons here, or none for this person.
    """
    account = site().records.account(request.form.get("user", ""))
    if account is None or not account.is_sample or not buttons_allowed(site().settings, request):
        raise RefusedError("Nobody signs in by a button here.", hint="Sign in with name and password.")
    return _enter(account)


def sign_out() -> AnyResponse:
    """Forgotten by this browser first: it is so even where the database does not answer."""
    session_id = _session_id()
    logout_user()
    forget_session()
    site().sessions.end(session_id)
    tell("You are signed out.", "note")
    return redirect(url_for(f"{NAME}.projects"), 303)


def buttons_allowed(settings: Settings, asked: Request) -> bool:
    """Whether sample people sign in without a password: only on this very machine, and only where it was asked for."""
    if settings.run_mode not in ("pilot", "test") or not settings.sample.sign_in or not _is_loopback(settings.host):
        return False
    # A proxy in front would make a stranger's request look like a local one.
    if any(name.lower() == "forwarded" or name.lower().startswith("x-forwarded") for name, _ in asked.headers):
        return False
    name, colon, port = asked.headers.get("Host", "").partition(":")
    return name in _LOCAL_NAMES and (port.isascii() and port.isdigit() if colon else True)


def _enter(account: Account) -> AnyResponse:
    sessions = site().sessions
    sessions.end(_session_id())
    forget_session()
    session_id = sessions.begin(account.person)
    # A new password ends all sessions there are; one begun with the old password just after that must not stay.
    if site().records.account(account.person.user) != account:
        sessions.end(session_id)
        raise InvalidError("Your name or password was changed at this very moment.", hint="Sign in again.")
    login_user(SignedIn(account.person.user))
    session[_SESSION] = session_id
    return redirect(safe_next(request.form.get("next"), url_for(f"{NAME}.projects")), 303)


def _session_id() -> str:
    return str(session.get(_SESSION, ""))


def _form(mistake: str = "") -> str:
    records = site().records
    people: list[dict[str, Any]] = []
    if buttons_allowed(site().settings, request):
        people = [
            {"person": account.person, "role": records.viewer(account.person.user).role}
            for account in records.accounts(sample_only=True)
        ]
    return render_template(
        "editions/sign_in.html",
        people=people,
        mistake=mistake,
        user=request.form.get("user", ""),
        next=safe_next(request.values.get("next"), ""),
    )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""What every page asks for: the site's parts, who looks, and the project and edition that a URL names.

Rules:

- What somebody may not see is not there: the same `NotFoundError` for absent and hidden.
- Who sees something but may not change it is refused; who is not signed in is asked to sign in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from flask import current_app, flash, g, session
from flask_login import current_user
from pymongo.errors import PyMongoError

from ..errors import NotFoundError, RefusedError, SignInError
from ..settings import Settings
from .folder import EditionFolder
from .nouns import Edition, Project
from .records import Records
from .rights import Viewer
from .sessions import Sessions
from .sizes import Sizes

NAME = "editions"


@dataclass(frozen=True)
class Site:
    """The parts of the editions site that its pages use."""

    settings: Settings
    records: Records
    sessions: Sessions
    sizes: Sizes

    def folder(self, edition: Edition) -> EditionFolder:
        return EditionFolder(self.settings.working, edition)


def site() -> Site:
    """The parts of the current application."""
    return cast(Site, current_app.extensions[NAME])


def viewer() -> Viewer:
    """Who makes this request; read from the database once."""
    if "editions_viewer" not in g:
        user = str(current_user.get_id()) if current_user.is_authenticated else None
        g.editions_viewer = site().records.viewer(user)
    return cast(Viewer, g.editions_viewer)


def viewer_or_nobody() -> Viewer:
    """The same for the frame around a page, which must not fail where the database does not answer."""
    if "editions_no_database" in g:
        return Viewer()
    try:
        return viewer()
    except PyMongoError:
        ask_no_more()
        return Viewer()


def ask_no_more() -> None:
    """The database does not answer: the frame around the error page must not wait for it once more."""
    g.editions_no_database = True


def project_seen(project_id: str) -> Project:
    """The project of a URL.

    Raises
    ------
    NotFoundError: there is none, or not for this person.
    """
    project = site().records.project(project_id)
    if project is None or not viewer().sees_project(project):
        raise NotFoundError("There is no such project, or it is not for you to see.")
    return project


def edition_seen(project_id: str, edition_id: str) -> tuple[Project, Edition]:
    """The project and the edition of a URL.

    Raises
    ------
    NotFoundError: there is none, or not for this person.
    """
    records = site().records
    project = records.project(project_id)
    edition = records.edition(project, edition_id) if project else None
    if project is None or edition is None or not viewer().sees_edition(project, edition):
        raise NotFoundError("There is no such edition, or it is not for you to see.")
    return project, edition


def demand(allowed: bool) -> None:
    """Go on only if `allowed`.

    Raises
    ------
    SignInError: nobody is signed in, so who knows.
    RefusedError: this person may not.
    """
    if allowed:
        return
    if viewer().person is None:
        raise SignInError("Sign in to do this.")
    raise RefusedError("You may look at this, but not change it.")


def tell(text: str, tone: str = "good") -> None:
    """Show a sentence on the next page; `tone` is good, note or bad."""
    flash(text, tone)


def forget_session() -> None:
    """Empty the session, so that nothing of one person is left for the next."""
    session.clear()


def safe_next(text: str | None, otherwise: str) -> str:
    """`text` if it is a path of this site, else `otherwise`: nobody is led elsewhere.

    >>> safe_next("//elsewhere.example", "/")
    '/'
    """
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text:
        return otherwise
    if any(ord(letter) < 0x21 or ord(letter) == 0x7F for letter in text):
        return otherwise
    parts = urlsplit(text)
    return otherwise if parts.scheme or parts.netloc else text

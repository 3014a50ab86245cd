"""What goes out: security headers, error pages, and the check that a change came from one of our own forms."""

from __future__ import annotations

import structlog
from flask import Blueprint, Flask, Response, redirect, render_template, request, url_for
from flask_wtf.csrf import validate_csrf
from pymongo.errors import PyMongoError
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse
from wtforms import ValidationError

from ..errors import InvalidError, KeyframeError, NoRoomError, NotFoundError, RefusedError, SignInError
from ..errors import UnavailableError as NotNowError
from .context import NAME, ask_no_more

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; form-action 'self'"
)
# The page that holds nothing but the model: model-viewer 4.4.0 brings a decoder in WebAssembly, styles its parts in
# place and reads textures from blobs.
MODEL_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; form-action 'none'"
)
# Articles are written by many hands: shown without scripts and forms, in a page of their own. `allow-same-origin` so
# that their pictures come along with the session; without `allow-scripts` it allows nothing else.
ARTICLE_POLICY = (
    "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox; default-src 'none'; "
    "img-src 'self' data:; media-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; base-uri 'none'; "
    "frame-ancestors 'self'; form-action 'none'"
)

_STATUS: dict[type[KeyframeError], int] = {
    InvalidError: 422,
    NotFoundError: 404,
    RefusedError: 403,
    NoRoomError: 507,
    NotNowError: 503,
}
_TITLES = {
    400: "This could not be read",
    403: "Not for you",
    404: "Nothing here",
    405: "Not this way",
    413: "Too large",
    422: "This cannot be done",
    500: "Something went wrong",
    503: "Not now",
    507: "No room",
}
_TEXTS = {
    400: "The address or the form could not be read. Nothing was changed.",
    403: "You may not do this. Nothing was changed.",
    404: "There is nothing at this address, or it is not for you to see.",
    405: "This address does not answer to that. Nothing was changed.",
    413: "What you sent is larger than this site takes. Nothing was changed.",
    500: "The site met something unforeseen; it is in the log.",
    503: "The database or the disk does not answer at the moment. Nothing is lost; please try again in a little while.",
}
_log = structlog.get_logger(__name__)


def check_form() -> None:
    """Before each request: a change must show the token of one of our own pages.

    Raises
    ------
    RefusedError: it does not.
    """
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    try:
        validate_csrf(request.form.get("csrf_token"))
    except ValidationError as error:
        raise RefusedError(
            "This form is too old, or it came from elsewhere.", hint="Load the page again and repeat it."
        ) from error


def secure(response: AnyResponse) -> AnyResponse:
    """After each request: headers that a view or the extension has set itself stay."""
    response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if response.mimetype == "text/html":
        response.headers.setdefault("Cache-Control", "no-cache, private")
    return response


def register_errors(app: Flask, blueprint: Blueprint) -> None:
    """Pages for errors. What the extension answers for itself never comes here."""
    blueprint.register_error_handler(KeyframeError, _foreseen)
    blueprint.register_error_handler(PyMongoError, _no_database)
    for status in (400, 403, 404, 405, 413):
        app.register_error_handler(status, _http)
    app.register_error_handler(500, _http)


def error_page(status: int, text: str = "", hint: str = "") -> AnyResponse:
    """The page of an error: one sentence, and what to do."""
    title = _TITLES.get(status, "This did not work")
    body = render_template("editions/error.html", title=title, text=text or _TEXTS.get(status, ""), hint=hint)
    response = Response(body, status, mimetype="text/html")
    if status == 503:
        response.headers["Retry-After"] = "5"
    return response


def _foreseen(error: KeyframeError) -> AnyResponse:
    if isinstance(error, SignInError):
        back = request.full_path.rstrip("?") if request.method == "GET" else None
        return redirect(url_for(f"{NAME}.sign_in", next=back), 303)
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    if status >= 500:
        _log.error("page.failed", method=request.method, path=request.path, error=str(error))
    if status in (500, 503):  # servers and paths are for the log
        return error_page(status)
    subject = f"{error.subject}: " if error.subject and not isinstance(error, NotFoundError) else ""
    return error_page(status, f"{subject}{error.what}", error.hint)


def _no_database(error: PyMongoError) -> AnyResponse:
    ask_no_more()
    _log.error("page.failed", method=request.method, path=request.path, error=str(error))
    return error_page(503)


def _http(error: HTTPException) -> AnyResponse:
    return error_page(error.code or 500)

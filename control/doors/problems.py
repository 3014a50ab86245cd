"""Errors at the HTTP doors: one table from code to status, and the problem document (RFC 9457).

Rules:

- Every error leaves as `application/problem+json` with code, what, subject and hint; nothing of a trace ever does.
- What nobody foresaw is logged in full under a number, and only the number goes out.
- The codes are those of `errors.py`, and five that only an HTTP door can have (`DoorError`); `docs/errors.md` has all.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from flask import Response, request
from werkzeug.exceptions import HTTPException

from ..errors import (
    ExpiredError,
    InvalidError,
    KeyframeError,
    NotFoundError,
    Problem,
    RefusedError,
    SignInError,
    StaleError,
    UnavailableError,
)
from ..phrases import Phrases

log = structlog.get_logger(__name__)

HTTP_STATUS: Mapping[str, int] = {
    "internal": 500,
    "invalid": 422,
    "settings": 422,
    "sign-in": 401,
    "refused": 403,
    "not-found": 404,
    "expired": 410,
    "busy": 409,
    "stale": 409,
    "unsafe": 409,
    "damaged": 422,  # and each damaged.<what>
    "no-room": 507,
    "unavailable": 503,
    "changed": 409,
    "cancelled": 409,
    # these exist at the HTTP door only
    "method": 405,
    "precondition": 412,
    "too-large": 413,
    "media-type": 415,
    "slow-down": 429,
}

TITLES: Mapping[str, str] = {
    "internal": "Unforeseen error",
    "invalid": "Invalid request",
    "settings": "Invalid settings",
    "sign-in": "Not signed in",
    "refused": "Not allowed",
    "not-found": "Not found",
    "expired": "The preview has expired",
    "busy": "Busy",
    "stale": "The plan was overtaken",
    "unsafe": "The state before cannot be kept as a whole",
    "damaged": "Damaged snapshot",
    "no-room": "No room",
    "unavailable": "Not available at the moment",
    "changed": "A file would not hold still",
    "cancelled": "Cancelled",
    "method": "Method not allowed",
    "precondition": "Precondition failed",
    "too-large": "Request too large",
    "media-type": "Unsupported media type",
    "slow-down": "Too many requests",
}

_WITH_MISTAKES = ("invalid", "settings")
RETRY_AFTER = "2"  # seconds; a change-over of files takes less
_BY_STATUS = {405: "method", 412: "precondition", 413: "too-large", 415: "media-type", 429: "slow-down"}


class DoorError(KeyframeError):
    """What can be wrong with an HTTP request only: `method`, `precondition`, `too-large`, `media-type`, `slow-down`."""

    def __init__(self, code: str, what: str, *, subject: str = "", hint: str = "") -> None:
        super().__init__(what, subject=subject, hint=hint)
        self._code = code

    @property
    def code(self) -> str:
        return self._code


def http_status(code: str) -> int:
    """The HTTP status of a code; that of `damaged` for each `damaged.<what>`, 500 for one of a newer version."""
    return HTTP_STATUS.get(code.partition(".")[0], 500)


def foreseen(error: Exception) -> KeyframeError:
    """The error as one that may be shown: as it is, translated from Flask's, or logged and replaced by a number."""
    if isinstance(error, KeyframeError) and error.code != KeyframeError.kind:
        return error
    if isinstance(error, HTTPException) and (error.code or 500) < 500:
        return _translated(error)
    number = uuid.uuid4().hex[:12]
    log.error("request.failed", number=number, method=request.method, path=request.path, exc_info=error)
    return KeyframeError(
        "Something went wrong that nobody foresaw.",
        subject=f"{request.method} {request.path}"[:200],
        hint=f"The server's log has the details under the number {number}; look at the state before you try again.",
    )


def _translated(error: HTTPException) -> KeyframeError:
    what = error.description or error.name
    status = error.code or 400
    if status == 413:
        most = request.max_content_length or 0
        return DoorError("too-large", f"The body is larger than {most} bytes.", hint="Send less; nothing was changed.")
    if status in _BY_STATUS:
        return DoorError(_BY_STATUS[status], what)
    kinds = {401: SignInError, 403: RefusedError, 404: NotFoundError}
    return kinds[status](what) if status in kinds else InvalidError(what)


def problem_document(problem: Problem, **more: Any) -> dict[str, Any]:
    """The members of RFC 9457 and ours; `more` are further members (`mistakes`, `plan`, `job`), left out when empty."""
    status = http_status(problem.code)
    plan = more.get("plan")
    if plan and problem.code == "stale":
        more["changed"] = plan.get("changed")
    words = Phrases(ZoneInfo("UTC"))  # a problem speaks of no time
    if status == 422 and problem.code in _WITH_MISTAKES and not more.get("mistakes"):
        more["mistakes"] = [words.problem(replace(problem, hint=""))]
    return {
        "type": f"urn:keyframe:problem:{problem.code}",
        "title": TITLES.get(problem.code.partition(".")[0], "Problem"),
        "status": status,
        "detail": words.problem(problem),
        **problem.as_dict(),
        **{key: value for key, value in more.items() if value},
    }


def problem_response(error: KeyframeError, *, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error: its status, its document, and the headers that belong to that status."""
    more: dict[str, Any] = {}
    if isinstance(error, InvalidError):
        more["mistakes"] = list(error.mistakes)
    if isinstance(error, StaleError):
        more["plan"] = error.report
    if isinstance(error, ExpiredError):
        more["again"] = error.again
    if isinstance(error, UnavailableError):
        log.warning("request.unavailable", method=request.method, path=request.path, what=error.what)
    return answer_problem(error.problem(), headers=headers, **more)


def answer_problem(problem: Problem, *, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """The same for a problem that is known as a value only, like that of a job's outcome."""
    document = problem_document(problem, **more)
    status = int(document["status"])
    # ASCII only: the name of a file may hold bytes that no encoding knows.
    response = Response(json.dumps(document) + "\n", status=status, mimetype="application/problem+json")
    response.headers["Cache-Control"] = "no-store"
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status in (429, 503):
        response.headers["Retry-After"] = RETRY_AFTER
    response.headers.update(headers or {})
    return response

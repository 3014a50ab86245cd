"""Requests of the host that write take the gate, so that a snapshot or a restore finds an instant without writers.

Rules:

- Every method that is not safe takes it shared, from after its body has arrived until the answer is made; a slow upload
  therefore delays no snapshot.
- Keyframe's own routes never take it, nor do the endpoints the host exempts (signing in and out). No request may wait
  for a job while it holds it.
- At most half of the process's threads wait; the next request is answered 503 at once, so that readers find a thread.
- While a restore has begun and not finished (an intent lies on disk), the gate counts as closed: who wants to write
  waits as he would for the gate, `gate.wait` seconds for both together, without holding it; so does who reads, where
  `restore.readers_wait` says so.

>>> gate_requests(app, office, frozenset({"auth.sign_in", "auth.sign_out"}))  # doctest: +SKIP
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, cast

from flask import Flask, Response, make_response, render_template, request

from ..errors import UnavailableError
from .office import Office
from .problems import RETRY_AFTER, problem_response

SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_IN_MEMORY = 2**20  # bytes of a body that is no form; a longer one goes to a temporary file
_CHUNK = 2**16  # bytes
_LOOK_AGAIN = 0.02  # seconds
_HELD = "keyframe.gate"  # in the request's WSGI environment


def is_own(endpoint: str) -> bool:
    """Whether the endpoint is one of Keyframe's: its blueprints are `keyframe` and `keyframe_…`."""
    return endpoint.partition(".")[0].startswith("keyframe")


def gate_requests(
    app: Flask,
    office: Office,
    exempt: frozenset[str] = frozenset(),
    own: Callable[[str], bool] = is_own,
) -> None:
    """Let the writing requests of `app` take the gate.

    Parameters
    ----------
    exempt: endpoints of the host that write nothing a snapshot holds, or must always work, like signing in.
    own: which endpoints are Keyframe's.
    """
    waiting = threading.BoundedSemaphore(max(1, office.settings.web.threads // 2))

    def take() -> Response | None:
        endpoint = request.endpoint
        if endpoint is None or endpoint in exempt or own(endpoint):
            return None
        if request.method in SAFE:
            return _until_restored(office, waiting) if office.settings.restore.readers_wait else None
        held = request.environ[_HELD] = ExitStack()
        try:
            _receive_body(held)
            held.push(_gate_shared(office, waiting))
        except UnavailableError as error:
            held.close()
            return busy(error)
        return None

    def release(_: BaseException | None) -> None:
        held = request.environ.pop(_HELD, None)
        if held is not None:
            held.close()

    app.before_request(take)
    app.teardown_request(release)


def _until_restored(office: Office, waiting: threading.BoundedSemaphore) -> Response | None:
    """Let a reader wait while a restore changes over; the answer 503 where that takes too long, or too many wait."""
    deadline = time.monotonic() + office.settings.gate.wait
    if not office.intents.open():
        return None
    if waiting.acquire(blocking=False):
        try:
            while office.intents.open() and time.monotonic() < deadline:
                time.sleep(_LOOK_AGAIN)
        finally:
            waiting.release()
    try:
        _refuse_while_restoring(office)
    except UnavailableError as error:
        return busy(error)
    return None


def busy(error: UnavailableError) -> Response:
    """The answer 503 with `Retry-After`: a small page of its own, or a problem document for who prefers that."""
    kinds = ["text/html", "application/problem+json", "application/json"]
    best = request.accept_mimetypes.best_match(kinds, default="text/html")
    if best != "text/html" or (request.is_json and not request.accept_mimetypes.accept_html):
        return problem_response(error)
    response = make_response(render_template("keyframe/busy.html", problem=error.problem(), seconds=RETRY_AFTER), 503)
    response.headers["Retry-After"] = RETRY_AFTER
    response.headers["Cache-Control"] = "no-store"
    return response


def _gate_shared(office: Office, waiting: threading.BoundedSemaphore) -> ExitStack:
    """What holds the gate, taken while no restore was unfinished; waited for where not too many wait."""
    try:
        return _entered(office, time.monotonic())
    except UnavailableError:
        if not waiting.acquire(blocking=False):
            raise
    try:
        return _entered(office, time.monotonic() + office.settings.gate.wait)
    finally:
        waiting.release()


def _entered(office: Office, deadline: float) -> ExitStack:
    """The same by a deadline; UnavailableError where it was not had by then."""
    while True:
        while office.intents.open() and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)
        _refuse_while_restoring(office)
        with ExitStack() as held:
            held.enter_context(office.gate.shared(max(0.0, deadline - time.monotonic())))
            if not office.intents.open():  # a restore may have had the gate, and died, while this one waited for it
                return held.pop_all()


def _refuse_while_restoring(office: Office) -> None:
    if office.intents.open():
        raise UnavailableError(
            "A restore is under way, or was interrupted and will be finished first; nobody can write at the moment.",
            subject="the site",
            hint="Try again in a few seconds; nothing was changed.",
        )


def _receive_body(held: ExitStack) -> None:
    """Wait until the whole body has arrived; the view then reads it from memory or a temporary file.

    A form is parsed, so that its files lie in temporary ones. Another body is kept as it came and put in the place of
    the connection: a view may read `request.stream` as ever.
    """
    if request.mimetype in _FORMS:
        _ = request.form
        return
    body = held.enter_context(tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115  (`held` closes it)
    shutil.copyfileobj(request.stream, body, _CHUNK)
    body.seek(0)
    request.stream = request.environ["wsgi.input"] = cast(IO[bytes], body)
    request.environ["wsgi.input_terminated"] = True

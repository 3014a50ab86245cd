"""What all REST routes share: who asks, the CSRF token, the body, and errors as problem documents.

Rules:

- Errors are answered here, by the route that they happen in: the handlers of the host are neither used nor replaced.
- Who asks is settled before the request is looked at any closer; a stranger learns nothing about it.
- A request that may change something needs a bearer token, or a session and its CSRF token in `X-CSRFToken`.
- Each route takes every method, so that a wrong one gets a problem document (`method`) too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar, cast

from flask import Response, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from flask.views import MethodView
from flask_smorest import Blueprint
from flask_wtf.csrf import validate_csrf
from marshmallow import RAISE, Schema, ValidationError
from webargs.core import missing
from webargs.flaskparser import FlaskParser
from wtforms import ValidationError as CsrfError

from ..errors import InvalidError, NotFoundError, RefusedError, no_such_project
from ..model import Scope, is_snapshot_name
from .api_waits import LONGEST, Waits
from .login import shows_token
from .office import Office
from .patience import bounded
from .problems import DoorError, foreseen, problem_response

EXTENSION = "keyframe.api"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LARGEST_BODY = 2**20  # bytes
MOST_MISTAKES = 100  # in an answer; a body of a megabyte can hold more unknown keys than anybody reads

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class ApiState:
    """What `register_api` leaves with the application, for its routes."""

    office: Office
    waits: Waits


def state() -> ApiState:
    """That of the current application."""
    return cast(ApiState, current_app.extensions[EXTENSION])


def office() -> Office:
    return state().office


class _Parser(FlaskParser):
    """Reads bodies and queries; all mistakes of one become one `InvalidError`."""

    def _raw_load_json(self, req: Any) -> Any:
        req.max_content_length = LARGEST_BODY
        data = req.get_data(cache=True)
        if not data:
            return missing
        if not req.is_json:
            raise DoorError(
                "media-type",
                "The body is not declared as JSON.",
                subject=(req.mimetype or "no Content-Type")[:100],
                hint="Send Content-Type: application/json, or no body at all.",
            )
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "not readable"
            where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            mistake = f"body: {reason}{where}"
            raise InvalidError("The body is not valid JSON.", hint="Correct it.", mistakes=(mistake,)) from error

    def handle_error(self, error: ValidationError, *_: Any, **__: Any) -> NoReturn:
        messages = cast(dict[str, Any], error.messages)  # {"json" or "query": {key: ...}}
        mistakes = tuple(_sentences(messages.get("json", messages)))
        shown = "; ".join(mistakes[:3]) + ("; …" if len(mistakes) > 3 else "")
        raise InvalidError(
            f"The request has {len(mistakes)} mistake{'' if len(mistakes) == 1 else 's'}: {shown}.",
            hint="Correct it; nothing was changed.",
            mistakes=mistakes[:MOST_MISTAKES],
        ) from error


def _sentences(messages: Any, path: str = "") -> list[str]:
    """Marshmallow's nested messages as one sentence each, with the key in front."""
    if isinstance(messages, Mapping):
        return [
            one
            for key, below in messages.items()
            for one in _sentences(below, path if key == "_schema" else f"{path}.{str(key)[:100]}".strip("."))
        ]
    found = [str(message) for message in (messages if isinstance(messages, list) else [messages])]
    return [f"{path or 'body'}: {message[:1].lower()}{message[1:].rstrip('.')}" for message in found]


class ApiBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest ships no types
    """flask-smorest's blueprint with our way to read requests."""

    ARGUMENTS_PARSER = _Parser()


# The decorators of flask-smorest are methods of a blueprint; this one lends them, typed, and is never registered.
_contract = ApiBlueprint("keyframe_contract", __name__)


def takes_body(schema: type[Schema]) -> Callable[[View], View]:
    """The view's first argument is the body, as `schema` let it through; no body counts as an empty object."""
    return cast(Callable[[View], View], _contract.arguments(schema, location="json", required=False))


def takes_query(schema: type[Schema]) -> Callable[[View], View]:
    """The view's first argument is the query, as `schema` let it through."""
    return cast(Callable[[View], View], _contract.arguments(schema, location="query", unknown=RAISE))


def answers(status: int, schema: type[Schema] | None = None, what: str | None = None) -> Callable[[View], View]:
    """Documents one answer of the view."""
    return cast(Callable[[View], View], _contract.alt_response(status, schema=schema, description=what, success=True))


def may_wait(view: View) -> View:
    """Documents that the view heeds `Prefer: wait=N`."""
    header = {
        "in": "header",
        "name": "Prefer",
        "required": False,
        "schema": {"type": "string", "example": "wait=20"},
        "description": f"Seconds to wait for the job, at most {LONGEST}",
    }
    return cast(Callable[[View], View], _contract.doc(parameters=[header]))(view)


class Door(MethodView):
    """One resource; a subclass has a method per HTTP method, which is given the actor and what the path names."""

    def dispatch_request(self, **path: Any) -> ResponseReturnValue:
        with bounded(office().settings.mongo.timeout):
            return self._answer(path)

    def _answer(self, path: dict[str, str]) -> ResponseReturnValue:
        try:
            allowed = self._allowed()
            if request.method == "OPTIONS":
                return sealed(nothing_to_say({"Allow": ", ".join(allowed)}))
            if request.method not in allowed:
                error = DoorError(
                    "method",
                    f"{request.method} is not possible here.",
                    subject=request.path[:200],
                    hint=f"Possible are {', '.join(allowed)}.",
                )
                return sealed(problem_response(error, headers={"Allow": ", ".join(allowed)}))
            actor = office().login.actor(via="api")
            if request.method not in SAFE and not shows_token():
                check_csrf()
            answer = super().dispatch_request(actor=actor, **self.named(path))
            return sealed(cast(Response, answer))
        except Exception as error:  # the one place where a REST route's error becomes its answer; logged if unforeseen
            return sealed(problem_response(foreseen(error)))

    def named(self, path: dict[str, str]) -> dict[str, Any]:
        """What the path names, as checked types."""
        return path

    def _allowed(self) -> list[str]:
        own = set(self.methods or ())
        return sorted(own | {"OPTIONS"} | ({"HEAD"} if "GET" in own else set()))


class ScopedDoor(Door):
    """A resource of the site, or of the project that the path names."""

    def named(self, path: dict[str, str]) -> dict[str, Any]:
        named: dict[str, Any] = {"scope": scope_of(path.get("project_id"))}
        if "name" in path:
            named["name"] = name_of(path["name"])
        return named


def scope_of(project_id: str | None) -> Scope:
    """The scope that a path names; what cannot be the id of a project is answered as a scope that is hidden."""
    try:
        return Scope(project_id)
    except ValueError as error:
        raise no_such_project() from error


def name_of(text: str) -> str:
    """The name of a snapshot, or `latest`."""
    if text != "latest" and not is_snapshot_name(text):
        raise NotFoundError("There is no such snapshot.", subject=text[:50], hint="Look at the list of snapshots.")
    return text


def check_csrf() -> None:
    """Refuse a session's request without its CSRF token: another site may have made the browser send it."""
    try:
        validate_csrf(request.headers.get("X-CSRFToken"))
    except CsrfError as error:
        raise RefusedError(
            f"This change came with a session but without its proof: {error}",
            hint="Send the page's CSRF token in the header X-CSRFToken, or use a bearer token; nothing was changed.",
        ) from error


def sealed(response: Response) -> Response:
    """Nothing of the API may be kept by caches or taken for something else."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def nothing_to_say(headers: Mapping[str, str] | None = None) -> Response:
    """204, without a body."""
    response = Response(status=204, headers=dict(headers or {}))
    del response.headers["Content-Type"]
    return response


def answer(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    response = jsonify(document)
    response.status_code = status
    response.headers.update(headers or {})
    return response

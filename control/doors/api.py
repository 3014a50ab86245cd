"""The REST door: mounts the routes of `api_routes.py` and their OpenAPI document on a Flask application.

Rules:

- Nothing of the host is touched: no handler for the whole application, no setting, no page outside the prefix.
- Whatever lies below the prefix answers in JSON, unknown addresses too.

>>> register_api(app, office)  # doctest: +SKIP
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Flask, Response, request
from flask_smorest import Api
from werkzeug.routing import BaseConverter

from ..errors import NotFoundError
from ..version import VERSION
from .api_answers import ProblemDocument
from .api_door import EXTENSION, METHODS, ApiState, answer, sealed
from .api_routes import blueprint
from .api_waits import Waits
from .office import Office
from .problems import problem_response


class _Api(Api):  # type: ignore[misc]  # flask-smorest ships no types
    """flask-smorest without error handlers for the whole application; problems are documented as what they are."""

    def _register_error_handlers(self) -> None:
        """None: our routes answer their errors themselves, the host keeps its own."""

    def _register_responses(self) -> None:
        content = {"application/problem+json": {"schema": ProblemDocument}}
        named = {status.name: status.phrase for status in HTTPStatus if status >= 400}
        for name, phrase in {**named, "DEFAULT_ERROR": "A problem (RFC 9457)"}.items():
            self.spec.components.response(name, {"description": phrase, "content": content}, lazy=True)


class _Rest(BaseConverter):
    """The rest of a path, whatever it holds."""

    part_isolating = False
    regex = r"[\s\S]+"
    weight = 1000


def register_api(app: Flask, office: Office, prefix: str = "/api/v1") -> None:
    """Mount the REST API below `prefix`.

    A host that protects all its requests with Flask-WTF's `CSRFProtect` does so before this call: our routes check
    the token of a session themselves, and a bearer token needs none.
    """
    app.extensions[EXTENSION] = ApiState(office, Waits(office.settings.web.threads))
    api = _Api(
        app,
        config_prefix="KEYFRAME",
        spec_kwargs={
            "title": "Keyframe",
            "version": VERSION,
            "openapi_version": "3.1.0",
            "info": {"description": "Snapshots of the site and its projects: make, list, preview, restore, undo."},
            "security": [{"bearer": []}, {"session": []}],
        },
    )
    schemes = api.spec.components
    schemes.security_scheme("bearer", {"type": "http", "scheme": "bearer", "description": "kf_…, a person's token"})
    cookie = app.config.get("SESSION_COOKIE_NAME", "session")
    words = "with the header X-CSRFToken for whatever changes something"
    schemes.security_scheme("session", {"type": "apiKey", "in": "cookie", "name": cookie, "description": words})
    api.register_blueprint(blueprint, url_prefix=prefix)
    edge = _edge(app, api, prefix)
    app.register_blueprint(edge)
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        csrf.exempt(blueprint)
        csrf.exempt(edge)


def _edge(app: Flask, api: _Api, prefix: str) -> Blueprint:
    """What is no resource: the OpenAPI document, and every address that is none of ours."""
    edge = Blueprint("keyframe_api_edge", __name__, url_prefix=prefix)
    app.url_map.converters["keyframe_rest"] = _Rest

    def openapi() -> Response:
        return sealed(answer(api.spec.to_dict()))

    def nothing(**_: str) -> Response:
        error = NotFoundError(
            "There is no such address.", subject=request.path[:200], hint=f"GET {prefix}/openapi.json lists all."
        )
        return sealed(problem_response(error))

    edge.add_url_rule("/openapi.json", view_func=openapi)
    for path in ("", "/", "/<keyframe_rest:rest>"):
        edge.add_url_rule(path, endpoint="nothing", view_func=nothing, methods=METHODS)
    return edge

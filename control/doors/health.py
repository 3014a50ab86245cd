"""`GET /healthz`: whether this process, the database and a worker are there. It tells strangers nothing else.

Rule: below `keyframe up` (which sets `KEYFRAME_RUN_ID`) it is ok only when `run.json` of that very run is written,
and `up` writes that last, when the sample data is in.
"""

from __future__ import annotations

import json
import os

from flask import Blueprint, Response, jsonify

from ..settings import Settings
from .office import Office
from .patience import bounded

RUN_ID = "KEYFRAME_RUN_ID"
_PATIENCE = 1.5  # seconds that whoever asks for the health waits for the database


def health(office: Office) -> Blueprint:
    """The blueprint with the one route `/healthz`."""
    blueprint = Blueprint("keyframe_health", __name__)

    def healthz() -> Response:
        state = "starting" if not _run_is_up(office.settings) else "ok" if _parts_are_there(office) else "degraded"
        response = jsonify({"status": state})
        response.status_code = 200 if state == "ok" else 503
        response.headers["Cache-Control"] = "no-store"
        if state != "ok":
            response.headers["Retry-After"] = "1"
        return response

    blueprint.add_url_rule("/healthz", view_func=healthz)
    return blueprint


def _parts_are_there(office: Office) -> bool:
    with bounded(min(_PATIENCE, office.settings.mongo.timeout)):
        parts = office.desk.health()
    return bool(parts.database and parts.worker and parts.storage)


def _run_is_up(settings: Settings) -> bool:
    expected = os.environ.get(RUN_ID)
    if not expected:
        return True
    try:
        run = json.loads((settings.var / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(run, dict) and run.get("run_id") == expected

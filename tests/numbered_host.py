"""A host with Keyframe mounted whose changes are numbered: each writes one record and one file, and removes nothing."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask
from keyframe.settings import load
from keyframe.wiring import Keyframe
from pymongo import MongoClient

TOP = "numbers"  # the folder in the working directory, and the collection
BETWEEN = 0.002  # seconds between record and file


def create_app() -> Flask:
    """The application; settings come from the environment."""
    settings = load()
    database = MongoClient[dict[str, Any]](settings.mongo.uri, connect=False)[settings.mongo.database]
    app = Flask("numbered")
    app.secret_key = "only for tests"

    @app.post("/number/<int:number>")
    def write(number: int) -> str:
        database[TOP].insert_one({"_id": number})
        time.sleep(BETWEEN)
        (settings.working / TOP / f"{number}.txt").write_text(f"change {number}\n")
        return "done"

    Keyframe(settings).init_app(app)
    return app

"""The web application of this repository: the editions site, with Keyframe mounted into it as any host would."""

from __future__ import annotations

from typing import Any

from flask import Flask, url_for
from pymongo import MongoClient

from .editions import EXEMPT, LAYOUT, EditionsSite
from .editions.sizes import forget_sizes
from .errors import SettingsError
from .resources import resource_folder
from .settings import Settings, load
from .stores.people import StoredPeople
from .wiring import Keyframe


def create_app(settings: Settings | None = None) -> Flask:
    """The application, for gunicorn and for tests; reaches no server before the first request.

    Raises
    ------
    SettingsError: the settings are wrong, or name no database.
    """
    settings = settings or load()
    if not settings.mongo.uri:
        raise SettingsError(
            "mongo.uri: found nothing, expected: the address of a MongoDB replica set",
            subject="settings",
            hint="Set KEYFRAME_MONGO__URI, or start everything with `keyframe up`.",
        )
    app = Flask(
        __name__,
        static_folder=str(resource_folder("static")),
        template_folder=str(resource_folder("templates")),
    )
    app.secret_key = settings.secret_key()
    # A process of its own for each worker of gunicorn: no connection may be open before it is forked.
    client = MongoClient[dict[str, Any]](
        settings.mongo.uri,
        connect=False,
        tz_aware=True,
        timeoutMS=int(settings.mongo.timeout * 1000),  # per call: a server that hangs must not hold every thread
    )
    app.extensions["mongo_client"] = client  # for who ends the application before its process ends
    database = client[settings.mongo.database]
    EditionsSite(settings, database).init_app(app)
    Keyframe(
        settings,
        StoredPeople(database),
        layout=LAYOUT,
        exempt=EXEMPT,
        project_page=lambda project_id: url_for("editions.project", project_id=project_id),
        after_restore=(forget_sizes,),
    ).init_app(app)
    return app

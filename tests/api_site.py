"""A whole Keyframe for tests of the REST door: sample site, host application, a worker in a thread, and a client."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask_login import LoginManager, UserMixin, login_user
from flask_wtf.csrf import generate_csrf
from keyframe.doors.office import Office
from keyframe.doors.worker import serve
from keyframe.settings import Settings
from keyframe.wiring import Keyframe
from pymongo import MongoClient
from pymongo.database import Database
from sampled import fill_sample
from werkzeug.test import TestResponse

WAIT = {"Prefer": "wait=30"}


class _User(UserMixin):
    def __init__(self, user: str) -> None:
        self.id = user


def host(office_settings: Settings) -> tuple[Flask, Office]:
    """An application as a stranger would write it: own error pages, own sign-in, and the extension."""
    app = Flask("host")
    app.secret_key = secrets.token_hex(8)
    LoginManager(app).user_loader(_User)
    app.register_error_handler(404, lambda _: ("the host's own page", 404))
    app.register_error_handler(Exception, lambda _: ("the host's own page", 500))

    @app.post("/sign-in/<user>")
    def sign_in(user: str) -> str:
        login_user(_User(user))
        return generate_csrf()

    keyframe = Keyframe(office_settings)
    keyframe.init_app(app)
    return app, keyframe.office


@dataclass
class ApiSite:
    """The running parts; `call` speaks REST as a person of the sample."""

    settings: Settings
    database: Database[dict[str, Any]]
    app: Flask
    office: Office
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, user: str) -> str:
        if user not in self.tokens:
            self.tokens[user] = self.office.desk.create_token(self.office.login.shell_actor(), user, "test")
        return self.tokens[user]

    def call(self, method: str, path: str, user: str | None = "admin", **more: Any) -> TestResponse:
        headers = dict(more.pop("headers", {}))
        if user is not None:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        return self.app.test_client().open(f"/api/v1{path}", method=method, headers=headers, **more)

    def make(self, scope: str, user: str = "admin") -> str:
        """A snapshot's name; the newest's where nothing changed."""
        answer = self.call("POST", f"/{scope}/snapshots", user, headers=WAIT)
        assert answer.status_code in (200, 201), answer.get_data(as_text=True)
        name = answer.get_json()["snapshot"]["name"]
        assert isinstance(name, str)
        return name

    def project(self, organiser: str) -> str:
        """The id of the project that somebody organises."""
        coupling = self.database["projectUser"].find_one({"user": organiser, "role": "organiser"})
        assert coupling is not None
        return str(coupling["projectId"])

    def folder(self, project: str) -> Path:
        return self.settings.working / "project" / project

    def touch(self, project: str, text: str = "") -> Path:
        """Change something in a project, so that its next snapshot is a new one."""
        path = self.folder(project) / "touched.txt"
        path.write_text(text or secrets.token_hex(4))
        return path


@contextlib.contextmanager
def api_site(mongo_uri: str, folder: Path, *, worker: bool = True, threads: int = 8) -> Iterator[ApiSite]:
    name = f"api_{secrets.token_hex(6)}"
    settings = Settings(
        var=folder / "var",
        run_mode="test",
        mongo={"uri": mongo_uri, "database": name},  # type: ignore[arg-type]
        web={"threads": threads},  # type: ignore[arg-type]
    )
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        fill_sample(settings, client[name])
        app, office = host(settings)
        stop = threading.Event()
        thread = threading.Thread(target=serve, args=(office, stop), daemon=True)
        if worker:
            thread.start()
        try:
            yield ApiSite(settings, client[name], app, office)
        finally:
            stop.set()
            if worker:
                thread.join(20)
            office.database.client.close()
            client.drop_database(name)
            client.drop_database(f"{name}_control")

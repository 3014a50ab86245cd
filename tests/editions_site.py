"""A browser without JavaScript on the editions site: signs in by the sample's buttons, sends forms with their token."""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from keyframe.settings import Settings
from keyframe.site import create_app
from pymongo import MongoClient
from pymongo.database import Database
from sampled import CONTENT, fill_sample
from werkzeug.test import TestResponse

Site = Database[dict[str, Any]]

HOST = "http://localhost:8000"
PROJECTS = {record["title"]: str(record["_id"]) for record in CONTENT.records["project"]}
MILLS = PROJECTS["The Drowned Mills of Oudewaarde"]
TABLE = PROJECTS["A Table for Twelve: Ceramics from the Haverstraat Pit"]
HIDDEN = PROJECTS["Instruments of the Wierhuizen Observatory"]
EDITIONS = {record["title"]: str(record["_id"]) for record in CONTENT.records["edition"]}
OIL_MILL = EDITIONS["The Oil Mill of Sint-Odulf"]
LOCK_HOUSE = EDITIONS["The Lock Keeper’s House at Karnewetering"]  # not published; editor and reader are coupled to it
BOWL = EDITIONS["The Footed Bowl HS 17"]


def settings_for(folder: Path, uri: str, database: str, **more: Any) -> Settings:
    values = {"run_mode": "test", "var": folder, "sample": {"sign_in": True}, **more}
    return Settings(mongo={"uri": uri, "database": database, "timeout": 1.0}, **values)


@contextmanager
def running_app(settings: Settings) -> Iterator[Flask]:
    """The application, whose connections are closed afterwards."""
    app = create_app(settings)
    try:
        yield app
    finally:
        app.extensions["mongo_client"].close()
        app.extensions["keyframe"].office.database.client.close()


class World:
    """A site with the sample in it, and what tests look at."""

    def __init__(self, app: Flask, settings: Settings, database: Site) -> None:
        self.app = app
        self.settings = settings
        self.database = database

    def browser(self, user: str | None = None) -> Browser:
        browser = Browser(self.app.test_client())
        if user:
            browser.sign_in(user)
        return browser

    def folder(self, project: str, edition: str) -> Path:
        return self.settings.working / "project" / project / "edition" / edition

    def files(self) -> dict[str, bytes]:
        top = self.settings.working
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def records(self) -> dict[str, list[dict[str, Any]]]:
        names = ("site", "user", "project", "edition", "projectUser", "editionUser")
        return {name: list(self.database[name].find().sort("_id")) for name in names}

    def edition(self, edition: str) -> dict[str, Any] | None:
        return next((one for one in self.records()["edition"] if str(one["_id"]) == edition), None)


@contextmanager
def sample_world(folder: Path, client: MongoClient[dict[str, Any]], uri: str, **more: Any) -> Iterator[World]:
    name = f"test_{secrets.token_hex(6)}"
    settings = settings_for(folder, uri, name, **more)
    settings.working.mkdir(parents=True)
    fill_sample(settings, client[name])
    try:
        with running_app(settings) as app:
            yield World(app, settings, client[name])
    finally:
        client.drop_database(name)
        client.drop_database(f"{name}_control")


class Browser:
    """A Flask test client that keeps to one host, and fills in the token of its session's forms."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def get(self, path: str, **more: Any) -> TestResponse:
        # buffered: the file of an answer is read and closed at once
        return self.client.get(path, base_url=HOST, buffered=True, **more)

    def token(self) -> str:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get("/sign-in").text)
        assert found
        return found[1]

    def post(
        self, path: str, form: Mapping[str, Any] | None = None, *, token: bool = True, **more: Any
    ) -> TestResponse:
        data = {**(form or {}), **({"csrf_token": self.token()} if token else {})}
        return self.client.post(path, data=data, base_url=HOST, buffered=True, **more)

    def sign_in(self, user: str) -> None:
        assert self.post("/sign-in/sample", {"user": user}).status_code == 303

    def upload(self, path: str, name: str, content: bytes, /, **form: str) -> TestResponse:
        return self.post(path, {"file": (io.BytesIO(content), name), **form}, content_type="multipart/form-data")


def address(project: str, edition: str = "", *more: str) -> str:
    return "/".join((f"/project/{project}", *((f"edition/{edition}",) if edition else ()), *more))

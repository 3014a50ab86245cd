"""The editions site with Keyframe in it, a worker in a thread, and people who click: for tests of the pages."""

from __future__ import annotations

import contextlib
import html
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from keyframe.doors.office import Office
from keyframe.doors.worker import serve
from keyframe.model import Job, Scope
from keyframe.settings import Settings
from keyframe.site import create_app
from pymongo import MongoClient
from pymongo.database import Database
from sampled import fill_sample
from werkzeug.test import TestResponse

_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_FORM = re.compile(r"<form[^>]*>.*?</form>", re.DOTALL)
_ACTION = re.compile(r'<form[^>]*action="([^"]*)"')
_INPUT = re.compile(r"<input[^>]*>")


def text_of(answer: TestResponse | str) -> str:
    """What a page says: without its tags, with single spaces."""
    page = answer if isinstance(answer, str) else answer.get_data(as_text=True)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


class Person:
    """Somebody with a browser that shows text only."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def look(self, url: str, **more: Any) -> TestResponse:
        return self.client.get(url, **more)

    def page(self, url: str) -> str:
        answer = self.look(url)
        assert answer.status_code == 200, (url, answer.status_code, text_of(answer))
        return answer.get_data(as_text=True)

    def token(self) -> str:
        """A CSRF token of this session."""
        found = _TOKEN.search(self.page("/snapshots/me"))
        assert found is not None
        return found.group(1)

    def post(self, url: str, **form: Any) -> TestResponse:
        return self.client.post(url, data={"csrf_token": self.token(), **form})

    def press(self, page: str, label: str, /, **form: Any) -> TestResponse:
        """Press the button `label` of a page, sending its form as a browser would."""
        for found in _FORM.findall(page):
            if re.search(rf"<button[^>]*>\s*{re.escape(label)}\s*</button>", html.unescape(found)):
                action = _ACTION.search(found)
                assert action is not None, found
                inputs = [_attributes(one) for one in _INPUT.findall(found)]
                sent = {
                    one["name"]: one.get("value", "")
                    for one in inputs
                    if "name" in one and (one.get("type") != "checkbox" or "checked" in one)
                }
                return self.client.post(html.unescape(action.group(1)), data={**sent, **form})
        raise AssertionError(f"no button {label!r} on the page: {text_of(page)}")

    def follow(self, answer: TestResponse) -> str:
        """The page that an answer redirects to."""
        assert answer.status_code == 303, (answer.status_code, text_of(answer))
        return self.page(answer.headers["Location"])


def _attributes(tag: str) -> dict[str, str]:
    named = {key: html.unescape(value) for key, value in re.findall(r'([\w-]+)="([^"]*)"', tag)}
    return named | ({"checked": ""} if re.search(r"\schecked[\s>]", tag) else {})


@dataclass
class PagesSite:
    """The running parts, and ways to change the live state past the pages."""

    settings: Settings
    database: Database[dict[str, Any]]
    app: Flask
    office: Office

    def person(self, user: str | None) -> Person:
        """A browser in which `user` is signed in."""
        client = self.app.test_client()
        if user is not None:
            account = self.app.extensions["editions"].records.account(user)
            with client.session_transaction() as session:
                session["_user_id"] = user
                session["editions_session"] = self.app.extensions["editions"].sessions.begin(account.person)
        return Person(client)

    def project(self, organiser: str = "organiser") -> str:
        coupling = self.database["projectUser"].find_one({"user": organiser, "role": "organiser"})
        assert coupling is not None
        return str(coupling["projectId"])

    def folder(self, project: str) -> Path:
        return self.settings.working / "project" / project

    def files(self, project: str) -> dict[str, bytes]:
        folder = self.folder(project)
        return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}

    def ended(self, job: Job) -> Job:
        """The job when it has ended."""
        done = self.office.jobs.wait(job.id, 60)
        assert done.outcome is not None, done
        return done

    def newest(self, project: str) -> str:
        """The name of the newest of a project's own snapshots."""
        return max(one.name for one in (self.settings.repository / "project" / project).iterdir())

    def make(self, scope: Scope, note: str = "", user: str = "root") -> str:
        """The name of a snapshot, made past the pages; the newest one's if nothing has changed."""
        actor = self.office.login._actor(user, "page")
        outcome = self.ended(self.office.desk.make(actor, scope, note)).outcome
        assert outcome is not None and outcome.snapshot is not None, outcome
        return outcome.snapshot


@contextlib.contextmanager
def pages_site(mongo_uri: str, folder: Path, **more: Any) -> Iterator[PagesSite]:
    name = f"pages_{secrets.token_hex(6)}"
    settings = Settings(
        var=folder / "var",
        run_mode="test",
        mongo={"uri": mongo_uri, "database": name},  # type: ignore[arg-type]
        web={"threads": 8},  # type: ignore[arg-type]
        **more,
    )
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        fill_sample(settings, client[name])
        with application(settings) as app:
            office = app.extensions["keyframe"].office
            stop = threading.Event()
            thread = threading.Thread(target=serve, args=(office, stop), daemon=True)
            thread.start()
            try:
                yield PagesSite(settings, client[name], app, office)
            finally:
                stop.set()
                thread.join(20)
                client.drop_database(name)
                client.drop_database(f"{name}_control")


@contextlib.contextmanager
def application(settings: Settings) -> Iterator[Flask]:
    """The application, whose connections are closed afterwards."""
    app = create_app(settings)
    try:
        yield app
    finally:
        app.extensions["mongo_client"].close()
        app.extensions["keyframe"].office.database.client.close()

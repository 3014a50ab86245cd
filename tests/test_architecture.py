"""docs/architecture.md and docs/decisions: the rooms are all named, and the host of the page runs as it stands."""

from __future__ import annotations

import importlib.util
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from keyframe.doors.office import Office
from keyframe.doors.worker import serve
from pymongo.database import Database
from werkzeug.security import generate_password_hash

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
WAIT = {"Prefer": "wait=30"}


def rooms_named(first_column: str) -> set[str]:
    """What stands in the first column of the table that begins with this word."""
    lines = iter(DOCUMENT.splitlines())
    next(line for line in lines if line.startswith(f"| {first_column} |"))
    names: set[str] = set()
    for line in lines:
        if not line.startswith("|"):
            return names
        names |= set(re.findall(r"`([a-z_]+)/?`", line.split("|")[1]))
    raise AssertionError("the table has no end")


@pytest.mark.parametrize(("column", "folder"), [("room", "."), ("in `stores/`", "stores"), ("in `backup/`", "backup")])
def test_every_room_is_on_the_page_and_no_other(column: str, folder: str) -> None:
    top = ROOT / "control" / folder
    files = {path.stem for path in top.glob("*.py")} - {"__init__"}
    folders = {path.name for path in top.iterdir() if (path / "__init__.py").exists()}

    assert rooms_named(column) == files | folders


def test_what_the_page_points_to_is_there() -> None:
    for page in ("architecture.md", "snapshot-format.md", *(f"decisions/{path.name}" for path in decisions())):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (ROOT / "docs" / page).parent.joinpath(link).exists(), f"{page}: {link}"
    for path in re.findall(r"`((?:stores|backup|doors)/\w+\.py|\w+\.py)`", DOCUMENT):
        assert (ROOT / "control" / path).exists() or path == "blog.py", path


def decisions() -> list[Path]:
    return sorted((ROOT / "docs/decisions").glob("*.md"))


def test_decisions_are_numbered_and_have_all_their_parts() -> None:
    assert [int(path.name[:4]) for path in decisions()] == list(range(1, len(decisions()) + 1))
    for path in decisions():
        text = path.read_text(encoding="utf-8")
        parts = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
        assert text.startswith(f"# {path.name[:4]}. "), path.name
        assert parts == ["Status", "Context", "Options", "Decision", "Consequences"], path.name


# --- the host of the page


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", DOCUMENT, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


class Blog:
    """The host, running: its application, Keyframe's parts, and where its files lie."""

    def __init__(self, app: Flask, database: Database[dict[str, Any]], files: Path) -> None:
        self.app = app
        self.database = database
        self.files = files
        self.office: Office = app.extensions["keyframe"].office

    def browser(self, user: str | None = None) -> FlaskClient:
        client = self.app.test_client()
        if user is not None:
            page = client.get("/sign-in").get_data(as_text=True)
            form = {"user": user, "password": f"secret of {user}", "csrf_token": token_of(page)}
            assert client.post("/sign-in", data=form).status_code == 302
        return client

    def write(self, name: str, text: str, user: str = "ann") -> int:
        client = self.browser(user)
        page = client.get("/blog/gardens").get_data(as_text=True)
        return client.post("/blog/gardens", data={"name": name, "text": text, "csrf_token": token_of(page)}).status_code

    def text(self, name: str) -> str:
        return (self.files / "project/gardens/article" / name / "text.txt").read_text()


def token_of(page: str) -> str:
    found = TOKEN.search(page)
    assert found is not None, page
    return found.group(1)


@pytest.fixture
def quiet_blog(
    tmp_path: Path, database: Database[dict[str, Any]], mongo_uri: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Blog]:
    """The host without a worker."""
    (tmp_path / "config.yaml").write_text(block("yaml"))
    (tmp_path / "blog.py").write_text(block("python"))
    here = {"CONFIG": tmp_path / "config.yaml", "VAR": tmp_path / "var", "MONGO__DATABASE": database.name}
    here |= {
        "GATE__WAIT": "0.1",
        "MONGO__URI": mongo_uri,
        "WORKING_DIR": tmp_path / "files",
        "DATA_DIR": tmp_path / "snapshots",
    }
    for key, value in here.items():
        monkeypatch.setenv(f"KEYFRAME_{key}", str(value))
    people = [("ann", False), ("bob", False), ("chief", True)]
    secrets = {user: generate_password_hash(f"secret of {user}", "pbkdf2:sha256:1000") for user, _ in people}
    database.account.insert_many(
        [{"_id": user, "name": user.title(), "admin": admin, "password": secrets[user]} for user, admin in people]
    )
    database.blog.insert_many(
        [{"_id": "gardens", "title": "Gardens", "owner": "ann"}, {"_id": "rain", "title": "Rain"}]
    )
    app = module(tmp_path / "blog.py").create_app()
    running = Blog(app, database, tmp_path / "files")
    yield running
    app.extensions["mongo"].close()
    running.office.database.client.close()


@pytest.fixture
def blog(quiet_blog: Blog) -> Iterator[Blog]:
    stop = threading.Event()
    worker = threading.Thread(target=serve, args=(quiet_blog.office, stop), daemon=True)
    worker.start()
    yield quiet_blog
    stop.set()
    worker.join(20)


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("host_of_the_page", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_owner_makes_a_snapshot_by_button_and_restores_it_by_rest(blog: Blog) -> None:
    assert blog.write("roses", "as it was") == 200
    owner = blog.browser("ann")
    page = owner.get("/blog/gardens").get_data(as_text=True)
    assert "Make a snapshot" in page
    form = {"csrf_token": token_of(page), "from": "section", "note": "before"}
    made = owner.post("/snapshots/project/gardens/make", data=form)
    assert made.status_code == 303, made.get_data(as_text=True)
    assert made.headers["Location"].startswith("/blog/gardens")
    assert blog.write("roses", "spoilt by mistake") == 200

    secret = blog.office.desk.create_token(blog.office.login.shell_actor(), "ann")
    answer = blog.app.test_client().post(
        "/api/v1/projects/gardens/snapshots/latest/restore",
        json={"selection": {"editions": ["roses"]}},
        headers={**WAIT, "Authorization": f"Bearer {secret}"},
    )

    assert answer.get_json()["job"]["outcome"]["status"] == "done"
    assert blog.text("roses") == "as it was"
    assert blog.database.article.find_one() == {"_id": "roses", "blogId": "gardens", "words": 3}


def test_only_who_may_sees_the_section_and_the_host_keeps_its_own_pages(blog: Blog) -> None:
    for user, sees in (("ann", True), ("chief", True), ("bob", False), (None, False)):
        client = blog.browser(user)
        assert ("Make a snapshot" in client.get("/blog/gardens").get_data(as_text=True)) == sees
        assert client.get("/snapshots/project/gardens").status_code == (200 if sees else 302 if user is None else 404)
    assert blog.write("roses", "by somebody else", user="bob") == 403
    missing = blog.browser().get("/nothing")
    assert (missing.status_code, missing.headers.get("Content-Security-Policy")) == (404, None)


def test_writing_requests_of_the_host_wait_at_the_gate_and_signing_in_does_not(blog: Blog) -> None:
    with blog.office.gate.closed():
        assert blog.write("roses", "meanwhile") == 503  # and `write` has signed in
    assert blog.write("roses", "afterwards") == 200

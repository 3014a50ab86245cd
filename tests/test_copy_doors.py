"""Copies beside the live site and new projects by all doors: page, REST, command line."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from api_site import WAIT, ApiSite, api_site
from bson import ObjectId
from click.testing import CliRunner, Result
from keyframe.doors.login import Login
from keyframe.doors.office import Office
from keyframe.main import cli
from keyframe.model import Action, Scope
from keyframe.settings import ShellSettings
from pages_site import PagesSite, pages_site, text_of
from structlog.testing import capture_logs
from world import ONE, PROJECT, World


@dataclass
class Shell:
    """The command line inside this process."""

    world: World
    role: str = "root"

    def __call__(self, *words: str) -> Result:
        office = self.world.office
        settings = ShellSettings(role=self.role)  # type: ignore[arg-type]
        login = Login(office.login._people, office.login._tokens, settings)
        with capture_logs():
            return CliRunner().invoke(
                cli, list(words), obj=lambda _: _Opening(replace(office, login=login)), prog_name="keyframe"
            )


class _Opening:
    def __init__(self, office: Office) -> None:
        self.settings, self.config, self._office = office.settings, None, office

    @contextlib.contextmanager
    def __call__(self, database: bool = True) -> Iterator[Office]:
        yield self._office


@pytest.fixture
def name(mongo_client: Any) -> Iterator[str]:
    chosen = f"old_{secrets.token_hex(6)}"
    yield chosen
    mongo_client.drop_database(chosen)


# --- command line


def test_the_command_puts_a_copy_where_it_is_told(
    world: World, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.make(PROJECT)
    monkeypatch.chdir(tmp_path)

    said = Shell(world)("restore", "latest", "--project", str(ONE), "--into", "old", "--database", name)

    assert said.exit_code == 0, said.output
    assert "Done: the copy of the snapshot" in said.output
    assert f"files in {tmp_path}/old" in said.output and f"3 records in the database {name}" in said.output
    assert (tmp_path / "old/edition").is_dir()
    assert world.client[name].edition.count_documents({}) == 2
    again = Shell(world)("restore", "latest", "--project", str(ONE), "--into", "old", "--json")
    assert again.exit_code == 2
    assert json.loads(again.stdout)["code"] == "invalid"


def test_the_command_makes_a_new_project_and_says_its_id(world: World) -> None:
    world.make(PROJECT)
    wanted = str(ObjectId())

    said = Shell(world)("restore", "latest", "--project", str(ONE), "--as-new", "--new-id", wanted, "--json")

    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["job"]["outcome"]["report"]["project_id"] == wanted
    assert world.db.project.count_documents({"_id": ObjectId(wanted)}) == 1
    words = Shell(world)("restore", "latest", "--project", str(ONE), "--as-new")
    assert "Done: the project is there as a new one" in words.output
    assert "First (copy of" in words.output and "nobody organises it" in words.output


@pytest.mark.parametrize(
    "options",
    [
        ["--into", "x", "--people"],
        ["--database", "x", "--plan", "0" * 64],
        ["--as-new", "--into", "x"],
        ["--new-id", "0" * 24],
        ["--as-new"],  # of the whole site
    ],
    ids=" ".join,
)
def test_options_that_do_not_go_together_are_refused(world: World, options: list[str]) -> None:
    world.make(Scope.site())
    before = world.state()

    said = Shell(world)("restore", "latest", "--site", *options)

    assert said.exit_code == 2, said.output
    assert "othing was made" in said.output
    assert world.state() == before


def test_who_may_not_is_refused_at_the_command_line_too(world: World, tmp_path: Path) -> None:
    world.make(PROJECT)

    for options in (["--into", str(tmp_path / "old")], ["--as-new"]):
        assert Shell(world, "user")("restore", "latest", "--project", str(ONE), *options).exit_code == 4


# --- REST


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    with api_site(mongo_uri, tmp_path_factory.mktemp("api")) as running:
        yield running


def test_rest_copies_into_a_database_and_no_folder_where_none_is_set(site: ApiSite, name: str) -> None:
    made = site.make("site")

    done = site.call("POST", f"/site/snapshots/{made}/copy", json={"database": name}, headers=WAIT)
    assert done.status_code == 200, done.get_data(as_text=True)
    report = done.get_json()["job"]["outcome"]["report"]
    assert (report["into"], report["database"]) == (None, name)
    assert name in site.database.client.list_database_names()

    again = site.call("POST", f"/site/snapshots/{made}/copy", json={"database": name}, headers=WAIT)
    assert (again.status_code, again.get_json()["code"]) == (422, "invalid")
    folder = site.call("POST", f"/site/snapshots/{made}/copy", json={"into": "old"}, headers=WAIT)
    assert (folder.status_code, folder.get_json()["code"]) == (403, "refused")
    nowhere = site.call("POST", f"/site/snapshots/{made}/copy", json={}, headers=WAIT)
    assert (nowhere.status_code, nowhere.get_json()["code"]) == (422, "invalid")


def test_rest_makes_a_new_project(site: ApiSite) -> None:
    made, project = site.make("site"), site.project("organiser")

    for path, body in (
        (f"/projects/{project}/snapshots/{made}", {}),
        (f"/site/snapshots/{made}", {"selection": {"projects": [project]}}),
    ):
        done = site.call("POST", f"{path}/duplicate", json=body, headers=WAIT)
        assert done.status_code == 200, done.get_data(as_text=True)
        new = done.get_json()["job"]["outcome"]["report"]["project_id"]
        found = site.database["project"].find_one({"_id": ObjectId(new)})
        assert found is not None and "(copy of " in found["title"]
        assert site.call("GET", f"/projects/{new}/snapshots").status_code == 200
        assert site.call("GET", f"/projects/{new}/snapshots", "organiser").status_code == 404


def test_organisers_are_refused_by_rest_and_strangers_learn_nothing(site: ApiSite) -> None:
    made, project = site.make("site"), site.project("organiser")

    for act, body in (("copy", {"database": "x"}), ("duplicate", {})):
        path = f"/projects/{project}/snapshots/{made}/{act}"
        assert site.call("POST", path, "organiser", json=body).status_code == 403
        assert site.call("POST", path, "reader", json=body).status_code == 404
    acts = {one["project_id"]: one["acts"] for one in site.call("GET", "/scopes", "organiser").get_json()["scopes"]}
    assert not {Action.COPY, Action.DUPLICATE} & set(acts[project])


# --- pages


@pytest.fixture(scope="module")
def pages(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesSite]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / "beside").mkdir()
    with pages_site(mongo_uri, folder, restore={"beside": folder / "beside"}) as running:
        yield running


def test_the_page_of_a_snapshot_copies_it_into_a_folder(pages: PagesSite) -> None:
    admin, project = pages.person("admin"), pages.project()
    made = pages.make(Scope.project(project))
    page = admin.page(f"/snapshots/project/{project}/{made}")

    answer = admin.press(page, "Make the copy", into="by page")

    job = pages.ended(
        pages.office.desk.job(pages.office.login.shell_actor(), answer.headers["Location"].split("/")[-1])
    )
    assert "Done: the copy of the snapshot" in text_of(admin.page(f"/snapshots/jobs/{job.id}"))
    below = pages.settings.restore.beside
    assert below is not None
    found = {str(one.relative_to(below / "by page")) for one in (below / "by page").rglob("*") if one.is_file()}
    assert found == set(pages.files(project))


def test_the_page_of_a_snapshot_makes_a_new_project(pages: PagesSite) -> None:
    admin, project = pages.person("admin"), pages.project()
    made = pages.make(Scope.project(project))
    page = admin.page(f"/snapshots/project/{project}/{made}")

    answer = admin.press(page, "Restore as a new project")

    job = pages.ended(
        pages.office.desk.job(pages.office.login.shell_actor(), answer.headers["Location"].split("/")[-1])
    )
    page = admin.page(f"/snapshots/jobs/{job.id}")
    assert "Done: the project is there as a new one" in text_of(page)
    assert f"/snapshots/project/{job.order.new_id}" in page
    assert admin.look(f"/snapshots/project/{job.order.new_id}").status_code == 200


def test_an_organiser_sees_no_button_for_either(pages: PagesSite) -> None:
    organiser, project = pages.person("organiser"), pages.project()
    made = pages.make(Scope.project(project))

    page = organiser.page(f"/snapshots/project/{project}/{made}")

    assert "Restore as a new project" not in page and "Copy beside" not in page
    for act in ("copy", "duplicate"):
        answer = organiser.post(f"/snapshots/project/{project}/{made}/{act}", database="x")
        assert answer.status_code == 403

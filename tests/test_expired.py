"""A preview that is no longer kept: each door says so, and what it was of, to whoever may look at it again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner
from keyframe.doors.cli import cli
from keyframe.errors import ExpiredError, NotFoundError
from keyframe.model import Actor, Scope, Selection
from keyframe.stores.plans import KEPT_SECONDS
from pages_site import PagesSite, pages_site, text_of
from world import EDITION, PROJECT, World

RECORD = f'{{"$oid": "{EDITION[0]}"}}'
CHOSEN = Selection(editions=(str(EDITION[0]),), paths=("edition",), records=(("edition", RECORD),))
GONE = "0" * 64


def age(folder: Any, *, swept: bool) -> None:
    """Let a day go by for all plans."""
    for path in (folder / ".keyframe" / "plans").iterdir():
        if swept:
            path.unlink()
        else:
            os.utime(path, (time.time() - KEPT_SECONDS - 1,) * 2)


def a_preview(world: World) -> tuple[str, str]:
    """The digest of an old preview of some of the first project, and the snapshot that it is of."""
    snapshot = world.make()
    world.spoil()
    plan = world.preview(snapshot, selection=CHOSEN)
    return plan.digest, snapshot.name


@pytest.mark.parametrize("swept", [False, True])
def test_a_plan_older_than_a_day_says_what_it_was_of(world: World, swept: bool) -> None:
    digest, name = a_preview(world)
    age(world.settings.data, swept=swept)

    with pytest.raises(ExpiredError) as caught:
        world.office.desk.plan(world.ask, digest)
    with pytest.raises(ExpiredError):
        world.office.desk.restore(world.ask, PROJECT, name, plan=digest)

    again = caught.value.again
    assert (again["scope"], again["snapshot"], again["people"]) == (PROJECT.as_dict(), name, False)
    assert Selection.from_dict(again["selection"]) == CHOSEN  # type: ignore[arg-type]


def test_who_may_not_preview_does_not_learn_that_there_was_a_plan(world: World) -> None:
    digest, _ = a_preview(world)
    age(world.settings.data, swept=True)

    with pytest.raises(NotFoundError) as hidden:
        world.office.desk.plan(Actor("bram", "Bram", "user", "page"), digest)
    with pytest.raises(NotFoundError) as absent:
        world.office.desk.plan(world.ask, GONE)

    assert hidden.value.problem() == absent.value.problem()
    assert hidden.value.code == "not-found"


def test_the_command_line_says_it_with_its_code(world: World) -> None:
    digest, name = a_preview(world)
    age(world.settings.data, swept=True)

    @contextmanager
    def opener() -> Iterator[Any]:
        yield world.office

    words = ["restore", name, "--project", str(PROJECT.project_id), "--plan", digest, "--yes"]
    done = CliRunner().invoke(cli, [*words, "--json"], obj=lambda _: opener)
    said = CliRunner().invoke(cli, words, obj=lambda _: opener)

    assert (done.exit_code, json.loads(done.stdout)["code"]) == (4, "expired")
    assert "has expired" in said.output
    assert "Preview it again" in said.output


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesSite]:
    with pages_site(mongo_uri, tmp_path_factory.mktemp("expired")) as running:
        yield running


def test_the_page_offers_to_look_again_at_the_same(site: PagesSite) -> None:
    project = site.project()
    name = site.make(Scope.project(project))
    gone = sorted(site.folder(project).rglob("*.html"))[:2]
    for one in gone:
        one.unlink()
    person = site.person("organiser")
    path = str(gone[0].relative_to(site.folder(project)))
    answer = person.post(f"/snapshots/project/{project}/{name}/preview", paths=path, only="files")
    url = answer.headers["Location"]
    before = text_of(person.page(url))
    age(site.settings.data, swept=True)

    expired = person.look(url)
    page = expired.get_data(as_text=True)
    agreed = person.post(
        f"/snapshots/project/{project}/{name}/restore", plan=url.rsplit("/", 1)[1]
    )  # of a tab that was open since
    stranger = site.person("reader").look(url)

    assert (expired.status_code, agreed.status_code, stranger.status_code) == (410, 410, 404)
    assert "The preview has expired" in text_of(page)
    assert "nothing was changed." in text_of(agreed)
    assert "Look again" not in text_of(stranger)
    for one in (page, agreed.get_data(as_text=True)):
        assert text_of(person.follow(person.press(one, "Look again at what it would do"))) == before


def test_rest_answers_410_with_what_it_was_of(site: PagesSite) -> None:
    project = site.project()
    name = site.make(Scope.project(project))
    (site.folder(project) / "newer.txt").write_text("new")
    token = site.office.desk.create_token(site.office.login.shell_actor(), "organiser", "test")
    client, headers = site.app.test_client(), {"Authorization": f"Bearer {token}", "Prefer": "wait=30"}
    at = f"/api/v1/projects/{project}/snapshots/{name}"
    plan = client.post(f"{at}/preview", headers=headers, json={"selection": {"paths": ["newer.txt"]}}).get_json()
    age(site.settings.data, swept=True)

    looked = client.get(f"/api/v1/plans/{plan['digest']}", headers=headers)
    document = looked.get_json()

    assert (looked.status_code, document["code"]) == (410, "expired")
    assert document["again"]["selection"]["paths"] == ["newer.txt"]
    body = {key: document["again"][key] for key in ("selection", "people", "only_intact")}
    assert client.post(f"{at}/preview", headers=headers, json=body).status_code == 200

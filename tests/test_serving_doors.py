"""That a snapshot has served as safety snapshot, and that an undo needs it: said by command line, REST and pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from api_site import WAIT, ApiSite, api_site
from click.testing import CliRunner
from keyframe.doors.cli import cli
from keyframe.doors.office import Office
from keyframe.model import Actor, Scope
from pages_site import PagesSite, pages_site, text_of
from world import PROJECT, World

SERVED = "served as safety snapshot, because everything was still as in it."


def run(office: Office, *words: str) -> tuple[int, str]:
    """A command, as the shell would call it."""

    @contextmanager
    def opener(database: bool = True) -> Iterator[Any]:
        yield office

    done = CliRunner().invoke(cli, list(words), obj=lambda _: opener)
    return done.exit_code, done.output


def test_the_command_line_says_what_served_what(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    made = world.restore(snapshot).safety
    of = ("--project", PROJECT.project_id or "")

    code, said = run(world.office, "undo", *of, "--yes")

    assert code == 0 and SERVED in said, said
    _, listed = run(world.office, "list", *of)
    rows = {line.split()[0]: line for line in listed.splitlines()}
    assert "made before bringing back the snapshot of today" in rows[made or ""]
    assert "that was undone since" in rows[made or ""] and "root" in rows[made or ""]
    assert "served as safety snapshot before undoing a restore" in rows[snapshot.name]
    assert all("[safety]" in rows[name] for name in (made or "", snapshot.name))
    _, shown = run(world.office, "show", snapshot.name, *of)
    assert "made by hand; served as safety snapshot before undoing a restore" in shown
    assert "takes back the undo that it served" in shown
    assert "status    done, safety" in shown


def test_the_command_line_says_that_the_undo_goes_into_the_trash_too(world: World) -> None:
    snapshot = world.make()
    world.spoil()
    made = world.restore(snapshot).safety or ""
    of = ("--project", PROJECT.project_id or "")

    gone, back, plain = (
        run(world.office, *words, *of)[1] for words in (("delete", made), ("undelete", made), ("delete", snapshot.name))
    )

    assert "With it goes the undo of the restore that it served." in gone
    assert "can be undone again" in back
    assert "undo" not in plain


@pytest.fixture
def rest(mongo_uri: str, tmp_path: Path) -> Iterator[ApiSite]:
    with api_site(mongo_uri, tmp_path) as site:
        yield site


def test_rest_says_it_in_fields_of_their_own(rest: ApiSite) -> None:
    project = rest.project("organiser")
    below = f"/projects/{project}/snapshots"
    path = rest.touch(project, "as it was")
    name = rest.make(f"projects/{project}", "organiser")
    path.write_text("spoilt")

    job = rest.call("POST", f"{below}/{name}/restore", "organiser", headers=WAIT).get_json()["job"]
    undo = rest.call("POST", f"/jobs/{job['id']}/undo", "organiser", headers=WAIT).get_json()["job"]

    assert (job["outcome"]["safety_is_new"], undo["outcome"]["safety_is_new"]) == (True, False)
    assert undo["outcome"]["safety"] == name
    assert rest.call("GET", f"/jobs/{undo['id']}", "organiser").get_json()["outcome"]["safety_is_new"] is False
    undone = rest.call("GET", f"{below}/{job['outcome']['safety']}", "organiser").get_json()["safety_of"]
    assert (undone["job"], undone["snapshot"], undone["act"], undone["state"]) == (job["id"], name, "restore", "undone")
    served = rest.call("GET", f"{below}/{name}", "organiser").get_json()["safety_of"]
    assert (served["job"], served["act"], served["state"]) == (undo["id"], "undo", "done")
    assert undone["by"] == served["by"] == job["by"]
    preview = rest.call("POST", f"{below}/{name}/preview", "organiser").get_json()
    assert preview["digest"]  # what has served is a snapshot as any other


@pytest.fixture
def pages(mongo_uri: str, tmp_path: Path) -> Iterator[PagesSite]:
    with pages_site(mongo_uri, tmp_path) as site:
        yield site


def test_pages_say_it_where_somebody_might_delete_it(pages: PagesSite) -> None:
    person, scope, desk = pages.person("organiser"), Scope.project(pages.project()), pages.office.desk
    url, root = f"/snapshots/project/{scope.project_id}", Actor("root", "Root", "root", "page")
    name = pages.make(scope)
    path = next(one for one in sorted((pages.folder(pages.project()) / "edition").rglob("*")) if one.is_file())
    path.write_bytes(b"spoilt")
    pages.ended(desk.restore(root, scope, name))

    undo = pages.ended(desk.undo(root, scope))

    assert path.read_bytes() == b"spoilt"
    assert SERVED in text_of(person.page(f"/snapshots/jobs/{undo.id}"))
    assert "served as safety snapshot before undoing a restore safety" in text_of(person.page(url))
    page = text_of(person.page(f"{url}/{name}"))
    assert "served as safety snapshot before undoing a restore" in page
    assert "The undo of the undo that it served goes with it, and comes back with it." in page
    notice = text_of(person.follow(person.post(f"{url}/{name}/delete")))
    assert "With it goes the undo of the restore that it served." in notice
    assert "can be undone again" in text_of(person.follow(person.post(f"{url}/{name}/undelete")))
    desk.note(root, scope, name, "before the talk")
    listed = text_of(person.page(url))
    assert "before the talk safety made by hand; served as safety snapshot before undoing a restore" in listed

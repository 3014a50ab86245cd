"""The undo and its preview by REST, command line and page: the same plan, the same refusals."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_site import WAIT, ApiSite, api_site
from keyframe.model import Scope
from pages_site import PagesSite, Person, pages_site, text_of
from program import call


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    with api_site(mongo_uri, tmp_path_factory.mktemp("undo")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesSite]:
    with pages_site(mongo_uri, tmp_path_factory.mktemp("undo_pages")) as running:
        yield running


def restored(site: ApiSite) -> tuple[str, str, str, Path]:
    """A restore of the organiser's project: its routes, its job, its safety snapshot, and the file it is about."""
    project = site.project("organiser")
    path = site.touch(project, "as it was")
    name = site.make(f"projects/{project}", "organiser")
    path.write_text("spoilt")
    below = f"/projects/{project}/snapshots"
    done = site.call("POST", f"{below}/{name}/restore", "organiser", headers=WAIT).get_json()["job"]
    assert done["outcome"]["status"] == "done", done
    return below, done["id"], done["outcome"]["safety"], path


# By REST


def test_by_rest_an_undo_is_previewed_and_bound_by_its_plan(site: ApiSite) -> None:
    below, job, safety, path = restored(site)

    by_name = site.call("POST", f"{below}/{safety}/undo/preview", "organiser")
    plan = site.call("POST", f"/jobs/{job}/undo/preview", "organiser").get_json()
    items = site.call("GET", f"/plans/{plan['digest']}", "organiser").get_json()["items"]

    assert (by_name.status_code, by_name.get_json()["digest"]) == (200, plan["digest"])
    assert [(one["change"], one["name"]) for one in items] == [("replace", "touched.txt")]
    assert path.read_text() == "as it was"
    body = {"plan": plan["digest"]}
    done = site.call("POST", f"/jobs/{job}/undo", "organiser", json=body, headers=WAIT)
    assert (done.status_code, done.get_json()["job"]["outcome"]["report"]["digest"]) == (200, plan["digest"])
    assert path.read_text() == "spoilt"


def test_by_rest_an_undo_that_was_overtaken_is_409_unless_what_is_newer_is_taken_too(site: ApiSite) -> None:
    below, _, safety, path = restored(site)
    plan = site.call("POST", f"{below}/{safety}/undo/preview", "organiser").get_json()
    path.write_text("work done since")
    body = {"plan": plan["digest"]}

    stale = site.call("POST", f"{below}/{safety}/undo", "organiser", json=body, headers=WAIT)

    assert (stale.status_code, stale.get_json()["code"]) == (409, "stale")
    assert [one["name"] for one in stale.get_json()["changed"]] == ["touched.txt"]
    assert path.read_text() == "work done since"
    body["accept"] = "newer"
    done = site.call("POST", f"{below}/{safety}/undo", "organiser", json=body, headers=WAIT)
    assert done.status_code == 200
    assert path.read_text() == "spoilt"


def test_by_rest_a_plan_of_something_else_and_what_means_nothing_are_422(site: ApiSite) -> None:
    below, job, safety, path = restored(site)
    intact = {"only_intact": True}
    other = site.call("POST", f"{below}/{safety}/preview", "organiser", json=intact).get_json()["digest"]

    for body in ({"plan": other}, {"accept": "newer"}, {"accept": "older"}, {"selection": {}}):
        for route in (f"/jobs/{job}/undo", f"{below}/{safety}/undo"):
            answer = site.call("POST", route, "organiser", json=body)
            assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid"), (route, body)
    for route in (f"/jobs/{job}/undo/preview", f"{below}/{safety}/undo/preview"):
        assert site.call("POST", route, "organiser", json={"plan": other}).status_code == 422
        assert site.call("GET", route, "organiser").status_code == 405
    assert path.read_text() == "as it was"


def test_by_rest_a_foreigner_gets_the_same_not_found_for_what_is_there_and_what_is_not(site: ApiSite) -> None:
    below, job, safety, _ = restored(site)

    for user in ("organiser2", "reader"):
        for route, absent in (
            (f"/jobs/{job}/undo/preview", f"/jobs/{'0' * 24}/undo/preview"),
            (f"{below}/{safety}/undo/preview", f"/projects/{'0' * 24}/snapshots/{safety}/undo/preview"),
        ):
            hidden, never = (site.call("POST", one, user) for one in (route, absent))
            assert (hidden.status_code, never.status_code) == (404, 404)
            assert hidden.get_json()["what"] == never.get_json()["what"]


# By command line


def test_by_command_line_an_undo_is_shown_bound_and_never_done_unasked(site: ApiSite) -> None:
    _, _, safety, path = restored(site)
    project = site.project("organiser")
    more = {
        "KEYFRAME_MONGO__URI": site.settings.mongo.uri or "",
        "KEYFRAME_MONGO__DATABASE": site.database.name,
        "KEYFRAME_RUN_MODE": "test",
    }
    words = ["undo", "--project", project]

    shown = call(site.settings.var, *words, "--preview", "--fields", **more)
    document = json.loads(call(site.settings.var, *words, safety, "--preview", "--json", **more).stdout)
    unasked = call(site.settings.var, *words, **more)

    assert shown.returncode == 0, shown.stderr
    assert re.match(r"undo of the restore of the snapshot of today \d\d:\d\d, just now, by organiser\n", shown.stdout)
    assert "touched.txt" in shown.stdout and document["digest"] in shown.stdout
    assert (unasked.returncode, "add --yes; nothing was changed" in unasked.stderr) == (2, True)
    assert path.read_text() == "as it was"
    path.write_text("work done since")
    agreed = [*words, safety, "--plan", document["digest"], "--yes"]
    stale = call(site.settings.var, *agreed, **more)
    assert (stale.returncode, "touched.txt" in stale.stderr) == (5, True)
    done = call(site.settings.var, *agreed, "--newer", **more)
    assert done.returncode == 0, done.stderr
    assert "1 thing had become different since the plan was looked at, and was taken along." in done.stdout
    assert "touched.txt had changed since; it was replaced." in done.stdout
    assert path.read_text() == "spoilt"
    nothing = call(site.settings.var, *words, safety, "--preview", **more)
    assert (nothing.returncode, "This restore is undone already" in nothing.stderr) == (2, True)


# By page


def ended(pages: PagesSite, person: Person, location: str) -> str:
    pages.office.jobs.wait(location.rsplit("/", 1)[1], 60)
    return person.page(location)


def restored_by_page(pages: PagesSite, person: Person) -> tuple[str, Path]:
    """The page of a job that brought a file back."""
    project = pages.project()
    path = pages.folder(project) / "touched.txt"
    path.write_text("as it was")
    pages.make(Scope.project(project))
    path.write_text("spoilt")
    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))
    done = ended(pages, person, person.press(plan, "Bring back 1 file").headers["Location"])
    assert path.read_text() == "as it was"
    return done, path


def test_by_page_the_undo_shows_what_it_would_do_and_of_which_restore_it_is(pages: PagesSite) -> None:
    person = pages.person("organiser")
    done, path = restored_by_page(pages, person)

    plan = person.follow(person.press(done, "Undo this restore…"))

    assert path.read_text() == "as it was"
    assert "<h1>Undo the restore</h1>" in plan
    assert re.search(
        r"The snapshot of today \d\d:\d\d was brought back by organiser, just now · the whole project", text_of(plan)
    )
    assert "Choose parts" not in plan and "Only some of it" not in plan
    digest = re.search(r'name="plan" value="([0-9a-f]{64})"', plan)
    assert digest is not None
    for way in ("curl", "keyframe undo --project"):
        assert re.search(rf"{way}.*{digest.group(1)}", html.unescape(plan)), way
    undone = ended(pages, person, person.press(plan, "Undo the restore: bring back 1 file").headers["Location"])
    assert "Done: the restore is undone" in text_of(undone)
    assert path.read_text() == "spoilt"


def test_by_page_the_undo_of_an_undo_is_looked_at_and_done_the_same_way(pages: PagesSite) -> None:
    person = pages.person("organiser")
    done, path = restored_by_page(pages, person)
    plan = person.follow(person.press(done, "Undo this restore…"))
    undone = ended(pages, person, person.press(plan, "Undo the restore: bring back 1 file").headers["Location"])

    again = person.follow(person.press(undone, "Undo this undo…"))
    redone = ended(pages, person, person.press(again, "Undo the undo: bring back 1 file").headers["Location"])

    assert "<h1>Undo the undo</h1>" in again
    assert "A restore was undone by organiser, just now" in text_of(again)
    assert "the undo is undone, the restore holds again" in text_of(redone)
    assert path.read_text() == "as it was"


def test_by_page_an_undo_that_was_overtaken_leads_to_the_new_plan_of_the_undo(pages: PagesSite) -> None:
    person = pages.person("organiser")
    done, path = restored_by_page(pages, person)
    plan = person.follow(person.press(done, "Undo this restore…"))
    path.write_text("work done since")

    stale = ended(pages, person, person.press(plan, "Undo the restore: bring back 1 file").headers["Location"])
    link = re.search(r'href="([^"]+)">Look at the new plan', stale)

    assert "something changed since you looked" in text_of(stale)
    assert path.read_text() == "work done since"
    assert link is not None
    new = person.page(html.unescape(link.group(1)))
    assert "<h1>Undo the restore</h1>" in new
    accepted = person.press(plan, "Undo the restore: bring back 1 file", accept="newer")
    undone = ended(pages, person, accepted.headers["Location"])
    report = re.search(r'href="([^"]+)">See what was done', undone)
    assert report is not None
    for said in (undone, person.page(html.unescape(report.group(1)))):
        assert "the restore is undone" in text_of(said)
        assert "1 thing had become different since the plan was looked at, and was taken along." in text_of(said)
        assert "touched.txt had changed since; it was replaced." in text_of(said)
    assert path.read_text() == "spoilt"
    assert "It is undone already." in text_of(person.page(html.unescape(link.group(1))))


def test_by_page_nobody_undoes_without_a_plan_or_with_that_of_a_foreign_project(pages: PagesSite) -> None:
    person, stranger = pages.person("organiser"), pages.person("organiser2")
    done, path = restored_by_page(pages, person)
    job = re.search(r'action="(/snapshots/jobs/[0-9a-f]+/undo)/preview"', done)
    assert job is not None
    plan = person.press(done, "Undo this restore…").headers["Location"]
    digest = plan.rsplit("/", 1)[1].partition("?")[0]

    assert person.post(job.group(1)).status_code == 422
    assert stranger.post(job.group(1), plan=digest).status_code == 404
    assert stranger.post(f"{job.group(1)}/preview").status_code == 404
    assert stranger.look(plan).status_code == 404
    assert person.look(f"{job.group(1)}/preview").status_code == 405
    assert path.read_text() == "as it was"

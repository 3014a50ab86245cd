"""A restore whose worker is gone, as pages and REST show it: interrupted, with the way back, and what was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crash_child import Crasher
from keyframe.doors.api_answers import JobSchema
from keyframe.model import Job, JobState
from pages_site import PagesSite, application, text_of
from test_api import fits
from test_recover import interrupted
from world import PROJECT, Files, Records, World

LIST = f"/snapshots/project/{PROJECT.project_id}"
BACK = "Bring back the state before instead"


@pytest.fixture
def pages(world: World) -> Iterator[PagesSite]:
    """The pages of the world; no worker runs."""
    with application(world.settings) as app:
        yield PagesSite(world.settings, world.db, app, app.extensions["keyframe"].office)


def begun(world: World, crasher: Crasher) -> tuple[tuple[Files, Records], Job]:
    """What was live before a restore whose worker was killed while it changed things, and its job."""
    snapshot = world.make(PROJECT)
    world.spoil()
    before = world.state()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "rename:after:1").killed
    return before, job


def test_page_and_list_say_that_it_was_interrupted_and_offer_the_way_back(
    world: World, crasher: Crasher, pages: PagesSite
) -> None:
    before, job = begun(world, crasher)
    anna = pages.person("anna")

    for url in (f"/snapshots/jobs/{job.id}", LIST):
        page = anna.page(url)
        assert "It was interrupted; it will be finished when a worker runs." in text_of(page), url
        assert ">interrupted</span>" in page and ">running</span>" not in page
        assert "it goes on" not in page and "<progress" not in page
        assert BACK in page
    asked = anna.follow(anna.press(anna.page(LIST), BACK))

    assert "The state before was asked for; it is brought back when a worker runs." in text_of(asked)
    assert BACK not in asked and BACK not in anna.page(LIST)
    world.office.work.recover()
    files, records = world.state()
    assert files == before[0]
    assert [records[one] for one in ("project", "edition")] == [before[1][one] for one in ("project", "edition")]
    ended = anna.page(f"/snapshots/jobs/{job.id}")
    assert ">cancelled</span>" in ended and "was asked for" not in ended


def test_who_may_not_restore_sees_neither_job_nor_button(world: World, crasher: Crasher, pages: PagesSite) -> None:
    _, job = begun(world, crasher)

    bram = pages.person("bram")

    assert bram.client.get(f"/snapshots/jobs/{job.id}").status_code == 404
    assert bram.post(f"/snapshots/jobs/{job.id}/back").status_code == 404
    assert not world.office.desk.job(world.ask, job.id).turned_back


def test_rest_says_it_of_the_job(world: World, crasher: Crasher, pages: PagesSite) -> None:
    _, job = begun(world, crasher)
    client = pages.app.test_client()
    bearer = {"Authorization": f"Bearer {world.office.desk.create_token(world.ask, 'anna')}"}
    url = f"/api/v1/jobs/{job.id}"

    first = client.get(url, headers=bearer).get_json()
    asked = client.post(f"{url}/back", headers=bearer, json={})
    later = client.get(url, headers=bearer).get_json()

    assert fits(JobSchema, first)
    assert (first["state"], first["interrupted"], first["turned_back"]) == ("running", True, False)
    assert asked.status_code == 202 and asked.get_json()["job"]["turned_back"]
    assert (later["interrupted"], later["turned_back"]) == (True, True)


def test_one_that_somebody_is_at_is_not_interrupted(world: World, crasher: Crasher) -> None:
    _, job = interrupted(world, crasher)
    office, seen = world.office, []

    def look(_: object) -> None:
        seen.append(office.desk.job(world.ask, job.id))

    office.work.recover(told=look)

    assert seen and not any(one.interrupted for one in seen)
    ended = office.desk.job(world.ask, job.id)
    assert ended.state is JobState.ENDED and not ended.interrupted


def test_one_that_had_not_begun_is_not_interrupted(world: World, crasher: Crasher) -> None:
    snapshot = world.make(PROJECT)
    world.spoil()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    assert crasher.run(world, job.id, "intent:before:1").killed

    lost = world.office.desk.job(world.ask, job.id)

    assert lost.state is JobState.RUNNING
    assert not lost.interrupted and not lost.turned_back

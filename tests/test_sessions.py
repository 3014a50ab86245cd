"""Sessions of the editions site: a copy of a cookie counts for as long as the session it was copied from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from click.testing import CliRunner
from editions_site import HOST, MILLS, Browser, World, address, running_app, sample_world, settings_for
from keyframe.doors.office import Office
from keyframe.editions.commands import people_command
from keyframe.editions.passwords import password_hash
from keyframe.editions.sessions import COLLECTION, LASTS, Sessions
from keyframe.model import Actor, Person, Scope
from keyframe.sample import fill_empty, holds_only_sample
from keyframe.settings import Settings
from pymongo import MongoClient, monitoring
from sampled import fill_sample

Client = MongoClient[dict[str, Any]]
ROOT = Actor("root", "Root", "root", "cli")
PASSWORD, OTHER_PASSWORD = "tulip mania", "windhandel"


@pytest.fixture
def world(tmp_path: Path, mongo_client: Client, mongo_uri: str) -> Iterator[World]:
    with sample_world(tmp_path, mongo_client, mongo_uri) as made:
        yield made


def copied(browser: Browser, world: World) -> Browser:
    """Another browser with the same cookie."""
    cookie = browser.client.get_cookie("session", domain="localhost")
    assert cookie is not None
    other = world.browser()
    other.client.set_cookie("session", cookie.value, domain="localhost")
    return other


def is_signed_in(browser: Browser) -> bool:
    """At every door that knows the session: a page of the site, a page of the extension, REST."""
    found = {
        browser.get(address(MILLS, "", "edit")).status_code == 200,
        browser.get(f"/snapshots/project/{MILLS}").status_code == 200,
        browser.get(f"/api/v1/projects/{MILLS}/snapshots").status_code == 200,
    }
    assert len(found) == 1, "all doors agree"
    return found.pop()


def test_a_copied_cookie_counts_no_more_after_signing_out(world: World) -> None:
    browser = world.browser("organiser")
    copy, elsewhere = copied(browser, world), world.browser("organiser")
    assert is_signed_in(copy)

    browser.post("/sign-out")

    assert not is_signed_in(browser) and not is_signed_in(copy)
    assert is_signed_in(elsewhere), "another browser of the same person"


def test_signing_in_as_somebody_else_ends_the_session_before(world: World) -> None:
    browser = world.browser("organiser")
    copy = copied(browser, world)

    browser.sign_in("admin")

    assert is_signed_in(browser) and not is_signed_in(copy)


def test_another_process_of_the_web_server_agrees(world: World) -> None:
    browser = world.browser("organiser")
    with running_app(world.settings) as second:
        other = copied(browser, World(second, world.settings, world.database))
        assert is_signed_in(other)

        browser.post("/sign-out")

        assert not is_signed_in(other)


def test_a_new_password_ends_all_sessions_of_the_person_and_of_nobody_else(world: World) -> None:
    browsers, other = [world.browser("organiser"), world.browser("organiser")], world.browser("admin")
    office = world.app.extensions["keyframe"].office

    @contextmanager
    def opener(database: bool = True) -> Iterator[Office]:
        yield office

    done = CliRunner().invoke(people_command, ["password", "organiser"], obj=opener, input=f"{PASSWORD}\n")

    assert done.exit_code == 0
    assert not any(is_signed_in(one) for one in browsers) and is_signed_in(other)
    browsers[0].post("/sign-in", {"user": "organiser", "password": PASSWORD})
    assert is_signed_in(browsers[0])


def test_a_password_that_changes_while_one_signs_in_with_the_old_one_lets_nobody_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = world.database["user"]
    people.update_one({"user": "organiser"}, {"$set": {"password": password_hash(PASSWORD)}})
    browser, real = world.browser(), Sessions.begin

    def changed_before(sessions: Sessions, person: Person) -> str:
        people.update_one({"user": "organiser"}, {"$set": {"password": password_hash(OTHER_PASSWORD)}})
        sessions.end_all("organiser")
        return real(sessions, person)

    monkeypatch.setattr(Sessions, "begin", changed_before)
    answer = browser.post("/sign-in", {"user": "organiser", "password": PASSWORD})

    assert answer.status_code == 422
    assert not is_signed_in(browser) and world.database[COLLECTION].find_one() is None


def test_who_is_called_as_somebody_was_has_neither_his_session_nor_his_tokens(world: World) -> None:
    office = world.app.extensions["keyframe"].office
    browser, people = world.browser("organiser"), world.database["user"]
    secret = {"Authorization": f"Bearer {office.desk.create_token(ROOT, 'organiser', 'laptop')}"}
    former = people.find_one_and_delete({"user": "organiser"})
    assert former is not None
    assert not is_signed_in(browser)

    people.insert_one({**former, "_id": ObjectId()})

    assert not is_signed_in(browser)
    assert browser.get("/api/v1/scopes", headers=secret).status_code == 401
    assert office.desk.tokens(ROOT, "organiser") == ()


def test_no_snapshot_holds_sessions_and_no_restore_brings_an_ended_one_back(world: World) -> None:
    office = world.app.extensions["keyframe"].office
    browser, staying = world.browser("organiser"), world.browser("admin")
    copy = copied(browser, world)
    made = office.work.run_job(office.desk.make(ROOT, Scope.site()).id).outcome
    browser.post("/sign-out")
    world.database["edition"].update_one({}, {"$set": {"title": "changed"}})
    world.database["user"].update_one({"user": "reader"}, {"$set": {"name": "changed"}})

    job = office.desk.restore(ROOT, Scope.site(), made.snapshot, people=True)
    restored = office.work.run_job(job.id).outcome

    assert restored.status == "done" and world.database["user"].find_one({"name": "changed"}) is None
    assert not is_signed_in(copy) and is_signed_in(staying)
    assert COLLECTION in Settings(mongo=world.settings.mongo).scopes.site.leave


def test_a_session_is_over_after_two_weeks_and_its_record_goes(world: World) -> None:
    browser, sessions = world.browser("organiser"), world.database[COLLECTION]
    record = sessions.find_one()
    assert record is not None and timedelta() < datetime.now(UTC) + LASTS - record["until"] < timedelta(minutes=5)

    sessions.update_one({}, {"$set": {"until": datetime.now(UTC) - timedelta(seconds=1)}})

    assert not is_signed_in(browser)
    assert sessions.index_information()["until_1"]["expireAfterSeconds"] == 0


def test_a_cookie_without_a_session_and_one_with_that_of_another_are_nobodys(world: World) -> None:
    world.browser("organiser")
    record = world.database[COLLECTION].find_one()
    assert record is not None

    for user, session_id in (("organiser", ""), ("organiser", "guessed"), ("admin", record["_id"])):
        browser = world.browser()
        with browser.client.session_transaction(base_url=HOST) as session:
            session["_user_id"], session["editions_session"] = user, session_id
        assert not is_signed_in(browser), (user, session_id)


def test_a_request_costs_one_query_for_the_session_at_most(world: World, mongo_uri: str) -> None:
    class Seen(monitoring.CommandListener):
        def __init__(self) -> None:
            self.commands: list[str] = []

        def started(self, event: monitoring.CommandStartedEvent) -> None:
            self.commands += [event.command_name] if event.command.get(event.command_name) == COLLECTION else []

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
            pass

        def failed(self, event: monitoring.CommandFailedEvent) -> None:
            pass

    seen = Seen()
    browser, database = world.browser("organiser"), world.database.name
    with MongoClient[dict[str, Any]](mongo_uri, event_listeners=[seen]) as client:
        world.app.extensions["editions"].sessions._sessions = client[database][COLLECTION]
        for path in ("/", address(MILLS), f"/snapshots/project/{MILLS}", "/api/v1/scopes"):
            seen.commands.clear()
            assert browser.get(path).status_code == 200
            assert seen.commands == ["aggregate"], path
        seen.commands.clear()
        assert world.browser().get("/").status_code == 200
        assert browser.get("/static/editions.css").status_code == 200
        assert seen.commands == []


def test_without_its_database_who_signs_out_is_at_least_forgotten_by_the_browser(tmp_path: Path) -> None:
    away = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"

    with running_app(settings_for(tmp_path, away, "away", sample={"sign_in": False})) as app:
        browser = Browser(app.test_client())
        token = browser.token()
        with browser.client.session_transaction(base_url=HOST) as session:
            session["_user_id"], session["editions_session"] = "organiser", "any"
        assert browser.get("/").status_code == 503

        answer = browser.post("/sign-out", {"csrf_token": token}, token=False)

        assert answer.status_code == 503
        with browser.client.session_transaction(base_url=HOST) as session:
            assert "_user_id" not in session and "editions_session" not in session


def test_sessions_do_not_keep_a_sample_from_being_made(world: World) -> None:
    world.browser("organiser")
    database, settings = world.database, world.settings

    assert holds_only_sample(database, settings.working)
    fill_sample(settings, database)

    for name in ("site", "user", "project", "edition", "projectUser", "editionUser"):
        database[name].delete_many({})
    for path in [one for one in settings.working.rglob("*") if one.is_file()]:
        path.unlink()
    assert fill_empty(settings, database) is True

"""Requests that are wrong, unsafe or impatient: each gets one clear problem document, and nothing is changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_site import WAIT, ApiSite, api_site, host
from flask import Flask
from flask_smorest import Api
from flask_wtf.csrf import CSRFProtect
from keyframe.doors.api_waits import preferred
from keyframe.doors.problems import HTTP_STATUS, TITLES
from keyframe.model import Scope
from keyframe.settings import Settings
from keyframe.wiring import Keyframe
from werkzeug.test import TestResponse

SITE = "/site/snapshots"


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    """Without a worker: what is accepted stays queued."""
    with api_site(mongo_uri, tmp_path_factory.mktemp("api"), worker=False) as site:
        yield site


def is_problem(answer: TestResponse, status: int, code: str) -> bool:
    document = answer.get_json()
    assert answer.mimetype == "application/problem+json", answer.get_data(as_text=True)
    assert (answer.status_code, document["code"]) == (status, code), document
    assert document["status"] == status
    assert {"type", "title", "detail", "what", "subject", "hint"} <= set(document)
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Traceback" not in answer.get_data(as_text=True)
    return True


def test_nobody_gets_in_without_token_or_session(site: ApiSite) -> None:
    for method, path in (("GET", "/scopes"), ("POST", SITE), ("GET", "/jobs/1"), ("POST", f"{SITE}/nonsense/undo")):
        answer = site.call(method, path, None, data="nonsense")

        assert is_problem(answer, 401, "sign-in")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_unknown_address_below_the_prefix_is_a_problem_and_elsewhere_the_hosts(site: ApiSite) -> None:
    for path in ("", "/", "/nope", "/site/snapshots/", "/nope%0aline", "/scopes/more"):
        assert is_problem(site.call("GET", path), 404, "not-found")
        assert is_problem(site.call("POST", path), 404, "not-found")

    elsewhere = site.app.test_client().get("/nope")
    assert (elsewhere.status_code, elsewhere.get_data(as_text=True)) == (404, "the host's own page")


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "..%2f..%2fetc",
        "%00",
        "a%00b",
        "%ff",
        "a" * 10_000,
        ".",
        "-",
        "a..b",
        "%0a",
        "site",
        "é",
        "{}",
        "$ne",
        "'",
    ],
)
def test_ids_and_names_that_cannot_be_are_not_found(site: ApiSite, name: str) -> None:
    for path in (
        f"/projects/{name}/snapshots",
        f"/projects/{name}/snapshots/latest/restore",
        f"{SITE}/{name}",
        f"{SITE}/{name}/undo",
        f"/jobs/{name}",
        f"/plans/{name}",
    ):
        answer = site.call("GET" if path.endswith((name, "snapshots")) else "POST", path)

        assert is_problem(answer, 404, "not-found"), path


@pytest.mark.parametrize(
    ("body", "mistakes"),
    [
        ({"note": 3}, {"note: not a valid string"}),
        ({"note": None}, {"note: field may not be null"}),
        ({"note": "x" * 501}, {"note: longer than maximum length 500"}),
        ({"note": "bell \u0007"}, {"note: must not hold control characters"}),
        ({"note": "two\nlines"}, {"note: must not hold control characters"}),
        ({"note": "\ud800"}, {"note: must not hold control characters"}),
        ({"note": "x", "pin": True}, {"pin: unknown field"}),
        ([], {"body: invalid input type"}),
        ("text", {"body: invalid input type"}),
    ],
)
def test_a_wrong_body_is_refused_with_all_its_mistakes(site: ApiSite, body: Any, mistakes: set[str]) -> None:
    answer = site.call("POST", SITE, json=body)

    assert is_problem(answer, 422, "invalid")
    assert set(answer.get_json()["mistakes"]) == mistakes


@pytest.mark.parametrize("key", ["path", "collection", "record", "kind", "project"])
@pytest.mark.parametrize("act", ["preview", "restore"])
def test_an_unknown_key_of_the_selection_is_refused(site: ApiSite, act: str, key: str) -> None:
    answer = site.call("POST", f"{SITE}/latest/{act}", json={"selection": {key: []}})

    assert is_problem(answer, 422, "invalid")
    assert answer.get_json()["mistakes"] == [f"selection.{key}: unknown field"]


def test_all_mistakes_are_reported_at_once(site: ApiSite) -> None:
    body = {"selection": {"editions": ["..", "a/b"], "projects": "x"}, "people": "yes", "plan": 3}

    answer = site.call("POST", f"{SITE}/latest/restore", json=body)

    assert set(answer.get_json()["mistakes"]) == {
        "selection.editions.0: not an id of a project or edition",
        "selection.editions.1: not an id of a project or edition",
        "selection.projects: not a valid list",
        "people: must be true or false",
        "plan: not a valid string",
    }


@pytest.mark.parametrize(
    ("chosen", "mistakes"),
    [
        (
            {"paths": ["/a", "a"], "collections": [""], "paths_b64": ["?"], "only": "both"},
            {
                "selection.paths.0: not a path below the folder: no `..`, no `/` in front, behind or twice",
                "selection.collections.0: not the name of a collection",
                "selection.paths_b64.0: not a path in base64",
                "selection.only: must be files or records",
            },
        ),
        (
            {
                "records": [
                    {"collection": "a", "id": {"$oid": "x"}},
                    {"collection": "a"},
                    "edition/1",
                    {"id": 5, "no": 1},
                ]
            },
            {
                "selection.records.0.id: not the id of a record",
                "selection.records.1.id: missing data for required field",
                "selection.records.2: invalid input type",
                "selection.records.3.collection: missing data for required field",
                "selection.records.3.no: unknown field",
            },
        ),
        (
            {"only": "files", "collections": ["edition"]},
            {"selection: files only, and collections or records: together they mean nothing"},
        ),
        ({"paths": ["\ud800"]}, {"selection.paths.0: holds half of a character"}),
        (
            {"paths_b64": ["Li4="]},
            {"selection: not a path below the folder: no `..`, no `/` in front, behind or twice"},
        ),
    ],
)
@pytest.mark.parametrize("act", ["preview", "restore"])
def test_every_mistake_of_a_selection_is_named(
    site: ApiSite, act: str, chosen: dict[str, Any], mistakes: set[str]
) -> None:
    answer = site.call("POST", f"{SITE}/latest/{act}", json={"selection": chosen})

    assert is_problem(answer, 422, "invalid")
    assert set(answer.get_json()["mistakes"]) == mistakes


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "trash=maybe", "thrash=true", "cursor=%00"])
def test_a_wrong_query_is_refused(site: ApiSite, query: str) -> None:
    assert is_problem(site.call("GET", f"{SITE}?{query}"), 422, "invalid")


def test_a_made_up_cursor_is_no_failure_of_the_server(site: ApiSite) -> None:
    for cursor in ("x", "-1", "%F0%9F%98%80", "9" * 300):
        assert site.call("GET", f"{SITE}?cursor={cursor}").status_code in (200, 422)


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", f"{SITE}?cursor=nonsense", None, "This cursor is none of this list."),
        (
            "POST",
            f"{SITE}/latest/preview",
            {"selection": {"editions": ["a" * 24]}},
            "The selection names editions without their project.",
        ),
        (
            "POST",
            "/projects/<own>/snapshots/latest/preview",
            {"selection": {"projects": ["a" * 24]}},
            "The selection holds other projects than the one it is about.",
        ),
        (
            "POST",
            "/projects/<own>/snapshots/latest/preview",
            {"people": True},
            "People are restored with the whole site only (people).",
        ),
    ],
)
def test_a_request_that_does_not_fit_has_its_mistake_as_a_sentence(
    site: ApiSite, method: str, path: str, body: Any, said: str
) -> None:
    store_one(site)

    answer = site.call(method, path.replace("<own>", site.project("organiser")), "root", json=body)

    assert is_problem(answer, 422, "invalid")
    document = answer.get_json()
    assert document["mistakes"] == [said]
    assert document["detail"] == f"{said} {document['hint']}"


def test_a_project_that_a_site_snapshot_does_not_hold_is_what_is_missing(site: ApiSite) -> None:
    store_one(site)
    for projects in (["a" * 24], ["a" * 24, site.project("organiser")]):
        answer = site.call("POST", f"{SITE}/latest/preview", json={"selection": {"projects": projects}})

        assert is_problem(answer, 404, "not-found")
        assert answer.get_json()["what"] == "There is no such project in this snapshot."
        assert answer.get_json()["subject"] == "a" * 24
    hidden = site.call("POST", f"{SITE}/latest/preview", "organiser", json={"selection": {"projects": ["a" * 24]}})
    other = site.project("organiser2")
    absent = site.call("POST", f"{SITE}/latest/preview", "organiser", json={"selection": {"projects": [other]}})
    assert is_problem(hidden, 404, "not-found")
    assert hidden.get_data(as_text=True).replace("a" * 24, other) == absent.get_data(as_text=True)


def test_an_unknown_snapshot_is_named_and_of_a_job_is_said_who_names_it(site: ApiSite) -> None:
    for name in ("nonsense", "2026-01-01T00-00-00Z"):
        assert site.call("GET", f"{SITE}/{name}").get_json()["subject"] == name
    for job in ("nonsense", "a" * 24):
        document = site.call("GET", f"/jobs/{job}").get_json()
        assert (document["subject"], document["hint"]) == ("job", "The answer that accepted a job names it.")


def store_one(site: ApiSite) -> None:
    """Have a snapshot of the site; there is no worker here."""
    desk, actor = site.office.desk, site.office.login.shell_actor()
    if not desk.snapshots(actor, Scope.site()).items:
        site.office.work.run_job(desk.make(actor, Scope.site()).id)
    if not desk.snapshots(actor, Scope.project(site.project("organiser"))).items:
        raise AssertionError("the site's snapshot holds the project")


def test_the_body_must_be_json_of_a_sane_size(site: ApiSite) -> None:
    json = "application/json"

    assert is_problem(site.call("POST", SITE, data="{}", content_type="text/plain"), 415, "media-type")
    assert is_problem(site.call("POST", SITE, data={"note": "x"}), 415, "media-type")
    assert is_problem(site.call("POST", SITE, data="{", content_type=json), 422, "invalid")
    assert is_problem(site.call("POST", SITE, data=b"\xff", content_type=json), 422, "invalid")
    assert is_problem(site.call("POST", SITE, data="[" * 100_000, content_type=json), 422, "invalid")
    assert is_problem(site.call("POST", SITE, data=" " * (2**20 + 1), content_type=json), 413, "too-large")


def test_a_wrong_method_is_refused_and_the_right_ones_are_named(site: ApiSite) -> None:
    answer = site.call("GET", f"{SITE}/latest/restore")

    assert is_problem(answer, 405, "method")
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert is_problem(site.call("PUT", f"{SITE}/latest"), 405, "method")
    assert site.call("OPTIONS", f"{SITE}/latest").headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert site.call("HEAD", SITE).status_code == 200


def test_a_session_needs_the_csrf_token_to_change_something_and_not_to_look(site: ApiSite) -> None:
    browser = site.app.test_client()
    token = browser.post("/sign-in/admin").get_data(as_text=True)
    url = f"/api/v1{SITE}"

    assert browser.get(url).status_code == 200
    assert is_problem(browser.post(url), 403, "refused")
    assert is_problem(browser.post(url, headers={"X-CSRFToken": "wrong"}), 403, "refused")
    assert is_problem(browser.post(url, data={"csrf_token": token}), 403, "refused")
    accepted = browser.post(url, headers={"X-CSRFToken": token})
    assert (accepted.status_code, accepted.get_json()["job"]["by"]) == (202, "admin")


def test_a_dead_token_is_not_helped_by_a_session(site: ApiSite) -> None:
    browser = site.app.test_client()
    browser.post("/sign-in/admin")

    answer = browser.get(f"/api/v1{SITE}", headers={"Authorization": "Bearer kf_dead"})

    assert is_problem(answer, 401, "sign-in")


def test_what_does_not_end_in_time_is_202(site: ApiSite) -> None:
    started = time.monotonic()

    answer = site.call("POST", SITE, headers={"Prefer": "wait=1"})

    assert answer.status_code == 202
    assert 0.9 < time.monotonic() - started < 5
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.get_json()['job']['id']}"


def test_at_most_a_quarter_of_the_threads_wait(site: ApiSite) -> None:
    """Eight threads: two may wait, whoever comes then is answered at once."""
    answers: list[TestResponse] = []
    site.token("admin")

    def wait() -> None:
        answers.append(site.call("POST", SITE, headers={"Prefer": "wait=4"}))

    waiting = [threading.Thread(target=wait) for _ in range(2)]
    for thread in waiting:
        thread.start()
    time.sleep(1)
    started = time.monotonic()
    third = site.call("POST", SITE, headers={"Prefer": "wait=4"})
    took = time.monotonic() - started
    for thread in waiting:
        thread.join()

    assert third.status_code == 202
    assert "Preference-Applied" not in third.headers
    assert took < 2
    assert [one.headers.get("Preference-Applied") for one in answers] == ["wait=4"] * 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=20", 20),
        ("respond-async, wait=5", 5),
        ("wait=7; foo=bar", 7),
        ("WAIT = 3", 3),
        ('wait="4"', 4),
        ("wait=600", 60),
        ("wait=0", 0),
        ("await=5", None),
        ("wait=-1", None),
        ("wait=soon", None),
        ("", None),
    ],
)
def test_the_preference_is_read_as_the_rfc_says(header: str, seconds: int | None) -> None:
    with Flask(__name__).test_request_context("/", headers={"Prefer": header}):
        assert preferred() == seconds


def test_what_nobody_foresaw_is_a_number_and_the_log_has_the_rest(
    site: ApiSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr(type(site.office.desk), "scopes", fail)
    answer = site.call("GET", "/scopes")

    assert is_problem(answer, 500, "internal")
    assert "secret" not in answer.get_data(as_text=True)


def test_a_database_that_is_down_is_503_in_time(tmp_path: Path) -> None:
    mongo = {"uri": "mongodb://127.0.0.1:1/?replicaSet=rs", "timeout": 0.3}
    app, office = host(Settings(var=tmp_path / "var", mongo=mongo))  # type: ignore[arg-type]
    client = app.test_client()
    headers = {"Authorization": "Bearer kf_whatever"}

    for method, path in (("GET", "/scopes"), ("POST", SITE), ("GET", "/jobs/1")):
        answer = client.open(f"/api/v1{path}", method=method, headers=headers)

        assert is_problem(answer, 503, "unavailable")
        assert answer.headers["Retry-After"] == "2"
    assert (client.get("/healthz").status_code, client.get("/healthz").get_json()) == (503, {"status": "degraded"})
    office.database.client.close()


def test_the_openapi_document_names_every_route(site: ApiSite) -> None:
    document = site.call("GET", "/openapi.json", None).get_json()

    routes = {
        str(rule).replace("<", "{").replace(">", "}")
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("keyframe_api.")
    }
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == routes
    problem = document["components"]["responses"]["DEFAULT_ERROR"]["content"]
    assert set(problem) == {"application/problem+json"}


def test_a_host_with_its_own_api_and_csrf_protection_keeps_both(site: ApiSite) -> None:
    app = Flask("host")
    app.secret_key = "x"
    app.config.update(API_TITLE="host", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    CSRFProtect(app)
    app.add_url_rule("/own", endpoint="own", view_func=lambda: "own", methods=["POST"])
    api = Api(app)
    keyframe = Keyframe(site.settings)
    keyframe.init_app(app)
    client = app.test_client()
    headers = {"Authorization": f"Bearer {site.token('admin')}"}

    assert client.post(f"/api/v1{SITE}", headers=headers).status_code == 202
    assert client.post("/own").status_code == 400
    assert client.get("/nowhere").get_json()["status"] == "Not Found"
    assert api.spec.to_dict()["paths"] == {}
    keyframe.office.database.client.close()


def test_every_code_has_a_status_and_a_title() -> None:
    assert set(HTTP_STATUS) == set(TITLES)


def test_healthz_is_ok_with_database_and_worker_and_tells_nothing_else(
    mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api_site(mongo_uri, tmp_path) as site:
        site.call("POST", SITE, headers=WAIT)
        client = site.app.test_client()
        ready = client.get("/healthz")

        monkeypatch.setenv("KEYFRAME_RUN_ID", "this-run")
        before = client.get("/healthz")
        run = site.settings.var / "run.json"
        run.write_text('{"run_id": "another"}')
        another = client.get("/healthz")
        run.write_text('{"run_id": "this-run"}')
        after = client.get("/healthz")

    assert (ready.status_code, ready.get_json()) == (200, {"status": "ok"})
    assert (before.status_code, before.get_json()) == (503, {"status": "starting"})
    assert (another.status_code, after.status_code) == (503, 200)

"""The road by REST: make, list, preview, restore, undo, delete; and who may walk it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from api_site import WAIT, ApiSite, api_site
from bson import ObjectId
from keyframe.doors.api_answers import JobSchema, MadeAnswer, PlanItemsSchema, PlanSchema, ScopesSchema, SnapshotSchema
from marshmallow import RAISE, Schema

STRANGERS = ("organiser2", "editor", "reader", "user")


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    with api_site(mongo_uri, tmp_path_factory.mktemp("api")) as site:
        yield site


@pytest.fixture
def project(site: ApiSite) -> str:
    return site.project("organiser")


@pytest.fixture
def below(project: str) -> str:
    return f"/projects/{project}/snapshots"


def fits(schema: type[Schema], document: dict[str, Any]) -> bool:
    """The document has exactly the keys that the OpenAPI document promises."""
    schema().load(document, unknown=RAISE)
    return set(schema().fields) == set(document)


def test_scopes_are_those_the_caller_may_see(site: ApiSite, project: str) -> None:
    everything = site.call("GET", "/scopes").get_json()
    own = site.call("GET", "/scopes", "organiser").get_json()["scopes"]

    assert fits(ScopesSchema, everything)
    assert everything["scopes"][0]["project_id"] is None
    assert len(everything["scopes"]) == 4
    assert [one["project_id"] for one in own] == [project]
    assert {"see", "make", "preview", "restore", "undo", "delete", "undelete", "verify"} <= set(own[0]["acts"])
    assert site.call("GET", "/scopes", "user").get_json() == {"scopes": []}


def test_make_answers_202_with_a_job_that_ends_with_the_snapshot(site: ApiSite, project: str, below: str) -> None:
    site.touch(project)

    answer = site.call("POST", below, "organiser", json={"note": "first <b>"})
    job = answer.get_json()["job"]
    ended = site.office.desk.wait(site.office.login.shell_actor(), job["id"], 30).as_dict()

    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/v1/jobs/{job['id']}"
    assert fits(JobSchema, job)
    assert job["scope"] == {"project_id": project}
    assert ended["outcome"]["status"] == "done"
    shown = site.call("GET", f"{below}/{ended['outcome']['snapshot']}", "organiser").get_json()
    assert fits(SnapshotSchema, shown)
    assert (shown["note"], shown["reason"], shown["made_by"]) == ("first <b>", "api", "organiser")


def test_make_with_wait_answers_201_then_200_if_nothing_changed(site: ApiSite, project: str, below: str) -> None:
    site.touch(project)

    made = site.call("POST", below, "organiser", headers=WAIT, json={})
    again = site.call("POST", below, "organiser", headers=WAIT)

    name = made.get_json()["snapshot"]["name"]
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.headers["Location"] == f"/api/v1{below}/{name}"
    assert made.headers["Preference-Applied"] == "wait=30"
    assert again.get_json()["job"]["outcome"]["status"] == "unchanged"
    assert again.get_json()["snapshot"]["name"] == name


def test_what_is_confirmed_is_done_and_named(site: ApiSite, project: str, below: str) -> None:
    many = site.folder(project) / "many"
    many.mkdir()
    for number in range(200):
        (many / f"{number}.txt").write_text("x")
    site.make(f"projects/{project}", "organiser")
    shutil.rmtree(many)

    shrunk = site.call("POST", below, "organiser", headers=WAIT)
    confirmed = site.call("POST", below, "organiser", headers=WAIT, json={"confirm": ["shrunk"]})

    assert (shrunk.status_code, confirmed.status_code) == (201, 201)
    assert shrunk.get_json()["job"]["outcome"]["problems"][0]["code"] == "shrunk"
    snapshot = confirmed.get_json()["snapshot"]
    assert fits(MadeAnswer, confirmed.get_json())
    assert (snapshot["status"], snapshot["problems"]) == ("done", [])
    assert [(one["code"], one["subject"]) for one in snapshot["confirmed"]] == [("shrunk", "files")]


@pytest.mark.parametrize("given", [["changed"], ["shrunk", "x"], "shrunk", [1], {"shrunk": True}])
def test_what_cannot_be_confirmed_is_invalid_and_what_can_be_is_named(site: ApiSite, below: str, given: object) -> None:
    answer = site.call("POST", below, "organiser", json={"confirm": given})

    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid")
    named = any("shrunk" in one for one in answer.get_json()["mistakes"])
    assert named or not (isinstance(given, list) and isinstance(given[0], str))


def test_latest_is_the_newest_snapshot_and_its_note_can_be_changed(site: ApiSite, project: str, below: str) -> None:
    site.touch(project)
    name = site.make(f"projects/{project}", "organiser")

    changed = site.call("PATCH", f"{below}/{name}", "organiser", json={"note": "über"})

    assert changed.status_code == 200
    assert changed.get_json()["note"] == "über"
    assert site.call("GET", f"{below}/latest", "organiser").get_json()["name"] == name


def test_lists_are_paged_newest_first(site: ApiSite, project: str, below: str) -> None:
    for _ in range(3):
        site.touch(project)
        site.make(f"projects/{project}", "organiser")
    whole = [one["name"] for one in site.call("GET", f"{below}?limit=200", "organiser").get_json()["snapshots"]]

    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = site.call("GET", below, "organiser", query_string={"limit": 2, "cursor": cursor}).get_json()
        assert len(page["snapshots"]) <= 2
        found += [one["name"] for one in page["snapshots"]]
        cursor = page["next"]

    assert found == whole == sorted(whole, reverse=True)
    assert len(found) >= 3


def test_preview_answers_the_plan_and_its_items_and_changes_nothing(site: ApiSite, project: str, below: str) -> None:
    path = site.touch(project, "old")
    name = site.make(f"projects/{project}", "organiser")
    path.write_text("new and longer")
    (site.folder(project) / "added.txt").write_text("added")

    answer = site.call("POST", f"{below}/{name}/preview", "organiser", json={})
    plan = answer.get_json()
    items = site.call("GET", f"/plans/{plan['digest']}", "organiser").get_json()

    assert answer.status_code == 200
    assert fits(PlanSchema, plan)
    assert (plan["replaces"]["files"], plan["deletes"]["files"]) == (1, 1)
    assert fits(PlanItemsSchema, items)
    assert {(one["change"], one["name"]) for one in items["items"] if one["kind"] == "file"} == {
        ("replace", "touched.txt"),
        ("delete", "added.txt"),
    }
    assert path.read_text() == "new and longer"
    assert site.call("GET", f"/plans/{plan['digest']}", "organiser2").status_code == 404
    assert site.call("GET", f"/plans/{'0' * 64}", "organiser").status_code == 404


def test_restore_does_what_the_preview_said_and_undo_takes_it_back(site: ApiSite, project: str, below: str) -> None:
    path = site.touch(project, "as it was")
    name = site.make(f"projects/{project}", "organiser")
    path.write_text("spoilt")

    plan = site.call("POST", f"{below}/{name}/preview", "organiser").get_json()
    done = site.call("POST", f"{below}/{name}/restore", "organiser", json={"plan": plan["digest"]}, headers=WAIT)

    job = done.get_json()["job"]
    assert (done.status_code, job["outcome"]["status"]) == (200, "done")
    assert job["outcome"]["report"]["replaces"] == plan["replaces"]
    assert path.read_text() == "as it was"

    undone = site.call("POST", f"/jobs/{job['id']}/undo", "organiser", headers=WAIT)
    assert undone.status_code == 200
    assert path.read_text() == "spoilt"

    safety = undone.get_json()["job"]["outcome"]["safety"]
    redone = site.call("POST", f"{below}/{safety}/undo", "organiser", headers=WAIT)
    assert redone.status_code == 200
    assert path.read_text() == "as it was"


def test_a_plan_that_was_overtaken_is_409_with_the_new_plan(site: ApiSite, project: str, below: str) -> None:
    path = site.touch(project, "agreed")
    name = site.make(f"projects/{project}", "organiser")
    path.write_text("seen in the preview")
    plan = site.call("POST", f"{below}/{name}/preview", "organiser").get_json()
    (site.folder(project) / "later.txt").write_text("not seen")

    answer = site.call("POST", f"{below}/{name}/restore", "organiser", json={"plan": plan["digest"]}, headers=WAIT)
    problem = answer.get_json()

    assert (answer.status_code, problem["code"]) == (409, "stale")
    assert answer.mimetype == "application/problem+json"
    assert problem["plan"]["digest"] != plan["digest"]
    assert problem["changed"] == [{"kind": "file", "name": "later.txt", "title": "", "was": None, "is": "delete"}]
    assert problem["job"]["outcome"]["report"] == problem["plan"]
    assert path.read_text() == "seen in the preview"


def test_a_digest_that_does_not_fit_the_selection_is_422(site: ApiSite, project: str, below: str) -> None:
    name = site.make(f"projects/{project}", "organiser")
    plan = site.call("POST", f"{below}/{name}/preview", "organiser").get_json()
    edition = str(site.database["edition"].find_one({"projectId": {"$exists": True}})["_id"])  # type: ignore[index]

    body = {"plan": plan["digest"], "selection": {"editions": [edition]}}
    answer = site.call("POST", f"{below}/{name}/restore", "organiser", json=body)
    unknown = site.call("POST", f"{below}/{name}/restore", "organiser", json={"plan": "0" * 64})

    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid")
    assert (unknown.status_code, unknown.get_json()["code"]) == (404, "not-found")


def test_a_selection_is_previewed_restored_and_undone(site: ApiSite, project: str, below: str) -> None:
    edition = site.database["edition"].find_one({"projectId": ObjectId(project)})
    assert edition is not None
    site.touch(project, "first")
    name = site.make(f"projects/{project}", "organiser")
    site.touch(project, "second")
    odd = site.folder(project) / os.fsdecode(b"\xff")
    odd.write_text("new")
    site.database["edition"].update_one({"_id": edition["_id"]}, {"$set": {"title": "changed"}})
    ident = {"$oid": str(edition["_id"])}
    chosen = {
        "paths": ["touched.txt"],
        "paths_b64": ["/w=="],
        "records": [{"collection": "edition", "id": ident}, {"collection": "edition", "id": str(edition["_id"])}],
    }

    plan = site.call("POST", f"{below}/{name}/preview", "organiser", json={"selection": chosen}).get_json()
    items = site.call("GET", f"/plans/{plan['digest']}", "organiser").get_json()["items"]
    done = site.call(
        "POST", f"{below}/{name}/restore", "organiser", json={"plan": plan["digest"], "selection": plan["selection"]},
        headers=WAIT,
    )  # fmt: skip

    assert fits(PlanSchema, plan)
    assert plan["selection"] == {
        "projects": [],
        "editions": [],
        "paths": ["touched.txt"],
        "paths_b64": ["/w=="],
        "collections": [],
        "records": [{"collection": "edition", "id": json.dumps(ident)}],
        "only": "",
    }
    assert {(one["change"], one["kind"]) for one in items} == {
        ("replace", "record"), ("replace", "file"), ("delete", "file"),
    }  # fmt: skip
    assert done.get_json()["job"]["outcome"]["status"] == "done"
    assert (site.folder(project) / "touched.txt").read_text() == "first"
    assert not odd.exists()
    undone = site.call("POST", f"/jobs/{done.get_json()['job']['id']}/undo", "organiser", headers=WAIT).get_json()
    assert undone["job"]["outcome"]["status"] == "done"
    assert (site.folder(project) / "touched.txt").read_text() == "second"
    assert odd.read_text() == "new"
    assert site.database["edition"].find_one({"_id": edition["_id"]})["title"] == "changed"  # type: ignore[index]


def test_what_a_selection_names_and_is_nowhere_is_404(site: ApiSite, project: str, below: str) -> None:
    site.make(f"projects/{project}", "organiser")

    for chosen in ({"paths": ["nowhere"]}, {"collections": ["user"]}, {"collections": ["nothing"]}):
        answer = site.call("POST", f"{below}/latest/preview", "organiser", json={"selection": chosen})

        assert (answer.status_code, answer.get_json()["code"]) == (404, "not-found")


def test_delete_moves_to_the_trash_and_undelete_back(site: ApiSite, project: str, below: str) -> None:
    site.touch(project)
    name = site.make(f"projects/{project}", "organiser")

    def names(query: str = "") -> list[str]:
        return [one["name"] for one in site.call("GET", below + query, "organiser").get_json()["snapshots"]]

    gone = site.call("DELETE", f"{below}/{name}", "organiser")
    assert (gone.status_code, gone.data) == (204, b"")
    assert name not in names()
    assert name in names("?trash=true")
    assert site.call("GET", f"{below}/{name}", "organiser").status_code == 404

    back = site.call("POST", f"{below}/{name}/undelete", "organiser")
    assert (back.status_code, back.get_json()["name"]) == (200, name)
    assert name in names()


def test_the_latest_of_the_trash_is_the_one_that_was_deleted_last(site: ApiSite) -> None:
    below = f"/projects/{site.project('organiser')}/snapshots"
    names = []
    for _ in range(2):
        site.touch(site.project("organiser"))
        names.append(site.make(f"projects/{site.project('organiser')}", "organiser"))
    for name in reversed(names):  # the older one is deleted last
        assert site.call("DELETE", f"{below}/{name}", "organiser").status_code == 204

    back = [site.call("POST", f"{below}/latest/undelete", "organiser").get_json()["name"] for _ in names]

    assert back == names


def test_a_restore_whose_safety_snapshot_lies_in_the_trash_says_so(site: ApiSite) -> None:
    project = site.project("organiser")
    below = f"/projects/{project}/snapshots"
    name = site.make(f"projects/{project}", "organiser")
    site.touch(project)
    job = site.call("POST", f"{below}/{name}/restore", "organiser", headers=WAIT).get_json()["job"]
    safety = job["outcome"]["safety"]
    assert site.call("DELETE", f"{below}/{safety}", "organiser").status_code == 204

    answer = site.call("POST", f"/jobs/{job['id']}/undo", "organiser")

    document = answer.get_json()
    assert (answer.status_code, document["subject"], document["hint"]) == (404, safety, "Put it back, then undo.")
    assert "is in the trash" in document["detail"]


def test_a_site_snapshot_is_listed_below_its_projects_and_only_read_there(
    site: ApiSite, project: str, below: str
) -> None:
    path = site.touch(project, "in the site")
    name = site.make("site")
    path.write_text("spoilt")

    (listed,) = [one for one in site.call("GET", below, "organiser").get_json()["snapshots"] if one["name"] == name]
    whole = site.call("GET", f"/site/snapshots/{name}").get_json()
    assert listed["scope"] == {"project_id": None}
    assert 0 < listed["files"] < whole["files"]

    refusals = [
        site.call("PATCH", f"{below}/{name}", "organiser", json={"note": "x"}),
        site.call("DELETE", f"{below}/{name}", "organiser"),
        site.call("POST", f"{below}/{name}/undelete", "organiser"),
        site.call("POST", f"{below}/{name}/undo", "organiser"),
    ]
    assert [one.status_code for one in refusals] == [403] * 4

    restored = site.call("POST", f"{below}/{name}/restore", "organiser", headers=WAIT)
    assert restored.status_code == 200, restored.get_data(as_text=True)
    assert path.read_text() == "in the site"


def test_a_project_that_was_deleted_is_restored_by_an_admin_only(site: ApiSite) -> None:
    project = site.project("organiser2")
    below = f"/projects/{project}/snapshots"
    name = site.make(f"projects/{project}", "organiser2")
    (own,) = [one for one in site.database["project"].find() if str(one["_id"]) == project]
    site.database["project"].delete_one({"_id": own["_id"]})

    assert site.call("POST", f"{below}/{name}/restore", "organiser2").status_code == 404
    answer = site.call("POST", f"{below}/{name}/restore", headers=WAIT)

    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert site.database["project"].find_one({"_id": own["_id"]}) == own


def test_verify_answers_the_verdict_and_the_lists_show_it(site: ApiSite, project: str, below: str) -> None:
    site.touch(project)
    name = site.make(f"projects/{project}", "organiser")
    assert site.call("GET", f"{below}/{name}", "organiser").get_json()["verified"] is None

    accepted = site.call("POST", f"{below}/{name}/verify", "organiser")
    quick = site.call("POST", f"{below}/{name}/verify", "organiser", headers=WAIT, json={"quick": True})
    answer = site.call("POST", f"{below}/{name}/verify", "organiser", headers=WAIT)

    assert accepted.status_code == 202
    assert accepted.headers["Location"].endswith(accepted.get_json()["job"]["id"])
    assert (quick.status_code, answer.status_code) == (200, 200)
    assert quick.get_json()["job"]["outcome"]["report"]["quick"] is True
    verdict = answer.get_json()["job"]["outcome"]["report"]
    assert (verdict["status"], verdict["quick"], verdict["problems"]) == ("good", False, [])
    assert site.call("GET", f"{below}/{name}", "organiser").get_json()["verified"] == verdict
    listed = site.call("GET", below, "organiser").get_json()["snapshots"]
    assert {one["name"]: one["verified"] for one in listed}[name] == verdict
    assert site.call("PATCH", f"{below}/{name}", "organiser", json={"note": "x"}).get_json()["verified"] == verdict


def test_verify_of_a_damaged_snapshot_is_422_with_the_code_and_everything_that_was_found(
    site: ApiSite, project: str, below: str
) -> None:
    site.touch(project)
    name = site.make(f"projects/{project}", "organiser")
    folder = site.settings.repository / "project" / project / name
    (folder / "README.txt").unlink()
    (folder / "files/stray").write_text("stray")

    answer = site.call("POST", f"{below}/{name}/verify", "organiser", headers=WAIT)

    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, problem["job"]["outcome"]["problems"][0]["code"])
    assert problem["job"]["outcome"]["report"]["counts"] == {"damaged.readme-missing": 1, "damaged.file-extra": 1}
    assert site.call("GET", f"{below}/{name}", "organiser").get_json()["verified"]["status"] == "bad"
    site.call("DELETE", f"{below}/{name}", "organiser")


def test_verify_takes_quick_and_nothing_else(site: ApiSite, project: str, below: str) -> None:
    name = site.make(f"projects/{project}", "organiser")

    for body in ({"quick": "yes"}, {"slow": True}):
        assert site.call("POST", f"{below}/{name}/verify", "organiser", json=body).status_code == 422
    assert site.call("POST", f"{below}/2001-01-01T00-00-00Z/verify", "organiser").status_code == 404


@pytest.mark.parametrize("user", STRANGERS)
def test_who_may_not_see_a_scope_gets_the_same_404_as_for_one_that_is_not_there(
    site: ApiSite, project: str, below: str, user: str
) -> None:
    name = site.make(f"projects/{project}", "organiser")
    requests = [
        ("GET", ""),
        ("POST", ""),
        ("GET", f"/{name}"),
        ("DELETE", f"/{name}"),
        ("POST", f"/{name}/preview"),
        ("POST", f"/{name}/restore"),
        ("POST", f"/{name}/undo"),
        ("POST", f"/{name}/undelete"),
        ("POST", f"/{name}/verify"),
    ]

    for method, path in requests:
        hidden = site.call(method, below + path, user)
        absent = site.call(method, f"/projects/{'f' * 24}/snapshots{path}", user)
        impossible = site.call(method, f"/projects/a..b/snapshots{path}", user)

        assert hidden.status_code == 404, (method, path)
        assert hidden.get_json() == absent.get_json() == impossible.get_json()


def test_the_site_is_for_admins(site: ApiSite) -> None:
    name = site.make("site", "root")

    for user in ("organiser", *STRANGERS):
        assert site.call("GET", "/site/snapshots", user).status_code == 404
        for act in ("restore", "verify"):
            assert site.call("POST", f"/site/snapshots/{name}/{act}", user).status_code == 404
    assert site.call("GET", "/site/snapshots/latest", "admin").status_code == 200


def test_people_come_back_for_root_only(site: ApiSite) -> None:
    name = site.make("site", "root")

    refused = site.call("POST", f"/site/snapshots/{name}/preview", "admin", json={"people": True})
    allowed = site.call("POST", f"/site/snapshots/{name}/preview", "root", json={"people": True})

    assert (refused.status_code, refused.get_json()["code"]) == (403, "refused")
    assert allowed.status_code == 200


def test_a_job_is_seen_by_who_sees_its_scope(site: ApiSite, project: str, below: str) -> None:
    job = site.call("POST", below, "organiser", headers=WAIT).get_json()["job"]

    assert site.call("GET", f"/jobs/{job['id']}", "admin").get_json()["id"] == job["id"]
    for user in STRANGERS:
        assert site.call("GET", f"/jobs/{job['id']}", user).status_code == 404
        assert site.call("POST", f"/jobs/{job['id']}/undo", user).status_code == 404

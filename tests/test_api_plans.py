"""Plans by REST: what they tell besides what is created, replaced and deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from api_site import WAIT, ApiSite, api_site
from keyframe.doors.api_answers import PlanItemsSchema
from marshmallow import RAISE, Schema


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


def an_edition(site: ApiSite, project: str) -> Any:
    return next(one for one in site.database.edition.find() if str(one["projectId"]) == project)


def test_a_restore_with_conflicts_is_403_for_an_organiser_with_the_plan_and_200_for_an_admin(
    site: ApiSite, project: str, below: str
) -> None:
    mine = an_edition(site, project)
    other = next(one for one in site.database.edition.find() if str(one["projectId"]) != project)
    site.database.edition.create_index("doi", unique=True, sparse=True)
    site.database.edition.update_one({"_id": mine["_id"]}, {"$set": {"doi": "10/1"}})
    name = site.make(f"projects/{project}", "organiser")
    site.database.edition.update_one({"_id": mine["_id"]}, {"$unset": {"doi": ""}})
    site.database.edition.update_one({"_id": other["_id"]}, {"$set": {"doi": "10/1"}})
    path = site.touch(project, "since")

    refused = site.call("POST", f"{below}/{name}/restore", "organiser", headers=WAIT)
    untouched = path.exists()
    allowed = site.call("POST", f"{below}/{name}/restore", "admin", headers=WAIT)

    problem = refused.get_json()
    assert (refused.status_code, problem["code"], untouched) == (403, "refused", True)
    assert problem["plan"]["warnings"][0]["code"] == "conflict"
    assert [one["code"] for one in problem["job"]["outcome"]["problems"]] == ["refused", "conflict"]
    assert str(other["_id"]) not in refused.get_data(as_text=True)
    assert (allowed.status_code, allowed.get_json()["job"]["outcome"]["status"]) == (200, "partial")
    assert not path.exists()
    site.database.edition.drop_index("doi_1")


def fits(schema: type[Schema], document: dict[str, Any]) -> bool:
    """The document has no other keys than the OpenAPI document promises."""
    schema().load(document, unknown=RAISE)
    return True


def test_items_name_the_fields_that_differ_where_that_is_asked_for(site: ApiSite, project: str, below: str) -> None:
    mine = an_edition(site, project)
    name = site.make(f"projects/{project}", "organiser")
    change = {"title": "another title", "note": "n" * 600, "api_token": "abc"}
    site.database.edition.update_one({"_id": mine["_id"]}, {"$set": change})
    plan = site.call("POST", f"{below}/{name}/preview", "organiser").get_json()

    plain = site.call("GET", f"/plans/{plan['digest']}", "organiser").get_json()
    told = site.call("GET", f"/plans/{plan['digest']}?fields=true", "organiser").get_json()
    other = site.call("GET", f"/plans/{plan['digest']}?fields=true", "organiser2")
    wrong = site.call("GET", f"/plans/{plan['digest']}?fields=maybe", "organiser")

    item = next(one for one in told["items"] if one["kind"] == "record")
    assert fits(PlanItemsSchema, told) and fits(PlanItemsSchema, plain)
    assert item["fields"] == [
        {"path": "title", "old": "another title", "new": mine["title"]},
        {"path": "api_token", "old": "(hidden)"},  # MongoDB sorts fields that are added
        {"path": "note", "old": "n" * 500 + "…", "cut": True},
    ]
    assert (item["fields_number"], item["fields_why"]) == (3, "")
    assert not any("fields" in one for one in plain["items"])
    assert (other.status_code, wrong.status_code, wrong.get_json()["code"]) == (404, 422, "invalid")

"""The people of the editions site, as Auth asks for them and as the command line shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from click.testing import CliRunner, Result
from keyframe.doors.office import Office
from keyframe.editions.commands import people_command
from keyframe.editions.passwords import password_fits
from keyframe.errors import InvalidError, NotFoundError, UnavailableError
from keyframe.settings import Settings
from keyframe.stores.people import StoredPeople
from keyframe.wiring import build
from pymongo import MongoClient
from pymongo.database import Database
from sampled import fill_sample

Site = Database[dict[str, Any]]


def test_a_person_has_the_role_of_his_record(database: Site) -> None:
    database["user"].insert_one({"user": "ann", "name": "Ann", "role": "admin"})

    person = StoredPeople(database).person("ann")

    assert person and (person.user, person.name, person.site_role) == ("ann", "Ann", "admin")


@pytest.mark.parametrize("record", [{}, {"role": "emperor"}, {"role": None}])
def test_a_person_without_a_known_role_is_a_guest(database: Site, record: dict[str, Any]) -> None:
    database["user"].insert_one({"user": "ann", **record})

    person = StoredPeople(database).person("ann")

    assert person and (person.name, person.site_role) == ("ann", "guest")


def test_who_is_not_there_is_nobody(database: Site) -> None:
    assert StoredPeople(database).person("ann") is None
    assert StoredPeople(database).organises("ann") == frozenset()


def test_a_name_is_never_a_query(database: Site) -> None:
    database["user"].insert_one({"user": "ann", "role": "root"})

    assert StoredPeople(database).person({"$ne": ""}) is None  # type: ignore[arg-type]


def test_only_the_role_organiser_organises(database: Site) -> None:
    mine, other = ObjectId(), ObjectId()
    database["projectUser"].insert_many(
        [
            {"user": "ann", "projectId": mine, "role": "organiser"},
            {"user": "ann", "projectId": other, "role": "visitor"},
            {"user": "bob", "projectId": other, "role": "organiser"},
        ]
    )

    assert StoredPeople(database).organises("ann") == {str(mine)}


def test_a_database_that_is_away_is_unavailable() -> None:
    with MongoClient[dict[str, Any]]("mongodb://127.0.0.1:1", serverSelectionTimeoutMS=100) as client:
        people = StoredPeople(client["away"])

        with pytest.raises(UnavailableError):
            people.person("ann")
        with pytest.raises(UnavailableError):
            people.organises("ann")


# The commands


@pytest.fixture
def office(tmp_path: Path, mongo_uri: str, database: Site) -> Iterator[Office]:
    settings = Settings(run_mode="test", var=tmp_path, mongo={"uri": mongo_uri, "database": database.name})
    settings.working.mkdir(parents=True)
    fill_sample(settings, database)
    built = build(settings)
    yield built
    built.database.client.close()


def run(office: Office, *arguments: str, typed: str = "") -> Result:
    @contextmanager
    def opener(database: bool = True) -> Iterator[Office]:
        yield office

    return CliRunner().invoke(people_command, list(arguments), obj=opener, input=typed)


def test_the_list_names_people_and_roles_but_no_hash(office: Office, database: Site) -> None:
    database["user"].update_one({"user": "admin"}, {"$set": {"password": "$argon2id$secret"}})

    result = run(office, "list", "--json")

    people = {one["user"]: one for one in json.loads(result.output)["people"]}
    assert {user: one["role"] for user, one in people.items()} == {
        "root": "root", "admin": "admin", "organiser": "organiser", "organiser2": "organiser",
        "editor": "editor", "reader": "reader", "user": "user",
    }  # fmt: skip
    assert people["admin"]["password"] is True and people["root"]["password"] is False
    assert "argon2" not in result.output + run(office, "list").output


def test_a_password_is_read_from_standard_input_and_kept_as_a_hash(office: Office, database: Site) -> None:
    result = run(office, "password", "admin", typed="correct horse battery\n")

    record = database["user"].find_one({"user": "admin"})
    assert result.exit_code == 0 and "horse" not in result.output
    assert record and record["password"].startswith("$argon2id$")
    assert password_fits(record["password"], "correct horse battery")
    assert not password_fits(record["password"], "correct horse")
    assert not password_fits("", "correct horse battery")


def test_a_short_password_and_an_unknown_person_are_refused(office: Office, database: Site) -> None:
    before = list(database["user"].find())

    assert isinstance(run(office, "password", "admin", typed="short\n").exception, InvalidError)
    assert isinstance(run(office, "password", "nobody", typed="long enough\n").exception, NotFoundError)

    assert list(database["user"].find()) == before

"""The one screen that `keyframe up` prints when all is up: where, who, how, and how to stop."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pymongo
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from .run import Run
from .settings import Settings

_SITE = ("root", "admin", "user")
_COUPLED = ("organiser", "editor", "reader")


def welcome(settings: Settings, config: Path | None) -> str:
    """The screen; `settings` hold the address of the database in use, `config` the file they come from."""
    address = Run.of(settings, "").address
    program = _program(settings, config)
    people = _people(settings)
    # Of the whole site: an editor's token would be refused.
    user = next((user for site_role in ("admin", "root") for user, role in people if _first(role) == site_role), "USER")
    return "\n".join(
        (
            "",
            f"Keyframe runs at {address}",
            *_sign_in(settings, people),
            "",
            "A snapshot of the site, by command line and by REST:",
            f"  {program} make --site --note first",
            f"  TOKEN=$({program} token create --user {user})",
            f'  curl -H "Authorization: Bearer $TOKEN" -X POST {address}/api/v1/site/snapshots',
            "",
            "Where things lie:",
            f"  live files  {settings.working}",
            f"  snapshots   {settings.repository}",
            f"  logs        {settings.var / 'log'}",
            "",
            "To stop: Ctrl-C",
            "",
        )
    )


def _sign_in(settings: Settings, people: list[tuple[str, str]]) -> list[str]:
    if not people:
        return []
    buttons = settings.sample.sign_in and settings.run_mode in ("pilot", "test")
    how = "a button each on its sign-in page" if buttons else "first: keyframe people password USER"
    width = max(len(user) for user, _ in people)
    return ["", f"Who can sign in ({how}):", *(f"  {user:<{width}}  {role}" for user, role in people)]


def _people(settings: Settings) -> list[tuple[str, str]]:
    """The people of the sample, those who may most first, each with what he is; none while the database is away."""
    with (
        contextlib.suppress(PyMongoError),
        pymongo.timeout(settings.mongo.timeout),
        MongoClient[dict[str, Any]](settings.mongo.uri) as client,
    ):
        database = client[settings.mongo.database]
        titles = {one["_id"]: one.get("title", "") for name in ("project", "edition") for one in database[name].find()}
        coupled = [
            (one["user"], one["role"], titles.get(one[field], "something gone"))
            for name, field in (("projectUser", "projectId"), ("editionUser", "editionId"))
            for one in database[name].find()
        ]
        return [
            (
                person["user"],
                ", ".join(
                    [person["role"], *(f"{role} of {of}" for user, role, of in coupled if user == person["user"])]
                ),
            )
            for person in sorted(
                database["user"].find({"sample": True}),
                key=lambda person: _rank(person, {role for user, role, _ in coupled if user == person["user"]}),
            )
        ]
    return []


def _first(role: str) -> str:
    return role.partition(",")[0]


def _rank(person: dict[str, Any], coupled: set[str]) -> tuple[int, int, str]:
    """Those who may most come first: by the role on the site, then by the best one on a project or edition."""
    site = _SITE.index(person["role"]) if person["role"] in _SITE else len(_SITE)
    return site, min((number for number, role in enumerate(_COUPLED) if role in coupled), default=9), person["user"]


def _program(settings: Settings, config: Path | None) -> str:
    """How to call the command line from any folder, so that it works on the same data."""
    # Not resolved: in a virtual environment the link is what finds its packages.
    beside = Path(sys.executable).parent / "keyframe"
    call = [str(beside)] if beside.exists() else [sys.executable, "-m", "keyframe.main"]
    call += ["--config", str(config.resolve())] if config is not None else []
    words = shlex.join(call)
    return f"KEYFRAME_VAR={shlex.quote(str(settings.var))} {words}" if os.environ.get("KEYFRAME_VAR") else words

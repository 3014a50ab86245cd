"""Tokens and the audit in a real control database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from keyframe.errors import NotFoundError, UnavailableError
from keyframe.model import Actor, Person, Scope
from keyframe.stores.audit import Audit
from keyframe.stores.tokens import Owner, Tokens
from mongod import free_port
from pymongo import MongoClient
from pymongo.database import Database

ADMIN = Actor("ada", "Ada Admin", "admin", "page")
ADA = Person("ada", "Ada Admin", "admin", "a1")
OLGA = Person("olga", "Olga", "user", "o1")
OTHER_OLGA = Person("olga", "Olga", "user", "o2")


def test_a_token_is_that_of_its_person(control_database: Database[dict[str, Any]]) -> None:
    tokens = Tokens(control_database)

    _, secret = tokens.create(OLGA, "laptop")

    assert secret.startswith("kf_")
    assert len(secret) > 40
    assert tokens.owner_of(secret) == Owner("olga", "o1")


@pytest.mark.parametrize("secret", ["", "kf_", "kf_unknown", "Bearer", "kf_\ud800", "kf_" + "x" * 10_000, "kf_\0"])
def test_what_is_no_token_is_nobodys(control_database: Database[dict[str, Any]], secret: str) -> None:
    tokens = Tokens(control_database)
    tokens.create(OLGA)

    assert tokens.owner_of(secret) is None


def test_the_secret_is_stored_nowhere(control_database: Database[dict[str, Any]]) -> None:
    tokens = Tokens(control_database)

    _, secret = tokens.create(OLGA, "laptop")
    tokens.owner_of(secret)

    stored = str(list(control_database["tokens"].find()))
    assert secret not in stored
    assert secret.removeprefix("kf_") not in stored


def test_two_tokens_of_a_person_differ_and_are_listed_without_their_secrets(
    control_database: Database[dict[str, Any]],
) -> None:
    tokens = Tokens(control_database)

    first, secret = tokens.create(OLGA, "laptop")
    second, other = tokens.create(OLGA, "office")
    tokens.create(ADA, "hers")

    assert secret != other
    listed = tokens.of_person(OLGA)
    assert [(one.id, one.label, one.used_at) for one in listed] == [(first, "laptop", None), (second, "office", None)]
    assert datetime.now(UTC) - listed[0].created_at < timedelta(minutes=5)
    assert secret not in str([one.as_dict() for one in listed])


def test_the_last_use_is_noted_at_most_once_a_minute(control_database: Database[dict[str, Any]]) -> None:
    tokens = Tokens(control_database)
    _, secret = tokens.create(OLGA)

    tokens.owner_of(secret)
    first = tokens.of_person(OLGA)[0].used_at
    tokens.owner_of(secret)
    second = tokens.of_person(OLGA)[0].used_at
    control_database["tokens"].update_many({}, [{"$set": {"used_at": {"$subtract": ["$used_at", 61_000]}}}])
    tokens.owner_of(secret)
    third = tokens.of_person(OLGA)[0].used_at

    assert first is not None
    assert second == first
    assert third is not None
    assert third >= first


def test_a_revoked_token_counts_no_more(control_database: Database[dict[str, Any]]) -> None:
    tokens = Tokens(control_database)
    token_id, secret = tokens.create(OLGA)

    tokens.revoke(token_id, OLGA)

    assert tokens.owner_of(secret) is None
    with pytest.raises(NotFoundError):
        tokens.revoke(token_id, OLGA)


def test_nobody_revokes_the_token_of_another_person(control_database: Database[dict[str, Any]]) -> None:
    tokens = Tokens(control_database)
    token_id, secret = tokens.create(OLGA)

    for other in (ADA, OTHER_OLGA):
        with pytest.raises(NotFoundError):
            tokens.revoke(token_id, other)

    assert tokens.owner_of(secret) == Owner("olga", "o1")


def test_a_token_is_not_that_of_another_person_of_the_same_name(control_database: Database[dict[str, Any]]) -> None:
    tokens = Tokens(control_database)
    tokens.create(OLGA, "laptop")

    owner = tokens.owner_of(tokens.create(OTHER_OLGA, "hers")[1])

    assert owner is not None
    assert owner.matches(OTHER_OLGA) and not owner.matches(OLGA)
    assert [one.label for one in tokens.of_person(OTHER_OLGA)] == ["hers"]
    assert [one.label for one in tokens.of_person(OLGA)] == ["laptop"]


def test_a_token_without_an_identity_is_only_that_of_a_person_without_one(
    control_database: Database[dict[str, Any]],
) -> None:
    tokens = Tokens(control_database)
    nameless = Person("olga", "Olga", "user")
    _, secret = tokens.create(nameless)
    control_database["tokens"].update_one({}, {"$unset": {"identity": ""}})

    owner = tokens.owner_of(secret)

    assert owner is not None
    assert owner.matches(nameless) and not owner.matches(OLGA)


def test_the_audit_tells_who_did_what_newest_first(control_database: Database[dict[str, Any]]) -> None:
    audit = Audit(control_database)

    audit.write(ADMIN, "make", Scope.site(), "done", "2026-11-21T10-53-15Z")
    audit.write(ADMIN, "delete", Scope.project("65a1"), "refused")

    newest, oldest = audit.rows(10)
    assert (newest.act, newest.scope, newest.outcome, newest.detail) == ("delete", Scope.project("65a1"), "refused", "")
    assert (oldest.user, oldest.name, oldest.site_role, oldest.via) == ("ada", "Ada Admin", "admin", "page")
    assert oldest.detail == "2026-11-21T10-53-15Z"
    assert newest.at >= oldest.at
    assert newest.at.tzinfo is not None
    assert len(audit.rows(1)) == 1


def test_the_audit_keeps_any_text_and_cuts_a_long_one(control_database: Database[dict[str, Any]]) -> None:
    audit = Audit(control_database)

    audit.write(ADMIN, "see", Scope.site(), "not-found", "\udc80$where.\0" + "x" * 10_000)

    assert len(audit.rows(1)[0].detail) < 1100


def test_a_server_that_is_away_is_said_to_be_away() -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200"
    with MongoClient[dict[str, Any]](uri) as client:
        tokens, audit = Tokens(client["control"]), Audit(client["control"])

        for ask in (
            lambda: tokens.create(OLGA),
            lambda: tokens.owner_of("kf_x"),
            lambda: tokens.of_person(OLGA),
            lambda: tokens.revoke("x", OLGA),
            lambda: audit.write(ADMIN, "make", Scope.site(), "done"),
            lambda: audit.rows(1),
        ):
            with pytest.raises(UnavailableError):
                ask()

"""Who asks: tokens, sessions and the shell's user become actors, and nobody else does."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson import ObjectId
from flask import Flask
from flask_login import LoginManager, UserMixin, login_user
from keyframe.doors.login import Login
from keyframe.errors import SignInError, UnavailableError
from keyframe.model import Person
from keyframe.settings import ShellSettings
from keyframe.stores.people import StoredPeople
from keyframe.stores.tokens import Tokens
from pymongo import MongoClient
from pymongo.database import Database


class _User(UserMixin):
    def __init__(self, user: str) -> None:
        self.id = user


@pytest.fixture
def tokens(control_database: Database[dict[str, Any]]) -> Tokens:
    return Tokens(control_database)


@pytest.fixture
def login(database: Database[dict[str, Any]], tokens: Tokens) -> Login:
    database["user"].insert_many(
        [
            {"user": "admin", "name": "Ada", "role": "admin"},
            {"user": "user", "name": "Uma", "role": "user"},
            {"user": "odd", "name": "Otto", "role": "emperor"},
        ]
    )
    return Login(StoredPeople(database), tokens, ShellSettings())


@pytest.fixture
def token(database: Database[dict[str, Any]], login: Login, tokens: Tokens) -> Callable[[str], str]:
    """The secret of a new token of a person of the site."""

    def create(user: str) -> str:
        person = StoredPeople(database).person(user)
        assert person is not None
        return tokens.create(person)[1]

    return create


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)
    app.secret_key = "test"
    manager = LoginManager(app)
    manager.user_loader(_User)
    return app


@pytest.fixture
def signed_in(app: Flask) -> Iterator[None]:
    with app.test_request_context("/"):
        login_user(_User("user"))
        yield


class _Names:
    """The people of a host that knows them by name only."""

    def __init__(self, *users: str) -> None:
        self.users = set(users)

    def person(self, user: str) -> Person | None:
        return Person(user, user.title(), "user") if user in self.users else None

    def organises(self, user: str) -> frozenset[str]:
        return frozenset()

    def uncoupled(self, projects: frozenset[str], editions: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        return frozenset(), frozenset()


def _bearer(app: Flask, secret: str) -> Any:
    return app.test_request_context("/", headers={"Authorization": f"Bearer {secret}"})


def test_a_token_tells_who_asks_and_counts_as_the_api(app: Flask, login: Login, token: Callable[[str], str]) -> None:
    secret = token("admin")

    with _bearer(app, secret):
        actor = login.actor()

    assert (actor.user, actor.name, actor.site_role, actor.via) == ("admin", "Ada", "admin", "api")


@pytest.mark.usefixtures("signed_in")
def test_a_session_tells_who_asks_and_the_door_says_by_which_way(login: Login) -> None:
    assert (login.actor().user, login.actor().via) == ("user", "page")
    assert login.actor(via="api").via == "api"


@pytest.mark.parametrize("secret", ["", "kf_", "kf_unknown", "nonsense", "kf_ü", "kf_" + "x" * 10_000, "kf_a kf_b"])
def test_a_wrong_token_is_refused_even_with_a_session(app: Flask, login: Login, secret: str) -> None:
    with app.test_request_context("/", environ_overrides={"HTTP_AUTHORIZATION": f"bearer {secret}"}):
        login_user(_User("user"))

        with pytest.raises(SignInError):
            login.actor()


def test_a_revoked_token_is_dead(app: Flask, login: Login, tokens: Tokens, database: Database[dict[str, Any]]) -> None:
    admin = StoredPeople(database).person("admin")
    assert admin is not None
    token_id, secret = tokens.create(admin)
    tokens.revoke(token_id, admin)

    with _bearer(app, secret), pytest.raises(SignInError):
        login.actor()


def test_another_scheme_than_bearer_leaves_it_to_the_session(app: Flask, login: Login) -> None:
    with app.test_request_context("/", headers={"Authorization": "Basic dTpw"}):
        login_user(_User("user"))

        assert login.actor().user == "user"


def test_somebody_who_was_removed_is_nobody(
    app: Flask, login: Login, token: Callable[[str], str], database: Database[dict[str, Any]]
) -> None:
    secret = token("admin")
    database["user"].delete_one({"user": "admin"})

    with _bearer(app, secret), pytest.raises(SignInError):
        login.actor()


def test_who_is_called_as_somebody_was_has_none_of_his_tokens(
    app: Flask, login: Login, token: Callable[[str], str], database: Database[dict[str, Any]]
) -> None:
    secret = token("admin")
    record = database["user"].find_one_and_delete({"user": "admin"})
    assert record is not None

    database["user"].insert_one({**record, "_id": ObjectId()})
    with _bearer(app, secret), pytest.raises(SignInError):
        login.actor()

    database["user"].delete_one({"user": "admin"})
    database["user"].insert_one(record)  # as a restore with people does
    with _bearer(app, secret):
        assert login.actor().user == "admin"


def test_where_the_host_knows_people_by_name_only_a_token_is_that_of_the_name(app: Flask, tokens: Tokens) -> None:
    people = _Names("ann")
    login = Login(people, tokens, ShellSettings())
    _, secret = tokens.create(Person("ann", "Ann", "user"))

    with _bearer(app, secret):
        assert login.actor().user == "ann"
    people.users.clear()
    with _bearer(app, secret), pytest.raises(SignInError):
        login.actor()


def test_an_unknown_role_counts_as_guest(app: Flask, login: Login, token: Callable[[str], str]) -> None:
    secret = token("odd")

    with _bearer(app, secret):
        assert login.actor().site_role == "guest"


def test_nobody_is_signed_in_without_token_and_session(app: Flask, login: Login) -> None:
    with app.test_request_context("/"), pytest.raises(SignInError):
        login.actor()


def test_a_host_without_flask_login_knows_tokens_only(login: Login, token: Callable[[str], str]) -> None:
    bare = Flask("bare")
    secret = token("user")

    with bare.test_request_context("/"), pytest.raises(SignInError):
        login.actor()
    with _bearer(bare, secret):
        assert login.actor().user == "user"


def test_a_database_that_is_down_is_not_a_wrong_token(app: Flask) -> None:
    with MongoClient[dict[str, Any]]("127.0.0.1", 1, serverSelectionTimeoutMS=100) as client:
        login = Login(StoredPeople(client["down"]), Tokens(client["down_control"]), ShellSettings())

        with _bearer(app, "kf_" + "x" * 40), pytest.raises(UnavailableError):
            login.actor()


def test_a_session_that_the_host_cannot_look_up_is_unavailable(login: Login) -> None:
    app = Flask("host")
    app.secret_key = "test"
    manager = LoginManager(app)

    with MongoClient[dict[str, Any]]("127.0.0.1", 1, serverSelectionTimeoutMS=100) as client:
        manager.user_loader(lambda user: _User(client["down"]["user"].find_one({"user": user})["user"]))

        with app.test_request_context("/"):
            from flask import session

            session["_user_id"] = "user"

            with pytest.raises(UnavailableError):
                login.actor()


@pytest.mark.parametrize("role", ["root", "admin", "user"])
def test_the_shells_user_has_the_role_of_the_settings(login: Login, role: Any) -> None:
    shell = Login(None, None, ShellSettings(role=role)).shell_actor()  # type: ignore[arg-type]

    assert (shell.user, shell.site_role, shell.via) == (getpass.getuser(), role, "cli")

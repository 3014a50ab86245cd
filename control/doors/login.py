"""Who asks: a bearer token, Flask-Login's session or the shell's user becomes an `Actor`.

Rules:

- A request that shows a bearer token stands or falls with it: a wrong one is refused even where a session exists.
- A role that is not known counts as guest; what an actor may do is asked elsewhere (`auth.py`).
- Somebody who signed in and has been removed since is nobody. His tokens are not those of who is called so later.
- Flask is loaded by the first request: the command line asks here too, and does without.
"""

from __future__ import annotations

import os
import pwd

from ..errors import SignInError
from ..model import Actor, Person
from ..settings import ShellSettings
from ..stores.mongo_errors import translated
from ..stores.people import SITE_ROLES, People
from ..stores.tokens import Tokens

_TOKEN_LENGTH = 200


class Login:
    """Turns what a door was shown into an actor.

    Parameters
    ----------
    people: the host's people.
    tokens: the tokens of the control database; only their hashes are kept there.
    shell: whom the command line acts as.
    """

    def __init__(self, people: People, tokens: Tokens, shell: ShellSettings) -> None:
        self._people = people
        self._tokens = tokens
        self._shell = shell

    def actor(self, via: str = "page") -> Actor:
        """Who makes the current request; `via` is the door, for a session (a token's is always `api`).

        Raises
        ------
        SignInError: no token and no session, a token that is malformed or dead, or a person who is gone.
        UnavailableError: the people or the tokens cannot be asked now.
        """
        from flask import request

        if shows_token():
            return self._of_token(request.headers["Authorization"].partition(" ")[2].strip())
        user = session_user()
        if user is None:
            raise SignInError("Nobody is signed in.", hint="Sign in, or send Authorization: Bearer with a token.")
        return self._actor(user, via)

    def shell_actor(self) -> Actor:
        """The user whose shell runs the command line; his role there is a setting, root by default."""
        try:
            user = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:  # a container may run under a number that has no name
            user = f"uid-{os.getuid()}"
        return Actor(user=user, name=user, site_role=self._shell.role, via="cli")

    def _of_token(self, secret: str) -> Actor:
        plausible = secret.startswith("kf_") and secret.isascii() and len(secret) <= _TOKEN_LENGTH
        owner = self._tokens.owner_of(secret) if plausible else None
        if owner is not None:
            person = self._person(owner.user)
            if owner.matches(person):
                return _as_actor(person, "api")
        raise SignInError(
            "This token does not count.", hint="Make a new one on your page or with: keyframe token create --user U"
        )

    def _actor(self, user: str, via: str) -> Actor:
        return _as_actor(self._person(user), via)

    def _person(self, user: str) -> Person:
        person = self._people.person(user)
        if person is None:
            raise SignInError("This person does not exist any more.", hint="Sign in as somebody else.")
        return person


def _as_actor(person: Person, via: str) -> Actor:
    role = person.site_role if person.site_role in SITE_ROLES else "guest"
    return Actor(user=person.user, name=person.name, site_role=role, via=via)


def shows_token() -> bool:
    """Whether the current request shows a bearer token, be it a good one or not."""
    from flask import has_request_context, request

    if not has_request_context():
        return False
    return request.headers.get("Authorization", "").partition(" ")[0].lower() == "bearer"


def session_user() -> str | None:
    """The id of whom Flask-Login has signed in; None: nobody, or the host does not use Flask-Login."""
    from flask import current_app

    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    with translated("session"):  # the host's loader may ask its database
        if not current_user.is_authenticated:
            return None
        user = current_user.get_id()
    return None if user is None else str(user)

"""`keyframe people`: who can sign in, and with which password."""

from __future__ import annotations

import sys

import click

from ..doors.cli_frame import Opener, print_document
from ..errors import InvalidError, NotFoundError
from ..stores.mongo_errors import translated
from .passwords import password_hash
from .records import Records
from .sessions import Sessions


@click.group("people")
def people_command() -> None:
    """The people of the editions site: list them, give them a password."""


@people_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def list_people(opener: Opener, as_json: bool) -> None:
    """List the people with their roles, and whether they have a password."""
    with opener() as office, translated("the people"):
        records = Records(office.database)
        rows = [
            {
                "user": account.person.user,
                "name": account.person.name,
                "site_role": account.person.site_role,
                "role": records.viewer(account.person.user).role,
                "password": bool(account.password),
                "sample": account.is_sample,
            }
            for account in records.accounts()
        ]
    if as_json:
        print_document({"people": rows})
        return
    for row in rows:
        words = ["has a password" if row["password"] else "no password"] + (["sample"] if row["sample"] else [])
        click.echo(f"{row['user']:<16} {row['name']:<24} {row['role']:<10} {', '.join(words)}")


@people_command.command("password")
@click.argument("user")
@click.pass_obj
def set_password(opener: Opener, user: str) -> None:
    """Set the password of USER; asked for on a terminal, else read from the first line of standard input.

    Every browser in which USER is signed in is signed out.
    """
    with opener() as office:
        with translated("the people"):
            records = Records(office.database)
            account = records.account(user)
        if account is None:
            raise NotFoundError(f"Nobody is called {user}.", hint="keyframe people list names them all.")
        hashed = _asked_for(user)
        with office.gate.shared(office.settings.gate.wait), translated("the people"):
            known = records.set_password(user, hashed)
            Sessions(office.database).end_all(user)  # after it: see `signin`
        if not known:
            raise NotFoundError(f"Nobody is called {user} any more.", hint="Nothing was changed.")
    click.echo(f"{user} has a password now, and is signed out everywhere.", err=True)


def _asked_for(user: str) -> str:
    """The hash of the password that was typed, or came on standard input."""
    if sys.stdin.isatty():
        password = str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        return password_hash(password)
    except ValueError as error:
        raise InvalidError(str(error), subject=f"person {user}", hint="Nothing was changed.") from error

"""`keyframe token`: the tokens with which scripts sign in as a person."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from .cli_frame import Group, Opener, json_option, print_document


def add_to(cli: Group) -> None:
    """Add these commands to the program."""
    cli.add_command(tokens)


@click.group("token", cls=Group)
def tokens() -> None:
    """Tokens, with which scripts sign in as a person."""


@tokens.command("create")
@click.option("--user", required=True, metavar="USER", help="Whom it stands for.")
@click.option("--label", default="", metavar="TEXT", help="What it is for.")
@json_option
@click.pass_obj
def create(opener: Opener, user: str, label: str, as_json: bool) -> None:
    """Make a token and print it; it cannot be shown again."""
    with opener() as office:
        token = office.desk.create_token(office.login.shell_actor(), user, label)
    if as_json:
        print_document({"token": token})
        return
    click.echo(token)
    click.echo(f"It stands for {user}. Keep it secret; it is not shown again.", err=True)


@tokens.command("list")
@click.option("--user", required=True, metavar="USER", help="Whose tokens.")
@json_option
@click.pass_obj
def list_tokens(opener: Opener, user: str, as_json: bool) -> None:
    """List somebody's tokens, without their secrets."""
    with opener() as office:
        found = office.desk.tokens(office.login.shell_actor(), user)
        words = office.messages
    if as_json:
        print_document({"tokens": [token.as_dict() for token in found]})
        return
    now = datetime.now(UTC)
    for token in found:
        used = f"used {words.ago(token.used_at, now)}" if token.used_at else "never used"
        made = f"made {words.when(token.created_at, now)}"
        click.echo(", ".join([f"{token.id}  {words.plain(token.label) or '(no label)'}", made, used]))
    if not found:
        click.echo(f"{user} has no token.")


@tokens.command("revoke")
@click.argument("token_id", metavar="ID")
@click.option("--user", required=True, metavar="USER", help="Whose token.")
@json_option
@click.pass_obj
def revoke(opener: Opener, token_id: str, user: str, as_json: bool) -> None:
    """Revoke a token, by the ID that the list shows; it counts no more from now on."""
    with opener() as office:
        office.desk.revoke_token(office.login.shell_actor(), user, token_id)
    if as_json:
        print_document({"id": token_id, "revoked": True})
        return
    click.echo(f"The token {token_id} of {user} counts no more.")

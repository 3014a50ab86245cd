"""Reception: asks Auth on behalf of the desk, and keeps the audit.

Rule: every refusal leaves a row; an audit that cannot be written is logged, and never turns a no into a yes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog

from .auth import Auth
from .errors import KeyframeError, NotFoundError, RefusedError
from .model import Action, Actor, Permit, Person, Scope
from .stores.audit import Audit
from .stores.people import People

log = structlog.get_logger(__name__)


class Reception:
    """Permits, and the trace that asking for them leaves."""

    def __init__(self, auth: Auth, people: People, audit: Audit) -> None:
        self._auth = auth
        self._people = people
        self._audit = audit

    def permit(self, actor: Actor, action: Action, scope: Scope) -> Permit:
        """As `Auth.permit`; a refusal is written down."""
        try:
            return self._auth.permit(actor, action, scope)
        except (NotFoundError, RefusedError) as error:
            self.note(actor, action.value, scope, error.code)
            raise

    def permit_tokens(self, actor: Actor, user: str) -> Person:
        """Allow an actor to deal with the tokens of a person: his own, or those of others as the table says.

        Returns the person as he is now: whose tokens they are.

        A token of root is for root: an admin could otherwise make himself root with it.

        Raises
        ------
        RefusedError: he may not. NotFoundError: there is no such person.
        """
        own = actor.via != "cli" and actor.user == user
        if not own and Action.TOKENS not in self._auth.acts(actor, Scope.site()):
            self.note(actor, "tokens", Scope.site(), "refused")
            raise RefusedError("You may not deal with tokens of others.", subject=user, hint="Ask an administrator.")
        person = self._people.person(user)
        if person is None:
            raise NotFoundError("There is no such person.", subject=user, hint="Look at `keyframe people list`.")
        if not own and person.site_role == "root" and actor.site_role != "root":
            self.note(actor, "tokens", Scope.site(), "refused")
            raise RefusedError("Only root may deal with tokens of root.", subject=user, hint="Ask root.")
        return person

    @contextlib.contextmanager
    def watching(self, permit: Permit) -> Iterator[None]:
        """Write down what is refused inside, although the permit was had."""
        try:
            yield
        except RefusedError as error:
            self.note(permit.actor, permit.action.value, permit.scope, error.code, error.subject)
            raise

    def note(self, actor: Actor, act: str, scope: Scope, outcome: str, detail: str = "") -> None:
        """Write an audit row; trouble with it goes to the log."""
        try:
            self._audit.write(actor, act, scope, outcome, detail)
        except KeyframeError as error:
            log.error("audit.lost", act=act, user=actor.user, scope=scope.key, outcome=outcome, what=error.what)

"""Auth: who may do what to which scope; asked once per act, by the desk, and again when a queued job starts.

Rules:

- Default deny: what no line of the table allows is refused.
- Who may not see a scope gets `NotFoundError`, always the same one, whether the scope exists or not; who sees it but
  may not do this gets `RefusedError`.
- Only this room makes permits; everything behind works on `permit.scope`.

>>> auth.permit(actor, Action.MAKE, Scope.site()).rule      # doctest: +SKIP
'admin: everything of the site'
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from .errors import NotFoundError, RefusedError, no_such_project
from .model import Action, Actor, Permit, Scope
from .settings import RightsSettings, RunMode
from .stores.mongo import Mongo
from .stores.people import People

_SNAPSHOTS = frozenset(
    {
        Action.SEE,
        Action.MAKE,
        Action.NOTE,
        Action.PREVIEW,
        Action.RESTORE,
        Action.UNDO,
        Action.DELETE,
        Action.UNDELETE,
        Action.VERIFY,
    }
)
# What writes elsewhere, on the server's disk and in its database, or adds a project that has nobody yet.
_COPIES = frozenset({Action.COPY, Action.DUPLICATE})

# The table of rights: per standing, the acts on the site and on a project. What is not here is denied.
_SITE_ACTS: Mapping[str, frozenset[Action]] = {
    "root": _SNAPSHOTS | _COPIES | {Action.PEOPLE, Action.TOKENS, Action.HEALTH},
    "admin": _SNAPSHOTS | _COPIES | {Action.TOKENS, Action.HEALTH},
}
_PROJECT_ACTS: Mapping[str, frozenset[Action]] = {
    "root": _SNAPSHOTS | _COPIES,
    "admin": _SNAPSHOTS | _COPIES,
    "organiser": _SNAPSHOTS,
}

_WORDS: Mapping[Action, str] = {
    Action.SEE: "see this",
    Action.MAKE: "make snapshots here",
    Action.NOTE: "change notes here",
    Action.PREVIEW: "preview a restore here",
    Action.RESTORE: "restore here",
    Action.UNDO: "undo a restore here",
    Action.DELETE: "delete snapshots here",
    Action.UNDELETE: "bring back deleted snapshots here",
    Action.VERIFY: "verify snapshots here",
    Action.COPY: "copy snapshots elsewhere",
    Action.DUPLICATE: "restore a project as a new one",
    Action.PEOPLE: "restore people and their roles; only root may",
    Action.TOKENS: "deal with tokens of others",
    Action.HEALTH: "see the details of the health",
}


class Auth:
    """Answers for the people of the host application and the run mode of the site."""

    def __init__(self, people: People, mongo: Mongo, rights: RightsSettings, run_mode: RunMode) -> None:
        self._people = people
        self._mongo = mongo
        self._off = frozenset(rights.off.get(run_mode, ()))
        self._run_mode = run_mode

    def permit(self, actor: Actor, action: Action, scope: Scope) -> Permit:
        """Allow it, or say why not.

        Raises
        ------
        NotFoundError: this actor may not see the scope. RefusedError: he may, but not do this.
        """
        allowed, standing = self._acts(actor, scope)
        if action is Action.PEOPLE and scope.is_site and Action.RESTORE in allowed and self._mongo.is_without_people():
            allowed |= {Action.PEOPLE}  # a fresh machine after a disaster: there is nobody whose rights could change
        if Action.SEE not in allowed and scope.project_id is not None:
            raise no_such_project()
        if Action.SEE not in allowed:
            raise NotFoundError("There is no such thing here.", hint="Look at the list of what you may see.")
        if action not in allowed:
            raise RefusedError(f"You may not {_WORDS[action]}.", subject=scope.key, hint="Ask an administrator.")
        if action in self._off:
            raise RefusedError(
                f"It is switched off in run mode {self._run_mode} that people {_WORDS[action]} by hand.",
                subject=scope.key,
                hint="See rights.off in config.yaml.",
            )
        return Permit(actor, action, scope, f"{standing}: {action.value}", datetime.now(UTC))

    def acts(self, actor: Actor, scope: Scope) -> frozenset[Action]:
        """All that the actor may do to the scope now; empty if he may not even see it."""
        allowed, _ = self._acts(actor, scope)
        return allowed - self._off if Action.SEE in allowed else frozenset()

    def current(self, actor: Actor) -> Actor:
        """The same person with the role of now; for a job that waited.

        Raises
        ------
        RefusedError: the person is gone.
        """
        if actor.via == "cli":
            return actor
        person = self._people.person(actor.user)
        if person is None:
            raise RefusedError("The person who ordered it is gone.", subject=actor.user, hint="Order it again.")
        return Actor(person.user, person.name, person.site_role, actor.via)

    def organises(self, actor: Actor) -> frozenset[str]:
        """The ids of the projects that the actor organises."""
        return self._people.organises(actor.user)

    def _acts(self, actor: Actor, scope: Scope) -> tuple[frozenset[Action], str]:
        if scope.is_site:
            return _SITE_ACTS.get(actor.site_role, frozenset()), actor.site_role
        acts = _PROJECT_ACTS.get(actor.site_role)
        if acts is not None:
            return acts, actor.site_role
        # An organiser's right is to a project that is there; what is left of a deleted one is for admins.
        if scope.project_id in self._people.organises(actor.user) and self._mongo.project_exists(scope):
            return _PROJECT_ACTS["organiser"], "organiser"
        return frozenset(), "nobody"

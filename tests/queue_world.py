"""What the tests of jobs have in common: scopes, a person, a queue in a control database."""

from __future__ import annotations

from typing import Any

from keyframe.claims import Claim
from keyframe.jobs import Jobs
from keyframe.model import Action, Actor, Order, Outcome, OutcomeStatus, Scope
from keyframe.settings import JobSettings
from keyframe.stores.jobs import JobStore
from keyframe.stores.locks import ScopeLocks
from pymongo.database import Database

ControlDatabase = Database[dict[str, Any]]

SITE, FIRST, SECOND = Scope.site(), Scope.project("65a1"), Scope.project("65a2")
OLGA = Actor("olga", "Olga Organiser", "user", "page")
DONE = Outcome(OutcomeStatus.DONE, snapshot="2026-11-21T10-53-15Z")


def jobs_in(database: ControlDatabase, lease: float = 30.0) -> Jobs:
    """The queue, as a process of its own would have it; `lease` in seconds."""
    return Jobs(JobStore(database), ScopeLocks(database), JobSettings(lease=lease))


def order(scope: Scope = SITE, act: Action = Action.MAKE) -> Order:
    return Order(act, scope, OLGA)


def claimed(jobs: Jobs, only: str | None = None) -> Claim:
    claim = jobs.claim(only)
    assert claim is not None, "nothing could be claimed"
    return claim

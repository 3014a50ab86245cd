"""What the parts of Backup work with: every outside thing, built once by the wiring."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from ..errors import UnavailableError
from ..model import Scope, Snapshot
from ..settings import Settings
from ..stores.files import RESERVED, Tree
from ..stores.gate import Gate
from ..stores.intents import Intents
from ..stores.mongo import Mongo
from ..stores.mongo_write import MongoWriter
from ..stores.people import People
from ..stores.plans import Plans
from ..stores.repository import Repository
from ..stores.seen import Seen
from ..stores.verdicts import Verdicts


def server_now() -> datetime:
    """The clock of this machine, aware and UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Stores:
    """Every outside thing that a snapshot or a restore touches."""

    settings: Settings
    repository: Repository
    mongo: Mongo
    writer: MongoWriter
    plans: Plans
    intents: Intents
    gate: Gate
    seen: Seen
    people: People
    verdicts: Verdicts
    now: Callable[[], datetime] = server_now

    def is_known_damaged(self, snapshot: Snapshot) -> bool:
        """Whether a verification found damage in it; False where the control database does not answer."""
        with suppress(UnavailableError):
            found = self.verdicts.of(snapshot.scope, [snapshot]).get(snapshot.name)
            return found is not None and found.is_bad
        return False

    def live_tree(self, scope: Scope) -> Tree:
        """The live files of a scope, without what is ours."""
        return Tree(scope.live_folder(self.settings.working), RESERVED if scope.is_site else "")

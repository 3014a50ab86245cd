"""What the parts of Backup work with: every outside thing, built once by the wiring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from ..model import Patterns, Scope
from ..patterns import Exclusion, Told
from ..settings import Settings
from ..stores.begun import BegunCopies
from ..stores.files import RESERVED
from ..stores.gate import Gate
from ..stores.intents import Intents
from ..stores.mongo import Mongo
from ..stores.mongo_write import MongoWriter
from ..stores.people import People
from ..stores.plans import Plans
from ..stores.repository import Repository
from ..stores.scope_files import ScopeFiles
from ..stores.seen import Seen
from ..stores.trees import Tree
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
    scope_files: ScopeFiles
    begun: BegunCopies
    now: Callable[[], datetime] = server_now
    is_strict: bool = False  # what the disk does not keep of owner, mode and time is a difference, too

    def patterns(self, scope: Scope) -> Patterns:
        """What the settings leave out of a scope."""
        chosen = self.settings.files.exclude.patterns
        return chosen if scope.is_site else Patterns((), chosen.project)

    def excluded(self, scope: Scope, *recorded: Patterns) -> Exclusion:
        """What the settings leave out of a scope now, or what these patterns do."""
        return Exclusion(scope, *(recorded or (self.patterns(scope),)))

    def live_tree(
        self, scope: Scope, excluded: Exclusion | None = None, told: Told | None = None, since: int = 0
    ) -> Tree:
        """The live files of a scope, without what is ours and what is excluded (None: by the settings of now).

        `since` as of `Tree`.
        """
        if excluded is None:
            excluded = self.excluded(scope)
        return Tree(
            scope.live_folder(self.settings.working), RESERVED if scope.is_site else "", excluded, told, since=since
        )

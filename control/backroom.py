"""What the desk works with: built once by the wiring, the same behind every door.

>>> Desk(Backroom(auth, reception, catalogue, …))       # doctest: +SKIP
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .auth import Auth
from .backup.differing import Differing
from .catalogue import Catalogue
from .jobs import Jobs
from .reception import Reception
from .scope_settings import ProjectSettings
from .stores.intents import Intents
from .stores.mongo import Mongo
from .stores.plans import Plans
from .stores.repository import Repository
from .stores.tokens import Tokens
from .stores.verdicts import Verdicts


@dataclass(frozen=True, slots=True)
class Backroom:
    """What the desk works with."""

    auth: Auth
    reception: Reception
    catalogue: Catalogue
    repository: Repository
    plans: Plans
    intents: Intents
    mongo: Mongo
    jobs: Jobs
    tokens: Tokens
    verdicts: Verdicts
    differing: Differing
    beside: Path | None
    project: ProjectSettings

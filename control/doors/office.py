"""What the doors are given: everything that `wiring.build` has put together, as one frozen value.

Rule: a door parses, makes one call to the desk and renders; it never builds one of these parts itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # only names of types; a door that needs one of these rooms imports it itself
    from ..desk import Desk
    from ..jobs import Jobs
    from ..messages import Messages
    from ..settings import Settings
    from ..stores.gate import Gate
    from ..stores.intents import Intents
    from ..work import Work
    from .login import Login


@dataclass(frozen=True)
class Office:
    """The built parts. `database` is the application's own, a pymongo `Database` (pymongo is known to stores only)."""

    settings: Settings
    desk: Desk
    work: Work
    jobs: Jobs
    messages: Messages
    login: Login
    gate: Gate
    intents: Intents
    database: Any

"""Keyframe: snapshots of a web application, its files and its MongoDB database at one instant, and their restore.

What a host imports:

>>> from keyframe import Keyframe, Settings, load_settings      # doctest: +SKIP
>>> Keyframe(load_settings()).init_app(app)                     # doctest: +SKIP

and, for its hooks, the types of what they are told: `Scope`, `DonePlan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import VERSION

if TYPE_CHECKING:
    from .model import Scope
    from .settings import Settings
    from .settings import load as load_settings
    from .stores.done_plans import DonePlan
    from .wiring import Keyframe

__version__ = VERSION
__all__ = ["DonePlan", "Keyframe", "Scope", "Settings", "__version__", "load_settings"]


def __getattr__(name: str) -> Any:
    """Import on first use: a command that lists snapshots need not load Flask."""
    if name == "Keyframe":
        from .wiring import Keyframe

        return Keyframe
    if name in ("Settings", "load_settings"):
        from . import settings

        return settings.load if name == "load_settings" else settings.Settings
    if name == "DonePlan":
        from .stores.done_plans import DonePlan

        return DonePlan
    if name == "Scope":
        from .model import Scope

        return Scope
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

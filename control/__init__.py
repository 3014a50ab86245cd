"""Keyframe: snapshots of a web application, its files and its MongoDB database at one instant, and their restore.

What a host imports:

>>> from keyframe import Keyframe, Settings, load_settings      # doctest: +SKIP
>>> Keyframe(load_settings()).init_app(app)                     # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .version import VERSION

if TYPE_CHECKING:
    from .settings import Settings
    from .settings import load as load_settings
    from .wiring import Keyframe

__version__ = VERSION
__all__ = ["Keyframe", "Settings", "__version__", "load_settings"]


def __getattr__(name: str) -> Any:
    """Import on first use: a command that lists snapshots need not load Flask."""
    if name == "Keyframe":
        from .wiring import Keyframe

        return Keyframe
    if name in ("Settings", "load_settings"):
        from . import settings

        return settings.load if name == "load_settings" else settings.Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""A small site of scholarly editions: the first host of Keyframe, and something worth keeping.

Rules:

- It knows nothing of snapshots: it reaches them only through the extension, as a stranger's application would
  (`site.py` puts both together); where the extension is absent its pages simply lack the section. After a restore it
  forgets what it had counted, by a hook (`sizes.py`).
- Who may do what is decided in `rights.py`, records are read and written in `records.py`, files in `folder.py`; the
  pages parse, call these and render.
- Every change is a POST with a CSRF token; every page works without JavaScript, but for the model itself.

>>> EditionsSite(settings, database).init_app(app)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .extension import EXEMPT, LAYOUT, EditionsSite

__all__ = ["EXEMPT", "LAYOUT", "EditionsSite"]


def __getattr__(name: str) -> Any:
    """Import on first use: a worker needs the hook of this site, and does without Flask."""
    if name in __all__:
        from . import extension

        return getattr(extension, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

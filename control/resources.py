"""Where templates and static files lie: beside the package in a wheel, one level up in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_folder(name: str) -> Path:
    """The folder `name` (`templates` or `static`) that belongs to this copy of the package.

    Raises
    ------
    RuntimeError: the package was installed without it.
    """
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise RuntimeError(f"the package was installed without its {name}")

"""Going down into folders without ever following a link.

Rules:

- Each folder is opened below the one before it (`dir_fd`, O_NOFOLLOW): a link that is put in the place of a folder,
  before or in between, leads nobody out. What is done then is done in the open folder, wherever its name leads by now.
- Only the topmost folder, which the settings name, may be or lie behind a link.

>>> with descended(settings.working, ("project", project_id)) as folder:        # doctest: +SKIP
...     os.listdir(folder)
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@contextlib.contextmanager
def descended(top: Path, pieces: Sequence[str], *, make: bool = False) -> Iterator[int]:
    """The folder that `pieces` name below `top`, as an open descriptor.

    Parameters
    ----------
    make: folders that are not there are made, also `top` and those above it.

    Raises
    ------
    NotADirectoryError: one is a link or a file, or no name. FileNotFoundError: one is not there.
    OSError: as the system says.
    """
    if make:
        top.mkdir(parents=True, exist_ok=True)
    folder = os.open(top, _FOLDER)
    try:
        for piece in pieces:
            below = _below(folder, piece, make)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def require_name(piece: str) -> None:
    """Raise NotADirectoryError where `piece` is a path, or nothing, instead of one name."""
    if piece in ("", ".", "..") or "/" in piece or "\0" in piece:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), piece)


def status_of(folder: int, name: str) -> os.stat_result | None:
    """What is called `name` in an open folder, a link as itself; None: nothing is."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _below(folder: int, piece: str, make: bool) -> int:
    require_name(piece)
    with contextlib.suppress(FileNotFoundError):
        return os.open(piece, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)
    if make:
        with contextlib.suppress(FileExistsError):  # somebody else was faster
            os.mkdir(piece, dir_fd=folder)
    return os.open(piece, _FOLDER | os.O_NOFOLLOW, dir_fd=folder)

"""A directory on the way of a walk, and what is told of a path beside its stat.

>>> Frame(-1, "edition/", iter(["1", "1/"])).leads_down("1/")
False
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..model import Attributes
from . import attributes as xattrs


@dataclass(slots=True)
class Frame:
    """One directory on the way of a walk: its descriptor (-1: not open now), what stands before its names, the names
    that are still to come; a name with "/" at its end means: go down there, if it is one of `folders`, which were told
    as directories. `entries` are those of the listing. `few` are the names, where none leads down and one sheet holds
    them all."""

    descriptor: int
    prefix: str
    names: Iterator[str]
    few: list[str] | None = None
    entries: dict[str, os.DirEntry[str]] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def leads_down(self, name: str) -> bool:
        """Whether the name with "/" at its end is that of a directory that was told; asked once."""
        is_folder = name[:-1] in self.folders
        self.folders.discard(name[:-1])
        return is_folder

    def close(self) -> None:
        self.entries = {}  # they lead through the descriptor
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1


def attributes_of(stat: os.stat_result, place: str) -> Attributes:
    """Of a directory or link; a file's ctime tells whether its own have to be read at all."""
    is_link = modes.S_ISLNK(stat.st_mode)
    if not (is_link or modes.S_ISDIR(stat.st_mode)) or (is_link and os.geteuid() != 0):
        return ()
    try:
        return xattrs.read(place)
    except PermissionError:  # nor can it be listed, which is said
        return ()


def nothing_of(_stat: os.stat_result, _place: str) -> Attributes:
    """Nobody asks for them."""
    return ()

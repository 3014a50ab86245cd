"""What the settings leave out of snapshots, and what was left out of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import shown


@dataclass(frozen=True, slots=True)
class Patterns:
    """Gitignore patterns of what is left out of snapshots: in the folders of projects, and anywhere else."""

    site: tuple[str, ...] = ()
    project: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {"site": list(self.site), "project": list(self.project)}


@dataclass(frozen=True, slots=True)
class Excluded:
    """What was left out of a snapshot: by which patterns, how many paths there were, the first of them.

    A folder that was left out is one path, with all that is in it.
    """

    patterns: Patterns = Patterns()
    count: int = 0
    paths: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "patterns": self.patterns.as_dict(),
            "count": self.count,
            "paths": list(self.paths),
        }

    def as_shown(self) -> dict[str, Any]:
        """The same with paths that can be printed."""
        return {**self.as_dict(), "paths": [shown(path) for path in self.paths]}

    def part_of(self, folder: str, count: int) -> Excluded:
        """What of it lies in the folder of a project, `count` paths; nothing of others."""
        paths = tuple(path for path in self.paths if path.startswith(f"{folder}/"))
        return Excluded(Patterns((), self.patterns.project), count, paths)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Excluded:
        patterns = document["patterns"]
        return cls(
            Patterns(tuple(patterns["site"]), tuple(patterns["project"])),
            int(document["count"]),
            tuple(document["paths"]),
        )

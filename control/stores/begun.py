"""Notes of copies under way: which folder and database a job has begun to fill, on disk before it makes either.

Rules:

- Written durably before the first thing is made, removed when nothing half is left: whoever finds one clears away what
  it names, or, where the copy was whole already, gives it its name.
- It names what is ours: the folder under its temporary name, and a database that has the job's mark in it.

>>> begun.all()         # doctest: +SKIP
(Begun(job='6560…', folder='/mnt/old', draft='/mnt/.old.keyframe-6560…', database='', outcome=None),)
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import KeyframeError
from .disk import names_in, remove_tree, sync_folder, translate
from .headers import write_json

_ENDING = ".json"


@dataclass(frozen=True, slots=True)
class Begun:
    """A copy that a job makes: `draft` becomes `folder` (both empty: no files), `database` empty: no records.

    `part` is the folder in `draft` that is renamed; `outcome`, in the shape of `Outcome.as_dict`, is there once the
    copy is whole and verified: from then on it is finished, not cleared away. The note then stays until the job has
    ended, too, so that whoever ends it for a lost worker knows how it came out.
    """

    job: str
    folder: str = ""
    draft: str = ""
    part: str = ""
    database: str = ""
    outcome: Mapping[str, Any] | None = None


class BegunCopies:
    """The folder of notes, one file per job; beside them what a copy needs while it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, begun: Begun) -> None:
        """Make the note durable."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(self._path(begun.job), asdict(begun))
            sync_folder(self._folder)
        except OSError as error:
            raise translate(error, "the note of the copy", "no copy was made") from error

    def read(self, job: str) -> Begun | None:
        """The note of a job; None where there is none."""
        try:
            return Begun(**json.loads(self._path(job).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise KeyframeError("The note of an unfinished copy cannot be read.", subject=f"job {job}") from error

    def all(self) -> tuple[str, ...]:
        """The jobs that have one."""
        names = (name for name in names_in(self._folder) if name.endswith(_ENDING) and not name.startswith("."))
        return tuple(sorted(name.removesuffix(_ENDING) for name in names))

    def remove(self, job: str) -> None:
        """Nothing half is left of this copy."""
        try:
            remove_tree(self.scratch(job))
            with contextlib.suppress(FileNotFoundError):
                self._path(job).unlink()
                sync_folder(self._folder)
        except OSError as error:
            raise translate(error, "the note of the copy", "the copy is as it shall be, but for this") from error

    def scratch(self, job: str) -> Path:
        """A folder of its own, for what a copy needs while it is made; who uses it makes it."""
        return self._folder / job

    def _path(self, job: str) -> Path:
        return self._folder / f"{job}{_ENDING}"

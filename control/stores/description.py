"""Judging what describes a snapshot, and its dumps by names and sizes, for a caller who looks at its files himself.

Rules:

- It is the validator's quick look, in its code and its words, but for the walk through the files: that of many files
  takes longer than all else, and the caller has them at hand, by the sheet.
- The sums of the files are compared with what the caller knows of them.

>>> Description(folder, scope, collections, expect).run(now).is_bad         # doctest: +SKIP
False
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..model import CollectionEntry, Scope
from .dump_check import DumpCheck
from .files import Descent
from .readings import Readings
from .sums import Sums
from .validator import Validator


class Description(Validator):
    """One look at one snapshot; use it once."""

    def __init__(
        self, folder: Path, scope: Scope, collections: list[CollectionEntry], expect: Callable[[Sums], None]
    ) -> None:
        """Of the snapshot in `folder`.

        Parameters
        ----------
        collections: those of its manifest. expect: tells the sums of its files, in their order.
        """
        super().__init__(folder, quick=True, scope=scope)
        self._collections = collections
        self._expect = expect

    def _check_content(self, readings: Readings) -> None:
        if self._sums is not None:
            self._expect(self._sums)
        digests = self._check_sums(self._collections)
        dumps = DumpCheck(self._folder, self._header, self._findings, readings, digests, quick=True)
        dumps.run(self._collections)
        readings.finish()

    def _check_counts(self) -> None:
        """The caller has counted."""


def number_below(files: Descent) -> int:
    """How many files, directories and links lie below a folder.

    Raises
    ------
    OSError: a directory cannot be listed.
    """
    number, prefixes = 0, [""]
    while prefixes:
        prefix = prefixes.pop()
        with os.scandir(files.parent(prefix + "-")[0]) as found:
            for one in found:
                number += 1
                if one.is_dir(follow_symlinks=False):
                    prefixes.append(f"{prefix}{one.name}/")
    return number

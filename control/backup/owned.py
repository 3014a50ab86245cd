"""Entries of files with what the disk of the live files can keep, so that nothing else counts as a difference.

>>> Owned(stores)(entry).uid        # doctest: +SKIP
0
"""

from __future__ import annotations

import os
from dataclasses import replace

from ..model import FileEntry
from ..stores.attributes import kept_at, only
from ..stores.keeping import WHOLE, Keeping, keeping_of
from .stores import Stores


class Owned:
    """Entries with what can be brought back here: what the disk of the live files does not keep of owner, mode, time
    and attributes is no difference; nor is, for anybody but root, another owner."""

    def __init__(self, stores: Stores) -> None:
        strict = Keeping(owners=os.geteuid() == 0)
        self._keeping = strict if stores.is_strict else keeping_of(stores.settings.working)
        self._kinds = kept_at(str(stores.settings.working))

    def __call__(self, entry: FileEntry) -> FileEntry:
        if entry.attributes:
            entry = replace(entry, attributes=only(entry.attributes, self._kinds))
        if self._keeping == WHOLE:
            return entry
        uid, gid = (entry.uid, entry.gid) if self._keeping.owners else (0, 0)
        mode = entry.mode if self._keeping.modes else 0
        return replace(entry, uid=uid, gid=gid, mode=mode, mtime_ns=self._keeping.cut(entry.mtime_ns))

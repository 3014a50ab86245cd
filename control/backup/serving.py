"""Whether a snapshot that is there already holds what a draft does, so that the draft may go.

Rules:

- Equal is what has the same manifest, made with the same patterns (`alike` in `judging.py`).
- A file that the draft has copied itself goes with it: so the stored copy of that file is read, from the disk, and has
  to have its bytes. What the draft would share with older snapshots stays where it is, and nobody reads it; what the
  plan of a restore is computed from is read, and its digests checked.
- What a quick verification finds is found here as well: of the files by the sheet, of all else by the validator's code
  (`stores/description.py`). Of the newest snapshot the make has looked at the files already; where it is to serve a
  restore, all is looked at here.
- A snapshot that lacks something serves nobody; it is named among the warnings of the new one.

>>> Serving(stores, scope, header, copying.items, watch.check).older(damage)      # doctest: +SKIP
"""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from ..errors import ChangedError, DamagedError, NotFoundError, Problem
from ..model import Scope, Snapshot
from ..stores.description import Description, number_below
from ..stores.disk import translate
from ..stores.files import Descent
from ..stores.keeping import keeping_of
from ..stores.readings import Read, Readings
from ..stores.rows import Noted, Row
from ..stores.sheets import LINK
from ..stores.sums import Sums, has_sum
from ..stores.walking import Stored, kept_in
from .damage import Damage
from .judging import alike
from .row_files import Item
from .shelf import OTHER_OWNER, Shelf
from .stores import Stores

log = structlog.get_logger(__name__)


class Serving:
    """Looks for a snapshot that makes one draft needless."""

    def __init__(
        self,
        stores: Stores,
        scope: Scope,
        header: dict[str, Any],
        items: Callable[[], Iterator[Item]],
        check: Callable[[], None],
    ) -> None:
        """For the draft of `header`, to whose warnings is added what others lack.

        Parameters
        ----------
        items: what the draft consists of. check: asked for each file; may raise to stop.
        """
        self._stores = stores
        self._scope = scope
        self._header = header
        self._items = items
        self._check = check
        self._judged: set[str] = set()  # names of snapshots

    def older(self, damage: Damage) -> Snapshot | None:
        """An older snapshot that holds what the draft does; None: there is none."""
        for one in alike(self._stores.repository, self._scope, self._header, damage):
            if one.name not in self._judged and self._holds(one, self._lacks):
                return one
        return None

    def is_whole(self, newest: Snapshot, *, files: bool) -> bool:
        """Whether the newest snapshot is as it was written; `files`: look at them again, though the make did."""
        return self._holds(newest, self._lacks if files else self._lacks_beside)

    def _holds(self, snapshot: Snapshot, lacks: Callable[[Snapshot], Problem | None]) -> bool:
        self._judged.add(snapshot.name)
        try:
            found = lacks(snapshot)
        except (DamagedError, NotFoundError) as error:
            found = error.problem()
        except OSError as error:
            found = translate(error, "an older snapshot", "it serves nobody").problem()
        if found is None:
            return True
        log.warning("make.older-damaged", snapshot=snapshot.name, code=found.code, what=found.subject or found.what)
        hint = f"Verify the snapshot {snapshot.name}, and the older ones."
        self._header["warnings"].append(Problem(found.code, found.what, found.subject, hint).as_dict())
        return False

    def _lacks(self, snapshot: Snapshot) -> Problem | None:
        """The first thing that is not as it was written; None: nothing."""
        repository, number = self._stores.repository, 0
        with Shelf(repository.root) as shelf:
            look = _Look(shelf, repository.place_of(snapshot.scope, snapshot.name), repository.root)
            for item in self._items():
                self._check()
                found = look.fault(item)
                if found is not None:
                    return found
                number += len(item.sheet) if isinstance(item, Noted) else len(item)
            if max(number - 1, 0) != number_below(look.files):  # all but the top itself
                return _not_as_written("damaged.file-extra", "files/")
        return self._lacks_beside(snapshot)

    def _lacks_beside(self, snapshot: Snapshot) -> Problem | None:
        """The same of what describes it, of its dumps, and of the bytes that the draft has copied."""
        repository, header = self._stores.repository, self._header
        counts = (snapshot.files, snapshot.documents, snapshot.bytes)
        if counts != (header["files"], header["documents"], header["bytes"]):
            return _not_as_written("damaged.header-counts", "snapshot.json")
        collections = list(repository.collections(snapshot).values())
        folder = repository.folder(snapshot.scope, snapshot.name)
        verdict = Description(folder, snapshot.scope, collections, self._expect).run(self._stores.now())
        return verdict.damages[0] if verdict.is_bad else self._unlike(snapshot)

    def _expect(self, sums: Sums) -> None:
        for item in self._items():
            self._check()
            if isinstance(item, Noted):
                sums.expect_all(b"files/" + item.sheet.prefix, *item.sums())
                continue
            for row in item:
                if row.is_file and has_sum(b"files/" + row.path):
                    sums.expect(b"files/" + row.path, row.sha256)

    def _unlike(self, snapshot: Snapshot) -> Problem | None:
        """A file whose stored copy does not have the bytes that the draft has copied; None: there is none."""
        wrong: list[str] = []

        def judge(path: str, sha256: str, read: Read) -> None:
            if read.sha256 != sha256:
                wrong.append(path)

        folder = self._stores.repository.folder(snapshot.scope, snapshot.name) / "files"
        with Descent(folder) as stored, Readings(lambda _: self._check()) as readings:
            for row in self._copied():
                path = os.fsdecode(row.path)
                try:
                    descriptor, stat = stored.open(path)
                except (OSError, ChangedError):
                    return _not_as_written("damaged.file-missing", path)
                readings.add(descriptor, stat.st_size, partial(judge, path, row.sha256))
                if wrong:
                    break
            readings.finish()
        return _not_as_written("damaged.file-bytes", wrong[0]) if wrong else None

    def _copied(self) -> Iterator[Row]:
        """The files whose copies go with the draft: also what it has taken over from that of an interrupted make."""
        holds = self._stores.repository.drafts.holds
        for item in self._items():
            is_shared = isinstance(item, Noted) and item.folder != "" and not holds(item.folder)
            for row in item.odd.values() if isinstance(item, Noted) and is_shared else _rows(iter((item,))):
                if row.is_file and (row.folder == "" or holds(row.folder)):
                    yield row


class _Look:
    """A look at the stored files of one snapshot, by names, kinds, sizes and times."""

    def __init__(self, shelf: Shelf, folder: str, root: Path) -> None:
        self._shelf = shelf
        self._folder = folder
        self._stored = Stored(root / folder / "files", root.stat().st_dev, keeping_of(root))

    @property
    def files(self) -> Descent:
        return self._shelf.of(self._folder)

    def fault(self, item: Item) -> Problem | None:
        """The first of some paths that is not stored as it was written; None: all are."""
        sheet = item.sheet if isinstance(item, Noted) else None
        if sheet is not None and LINK not in sheet.kinds and kept_in(sheet, self.files, self._stored) == b"":
            return None
        for row in _rows(iter((item,))):
            path = os.fsdecode(row.path)
            code = self._shelf.fault(self._folder, path, row) if row.is_file else self._other(row, path)
            if code not in ("", OTHER_OWNER):
                return _not_as_written(code, path)
        return None

    def _other(self, row: Row, path: str) -> str:
        """As `Shelf.fault`, of a directory or link."""
        try:
            parent, name = self.files.parent(path)
            if not row.is_folder:
                return "" if os.fsencode(os.readlink(name, dir_fd=parent)) == row.target else "damaged.link-target"
            is_folder = modes.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
            return "" if is_folder else "damaged.file-kind"
        except OSError:
            return "damaged.file-missing"


def _rows(items: Iterator[Item]) -> Iterator[Row]:
    for item in items:
        yield from item.rows() if isinstance(item, Noted) else item


def _not_as_written(code: str, path: str) -> Problem:
    return Problem(code, "The stored copy is not as it was written; another snapshot was made.", path)

"""The directory copy of a snapshot: a look, a bulk copy, a second look with the gate closed, then what can be shared.

Rules:

- Before the gate is closed only what has no stored copy is copied; in it only what is no longer as it was seen, and
  only for as long as the gate may be closed: what was copied by then is done. What is shared with older snapshots is
  linked afterwards, and not at all where nothing changed.
- Each step reads the rows of the one before and writes its own, side by side with the tree; no list of it is held.
- What is copied is known at once, by its place in the draft: the next make takes it over where this one is interrupted.
- Problems are those of the second look: what could not be read at first gets a second chance.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Iterator

import structlog

from ..errors import ChangedError, Problem
from ..model import FileEntry, Progress, Scope
from ..stores.copies import TargetError
from ..stores.disk import has_our_clock
from ..stores.draft import Draft
from ..stores.draft_files import DraftFiles
from ..stores.files import RESERVED, Descent, path_key
from ..stores.gate import Period
from ..stores.seen import Copy, SeenKey
from .bulk import Bulk, take
from .closing import Limit, TooLongError
from .freshening import Freshening, Limits
from .looking import Looking, OlderCopies, Shelf
from .noticing import written_past
from .rows import Relay, Row, RowWriter, read_rows, row_of, told
from .stores import Stores
from .watches import Watch

log = structlog.get_logger(__name__)

_TOLD = 100  # files between two words about them
_KEPT_EVERY = 1.0  # seconds: what the next make has to do again at most, where this one is interrupted
_NAMED = 20  # excluded paths
_ANOTHER_KIND = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO)  # than when it was listed


class Copying:
    """Fills the `files` folder of a draft."""

    def __init__(
        self,
        stores: Stores,
        scope: Scope,
        draft: Draft,
        older: OlderCopies,
        watch: Watch,
        *,
        may_be_absent: bool,
    ) -> None:
        self._stores = stores
        self._live = stores.live_tree(scope)
        self._draft = draft
        self._watch = watch
        self._may_be_absent = may_be_absent
        self._scope = scope
        self._looking = Looking(stores, self._live, older, watch)
        self._place = stores.seen.place(stores.repository.drafts.place_of(draft))
        self._kept_at = time.monotonic()
        self.passes = 0  # over the live files, with copying
        self._tells_time = True
        self._reset()

    def _reset(self) -> None:
        self.problems: list[Problem] = []
        self.unknown: set[str] = set()
        self.left_out = LeftOut(is_site=self._scope.is_site)

    def _problem(self, path: str, code: str, what: str, hint: str) -> None:
        self.problems.append(Problem(code, what, path, hint))
        self.unknown.add(path)

    def _note(self, path: str, problem: Problem) -> None:
        self._problem(path, problem.code, problem.what, problem.hint)

    @property
    def damaged(self) -> list[Problem]:
        """Stored copies of the newest snapshot that are not as they were written, and were copied anew."""
        return self._looking.damaged

    # --- before the gate is closed

    def look(self) -> int:
        """Look at all live paths; about how many bytes have to be copied."""
        self._tells_time = has_our_clock(self._stores.settings.working / RESERVED)  # may give the top a new stamp
        self._looking.run(self._draft.rows(0))
        return self._looking.bytes_needed

    def bulk(self) -> None:
        """Copy what has no stored copy; nobody is kept from writing meanwhile."""
        bulk = Bulk(self._draft.files, self._live, self._watch, self._keep)
        with RowWriter(self._draft.rows(1)) as out:
            bulk.run(read_rows(self._draft.rows(0)), out, self._looking.bytes_to_read)
        self.passes = 1
        self._stores.seen.flush()

    def _keep(self, row: Row) -> None:
        """Remember a file that was read, and where its copy lies."""
        stat = row.stat
        key: SeenKey = (stat.device, stat.inode, stat.ctime_ns, stat.mtime_ns, stat.size)
        # What was taken over from a draft that is removed in the end is known by its place in this one.
        is_here = row.folder == "" or self._stores.repository.drafts.holds(row.folder)
        path = row.path if is_here or row.folder == self._looking.folder else row.copy
        place = self._place if is_here else self._stores.seen.place(row.folder)
        copy = Copy(place, os.fsdecode(path))
        self._stores.seen.remember(key, row.sha256, row.attributes, row.at, copy)
        if time.monotonic() - self._kept_at > _KEPT_EVERY:
            self._kept_at = time.monotonic()
            self._stores.seen.flush()

    # --- with the gate closed

    def second_pass(self, limit: Limit) -> None:
        """Bring the copy to the state now. May be repeated, also after it was stopped by TooLongError."""
        self._reset()
        if not self._live.exists() and not self._may_be_absent:
            what, hint = "the folder of the files is missing; only records were kept.", "Is its disk mounted?"
            self._problem(".", "unavailable", what, hint)
        with (
            RowWriter(self._draft.rows(self.passes + 1)) as out,
            DraftFiles(self._draft.files.root) as files,
            self._live.descent() as live,
        ):
            relay, is_late = Relay(self._draft.rows(self.passes), out), False
            try:
                self._look_again(relay, files, live, limit)
            except TooLongError:
                relay.keep_rest()
                is_late = True
        self._draft.rows(self.passes).unlink()
        self.passes += 1
        if is_late:
            raise TooLongError

    def _look_again(self, relay: Relay, files: DraftFiles, live: Descent, limit: Limit) -> None:
        looks = 0
        for path, stat, at_ns, target, attributes in self._stores.live_tree(self._scope, told=self.left_out.add).paths(
            self._note
        ):
            looks += 1
            if looks % _TOLD == 0:
                limit.check()
            was, raw = relay.head, os.fsencode(path)
            # Nearly all go this way, and writers wait: one comparison tells that nothing is new, and may be trusted.
            if (
                was is not None
                and was.path == raw
                and was.stat == told(stat)
                and was.is_settled()
                and (was.is_file or was.attributes == attributes)
            ):
                relay.keep()
                continue
            key = path_key(path)
            while was is not None and _key(was) < key:
                relay.drop()
                self._remove(files, was)
                was = relay.head
            if was is None or was.path != raw:
                was = None
            elif was.is_same(stat, attributes) and was.is_settled():
                relay.keep()
                continue
            elif was.is_same(stat, attributes) and self._has_same_bytes(was, live, limit):
                relay.settle(at_ns)  # by the time of this look its stamp may be old enough
                continue
            else:
                relay.drop()
            row = self._take_again(was, row_of(path, stat, at_ns, target, attributes), files, live, limit)
            if row is not None:
                relay.add(row)
        while relay.head is not None:
            was = relay.head
            relay.drop()
            self._remove(files, was)

    def _has_same_bytes(self, row: Row, live: Descent, limit: Limit) -> bool:
        try:
            _, sha256, attributes = live.digest(os.fsdecode(row.path), limit.check)
            return (sha256, attributes) == (row.sha256, row.attributes)
        except (ChangedError, OSError):
            return False

    def _remove(self, files: DraftFiles, row: Row) -> None:
        """Take out of the draft what is not there any more."""
        if not row.folder:
            files.remove(os.fsdecode(row.path))

    def _take_again(self, was: Row | None, row: Row, files: DraftFiles, live: Descent, limit: Limit) -> Row | None:
        path = os.fsdecode(row.path)
        if was is None or was.is_folder != row.is_folder or not row.is_file:
            if not (row.is_folder and was is not None and was.is_folder):
                files.remove(path)
            if not row.is_file:
                return row
        try:
            found = take(row, live, files, limit.check)
            self._keep(found)
            return found
        except TargetError:
            raise
        except ChangedError as error:
            self._problem(path, error.code, error.what, error.hint)
        except OSError as error:
            if error.errno in _ANOTHER_KIND:
                self._problem(path, "changed", "became something else while it was read.", "Make another one.")
            elif error.errno != errno.ENOENT:
                self._problem(path, "unavailable", f"cannot be read ({error.strerror}).", "Look at its rights.")
        files.remove(path)  # what the first pass stored is not what is there now
        return None

    # --- afterwards

    def notice(self, period: Period) -> None:
        """Name what was written past the gate while it was closed; a restore leaves it as it is."""
        if not self._tells_time:
            log.info("gate.other-clock", folder=str(self._live.root))
            return
        for one in written_past(self._live, self.rows(), period, self._watch):
            if one.path not in self.unknown:
                self.problems.append(one.problem())
                if not one.is_folder:  # all that lies in it would be unknown as well
                    self.unknown.add(one.path)

    def rows(self) -> Iterator[Row]:
        """What the copy consists of."""
        return read_rows(self._draft.rows(self.passes))

    def fill(self, limits: Limits) -> None:
        """Complete the draft: directories, links, and what is shared with older snapshots; and note all sums.

        Parameters
        ----------
        limits: how much of what could be shared is copied anew.

        Raises
        ------
        ChangedError: a stored copy that was there when the gate was closed is not any more.
        """
        done = 0
        open_folders: list[FileEntry] = []
        with (
            DraftFiles(self._draft.files.root) as files,
            Shelf(self._stores.repository.root) as shelf,
            Freshening(limits, self._live, self._looking.paths, self._watch) as fresh,
        ):
            for row in self.rows():
                while open_folders and not _is_below(row, open_folders[-1]):
                    files.dress(open_folders.pop())
                if row.is_file:
                    self._complete(row, files, shelf, fresh)
                    self._draft.add_sum(b"files/" + row.path, row.sha256)
                elif row.is_folder:
                    open_folders.append(row.entry())
                    files.add_folder(open_folders[-1])
                else:
                    files.add_link(row.entry())
                done += 1
                if done % _TOLD == 0:
                    self._watch.progress(Progress("sharing files", 4, 4, done, self._looking.paths, "files"))
            for folder in reversed(open_folders):
                files.dress(folder)

    def _complete(self, row: Row, files: DraftFiles, shelf: Shelf, fresh: Freshening) -> None:
        if row.folder and fresh.take(row, files, shelf):
            row.folder, row.copy = "", b""
            self._keep(row)
        elif row.folder:
            files.share(shelf.of(row.folder), os.fsdecode(row.copy), os.fsdecode(row.path), row.sha256)
        elif row.copy:
            files.twin(os.fsdecode(row.copy), os.fsdecode(row.path), row.sha256)
        if row.folder and row.folder != self._looking.folder:
            self._keep(row)

    def committed(self, folder: str) -> None:
        """The draft is a snapshot now."""
        self._stores.seen.flush()
        self._stores.seen.committed(self._place, folder, self._looking.folder)


class LeftOut:
    """Counts what is excluded, and knows the first of it by name."""

    def __init__(self, *, is_site: bool) -> None:
        self._is_site = is_site
        self.count = 0
        self.paths: list[str] = []
        self.projects: Counter[str] = Counter()

    def add(self, path: str) -> None:
        self.count += 1
        if len(self.paths) < _NAMED:
            self.paths.append(path)
        if self._is_site and path.startswith("project/") and path.count("/") > 1:
            self.projects[path.split("/", 2)[1]] += 1


def _key(row: Row) -> bytes:
    return b"" if row.path == b"." else row.path


def _is_below(row: Row, folder: FileEntry) -> bool:
    # "a" < "a-b" < "a/b" < "a0": as long as something below "a" may still come, it is not dressed.
    return folder.path == "." or row.path < os.fsencode(folder.path) + b"0"

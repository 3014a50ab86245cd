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
from collections.abc import Callable, Iterator
from itertools import chain, compress

import structlog

from ..errors import ChangedError, Problem
from ..model import Scope
from ..stores.copies import TargetError
from ..stores.disk import has_our_clock
from ..stores.draft import Draft
from ..stores.draft_files import DraftFiles
from ..stores.files import RESERVED, Descent
from ..stores.gate import Period
from ..stores.rows import Noted, Row, look_of
from ..stores.seen import Copy, SeenKey
from ..stores.sheets import FILE, Sheet
from ..stores.taking import take
from .bulk import Bulk
from .closing import Limit, TooLongError
from .filling import Filling
from .freshening import Limits
from .helpers import WORTH_COPYING, Helpers
from .left_out import LeftOut
from .looking import Looking
from .noticing import Past, written_past
from .reducing import Amount, Reduction, Thinning
from .row_files import Item, Relay, RowWriter, read_items, read_rows
from .shelf import OlderCopies
from .stores import Stores
from .watches import Watch

log = structlog.get_logger(__name__)

_FILE = FILE[0]
_KEPT_EVERY = 1.0  # seconds: what the next make has to do again at most, where this one is interrupted
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
        helpers: Helpers,
        *,
        may_be_absent: bool,
        reduction: Reduction | None = None,
    ) -> None:
        self._reduction = reduction  # where there is no room for all
        self._stores = stores
        self._live = stores.live_tree(scope)
        self._draft = draft
        self._watch = watch
        self._may_be_absent = may_be_absent
        self._scope = scope
        self._helpers = helpers
        self._looking = Looking(stores, self._live, scope, older, watch, helpers)
        self._place = stores.seen.place(stores.repository.drafts.place_of(draft))
        self._kept_at = time.monotonic()
        self.passes = 0  # over the live files, with copying
        self._has_news = False  # whether a second look told anything new
        self._tells_time = True
        self._reset()

    def _reset(self) -> None:
        self.problems: list[Problem] = []
        self.unknown: set[str] = set()
        self._past: dict[bytes, None] = {}  # paths with a stamp of the time in which the gate is closed, in order
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

    @property
    def bytes_copied(self) -> int:
        """About how many bytes went to the draft before the gate was closed."""
        return self._looking.bytes_needed

    @property
    def is_as_newest(self) -> bool:
        """Whether all paths are for certain as the newest snapshot has them."""
        looking = self._looking
        return not (self._has_news or looking.has_news or looking.damaged)

    # --- before the gate is closed

    def look(self) -> tuple[int, int]:
        """Look at all live paths; about how many bytes have to be copied, and how many names that takes."""
        self._tells_time = has_our_clock(self._stores.settings.working / RESERVED)  # may give the top a new stamp
        self._looking.run(self._draft.rows(0))
        taken_out = Amount() if self._reduction is None else self._thin(self._reduction)
        return self._looking.bytes_needed - taken_out.bytes, self._looking.names_needed - taken_out.number

    def _thin(self, reduction: Reduction) -> Amount:
        """Forget what will not be copied since there is no room for it; tells how much that is."""
        rows = self._draft.rows(0)
        thinned = rows.with_name(f"{rows.name}.thin")
        with RowWriter(thinned) as out, self._live.descent() as live:
            thinning = Thinning(reduction, live, self._watch)
            for noted in thinning.run(read_items(rows)):
                out.note(noted)
        thinned.replace(rows)
        return thinning.taken_out

    def bulk(self) -> None:
        """Copy what has no stored copy; nobody is kept from writing meanwhile."""
        self.passes = 1
        if not self._looking.has_news:
            self._draft.rows(0).rename(self._draft.rows(1))
            return
        helpers = self._helpers if self._looking.files_needed >= WORTH_COPYING else None
        bulk = Bulk(self._draft.files, self._live, self._watch, (self._keep, self._keep_sheet), helpers)
        with RowWriter(self._draft.rows(1)) as out:
            bulk.run(read_items(self._draft.rows(0)), out, self._looking.bytes_to_read)
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
        self._flush_now_and_then()

    def _keep_sheet(self, noted: Noted) -> None:
        """Remember the files of a sheet that were just copied."""
        sheet, files = noted.sheet, [kind == _FILE for kind in noted.sheet.kinds]
        digests = b"".join(noted.digest(number) for number, is_file in enumerate(files) if is_file)
        keys, paths = compress(sheet.seen_keys(), files), [sheet.prefix + name for name in sheet.names_list()]
        self._stores.seen.remember_all(keys, digests, compress(paths, files), self._place, sheet.at)
        self._flush_now_and_then()

    def _flush_now_and_then(self) -> None:
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
        if self._reduction is not None:
            for path, problem in self._reduction.named():
                self._note(path, problem)

    def _look_again(self, relay: Relay, files: DraftFiles, live: Descent, limit: Limit) -> None:
        if self._reduction is not None:
            self._reduction.begin_files()
        tree = self._stores.live_tree(self._scope, told=self.left_out.add)
        for sheet in self._helpers.sheets(tree, self._looking.paths, self._note, limit):
            limit.check()
            was = relay.whole
            # Nearly all go this way, and writers wait: one comparison tells that nothing is new, and may be trusted.
            if was is not None and was.sheet.same_as(sheet) and was.is_settled():
                relay.keep_whole()
                continue
            self._has_news = True
            for number, name in enumerate(sheet.names_list()):
                limit.check()
                self._look_at(look_of(sheet, number, name), relay, files, live, limit)
        while relay.head is not None:
            was_there, self._has_news = relay.head, True
            relay.drop()
            self._remove(files, was_there)

    def _look_at(self, row: Row, relay: Relay, files: DraftFiles, live: Descent, limit: Limit) -> None:
        self._look_for_stamp(row, limit)
        was, key = relay.head, _key(row)
        while was is not None and _key(was) < key:
            relay.drop()
            self._remove(files, was)
            was = relay.head
        if was is None or was.path != row.path:
            was = None
        elif was.is_same(row) and was.is_settled():
            relay.keep()
            return
        elif was.is_same(row) and self._has_same_bytes(was, live, limit):
            relay.settle(row.at)  # by the time of this look its stamp may be old enough
            return
        else:
            relay.drop()
        found = self._take_again(was, row, files, live, limit)
        if found is not None:
            relay.add(found)

    def _look_for_stamp(self, row: Row, limit: Limit) -> None:
        """A later writing may hide it, so it is looked for here already."""
        if 0 < limit.since_ns < row.stat.ctime_ns and not row.is_folder:
            self._past[row.path] = None

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
        if self._reduction is not None and not self._reduction.keeps_file(row.path):
            files.remove(path)
            self._reduction.leave_file(row)
            return None
        try:
            found = take(row, live, files, limit.check)
            self._look_for_stamp(found, limit)
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

    def begin_to_notice(self, period: Period | None) -> Callable[[], None]:
        """Look for what was written past the gate while it was closed, None: not by us, as in a restore; called, what
        is returned names it."""
        if period is None:
            return _nothing
        if not self._tells_time:
            log.info("gate.other-clock", folder=str(self._live.root))
            return _nothing
        tree = self._stores.live_tree(self._scope, since=period.since_ns)
        sheets = self._helpers.sheets(tree, self._looking.paths, _nothing, self._watch)
        return lambda: self._notice(period, sheets)

    def _notice(self, period: Period, sheets: Iterator[Sheet]) -> None:
        seen = (Past(os.fsdecode(path), "was written") for path in self._past)
        for one in chain(seen, written_past(self._live, sheets, self.rows(), period, self._watch)):
            if one.path not in self.unknown:
                self.problems.append(one.problem())
                if not one.is_folder:  # all that lies in it would be unknown as well
                    self.unknown.add(one.path)

    def rows(self) -> Iterator[Row]:
        """What the copy consists of."""
        return read_rows(self._draft.rows(self.passes))

    def items(self) -> Iterator[Item]:
        """The same by the sheet."""
        return read_items(self._draft.rows(self.passes))

    def fill(self, limits: Limits) -> None:
        """Complete the draft: see `Filling`. `limits`: how much of what could be shared is copied anew."""
        filling = Filling(self._stores, self._draft, self._live, self._keep, self._helpers, self._watch)
        filling.run(self.items, limits, self._looking.paths, self._looking.folder)

    def unchanged(self, manifest: str) -> None:
        """All is as in the newest snapshot, which has that manifest; the draft goes."""
        looking = self._looking
        if looking.has_news:
            looking.known.begin(self._draft.rows(self.passes), looking.folder)
            looking.known.end(looking.folder, manifest)

    def as_in(self, folder: str, manifest: str) -> None:
        """All is as in the older snapshot of this folder, which has that manifest; the draft goes."""
        self._looking.known.begin(self._draft.rows(self.passes))
        self._looking.known.end(folder, manifest)

    def complete(self) -> None:
        """The draft has all its files; its notes will go."""
        self._looking.known.begin(self._draft.rows(self.passes))

    def committed(self, folder: str, manifest: str) -> None:
        """The draft is a snapshot now."""
        self._stores.seen.flush()
        self._stores.seen.committed(self._place, folder, self._looking.folder)
        self._looking.known.end(folder, manifest)


def _key(row: Row) -> bytes:
    return b"" if row.path == b"." else row.path


def _nothing(*_: object) -> None:
    """What is wrong was named by the second look."""

"""A snapshot, or a part of it, copied beside the live site: into a folder, into a database, or both.

Rules:

- Nothing is overwritten: the folder and the database must not be there, and are refused also where they come to be
  there meanwhile. Nothing live is touched.
- A copy is whole and verified, or it is not there: the folder gets its name by one rename at the end, the database
  loses the job's mark. A note says what was begun (`stores/begun.py`); who finds it after a crash clears that away, or
  finishes what was verified already.
- What belongs to a part, and whether a copy is right, is told as for a restore: by the difference to an empty place,
  which has to be none afterwards.
- What the disk of the folder does not keep, like owners, is left out and said.

>>> Elsewhere(stores, watch).run(order, job.id).status      # doctest: +SKIP
<OutcomeStatus.DONE: 'done'>
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from ..errors import KeyframeError, NoRoomError, Problem, UnavailableError
from ..model import Order, Outcome, OutcomeStatus, Plan, PlanItem, Progress, Scope, Snapshot
from ..plan import entry_of
from ..stores.begun import Begun
from ..stores.disk import flush_open, opened, remove_tree, rename_new, require_room, sync_folder, translate
from ..stores.mongo_write import MongoWriter
from ..stores.other_database import OtherDatabase
from ..stores.seen import Seen
from .compare import Compare
from .elsewhere_place import Copied, Nothing, Wanted, begun_of, refused, require_place
from .elsewhere_records import RecordCopying
from .inventory import StoredInventory
from .placing import Placing
from .restore import require_whole
from .stores import Stores
from .target import Target
from .watches import Quiet, Unstoppable, Watch

log = structlog.get_logger(__name__)

_STEPS = 4
_FILES = ("file", "link", "directory")
_OF_THE_LIVE = ("left", "conflict", "uncoupled", "people")  # warnings of a plan that are none about a copy
_HINTS = {
    "partial": "What it does not know is not in the copy.",
    "shrunk": "What had gone by then is not in the copy.",
}


class Elsewhere:
    """One copy."""

    def __init__(self, stores: Stores, watch: Watch) -> None:
        self._stores = stores
        self._watch = watch

    def run(self, order: Order, job: str) -> Outcome:
        """Make the copy; the outcome's report is the plan that led to it, with `into` and `database`.

        Raises
        ------
        InvalidError: folder or database are there, or must not be used. DamagedError: the snapshot is, the item is
        named. NoRoomError, UnavailableError: disk or server. CancelledError. Nothing of the copy is left then.
        """
        snapshot = self._stores.repository.get(order.source or order.scope, order.snapshot)
        require_whole(snapshot)
        require_place(self._stores, order)
        begun = begun_of(order, job)
        self._stores.begun.write(begun)
        try:
            outcome = self._made(order, snapshot, begun)
            self._watch.confirm()
            whole = replace(begun, outcome=outcome.as_dict())
            self._stores.begun.write(whole)
            self._name(whole)
        except BaseException:
            try:
                self._clear(begun)
            except (
                Exception
            ) as error:  # whatever it was, the job has failed by then, and its copy is cleared away later
                log.warning("copy.left", job=job, why=str(error))
            raise
        try:
            self._conclude(whole)
        except Exception as error:  # the copy is there, and not told as failed: `forget` tries again
            log.warning("copy.not-concluded", job=job, why=str(error))
        return outcome

    # --- making it

    def _made(self, order: Order, snapshot: Snapshot, begun: Begun) -> Outcome:
        stores = self._stores
        with contextlib.ExitStack() as work:
            if begun.draft:
                work.enter_context(self._draft(order.scope, Path(begun.draft)))
            if begun.database:
                OtherDatabase(stores.mongo.client, begun.database).begin(begun.job)
            there = self._there(begun)
            target = Target(order.scope, snapshot, order.selection, order.scope.is_site and order.selection.is_empty)
            want = Wanted(there, target, self._watch, begun)
            plan = Compare(there, target, self._watch).run(want, Nothing(want.excluded), step=(1, _STEPS))
            self._require_room(plan, begun)
            self._copy_files(there, target, plan)
            records = RecordCopying(there, target, plan, self._watch)
            records.run((3, _STEPS))
            warnings = self._check(there, target, begun, records.late)
            records.let_expire()
        left = tuple(_as_copy(one) for one in plan.warnings if one.code == "left")
        told = tuple(_as_copy(one) for one in plan.warnings if one.code not in _OF_THE_LIVE)
        report = {**plan.as_dict(), "into": order.into or None, "database": order.database or None}
        status = OutcomeStatus.PARTIAL if left else OutcomeStatus.DONE
        return Outcome(status, order.snapshot, None, left, report, told + warnings)

    @contextlib.contextmanager
    def _draft(self, scope: Scope, draft: Path) -> Iterator[None]:
        """The folder under its temporary name; all of it is on the disk when this ends well."""
        try:
            draft.mkdir(mode=0o700)
            scope.live_folder(draft).mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = opened(draft)  # before anything is written: else another's flush may be told of what is lost
        except OSError as error:
            raise translate(error, str(draft.parent), "no copy was made") from error
        with contextlib.ExitStack() as closing:
            closing.callback(os.close, descriptor)
            yield
            try:
                flush_open(descriptor)
            except OSError as error:
                raise translate(error, str(draft), "no copy was made") from error

    def _there(self, begun: Begun) -> Stores:
        """What a restore into this folder and database would work with. What was seen of live files is not asked, and
        not told: every file of a copy is read again to be checked."""
        stores = self._stores
        mongo = stores.mongo.elsewhere(begun.database) if begun.database else stores.mongo
        scratch = stores.begun.scratch(begun.job)
        return replace(
            stores,
            settings=stores.settings.model_copy(update={"working_dir": Path(begun.draft or scratch)}),
            mongo=mongo,
            writer=MongoWriter(mongo),
            seen=Seen(scratch / "seen.sqlite"),
            is_strict=True,
        )

    def _items(self, plan: Plan) -> Iterator[PlanItem]:
        return self._stores.plans.items(plan.digest)

    def _require_room(self, plan: Plan, begun: Begun) -> None:
        files = records = names = 0
        for item in self._items(plan):
            if item.kind in _FILES:
                files, names = files + item.bytes, names + 1
            else:
                records += item.bytes
        if begun.draft:
            require_room(Path(begun.draft), files, "the copy", names)
        free = self._stores.mongo.free_bytes() if begun.database else None
        if free is not None and records > free:
            raise NoRoomError(
                f"the copy needs about {records / 1e6:.1f} MB, the disk of the server has {free / 1e6:.1f} MB free.",
                subject=f"database {begun.database}",
                hint="Make room there, then try again; nothing of the copy is left.",
            )

    def _copy_files(self, there: Stores, target: Target, plan: Plan) -> None:
        stored = StoredInventory(there, target.snapshot, target.scope, self._watch)
        prefix, total = stored.prefix(target.scope), plan.creates.files
        done = 0
        root = target.scope.live_folder(there.settings.working)
        with Placing(stored.folder / "files", root, lambda _: self._watch.check()) as tree:
            for item in self._items(plan):
                if item.kind not in _FILES:
                    continue
                tree.add(entry_of(item), f"{prefix}/{item.name}" if prefix else item.name)
                done += item.kind != "directory"
                self._watch.progress(Progress("copying files", 2, _STEPS, done, total, "files", item.name))
            tree.finish()

    def _check(self, there: Stores, target: Target, begun: Begun, late: frozenset[str]) -> tuple[Problem, ...]:
        """Compare the copy with the snapshot, every byte of it; returns what the disk did not keep."""
        self._watch.progress(Progress("checking", 4, _STEPS))
        watch = Quiet(self._watch)
        want = Wanted(there, target, watch, begun)
        with there.mongo.pinned() as reader:
            plan = Compare(there, target, watch).run(want, Copied(there, reader, watch, want.excluded, begun))
        unkept = wrong = 0
        first = ""
        for item in self._items(plan):
            if item.kind in _FILES and item.detail["same_bytes"]:
                unkept, first = unkept + 1, first or item.name
            elif item.name not in late or item.kind != "index":
                log.error("copy.differs", job=begun.job, kind=item.kind, name=item.name, change=item.change.value)
                wrong += 1
        if wrong:
            what = "differs from the snapshot after it was copied; it was removed again."
            raise KeyframeError(what, subject=f"{wrong} items")
        if not unkept:
            return ()
        more = f" and {unkept - 1} more" if unkept > 1 else ""
        what = "has another owner, mode, time or attributes in the copy: its disk does not keep them."
        return (Problem("unkept", what, f"{first}{more}", "The snapshot's manifest.jsonl has what they were."),)

    # --- the end, and after a crash

    def recover(self, job: str, *, has_failed: bool = False) -> Outcome | None:
        """Bring what a job has left behind to an end: a verified copy gets its name, any other is cleared away.

        Parameters
        ----------
        has_failed: the job has ended so; what it says is what holds, also for a copy that was verified.

        Returns
        -------
        None: there is no copy of that job (any more).

        Raises
        ------
        UnavailableError: the server does not answer; to be tried again.
        """
        begun = self._stores.begun.read(job)
        if begun is None:
            return None
        if begun.outcome is None or has_failed:
            self._clear(begun)
            return None
        if begun.draft and Path(begun.part).exists():  # else it has its name already
            try:
                self._name(begun)
            except KeyframeError as error:
                if isinstance(error, UnavailableError):
                    raise
                self._clear(begun)
                return Outcome(OutcomeStatus.FAILED, begun.outcome["snapshot"], problems=(error.problem(),))
        self._conclude(begun)
        return Outcome.from_dict(begun.outcome)

    def forget(self, job: str) -> None:
        """The job has ended well: nothing that belonged to the making stays."""
        begun = self._stores.begun.read(job)
        if begun is not None and begun.outcome is not None:
            self._conclude(begun)
        self._stores.begun.remove(job)

    def _name(self, begun: Begun) -> None:
        """The copy gets its name, unless somebody has taken that meanwhile."""
        if begun.database and not OtherDatabase(self._stores.mongo.client, begun.database).is_marked(begun.job):
            raise KeyframeError("was dropped by somebody while it was filled.", subject=f"database {begun.database}")
        if not begun.draft:
            return
        try:
            rename_new(Path(begun.part), Path(begun.folder))
        except FileExistsError as error:
            hint = "Choose another name; nothing of the copy is left."
            raise refused(f"{begun.folder} came to be there meanwhile.", "into", hint) from error
        except OSError as error:
            raise translate(error, begun.folder, "no copy was made") from error
        with contextlib.suppress(OSError):  # it has its name, if perhaps not after a power cut
            sync_folder(Path(begun.folder).parent)

    def _conclude(self, begun: Begun) -> None:
        """The copy is there: what belonged to its making goes, but for the note, until the job has ended, too."""
        if begun.database:
            OtherDatabase(self._stores.mongo.client, begun.database).finish()
        if begun.draft:
            remove_tree(Path(begun.draft))

    def _clear(self, begun: Begun) -> None:
        """Nothing of the copy stays; what cannot be removed now is removed by the next start."""
        Unstoppable(self._watch).progress(Progress("clearing away", _STEPS, _STEPS))
        if begun.draft:
            remove_tree(Path(begun.draft))
        if begun.database:
            OtherDatabase(self._stores.mongo.client, begun.database).clear(begun.job)
        self._stores.begun.remove(begun.job)


def _as_copy(problem: Problem) -> Problem:
    """What a restore leaves as it is is missing in a copy."""
    what = problem.what.replace("is left as it is", "is not in the copy")
    return replace(problem, what=what, hint=_HINTS.get(problem.code, problem.hint))

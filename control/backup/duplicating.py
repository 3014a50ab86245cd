"""A stored project, restored as a new one: under a new id, beside the one it was made of.

Rules:

- Nothing that is there is changed: records and files get new ids and paths (`new_ids.py`), and are staged in the
  working directory before the gate is closed. People are not part of it: nobody is coupled to a new project.
- The new project is wholly there or not at all. An intent is written before the first record; whoever finds it after a
  crash looks for the project's own record, which comes last: it is there, then so is all else; it is not, then what has
  come by then is taken away again.
- Verified with the gate still closed: each record byte for byte, and there is no other; the files before.

>>> Duplicating(stores, watch).run(order, job.id).report["project_id"]      # doctest: +SKIP
'65a1b2c3d4e5f60718293a4b'
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import structlog

from ..errors import InvalidError, KeyframeError, Problem, UnavailableError
from ..model import Order, Outcome, OutcomeStatus, Progress, Scope, Snapshot
from ..stores.begun import Begun
from ..stores.disk import (
    flush_open,
    opened,
    remove_tree,
    rename_new,
    require_room,
    scratch_name,
    sync_folder,
    translate,
)
from ..stores.files import RESERVED
from ..stores.intents import Intent
from ..stores.new_project import NewProject
from .new_ids import NewRecords, Renaming
from .placing import Placing
from .restore import require_whole
from .stores import Stores
from .structure import structure_items
from .watches import Watch

log = structlog.get_logger(__name__)

_STEPS = 4
_TRIES = 3  # to close the gate
_BACK = "back"  # in an intent: it went wrong, whatever is there is taken away again


class Duplicating:
    """One project restored as a new one."""

    def __init__(self, stores: Stores, watch: Watch) -> None:
        self._stores = stores
        self._watch = watch

    def run(self, order: Order, job: str) -> Outcome:
        """Carry out the order; the outcome's report says what came to be, and what it could not tell.

        Raises
        ------
        InvalidError: the id is taken, or a record cannot be given another one. DamagedError: the snapshot is.
        NoRoomError, UnavailableError: disk, server, or the gate could not be had. Nothing is left of it then.
        """
        snapshot = self._stores.repository.get(order.source or order.scope, order.snapshot)
        require_whole(snapshot)
        self._project(order.changed).require_free()
        self._require_no_folder(order.changed)
        with (
            self._folder(order, job) as folder,
            NewRecords(self._stores, order, snapshot, folder, self._watch) as records,
        ):
            records.learn((1, _STEPS))
            records.write((2, _STEPS))
            files = self._stage_files(order, snapshot, records.renaming, folder)
            outcome = self._outcome(order, snapshot, records, files)
            self._flush()
            with contextlib.ExitStack() as closed:
                self._close_gate(closed)
                closed.enter_context(self._stores.scope_files.held(order.changed, self._watch.check))
                self._watch.confirm()
                intent = Intent(job, order, "", "", (), (), outcome.as_dict())
                self._add(intent, snapshot, records, folder / "files")
        return outcome

    def sweep(self, order: Order, job: str) -> None:
        """Remove what a job that is gone has prepared."""
        remove_tree(self._prepared(order, job))

    # --- before anything live is changed

    def _project(self, scope: Scope) -> NewProject:
        stores = self._stores
        return NewProject(stores.mongo, stores.writer, stores.settings.scopes.project, scope)

    def _require_no_folder(self, scope: Scope) -> None:
        folder = scope.live_folder(self._stores.settings.working)
        if os.path.lexists(folder):
            raise InvalidError(
                f"There is a folder {folder.name} of a project already.",
                subject="new_id",
                hint="Choose another id, or leave it out; nothing was changed.",
            )

    def _prepared(self, order: Order, job: str) -> Path:
        return self._stores.settings.working / RESERVED / scratch_name(order.changed, job)

    @contextlib.contextmanager
    def _folder(self, order: Order, job: str) -> Iterator[Path]:
        """Where it is prepared: on the disk of the live files, gone in the end."""
        folder = self._prepared(order, job)
        try:
            folder.mkdir(parents=True, mode=0o700)
        except OSError as error:
            raise translate(error, str(folder), "nothing was changed") from error
        try:
            yield folder
        finally:
            remove_tree(folder)

    def _stage_files(self, order: Order, snapshot: Snapshot, renaming: Renaming, folder: Path) -> tuple[int, int]:
        """Copy the files to where they will be renamed from; how many there are, and their bytes."""
        total = size = names = 0
        for entry, _ in renaming.files(order, snapshot):
            total, names, size = total + (entry.kind != "directory"), names + 1, size + entry.size
        require_room(self._stores.settings.working, size, "the new project", names)
        if not names:
            return 0, 0
        root = folder / "files"
        root.mkdir(mode=0o700)
        stored = self._stores.repository.folder(snapshot.scope, snapshot.name) / "files"
        done = 0
        with Placing(stored, root, lambda _: self._watch.check()) as tree:
            for entry, source in renaming.files(order, snapshot):
                tree.add(entry, source)
                done += entry.kind != "directory"
                self._watch.progress(Progress("preparing files", 3, _STEPS, done, total, "files", entry.path))
            tree.check(entry for entry, _ in renaming.files(order, snapshot))
            tree.finish()
        return total, size

    def _flush(self) -> None:
        working = self._stores.settings.working
        try:
            descriptor = opened(working)
            try:
                flush_open(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise translate(error, str(working), "nothing was changed") from error

    def _close_gate(self, closed: contextlib.ExitStack) -> None:
        self._watch.progress(Progress("adding the project", 4, _STEPS))
        for attempt in range(1, _TRIES + 1):
            try:
                closed.enter_context(self._stores.gate.closed())
            except UnavailableError:
                if attempt == _TRIES:
                    raise
                self._watch.check()
            else:
                return

    # --- the change, and after a crash

    def _add(self, intent: Intent, snapshot: Snapshot, records: NewRecords, files: Path) -> None:
        """From the intent on, with the gate closed; what goes wrong is taken back."""
        scope = intent.scope
        project, live = self._project(scope), scope.live_folder(self._stores.settings.working)
        project.require_free()
        self._require_no_folder(scope)
        self._watch.check()
        self._stores.intents.write(intent)
        try:
            if files.exists():
                self._move(files, live)
            self._make_collections(scope, snapshot)
            project.insert(records.stored())
            wrong = project.differing(records.stored())
            if wrong:
                what = "is not as it should be after it was added; it was taken away again."
                raise KeyframeError(what, subject=f"{wrong} records")
            self._note(intent)
        except BaseException:
            self._give_up(intent)
            raise
        try:
            self._stores.intents.remove(intent.scope)
        except Exception as error:  # the project is there, and not told as failed: the next start takes the intent away
            log.warning("duplicate.not-concluded", job=intent.job, why=str(error))

    def _make_collections(self, scope: Scope, snapshot: Snapshot) -> None:
        """Make the collections that somebody has dropped, as the snapshot knows them; one that is there stays."""
        stores, entries = self._stores, self._stores.repository.collections(snapshot)
        there = stores.mongo.collections(scope)
        for name in stores.settings.scopes.project.collections:
            if name in there or name not in entries or entries[name].kind != "collection":
                continue
            for item in structure_items(name, entries[name], None):
                if item.kind == "collection":
                    stores.writer.create(name, item.detail["options"])
                else:
                    stores.writer.create_index(name, item.detail["index"])

    def _give_up(self, intent: Intent) -> None:
        """Take away what has come; where that cannot be done now, the intent stays, and the next start does it."""
        try:
            self._stores.intents.write(replace(intent, digest=_BACK))
        except Exception as error:  # what fails for a moment must not keep the rest from being tried
            log.warning("duplicate.not-told", job=intent.job, why=str(error))
        try:
            self._take_back(intent)
        except Exception as error:
            log.warning("duplicate.left", job=intent.job, why=str(error))

    def _move(self, files: Path, live: Path) -> None:
        try:
            live.parent.mkdir(parents=True, exist_ok=True)
            rename_new(files, live)
            sync_folder(live.parent)
        except OSError as error:
            raise translate(error, str(live), "the new project is taken away again") from error

    def _take_back(self, intent: Intent) -> None:
        self._project(intent.scope).remove()
        remove_tree(intent.scope.live_folder(self._stores.settings.working))
        self._stores.begun.remove(intent.job)  # before the intent: a note alone says that the project is there
        self._stores.intents.remove(intent.scope)

    def _note(self, intent: Intent) -> None:
        """The project is there: whoever ends the job for a lost worker is told so."""
        self._stores.begun.write(Begun(intent.job, outcome=intent.report))

    def finish(self, intent: Intent, *, has_failed: bool = False) -> Outcome:
        """Bring to an end what an intent says was begun; the caller holds the scope, and nobody writes meanwhile.

        Parameters
        ----------
        has_failed: the job has ended so, and nothing of the project stays.

        Raises
        ------
        UnavailableError: the server or the disk does not answer; the intent stays.
        """
        self.sweep(intent.order, intent.job)
        if intent.digest != _BACK and not has_failed and self._project(intent.scope).exists():
            self._note(intent)
            self._stores.intents.remove(intent.scope)
            return Outcome.from_dict(intent.report)
        self._take_back(intent)
        what = "It was interrupted before the new project was whole, and what had come was taken away again."
        problem = Problem("unavailable", what, "restore as a new project", "Nothing was changed; order it again.")
        return Outcome(OutcomeStatus.FAILED, intent.order.snapshot, problems=(problem,))

    # --- what is told

    def _outcome(self, order: Order, snapshot: Snapshot, records: NewRecords, files: tuple[int, int]) -> Outcome:
        told = records.told
        report = {
            "project_id": order.new_id,
            "title": told.title,
            "files": files[0],
            "records": records.count,
            "bytes": files[1] + records.bytes,
            "references": told.references,
            "texts": told.texts,
        }
        hint = "Look at them by hand: they lead to the project that this one was made of."
        warnings = []
        if told.texts:
            what = f"{told.texts} texts of the new project speak of ids of the one it was made of."
            warnings.append(Problem("old-ids", what, ", ".join(told.in_texts), hint))
        what = "is new, and nobody organises it."
        warnings.append(Problem("uncoupled", what, told.title or order.new_id, "Couple somebody to it."))
        left = (*records.left, *records.renaming.left(snapshot, order.scope))
        status = OutcomeStatus.PARTIAL if left else OutcomeStatus.DONE
        return Outcome(status, order.snapshot, None, left, report, tuple(warnings))

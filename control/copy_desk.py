"""The part of the desk where the past is put beside the present: copies elsewhere, and projects restored as new ones.

Rules:

- Nothing that is there is changed: there is no plan to agree to, and nothing to undo.
- The server writes to a path of its own disk. The shell's user may name any; whoever comes over the net only what lies
  below `restore.beside`, and nothing where that is not set.

>>> desk.copy(actor, Scope.site(), "latest", into="/tmp/old", database="old_site").state       # doctest: +SKIP
<JobState.QUEUED: 'queued'>
"""

from __future__ import annotations

from pathlib import Path

from .errors import InvalidError, NotFoundError, RefusedError
from .model import EVERYTHING, Action, Actor, Job, Order, Permit, Scope, Selection
from .stores.fresh_ids import new_project_id
from .undo_desk import UndoDesk


class CopyDesk(UndoDesk):
    """Every method's first argument is who asks; all raise the errors of `errors.py`."""

    def copy(
        self,
        actor: Actor,
        scope: Scope,
        name: str,
        selection: Selection = EVERYTHING,
        into: str = "",
        database: str = "",
    ) -> Job:
        """Order a copy of a snapshot, or of a part of it.

        Parameters
        ----------
        into: a folder for the files, which must not be there; empty: no files. Over the net it may be a name only.
        database: one for the records, which must not be there; empty: no records.

        Raises
        ------
        InvalidError: neither is given, or what cannot be a folder. RefusedError: not below `restore.beside`.
        """
        permit, wish = self._wish(actor, Action.COPY, scope, name, selection)
        if not (into or database):
            raise InvalidError(
                "It is not said where the copy goes to.",
                subject="copy",
                hint="Name a folder for the files, a database for the records, or both.",
            )
        with self._back.reception.watching(permit):
            where = self._folder(permit, into) if into else ""
        return self._back.jobs.submit(
            Order(
                Action.COPY,
                permit.scope,
                actor,
                source=wish.snapshot.scope,
                snapshot=wish.snapshot.name,
                selection=wish.selection,
                into=where,
                database=database,
            )
        )

    def duplicate(
        self, actor: Actor, scope: Scope, name: str, selection: Selection = EVERYTHING, new_id: str = ""
    ) -> Job:
        """Order that a project of a snapshot is restored as a new one; the job's outcome says what came to be.

        Parameters
        ----------
        scope, selection: the project, or the site and the one project of it that is meant.
        new_id: the id that it shall have; empty: one is chosen.

        Raises
        ------
        InvalidError: not one project as a whole is meant, or the id cannot be had.
        """
        permit, wish = self._wish(actor, Action.DUPLICATE, scope, name, selection)
        if wish.scope.is_site or not wish.selection.is_empty:
            hint = "Name one project, and no part of it; nothing was made."
            raise InvalidError("Only a project as a whole becomes a new one.", subject="selection", hint=hint)
        return self._back.jobs.submit(
            Order(
                Action.DUPLICATE,
                permit.scope,
                actor,
                source=wish.snapshot.scope,
                snapshot=wish.snapshot.name,
                new_id=self._new_id(permit.scope, new_id),
            )
        )

    def _new_id(self, like: Scope, wanted: str) -> str:
        """The id that was asked for, or one that nobody has had yet."""
        if not wanted:
            return new_project_id(self._back.mongo, self._back.project, like, self._was_there)
        try:
            self._back.mongo.id_of(Scope.project(wanted))
        except (ValueError, NotFoundError) as error:
            hint = "Take one as the other projects have, or leave it out, and one is chosen; nothing was made."
            raise InvalidError("This cannot be the id of a project.", subject="new_id", hint=hint) from error
        if self._was_there(Scope.project(wanted)):
            raise InvalidError(
                f"There is, or was, a project {wanted}: its snapshots would be taken for those of the new one.",
                subject="new_id",
                hint="Choose another id, or leave it out; nothing was made.",
            )
        return wanted

    def _was_there(self, scope: Scope) -> bool:
        return self._back.mongo.project_exists(scope) or self._back.catalogue.holds(scope)

    def copies_into(self) -> Path | None:
        """The folder below which copies may be put over the net; None: none."""
        return self._back.beside

    def _folder(self, permit: Permit, into: str) -> str:
        if not into.isprintable() or len(into.encode("utf-8", "replace")) > 1000 or into.endswith(("/", "/.", "/..")):
            raise InvalidError("This cannot be the name of a new folder.", subject="into", hint="Choose another one.")
        if permit.actor.via == "cli":
            return into
        below = self._back.beside
        if below is None:
            raise RefusedError(
                "Copies into folders are made at the command line only.",
                subject="into",
                hint="See restore.beside in config.yaml.",
            )
        folder = below / into
        if ".." in folder.parts or not folder.parent.resolve().is_relative_to(below.resolve()) or folder == below:
            raise RefusedError(
                "Copies are put below the folder of the setting restore.beside only.",
                subject="into",
                hint="Give just a name.",
            )
        return str(folder)

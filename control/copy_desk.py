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

from .errors import InvalidError, RefusedError
from .model import EVERYTHING, Action, Actor, Job, Order, Permit, Scope, Selection
from .restore_desk import RestoreDesk


class CopyDesk(RestoreDesk):
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

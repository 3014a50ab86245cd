"""Making a snapshot: bulk copy, second pass with the gate closed, pin, dump, manifest, one rename.

Rules:

- Files and records belong together: what changed while the bulk was copied is copied again with the gate closed, and
  the database is pinned before the gate opens; where that takes too long, the gate opens and it is tried again.
- Names, options and indexes of collections are read with the gate closed and again after the dump; a difference
  repeats second pass and dump at a new instant.
- What cannot be read is named, and the snapshot is `partial`; its absence in the copy means unknown, not deleted.

>>> Make(stores, scope, watch).run("anna", Reason.MANUAL, "before the talk", key="job-id")    # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import platform
from dataclasses import dataclass
from typing import Any

from ..errors import ChangedError, NotFoundError, Problem
from ..model import FORMAT, Part, Progress, Reason, Scope, Snapshot, Status, utc_text
from ..stores.disk import require_room, translate
from ..stores.draft import Draft
from ..stores.mongo import CollectionInfo
from ..stores.reader import Reader
from ..version import VERSION
from .closing import Closing, Limit
from .copying import Copying, Tally
from .dumping import STEPS, Dump, Dumping
from .looking import OlderCopies
from .stores import Stores
from .watches import Watch

_TRIES = 3
_NOT_CLOSED = Problem(
    "changed",
    "the gate could not be closed, or not for long enough; files and records may be of slightly different moments.",
    "",
    "Make another snapshot when the site is quieter.",
)


@dataclass(frozen=True, slots=True)
class Made:
    """The snapshot that holds the state now, and whether it was made for it (else: nothing had changed since it)."""

    snapshot: Snapshot
    is_new: bool


class Make:
    """One snapshot of one scope; use it once."""

    def __init__(
        self, stores: Stores, scope: Scope, watch: Watch, *, afresh: bool = False, gate_closed: bool = False
    ) -> None:
        self._stores = stores
        self._scope = scope
        self._watch = watch
        self._afresh = afresh  # nothing is shared with an older snapshot
        most = stores.settings.gate.closed_at_most
        # `gate_closed`: by the caller, until the snapshot is made and longer.
        self._closing = Closing(stores.gate, most, watch, is_held=gate_closed)

    def run(self, user: str, reason: Reason, note: str, key: str) -> Made:
        """Make it.

        Parameters
        ----------
        reason: SAFETY records what is missing live as absent; any other calls a missing folder a problem.
        key: tells drafts apart; the job's id.

        Raises
        ------
        NotFoundError: there is no such project. UnavailableError, NoRoomError: server or disk; nothing was stored.
        """
        stores, scope = self._stores, self._scope
        is_safety = reason is Reason.SAFETY
        if not (is_safety or scope.is_site) and not self._is_there():
            raise NotFoundError("There is no such project.", subject="project", hint="Nothing was stored.")
        stores.repository.require_writable()
        stores.repository.sweep_drafts(scope)
        damaged = stores.damaged_places()
        newest = None if self._afresh else self._newest(damaged)
        with stores.repository.draft(scope, key) as draft:
            older = OlderCopies(newest, damaged, shares=not self._afresh)
            copying = Copying(stores, scope, draft, older, self._watch, may_be_absent=is_safety)
            try:
                self._require_room(draft, copying.look())
                copying.bulk()
                made_at = stores.now()
                dump, reader = self._read_all(draft, copying, newest)
                header = self._header(draft, copying, dump, reader)
            except OSError as error:
                raise translate(error, "the snapshot's draft", "nothing was stored") from error
            header |= {"made_at": utc_text(made_at), "made_by": user, "reason": reason.value, "note": note}
            unchanged = self._same_as(newest, header) if not copying.damaged else None
            if unchanged is not None and (is_safety or not note or not unchanged.note):
                if note and not is_safety:
                    unchanged = stores.repository.note(scope, unchanged.name, note)
                return Made(unchanged, is_new=False)
            try:
                copying.fill()
                draft.finish(header)
            except OSError as error:
                raise translate(error, "the snapshot's draft", "nothing was stored") from error
            self._watch.progress(Progress("committing", 4, STEPS))
            made = stores.repository.commit(draft, scope, made_at)
            copying.committed(stores.repository.place_of(scope, made.name))
            return Made(made, is_new=True)

    def _newest(self, damaged: frozenset[str]) -> Snapshot | None:
        """What "unchanged" means: not a damaged one, it would be called good."""
        repository = self._stores.repository
        whole = (one for one in repository.newest_first(self._scope) if one.status is not Status.DAMAGED)
        newest = next(whole, None)
        is_bad = newest is not None and repository.place_of(self._scope, newest.name) in damaged
        return None if is_bad else newest

    def _require_room(self, draft: Draft, needed: int) -> None:
        """Room for what is new, before anything is copied: files by their stats, records twice (BSON and JSON)."""
        records = self._stores.mongo.data_bytes() * 5 // 2 if self._scope.is_site else 0
        require_room(draft.folder, needed + records, "the snapshot")

    def _is_there(self) -> bool:
        return self._stores.mongo.project_exists(self._scope) or self._stores.live_tree(self._scope).exists()

    def _read_all(self, draft: Draft, copying: Copying, newest: Snapshot | None) -> tuple[Dump, Reader]:
        dumping = Dumping(self._stores, self._scope, draft, self._watch, newest)
        for attempt in range(_TRIES):
            with contextlib.ExitStack() as stack:
                draft.begin_records(with_json=self._stores.settings.engine.write_json)
                dump, reader, infos = self._pin(copying, dumping, stack)
                if dumping.run(dump, reader, infos):
                    dump.retries = attempt
                    draft.keep_sums(dump.writers)
                    return dump, reader
            self._watch.progress(Progress(f"collections changed, reading again ({attempt + 2})", 3, STEPS))
        raise ChangedError(
            "changed its collections or indexes each time it was read.",
            subject="database",
            hint="Try again when the application is not being upgraded; nothing was stored.",
        )

    def _pin(
        self, copying: Copying, dumping: Dumping, stack: contextlib.ExitStack
    ) -> tuple[Dump, Reader, dict[str, CollectionInfo]]:
        """With the gate closed: copy what changed meanwhile, describe the collections, fix the instant."""
        self._watch.progress(Progress("second look at the files", 2, STEPS))
        was_closed = False

        def pin(limit: Limit) -> tuple[Reader, dict[str, CollectionInfo]]:
            nonlocal was_closed
            was_closed = limit.is_closed
            copying.second_pass(limit)
            limit.check()
            infos = self._stores.mongo.collections(self._scope)
            limit.check()
            reader = stack.enter_context(self._stores.mongo.pinned())
            dumping.read_capped(reader, infos, limit)
            return reader, infos

        reader, infos = self._closing.run(pin, copying.second_pass)
        self._stores.seen.flush()
        if self._closing.period is not None:
            copying.notice(self._closing.period)
        dump = Dump(problems=list(copying.problems))
        if not was_closed:
            dump.problems.append(_NOT_CLOSED)
        return dump, reader, infos

    def _header(self, draft: Draft, copying: Copying, dump: Dump, reader: Reader) -> dict[str, Any]:
        """`snapshot.json`, without who and why; the manifest is complete afterwards."""
        manifest, tally = draft.manifest(), Tally(is_site=self._scope.is_site)
        tally.write(copying, manifest)
        for entry in dump.entries:
            manifest.collection(entry)
        sha256 = manifest.close()
        settings, mongo = self._stores.settings, self._stores.mongo
        project = settings.scopes.project
        problems = dump.problems
        titles = mongo.project_titles()
        return {
            "format": FORMAT,
            "scope": self._scope.as_dict(),
            "title": titles.get(self._scope.project_id or "", ""),
            "run_mode": settings.run_mode,
            "status": (Status.PARTIAL if problems else Status.DONE).value,
            "warnings": [problem.as_dict() for problem in copying.damaged],
            "problems": [problem.as_dict() for problem in problems],
            "unknown": {
                "paths": sorted(copying.unknown),
                "collections": sorted(dump.unknown),
            },
            "instant": reader.instant.as_dict(),
            "gate": {"closed_seconds": round(self._closing.longest, 4), "tries": self._closing.tries},
            "passes": copying.passes,
            "retries": dump.retries,
            "files": tally.files,
            "documents": sum(entry.documents for entry in dump.entries),
            "bytes": tally.bytes + sum(entry.bytes for entry in dump.entries),
            "projects": self._parts(tally, dump, titles),
            "left_out": {"collections": list(settings.scopes.site.leave)},
            "database": mongo.name,
            "project_id_kind": project.id,
            "project_fields": {name: one.field for name, one in project.collections.items()},
            "versions": {"keyframe": VERSION, "mongodb": mongo.version(), "python": platform.python_version()},
            "manifest": {"bytes": manifest.bytes, "sha256": sha256},
        }

    def _parts(self, tally: Tally, dump: Dump, titles: dict[str, str]) -> dict[str, dict[str, Any]]:
        if not self._scope.is_site:
            return {}
        ids = sorted(set(tally.project_files) | set(dump.documents))
        return {
            one: Part(
                tally.project_files[one],
                dump.documents[one],
                tally.project_bytes[one] + dump.bytes[one],
                titles.get(one, ""),
            ).as_dict()
            for one in ids
        }

    @staticmethod
    def _same_as(newest: Snapshot | None, header: dict[str, Any]) -> Snapshot | None:
        """The newest snapshot, where it is whole and holds exactly the same."""
        if newest is None or newest.status is not Status.DONE or header["problems"]:
            return None
        return newest if newest.manifest_sha256 == header["manifest"]["sha256"] else None

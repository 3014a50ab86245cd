"""Making a snapshot: bulk copy, second pass with the gate closed, pin, dump, manifest, one rename.

Rules:

- Files and records belong together: what changed while the bulk was copied is copied again with the gate closed, and
  the database is pinned before the gate opens; where that takes too long, the gate opens and it is tried again.
- Names, options and indexes of collections are read with the gate closed and again after the dump; a difference
  repeats second pass and dump at a new instant.
- What cannot be read is named, and the snapshot is `partial`; its absence in the copy means unknown, not deleted.
- What the result is worth, and whether it is one at all, is decided in `judging.py`.

>>> Make(stores, scope, watch).run("anna", Reason.MANUAL, "before the talk", key="job-id")    # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import ChangedError, NoRoomError, NotFoundError, Problem
from ..model import Instant, Progress, Reason, Scope, Snapshot, utc_text
from ..stores.collection_info import CollectionInfo
from ..stores.disk import require_room, translate
from ..stores.draft import Draft
from ..stores.reader import Reader
from .closing import Closing, Limit
from .copying import Copying
from .damage import Damage, known_damage
from .dumping import STEPS, Dump, Dumping
from .freshening import NOTHING, Limits, limits_of
from .header import Content
from .helpers import Helpers
from .judging import Newest, judged, last_known, newest_of, shrunk
from .reducing import RESERVE, Reduction
from .room import records_needed
from .serving import Serving
from .shelf import OlderCopies
from .stores import Stores
from .watches import Watch

_TRIES = 3
_WORTH_FLUSHING = 64 << 20  # bytes, while the rest is still being written
_NOT_CLOSED = Problem(
    "changed",
    "The gate could not be closed, or not for long enough; files and records may be of slightly different moments.",
    "",
    "Make another snapshot when the site is quieter, or raise gate.closed_at_most.",
)


@dataclass(frozen=True, slots=True)
class Made:
    """The snapshot that holds the state now, and whether it was made for it (else: it is older, and the state is the
    same again); `instant` is when that was seen."""

    snapshot: Snapshot
    is_new: bool
    instant: Instant | None


class Make:
    """One snapshot of one scope; use it once."""

    def __init__(
        self,
        stores: Stores,
        scope: Scope,
        watch: Watch,
        *,
        afresh: bool = False,
        gate_closed: bool = False,
        confirm: tuple[str, ...] = (),
        reduction: Reduction | None = None,
    ) -> None:
        self._stores = stores
        self._scope = scope
        self._watch = watch
        self._afresh = afresh  # nothing is shared with an older snapshot
        most = stores.settings.gate.closed_at_most
        # `gate_closed`: by the caller, until the snapshot is made and longer.
        self._closing = Closing(stores.gate, most, watch, is_held=gate_closed)
        self._confirm = confirm  # the problems that who makes it says are right
        self._reduction = reduction  # None: there is room for all, or there will be no snapshot
        self.needed = 0  # bytes, about: what was looked for before anything was copied

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
        self._require_writable()
        damage = known_damage(stores)
        afresh = self._afresh or damage.is_everywhere
        newest = Newest() if afresh else newest_of(stores.repository, scope, damage.places)
        with stores.repository.drafts.begin(scope, key) as draft, Helpers() as helpers:
            helpers.begin(newest.snapshot.files if newest.snapshot else 0)
            older = OlderCopies(newest.snapshot, damage, shares=not afresh)
            copying = Copying(
                stores,
                scope,
                draft,
                older,
                self._watch,
                helpers,
                may_be_absent=is_safety,
                reduction=self._reduction,
            )
            made_at, instant, header = self._write(draft, copying, older, is_safety=is_safety)
            if self._reduction is not None:
                self._reduction.judge(tuple(Problem.from_dict(one) for one in header["problems"]))
            header |= {"made_at": utc_text(made_at), "made_by": user, "reason": reason.value, "note": note}
            same = self._same(copying, header, newest, damage)
            if same is not None:
                return Made(same, is_new=False, instant=instant)
            limits = NOTHING if is_safety else limits_of(stores, header["bytes"], draft.folder)
            made = self._commit(draft, copying, header, made_at, limits)
            return Made(made, is_new=True, instant=instant)

    def _same(self, copying: Copying, header: dict[str, Any], newest: Newest, damage: Damage) -> Snapshot | None:
        """The snapshot that holds the same already, so that the draft may go; None: there is none."""
        repository, note = self._stores.repository, header["note"]
        is_safety = header["reason"] == Reason.SAFETY.value
        if copying.damaged:
            return None
        serving = Serving(self._stores, self._scope, header, copying.items, self._watch.check)
        same = newest.same_as(header)
        if same is not None and (is_safety or not note or not same.note) and serving.is_whole(same, files=is_safety):
            if note and not is_safety:
                same = repository.note(self._scope, same.name, note)
            copying.unchanged(same.manifest_sha256)
            return same
        same = serving.older(damage) if is_safety and not self._afresh else None
        if same is not None:
            copying.as_in(repository.place_of(self._scope, same.name), same.manifest_sha256)
        return same

    def _write(
        self, draft: Draft, copying: Copying, older: OlderCopies, *, is_safety: bool
    ) -> tuple[datetime, Instant, dict[str, Any]]:
        """Fill the draft, but for what it can share; when that was, by the clock and the server's, and the header
        without who and why."""
        stores = self._stores
        try:
            self._require_room(draft, copying.look(), older.newest)
            copying.bulk()
            made_at = stores.now()
            dump, reader, notice = self._read_all(draft, copying, older)
            manifest = None if older.newest is None else stores.repository.manifest_of(older.newest)
            content = Content(self._scope, draft, copying, dump, stores.patterns(self._scope), manifest)
            notice()
            dump.problems[:0] = copying.problems
        except OSError as error:
            raise translate(error, "the snapshot's draft", "nothing was stored") from error
        before = None if is_safety else last_known(stores.repository, self._scope)
        missing = shrunk(before, content.held, frozenset(copying.unknown))
        return made_at, reader.instant, judged(content.header(stores, reader, self._closing), missing, self._confirm)

    def _commit(
        self, draft: Draft, copying: Copying, header: dict[str, Any], made_at: datetime, limits: Limits
    ) -> Snapshot:
        try:
            copying.fill(limits)
            copying.complete()
            draft.finish(header)
        except OSError as error:
            raise translate(error, "the snapshot's draft", "nothing was stored") from error
        self._watch.progress(Progress("committing", 4, STEPS))
        with self._stores.scope_files.held(self._scope, self._watch.check):
            self._watch.confirm()
            made = self._stores.repository.commit(draft, self._scope, made_at)
        copying.committed(self._stores.repository.place_of(self._scope, made.name), made.manifest_sha256)
        return made

    def _require_writable(self) -> None:
        repository = self._stores.repository
        try:
            repository.drafts.require_writable()
        except NoRoomError:  # it may be what an interrupted make left that fills the disk
            repository.drafts.sweep(self._scope)
            repository.drafts.require_writable()

    def _require_room(self, draft: Draft, files: tuple[int, int], newest: Snapshot | None) -> None:
        """Room for what is new, before anything is copied."""
        needed, names = files
        self.needed = needed + records_needed(self._stores, self._scope, newest, self._reduction)
        what, reserve = "the snapshot", 0
        if self._reduction is not None:
            what, reserve = "a reduced safety snapshot", RESERVE
            self._reduction.needed = self.needed + reserve
        require_room(draft.folder, self.needed + reserve, what, names)

    def _is_there(self) -> bool:
        return self._stores.mongo.project_exists(self._scope) or self._stores.live_tree(self._scope).exists()

    def _read_all(self, draft: Draft, copying: Copying, older: OlderCopies) -> tuple[Dump, Reader, Callable[[], None]]:
        """Besides, what tells in the end whether somebody wrote past the gate: helpers look for it already."""
        dumping = Dumping(self._stores, self._scope, draft, self._watch, older, self._reduction)
        for attempt in range(_TRIES):
            with contextlib.ExitStack() as stack:
                draft.begin_records(with_json=self._stores.settings.engine.write_json)
                dump, reader, infos, notice = self._pin(copying, dumping, stack)
                if copying.bytes_copied > _WORTH_FLUSHING and not attempt:
                    draft.begin_flush()
                if dumping.run(dump, reader, infos):
                    dump.retries = attempt
                    draft.keep_sums(dump.writers)
                    return dump, reader, notice
                notice()
            self._watch.progress(Progress(f"collections changed, reading again ({attempt + 2})", 3, STEPS))
        raise ChangedError(
            "changed its collections or indexes each time it was read.",
            subject="database",
            hint="Try again when the application is not being upgraded; nothing was stored.",
        )

    def _pin(
        self, copying: Copying, dumping: Dumping, stack: contextlib.ExitStack
    ) -> tuple[Dump, Reader, dict[str, CollectionInfo], Callable[[], None]]:
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
        notice = copying.begin_to_notice(self._closing.period)
        return Dump(problems=[] if was_closed else [_NOT_CLOSED]), reader, infos, notice

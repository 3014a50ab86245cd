"""The records of a snapshot: every collection of the scope, read at one instant into a draft.

Rules:

- Names, options and indexes of collections are read with the gate closed and again after the dump; where they
  differ, nothing of the dump counts.
- Capped collections are read in their own order while the gate is closed; those that are too large for that later, and
  marked.
- Where there is no room for all, a collection that is not to be kept is shared with the newest snapshot, or it is
  unknown; no JSON is made.
- One thread reads ahead, through all collections, while what it read is hashed and written here, and helper programs
  make the JSON.

>>> Dumping(stores, scope, draft, watch, older).run(dump, reader, infos)       # doctest: +SKIP
True
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from ..errors import DamagedError, NotFoundError, Problem
from ..model import CollectionEntry, Progress, Scope, Snapshot
from ..stores.blocks import Block, blocks_of
from ..stores.collection_info import CollectionInfo
from ..stores.draft import Draft
from ..stores.dump import CollectionWriter, Means
from ..stores.json_pool import JsonPool, helpers_here
from ..stores.mongo_errors import ReadAgainError
from ..stores.older_dump import OlderDump
from ..stores.read_ahead import ReadAhead
from ..stores.reader import Reader
from .closing import Limit
from .inventory import is_left, is_unspeakable
from .reducing import Reduction
from .shelf import OlderCopies
from .stores import Stores
from .watches import Watch

log = structlog.get_logger(__name__)

_MOST_LATE = 50  # collections whose JSON waits until all has been read: each has files open
STEPS = 4  # of a make; reading the database is the third


@dataclass(slots=True)
class Whose:
    """How much of a collection belongs to which project."""

    documents: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Dump:
    """What one reading at one instant has put into the draft."""

    retries: int = 0  # instants that were given up before this one
    problems: list[Problem] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # names of collections
    entries: list[CollectionEntry] = field(default_factory=list)
    writers: list[CollectionWriter] = field(default_factory=list)
    documents: Counter[str] = field(default_factory=Counter)  # by project
    bytes: Counter[str] = field(default_factory=Counter)


class Dumping:
    """Reads the collections of one scope into a draft; takes over what did not change since the newest."""

    def __init__(
        self,
        stores: Stores,
        scope: Scope,
        draft: Draft,
        watch: Watch,
        older: OlderCopies,
        reduction: Reduction | None = None,
    ) -> None:
        self._reduction = reduction
        self._stores = stores
        self._scope = scope
        self._draft = draft
        self._watch = watch
        self._with_json = stores.settings.engine.write_json
        self._newest = older.newest
        self._damage = older.damage
        self._older = self._entries_of(older.newest)
        self._left: set[str] = set()  # collections that turned out to need room that there is not
        self._aside: dict[str, Path] = {}  # capped collections that were read with the gate closed

    def read_capped(self, reader: Reader, infos: dict[str, CollectionInfo], limit: Limit) -> None:
        """With the gate closed: set aside the capped collections, of which the server has no snapshots.

        Those that are too large, or for which there is no time, are left for later; the smallest go first.
        """
        mongo, room = self._stores.mongo, self._stores.settings.engine.capped_in_gate * 1_000_000
        for path in self._aside.values():
            path.unlink(missing_ok=True)
        self._aside = {}
        capped = [name for name, info in infos.items() if info.is_capped and not is_left(info, self._scope)]
        capped = [name for name in capped if self._may_write(infos[name])]
        for size, name in sorted((mongo.bytes_of(name), name) for name in capped):
            room -= size
            if room < 0 or not limit.is_closed:
                return
            path = self._draft.folder / f".capped-{len(self._aside)}"
            with open(path, "wb") as file:  # noqa: PTH123
                for block in reader.natural(name):
                    file.write(block.raw)
                    self._watch.check()
                    if limit.is_over:
                        path.unlink()
                        return
            self._aside[name] = path

    def run(self, dump: Dump, reader: Reader, infos: dict[str, CollectionInfo]) -> bool:
        """Dump the collections; False where one of them was changed meanwhile."""
        self._left.clear()
        if self._reduction is not None:
            self._reduction.begin_records()
        kept = [info for info in infos.values() if self._is_kept(dump, info)]
        try:
            with contextlib.ExitStack() as stack:
                pool = stack.enter_context(JsonPool(helpers_here())) if self._with_json else None
                makes_json = self._reduction is None
                means = Means(pool, self._older_dump, self._watch.check, self._may_write, makes_json)
                blocks = stack.enter_context(ReadAhead(self._blocks(reader, kept), self._watch.check))
                closed = self._write(dump, kept, means, iter(blocks))
                if self._stores.mongo.collections(self._scope) != infos:
                    return False
                self._close(dump, kept, closed)
        except ReadAgainError:
            return False
        for path in self._aside.values():
            path.unlink()
        return True

    def _may_write(self, info: CollectionInfo) -> bool:
        """Whether a collection may take room; a view takes none."""
        return self._reduction is None or info.kind == "view" or self._reduction.keeps_collection(info.name)

    def _is_kept(self, dump: Dump, info: CollectionInfo) -> bool:
        if not is_left(info, self._scope):
            if not self._may_write(info) and info.name not in self._older:
                self._leave(dump, info)
                return False
            self._look_for_index(info)
            if not info.is_exact:
                what = "has options or indexes that JSON cannot hold exactly; they come back nearly as they are."
                dump.problems.append(Problem("unavailable", what, info.name, "Its records are whole."))
            return True
        what = "is capped or a time series; only a snapshot of the whole site keeps those."
        if is_unspeakable(info.name):
            what = "has a name that no driver of MongoDB takes, with dots side by side or at its end."
        dump.unknown.append(info.name)
        dump.problems.append(Problem("unavailable", what, info.name, "It stays as it is."))
        return False

    def _leave(self, dump: Dump, info: CollectionInfo) -> None:
        """Name a collection for which there is no room."""
        dump.unknown.append(info.name)
        if self._reduction is not None:
            documents, size = self._stores.mongo.extent(self._scope, info)
            dump.problems.append(self._reduction.leave_collection(info.name, documents, size))

    def _look_for_index(self, info: CollectionInfo) -> None:
        """Tell the log where the records of one project cannot be found without a look at those of all."""
        if self._scope.is_site or info.kind == "view":
            return
        field = self._stores.settings.scopes.project.collections[info.name].field
        if field not in info.index_fields:
            hint = f"An index on {field} makes snapshots and restores of single projects quicker."
            log.warning("dump.no-index", collection=info.name, field=field, hint=hint)

    def _blocks(self, reader: Reader, infos: list[CollectionInfo]) -> Iterator[tuple[int, Block]]:
        """All documents of the scope with the number of their collection; in the thread that reads ahead."""
        owners = () if self._scope.is_site else (self._scope,)
        for number, info in enumerate(infos):
            if info.kind == "view":
                continue
            if info.name in self._aside:
                blocks = blocks_of(self._aside[info.name])
            elif info.is_capped:
                blocks = reader.natural(info.name)
            else:
                blocks = reader.blocks(info.source, self._stores.mongo.where(owners, info.name))
            for block in blocks:
                if info.name in self._left:
                    break
                yield number, block

    def _write(
        self, dump: Dump, infos: list[CollectionInfo], means: Means, blocks: Iterator[tuple[int, Block]]
    ) -> dict[int, CollectionEntry]:
        """What is complete already, by its number: all but collections whose JSON is late."""
        found, late = next(blocks, None), 0
        closed: dict[int, CollectionEntry] = {}
        for number, info in enumerate(infos):
            self._watch.check()
            writer = self._draft.collection(info, means)
            whose = Whose()
            while found is not None and found[0] == number:
                writer.add(found[1])
                self._count(whose, info.name, found[1])
                self._watch.check()
                self._watch.progress(
                    Progress("reading the database", 3, STEPS, writer.documents, 0, "records", info.name)
                )
                if writer.is_left:
                    self._left.add(info.name)
                found = next(blocks, None)
            writer.end()
            dump.writers.append(writer)
            if writer.is_left:
                continue
            dump.documents += whose.documents
            dump.bytes += whose.bytes
            late += writer.is_late
            if not writer.is_late or late > _MOST_LATE:
                closed[number] = writer.close(outside_instant=self._is_outside(info))
        return closed

    def _close(self, dump: Dump, infos: list[CollectionInfo], closed: dict[int, CollectionEntry]) -> None:
        """All has been read: make the JSON that could not keep up."""
        for number, (info, writer) in enumerate(zip(infos, dump.writers, strict=True)):
            if writer.is_left:
                self._leave(dump, info)
                continue
            told = partial(self._tell_json, writer, info.name)
            entry = closed.get(number) or writer.close(outside_instant=self._is_outside(info), told=told)
            dump.entries.append(entry)

    def _tell_json(self, writer: CollectionWriter, name: str, done: int) -> None:
        self._watch.check()
        self._watch.progress(Progress("writing JSON", 3, STEPS, done, writer.documents, "records", name))

    def _is_outside(self, info: CollectionInfo) -> bool:
        return info.is_capped and info.name not in self._aside

    def _count(self, whose: Whose, name: str, block: Block) -> None:
        """In a snapshot of the site: whose documents these are."""
        mongo = self._stores.mongo
        if not self._scope.is_site or not mongo.is_of_projects(name):
            return
        for raw in block.documents():
            if (project_id := mongo.project_of(name, raw)) is not None:
                whose.documents[project_id] += 1
                whose.bytes[project_id] += len(raw)

    # --- what was stored before

    def _entries_of(self, newest: Snapshot | None) -> dict[str, CollectionEntry]:
        """The collections of the newest snapshot; none where its manifest is damaged."""
        if newest is None:
            return {}
        try:
            return self._stores.repository.collections(newest)
        except (DamagedError, NotFoundError) as error:
            log.warning("dump.newest-damaged", snapshot=newest.name, why=str(error))
            return {}

    def _older_dump(self, name: str) -> OlderDump | None:
        found = self._older_dump_with(name, with_json=self._with_json)
        if found is None and self._with_json and self._reduction is not None:
            return self._older_dump_with(name, with_json=False)
        return found

    def _older_dump_with(self, name: str, *, with_json: bool) -> OlderDump | None:
        entry = self._older.get(name)
        if entry is None or self._newest is None:
            return None
        folder = self._stores.repository.folder(self._newest.scope, self._newest.name)
        if any(self._damage.has_file(folder / "db" / path) for path in (entry.bson_path, entry.json_path)):
            return None
        return OlderDump.of(folder, entry, with_json=with_json)

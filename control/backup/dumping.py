"""The records of a snapshot: every collection of the scope, read at one instant into a draft.

Rule: names, options and indexes of collections are read with the gate closed and again after the dump; where they
differ, nothing of the dump counts.

>>> Dumping(stores, scope, draft, watch).run(dump, reader, infos)       # doctest: +SKIP
True
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..errors import Problem
from ..model import CollectionEntry, Progress, Scope
from ..stores.draft import Draft
from ..stores.dump import CollectionWriter
from ..stores.mongo import CollectionInfo, ReadAgainError, Reader
from .stores import Stores
from .watches import Watch

STEPS = 4  # of a make; reading the database is the third


@dataclass(slots=True)
class Dump:
    """What one reading at one instant has put into the draft, and how the gate fared."""

    closed_seconds: float = 0.0
    gate_tries: int = 1
    retries: int = 0  # instants that were given up before this one
    problems: list[Problem] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # names of collections
    entries: list[CollectionEntry] = field(default_factory=list)
    writers: list[CollectionWriter] = field(default_factory=list)
    documents: Counter[str] = field(default_factory=Counter)  # by project
    bytes: Counter[str] = field(default_factory=Counter)


class Dumping:
    """Reads the collections of one scope into a draft."""

    def __init__(self, stores: Stores, scope: Scope, draft: Draft, watch: Watch) -> None:
        self._stores = stores
        self._scope = scope
        self._draft = draft
        self._watch = watch

    def run(self, dump: Dump, reader: Reader, infos: dict[str, CollectionInfo]) -> bool:
        """Dump the collections; False where one of them was changed meanwhile."""
        try:
            for info in infos.values():
                self._watch.check()
                self._collection(dump, reader, info)
        except ReadAgainError:
            return False
        return self._stores.mongo.collections(self._scope) == infos

    def _collection(self, dump: Dump, reader: Reader, info: CollectionInfo) -> None:
        if not info.is_kept:
            dump.unknown.append(info.name)
            dump.problems.append(
                Problem(
                    "unavailable",
                    "is capped or a time series; those are not kept yet.",
                    info.name,
                    "It stays as it is.",
                )
            )
            return
        writer = self._draft.collection(info)
        if info.kind == "collection":
            mongo = self._stores.mongo
            owners = () if self._scope.is_site else (self._scope,)
            for raw in reader.documents(info.name, mongo.where(owners, info.name)):
                writer.add(raw)
                if self._scope.is_site and (project_id := mongo.project_of(info.name, raw)) is not None:
                    dump.documents[project_id] += 1
                    dump.bytes[project_id] += len(raw)
                if writer.documents % 1000 == 0:
                    self._watch.progress(
                        Progress("reading the database", 3, STEPS, writer.documents, 0, "records", info.name)
                    )
        dump.writers.append(writer)
        dump.entries.append(writer.close())

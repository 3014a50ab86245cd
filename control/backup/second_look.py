"""A second look at the records of a plan: what of it people should know, and what they were, kept beside the plan.

Rules:

- One pass over the plan's items, some hundreds of records of a collection at once; nothing is held of those before.
- What was found of the same plan for the same person is not looked for again: a restore computes its plan twice.
- Nothing here decides what is done.

>>> SecondLook(stores, target, draft, folder).over(writer)      # doctest: +SKIP
(Problem(code='edited', what='5 records were changed since …', …),)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import Problem
from ..model import Change, PlanItem
from ..stores.lookups import found
from ..stores.plans import PlanWriter
from .dumped import Dumped, id_of
from .edits import Edits
from .expiring import Expiring
from .newcomers import Newcomers
from .stores import Stores
from .target import PlanDraft, Target
from .watches import Watch

CODES = ("edited", "expires", "people", "yourself")
_BATCH, _BATCH_BYTES = 500, 4_000_000
_MOST_DELETED = 20_000  # deleted records that are looked at

Numbered = tuple[int, PlanItem]


class SecondLook:
    """At the plan of one target; `folder` is that of the snapshot."""

    def __init__(self, stores: Stores, target: Target, draft: PlanDraft, folder: Path, watch: Watch) -> None:
        self._stores = stores
        self._watch = watch
        self._folder = folder
        scopes = stores.settings.scopes
        self._edits = Edits(scopes.project, target.snapshot, stores.people)
        self._expiring = Expiring(stores.mongo, draft, stores.now())
        self._newcomers = Newcomers(scopes.site.people, target.actor)
        self._people = frozenset(scopes.site.people)
        self._deleted = 0

    def over(self, writer: PlanWriter) -> tuple[Problem, ...]:
        """Keep what the plan replaces, and find what to warn of."""
        with Dumped(self._folder) as dumped:
            for batch in _batches(writer.items()):
                self._watch.check()
                live = self._live(batch, writer)
                for number, item in batch:
                    raw = live.get(id_of(item), b"")
                    is_that = bool(raw) and hashlib.sha256(raw).hexdigest() == item.detail["have"]
                    if item.change is Change.REPLACE and is_that:
                        writer.before.add(number, raw)
                    self._tell(item, raw, dumped)
        return (*self._newcomers.warnings(), *self._edits.warnings(), *self._expiring.warnings())

    def _tell(self, item: PlanItem, old: bytes, dumped: Dumped) -> None:
        collection = item.detail["collection"]
        is_person = collection in self._people
        expires = self._expiring.is_about(collection)
        comes = item.change is not Change.DELETE
        new = dumped.raw(item) if comes and (expires or is_person) else b""
        if old and not is_person:
            self._edits.note(old)
        if expires and comes:
            self._expiring.note(collection, new)
        if is_person:
            self._newcomers.note(item, old, new)

    def _live(self, batch: list[Numbered], writer: PlanWriter) -> dict[bytes, bytes]:
        """The records that are there now; of those that will be deleted only what is told of them."""
        collection = batch[0][1].detail["collection"]
        is_person, by = collection in self._people, self._edits.fields
        whole = [id_of(item) for _, item in batch if item.change is Change.REPLACE]
        if writer.before.is_full and not by and not is_person:
            whole = []
        gone = [id_of(item) for _, item in batch if item.change is Change.DELETE]
        self._deleted += len(gone)
        if not is_person and self._deleted > _MOST_DELETED:
            self._edits.is_cut = True
        if not is_person and (not by or self._edits.is_cut):
            gone = []
        live = found(self._stores.mongo, collection, whole) if whole else {}
        return live | (found(self._stores.mongo, collection, gone, () if is_person else by) if gone else {})


def _batches(items: Iterator[PlanItem]) -> Iterator[list[Numbered]]:
    """The records, with their numbers in the plan, in stretches of one collection."""
    batch: list[Numbered] = []
    size = 0
    for number, item in enumerate(items):
        if item.kind != "record":
            continue
        length = len(item.detail["id"]) // 2 + max(item.bytes, item.detail["size"])
        other = bool(batch) and batch[0][1].detail["collection"] != item.detail["collection"]
        if batch and (other or len(batch) >= _BATCH or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, item))
        size += length
    if batch:
        yield batch

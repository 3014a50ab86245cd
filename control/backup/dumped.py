"""The records that a plan brings, as the dump of its snapshot holds them.

>>> with Dumped(folder_of_the_snapshot) as dumped: dumped.raw(item)         # doctest: +SKIP
b'...'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ..model import PlanItem, stem_of
from ..stores.raw import id_text

_BATCH, _BATCH_BYTES = 500, 4_000_000


class Dumped:
    """Reads single records; the dump that was read last stays open. Use it with `with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "db" / "bson"
        self._name = ""
        self._file: BinaryIO | None = None

    def __enter__(self) -> Dumped:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def raw(self, item: PlanItem) -> bytes:
        """The record that an item creates or replaces."""
        name = item.detail["collection"]
        if self._file is None or name != self._name:
            self.__exit__()
            self._file = open(self._folder / f"{stem_of(name)}.bson", "rb")  # noqa: PTH123, SIM115
            self._name = name
        self._file.seek(item.detail["offset"])
        return self._file.read(item.detail["size"])

    def batches(self, items: Iterable[PlanItem]) -> Iterator[list[tuple[PlanItem, bytes]]]:
        """Items with their records, in stretches of one collection that can be asked about at once."""
        batch: list[tuple[PlanItem, bytes]] = []
        size = 0
        for item in items:
            raw = self.raw(item)
            other = bool(batch) and batch[0][0].detail["collection"] != item.detail["collection"]
            if batch and (other or len(batch) >= _BATCH or size + len(raw) > _BATCH_BYTES):
                yield batch
                batch, size = [], 0
            batch.append((item, raw))
            size += len(raw)
        if batch:
            yield batch


def id_of(item: PlanItem) -> bytes:
    """The exact `_id` of a record's item."""
    return bytes.fromhex(item.detail["id"])


def name_of(item: PlanItem) -> str:
    """The `_id` of a record's item as text, as the names of folders and the settings have it."""
    return id_text(id_of(item))

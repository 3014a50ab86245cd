"""The dump of one collection: BSON and metadata as mongorestore reads them, extended JSON as mongoexport writes it.

Rules:

- BSON is what a restore reads; JSON is for people and other programs. What JSON cannot hold exactly is named.
- What is written is hashed as it is written.
- As long as all bytes are those of an older dump nothing is written: in the end its files are shared. From the first
  difference on the BSON is written, and of the JSON what is not in the older file is made.
- A collection for which there is no room is shared whole, or it is left: then nothing of it stays.
- Whoever reads the server never waits for JSON, as the server remembers an instant for some minutes only: what JSON
  cannot keep up with is made out of the BSON when all has been read.

>>> writer.add(block), writer.end(), writer.close()      # doctest: +SKIP
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import structlog

from ..model import CollectionEntry, stem_of
from .blocks import Block, blocks_of
from .collection_info import CollectionInfo
from .json_file import TAKE, JsonFile, JsonSum, OlderDamagedError, json_anew
from .json_pool import JsonPool
from .older_dump import OlderDump
from .raw import NotBsonError
from .written import Written

log = structlog.get_logger(__name__)

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Sum:
    """One line of manifest-sha256.txt that is not of a file below files/."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Means:
    """What a dump is made with.

    `json` makes the JSON (None: there is none); `older` gives the older dump of a collection, where there is one;
    `check` raises where the work shall stop. `may_write` says of a collection whether its dump may take room; where
    not `makes_json`, there is only what can be shared of it.
    """

    json: JsonPool | None
    older: Callable[[str], OlderDump | None]
    check: Callable[[], None]
    may_write: Callable[[CollectionInfo], bool] = lambda _: True
    makes_json: bool = True


def _nothing(_: int) -> None:
    """Nobody wants to know how far it is."""


class CollectionWriter:
    """Writes one collection twice: BSON as mongorestore reads it, and extended JSON, a line per document."""

    def __init__(self, folder: Path, info: CollectionInfo, means: Means) -> None:
        self.info = info
        self.documents = 0
        self.bytes = 0
        self.sums: list[Sum] = []
        self._folder = folder
        self._means = means
        stem = stem_of(info.name)
        self._entry = CollectionEntry(info.name, stem, info.kind, 0, 0, "", info.options, info.indexes)
        self._digest = hashlib.sha256()
        self._older = means.older(info.name)
        self._same = self._older is not None  # so far
        self._bson: Written | None = None
        self._json: JsonFile | None = None
        self._anew = False
        self._behind: tuple[int, int] | None = None  # bytes and documents of which JSON was asked for; None: all so far
        self._is_ended = self._is_shared = False
        self._may_write = means.may_write(info)
        self.is_left = not (self._same or self._may_write)  # it is not in this snapshot: it may take no room
        if not (self._same or self.is_left):
            self._begin()

    def add(self, block: Block) -> None:
        """Write these documents.

        Raises
        ------
        UnavailableError: a helper was lost. OSError. What `check` raises.
        """
        if self._same and self._older is not None and self._older.goes_on_with(block.raw):
            self._digest.update(block.raw)
        else:
            if self._same:
                self._part()
            if self.is_left:
                return
            self._write(block)
        self.bytes += len(block.raw)
        self.documents += len(block.ends)

    @property
    def is_late(self) -> bool:
        """Whether much of the JSON is still to be made."""
        return self._anew or self._behind is not None

    def end(self) -> None:
        """No more documents come; errors as `add`."""
        self._is_ended, self._is_shared = True, self._same and self._share()
        if not self._is_shared:
            if self._same:
                self._part()
            if self.is_left:
                return
            assert self._bson is not None  # noqa: S101  (`_begin` made it)
            self._entry = replace(self._entry, sha256=self._bson.close())

    def close(self, *, outside_instant: bool = False, told: Callable[[int], object] = _nothing) -> CollectionEntry:
        """Make the JSON that is missing, and write what describes the collection; errors as `add`.

        Parameters
        ----------
        told: of how many documents JSON has been asked for, as it goes on.
        """
        if not self._is_ended:
            self.end()
        if not self._is_shared:
            self._end_json(told)
        metadata = metadata_json(self.info)
        (self._folder / self._entry.metadata_path).write_bytes(metadata)
        entry = replace(self._entry, documents=self.documents, bytes=self.bytes, outside_instant=outside_instant)
        self.sums = [
            Sum(f"db/{entry.bson_path}", entry.sha256),
            Sum(f"db/{entry.metadata_path}", hashlib.sha256(metadata).hexdigest()),
        ]
        if entry.json_sha256:
            self.sums.append(Sum(f"db/{entry.json_path}", entry.json_sha256))
        if self._older is not None:
            self._older.close()
        return entry

    def abandon(self) -> None:
        """Close what is open, half as it is."""
        if self._json is not None:
            self._json.abandon()
        if self._bson is not None:
            self._bson.abandon()
        if self._older is not None:
            self._older.close()

    def _write(self, block: Block) -> None:
        assert self._bson is not None  # noqa: S101  (`_begin` made it)
        self._bson.write(block.raw)
        if self._json is None or self._behind is not None:
            return
        if self._json.has_room(len(block.raw)):
            self._make(self._json, block)
        else:
            self._behind = self.bytes, self.documents

    def _make(self, json: JsonFile, block: Block) -> None:
        try:
            ops, raw = self._older.match(block) if self._older is not None else ((), block.raw)
            json.make(raw, ops)
        except (OlderDamagedError, NotBsonError):
            self._distrust()

    def _begin(self) -> None:
        """Files of its own."""
        self._bson = Written(self._folder / self._entry.bson_path)
        if self._means.json is not None and self._means.makes_json:
            lines = self._older.lines() if self._older is not None else None
            self._json = JsonFile(self._folder / self._entry.json_path, self._means.json, lines, self._means.check)

    def _part(self) -> None:
        """Here the older dump says something else, or ends, or goes on: from now on everything is written."""
        self._same = False
        self.is_left = not self._may_write
        if self.is_left:
            return
        self._begin()
        older, bson = self._older, self._bson
        assert older is not None and bson is not None  # noqa: S101  (they were the same until now)
        with open(older.bson, "rb") as file:
            while bson.bytes < self.bytes and (chunk := file.read(min(_CHUNK, self.bytes - bson.bytes))):
                bson.write(chunk)
                self._means.check()
        if bson.digest.hexdigest() != self._digest.hexdigest():
            raise OSError(errno.EIO, "gave other bytes when it was read again", str(older.bson))
        older.begin_at(self.bytes, self._digest)
        if self._json is not None and self.documents:
            self._json.make(b"", ((TAKE, self.documents),))

    def _distrust(self) -> None:
        """What was taken from the older files may be wrong: the JSON is made anew once the BSON is complete."""
        older = self._older.bson.parents[2].name if self._older is not None else ""
        log.warning("dump.older-damaged", snapshot=older, collection=self.info.name)
        if self._json is not None:
            self._json.abandon()
        self._json, self._anew = None, True

    def _end_json(self, told: Callable[[int], object]) -> None:
        made = self._rest_of_json(told) or JsonSum()
        if self._anew and self._means.json is not None:
            bson, json = (self._folder / path for path in (self._entry.bson_path, self._entry.json_path))
            made = json_anew(bson, json, self._means.json, self._means.check)
        self._entry = replace(
            self._entry,
            json_bytes=made.bytes,
            json_sha256=made.sha256,
            json_inexact=made.inexact,
            json_named=tuple(made.named),
        )

    def _rest_of_json(self, told: Callable[[int], object]) -> JsonSum | None:
        """What is in the JSON in the end; None where it has to be made anew, or shall not be."""
        if self._behind is not None:
            start, done = self._behind
            for block in blocks_of(self._folder / self._entry.bson_path, start):
                if self._json is None:
                    return None
                self._make(self._json, block)
                done += len(block.ends)
                told(done)
        if self._json is None:
            return None
        try:
            if self._older is not None:
                self._older.finish()
            return self._json.close()
        except OlderDamagedError:
            self._distrust()
            return None

    def _share(self) -> bool:
        """Share the files of the older dump, where all of it is the same; False where that cannot be."""
        older = self._older
        if older is None or not older.is_at_end() or self._digest.hexdigest() != older.entry.sha256:
            return False
        entry = replace(self._entry, sha256=older.entry.sha256)
        shared = [(older.bson, entry.bson_path)]
        if older.has_json:
            shared.append((older.json, entry.json_path))
            told = older.entry
            entry = replace(
                entry,
                json_bytes=told.json_bytes,
                json_sha256=told.json_sha256,
                json_inexact=told.json_inexact,
                json_named=told.json_named,
            )
        try:
            for source, path in shared:
                os.link(source, self._folder / path, follow_symlinks=False)
        except OSError:  # too many links, or another file system
            for _, path in shared:
                (self._folder / path).unlink(missing_ok=True)
            return False
        self._entry = entry
        return True


def metadata_json(info: CollectionInfo) -> bytes:
    """`<collection>.metadata.json` as mongorestore reads it: options, indexes, uuid, name and type."""
    document = {
        "options": msgspec.Raw(info.options.encode()),
        "indexes": msgspec.Raw(info.indexes.encode()),
        "uuid": info.uuid if info.kind == "collection" else "",
        "collectionName": info.name,
        "type": info.kind,
    }
    return msgspec.json.encode(document)

"""The dump of a collection in an older snapshot, and what of it still holds.

Rules:

- Only equal bytes are taken over: the new documents come from the server and are compared with the older ones, whole.
- A file whose size or time is no longer that of its writing is not used, and the log names it; so is one whose bytes
  turn out to be others than its manifest says.

>>> older = OlderDump.of(folder, entry, with_json=True)       # doctest: +SKIP
>>> older.goes_on_with(block.raw)
True
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import IO, Any

import structlog

from ..model import CollectionEntry
from .blocks import BLOCK, Block
from .id_order import id_order
from .json_file import MAKE, SKIP, TAKE, OlderDamagedError, OlderLines, Op
from .raw import id_bytes

log = structlog.get_logger(__name__)
_length_at = struct.Struct("<i").unpack_from


class OlderDump:
    """Compares new documents with older ones, in the same order; made by `of`."""

    def __init__(self, folder: Path, entry: CollectionEntry, *, has_json: bool) -> None:
        self.entry = entry
        self.has_json = has_json  # one that is wanted, and as it was written
        self.bson = folder / "db" / entry.bson_path
        self.json = folder / "db" / entry.json_path
        self._file: IO[bytes] = open(self.bson, "rb", buffering=0)  # noqa: SIM115  (closed by close)
        self._digest: Any = hashlib.sha256()
        self._buffer = b""
        self._at = 0
        self._is_at_end = False

    @classmethod
    def of(cls, folder: Path, entry: CollectionEntry, *, with_json: bool) -> OlderDump | None:
        """The older dump, where it can be used: as it was written, and with JSON where that is wanted."""
        if with_json and (not entry.json_sha256 or entry.json_inexact > len(entry.json_named)):
            return None
        wanted = [(entry.bson_path, entry.bytes)] + [(entry.json_path, entry.json_bytes)] * with_json
        try:
            latest = (folder / "snapshot.json").stat().st_mtime_ns
            for path, size in wanted:
                stat = (folder / "db" / path).stat(follow_symlinks=False)
                if stat.st_size != size or stat.st_mtime_ns > latest:
                    log.warning("dump.altered", snapshot=folder.name, file=f"db/{path}")
                    return None
            return cls(folder, entry, has_json=with_json)
        except OSError as error:
            log.warning("dump.unreadable", snapshot=folder.name, collection=entry.name, why=str(error))
            return None

    def lines(self) -> OlderLines:
        return OlderLines(self.json, self.entry.json_sha256, self.entry.json_named)

    def goes_on_with(self, raw: bytes) -> bool:
        """Whether the bytes after those that were asked about before are these."""
        try:
            return self._file.read(len(raw)) == raw
        except OSError:
            return False

    def is_at_end(self) -> bool:
        return not self._file.read(1)

    def begin_at(self, offset: int, digest: Any) -> None:
        """Match document by document from `offset` on; `digest` is of all bytes before it."""
        self._file.seek(offset)
        self._digest = digest.copy()
        self._buffer, self._at = b"", 0

    def match(self, block: Block) -> tuple[tuple[Op, ...], bytes]:
        """How the lines of these documents come about, and the documents that must be made anew."""
        ops: list[Op] = []
        changed: list[bytes] = []
        raw, at, taken = block.raw, 0, 0
        for end in block.ends:
            document = raw[at:end]
            at = end
            if self._at + len(document) > len(self._buffer):
                self._fill(len(document))
            if self._buffer.startswith(document, self._at):
                self._at += len(document)
                taken += 1
                continue
            if taken:
                ops.append((TAKE, taken))
                taken = 0
            if self._settle(document, ops):
                taken = 1
                continue
            changed.append(document)
            _add(ops, MAKE)
        if taken:
            ops.append((TAKE, taken))
        return tuple(ops), b"".join(changed)

    def _settle(self, document: bytes, ops: list[Op]) -> bool:
        """Pass over older documents that are gone or were changed; whether the very document stands behind them."""
        wanted = id_bytes(document)
        order = id_order(wanted)
        while (older := self._peek()) is not None:
            if older == document:
                self._at += len(older)
                return True
            ident = id_bytes(older)
            older_order = id_order(ident)
            if ident != wanted and order is not None and older_order is not None and older_order > order:
                return False
            self._at += len(older)
            _add(ops, SKIP)
            if ident == wanted or order is None or older_order is None:
                return False
        return False

    def _peek(self) -> bytes | None:
        if self._at + 4 > len(self._buffer):
            self._fill(4)
        if self._at + 4 > len(self._buffer):
            return None
        size = _length_at(self._buffer, self._at)[0]
        if size < 5:
            raise OlderDamagedError
        if self._at + size > len(self._buffer):
            self._fill(size)
        if self._at + size > len(self._buffer):
            return None
        return self._buffer[self._at : self._at + size]

    def _fill(self, size: int) -> None:
        """Have at least `size` bytes from here on, as far as there are some."""
        while not self._is_at_end and len(self._buffer) - self._at < size:
            chunk = self._read(max(BLOCK, size - (len(self._buffer) - self._at)))
            self._is_at_end = not chunk
            rest = self._buffer[self._at :]
            self._buffer = rest + chunk if rest else chunk
            self._at = 0

    def finish(self) -> None:
        """Read to the end. Raises OlderDamagedError where the dump is not what its manifest says."""
        while self._read(BLOCK):
            pass
        if self._digest.hexdigest() != self.entry.sha256:
            raise OlderDamagedError

    def _read(self, size: int) -> bytes:
        try:
            chunk = self._file.read(size)
        except OSError as error:
            raise OlderDamagedError from error
        self._digest.update(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()


def _add(ops: list[Op], act: str) -> None:
    """One more of these, joined with the last ones where they are of the same kind."""
    if ops and ops[-1][0] == act:
        ops[-1] = (act, ops[-1][1] + 1)
    else:
        ops.append((act, 1))

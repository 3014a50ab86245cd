"""The notes of a directory copy, in files beside the draft: sheets with what is known of them, and single rows.

Rules:

- They are in the order of the paths, so that looks and manifests can be gone through side by side; no list of the
  tree is ever held.
- What goes from one step to the next as it is goes as bytes.

>>> for row in read_rows(path): row.path        # doctest: +SKIP
b'edition/1/model.glb'
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..stores.rows import Noted, Row

_BLOCK = 256  # rows that are written together
_SHEET, _ROWS = b"S", b"R"

Item = Noted | list[Row]


class RowWriter:
    """Writes sheets and rows to a file; use it with `with`."""

    def __init__(self, path: Path, head: bytes = b"") -> None:
        self._file = open(path, "wb", buffering=1 << 18)  # noqa: PTH123, SIM115  (closed by __exit__)
        self._file.write(head)
        self._encode = msgspec.msgpack.Encoder().encode
        self._block: list[Row] = []

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._write()
        finally:
            self._file.close()

    def add(self, row: Row) -> None:
        self._block.append(row)
        if len(self._block) == _BLOCK:
            self._write()

    def note(self, noted: Noted) -> None:
        self.add_block(_SHEET + self._encode(noted))

    def add_block(self, block: bytes) -> None:
        """What `read_blocks` told."""
        self._write()
        self._file.write(len(block).to_bytes(4, "little") + block)

    def _write(self) -> None:
        if self._block:
            rows, self._block = self._block, []
            self.add_block(_ROWS + self._encode(rows))


def read_rows(path: Path) -> Iterator[Row]:
    """All rows of a file; of one that was cut short, those of its whole blocks."""
    for _, item in read_blocks(path):
        yield from item.rows() if isinstance(item, Noted) else item


def read_items(path: Path) -> Iterator[Item]:
    """The same by the sheet, or by some rows together."""
    for _, item in read_blocks(path):
        yield item


def read_blocks(path: Path, start: int = 0) -> Iterator[tuple[bytes, Item]]:
    """The same with its bytes; from a place in the file on."""
    rows, noted = msgspec.msgpack.Decoder(list[Row]).decode, msgspec.msgpack.Decoder(Noted).decode
    with open(path, "rb", buffering=1 << 18) as file:  # noqa: PTH123
        file.seek(start)
        while head := file.read(4):
            block = file.read(int.from_bytes(head, "little"))
            if len(head) < 4 or len(block) < int.from_bytes(head, "little"):
                return
            content = memoryview(block)[1:]
            yield block, noted(content) if block[:1] == _SHEET else rows(content)


class Relay:
    """Leads from the notes of one step to those of the next, by the row or by the sheet.

    Sheets and blocks of which every row is kept go over as bytes: with the gate closed that is nearly all of them.
    """

    def __init__(self, source: Path, out: RowWriter) -> None:
        self._blocks = read_blocks(source)
        self._out = out
        self._noted: Noted | None = None
        self._rows: list[Row] | None = None
        self._place = 0  # of the head in its block
        self._bytes: bytes | None = None  # of the block, while all its rows were kept
        self._next_block()

    @property
    def whole(self) -> Noted | None:
        """The sheet whose turn it is, where it has not been begun; None: the turn is that of a row."""
        return self._noted if self._place == 0 and self._bytes is not None else None

    @property
    def head(self) -> Row | None:
        """The row whose turn it is; None: there are no more."""
        if self._rows is None:
            if self._noted is None:
                return None
            self._rows = list(self._noted.rows())
        return self._rows[self._place]

    def keep_whole(self) -> None:
        """The sheet goes over as it is."""
        if self._bytes is not None:
            self._out.add_block(self._bytes)
        self._next_block()

    def keep(self) -> None:
        """The head goes over as it is."""
        if self._bytes is None and self.head is not None:
            self._out.add(self.head)
        self._next()

    def settle(self, at_ns: int) -> None:
        """The head goes over as what a later look told as well."""
        self._split()
        if self.head is not None:
            self.head.at = at_ns
        self.keep()

    def drop(self) -> None:
        """The head does not go over."""
        self._split()
        self._next()

    def add(self, row: Row) -> None:
        """Another row goes over, before the head."""
        if self._place:
            self._split()
        self._out.add(row)

    def keep_rest(self) -> None:
        """All that come go over as they are."""
        while self.head is not None:
            if self.whole is not None:
                self.keep_whole()
            else:
                self.keep()

    def _split(self) -> None:
        if self._bytes is not None:
            self._bytes = None
            for row in (self._rows or [])[: self._place]:
                self._out.add(row)

    def _next(self) -> None:
        rows = self._rows or []
        self._place += 1
        if self._place < len(rows):
            return
        if self._bytes is not None:
            self._out.add_block(self._bytes)
        self._next_block()

    def _next_block(self) -> None:
        # An empty block is never written.
        block, item = next(self._blocks, (None, None))
        self._bytes, self._place = block, 0
        self._noted = item if isinstance(item, Noted) else None
        self._rows = item if isinstance(item, list) else None

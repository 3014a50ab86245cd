"""One side of a comparison of documents, and the stretches in which two sides are the same.

Rules:

- Equal stretches are compared as bytes, as many documents at once as there are: no object is made for any of them.
- Where documents end is looked up only where it matters. On the side that is measured against (the second one) the
  lengths come with its blocks, or are looked up once.
- At most a few megabytes are held, unless a single document is larger.

>>> while (run := common_run(want, have)) is not None: ...        # doctest: +SKIP
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .blocks import LONGEST, Block, whole_documents
from .raw import NotBsonError, id_bytes

_length_at = struct.Struct("<i").unpack_from

Broken = Callable[[str, str], Exception]  # a code of damage and what is wrong, as the error that says so


@dataclass(frozen=True, slots=True)
class Source:
    """Where documents come from: in pieces, whose ends need not be those of documents where a `Block` tells none.

    `broken` makes the error for bytes that are no documents; `check` is called once all has been read, and raises where
    it is not what it should be.
    """

    blocks: Iterable[Block]
    broken: Broken
    check: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Documents that are the same on both sides: `raw[start:ends[-1]]`; `offset` is where they begin on the first."""

    raw: bytes
    start: int
    ends: Sequence[int]
    offset: int

    @property
    def count(self) -> int:
        return len(self.ends)

    @property
    def size(self) -> int:
        return self.ends[-1] - self.start

    def documents(self) -> Iterator[tuple[int, bytes]]:
        """Each document with its offset on the first side."""
        at = self.start
        for end in self.ends:
            yield self.offset + at - self.start, self.raw[at:end]
            at = end


class Documents:
    """One side: documents one after another; `offset` is where the next one begins."""

    def __init__(self, source: Source) -> None:
        self._damage = source.broken
        self._check = source.check
        self._blocks = iter(source.blocks)
        self._is_over = False
        self._passed = 0  # bytes before `raw`
        self._ends: list[int] = []  # of the documents in `raw`; none: not looked up
        self.raw = b""
        self.at = 0

    @property
    def offset(self) -> int:
        return self._passed + self.at

    def has(self, size: int) -> bool:
        """Have so many bytes in `raw`, from `at` on; False where there are not so many any more."""
        there = len(self.raw) - self.at
        if there >= size:
            return True
        pieces, last = [self.raw[self.at :]] if there else [], None
        while there < size and (last := next(self._blocks, None)) is not None:
            pieces.append(last.raw)
            there += len(last.raw)
        self._passed += self.at
        self._ends = last.ends if last is not None and len(pieces) == 1 else []
        self.raw, self.at = b"".join(pieces) if len(pieces) != 1 else pieces[0], 0
        return there >= size

    def document(self) -> bytes | None:
        """The next document, whole; it stays the next one. None: there are no more.

        Raises
        ------
        What `broken` and `check` of the source make of it.
        """
        if not self.has(4):
            if len(self.raw) > self.at:
                raise self._damage("collection-cut", "ends too early")
            if not self._is_over:
                self._is_over = True
                self._check()
            return None
        size = _length_at(self.raw, self.at)[0]
        if not 5 <= size <= LONGEST:
            raise self._damage("collection-cut", "is not BSON")
        if not self.has(size):
            raise self._damage("collection-cut", "ends too early")
        return self.raw[self.at : self.at + size]

    def ident(self, raw: bytes) -> bytes:
        """The `_id` of a document of this side, as `id_bytes`; errors as `document`."""
        try:
            return id_bytes(raw)
        except NotBsonError as error:
            raise self._damage("collection-bytes", "is not BSON") from error

    def pass_over(self, size: int) -> None:
        """Go on behind so many bytes, which are in `raw`."""
        self.at += size

    def measured(self) -> tuple[list[int], int]:
        """Where the documents in `raw` end, and the number of the next one; at least that one is whole, where there is
        one."""
        if self.document() is None:
            return [], 0
        if not self._ends:
            try:
                self._ends = whole_documents(self.raw, self.at)
            except NotBsonError as error:
                raise self._damage("collection-cut", "is not BSON") from error
        return self._ends, bisect_right(self._ends, self.at)

    def each(self) -> Iterator[tuple[int, bytes]]:
        """All that are left, each with its offset."""
        while (raw := self.document()) is not None:
            yield self.offset, raw
            self.pass_over(len(raw))

    def stretches(self) -> Iterator[Run]:
        """All that are left, in stretches."""
        while True:
            ends, first = self.measured()
            if not ends:
                return
            run = Run(self.raw, self.at, ends[first:] if first else ends, self.offset)
            yield run
            self.pass_over(run.size)


def common_run(one: Documents, other: Documents) -> Run | None:
    """The documents from here on that are the same on both sides, as far as they have been read, and go on behind them.

    None: the next ones differ, or there are no more on one side.
    """
    ends, first = other.measured()
    if not ends:
        return None
    begin = other.at
    one.has(ends[-1] - begin)
    shift = one.at - begin
    theirs = memoryview(other.raw)

    def is_same(start: int, end: int) -> bool:
        return one.raw.startswith(theirs[start:end], start + shift)

    count = _same_documents(ends, first, begin, is_same)
    if not count:
        return None
    run = Run(other.raw, begin, ends[first : first + count], one.offset)
    one.pass_over(run.size)
    other.pass_over(run.size)
    return run


def _same_documents(ends: Sequence[int], first: int, begin: int, is_same: Callable[[int, int], bool]) -> int:
    """How many documents are the same: all at once, else in strides that double, then halve."""
    total = len(ends) - first
    if is_same(begin, ends[-1]):
        return total
    count, stride = 0, 1
    while stride:
        start = ends[first + count - 1] if count else begin
        if count + stride <= total and is_same(start, ends[first + count + stride - 1]):
            count += stride
            stride *= 2
        else:
            break
    low, high = count, min(count + stride, total)  # `low` are the same, `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        start = ends[first + low - 1] if low else begin
        if is_same(start, ends[first + middle - 1]):
            low = middle
        else:
            high = middle
    return low

"""Which record of one side is which of the other: two streams of documents merged by their `_id`.

Rules:

- Records are the same one where the exact bytes of their `_id` are the same. `1` and `1.0`, which are one place in the
  server's order, are two: one goes, the other comes.
- In the server's order each pair is settled at once; nothing is held. Whoever is wrong about the order cannot pair
  wrongly: what was settled too early comes up again out of its order, and then all is matched anew by an index on the
  disk (`OutOfOrderError`). So is the rest where an `_id` has no place that is known.
- What is the same on both sides is told in stretches.

>>> for found in Matching("edition", want, have, stores.plans.index).run(): ...       # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..plan import Record
from ..stores.documents import Documents, Run, common_run
from ..stores.id_order import Key, id_order
from ..stores.pair_index import THERE, WANTED, Pair, PairIndex


class OutOfOrderError(Exception):
    """Two sides of a collection are not both in the order of `_id`."""

    def __init__(self, collection: str) -> None:
        super().__init__(collection)
        self.collection = collection


@dataclass(frozen=True, slots=True)
class Side:
    """The documents of one side, and how one of them, at its offset, becomes a record; None: it is not meant."""

    documents: Documents
    record: Callable[[bytes, int], Record | None]


class _Reading:
    """One side while it is merged: the document that comes next, its `_id`, and where the order puts it."""

    def __init__(self, side: Side, collection: str) -> None:
        self.documents = side.documents
        self._record = side.record
        self._collection = collection
        self._last: Key | None = None  # of the last document that was looked at
        self._at = -1
        self._raw: bytes | None = None
        self._ident = b""
        self._key: Key | None = None

    def ident(self) -> bytes | None:
        """The exact `_id` of the next document; None: there is none."""
        if self._at != self.documents.offset:
            self._raw, self._key = self.documents.document(), None
            self._ident = self.documents.ident(self._raw) if self._raw is not None else b""
            self._at = self.documents.offset
        return None if self._raw is None else self._ident

    def key(self) -> Key | None:
        """Where the order puts it; None: that is not known. Raises OutOfOrderError where it should have come before."""
        if self._key is None:
            self._key = id_order(self._ident)
            if self._key is not None:
                if self._last is not None and not self._last < self._key:
                    raise OutOfOrderError(self._collection)
                self._last = self._key
        return self._key

    def take(self) -> Record | None:
        """The next document as a record, and go on behind it."""
        assert self._raw is not None  # noqa: S101  (`ident` has said that there is one)
        record = self._record(self._raw, self.documents.offset)
        self.documents.pass_over(len(self._raw))
        if record is None:
            self._pass_what_is_not_meant()
        return record

    def _pass_what_is_not_meant(self) -> None:
        """Where one is not, the next ones often are not: those of other projects lie side by side."""
        while (raw := self.documents.document()) is not None and self._record(raw, self.documents.offset) is None:
            self.documents.pass_over(len(raw))


class Matching:
    """Merges the two sides of one collection."""

    def __init__(
        self, collection: str, want: Side, have: Side, index: Callable[[], PairIndex], *, is_ordered: bool = True
    ) -> None:
        self._want = _Reading(want, collection)
        self._have = _Reading(have, collection)
        self._index = index
        self._is_ordered = is_ordered

    def run(self) -> Iterator[Run | Pair]:
        """What is the same, in stretches, and each pair of records that is not, or that has to be looked at.

        Raises
        ------
        OutOfOrderError: match all of it again, without an order. What the sides raise.
        """
        while self._is_ordered:
            if (run := self._run()) is not None:
                yield run
                continue
            want, have = self._want.ident(), self._have.ident()
            if want is None and have is None:
                return
            if want == have:
                yield self._want.take(), self._have.take()
                continue
            place = self._place(want, have)
            if place is None:
                break
            if place >= 0:
                yield None, self._have.take()
            if place <= 0:
                yield self._want.take(), None
        yield from self._by_index()

    def _run(self) -> Run | None:
        return common_run(self._want.documents, self._have.documents)

    def _place(self, want: bytes | None, have: bytes | None) -> int | None:
        """Which comes first: the wanted one (-1), the one that is there (1), neither (0); None: that is not known."""
        left = self._want.key() if want is not None else None
        right = self._have.key() if have is not None else None
        if (want is not None and left is None) or (have is not None and right is None):
            return None
        if left is None or right is None:
            return -1 if right is None else 1
        return -1 if left < right else 1 if right < left else 0

    def _by_index(self) -> Iterator[Run | Pair]:
        with self._index() as index:
            while True:
                if (run := self._run()) is not None:
                    yield run
                    continue
                is_over = True
                for number, side in ((WANTED, self._want), (THERE, self._have)):
                    if side.ident() is not None:
                        is_over = False
                        if (record := side.take()) is not None:
                            index.add(number, record)
                if is_over:
                    break
            yield from index.pairs()

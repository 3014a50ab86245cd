"""Records are paired by the exact bytes of their `_id`, whatever these are, however many, in whatever order."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.backup.matching import Matching, OutOfOrderError, Side
from keyframe.plan import Record
from keyframe.stores.blocks import Block, whole_documents
from keyframe.stores.documents import Documents, Run, Source
from keyframe.stores.pair_index import PairIndex
from keyframe.stores.raw import id_bytes, id_text
from pymongo.database import Database
from pymongo.errors import PyMongoError
from test_id_order import WHOLE_IDS
from test_records import raw
from whole import RAW, put

Found = set[tuple[bytes | None, bytes | None]]
often = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


class BrokenError(Exception):
    """What a side of these tests raises where its bytes are no documents, or the check at its end fails."""


def _broken(damage: str, what: str) -> Exception:
    return BrokenError(f"{damage}: {what}")


def _right() -> None:
    """All is as it should be."""


def in_pieces(documents: Iterable[bytes], size: int) -> Iterator[Block]:
    """As a dump is read: cut anywhere."""
    rest = b""
    for one in documents:
        rest += one
        while len(rest) >= size:
            yield Block(rest[:size], [])
            rest = rest[size:]
    if rest:
        yield Block(rest, [])


def in_batches(documents: Iterable[bytes], count: int) -> Iterator[Block]:
    """As a server sends them: whole ones, and where they end."""
    several = iter(documents)
    while batch := b"".join(itertools.islice(several, count)):
        yield Block(batch, whole_documents(batch))


def record(document: bytes, offset: int) -> Record:
    ident = id_bytes(document)
    return Record(ident, document, len(document), offset, id_text(ident))


def side(blocks: Iterable[Block]) -> Side:
    return Side(Documents(Source(blocks, _broken, _right)), record)


def matching(folder: Path, want: Iterable[Block], have: Iterable[Block], **options: Any) -> Matching:
    return Matching("things", side(want), side(have), partial(PairIndex, folder), **options)


def found_in(matching: Matching) -> tuple[list[tuple[bytes, bytes]], Found]:
    """The documents that are the same, and the pairs of those that are not, as bytes."""
    same: list[tuple[bytes, bytes]] = []
    other: Found = set()
    for found in matching.run():
        if isinstance(found, Run):
            same += [(document, document) for _, document in found.documents()]
            continue
        pair = tuple(one.digest if one is not None else None for one in found)
        if pair[0] == pair[1] and pair[0] is not None:
            same.append((pair[0], pair[0]))
        else:
            assert pair not in other or pair == (None, None)
            other.add((pair[0], pair[1]))
    return same, other


def expected(want: list[bytes], have: list[bytes]) -> tuple[set[bytes], Found]:
    left, right = ({id_bytes(one): one for one in documents} for documents in (want, have))
    pairs = {(left.get(ident), right.get(ident)) for ident in left.keys() | right.keys()}
    same = {one for one, other in pairs if one == other and one is not None}
    return same, {pair for pair in pairs if pair[0] != pair[1]}


def require_right(result: tuple[list[tuple[bytes, bytes]], Found], want: list[bytes], have: list[bytes]) -> None:
    same, other = expected(want, have)
    assert sorted(result[0]) == sorted((one, one) for one in same)
    assert result[1] == other


def stored(database: Database[Any], name: str, documents: list[bytes]) -> list[bytes]:
    """Documents as the server gives them: in its order, without those that it does not take."""
    database[name].drop()
    for one in documents:
        try:
            put(database, name, one)
        except PyMongoError as error:
            assert any(why in str(error) for why in ("duplicate key", "can't", "not valid", "not allowed")), error
    rows = database.get_collection(name, codec_options=RAW).find().sort("_id", 1)
    return [bytes(one.raw) for one in rows]


@often
@given(idents=st.lists(WHOLE_IDS, min_size=1, max_size=30), data=st.data())
def _are_paired(database: Database[Any], folder: Path, idents: list[Any], data: Any) -> None:
    def some() -> list[bytes]:
        chosen = data.draw(st.lists(st.tuples(st.sampled_from(idents), st.integers(0, 1)), max_size=30))
        return [bson.encode({"_id": ident, "n": number}) for ident, number in chosen]

    want, have = stored(database, "want", some()), stored(database, "have", some())
    piece, count = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 9))

    ordered = matching(folder, in_pieces(want, piece), in_batches(have, count))
    by_index = matching(folder, in_pieces(want, piece), in_batches(have, count), is_ordered=False)

    require_right(found_in(ordered), want, have)
    require_right(found_in(by_index), want, have)


def test_any_two_collections_are_paired_by_their_exact_ids(database: Database[Any], tmp_path: Path) -> None:
    _are_paired(database, tmp_path)


@often
@given(
    want=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), max_size=12, unique_by=lambda one: one[0]),
    have=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1)), max_size=12, unique_by=lambda one: one[0]),
    piece=st.integers(1, 60),
)
def _is_right_or_says_so(folder: Path, want: list[Any], have: list[Any], piece: int) -> None:
    left, right = ([bson.encode({"_id": ident, "n": n}) for ident, n in one] for one in (want, have))
    try:
        require_right(found_in(matching(folder, in_pieces(left, piece), in_batches(right, 2))), left, right)
    except OutOfOrderError as error:
        assert error.collection == "things"
        anew = matching(folder, in_pieces(left, piece), in_batches(right, 2), is_ordered=False)
        require_right(found_in(anew), left, right)


def test_sides_in_any_order_are_paired_rightly_or_found_to_be_out_of_it(tmp_path: Path) -> None:
    _is_right_or_says_so(tmp_path)


def test_sides_that_are_out_of_order_are_found_to_be(tmp_path: Path) -> None:
    want = [bson.encode({"_id": ident}) for ident in (1, 2, 3)]

    with pytest.raises(OutOfOrderError):
        list(matching(tmp_path, in_pieces(want, 9), in_batches(reversed(want), 5)).run())


@pytest.mark.parametrize("other", [1.0, Int64(1), Decimal128("1.0")])
def test_ids_that_are_equal_to_the_server_but_not_in_their_bytes_are_two_records(tmp_path: Path, other: Any) -> None:
    want = [bson.encode({"_id": ident}) for ident in (0, 1, 2)]
    have = [bson.encode({"_id": ident}) for ident in (0, other, 2)]

    found = [one for one in matching(tmp_path, in_pieces(want, 20), in_batches(have, 9)).run()
             if not isinstance(one, Run)]  # fmt: skip

    assert [(w and w.digest, h and h.digest) for w, h in found] == [(None, have[1]), (want[1], None)]


def test_an_id_whose_place_is_not_known_is_paired_all_the_same(tmp_path: Path) -> None:
    def odd(of: bytes, number: bytes) -> bytes:
        """A document whose `_id` holds a value of a type that nobody knows."""
        return raw((0x03, b"_id", raw((0x33, of, b""))), (0x10, b"n", number))

    one, two = bytes(4), b"\1" + bytes(3)
    plain = [bson.encode({"_id": ident}) for ident in range(4)]
    want = [plain[0], plain[1], odd(b"a", one), odd(b"b", one), plain[3], odd(b"c", one)]
    have = [plain[0], odd(b"b", two), plain[2], plain[3], odd(b"a", one), odd(b"d", two)]

    found = found_in(matching(tmp_path, in_pieces(want, 11), in_batches(have, 2)))

    require_right(found, want, have)


def test_what_comes_out_of_the_index_does_not_depend_on_the_order_that_went_in(tmp_path: Path) -> None:
    want = [bson.encode({"_id": f"id {number}", "n": number}) for number in range(200)]
    have = [bson.encode({"_id": f"id {number}", "n": number // 2 * 2}) for number in range(100, 300)]
    chance = random.Random(5)

    results = []
    for _ in range(2):
        sides = (in_pieces(chance.sample(want, 200), 99), in_batches(chance.sample(have, 200), 7))
        found = [one for one in matching(tmp_path, *sides, is_ordered=False).run() if not isinstance(one, Run)]
        differing = [(left, right) for left, right in found if not (left and right and left.digest == right.digest)]
        results.append([(left and left.digest, right and right.digest) for left, right in differing])

    assert results[0] == results[1]
    assert len(results[0]) == 100 + 100 + 50


@often
@given(
    want=st.dictionaries(st.integers(0, 40), st.integers(0, 3), max_size=40),
    have=st.dictionaries(st.integers(0, 40), st.integers(0, 3), max_size=40),
    is_ordered=st.booleans(),
)
def _only_what_is_meant(folder: Path, want: dict[int, int], have: dict[int, int], is_ordered: bool) -> None:
    def meant(document: bytes, offset: int) -> Record | None:
        return record(document, offset) if bson.decode(document)["n"] < 2 else None

    left, right = ([bson.encode({"_id": ident, "n": one[ident]}) for ident in sorted(one)] for one in (want, have))
    sides = [
        Side(Documents(Source(blocks, _broken, _right)), meant)
        for blocks in (in_pieces(left, 70), in_batches(right, 5))
    ]

    found = found_in(Matching("things", *sides, partial(PairIndex, folder), is_ordered=is_ordered))

    chosen = [[one for one in documents if bson.decode(one)["n"] < 2] for documents in (left, right)]
    same, other = expected(*chosen)
    # Stretches that are the same are told whole: whoever asked looks at each of them.
    assert {one for one, _ in found[0] if bson.decode(one)["n"] < 2} == same
    assert found[1] - {(None, None)} == other


def test_what_is_not_meant_is_passed_over_on_either_side(tmp_path: Path) -> None:
    _only_what_is_meant(tmp_path)


# --- memory, and what is left behind


def made(count: int, begin: int = 0, fill: str = "") -> Iterator[bytes]:
    return (bson.encode({"_id": number, "text": fill or f"some text of record {number}"})
            for number in range(begin, begin + count))  # fmt: skip


MANY = 25_000


@pytest.mark.parametrize("is_ordered", [True, False])
@pytest.mark.parametrize(
    ("want", "have"), [((MANY, 0), (0, 0)), ((0, 0), (MANY, 0)), ((MANY, 0), (MANY, MANY))], ids=["gone", "new", "all"]
)
def test_memory_does_not_grow_with_what_is_on_one_side_only(
    tmp_path: Path, want: tuple[int, int], have: tuple[int, int], is_ordered: bool
) -> None:
    pairs = 0
    merged = matching(tmp_path, in_pieces(made(*want), 1 << 16), in_batches(made(*have), 900), is_ordered=is_ordered)

    tracemalloc.start()
    for _ in merged.run():
        pairs += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert pairs == want[0] + have[0]
    assert peak < 3_000_000, "each record takes some hundred bytes: 10 MB and more"
    assert list(tmp_path.iterdir()) == [], "the index has no name"


def test_an_index_on_a_disk_that_does_not_take_it_is_an_error_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(OSError):
        list(matching(tmp_path / "file", in_pieces(made(3), 9), in_batches(made(3, 1), 2), is_ordered=False).run())


def test_the_index_is_gone_when_its_reader_stops_half_way(tmp_path: Path) -> None:
    found = matching(tmp_path, in_pieces(made(9), 50), in_batches(made(9, 5), 2), is_ordered=False).run()
    next(one for one in found if not isinstance(one, Run))

    found.close()  # type: ignore[attr-defined]  # it is a generator

    assert list(tmp_path.iterdir()) == []


# --- what is the same


@often
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    changed=st.sets(st.integers(0, 59)),
    piece=st.integers(1, 900),
    count=st.integers(1, 70),
)
def test_what_is_the_same_is_told_in_stretches_and_counted_exactly(
    sizes: list[int], changed: set[int], piece: int, count: int
) -> None:
    want = [bson.encode({"_id": number, "text": "x" * size}) for number, size in enumerate(sizes)]
    have = [one.replace(b"text", b"TEXT") if number in changed else one for number, one in enumerate(want)]

    found = list(matching(Path("/nowhere"), in_pieces(want, piece), in_batches(have, count)).run())

    runs = [one for one in found if isinstance(one, Run)]
    differ = sum(number in changed for number in range(len(want)))
    assert sum(one.count for one in runs) == len(want) - differ
    assert sum(one.size for one in runs) == sum(map(len, want)) - sum(
        len(want[one]) for one in changed if one < len(want)
    )
    assert len(found) - len(runs) == differ
    for run in runs:
        for offset, document in run.documents():
            assert b"".join(want)[offset : offset + len(document)] == document
    most = len(want) // count + 1 + differ
    assert len(runs) <= most, "one for each batch, and one more behind each that differs"


@pytest.mark.parametrize("cut", [1, 3, 5, 20])
@pytest.mark.parametrize("equal", [True, False])
def test_a_side_that_ends_within_a_document_is_broken(tmp_path: Path, cut: int, equal: bool) -> None:
    want = list(made(50))
    have = want if equal else list(made(50, 200))

    with pytest.raises(BrokenError, match="collection-cut: ends too early"):
        list(matching(tmp_path, in_pieces([b"".join(want)[:-cut]], 77), in_batches(have, 8)).run())


@pytest.mark.parametrize("size", [0, 4, -1, 1 << 27])
def test_a_side_with_a_length_that_no_document_has_is_broken(tmp_path: Path, size: int) -> None:
    want = [*made(20), size.to_bytes(4, "little", signed=True) + b"rest of it"]

    with pytest.raises(BrokenError, match="collection-cut: is not BSON"):
        list(matching(tmp_path, in_pieces(want, 64), in_batches(made(20), 8)).run())
    with pytest.raises(BrokenError, match="collection-cut: is not BSON"):
        list(matching(tmp_path, in_pieces(made(20), 64), in_pieces(want, 64)).run())


def test_a_document_without_an_id_is_broken(tmp_path: Path) -> None:
    with pytest.raises(BrokenError, match="collection-bytes: is not BSON"):
        list(matching(tmp_path, in_pieces([bson.encode({"id": 1})], 64), in_batches(made(1), 1)).run())


@pytest.mark.parametrize("counts", [(30, 30), (30, 0), (0, 30), (10, 30), (30, 10), (0, 0)])
def test_both_sides_are_read_to_their_end_and_checked_once(tmp_path: Path, counts: tuple[int, int]) -> None:
    checked: list[str] = []
    sides = [
        Side(Documents(Source(in_pieces(made(count), 64), _broken, partial(checked.append, name))), record)
        for count, name in zip(counts, ("want", "have"), strict=True)
    ]

    list(Matching("things", *sides, partial(PairIndex, tmp_path)).run())

    assert sorted(checked) == ["have", "want"]


def test_a_document_larger_than_any_piece_is_compared_whole(tmp_path: Path) -> None:
    want = [*made(2), bson.encode({"_id": 5, "text": "x" * 3_000_000}), *made(2, 7)]
    have = [*want[:2], want[2][:-100] + b"y" + want[2][-99:], *want[3:]]

    result = found_in(matching(tmp_path, in_pieces(want, 1 << 16), in_batches(have, 2)))

    require_right(result, want, have)

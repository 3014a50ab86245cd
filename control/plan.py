"""The difference of two inventories: what a restore creates, replaces and deletes. Pure: no clock, disk or server.

Rules:

- Both sides are streams of files in the same order; nothing is held but the directories that go. Which record is which
  is found elsewhere (`backup/matching.py`).
- What is equal is not in the plan. What is unknown on either side (`Slice.leaves`) is neither created, replaced nor
  deleted.
- Directories go last, deepest first, and only where nothing unknown lies in them.

>>> [item.name for item in file_items(wanted, live, whole_slice)]     # doctest: +SKIP
['edition/1/a.txt']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from .model import Change, Counts, FileEntry, PlanItem, record_name
from .slices import Slice, Way

PathKey = Callable[[str], bytes]
_COUNTED = ("file", "link", "record")  # kinds that have a number of their own


@dataclass(slots=True)
class Tally:
    """Counts of a plan while it is computed."""

    creates: Counts = field(default_factory=Counts)
    replaces: Counts = field(default_factory=Counts)
    deletes: Counts = field(default_factory=Counts)
    unchanged: Counts = field(default_factory=Counts)

    def add(self, item: PlanItem) -> None:
        if item.change is Change.CREATE:
            self.creates = _with(self.creates, item)
        elif item.change is Change.REPLACE:
            self.replaces = _with(self.replaces, item)
        else:
            self.deletes = _with(self.deletes, item)

    def same(self, kind: str, size: int) -> None:
        self.unchanged = _plus(self.unchanged, kind, size)

    def same_records(self, count: int, size: int) -> None:
        found = self.unchanged
        self.unchanged = replace(found, records=found.records + count, bytes=found.bytes + size)


def _with(counts: Counts, item: PlanItem) -> Counts:
    kinds = counts.kinds if item.kind in _COUNTED else _one_more(counts.kinds, item.kind)
    counts = _plus(counts, item.kind, item.bytes)
    records = counts.records + int(item.detail.get("records", 0))  # of a collection as a whole
    return replace(counts, records=records, kinds=kinds)


def _one_more(kinds: tuple[tuple[str, int], ...], kind: str) -> tuple[tuple[str, int], ...]:
    return tuple(sorted({**dict(kinds), kind: dict(kinds).get(kind, 0) + 1}.items()))


def _plus(counts: Counts, kind: str, size: int) -> Counts:
    return Counts(
        files=counts.files + (kind in ("file", "link")),
        records=counts.records + (kind == "record"),
        bytes=counts.bytes + size,
        other=counts.other + (kind not in _COUNTED),
    )


def file_items(
    wanted: Iterable[FileEntry], live: Iterable[FileEntry], part: Slice, key: PathKey, same: Callable[[str, int], None]
) -> Iterator[PlanItem]:
    """What has to happen to the files.

    Parameters
    ----------
    wanted, live: sorted by `key`; live entries with digest where the size is that of the wanted one.
    part: what is meant; paths outside are passed over on both sides.
    same: told kind and bytes of each path that is equal on both sides.

    Yields
    ------
    Items in path order; a path whose kind changes is one item (replace); directories that go (deleted, or replaced by
    something else) come last, deepest first: only then it is known what lies in them.
    """
    late: list[PlanItem] = []
    way = Way(part)
    for want, have in _pairs(wanted, live, key):
        path = (want or have).path  # type: ignore[union-attr]  # one of them is there
        if part.leaves(path):
            way.keep(path)
            continue
        if not part.holds(path):
            way.note(want, have)
            continue
        if want is not None and have is not None and want == have:
            same(want.kind, want.size)
            way.keep(path)
            continue
        if want is not None and have is None and part.blocks(want):
            part.leave.add(path)
            continue
        if want is not None:
            yield from (_file_item(entry, None) for entry in way.to(path))
            way.keep(path)
        item = _file_item(want, have)
        if have is not None and have.kind == "directory" and (want is None or want.kind != "directory"):
            late.append(item)
            continue
        yield item
    late += (_file_item(None, entry) for entry in way.back())
    yield from _going(sorted(late, key=lambda item: key(item.name)), part)


def _going(late: list[PlanItem], part: Slice) -> Iterator[PlanItem]:
    """The directories that go, of those that should; deepest first."""
    around = set()  # directories of those that stay
    for item in reversed(late):
        if part.has_unknown_below(item.name):
            continue
        if item.name in around or part.stays(item.name):
            part.kept.append(item)
            around.add(item.name.rpartition("/")[0] or ".")
            continue
        yield item


def _pairs(
    wanted: Iterable[FileEntry], live: Iterable[FileEntry], key: PathKey
) -> Iterator[tuple[FileEntry | None, FileEntry | None]]:
    """Both streams side by side."""
    left, right = iter(wanted), iter(live)
    want, have = next(left, None), next(right, None)
    while want is not None or have is not None:
        if have is None or (want is not None and key(want.path) < key(have.path)):
            yield want, None
            want = next(left, None)
        elif want is None or key(have.path) < key(want.path):
            yield None, have
            have = next(right, None)
        else:
            yield want, have
            want, have = next(left, None), next(right, None)


def _file_item(want: FileEntry | None, have: FileEntry | None) -> PlanItem:
    entry = want or have
    assert entry is not None  # noqa: S101  (one of the two is there)
    change = Change.DELETE if want is None else Change.CREATE if have is None else Change.REPLACE
    # Equal bytes under another mode, owner or time, or with other attributes: nothing has to be copied.
    same_bytes = want is not None and have is not None and want.kind == have.kind and _content(want) == _content(have)
    return PlanItem(
        change=change,
        kind=entry.kind,
        name=entry.path,
        bytes=0 if same_bytes else entry.size,
        detail={"want": _traits(want), "have": _traits(have), "same_bytes": same_bytes},
    )


def _content(entry: FileEntry) -> tuple[str, str]:
    return entry.sha256, entry.target


def _traits(entry: FileEntry | None) -> list[Any] | None:
    if entry is None:
        return None
    return [
        entry.kind,
        entry.size,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.mtime_ns,
        entry.sha256,
        _safe(entry.target),
        [[name.hex(), value.hex()] for name, value in entry.attributes],
    ]


def _safe(target: str) -> str:
    return target.encode("utf-8", "surrogateescape").hex()


def entry_of(item: PlanItem) -> FileEntry:
    """The wanted entry of a file item that creates or replaces."""
    kind, size, mode, uid, gid, mtime_ns, sha256, target, attributes = item.detail["want"]
    return FileEntry(
        item.name,
        kind,
        size,
        mode,
        uid,
        gid,
        mtime_ns,
        sha256,
        bytes.fromhex(target).decode("utf-8", "surrogateescape"),
        tuple((bytes.fromhex(name), bytes.fromhex(value)) for name, value in attributes),
    )


@dataclass(frozen=True, slots=True)
class Record:
    """A document in an inventory.

    `id` is the exact bytes of its `_id`, `name` the same as text, to compare it with the names of folders; `digest` and
    `size` are of its bytes, `offset` says where they lie in the dump (-1: in the live database); `owner` is the id of
    the project it belongs to, `title` what people call it.
    """

    id: bytes
    digest: bytes
    size: int
    offset: int = -1
    name: str = ""
    owner: str | None = None
    title: str = ""


def record_item(collection: str, want: Record | None, have: Record | None, shown: str) -> PlanItem:
    """The item for one record that differs; `shown` is its `_id` as people see it, unmistakable."""
    record = want or have
    assert record is not None  # noqa: S101  (one of the two is there)
    return PlanItem(
        change=Change.DELETE if want is None else Change.CREATE if have is None else Change.REPLACE,
        kind="record",
        name=record_name(collection, shown),
        bytes=record.size,
        title=record.title,
        detail={
            "collection": collection,
            "id": record.id.hex(),
            "want": want.digest.hex() if want else None,
            "have": have.digest.hex() if have else None,
            "offset": want.offset if want else -1,
            "size": want.size if want else 0,
        },
    )

"""Two kinds of inventory, told alike: what is live, and what a stored snapshot holds.

Make, preview, restore, recheck and verify compare two of them; which two is all that differs.

Rules:

- Files come sorted by path, records in `_id` order, both as streams.
- `unknown` paths and collections are those the inventory cannot speak for; a live one learns them while it is read.
- Whoever reads a stored inventory to its end has checked its bytes against the manifest: a collection that differs
  raises `DamagedError` before anything is done with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from ..errors import ChangedError, DamagedError, Problem
from ..model import BUCKETS, CollectionEntry, FileEntry, Scope, Snapshot
from ..patterns import Exclusion
from ..plan import Record, Slice
from ..stores.attributes import kept_at, only
from ..stores.files import with_content
from ..stores.keeping import WHOLE, keeping_of
from ..stores.mongo import CollectionInfo
from ..stores.raw import NotBsonError, id_bytes, id_text, title_of
from ..stores.reader import Reader
from ..stores.seen import seen_key
from .stores import Stores
from .watches import Watch


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a scope an inventory is asked for: the paths, the owners of the records (none: the whole site)."""

    scope: Scope
    paths: Slice
    owners: tuple[Scope, ...]


class Shape(Protocol):
    """A collection as both inventories describe it."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def options(self) -> str: ...

    @property
    def indexes(self) -> str: ...

    @property
    def is_capped(self) -> bool: ...


def is_unspeakable(name: str) -> bool:
    """Whether no driver takes the name of a collection, though a server has it: it was made by a command of its own."""
    return ".." in name or name.endswith(".")


def is_left(shape: Shape, scope: Scope) -> bool:
    """Whether a collection is left alone: of a project only what can be read and written record by record is kept."""
    if is_unspeakable(shape.name):
        return True
    return not scope.is_site and (shape.kind == "timeseries" or shape.is_capped)


class Inventory(Protocol):
    """What there is: files, collections, records."""

    unknown_paths: set[str]
    unknown_collections: set[str]

    @property
    def excluded(self) -> Exclusion: ...

    def files(self, part: Part) -> Iterator[FileEntry]: ...

    def collections(self, part: Part) -> dict[str, Shape]: ...

    def records(self, name: str, part: Part) -> Iterator[Record]: ...


class LiveInventory:
    """The files in the working directory and the records at one instant; `excluded` is not looked at."""

    def __init__(self, stores: Stores, reader: Reader, watch: Watch, excluded: Exclusion) -> None:
        self._stores = stores
        self.excluded = excluded
        self._reader = reader
        self._watch = watch
        self.unknown_paths: set[str] = set()
        self.unknown_collections: set[str] = set()
        self._infos: dict[str, CollectionInfo] = {}

    def files(self, part: Part) -> Iterator[FileEntry]:
        tree = self._stores.live_tree(part.scope, self.excluded)
        owned = Owned(self._stores)

        def note(path: str, _problem: Problem) -> None:
            self.unknown_paths.add(path)
            part.paths.leave.add(path)

        for look in tree.walk(note):
            self._watch.check()
            entry = look.entry
            if entry.kind != "file":
                yield owned(entry)
                continue
            if not part.paths.holds(entry.path):
                continue
            content = self._stores.seen.content(look.stat)
            if content is None:
                try:
                    stat, sha256, attributes = tree.digest(entry.path)
                except FileNotFoundError:
                    continue
                except (ChangedError, OSError) as error:
                    note(entry.path, Problem("changed", str(error), entry.path))
                    continue
                content = sha256, attributes
                self._stores.seen.remember(seen_key(stat), sha256, attributes, look.at_ns)
            yield owned(with_content(entry, *content))
        self._stores.seen.flush()

    def collections(self, part: Part) -> dict[str, Shape]:
        found = self._stores.mongo.collections(part.scope)
        self.unknown_collections = {name for name, one in found.items() if is_left(one, part.scope)}
        self._infos = {name: one for name, one in found.items() if name not in self.unknown_collections}
        return dict(self._infos)

    def records(self, name: str, part: Part) -> Iterator[Record]:
        mongo, info = self._stores.mongo, self._infos[name]
        where = mongo.where(part.owners, name)
        blocks = self._reader.natural(name) if info.is_capped else self._reader.blocks(info.source, where)
        for block in blocks:
            for raw in block.documents():
                yield _record(raw, mongo.project_of(name, raw), -1)


class StoredInventory:
    """What a snapshot holds; paths are made relative to the asked-for scope where the snapshot is of the site."""

    def __init__(self, stores: Stores, snapshot: Snapshot, scope: Scope, watch: Watch) -> None:
        self._stores = stores
        self._snapshot = snapshot
        self._watch = watch
        self.excluded = stores.excluded(scope, snapshot.excluded.patterns)
        self.folder = stores.repository.folder(snapshot.scope, snapshot.name)
        self.unknown_paths = set(snapshot.unknown_in(scope))
        self.unknown_collections = set(snapshot.unknown_collections)
        self._entries: dict[str, CollectionEntry] | None = None

    def prefix(self, scope: Scope) -> str:
        """What stands before the paths of `scope` in this snapshot."""
        same = self._snapshot.scope == scope
        return "" if same else f"project/{scope.project_id}"

    def files(self, part: Part) -> Iterator[FileEntry]:
        prefix, owned = self.prefix(part.scope), Owned(self._stores)
        for entry in self._stores.repository.manifest(self._snapshot):
            if not isinstance(entry, FileEntry):
                break
            self._watch.check()
            path = entry.path
            if prefix:
                if path == prefix:
                    path = "."
                elif path.startswith(prefix + "/"):
                    path = path[len(prefix) + 1 :]
                else:
                    continue
            yield owned(replace(entry, path=path))

    def entries(self) -> dict[str, CollectionEntry]:
        """The collections of the manifest, by name."""
        if self._entries is None:
            found = (
                one for one in self._stores.repository.manifest(self._snapshot) if isinstance(one, CollectionEntry)
            )
            self._entries = {one.name: one for one in found}
        return self._entries

    def collections(self, part: Part) -> dict[str, Shape]:
        own = set(self._stores.settings.scopes.project.collections)
        return {name: one for name, one in self.entries().items() if part.scope.is_site or name in own}

    def records(self, name: str, part: Part) -> Iterator[Record]:
        """Raises `DamagedError`: `collection-missing`, `collection-bytes`, `collection-cut`, `foreign-record`."""
        entry = self.entries()[name]
        mongo = self._stores.mongo
        owners = {scope.project_id for scope in part.owners}
        digest = hashlib.sha256()
        offset = 0
        for raw in self._raw(entry):
            digest.update(raw)
            try:
                owner = mongo.project_of(name, raw)
                record = _record(raw, owner, offset)
            except NotBsonError as error:
                raise self._damage("collection-bytes", f"has a dump of {name} that is not BSON.") from error
            if not owners or owner in owners:
                yield record
            elif not self._snapshot.scope.is_site:
                raise self._damage("foreign-record", f"has a record in {name} that belongs to another project.")
            offset += len(raw)
        if digest.hexdigest() != entry.sha256:
            raise self._damage("collection-bytes", f"has a dump of {name} that is not the one that was written.")

    def raw(self, name: str, offset: int, size: int) -> bytes:
        """One document of a dump, from where an earlier reading found it."""
        entry = self.entries()[name.removeprefix(BUCKETS)]
        with open(self.folder / "db" / entry.bson_path, "rb") as file:  # noqa: PTH123
            file.seek(offset)
            return file.read(size)

    def all_raw(self, name: str) -> Iterator[bytes]:
        """All documents of a dump, in its order; DamagedError as `records`, but for their digest."""
        return self._raw(self.entries()[name])

    def _raw(self, entry: CollectionEntry) -> Iterator[bytes]:
        try:
            file = open(self.folder / "db" / entry.bson_path, "rb")  # noqa: PTH123, SIM115
        except OSError as error:
            raise self._damage("collection-missing", f"has lost the dump of {entry.name}.") from error
        with file:
            while head := file.read(4):
                length = int.from_bytes(head, "little")
                if len(head) < 4 or not 5 <= length <= 1 << 26:
                    raise self._damage("collection-cut", f"has a dump of {entry.name} that is not BSON.")
                raw = head + file.read(length - 4)
                if len(raw) < length:
                    raise self._damage("collection-cut", f"has a dump of {entry.name} that ends too early.")
                yield raw

    def _damage(self, damage: str, what: str) -> DamagedError:
        return DamagedError(
            damage,
            what,
            subject=self._snapshot.name,
            hint="Restore another snapshot; this one is left as it is, and nothing was changed.",
        )


class Owned:
    """Entries with what can be brought back here: what the disk of the live files does not keep of owner, mode, time
    and attributes is no difference; nor is, for anybody but root, another owner."""

    def __init__(self, stores: Stores) -> None:
        self._keeping = keeping_of(stores.settings.working)
        self._kinds = kept_at(str(stores.settings.working))

    def __call__(self, entry: FileEntry) -> FileEntry:
        if entry.attributes:
            entry = replace(entry, attributes=only(entry.attributes, self._kinds))
        if self._keeping == WHOLE:
            return entry
        uid, gid = (entry.uid, entry.gid) if self._keeping.owners else (0, 0)
        mode = entry.mode if self._keeping.modes else 0
        return replace(entry, uid=uid, gid=gid, mode=mode, mtime_ns=self._keeping.cut(entry.mtime_ns))


def _record(raw: bytes, owner: str | None, offset: int) -> Record:
    ident = id_bytes(raw)
    return Record(ident, hashlib.sha256(raw).digest(), len(raw), offset, id_text(ident), owner, title_of(raw))

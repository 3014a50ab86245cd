"""Two kinds of inventory, told alike: what is live, and what a stored snapshot holds.

Make, preview, restore, recheck and verify compare two of them; which two is all that differs.

Rules:

- Files come sorted by path, documents in the order in which they are read or lie in the dump (of `_id`, but for
  capped collections), both as streams.
- `unknown` paths and collections are those the inventory cannot speak for; a live one learns them while it is read.
- Whoever reads a collection of a stored inventory to its end has checked its bytes against the manifest: one that
  differs raises `DamagedError` before anything is done with it.
"""

from __future__ import annotations

import hashlib
import os
import stat as modes
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import structlog

from ..errors import ChangedError, DamagedError, Problem
from ..model import CollectionEntry, FileEntry, Scope, Snapshot
from ..patterns import Exclusion
from ..plan import Record
from ..slices import Slice
from ..stores.blocks import BLOCK, Block
from ..stores.collection_info import CollectionInfo
from ..stores.documents import Documents, Source
from ..stores.files import Descent, entry_of_stat, with_content
from ..stores.raw import NotBsonError, id_bytes, id_text, title_of
from ..stores.reader import Reader
from ..stores.seen import seen_key
from ..stores.soundness import fault_of, unsound
from .owned import Owned
from .stores import Stores
from .watches import Watch

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a scope an inventory is asked for: the paths, the owners of the records (none: the whole site).

    `ids` has, for collections of which single records are meant, their ids (as `id_bytes`): an inventory may leave out
    the others, and need not.
    """

    scope: Scope
    paths: Slice
    owners: tuple[Scope, ...]
    ids: Mapping[str, frozenset[bytes]] = field(default_factory=dict)


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
    unkept: frozenset[str]  # of both, what there was no room for: paths, and `collection <name>`

    @property
    def excluded(self) -> Exclusion: ...

    def files(self, part: Part) -> Iterator[FileEntry]: ...

    def collections(self, part: Part) -> dict[str, Shape]: ...

    def documents(self, name: str, part: Part) -> Source:
        """Where the documents of a collection come from: at least those that are meant."""
        ...

    def record(self, name: str, part: Part, raw: bytes, offset: int) -> Record | None:
        """One of these documents as a record; None: it is not meant."""
        ...

    def is_exact(self, part: Part) -> bool:
        """Whether all documents are meant."""
        ...


def records_of(inventory: Inventory, name: str, part: Part, *, are_sound: bool = False) -> Iterator[Record]:
    """All records of a collection that are meant; errors as from `documents` and `record`. Where they have to be sound,
    also for one that no collection can hold, once all is read."""
    source, fault = inventory.documents(name, part), ""
    for offset, raw in Documents(source).each():
        if (record := inventory.record(name, part, raw, offset)) is not None:
            fault = fault or (fault_of(raw) if are_sound else "")
            yield record
    if fault:
        raise unsound(source, fault)


class LiveInventory:
    """The files in the working directory and the records at one instant; `excluded` is not looked at."""

    def __init__(self, stores: Stores, reader: Reader, watch: Watch, excluded: Exclusion) -> None:
        self._stores = stores
        self.excluded = excluded
        self.unkept: frozenset[str] = frozenset()
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
            if entry.kind != "file" or not part.paths.holds(entry.path):  # of what is not meant the name is enough
                yield owned(entry)
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

    def files_at(self, part: Part, paths: Iterable[bytes]) -> Iterator[FileEntry]:
        """What there is at these paths only, of the whole scope; a problem is noted as by `files`."""
        tree, owned = self._stores.live_tree(part.scope, self.excluded), Owned(self._stores)
        with tree.descent() as live:
            for path in map(os.fsdecode, paths):
                self._watch.check()
                try:
                    entry = self._entry(live, path)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except (ChangedError, OSError) as error:
                    self.unknown_paths.add(path)
                    part.paths.leave.add(path)
                    log.info("live.unknown", path=path, why=str(error))
                    continue
                if entry is not None and not self.excluded.covers(path, is_folder=entry.kind == "directory"):
                    yield owned(entry)
        self._stores.seen.flush()

    def _entry(self, live: Descent, path: str) -> FileEntry | None:
        """One path; a file that has the stat of one that was read is not read again."""
        folder, name = live.parent(path)
        at_ns, stat = time.time_ns(), os.stat(name, dir_fd=folder, follow_symlinks=False)
        content = self._stores.seen.content(stat) if modes.S_ISREG(stat.st_mode) else None
        if content is not None:
            return with_content(entry_of_stat(path, stat), *content)
        entry = live.entry(path)
        if entry is not None and entry.kind == "file":
            self._stores.seen.remember(seen_key(stat), entry.sha256, entry.attributes, at_ns)
        return entry

    def collections(self, part: Part) -> dict[str, Shape]:
        found = self._stores.mongo.collections(part.scope)
        self.unknown_collections = {name for name, one in found.items() if is_left(one, part.scope)}
        self._infos = {name: one for name, one in found.items() if name not in self.unknown_collections}
        return dict(self._infos)

    def documents(self, name: str, part: Part) -> Source:
        info = self._infos[name]
        where = self._stores.mongo.where(part.owners, name, part.ids.get(name))
        blocks = self._reader.natural(name) if info.is_capped else self._reader.blocks(info.source, where)
        return Source(blocks, _no_document, _nothing)

    def record(self, name: str, part: Part, raw: bytes, offset: int) -> Record | None:  # noqa: ARG002  (as the other)
        return _record(raw, self._stores.mongo.project_of(name, raw), -1)

    def is_exact(self, part: Part) -> bool:  # noqa: ARG002  (the server has chosen)
        return True


class StoredInventory:
    """What a snapshot holds; paths are made relative to the asked-for scope where the snapshot is of the site."""

    def __init__(self, stores: Stores, snapshot: Snapshot, scope: Scope, watch: Watch) -> None:
        self._stores = stores
        self.snapshot = snapshot
        self._watch = watch
        self.excluded = stores.excluded(scope, snapshot.excluded.patterns)
        self.folder = stores.repository.folder(snapshot.scope, snapshot.name)
        self.unknown_paths = set(snapshot.unknown_in(scope))
        self.unknown_collections = set(snapshot.unknown_collections)
        # Of both, what a safety snapshot had no room for; of a collection as `collection <name>`.
        self.unkept = snapshot.unkept_in(scope) | {one for one in snapshot.unkept if one.startswith("collection ")}
        self._entries: dict[str, CollectionEntry] | None = None

    def prefix(self, scope: Scope) -> str:
        """What stands before the paths of `scope` in this snapshot."""
        same = self.snapshot.scope == scope
        return "" if same else f"project/{scope.project_id}"

    def files(self, part: Part) -> Iterator[FileEntry]:
        prefix, owned = self.prefix(part.scope), Owned(self._stores)
        for entry in self._stores.repository.manifest(self.snapshot):
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
            self._entries = self._stores.repository.collections(self.snapshot)
        return self._entries

    def collections(self, part: Part) -> dict[str, Shape]:
        own = set(self._stores.settings.scopes.project.collections)
        return {name: one for name, one in self.entries().items() if part.scope.is_site or name in own}

    def documents(self, name: str, part: Part) -> Source:  # noqa: ARG002  (a dump is read as a whole)
        """Those of a dump. Reading them raises `DamagedError`: `collection-missing`, `-bytes` or `-cut`."""
        entry = self.entries()[name]
        digest = hashlib.sha256()

        def check() -> None:
            if digest.hexdigest() != entry.sha256:
                raise self._damage("collection-bytes", f"has a dump of {name} that is not the one that was written.")

        return Source(self._blocks(entry, digest), partial(self._broken, name), check)

    def record(self, name: str, part: Part, raw: bytes, offset: int) -> Record | None:
        """Raises `DamagedError`: `foreign-record`, or `collection-bytes` where it is none."""
        try:
            owner = self._stores.mongo.project_of(name, raw)
            if not part.owners or owner in {scope.project_id for scope in part.owners}:
                return _record(raw, owner, offset)
        except NotBsonError as error:
            raise self._damage("collection-bytes", f"has a dump of {name} that is not BSON.") from error
        if not self.snapshot.scope.is_site:
            raise self._damage("foreign-record", f"has a record in {name} that belongs to another project.")
        return None

    def is_exact(self, part: Part) -> bool:
        """Where a snapshot is of the very scope, what lies in it belongs to it."""
        return not part.owners or part.owners == (self.snapshot.scope,)

    def all_raw(self, name: str) -> Iterator[bytes]:
        """All documents of a dump, in its order; DamagedError as from `documents`."""
        return (raw for _, raw in Documents(self.documents(name, Part(self.snapshot.scope, Slice(), ()))).each())

    def is_file_of(self, name: str, other: StoredInventory) -> bool:
        """Whether the dump of a collection is the same file in both snapshots, and by both manifests, too."""
        mine, theirs = self.entries().get(name), other.entries().get(name)
        if mine is None or theirs is None or (mine.sha256, mine.bytes) != (theirs.sha256, theirs.bytes):
            return False
        try:
            return (self.folder / "db" / mine.bson_path).samefile(other.folder / "db" / theirs.bson_path)
        except OSError:
            return False  # whoever reads it says why

    def _blocks(self, entry: CollectionEntry, digest: Any) -> Iterator[Block]:
        """The bytes of a dump in pieces; told to `digest`."""
        try:
            file = open(self.folder / "db" / entry.bson_path, "rb", buffering=0)  # noqa: PTH123, SIM115
        except OSError as error:
            raise self._damage("collection-missing", f"has lost the dump of {entry.name}.") from error
        with file:
            while chunk := file.read(BLOCK):
                digest.update(chunk)
                yield Block(chunk, [])

    def _broken(self, name: str, damage: str, what: str) -> DamagedError:
        return self._damage(damage, f"has a dump of {name} that {what}.")

    def _damage(self, damage: str, what: str) -> DamagedError:
        return DamagedError(
            damage,
            what,
            subject=self.snapshot.name,
            hint="Restore another snapshot; this one is left as it is, and nothing was changed.",
        )


def _no_document(_damage: str, what: str) -> Exception:
    return NotBsonError(f"what the server sent {what}")


def _nothing() -> None:
    """There is nothing to check."""


def _record(raw: bytes, owner: str | None, offset: int) -> Record:
    ident = id_bytes(raw)
    return Record(ident, hashlib.sha256(raw).digest(), len(raw), offset, id_text(ident), owner, title_of(raw))

"""What a project becomes under a new id: its records, staged on disk, and the paths of its files.

Rules:

- Two readings of the dumps: the first learns every `_id`, the second writes the records with the new ones. Both check
  the digests.
- The folder of an edition is named after its id, so it is renamed with it; so is what a link inside of the project says
  of it. What is in files is not looked into.

>>> with NewRecords(stores, order, snapshot, folder, watch) as records: records.learn((1, 4))   # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import DamagedError, NotFoundError, Problem
from ..model import FileEntry, Order, Progress, Scope, Snapshot
from ..slices import Slice
from ..stores.disk import require_room, translate
from ..stores.fresh_ids import highest_number
from ..stores.new_project import Stored
from ..stores.rekeying import NewIds, Rekeying
from .inventory import Part, StoredInventory, is_left, records_of
from .stores import Stores
from .watches import Watch


class Renaming:
    """The paths of a project's files, as they will be."""

    def __init__(self, stores: Stores, told: Rekeying, watch: Watch) -> None:
        self._stores = stores
        self._told = told
        self._watch = watch
        self._folder = stores.settings.scopes.project.editions.folder
        self._known: dict[str, str] = {}

    def files(self, order: Order, snapshot: Snapshot) -> Iterator[tuple[FileEntry, str]]:
        """What the snapshot holds of the project: as it shall be, and where it is stored."""
        stored = StoredInventory(self._stores, snapshot, order.scope, self._watch)
        prefix = stored.prefix(order.scope)
        for entry in stored.files(Part(order.scope, Slice(), (order.scope,))):
            source = f"{prefix}/{entry.path}" if prefix else entry.path
            target = self._target(entry) if entry.kind == "link" else ""
            yield replace(entry, path=self._path(entry.path), target=target), source

    def left(self, snapshot: Snapshot, scope: Scope) -> tuple[Problem, ...]:
        """What the snapshot could not keep."""
        paths = sorted(snapshot.unknown_in(scope))
        what = "is not in the new project: the snapshot could not read it."
        return tuple(Problem("left", what, path, "Look at it by hand.") for path in paths)

    def _path(self, path: str) -> str:
        first, _, rest = path.partition("/")
        name, slash, below = rest.partition("/")
        return f"{first}/{self._edition(name)}{slash}{below}" if first == self._folder and name else path

    def _edition(self, name: str) -> str:
        if name not in self._known:
            self._known = {name: self._told.edition(name) or name}  # the files of one come together
        return self._known[name]

    def _target(self, entry: FileEntry) -> str:
        """Where a link leads to, as long as that stays inside of the project."""
        if entry.target.startswith("/"):
            return entry.target
        here: list[str] = entry.path.split("/")[:-1]
        found, outside = [], False
        for part in entry.target.split("/"):
            if part == "..":
                outside = outside or not here
                here = here[:-1]
            elif part not in ("", "."):
                is_edition = here == [self._folder] and not outside
                here = [*here, part]
                found.append((self._told.edition(part) or part) if is_edition else part)
                continue
            found.append(part)
        return "/".join(found)


class NewRecords:
    """The records of a project under their new ids; use it with `with`.

    Parameters
    ----------
    folder: where they are staged.
    """

    def __init__(self, stores: Stores, order: Order, snapshot: Snapshot, folder: Path, watch: Watch) -> None:
        project, people = stores.settings.scopes.project, stores.settings.scopes.site.people
        self._stores, self._scope, self._folder, self._watch = stores, order.scope, folder, watch
        self._stored = StoredInventory(stores, snapshot, order.scope, watch)
        self._own = project.own_collection or "project"
        shapes = self._stored.collections(Part(order.scope, Slice(), (order.scope,)))
        mine = {name: one for name, one in shapes.items() if name in project.collections and name not in people}
        self._names = sorted(name for name, one in mine.items() if not is_left(one, order.scope) and one.kind != "view")
        unknown = (set(mine) - set(self._names)) | (self._stored.unknown_collections & set(project.collections))
        self.left = tuple(
            Problem("left", "is not in the new project: it comes back with the whole site only.", f"collection {name}")
            for name in sorted(unknown)
        )
        numbers = {name: highest_number(stores.mongo, name) for name in self._names}
        suffix = f" (copy of {snapshot.made_at:%Y-%m-%d %H:%M} UTC)"
        self._ids = NewIds(folder / "ids.sqlite")
        self.told = Rekeying(self._ids, project, order.new_id, numbers, suffix)
        self.renaming = Renaming(stores, self.told, watch)
        self.count = self.bytes = self._total = 0

    def __enter__(self) -> NewRecords:
        return self

    def __exit__(self, *_: object) -> None:
        self._ids.close()

    def learn(self, step: tuple[int, int]) -> None:
        """Choose all new ids.

        Raises
        ------
        NotFoundError: the snapshot has no record of the project. InvalidError: an id that no new one can be made of.
        """
        part, size = Part(self._scope, Slice(), (self._scope,)), 0
        for name in self._names:
            number = 0
            for number, record in enumerate(records_of(self._stored, name, part), 1):
                self.told.learn(name, record.id)
                self._watch.progress(
                    Progress("choosing ids", *step, self._total + number, 0, "records", f"{name}/{record.name}")
                )
                size += record.size
            if name == self._own and not number:
                raise NotFoundError(
                    "The snapshot has no record of this project, so no new one can be made of it.",
                    subject=self._scope.key,
                    hint="Take another snapshot; nothing was changed.",
                )
            self._total += number
        require_room(self._folder, size, "the new project")

    def write(self, step: tuple[int, int]) -> None:
        """Stage the records."""
        try:
            for name in self._names:
                with self._path(name).open("wb") as file:
                    for raw in self._raws(name):
                        new = self.told.record(name, raw)
                        file.write(new)
                        self.count, self.bytes = self.count + 1, self.bytes + len(new)
                        done = Progress("preparing records", *step, self.count, self._total, "records", name)
                        self._watch.progress(done)
        except OSError as error:
            raise translate(error, str(self._folder), "nothing was changed") from error

    def stored(self) -> Iterator[Stored]:
        """What is staged; the project's own record comes last."""
        for name in sorted(self._names, key=lambda one: one == self._own):
            with self._path(name).open("rb") as file:
                while head := file.read(4):
                    yield name, head + file.read(int.from_bytes(head, "little") - 4)

    def _path(self, name: str) -> Path:
        return self._folder / f"records-{self._names.index(name)}"

    def _raws(self, name: str) -> Iterator[bytes]:
        """The documents of the project, as they were learned of."""
        digest = hashlib.sha256()
        for raw in self._stored.all_raw(name):
            digest.update(raw)
            if self._stores.mongo.project_of(name, raw) == self._scope.project_id:
                yield raw
        if digest.hexdigest() != self._stored.entries()[name].sha256:
            raise DamagedError(
                "collection-bytes",
                f"has a dump of {name} that changed while it was read.",
                subject=self._stored.folder.name,
                hint="Take another snapshot; nothing was changed.",
            )

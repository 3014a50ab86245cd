"""Where a copy goes to: whether that may be used, what shall be there in the end, and what is.

Rules:

- Only a folder and a database that are not there yet are taken, and none of those that are the site's or ours.
- The ends of a comparison are told as those of a restore; files, records, or both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import InvalidError
from ..model import BUCKETS, FileEntry, Order
from ..patterns import Exclusion
from ..plan import Record
from ..stores.begun import Begun
from ..stores.documents import Source
from ..stores.other_database import MARK, OtherDatabase, require_name
from ..stores.reader import Reader
from .inventory import LiveInventory, Part, Shape, StoredInventory
from .stores import Stores
from .target import Target
from .watches import Watch


def require_place(stores: Stores, order: Order) -> None:
    """Refuse a folder or a database that a copy may not be put into.

    Raises
    ------
    InvalidError: it is there already, lies inside of what is ours, or cannot be made.
    """
    if order.into:
        folder = Path(order.into)
        where = folder.parent.resolve() / folder.name
        settings = stores.settings
        for name, own in (("working_dir", settings.working), ("data_dir", settings.data)):
            if own.resolve() in (where, *where.parents):
                raise refused(f"The folder lies inside of {name}.", "into", "Choose another one; nothing was made.")
        if not folder.is_absolute() or not folder.parent.is_dir():
            hint = "Name a new folder by its whole path, in one that is there; nothing was made."
            raise refused(f"There is no folder {folder.parent} to put it into.", "into", hint)
        if folder.exists() or folder.is_symlink():
            hint = "Choose another name, or remove that one first; nothing was made."
            raise refused(f"{folder} is there already; a copy never overwrites.", "into", hint)
    if order.database:
        require_name(order.database, frozenset({stores.mongo.name, stores.settings.control_database}))
        OtherDatabase(stores.mongo.client, order.database).require_new()


def refused(what: str, subject: str, hint: str) -> InvalidError:
    """The error for a place that cannot be used."""
    return InvalidError(what, subject=subject, hint=hint)


def begun_of(order: Order, job: str) -> Begun:
    """The note of what a copy is about to make."""
    if not order.into:
        return Begun(job, database=order.database)
    folder = Path(order.into)
    draft = folder.with_name(f".{folder.name[:60]}.keyframe-{job}")
    return Begun(job, str(folder), str(draft), str(order.scope.live_folder(draft)), order.database)


class Wanted(StoredInventory):
    """What of a snapshot goes into a copy: its files, its records, or both."""

    def __init__(self, stores: Stores, target: Target, watch: Watch, begun: Begun) -> None:
        super().__init__(stores, target.snapshot, target.scope, watch)
        self._with_files, self._with_records = bool(begun.draft), bool(begun.database)
        if not self._with_files:
            self.unknown_paths = set()
        if not self._with_records:
            self.unknown_collections = set()

    def files(self, part: Part) -> Iterator[FileEntry]:
        return super().files(part) if self._with_files else iter(())

    def collections(self, part: Part) -> dict[str, Shape]:
        return super().collections(part) if self._with_records else {}


class Copied(LiveInventory):
    """What is in a copy."""

    def __init__(self, stores: Stores, reader: Reader, watch: Watch, excluded: Exclusion, begun: Begun) -> None:
        super().__init__(stores, reader, watch, excluded)
        self._with_files, self._with_records = bool(begun.draft), bool(begun.database)

    def files(self, part: Part) -> Iterator[FileEntry]:
        return super().files(part) if self._with_files else iter(())

    def collections(self, part: Part) -> dict[str, Shape]:
        if not self._with_records:
            return {}
        found = super().collections(part)
        return {name: one for name, one in found.items() if name not in (MARK, f"{BUCKETS}{MARK}")}


class Nothing:
    """An empty place."""

    def __init__(self, excluded: Exclusion) -> None:
        self.excluded = excluded
        self.unknown_paths: set[str] = set()
        self.unknown_collections: set[str] = set()
        self.unkept: frozenset[str] = frozenset()

    def files(self, part: Part) -> Iterator[FileEntry]:  # noqa: ARG002  (there are none)
        return iter(())

    def collections(self, part: Part) -> dict[str, Shape]:  # noqa: ARG002
        return {}

    def documents(self, name: str, part: Part) -> Source:  # noqa: ARG002
        return Source((), _never_broken, _nothing_to_check)

    def record(self, name: str, part: Part, raw: bytes, offset: int) -> Record | None:  # noqa: ARG002
        return None

    def is_exact(self, part: Part) -> bool:  # noqa: ARG002
        return True


def _never_broken(_damage: str, what: str) -> Exception:
    return RuntimeError(f"a document of an empty place {what}")


def _nothing_to_check() -> None:
    """There was nothing to be read."""

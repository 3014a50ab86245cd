"""What a selection names, and which of it was come across: a name that is nowhere is a mistake of who typed it.

Rules:

- Found is what is in the snapshot or live, or what one of both cannot speak for.
- Whether a collection exists that a project does not have is never told: what is not meant is not there.

>>> sought.require(draft.part.paths)        # doctest: +SKIP
Traceback (most recent call last):
keyframe.errors.NotFoundError: There is no such path, in the snapshot or now.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NoReturn

from ..errors import NotFoundError, no_such_collection
from ..model import FileEntry, Selection
from ..plan import Record
from ..settings import ProjectSettings
from ..slices import Slice
from ..stores.idents import ident_of, key_of

_NAMED = 5


class Sought:
    """Of one comparison."""

    def __init__(self, selection: Selection, ids: Mapping[str, frozenset[bytes]], project: ProjectSettings) -> None:
        self._selection = selection
        self._folder = project.editions.folder
        self._edition_collection = project.editions.collection
        self.keys = {name: frozenset(map(key_of, idents)) for name, idents in ids.items()}
        self.owners: dict[str, str] = {}  # of the editions come across, as far as they have one
        self._editions: set[str] = set()
        self._records: set[tuple[str, Hashable]] = set()
        self._paths: set[str] = set()
        self._collections: set[str] = set()
        self._unknown: set[str] = set()

    def chooses(self, collection: str, record: Record) -> bool:
        """Whether a record of a collection is meant; then it is found."""
        is_edition = collection == self._edition_collection
        if is_edition and self._selection.editions and record.name not in self._selection.editions:
            return False
        keys = self.keys.get(collection)
        if keys is not None:
            key = key_of(record.id)
            if key not in keys:
                return False
            self._records.add((collection, key))
        if is_edition and (self._selection.editions or self._selection.is_divided):
            self._editions.add(record.name)
            if record.owner is not None:
                self.owners[record.name] = record.owner
        return True

    def takes_all(self, collection: str) -> bool:
        """Whether all records of a collection are meant, and none of them has to be come across."""
        is_noted = bool(self._selection.editions) or self._selection.is_divided
        return collection not in self.keys and not (collection == self._edition_collection and is_noted)

    def files(self, entries: Iterator[FileEntry], part: Slice) -> Iterator[FileEntry]:
        """The same entries; what is named among them is found."""
        if not part.prefixes:
            return entries
        return self._noting(entries, frozenset(part.prefixes))

    def _noting(self, entries: Iterator[FileEntry], names: frozenset[str]) -> Iterator[FileEntry]:
        for entry in entries:
            if entry.path in names:
                self._paths.add(entry.path)
            yield entry

    def collections(self, found: set[str], unknown: set[str]) -> None:
        """What of the collections that are meant there is, and which of them one side does not know."""
        self._collections |= found | unknown
        self._unknown |= unknown

    def require(self, part: Slice) -> None:
        """Raise `NotFoundError` where something that is named was not come across."""
        chosen = self._selection
        if self._edition_collection not in self._unknown:
            self._miss("edition", [one for one in chosen.editions if not self._is_edition(one, part)])
        self._miss("path", [one for one in chosen.paths if one != "." and not self._is_path(one, part)])
        for name in chosen.named_collections:
            if name not in self._collections:
                raise no_such_collection(name)
        self._miss("record", [f"{name}/{text}" for name, text in chosen.records if not self._is_record(name, text)])

    def _is_edition(self, edition: str, part: Slice) -> bool:
        return edition in self._editions or self._is_path(f"{self._folder}/{edition}", part)

    def _is_path(self, path: str, part: Slice) -> bool:
        """Whether something was come across there, as far as the rest of the selection lets it count."""
        meant = [one for one in part.prefixes if is_below(one, path)]
        return any(one in self._paths or part.leaves(one) for one in meant)

    def _is_record(self, collection: str, text: str) -> bool:
        if collection in self._unknown or collection not in self.keys:
            return True
        return (collection, key_of(ident_of(text))) in self._records

    @staticmethod
    def _miss(what: str, names: list[str]) -> None:
        if names:
            _raise_missing(what, names)


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    return path == folder or path.startswith(f"{folder}/")


def _raise_missing(what: str, names: list[str]) -> NoReturn:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise NotFoundError(
        f"There is no such {what}, in the snapshot or now.",
        subject=", ".join(names[:_NAMED]) + more,
        hint=f"Look at each {what} in the snapshot; nothing was changed.",
    )

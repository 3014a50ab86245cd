"""What a selection names, and which of it was come across: a name that is nowhere is a mistake of who typed it.

Rules:

- Found is what is in the snapshot or live, or what one of both cannot speak for.
- Names of which one leaves nothing of the other are a mistake too, and both are named.
- Whether a collection exists that a project does not have is never told: what is not meant is not there.

>>> sought.require(draft.part.paths)        # doctest: +SKIP
Traceback (most recent call last):
keyframe.errors.NotFoundError: There is no such path, in the snapshot or now.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import NoReturn

from ..errors import NotFoundError, no_such_collection
from ..model import FileEntry, Selection, record_name
from ..plan import Record
from ..scope_settings import ProjectSettings
from ..slices import Slice
from ..stores.idents import ident_of, key_of
from ..stores.raw import id_text

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
        self._require_meant(part)
        kind = "" if chosen.has_files and chosen.has_records else "files" if chosen.has_files else "records"
        if self._edition_collection not in self._unknown:
            self._miss("edition", [one for one in chosen.editions if not self._is_edition(one, part)], kind)
        self._miss("path", [one for one in chosen.paths if one != "." and not self._is_path(one, part)])
        for name in chosen.named_collections:
            if name not in self._collections:
                raise no_such_collection(name)
        self._miss("record", [record_name(*one) for one in chosen.records if not self._is_record(*one)])

    def _require_meant(self, part: Slice) -> None:
        """Raise it where one part of the selection leaves nothing of another; that depends on no content."""
        chosen = self._selection
        named = [("path", one) for one in chosen.paths]
        named += [("collection", one) for one in chosen.collections]
        named += [("record", one) for one in chosen.record_names]
        _exclude("edition", [one for one in chosen.editions if not self._means_edition(one, part)], named)
        around = [("project", one) for one in chosen.projects] + [("edition", one) for one in chosen.editions]
        if chosen.has_files and around:
            _exclude("path", [one for one in chosen.paths if one != "." and not _meant(one, part)], around)
        if chosen.editions:
            others = [one for one in chosen.collections if one != self._edition_collection]
            _exclude("collection", others, around)
            texts = [record_name(*one) for one in chosen.records if not self._is_of_edition(*one)]
            _exclude("record", texts, around)

    def _means_edition(self, edition: str, part: Slice) -> bool:
        """Whether the rest of the selection leaves any of an edition: of its files, or its record."""
        chosen, name = self._selection, self._edition_collection
        has_files = chosen.has_files and not part.is_nothing
        if has_files and (not part.prefixes or _meant(f"{self._folder}/{edition}", part)):
            return True
        if not chosen.has_records:
            return False
        if not chosen.named_collections or name in chosen.collections:
            return True
        return any(one == name and id_text(ident_of(text)) == edition for one, text in chosen.records)

    def _is_of_edition(self, collection: str, text: str) -> bool:
        return collection == self._edition_collection and id_text(ident_of(text)) in self._selection.editions

    def _is_edition(self, edition: str, part: Slice) -> bool:
        return edition in self._editions or self._is_path(f"{self._folder}/{edition}", part)

    def _is_path(self, path: str, part: Slice) -> bool:
        """Whether something was come across there, as far as the rest of the selection lets it count."""
        return any(one in self._paths or part.leaves(one) for one in _meant(path, part))

    def _is_record(self, collection: str, text: str) -> bool:
        if collection in self._unknown or collection not in self.keys:
            return True
        return (collection, key_of(ident_of(text))) in self._records

    @staticmethod
    def _miss(what: str, names: list[str], among: str = "") -> None:
        if names:
            _raise_missing(what, names, among)


def _meant(path: str, part: Slice) -> list[str]:
    """What of a path the rest of the selection leaves."""
    return [] if part.is_nothing else [one for one in part.prefixes if is_below(one, path)]


def is_below(path: str, folder: str) -> bool:
    """Whether a path is a folder or lies in it."""
    return path == folder or path.startswith(f"{folder}/")


def _exclude(what: str, names: list[str], others: list[tuple[str, str]]) -> None:
    """Raise `NotFoundError` for names of which others leave nothing."""
    if names:
        raise NotFoundError(
            f"is excluded by what else is selected: {_listed([f'{kind} {one}' for kind, one in others])}.",
            subject=f"{what} {_listed(names)}",
            hint="Only what is in both comes back. Select one of them by itself; nothing was changed.",
        )


def _raise_missing(what: str, names: list[str], among: str) -> NoReturn:
    raise NotFoundError(
        f"There is no such {what}{f' among the {among}' if among else ''}, in the snapshot or now.",
        subject=_listed(names),
        hint=f"Look at each {what} in the snapshot; nothing was changed.",
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more

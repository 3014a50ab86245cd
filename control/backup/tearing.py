"""What a selection tears apart: the files of an edition or project without its record, or the other way round.

Rules:

- Only what really differs and stays as it is counts: an edition whose record is the same in the snapshot is whole with
  its files alone.
- Looked for where a plan is told to a person, and only for selections that can tear.

>>> [one.code for one in tearing.problems(want, have)]      # doctest: +SKIP
['torn']
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..errors import Problem
from ..model import PlanItem
from ..plan import file_items
from ..slices import Slice
from ..stores.files import path_key
from .dumped import name_of
from .inventory import Inventory, Part, records_of
from .sparing import Sparing
from .stores import Stores
from .target import PlanDraft, Target

_FILES = ("file", "link", "directory")
_NAMED = 5
_HINT = "Select both, or look at it afterwards: they may not fit each other."

Owner = tuple[str, str]  # edition or project, and its id


class Tearing:
    """Of one plan: `note` each of its items, then ask for the `problems`."""

    def __init__(self, stores: Stores, target: Target, draft: PlanDraft) -> None:
        self._stores = stores
        self._target = target
        self._draft = draft
        self._project = stores.settings.scopes.project
        self._by_files: set[Owner] = set()
        self._by_record: set[Owner] = set()
        self._titles: dict[Owner, str] = {}

    def note(self, item: PlanItem) -> None:
        """To whom an item of the plan belongs."""
        if item.kind in _FILES and self._draft.part.paths.holds(item.name):
            owner = self._of_path(item.name)
            if owner is not None:
                self._by_files.add(owner)
        elif item.kind == "record":
            collection = item.detail["collection"]
            ident = name_of(item)
            for kind, name in self._collections().items():
                if collection == name:
                    self._by_record.add((kind, ident))
                    self._titles[kind, ident] = item.title

    def problems(self, want: Inventory, have: Inventory) -> Iterator[Problem]:
        """What comes back in part only, by name; reads both inventories once more."""
        without_record = self._records(want, have) & self._by_files - self._by_record
        if without_record:
            what = "comes back in part: its files change, its record differs and stays as it is."
            yield Problem("torn", what, self._names(without_record), _HINT)
        without_files = self._files(want, have)
        if without_files:
            what = "comes back in part: its record changes, other files of it differ and stay as they are."
            yield Problem("torn", what, self._names(without_files), _HINT)

    def _collections(self) -> dict[str, str]:
        """The collections with the records of projects and editions."""
        known = {"project": self._project.own_collection or "", "edition": self._project.editions.collection}
        return {kind: name for kind, name in known.items() if name in self._project.collections}

    def _of_path(self, path: str) -> Owner | None:
        project_id = self._target.scope.project_id
        if project_id is None:
            top, _, rest = path.partition("/")
            project_id, _, path = rest.partition("/")
            if top != "project" or not project_id:
                return None
        folder, _, rest = path.partition("/")
        edition = rest.partition("/")[0]
        return ("edition", edition) if folder == self._project.editions.folder and edition else ("project", project_id)

    def _records(self, want: Inventory, have: Inventory) -> set[Owner]:
        """Of those whose files change, the ones whose records differ."""
        found: set[Owner] = set()
        part = replace(self._draft.part, ids={})
        unknown = want.unknown_collections | have.unknown_collections
        shapes = want.collections(part), have.collections(part)  # a live inventory learns anew what it does not know
        have.unknown_collections |= unknown
        for kind, name in self._collections().items():
            asked = {ident for of, ident in self._by_files - self._by_record if of == kind}
            if not asked or name in have.unknown_collections:
                continue
            left, right = (
                {record.name: record for record in records_of(one, name, part) if record.name in asked}
                if name in shape and shape[name].kind == "collection"
                else {}
                for one, shape in zip((want, have), shapes, strict=True)
            )
            for ident in left.keys() | right.keys():
                one, other = left.get(ident), right.get(ident)
                if one is None or other is None or one.digest != other.digest:
                    found.add((kind, ident))
                    self._titles[kind, ident] = (one or right[ident]).title
        return found

    def _files(self, want: Inventory, have: Inventory) -> set[Owner]:
        """Of those whose records change, the ones with files that differ and are not meant."""
        meant, found = self._draft.part.paths, set[Owner]()
        prefixes = tuple(sorted(filter(None, map(self._folder_of, self._by_record))))
        if not prefixes:
            return found
        sparing = Sparing(want.excluded | have.excluded, self._stores.live_tree(self._target.scope))
        whole = "." in prefixes
        paths = Slice(() if whole else prefixes, set(meant.leave), sparing.stays, sparing.blocks)
        part = Part(self._target.scope, paths, self._target.owners)
        files, there = want.files(part), have.files(part)
        if want.excluded.patterns != have.excluded.patterns:
            files, there = sparing.wanted(files, paths), sparing.there(there)
        for item in file_items(files, there, paths, path_key, lambda *_: None):
            owner = self._of_path(item.name) if not meant.holds(item.name) else None
            if owner in self._by_record and owner is not None:
                found.add(owner)
        return found

    def _folder_of(self, owner: Owner) -> str:
        """Where the files of an edition or project lie; empty: nobody knows."""
        kind, ident = owner
        if kind == "project":
            return f"project/{ident}" if self._target.scope.is_site else "."
        folder = f"{self._project.editions.folder}/{ident}"
        if not self._target.scope.is_site:
            return folder
        project_id = self._draft.sought.owners.get(ident)
        return f"project/{project_id}/{folder}" if project_id else ""

    def _names(self, owners: set[Owner]) -> str:
        """`edition First (1)`, up to five of them."""
        names = []
        for kind, ident in sorted(owners):
            title = self._titles.get((kind, ident), "")
            names.append(f"{kind} {title} ({ident})" if title and title != ident else f"{kind} {ident}")
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        return ", ".join(names[:_NAMED]) + more

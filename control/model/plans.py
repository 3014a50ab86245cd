"""What a restore would do: Plan, its items and counts, the fields in which an item differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from ..errors import Problem, shown
from .scopes import Scope
from .selections import Selection


class Change(StrEnum):
    """What a restore does to one item."""

    CREATE = "create"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Counts:
    """How many items one kind of change has: files (and links), records; `other`: folders, collections, indexes.

    `kinds` says what the others are: kind and number, sorted; of what is unchanged nothing is said.
    """

    files: int = 0
    records: int = 0
    bytes: int = 0
    other: int = 0
    kinds: tuple[tuple[str, int], ...] = ()

    def added_to(self, other: Counts) -> Counts:
        kinds = Counter(dict(self.kinds)) + Counter(dict(other.kinds))
        return Counts(
            self.files + other.files,
            self.records + other.records,
            self.bytes + other.bytes,
            self.other + other.other,
            tuple(sorted(kinds.items())),
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "records": self.records,
            "bytes": self.bytes,
            "other": self.other,
            "kinds": dict(self.kinds),
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Counts:
        kinds = tuple(sorted(doc.get("kinds", {}).items()))
        return cls(doc["files"], doc["records"], doc["bytes"], doc["other"], kinds)

    @property
    def items(self) -> int:
        return self.files + self.records + self.other


class Absent(Enum):
    """No value at all, which is another thing than null."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Field:
    """One field that differs: `old` is what is there now, `new` what the restore brings, as canonical extended JSON.

    `path` reads `metadata.authors[2].name`; a side without this field is `ABSENT`. `is_cut`: a long value is given by
    its beginning, as text.
    """

    path: str
    old: Any
    new: Any
    is_cut: bool = False

    def as_dict(self) -> dict[str, Any]:
        sides = {key: value for key, value in (("old", self.old), ("new", self.new)) if value is not ABSENT}
        return {"path": shown(self.path), **sides, **({"cut": True} if self.is_cut else {})}


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields in which an item differs, the first of them by name; `why`: why none can be named."""

    named: tuple[Field, ...] = ()
    number: int = 0
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {"fields": [one.as_dict() for one in self.named], "fields_number": self.number, "fields_why": self.why}


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One change that a restore makes.

    `kind` is file, directory, link, record, collection, options or index; `name` is the path, or for records
    `<collection>/<id>`, as one may give it back; `title` is the human name of a record, if it has one. `detail` is what
    the restore needs to do it (where the bytes lie, what is there now); it is part of the plan's digest and not shown.
    `fields` is told on demand, of what is replaced; `record` are collection and id of a record as a selection has them.
    Both are in no digest.
    """

    change: Change
    kind: str
    name: str
    bytes: int
    title: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    fields: Fields | None = None
    record: tuple[str, str] | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "change": self.change.value,
            "kind": self.kind,
            "name": shown(self.name),
            "bytes": self.bytes,
            "title": shown(self.title),
            **({"record": dict(zip(("collection", "id"), self.record, strict=True))} if self.record else {}),
            **(self.fields.as_dict() if self.fields is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """The header of a plan: what restoring `selection` of a snapshot would do to `target`; its items are on disk.

    `source` is the scope whose snapshot is read: the site when a project is restored out of a site snapshot.
    `only_intact`: what is damaged in the snapshot is left as it is.
    """

    target: Scope
    source: Scope
    snapshot: str
    selection: Selection
    people: bool
    only_intact: bool
    creates: Counts
    replaces: Counts
    deletes: Counts
    unchanged: Counts
    bytes_needed: int
    warnings: tuple[Problem, ...]
    digest: str

    @property
    def is_empty(self) -> bool:
        return not (self.creates.items or self.replaces.items or self.deletes.items)

    @property
    def conflicts(self) -> tuple[Problem, ...]:
        """What the restore leaves as it is, since it belongs to something outside of it."""
        return tuple(one for one in self.warnings if one.code == "conflict")

    def as_dict(self) -> dict[str, Any]:
        """The shape of REST and `--json`, and of the plan's header on disk."""
        return {
            "digest": self.digest,
            "scope": self.target.as_dict(),
            "source": self.source.as_dict(),
            "snapshot": self.snapshot,
            "selection": self.selection.as_dict(),
            "people": self.people,
            "only_intact": self.only_intact,
            "creates": self.creates.as_dict(),
            "replaces": self.replaces.as_dict(),
            "deletes": self.deletes.as_dict(),
            "unchanged": self.unchanged.as_dict(),
            "bytes_needed": self.bytes_needed,
            "warnings": [warning.as_dict() for warning in self.warnings],
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Plan:
        return cls(
            target=Scope(doc["scope"]["project_id"]),
            source=Scope(doc["source"]["project_id"]),
            snapshot=doc["snapshot"],
            selection=Selection.from_dict(doc["selection"]),
            people=doc["people"],
            only_intact=doc.get("only_intact", False),
            creates=Counts.from_dict(doc["creates"]),
            replaces=Counts.from_dict(doc["replaces"]),
            deletes=Counts.from_dict(doc["deletes"]),
            unchanged=Counts.from_dict(doc["unchanged"]),
            bytes_needed=doc["bytes_needed"],
            warnings=tuple(Problem.from_dict(warning) for warning in doc["warnings"]),
            digest=doc["digest"],
        )


@dataclass(frozen=True, slots=True)
class PlanChange:
    """An item that two plans see otherwise: what the first did with it, and what the second does; None: nothing.

    Where both do the same, it would be done with or to something else by now.
    """

    kind: str
    name: str
    title: str
    was: Change | None
    now: Change | None

    def as_dict(self) -> dict[str, str | None]:
        return {
            "kind": self.kind,
            "name": shown(self.name),
            "title": shown(self.title),
            "was": self.was.value if self.was else None,
            "is": self.now.value if self.now else None,
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> PlanChange:
        was, now = (Change(doc[one]) if doc[one] else None for one in ("was", "is"))
        return cls(doc["kind"], doc["name"], doc["title"], was, now)


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """What became different between two plans: the first items by name, and how many there are."""

    named: tuple[PlanChange, ...] = ()
    number: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {"changed": [one.as_dict() for one in self.named], "changed_number": self.number}

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> PlanChanges:
        """Out of a report; one of another kind has none."""
        return cls(tuple(PlanChange.from_dict(one) for one in doc.get("changed", ())), doc.get("changed_number", 0))

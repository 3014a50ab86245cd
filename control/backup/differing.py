"""What more is told of a plan's items, a page at a time: how a selection names a record, which fields differ.

Rules:

- Old and new bytes count only where they are those of the plan, by their digests: kept beside it, in the database as it
  is now, and in the dump of its snapshot.
- What cannot be told has a reason, and is replaced all the same.

>>> Differing(stores).told(plan, 0, items)[0].fields        # doctest: +SKIP
Fields(named=(Field(path='title', old='A', new='B', is_cut=False),), number=1, why='')
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ..errors import KeyframeError, shown
from ..fields import fields_of, traits_of
from ..model import BUCKETS, Change, Fields, Plan, PlanItem
from ..stores.idents import canonical_text
from ..stores.json_lines import lines_of
from ..stores.lookups import found
from ..stores.plan_bytes import LARGEST
from .dumped import Dumped, id_of
from .stores import Stores
from .structure import whole_options

_TOO_LARGE = Fields(why=f"It is too large to show its fields: above {LARGEST // 1_000_000} MB.")
_GONE = Fields(why="What was there is no longer known.")
_UNKNOWN = Fields(why="The snapshot's copy cannot be read.")
_MUCH = Fields(why="There is too much on this page to show its fields: ask for fewer items.")
_PAGE = 16_000_000  # bytes of records that are compared for one page
_ORDER = "Only the order of its fields, or what JSON cannot tell."
_FILES = ("file", "link", "directory")


class Differing:
    """Tells the fields of items; reads only."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def told(self, plan: Plan, start: int, items: Sequence[PlanItem], *, fields: bool = True) -> tuple[PlanItem, ...]:
        """The same items; records with collection and id as a selection has them.

        Parameters
        ----------
        start: the number of the first of them in the plan. fields: of what is replaced, tell those that differ.
        """
        items = tuple(map(_with_record, items))
        return self._with_fields(plan, start, items) if fields else items

    def _with_fields(self, plan: Plan, start: int, items: Sequence[PlanItem]) -> tuple[PlanItem, ...]:
        kept = self._stores.plans.before(plan.digest)
        folders = self._stores.repository.folders(plan.source, plan.snapshot)
        told: list[PlanItem] = []
        size = 0
        with Dumped(folders[0] if folders else self._stores.repository.root) as dumped:  # its dumps are gone then
            for number, item in enumerate(items, start):
                if item.change is not Change.REPLACE:
                    told.append(item)
                    continue
                is_record = item.kind == "record"
                old = self._old(item, kept.get(number)) if is_record and size < _PAGE else None
                size += (len(old or b"") + item.detail["size"]) if is_record else 0
                told.append(replace(item, fields=self._fields(item, old, dumped) if size < _PAGE else _MUCH))
        return tuple(told)

    def _fields(self, item: PlanItem, old: bytes | None, dumped: Dumped) -> Fields:
        if item.kind in _FILES:
            return traits_of(_traits(item.detail["have"]), _traits(item.detail["want"]))
        if item.kind != "record":
            return _of_structure(item)
        if item.detail["size"] > LARGEST:
            return _TOO_LARGE
        if old is None:
            return _GONE
        if len(old) > LARGEST:
            return _TOO_LARGE
        try:
            new = dumped.raw(item)
        except OSError:
            return _UNKNOWN
        if not _is(new, item.detail["want"]):
            return _UNKNOWN
        return _named(fields_of(_json(old), _json(new)))

    def _old(self, item: PlanItem, kept: bytes | None) -> bytes | None:
        """A record as it was: what was kept, or the one of now if it is the same."""
        if _is(kept, item.detail["have"]):
            return kept
        try:
            live = found(self._stores.mongo, item.detail["collection"], [id_of(item)]).get(id_of(item))
        except KeyframeError:  # a plan can be looked at without a database
            return None
        return live if _is(live, item.detail["have"]) else None


def _with_record(item: PlanItem) -> PlanItem:
    """Of a time series no single record can be selected."""
    if item.kind != "record" or item.detail["collection"].startswith(BUCKETS):
        return item
    return replace(item, record=(item.detail["collection"], canonical_text(id_of(item))))


def _is(raw: bytes | None, digest: str) -> bool:
    return raw is not None and hashlib.sha256(raw).hexdigest() == digest


def _of_structure(item: PlanItem) -> Fields:
    """Of a collection, its options or an index."""
    was, will = item.detail.get("was"), item.detail.get("index") or item.detail.get("options")
    if not was or not will:
        return _GONE
    if item.kind != "index":
        was, will = (json.dumps(whole_options(json.loads(one))) for one in (was, will))
    return _named(fields_of(was, will))


def _named(fields: Fields) -> Fields:
    return fields if fields.number else replace(fields, why=_ORDER)


def _json(raw: bytes) -> str:
    return lines_of(raw).text.decode("utf-8", "replace")


def _traits(entry: list[Any]) -> dict[str, Any]:
    """What can differ between two paths, as people know it."""
    kind, size, mode, uid, gid, mtime_ns, sha256, target, attributes = entry
    told: dict[str, Any] = {"kind": kind}
    if kind == "file":
        told |= {"size": size, "sha256": sha256}
    if kind == "link":
        told |= {"target": shown(os.fsdecode(bytes.fromhex(target)))}
    else:
        told |= {"mode": f"{mode:04o}"}
    if kind != "directory":
        told |= {"modified": _moment(mtime_ns)}
    told |= {"owner": f"{uid}:{gid}"}
    return told | {f"attribute {_text(name)}": _text(value) for name, value in attributes}


def _moment(at_ns: int) -> str:
    seconds, rest = divmod(at_ns, 1_000_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    except (ValueError, OverflowError, OSError):
        return f"{at_ns} ns"


def _text(value: str) -> str:
    """The bytes of these hex digits as text, or, where they are none, the digits."""
    try:
        text = bytes.fromhex(value).decode("utf-8")
    except UnicodeDecodeError:
        return value
    return text if text.isprintable() else value

"""What has to happen to collections, their options and indexes; and to those that come back as a whole.

Rules:

- What cannot be changed in place is dropped and made again, with all of its records.
- A large collection that is not there any more comes back as a whole: no record of it can be in anybody's way.
- Records of capped collections cannot be written one by one (their order is part of them, and the server refuses it in
  transactions), nor those of `system.js`: such a collection is as it shall be, or all of it is written anew.

>>> [item.change for item in structure_items("log", None, live)]      # doctest: +SKIP
[<Change.DELETE: 'delete'>]
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from ..model import SYSTEM_JS, Change, Counts, PlanItem
from ..stores.documents import Documents, Source
from ..stores.soundness import Soundness, unsound
from .inventory import Shape

_MODIFIABLE = {"validator", "validationLevel", "validationAction", "viewOn", "pipeline"}


@dataclass(frozen=True, slots=True)
class Content:
    """All records of a collection in their order: how many, how large, and a digest of them."""

    records: int
    bytes: int
    digest: str

    @classmethod
    def of(
        cls,
        source: Source,
        check: Callable[[], None] = lambda: None,
        *,
        most: int | None = None,
        soundness: Soundness | None = None,
    ) -> Content:
        """Of all documents of a source, or of the first ones; errors as from that.

        Parameters
        ----------
        check: called now and then. soundness: looks at each document; what it finds is damage.
        """
        count = size = 0
        digest = hashlib.sha256()
        for run in Documents(source).stretches():
            check()
            ends = run.ends if most is None else run.ends[: most - count]
            if not ends:
                break
            digest.update(memoryview(run.raw)[run.start : ends[-1]])
            count, size = count + len(ends), size + ends[-1] - run.start
            if soundness is not None:
                soundness.add(run)
        if soundness is not None and soundness.fault:  # told only now: the bytes are those that the manifest names
            raise unsound(source, soundness.fault)
        return cls(count, size, digest.hexdigest())

    def added_to(self, counts: Counts) -> Counts:
        return replace(counts, records=counts.records + self.records, bytes=counts.bytes + self.bytes)

    @property
    def title(self) -> str:
        return f"{self.records} records, as a whole"


def is_whole(name: str, want: Shape | None, have: Shape | None) -> bool:
    """Whether all of a collection comes back, or nothing of it."""
    shape = want or have
    return name == SYSTEM_JS or (shape is not None and shape.is_capped)


def whole_items(
    name: str, want: Shape | None, have: Shape | None, wanted: Content, there: Content, *, is_begun: bool = False
) -> Iterator[PlanItem]:
    """What has to happen to a collection that comes back as a whole; `is_begun`: its beginning is there."""
    if want is None:
        detail: dict[str, Any] = {"have": there.digest, "records": there.records}
        yield PlanItem(Change.DELETE, "collection", name, 0, there.title, detail)
        return
    if have is not None and wanted == there and _is_as(want, have):
        yield from structure_items(name, want, have)
        return
    detail = {
        "options": want.options,
        "whole": True,
        "want": wanted.digest,
        "have": there.digest,
        "records": wanted.records,
        **({"begun": True} if is_begun else {}),
    }
    change = Change.CREATE if have is None else Change.REPLACE
    yield PlanItem(change, "collection", name, wanted.bytes, wanted.title, detail)
    yield from _index_items(name, want, None)


def structure_items(name: str, want: Shape | None, have: Shape | None) -> Iterator[PlanItem]:
    """What has to happen to a collection, its options and indexes."""
    if want is None:
        is_gone = {"view": True} if have is not None and have.kind == "view" else {}
        yield PlanItem(Change.DELETE, "collection", name, 0, detail=is_gone)
        return
    detail = {"options": want.options}
    if have is None:
        yield PlanItem(Change.CREATE, "collection", name, 0, detail=detail)
    elif not _is_as(want, have):
        yield PlanItem(Change.REPLACE, "collection", name, 0, detail={**detail, "was": _plain(have.options)})
        have = None
    elif _options(want) != _options(have):
        yield PlanItem(Change.REPLACE, "options", name, 0, detail={**detail, "was": _plain(have.options)})
    yield from _index_items(name, want, have)


def _index_items(name: str, want: Shape, have: Shape | None) -> Iterator[PlanItem]:
    texts = _by_name(want)
    wanted, there = _compared(texts), {} if have is None else _compared(_by_name(have))
    for index in sorted(set(wanted) | set(there)):
        if wanted.get(index) == there.get(index) or index == "_id_":
            continue
        change = Change.DELETE if index not in wanted else Change.CREATE if index not in there else Change.REPLACE
        detail = {"collection": name, "index": texts.get(index), "name": index, "was": there.get(index)}
        yield PlanItem(change, "index", f"{name}/{index}", 0, detail=detail)


def is_view(options: str) -> bool:
    """Whether these are the options of a view."""
    return "viewOn" in json.loads(options)


def _is_as(want: Shape, have: Shape) -> bool:
    """Whether the one can be made of the other in place."""
    return (want.kind, _fixed(want)) == (have.kind, _fixed(have))


def _loads(text: str) -> Any:
    """Options or indexes; of a name that stands twice in one object (a validator may say so) nothing is lost."""

    def object_of(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        return found if len(found) == len(pairs) else {"": pairs}

    return json.loads(text, object_pairs_hook=object_of)


def _fixed(shape: Shape) -> dict[str, object]:
    return {key: value for key, value in _loads(shape.options).items() if key not in _MODIFIABLE}


def _options(shape: Shape) -> dict[str, str]:
    """All options as texts, with what the server means where validation was never set: it cannot be unset again."""
    return {key: json.dumps(value) for key, value in whole_options(_loads(shape.options)).items()}


def whole_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The same with what is meant where validation was never set.

    Once a collection was given a validator by `collMod`, its options name level and action for ever. Tried with MongoDB
    6.0: an empty validator goes from the options, but the other two stay, or are put there, whatever they are set to,
    null and an empty text too; only making the collection anew, with all of its records, would take them away.
    """
    unset = {} if "viewOn" in options else {"validator": {}, "validationLevel": "strict", "validationAction": "error"}
    return {**unset, **options}


def _by_name(shape: Shape) -> dict[str, str]:
    """The indexes as they stand there, but that of a clustered collection, which is one of its options."""
    texts = [bytes(one).decode() for one in msgspec.json.decode(shape.indexes, type=list[msgspec.Raw])]
    found = ((json.loads(text), text) for text in texts)
    return {index["name"]: text for index, text in found if not index.get("clustered")}


def _plain(text: str) -> str:
    """The same text for the same options, however they are written."""
    return json.dumps(_loads(text))


def _compared(texts: dict[str, str]) -> dict[str, str]:
    """The same, however they are written."""
    return {name: _plain(text) for name, text in texts.items()}

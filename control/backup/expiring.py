"""Records that the server would delete again at once: they are older than a TTL index keeps them.

Source: MongoDB manual, "TTL Indexes": a date, or the earliest of an array; anything else never expires. Of time series
it is the bucket's latest time that counts, of clustered collections the `_id`. "Partial Indexes": where an index has a
filter it deletes only what that lets in; the server is asked which records these are.

>>> Expiring(mongo, draft, now).is_about("session")        # doctest: +SKIP
True
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ..errors import Problem
from ..model import BUCKETS
from ..stores.mongo import Mongo
from ..stores.raw import values_at
from ..stores.scratch import meant
from .inventory import Shape
from .target import PlanDraft

_DATE = 0x09

_MOST, _MOST_BYTES = 500, 4_000_000  # records of which the server is asked at once

Rule = tuple[str, float, str]  # field, seconds, the index if it has a filter


def rules_of(shape: Shape) -> Iterator[Rule]:
    """When records of a collection expire."""
    options = json.loads(shape.options)
    seconds = _number(options.get("expireAfterSeconds"))
    if seconds is not None:
        series = options.get("timeseries")
        yield f"control.max.{series['timeField']}" if series else "_id", seconds, ""
    for index in json.loads(shape.indexes):
        seconds = _number(index.get("expireAfterSeconds"))
        if seconds is not None and len(index["key"]) == 1:
            # The documents of time series are others than those that their filters speak of.
            has_filter = "partialFilterExpression" in index and shape.kind == "collection"
            yield next(iter(index["key"])), seconds, json.dumps(index) if has_filter else ""


def _number(value: Any) -> float | None:
    """A number of canonical extended JSON."""
    texts = [text for kind, text in value.items() if kind.startswith("$number")] if isinstance(value, dict) else []
    number = float(texts[0]) if texts else None
    return None if number is None or number != number else number


def expires(raw: bytes, rule: Rule, now: datetime) -> bool:
    """Whether a record is too old, if the index is about it."""
    path, seconds, _ = rule
    latest = (now.timestamp() - seconds) * 1000
    return any(kind == _DATE and struct.unpack("<q", value)[0] <= latest for kind, _, value in values_at(raw, path))


class Expiring:
    """Counts them for one plan, by the indexes that are there and those that come back."""

    def __init__(self, mongo: Mongo, draft: PlanDraft, now: datetime) -> None:
        self._mongo = mongo
        self._draft = draft
        self._now = now
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._found: Counter[str] = Counter()
        self._asked: list[bytes] = []  # records of which a filter decides
        self._asked_name, self._asked_bytes = "", 0

    def is_about(self, collection: str) -> bool:
        """Whether records of a collection expire at all."""
        return bool(self._rules_of(collection.removeprefix(BUCKETS)))

    def _rules_of(self, name: str) -> tuple[Rule, ...]:
        if name not in self._rules:
            shapes = [side[name] for side in (self._draft.there, self._draft.wanted) if name in side]
            self._rules[name] = tuple({rule for shape in shapes if shape.kind != "view" for rule in rules_of(shape)})
        return self._rules[name]

    def note(self, collection: str, raw: bytes) -> None:
        """A record that comes."""
        name = collection.removeprefix(BUCKETS)
        rules = [rule for rule in self._rules_of(name) if expires(raw, rule, self._now)]
        if any(not rule[2] for rule in rules):
            self._found[name] += 1
        elif rules:
            if name != self._asked_name or len(self._asked) >= _MOST or self._asked_bytes + len(raw) > _MOST_BYTES:
                self._ask()
            self._asked_name = name
            self._asked.append(raw)
            self._asked_bytes += len(raw)

    def _ask(self) -> None:
        """Have the server say which of those that wait for it an index is about."""
        found: set[bytes] = set()
        for rule in self._rules_of(self._asked_name) if self._asked else ():
            if rule[2]:
                found |= meant(self._mongo, rule[2], (raw for raw in self._asked if expires(raw, rule, self._now)))
        self._found[self._asked_name] += len(found)
        self._asked, self._asked_bytes = [], 0

    def warnings(self) -> Iterator[Problem]:
        self._ask()
        for name, number in sorted((+self._found).items()):
            what = "One record is" if number == 1 else f"{number} records are"
            yield Problem(
                "expires",
                f"{what} older than the TTL index keeps them: the server deletes them soon after the restore.",
                f"collection {name}",
                "Drop that index first, if they are wanted.",
            )

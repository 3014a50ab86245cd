"""Records that the server would delete again at once: they are older than a TTL index keeps them.

Source: MongoDB manual, "TTL Indexes": a date, or the earliest of an array; anything else never expires. Of time series
it is the bucket's latest time that counts, of clustered collections the `_id`.

>>> Expiring(draft, now).is_about("session")        # doctest: +SKIP
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
from ..stores.raw import values_at
from .inventory import Shape
from .target import PlanDraft

_DATE = 0x09

Rule = tuple[str, float]  # field, seconds


def rules_of(shape: Shape) -> Iterator[Rule]:
    """When records of a collection expire."""
    options = json.loads(shape.options)
    seconds = _number(options.get("expireAfterSeconds"))
    if seconds is not None:
        series = options.get("timeseries")
        yield f"control.max.{series['timeField']}" if series else "_id", seconds
    for index in json.loads(shape.indexes):
        seconds = _number(index.get("expireAfterSeconds"))
        if seconds is not None and len(index["key"]) == 1:
            yield next(iter(index["key"])), seconds


def _number(value: Any) -> float | None:
    """A number of canonical extended JSON."""
    texts = [text for kind, text in value.items() if kind.startswith("$number")] if isinstance(value, dict) else []
    number = float(texts[0]) if texts else None
    return None if number is None or number != number else number


def expires(raw: bytes, rule: Rule, now: datetime) -> bool:
    """Whether a record is too old."""
    path, seconds = rule
    latest = (now.timestamp() - seconds) * 1000
    return any(kind == _DATE and struct.unpack("<q", value)[0] <= latest for kind, _, value in values_at(raw, path))


class Expiring:
    """Counts them for one plan, by the indexes that are there and those that come back."""

    def __init__(self, draft: PlanDraft, now: datetime) -> None:
        self._draft = draft
        self._now = now
        self._rules: dict[str, tuple[Rule, ...]] = {}
        self._found: Counter[str] = Counter()

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
        if any(expires(raw, rule, self._now) for rule in self._rules_of(name)):
            self._found[name] += 1

    def warnings(self) -> Iterator[Problem]:
        for name, number in sorted(self._found.items()):
            what = "One record is" if number == 1 else f"{number} records are"
            yield Problem(
                "expires",
                f"{what} older than the TTL index keeps them: the server deletes them soon after the restore.",
                f"collection {name}",
                "Drop that index first, if they are wanted.",
            )

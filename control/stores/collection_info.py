"""A collection as the server describes it: its kind, options and indexes, and what follows from them.

>>> CollectionInfo("log", "collection", '{"capped":true,"size":4096}', "[]", "").is_capped
True
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..model import BUCKETS, is_capped

_OF_SOME = {"partialFilterExpression", "sparse", "hidden"}  # options of indexes that a query may not use


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection as the server describes it now; options and indexes in canonical extended JSON, indexes by name."""

    name: str
    kind: str  # collection, view, timeseries
    options: str
    indexes: str
    uuid: str
    is_exact: bool = True  # whether JSON holds options and indexes exactly

    @property
    def is_capped(self) -> bool:
        """Whether it is read in natural order, and not at an instant: the server refuses that."""
        return self.kind == "collection" and is_capped(self.options)

    @property
    def index_fields(self) -> frozenset[str]:
        """The fields by which an index of all documents finds them: the first one of each."""
        whole = [one for one in json.loads(self.indexes) if not one.keys() & _OF_SOME]
        return frozenset(next(iter(one["key"]), "") for one in whole)

    @property
    def source(self) -> str:
        """The collection that its documents lie in."""
        return f"{BUCKETS}{self.name}" if self.kind == "timeseries" else self.name

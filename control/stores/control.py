"""What the stores of the control database share: how they write, and how they say that the server does not answer.

Rules:

- Every write is acknowledged by the majority and journaled: a lock or an end that was confirmed is not lost.
- A server that is gone or hangs is an `UnavailableError`; how soon is set where the client is made, and for the
  requests of the doors by `within`, since an open connection to a server that hangs has no time limit of its own.
- Whatever text is handed in can be stored: names of files need not be valid UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC
from typing import Any

import pymongo
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.write_concern import WriteConcern

from .mongo_errors import translated

Document = dict[str, Any]


def collection(database: Database[Document], name: str) -> Collection[Document]:
    """A collection of the control database whose writes last and whose times are aware UTC; does not ask the server."""
    options = database.codec_options.with_options(tz_aware=True, tzinfo=UTC)
    return database.get_collection(name, codec_options=options, write_concern=WriteConcern(w="majority", j=True))


def answering() -> AbstractContextManager[None]:
    """For operations of the server inside.

    Raises
    ------
    UnavailableError: the server cannot be reached, has no primary, or did not answer in time.
    """
    return translated("control database")


def within(seconds: float) -> AbstractContextManager[None]:
    """All that is asked of any server inside, in this thread, is answered within so many seconds or not at all."""
    return pymongo.timeout(seconds)


def storable(value: Any) -> Any:
    """`value` with everything BSON refuses in text written as `\\udc80`; mappings become dicts, sequences lists."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(one) for one in value]
    return value

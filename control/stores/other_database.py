"""A database that a copy is put into: it must not be there before, and goes again unless the copy is whole.

Rules:

- It is ours only while the mark of the job lies in it: nothing else is ever dropped.
- Names that differ only in case are one to the server.

>>> other = OtherDatabase(client, "old_site")       # doctest: +SKIP
>>> other.begin(job.id); …; other.finish()          # doctest: +SKIP
"""

from __future__ import annotations

import re
from typing import Any

from pymongo import MongoClient

from ..errors import InvalidError
from .mongo import DURABLE
from .mongo_errors import translated

MARK = "keyframe_copy_under_way"  # a collection, for as long as the copy is made
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}\Z")
_SERVERS = frozenset({"admin", "config", "local"})


def require_name(name: str, ours: frozenset[str]) -> None:
    """Refuse what no copy may be put into.

    Parameters
    ----------
    ours: the names of the application's database and of the control database.
    """
    if not _NAME.match(name):
        raise InvalidError(
            "A name of a database has 1 to 63 letters, digits, hyphens and underscores.",
            subject="database",
            hint="Choose another one; nothing was made.",
        )
    if name.lower() in _SERVERS | {one.lower() for one in ours}:
        raise InvalidError(
            f"The database {name} is in use: by the site, by Keyframe or by the server.",
            subject="database",
            hint="Choose another one; nothing was made.",
        )


class OtherDatabase:
    """One database of the server, for one copy."""

    def __init__(self, client: MongoClient[Any], name: str) -> None:
        self._client = client
        self._name = name
        self._mark = client[name].get_collection(MARK, write_concern=DURABLE)

    def require_new(self) -> None:
        """Raise InvalidError where there is such a database."""
        with translated(f"database {self._name}"):
            there = {name.lower(): name for name in self._client.list_database_names()}
        if self._name.lower() in there:
            raise InvalidError(
                f"There is a database {there[self._name.lower()]} already; a copy never overwrites.",
                subject="database",
                hint="Choose another name, or drop that one first; nothing was made.",
            )

    def begin(self, job: str) -> None:
        """Make the database, with the mark of this job in it."""
        self.require_new()
        with translated(f"database {self._name}"):
            self._mark.insert_one({"_id": job})
            # Somebody may have made it just now: it is ours only if nothing but our mark is in it.
            ours = set(self._client[self._name].list_collection_names()) == {MARK}
            if ours and self._mark.count_documents({}) == 1:
                return
            self._mark.delete_one({"_id": job})
        self.require_new()

    def is_marked(self, job: str) -> bool:
        """Whether this job has made it, and it is not finished."""
        with translated(f"database {self._name}"):
            return self._mark.find_one({"_id": job}) is not None

    def finish(self) -> None:
        """The copy is whole: the mark goes."""
        with translated(f"database {self._name}"):
            self._mark.drop()

    def clear(self, job: str) -> None:
        """Drop it, if this job has made it."""
        if self.is_marked(job):
            with translated(f"database {self._name}"):
                self._client.get_database(self._name, write_concern=DURABLE).command(
                    {"dropDatabase": 1, "writeConcern": DURABLE.document}
                )

"""Who is signed in: a record per browser, so that who signs out is out, whoever else has a copy of the cookie.

Rules:

- The cookie is signed and names a session; it counts while the session's record is here and its person is still the
  one who signed in, not somebody else of that name.
- The collection is nobody's content and stands in `scopes.site.leave`: no snapshot holds it, and no restore brings
  back a session that was ended.
- Records go by themselves when their time is over.

>>> sessions.lives(sessions.begin(account.person), account.person.user)     # doctest: +SKIP
True
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from ..model import Person

COLLECTION = "session"
LASTS = timedelta(days=14)  # from signing in, however often the site is used meanwhile


class Sessions:
    """The records of all sessions; the driver's errors come out as they are."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._sessions = database[COLLECTION]
        self._indexed = False

    def begin(self, person: Person) -> str:
        """A new session of the person: its id, which nobody can guess."""
        if not self._indexed:
            expiry = IndexModel([("until", ASCENDING)], expireAfterSeconds=0)
            self._sessions.create_indexes([expiry, IndexModel([("user", ASCENDING)])])
            self._indexed = True
        session_id, until = secrets.token_urlsafe(32), datetime.now(UTC) + LASTS
        self._sessions.insert_one({"_id": session_id, "user": person.user, "identity": person.identity, "until": until})
        return session_id

    def lives(self, session_id: str, user: str) -> bool:
        """Whether this is a session of `user`, neither ended nor over, and he is still the same person."""
        if not session_id:
            return False
        found = self._sessions.aggregate(
            [
                # The server removes what is over about once a minute only.
                {"$match": {"_id": session_id, "user": user, "until": {"$gt": datetime.now(UTC)}}},
                {"$lookup": {"from": "user", "localField": "user", "foreignField": "user", "as": "people"}},
                {"$project": {"identity": 1, "people._id": 1}},
            ]
        )
        return any(str(person["_id"]) == one["identity"] for one in found for person in one["people"])

    def end(self, session_id: str) -> None:
        """The session counts no more, from the next request on; nothing happens if there is none."""
        self._sessions.delete_one({"_id": session_id})

    def end_all(self, user: str) -> None:
        """The same for every session of `user`, in whichever browser."""
        self._sessions.delete_many({"user": user})

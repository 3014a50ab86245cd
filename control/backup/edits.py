"""Work done since a snapshot, and by whom, where the application records that.

>>> edits.note(live_record); [one.what for one in edits.warnings()]     # doctest: +SKIP
['5 records were changed since the snapshot was made, by Anna (3) and Ben (2).']
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from ..errors import KeyframeError, Problem
from ..model import Snapshot
from ..scope_settings import ProjectSettings
from ..stores.people import People
from ..stores.raw import NotBsonError, field, id_text

_DATE, _STRING = 0x09, 0x02
_NAMED = 5
_MOST_NAMES = 1_000  # that are counted apart
_OTHERS = "others"


class Edits:
    """Counts records that a plan replaces or deletes and that were changed after its snapshot."""

    def __init__(self, settings: ProjectSettings, snapshot: Snapshot, people: People) -> None:
        self._by, self._at = settings.changed_by, settings.changed_at
        self._since = snapshot.instant.utc if snapshot.instant else snapshot.made_at
        self._people = people
        self._authors: Counter[str] = Counter()
        self.is_cut = False  # whether there are records that were not looked at

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that tell it; none: the application does not record it."""
        return () if self._at is None else (self._at, *([self._by] if self._by else []))

    def note(self, raw: bytes) -> None:
        """A record as it is now."""
        if self._at is None:
            return
        try:
            at = _moment(field(raw, self._at))
            author = field(raw, self._by) if self._by else None
        except NotBsonError:
            return
        if at is None or at <= self._since:
            return
        name = id_text(author)[:100] if author is not None else ""
        self._authors[name if name in self._authors or len(self._authors) < _MOST_NAMES else _OTHERS] += 1

    def warnings(self) -> Iterator[Problem]:
        number = self._authors.total()
        if not number:
            return
        first = self._authors.most_common(_NAMED)
        names = [f"{self._called(one)} ({count})" for one, count in first]
        if more := len(self._authors) - len(first):
            names.append(f"{more} more")
        what = "One record was" if number == 1 else f"{number} records were"
        what = f"At least {what.lower()}" if self.is_cut else what
        yield Problem(
            "edited",
            f"{what} changed since the snapshot was made, by {', '.join(names)}.",
            "",
            "Ask them first; what they did stays in the safety snapshot.",
        )

    def _called(self, user: str) -> str:
        if not user:
            return "somebody who is not recorded"
        try:
            person = self._people.person(user)
        except KeyframeError:
            return user
        return person.name if person is not None else user


def _moment(value: bytes | None) -> datetime | None:
    """A date, or a text that is one; None: it is no moment that a calendar knows."""
    if value is None:
        return None
    try:
        if value[4] == _DATE:
            (milliseconds,) = struct.unpack_from("<q", value, 9)
            return datetime.fromtimestamp(milliseconds / 1000, UTC)
        if value[4] == _STRING:
            moment = datetime.fromisoformat(id_text(value))
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None

"""Phrases: numbers, sizes, times and names as people say them; what `messages.py` builds its sentences from.

Rules:

- Pure: the moment of reading comes in as `now`, the zone with the constructor. Nothing depends on the locale.
- Sizes in powers of ten; times in the zone of the site, the exact UTC beside them.

>>> Phrases(ZoneInfo("UTC")).size(2_100)
'2.1 kB'
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from .model import is_snapshot_name

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


class Phrases:
    """Words in English, times in `zone`."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone

    def size(self, size: int) -> str:
        """`412 kB`, `2.1 kB`, `1.1 GB`: powers of ten, a decimal below ten."""
        unit = _unit(size)
        return f"{_scaled(size, unit)} {'byte' if size == 1 else _UNITS[unit]}"

    def number(self, number: int) -> str:
        """`41`, `12 000` (thin spaces that do not break)."""
        return f"{number:,}".replace(",", "\u202f")

    def count(self, number: int, noun: str) -> str:
        """`1 file`, `3 files`, `2 indexes`."""
        plural = "" if number == 1 else "es" if noun.endswith("x") else "s"
        return f"{self.number(number)} {noun}{plural}"

    def share(self, done: int, total: int, unit: str) -> str:
        """`26 of 41 files`, `131 of 212 MB`."""
        if unit != "bytes":
            return f"{self.number(done)} of {self.number(total)}{' ' + unit if unit else ''}"
        shown = _unit(total)
        return f"{_scaled(done, shown)} of {_scaled(total, shown)} {_UNITS[shown]}"

    def plain(self, text: str) -> str:
        """A name as it can be shown: undecodable bytes and control characters become the replacement character."""
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return "".join(one if one.isprintable() else "\ufffd" for one in text)

    def clock(self, moment: datetime) -> str:
        """`14:02`."""
        return f"{moment.astimezone(self.zone):%H:%M}"

    def day(self, moment: datetime, now: datetime) -> str:
        """`today`, `yesterday`, `Tuesday 18 November`, with the year if it is another one."""
        then, today = moment.astimezone(self.zone), now.astimezone(self.zone)
        distance = (today.date() - then.date()).days
        if distance in (0, 1):
            return ("today", "yesterday")[distance]
        year = "" if then.year == today.year else f" {then.year}"
        return f"{_DAYS[then.weekday()]} {then.day} {_MONTHS[then.month - 1]}{year}"

    def when(self, moment: datetime, now: datetime) -> str:
        """`today 14:02`, `yesterday 09:10`, `Tuesday 18 November 14:02`."""
        return f"{self.day(moment, now)} {self.clock(moment)}"

    def ago(self, moment: datetime, now: datetime) -> str:
        """`just now`, `5 minutes ago`, `2 hours ago`, `yesterday 09:10`, `3 days ago`; after a month the day itself."""
        seconds = (now - moment).total_seconds()
        if seconds < 60:
            return "just now"
        if seconds < 3600:
            return f"{self.count(int(seconds // 60), 'minute')} ago"
        if seconds < 12 * 3600:
            return f"{self.count(int(seconds // 3600), 'hour')} ago"
        days = (now.astimezone(self.zone).date() - moment.astimezone(self.zone).date()).days
        if days < 2 or days > 30:
            return self.when(moment, now)
        return f"{self.count(days, 'day')} ago"

    def span(self, start: datetime, end: datetime) -> str:
        """How long something took: `6 s`, `2 min 5 s`."""
        minutes, seconds = divmod(max(1, round((end - start).total_seconds())), 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    def exact(self, moment: datetime) -> str:
        """`2026-11-21 13:02:07 UTC`."""
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_of(name: str) -> datetime | None:
    """The moment that a snapshot's name says, for words only (order and retention use `made_at`)."""
    if not is_snapshot_name(name):
        return None
    try:
        return datetime.strptime(name, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    except ValueError:  # the form is right, the day does not exist
        return None


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _unit(size: int) -> int:
    unit = 0
    # 999 500 bytes would read `1000 kB`: what rounds up to a thousand takes the next unit.
    while size >= (1000 if unit == 0 else 999.5 * 1000**unit) and unit < len(_UNITS) - 1:
        unit += 1
    return unit


def _scaled(size: int, unit: int) -> str:
    value = size / 1000**unit
    return f"{value:.1f}" if unit and value < 9.95 else f"{value:.0f}"

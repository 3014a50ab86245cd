"""How the editions site says sizes, times and counts; given to its templates."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def size(count: int) -> str:
    """Bytes as people say them, in powers of ten.

    >>> size(1_234_567)
    '1.2 MB'
    """
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 999.5 or unit == "GB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 10 else f"{amount:.1f} {unit}"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "editions"), count(1200, "files")
    ('1 edition', '1,200 files')
    """
    return f"{number:,} {noun[:-1] if number == 1 else noun}"


def day_and_time(moment: datetime, zone: ZoneInfo) -> str:
    """A moment in the site's zone.

    >>> day_and_time(datetime(2026, 11, 21, 14, 2, tzinfo=UTC), ZoneInfo("Europe/Amsterdam"))
    '21 Nov 2026, 15:02'
    """
    return f"{moment.astimezone(zone):%-d %b %Y, %H:%M}"

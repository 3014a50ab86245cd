"""Two streams of sheets side by side: those of one that lie over those of another.

Rule: a sheet ends where its directory says, and two directories may say so differently; each is compared with all that
have paths between its first and its last.

>>> known = Beside(notes)                   # doctest: +SKIP
>>> known.over(sheet)                       # doctest: +SKIP
[Noted(sheet=Sheet(prefix=b'edition/1/', …), …)]
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from .sheets import Sheet


class _Keyed(Protocol):
    @property
    def sheet(self) -> Sheet: ...


_T = TypeVar("_T", bound=_Keyed)


class Beside(Generic[_T]):
    """Goes through sheets in order, side by side with others."""

    def __init__(self, sheets: Iterable[_T]) -> None:
        self._sheets = iter(sheets)
        self._near: deque[_T] = deque()
        self._next: _T | None = next(self._sheets, None)
        self._taken = 0

    def over(self, sheet: Sheet) -> list[_T]:
        """Those of the same directory that have paths between the first and the last of `sheet`; ask in order."""
        first, last = sheet.first, sheet.last
        while self._near and self._near[0].sheet.last < first:
            self._near.popleft()
        while self._next is not None and self._next.sheet.first <= last:
            if self._next.sheet.last >= first:
                self._near.append(self._next)
            self._next = next(self._sheets, None)
            self._taken += 1
        return [one for one in self._near if one.sheet.prefix == sheet.prefix]

    def count(self) -> int:
        """How many there are in all; ask in the end."""
        return self._taken + (self._next is not None) + sum(1 for _ in self._sheets)

"""Two walks side by side: the sheets of one that lie over those of another, and what both tell alike.

Rule: a sheet ends where its directory says, and two directories may say so differently; each is compared with all that
have paths between its first and its last.

>>> for sheet in agreed(live.sheets(print), stored.sheets(print), device): sheet.kept      # doctest: +SKIP
b''
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from .sheets import FILE, MARK, Sheet


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


class _Alone:
    """A sheet of which nothing more is known."""

    def __init__(self, sheet: Sheet) -> None:
        self.sheet = sheet


def agreed(sheets: Iterable[Sheet], stored: Iterable[Sheet], device: int) -> Iterator[Sheet]:
    """The sheets of a walk, with `kept`: which of their names lie in the other tree, too, just as they are here.

    Parameters
    ----------
    device: of the other tree; what is on another is not kept there.
    """
    beside = Beside(map(_Alone, stored))
    for sheet in sheets:
        if sheet.kept is None:
            sheet.kept = _kept(sheet, [one.sheet for one in beside.over(sheet)], device)
        yield sheet


def _kept(sheet: Sheet, stored: list[Sheet], device: int) -> bytes:
    if len(stored) == 1 and stored[0].stats == sheet.stats and stored[0].names == sheet.names:
        first = sheet.kinds.find(FILE)
        if first < 0 or _device_of(stored[0], first) == device:
            return b""
    at = {name: (one, number) for one in stored for number, name in enumerate(one.names_list())}
    return bytes(_is_kept(sheet, number, at.get(name), device) for number, name in enumerate(sheet.names_list()))


def _is_kept(sheet: Sheet, number: int, stored: tuple[Sheet, int] | None, device: int) -> bool:
    return stored is not None and stored[0].stat(stored[1]) == sheet.stat(number) and _device_of(*stored) == device


def _device_of(sheet: Sheet, number: int) -> int:
    return int(MARK.unpack(sheet.mark(number))[0])

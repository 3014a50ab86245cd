"""Which paths a restore is about, and the directories on the way to them. Pure, as `plan.py`.

Rules:

- What is not meant is neither created, replaced nor deleted; but a directory on the way is made where something below
  it comes, and goes again when just this is taken back and nothing else lies in it.

>>> Slice(("edition/1",)).holds("edition/1/a.txt")
True
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .model import FileEntry, PlanItem


def _never(_: object) -> bool:
    return False


@dataclass(slots=True)
class Slice:
    """Which paths a restore is about: those below `prefixes` (empty: all), without those that are left as they are.

    `leave` may grow while the live side is walked: what cannot be read there is unknown from then on. `stays` says of a
    live folder that it must not go, `blocks` of an entry that it cannot come, both for what is excluded; `kept` has the
    items that came to nothing for the first. `barred` has the paths on the way to what is meant where something else
    than a directory lies. `is_nothing`: no path at all is meant. `takes_back`: a restore of just this is taken back,
    hence what it made on the way goes, too.
    """

    prefixes: tuple[str, ...] = ()
    leave: set[str] = field(default_factory=set)
    stays: Callable[[str], bool] = _never
    blocks: Callable[[FileEntry], bool] = _never
    kept: list[PlanItem] = field(default_factory=list)
    is_nothing: bool = False
    takes_back: bool = False
    barred: set[str] = field(default_factory=set)
    _chosen: frozenset[str] = frozenset()
    _ways: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._chosen = frozenset(self.prefixes)
        self._ways = frozenset(one for prefix in self.prefixes for one in ways_to(prefix))

    def holds(self, path: str) -> bool:
        """Whether a path is meant."""
        if not self.prefixes:
            return not self.is_nothing
        return path in self._chosen or any(one in self._chosen for one in ways_to(path))

    def leads(self, path: str) -> bool:
        """Whether a path is a directory on the way to what is meant; it may be created, nothing else."""
        return not self.is_nothing and (path == "." or path in self._ways)

    def leaves(self, path: str) -> bool:
        """Whether a path is unknown, hence left as it is: itself, or something around it."""
        if not self.leave:
            return False
        if path in self.leave or "." in self.leave:
            return True
        return any(one in self.leave for one in ways_to(path))

    def has_unknown_below(self, path: str) -> bool:
        return any(one.startswith(path + "/") or path == "." for one in self.leave)


def ways_to(path: str) -> Iterator[str]:
    """The directories above a path, the scope's own folder not among them."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


class Way:
    """The directories on the way to what is meant: made where something below them comes, and gone again with it."""

    def __init__(self, part: Slice) -> None:
        self._part = part
        self._coming: dict[str, FileEntry] = {}
        self._going: dict[str, FileEntry] = {}

    def note(self, want: FileEntry | None, have: FileEntry | None) -> None:
        """A path that is not meant itself."""
        path = (want or have).path  # type: ignore[union-attr]  # one of them is there
        leads = self._part.leads(path)
        if leads and want is None and have is not None and have.kind == "directory" and self._part.takes_back:
            self._going[path] = have
            return
        if have is not None:
            self.keep(path)
        if not leads or want is None or want.kind != "directory":
            return
        if have is None:
            self._coming[path] = want
        elif have.kind != "directory":
            self._part.leave.add(path)
            self._part.barred.add(path)

    def to(self, path: str) -> Iterator[FileEntry]:
        """What has to be made for a path that comes."""
        if self._coming:
            for one in (".", *ways_to(path)):
                if (entry := self._coming.pop(one, None)) is not None:
                    yield entry

    def keep(self, path: str) -> None:
        """Something is there afterwards, hence so are the directories above it."""
        if self._going:
            for one in (".", *ways_to(path)):
                self._going.pop(one, None)

    def back(self) -> tuple[FileEntry, ...]:
        """Directories in which nothing is left."""
        return tuple(self._going.values())

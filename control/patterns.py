"""Which live paths are in no snapshot: gitignore patterns, matched as git matches them. Pure: no disk.

Rules:

- A path has one judge: below `project/<id>/` the patterns for projects, relative to that folder, anywhere else those
  for the site. So a snapshot of a project and one of the site leave out the same, and share their files.
- Neither the scope's folder nor `project` and the folders of projects can be left out.
- Nobody goes down into a folder that is left out; as in git, nothing in it can be brought in again.

>>> found = Exclusion(Scope.site(), Patterns(("*.tmp",), ("/cache/", "!keep.tmp")))
>>> found.kept("", ["a.tmp", "b", "b/"], print)
a.tmp
['b', 'b/']
>>> found.covers("project/1/cache/x", is_folder=False), found.covers("project/1/b.tmp", is_folder=False)
(True, False)
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from .model import Patterns, Scope

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_PLAIN = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._+ -]*(?<! )/?\Z")  # a name, or the name of a folder, and nothing else
_MOST_KNOWN = 10_000  # folders whose answer is remembered

Told = Callable[[str], object]


class Matcher:
    """The patterns of one folder."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        self._lines = lines
        # Where all of them are names, a look at a whole folder is one operation on sets.
        self._names = frozenset(lines) if all(map(_PLAIN.match, lines)) else None

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], bool | None, bool]]:
        patterns = [(line, _spec([line]).patterns[0]) for line in reversed(self._lines)]
        # "a/**" is about what lies in a, not about a; the library takes "a/" for something in it.
        return [(one.regex, one.include, line.endswith("/**")) for line, one in patterns if one.regex]

    def may_match(self, names: list[str]) -> bool:
        """Whether a look at each of these names is worth it; folders are there twice, as in `Exclusion.kept`."""
        return self._names is None or not self._names.isdisjoint(names)

    def matches(self, path: str, *, is_folder: bool) -> bool:
        """Whether they name the path itself; what lies above it is not looked at."""
        if "\n" in path:  # in an expression a line feed is not like other characters
            path = path.replace("\n", "\ufffe")
        as_folder = f"{path}/" if is_folder else path
        # The last pattern that names the path decides. The library would let one that names a folder around it speak,
        # too (it gets paths without having walked there), and a folder's negation weigh less than that of a file.
        for regex, include, is_inside in self._patterns:
            text = path if is_inside else as_folder
            if regex.search(text) and _names(regex, text):
                return bool(include)
        return False


def _spec(lines: Iterable[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec  # here: a helper program begins sooner where nothing has to be matched

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "[[]" means the same in every version of Python so far
        return GitIgnoreSpec.from_lines(lines, backend="simple")


def _names(regex: re.Pattern[str], path: str) -> bool:
    """Whether a pattern that was found in a path names the path, not a folder that it lies in.

    The group `ps_d` is the `/` after what is named.
    """
    if "ps_d" not in regex.groupindex:
        return True
    return any(found.end("ps_d") in (-1, len(path)) for found in regex.finditer(path))


@lru_cache(256)
def _matcher(lines: tuple[str, ...]) -> Matcher:
    return Matcher(lines)


def mistake_of(pattern: str) -> str:
    """What is wrong with a pattern, as an expectation; empty where nothing is."""
    if not pattern.strip() or pattern.startswith("#") or any(char in pattern for char in "\n\r\0"):
        return "a gitignore pattern: one line, neither empty nor a comment"
    try:
        _spec([pattern])
    except ValueError:
        return "a gitignore pattern"
    return ""


class Exclusion:
    """What is left out of a scope by some sets of patterns: what one of them names."""

    def __init__(self, scope: Scope, *patterns: Patterns) -> None:
        # A project's own snapshots know no patterns of the site.
        chosen = patterns if scope.is_site else tuple(Patterns((), one.project) for one in patterns)
        self.patterns = tuple(dict.fromkeys(one for one in chosen if one.site or one.project))
        self.scope = scope
        self._site = tuple(_matcher(one.site) for one in self.patterns if one.site)
        self._project = tuple(_matcher(one.project) for one in self.patterns if one.project)
        self._known: dict[str, bool] = {}

    def __or__(self, other: Exclusion) -> Exclusion:
        return self if self.patterns == other.patterns else Exclusion(self.scope, *self.patterns, *other.patterns)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def kept(self, prefix: str, names: list[str], told: Told) -> list[str]:
        """The names of a folder without those that are left out.

        Parameters
        ----------
        prefix: the path of the folder with `/` at its end; empty for the scope's folder.
        names: a folder is there twice, the second time with `/` at its end.
        told: the path of each that is left out.
        """
        matchers, inside = self._judges(prefix)
        if not any(one.may_match(names) for one in matchers):
            return names
        folders = {name[:-1] for name in names if name[-1] == "/"}
        gone: set[str] = set()
        for name in names:
            is_folder = name in folders
            if (
                name[-1] != "/"
                and not (is_folder and self._is_fixed(prefix + name))
                and any(one.matches(inside + name, is_folder=is_folder) for one in matchers)
            ):
                told(prefix + name)
                gone.update((name, f"{name}/"))
        return [name for name in names if name not in gone] if gone else names

    def names(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path itself is left out; what lies above it is not looked at."""
        if path == "." or (is_folder and self._is_fixed(path)):
            return False
        folder, slash, name = path.rpartition("/")
        matchers, inside = self._judges(folder + slash)
        return any(one.matches(inside + name, is_folder=is_folder) for one in matchers)

    def covers(self, path: str, *, is_folder: bool) -> bool:
        """Whether a path is left out, or a folder that it lies in."""
        if not self.patterns:
            return False
        folder = path.rpartition("/")[0]
        return (folder != "" and self._covers_folder(folder)) or self.names(path, is_folder=is_folder)

    def _covers_folder(self, folder: str) -> bool:
        waiting = []
        while folder and folder not in self._known:
            waiting.append(folder)
            folder = folder.rpartition("/")[0]
        found = bool(folder) and self._known[folder]
        if len(self._known) > _MOST_KNOWN:
            self._known.clear()
        for one in reversed(waiting):
            found = self._known[one] = found or self.names(one, is_folder=True)
        return found

    def _judges(self, prefix: str) -> tuple[tuple[Matcher, ...], str]:
        """Who judges the names in a folder, and what stands before them there."""
        if not self.scope.is_site:
            return self._project, prefix
        if not prefix.startswith("project/") or prefix == "project/":
            return self._site, prefix
        return self._project, prefix.split("/", 2)[2]

    def _is_fixed(self, folder: str) -> bool:
        """Whether it is one of the folders that make the site what it is."""
        top, _, rest = folder.partition("/")
        return self.scope.is_site and top == "project" and "/" not in rest

"""What a snapshot leaves out since the settings exclude it: how much, in which projects, and the first of it by name.

>>> left_out = LeftOut(is_site=False)
>>> left_out.add("edition/1/Thumbs.db")
>>> left_out.count, left_out.paths
(1, ['edition/1/Thumbs.db'])
"""

from __future__ import annotations

from collections import Counter

_NAMED = 20  # paths


class LeftOut:
    """Counts what is excluded, and knows the first of it by name."""

    def __init__(self, *, is_site: bool) -> None:
        self._is_site = is_site
        self.count = 0
        self.paths: list[str] = []
        self.projects: Counter[str] = Counter()

    def add(self, path: str) -> None:
        self.count += 1
        if len(self.paths) < _NAMED:
            self.paths.append(path)
        if self._is_site and path.startswith("project/") and path.count("/") > 1:
            self.projects[path.split("/", 2)[1]] += 1

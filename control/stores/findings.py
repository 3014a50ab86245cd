"""What a verification finds, in the words of `findings.json`: a bounded number by name, all of them counted.

Rules:

- Every code and its words are in `findings.json` and nowhere else; `docs/errors.md` explains each, and
  `tests/fixtures` has a snapshot for each.
- Memory does not grow with the number of findings: of each code the first are named, the others counted.

>>> findings.add("damaged.file-extra", "files/a.txt")     # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import Problem
from ..model import Weight

NAMED = 20  # findings of one code
NAMED_IN_ALL = 100


@cache
def texts() -> Mapping[str, Mapping[str, str]]:
    """`what` and `hint` of each code; `what` has names in braces where a finding has details."""
    found: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("findings.json").read_text("utf-8"))
    return found


class Findings:
    """Collects what is found; one thread."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._named: list[Problem] = []

    def add(self, code: str, subject: str, **details: Any) -> None:
        """Note a finding; `detail` may be left out where a text ends with it."""
        text = texts()[code]
        self.counts[code] += 1
        if self.counts[code] <= NAMED:
            what = text["what"].format_map({"detail": "", **details})
            self._named.append(Problem(code, what, subject, text["hint"]))

    def withdraw(self, *codes: str) -> None:
        """Take back all whose code begins like one of these."""
        for code in [one for one in self.counts if one.startswith(codes)]:
            del self.counts[code]
        self._named = [one for one in self._named if not one.code.startswith(codes)]

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The named ones, damage first."""
        found = sorted(self._named, key=lambda one: Weight.of_code(one.code) is not Weight.BAD)
        return tuple(found[:NAMED_IN_ALL])

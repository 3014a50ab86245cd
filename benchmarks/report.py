"""Turning what was measured into tables, and the tables into docs/performance.md.

Rules:

- Each part of the page stands between markers of its own, so that one workload can be measured anew by itself.
- Nothing is left out: what was not run says so and why.

>>> write_part(page, "F2", "| … |")     # doctest: +SKIP
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from measure import Measured


@dataclass(frozen=True, slots=True)
class Goal:
    """A number to reach, and the number that was found; `is_reached` None: nothing to judge."""

    what: str
    wanted: str
    found: str
    is_reached: bool | None


@dataclass
class Part:
    """What was measured of one workload: runs by name, in the order in which they are shown, goals and remarks."""

    name: str
    what: str
    runs: dict[str, list[Measured]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def add(self, name: str, measured: Measured) -> None:
        self.runs.setdefault(name, []).append(measured)

    def median(self, name: str) -> float | None:
        """Seconds; None where it was not run."""
        runs = self.runs.get(name)
        return statistics.median(one.seconds for one in runs) if runs else None

    def peak(self, beginning: str) -> int:
        """The highest memory of all runs whose name begins so, in bytes."""
        return max(
            (one.peak for name, runs in self.runs.items() if name.startswith(beginning) for one in runs), default=0
        )

    def ratio(self, what: str, ours: str, peer: str, most: float) -> None:
        """A goal: our median is at most `most` times the peer's."""
        mine, theirs = self.median(ours), self.median(peer)
        if mine is None or theirs is None:
            self.goals.append(Goal(what, f"{most:g} x", "not run", None))
            return
        self.goals.append(Goal(what, f"{most:g} x", f"{mine / theirs:.2f} x", mine <= most * theirs))

    def plus(self, what: str, ours: str, peer: str, more: float) -> None:
        """A goal: our median is at most the peer's and `more` seconds."""
        mine, theirs = self.median(ours), self.median(peer)
        if mine is None or theirs is None:
            self.goals.append(Goal(what, f"peer + {more:g} s", "not run", None))
            return
        self.goals.append(Goal(what, f"peer + {more:g} s", f"peer {mine - theirs:+.2f} s", mine <= theirs + more))

    def most(self, what: str, found: float, most: float, unit: str) -> None:
        """A goal: a number is at most another one."""
        self.goals.append(Goal(what, f"{most:g} {unit}", f"{found:.3g} {unit}", found <= most))

    def text(self, machine: str) -> str:
        """The part of the page."""
        lines = [f"{self.what[0].upper()}{self.what[1:]}.", ""]
        if self.runs:
            lines += [_HEAD, _RULE, *(_row(name, runs) for name, runs in self.runs.items()), ""]
        if self.goals:
            lines += ["| to reach | wanted, at most | found | |", "|---|---|---|---|"]
            lines += [f"| {one.what} | {one.wanted} | {one.found} | {_verdict(one)} |" for one in self.goals]
            lines += [""]
        lines += [f"- {remark}" for remark in self.remarks]
        lines += [f"- Measured on {machine}."]
        return "\n".join(lines)


_HEAD = "| what | runs | median s | from–to s | CPU s | MongoDB's CPU s | peak PSS MB | on the disk MB |"
_RULE = "|---|---|---|---|---|---|---|---|"


def _row(name: str, runs: Sequence[Measured]) -> str:
    seconds = [one.seconds for one in runs]

    def middle(of: Callable[[Measured], float]) -> float:
        return statistics.median(of(one) for one in runs)

    cells = [
        name,
        str(len(runs)),
        f"{statistics.median(seconds):.2f}",
        f"{min(seconds):.2f}–{max(seconds):.2f}",
        f"{middle(lambda one: one.cpu):.2f}",
        f"{middle(lambda one: one.server_cpu):.2f}",
        f"{max(one.peak for one in runs) / 1e6:.0f}",
        f"{middle(lambda one: one.disk) / 1e6:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _verdict(goal: Goal) -> str:
    return "" if goal.is_reached is None else "yes" if goal.is_reached else "**no**"


def write_part(page: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of a part.

    Raises
    ------
    ValueError: the page has no such markers.
    """
    old = page.read_text(encoding="utf-8")
    between = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- /{re.escape(name)} -->)", re.DOTALL)
    new, count = between.subn(lambda found: f"{found[1]}{text}\n{found[2]}", old)
    if count != 1:
        raise ValueError(f"{page} has no markers for {name}")
    page.write_text(new, encoding="utf-8")

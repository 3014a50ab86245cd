"""How a snapshot was found when it was verified: the verdict, what is wrong, when it was looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..errors import Problem
from .times import utc_moment, utc_text


class Weight(StrEnum):
    """What a finding means: nothing to find, something to know of, or damage."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"

    @classmethod
    def of_code(cls, code: str) -> Weight:
        """Damage is bad; every other finding is something to know of."""
        return cls.BAD if code.startswith("damaged.") else cls.WARN


# The findings about a stored file that other snapshots may have, too: as one inode.
_OF_BYTES = frozenset(
    f"damaged.{what}"
    for what in (
        "file-bytes",
        "file-size",
        "collection-bytes",
        "collection-size",
        "collection-cut",
        "json-bytes",
        "json-size",
    )
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a snapshot came to.

    `problems` names the first findings of each code, damage first; `counts` has the number of all of them, by code.
    `quick`: only names and sizes were compared, the bytes of files and documents were not read. `files`, `documents`
    and `bytes` are what was looked at.
    """

    at: datetime
    quick: bool
    problems: tuple[Problem, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    documents: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        if {one.code for one in self.problems} - set(self.counts):
            raise ValueError("a finding that is not counted")

    @property
    def status(self) -> Weight:
        if any(Weight.of_code(code) is Weight.BAD for code in self.counts):
            return Weight.BAD
        return Weight.WARN if self.counts else Weight.GOOD

    @property
    def is_bad(self) -> bool:
        return self.status is Weight.BAD

    @property
    def damages(self) -> tuple[Problem, ...]:
        """Those of the named findings that are damage."""
        return tuple(one for one in self.problems if Weight.of_code(one.code) is Weight.BAD)

    @property
    def damaged_paths(self) -> tuple[str, ...]:
        """The stored files, below the snapshot's folder, that are named as not having the bytes they should have."""
        return tuple(one.subject for one in self.problems if one.code in _OF_BYTES)

    @property
    def names_all_damaged(self) -> bool:
        """Whether `damaged_paths` are all of those."""
        return len(self.damaged_paths) == sum(self.counts.get(code, 0) for code in _OF_BYTES)

    @property
    def unnamed(self) -> int:
        """How many findings are counted, but not named."""
        return sum(self.counts.values()) - len(self.problems)

    def part_of(self, project_id: str) -> Verdict:
        """What the verdict on a snapshot of the site says of one project: nothing that names files of others.

        Where findings are counted that are not named, they might be in this project: they stay counted.
        """
        mine = tuple(one for one in self.problems if _concerns(one, project_id))
        hidden = [one.code for one in self.problems if one not in mine]
        counts = {code: number - hidden.count(code) for code, number in self.counts.items()}
        return replace(self, problems=mine, counts={code: number for code, number in counts.items() if number})

    def as_dict(self) -> dict[str, Any]:
        """The shape of REST and `--json`, of a job's report and of the control database."""
        return {
            "at": utc_text(self.at),
            "quick": self.quick,
            "status": self.status.value,
            "problems": [problem.as_dict() for problem in self.problems],
            "counts": dict(self.counts),
            "files": self.files,
            "documents": self.documents,
            "bytes": self.bytes,
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Verdict:
        return cls(
            at=utc_moment(doc["at"]),
            quick=doc["quick"],
            problems=tuple(Problem.from_dict(problem) for problem in doc["problems"]),
            counts=dict(doc["counts"]),
            files=doc["files"],
            documents=doc["documents"],
            bytes=doc["bytes"],
        )


def decisive(verdicts: Iterable[Verdict]) -> Verdict | None:
    """The one of several verdicts on a snapshot that counts: the latest that read all of it.

    A quick look that found damage afterwards counts more; one that found none takes nothing back.
    """
    found = sorted(verdicts, key=lambda one: one.at)
    thorough = [one for one in found if not one.quick]
    quick = [one for one in found if one.quick and (one.is_bad or not thorough)]
    return max([*thorough[-1:], *quick[-1:]], key=lambda one: one.at, default=None)


def _concerns(problem: Problem, project_id: str) -> bool:
    """Whether a finding is about this project's files, or about what all projects share."""
    top, own = "files/project/", f"files/project/{project_id}"
    if not problem.subject.startswith("files/"):
        return True
    return problem.subject == own or problem.subject.startswith(f"{own}/") or problem.subject in ("files/", top[:-1])

"""Long work: what was ordered, how far it is, how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from ..errors import Problem
from .scopes import Action, Actor, Scope
from .selections import EVERYTHING, Selection
from .snapshots import SHRUNK
from .times import utc_text

T = TypeVar("T")

CONFIRMABLE = (SHRUNK,)  # the problems of a snapshot that a person may say are right


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is: step `step` of `steps`, named `stage`; `done` of `total` `unit`; the current `item`."""

    stage: str = ""
    step: int = 0
    steps: int = 0
    done: int = 0
    total: int = 0
    unit: str = ""
    item: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "step": self.step,
            "steps": self.steps,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "item": self.item,
        }


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class OutcomeStatus(StrEnum):
    DONE = "done"
    UNCHANGED = "unchanged"
    PARTIAL = "partial"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. Done and unchanged have no problems; partial, failed, refused and cancelled have some.

    `snapshot` is the one made or restored, `safety` the safety snapshot's name (`safety_is_new`: it was made for this;
    else it was there already, and the live state was the same as in it); `report` is the plan that was carried
    out (restore, undo), found (preview) or that overtook the agreed one (stale), in the shape of `Plan.as_dict`; of a
    verification it is its verdict, in the shape of `Verdict.as_dict`. `warnings` are worth a look and no problem.
    `confirm` is what has to be given back where a restore was refused because the state before could not be kept as a
    whole, and its gaps do not matter. `interrupted`: whoever had begun it was lost, and another one brought
    it to its end.
    """

    status: OutcomeStatus
    snapshot: str | None = None
    safety: str | None = None
    problems: tuple[Problem, ...] = ()
    report: Mapping[str, Any] | None = None
    warnings: tuple[Problem, ...] = ()
    confirm: str = ""
    safety_is_new: bool = True
    interrupted: bool = False

    def __post_init__(self) -> None:
        clean = self.status in (OutcomeStatus.DONE, OutcomeStatus.UNCHANGED)
        if clean == bool(self.problems):
            raise ValueError(f"an outcome {self.status} {'has no' if clean else 'needs'} problems")

    @property
    def is_good(self) -> bool:
        """Whether what was asked was done, or needed not to be."""
        return self.status in (OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.PARTIAL)

    @property
    def shrunk(self) -> tuple[Problem, ...]:
        """What is said to have gone from the source of a snapshot, and nobody has confirmed."""
        return tuple(one for one in self.problems if one.code == SHRUNK)

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": self.status.value,
            "snapshot": self.snapshot,
            "safety": self.safety,
            "safety_is_new": self.safety_is_new if self.safety else None,
            "problems": [problem.as_dict() for problem in self.problems],
            "report": self.report,
            "warnings": [problem.as_dict() for problem in self.warnings],
            "confirm": self.confirm,
            "interrupted": self.interrupted,
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Outcome:
        return cls(
            OutcomeStatus(doc["status"]),
            doc["snapshot"],
            doc["safety"],
            tuple(Problem.from_dict(problem) for problem in doc["problems"]),
            doc["report"],
            tuple(Problem.from_dict(problem) for problem in doc.get("warnings", ())),
            doc.get("confirm", ""),
            doc.get("safety_is_new") is not False,
            doc.get("interrupted", False),
        )


@dataclass(frozen=True, slots=True)
class Order:
    """What a job is to do; all text, so that it can wait in the database.

    `source` is the scope whose snapshot is meant (None for make), `mark_job` the restore that an undo takes back;
    `redo`: what it takes back was an undo itself, so that the restore holds again. `into` and `database` are where a
    copy goes to (empty: not there), `new_id` is the id of the project that a duplicate becomes.
    """

    act: Action
    scope: Scope
    actor: Actor
    note: str = ""
    source: Scope | None = None
    snapshot: str = ""
    selection: Selection = EVERYTHING
    people: bool = False
    plan: str = ""  # digest that was agreed to; empty: none
    mark_job: str = ""
    quick: bool = False  # verify: names and sizes only
    redo: bool = False
    confirm: tuple[str, ...] = ()  # make: problems that are said to be right, of `CONFIRMABLE`
    accepted: str = ""  # restore: the digest of the gaps of its safety snapshot that do not matter
    only_intact: bool = False  # preview and restore: what is damaged in the snapshot is left as it is
    takes_newer: bool = False  # restore: what changes between preview and restore is agreed to as well
    into: str = ""
    database: str = ""
    new_id: str = ""

    def __post_init__(self) -> None:
        if set(self.confirm) - set(CONFIRMABLE):
            raise ValueError("a problem that nobody can confirm")
        if (self.act is Action.COPY) != bool(self.into or self.database):
            raise ValueError("a copy goes somewhere, and nothing else does")
        if (self.act is Action.DUPLICATE) != bool(self.new_id):
            raise ValueError("a duplicate has an id of its own, and nothing else has")

    @property
    def changed(self) -> Scope:
        """The scope whose live state the job changes, if it changes any."""
        return Scope.project(self.new_id) if self.new_id else self.scope

    def as_dict(self) -> dict[str, Any]:
        return {
            "act": self.act.value,
            "scope": self.scope.key,
            "actor": self.actor.as_dict(),
            "note": self.note,
            "source": self.source.key if self.source else None,
            "snapshot": self.snapshot,
            "selection": self.selection.as_dict(),
            "people": self.people,
            "plan": self.plan,
            "mark_job": self.mark_job,
            "quick": self.quick,
            "redo": self.redo,
            "confirm": list(self.confirm),
            "accepted": self.accepted,
            "takes_newer": self.takes_newer,
            "only_intact": self.only_intact,
            "into": self.into,
            "database": self.database,
            "new_id": self.new_id,
        }

    @classmethod
    def from_dict(cls, doc: Mapping[str, Any]) -> Order:
        return cls(
            act=Action(doc["act"]),
            scope=Scope.from_key(doc["scope"]),
            actor=Actor(**doc["actor"]),
            note=doc["note"],
            source=Scope.from_key(doc["source"]) if doc["source"] else None,
            snapshot=doc["snapshot"],
            selection=Selection.from_dict(doc["selection"]),
            people=doc["people"],
            plan=doc["plan"],
            mark_job=doc["mark_job"],
            quick=doc.get("quick", False),
            redo=doc.get("redo", False),
            confirm=tuple(doc.get("confirm", ())),
            accepted=doc.get("accepted", ""),
            takes_newer=doc.get("takes_newer", False),
            only_intact=doc.get("only_intact", False),
            into=doc.get("into", ""),
            database=doc.get("database", ""),
            new_id=doc.get("new_id", ""),
        )


@dataclass(frozen=True, slots=True)
class Fence:
    """What tells the holder of a job from one who held it before: its number grows with every claim."""

    job: str
    number: int


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of long work: what was ordered, how far it is, how it ended. `fence` grows with every claim.

    The desk adds what stands on disk of a restore that runs: `interrupted`: it has begun to change things, and nobody
    is at it any more; `turned_back`: somebody asked for the state before instead.
    """

    id: str
    order: Order
    state: JobState
    progress: Progress
    outcome: Outcome | None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    fence: int = 0
    interrupted: bool = False
    turned_back: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The shape of REST and `--json`."""
        return {
            "id": self.id,
            "act": self.order.act.value,
            "scope": self.order.scope.as_dict(),
            "snapshot": self.order.snapshot or None,
            "by": self.order.actor.user,
            "state": self.state.value,
            "progress": self.progress.as_dict(),
            "interrupted": self.interrupted,
            "turned_back": self.turned_back,
            "outcome": self.outcome.as_dict() if self.outcome else None,
            "created_at": utc_text(self.created_at),
            "started_at": utc_text(self.started_at) if self.started_at else None,
            "ended_at": utc_text(self.ended_at) if self.ended_at else None,
        }


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A restore that has begun to change its scope and is not finished: nobody can write there until it is. `job` is
    empty where who asks may not know of it."""

    scope: Scope
    job: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The shape of REST and `--json`."""
        return {**self.scope.as_dict(), "job": self.job or None}


def found_unchanged(jobs: Iterable[Job], snapshot: str) -> datetime | None:
    """When a make among these jobs found last that this snapshot holds everything as it was then."""
    ends = [
        job.ended_at
        for job in jobs
        if job.ended_at is not None
        and job.outcome is not None
        and (job.order.act, job.outcome.status) == (Action.MAKE, OutcomeStatus.UNCHANGED)
        and job.outcome.snapshot == snapshot
    ]
    return max(ends, default=None)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A stretch of a list, and the cursor of the next one (None: there is no more)."""

    items: tuple[T, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the parts answer and snapshots can be written (`storage`); `intents` counts unfinished restores."""

    database: bool
    worker: bool
    storage: bool
    intents: int

"""What the sweeps share: a site in which everything differs that can, the points to die at, what must hold afterwards.

`PASSED` says which named steps (`steps.py`) each sweep passes; a sweep that does not pass one of its own fails.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crash_child import Crasher, Death
from keyframe.model import Job, JobState, Outcome, OutcomeStatus, Scope, Snapshot
from keyframe.wiring import build
from pymongo import MongoClient
from whole import require_whole
from world import EDITION, PROJECT, SITE, World

DONE, UNCHANGED = OutcomeStatus.DONE, OutcomeStatus.UNCHANGED
FAILED, CANCELLED = OutcomeStatus.FAILED, OutcomeStatus.CANCELLED

BEGINNING = ("take scope", "start job")
COPYING = ("draft", "copy", "second pass", "close gate", "pin", "dump", "manifest")
COMMITTING = ("dress stored", "add link", "share", "finish", "flush draft", "confirm", "commit", "sync", "committed")
PREPARING = ("safety", "compare", "plan", "require whole", "fill", "stage", "recheck", "lock files")
DECIDING = ("mark", "json", "forget wish", "intent")
DATABASE = ("create", "fill collection", "drop", "modify", "drop index", "create index", "records", "fence", "body",
            "commit records")  # fmt: skip
FILES = ("remove", "mkdir", "rename", "keep", "dress", "flush live")
ENDING = ("touched", "conclude", "unlock", "forget kept", "compare again", "end", "release")
RECOVERING = ("seize", "refence", "finish once", "verify")
TURNING = ("turn back", *RECOVERING, "lock files", "fill", "mark", "records", "rename", "conclude", "unlock",
           "forget wish", "forget kept", "end", "release")  # fmt: skip

COPIES = ("note", "mark database", "place", "check", "name", "unmark", "unnote", "stage records", "add files",
          "compared")  # fmt: skip

PASSED = {
    "make": (*BEGINNING, *COPYING, *COMMITTING, "lock files", "json", "end", "release"),
    "restore": (
        *BEGINNING, *COPYING, *COMMITTING, *PREPARING, *DECIDING, *DATABASE, *FILES, *ENDING
    ),
    "undo": ("safety", "recheck", *DECIDING, "records", "commit records", "rename", "keep", "touched", "conclude",
             "mark undone", "unlock", "forget kept", "end"),
    "recover": (*RECOVERING, "compare", "plan", "fill", "stage", "mark", *DATABASE, *FILES, "conclude", "unlock",
                "forget kept", "end", "release"),
    "turn back": TURNING,
    "delete": ("take scope", "delete", "json", "move", "commit", "sync", "release"),
    # in test_copy_beside.py and test_duplicate.py
    "copy": ("note", "mark database", "place", "fill collection", "check", "name", "unmark", "unnote"),
    "duplicate": ("stage records", "add files", "compared"),
    "undelete": ("take scope", "undelete", "move", "commit", "sync", "relabel", "json", "release"),
}  # fmt: skip


# --- a site in which everything differs that can


def spoil(world: World, scope: Scope, *, collections: bool) -> None:
    """Change live files and records, if asked for also collections, in all ways that a restore has a step for."""
    top = world.folder(PROJECT) / f"edition/{EDITION[0]}"
    world.spoil()
    (top / "scene.svx.json").chmod(0o600)
    (top / "empty").rmdir()
    (top / "empty").write_text("a file where a directory was")
    (top / "latest").unlink()
    (top / "latest").mkdir(mode=0o711)
    world.write(f"edition/{EDITION[0]}/latest/deep/inside.txt", "a directory where a link was")
    shutil.rmtree(world.folder(PROJECT) / f"edition/{EDITION[1]}/articles")
    if scope.is_site:
        world.write("about.txt", "another text", SITE)
    if collections:
        world.db.viewing.drop()
        world.db.empty.drop()
        world.db.latest.insert_one({"_id": 5, "text": "in a collection that knows no transactions"})
        world.db.newborn.insert_many([{"_id": number} for number in range(3)])
        world.db.command("create", "looking", viewOn="edition", pipeline=[])
        world.db.edition.drop_index("by_title")
        world.db.edition.create_index("title", name="by_title")
        world.db.edition.create_index("more")
        world.db.command("collMod", "site", validator={"title": {"$type": "string"}}, validationLevel="moderate")


def prepare(world: World, scope: Scope, *, collections: bool = False) -> tuple[Snapshot, Any]:
    """Make a snapshot of a good state, then spoil it; both are returned."""
    if collections:
        world.db.create_collection("latest", capped=True, size=4096).insert_many([{"_id": 1}, {"_id": 2}])
        world.db.command("create", "viewing", viewOn="edition", pipeline=[{"$match": {"title": "Edition 0"}}])
        world.db.site.create_index("title")
        world.db.command("collMod", "site", validator={"_id": {"$exists": True}}, validationLevel="strict")
    good, state = world.make(scope), world.state()
    spoil(world, scope, collections=collections)
    return good, state


def turn(world: World, text: str) -> None:
    """Change the live state a little, so that the next snapshot is a new one."""
    for name in ("turn.txt", "edition/turn.txt"):
        world.write(name, text)
    world.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"turn": text}})


@contextmanager
def short_transactions(client: MongoClient[dict[str, Any]]) -> Iterator[None]:
    """The server forgets the transaction of a killed process after 60 s, in which whoever recovers waits."""
    name = "transactionLifetimeLimitSeconds"
    was = client.admin.command("getParameter", **{name: 1})[name]
    client.admin.command("setParameter", **{name: 1})
    yield
    client.admin.command("setParameter", **{name: was})


# --- where to die


def steps_in(trace: tuple[str, ...]) -> set[str]:
    """The steps that a process passed."""
    return {line.split(":")[0] for line in trace}


def points(trace: tuple[str, ...], steps: tuple[str, ...], *, turns: int | None = None) -> list[str]:
    """Before the first call of each step and after the last; with `turns` 0 or 1 one of both, in turn, begun with that.

    AssertionError where the process did not pass a step.
    """
    lacking = set(steps) - steps_in(trace)
    assert not lacking, f"these steps are not passed: {lacking}"
    found = []
    for number, step in enumerate(steps):
        last = sum(line.startswith(f"{step}:before:") for line in trace)
        both = [f"{step}:before:1", f"{step}:after:{last}"]
        found += both if turns is None else [both[(number + turns) % 2]]
    return found


def has_begun(death: Death, intent: str = "json:after") -> bool:
    """Whether the process had written the intent: from there on the restore is carried out."""
    begun = death.trace.index("intent:before:1") if "intent:before:1" in death.trace else len(death.trace)
    return any(line.startswith(intent) for line in death.trace[begun:])


# --- what must hold afterwards


def recovered(world: World, job: Job) -> Outcome:
    """The outcome of a job whose process is dead, after a fresh office recovered.

    One that died before it had begun the job has left it waiting, and nothing holds it up: it is withdrawn.
    """
    office = build(world.settings)
    try:
        assert office.work.recover() == 0
        ended = office.jobs.get(job.id)
        if ended.state is JobState.QUEUED:
            assert office.work.withdraw(job.id)
            ended = office.jobs.get(job.id)
        assert ended.state is JobState.ENDED
        assert ended.outcome is not None
        return ended.outcome
    finally:
        office.database.client.close()


def require_clean(world: World, checked: set[Path]) -> None:
    """Nothing is left of what was interrupted, and every snapshot that is listed is whole."""
    own = world.settings.data / ".keyframe"
    assert not (own / "intents").is_dir() or not list((own / "intents").iterdir())
    assert not list((world.settings.repository / ".drafts").glob("*"))
    assert not list((world.settings.working / ".keyframe").glob("*"))
    for scope in (SITE, PROJECT):
        for snapshot in world.office.desk.snapshots(world.ask, scope).items:
            if world.stored(snapshot) not in checked:
                assert snapshot.status == "done"
                require_whole(world.stored(snapshot), snapshot)
                checked.add(world.stored(snapshot))


def kill_a_restore(
    world: World,
    crasher: Crasher,
    scope: Scope,
    steps: tuple[str, ...],
    *,
    turns: int | None = None,
    in_batches: bool = False,
) -> None:
    """Kill a restore at these steps, recover, and look; `turns` as `points`."""
    good, after = prepare(world, scope, collections=scope.is_site and steps == DATABASE)
    desk = world.office.desk
    checked: set[Path] = set()
    world.make(scope)
    turn(world, "first")
    whole = crasher.run(world, desk.restore(world.ask, scope, good.name).id, one_by_one=True)
    assert (whole.code, world.state()) == (0, after)
    assert ("records:before:2" in whole.trace) == in_batches
    assert world.done(desk.undo(world.ask, scope)).status is DONE
    deaths = points(whole.trace, steps, turns=turns)
    if in_batches:  # readers may see that the deletions are done and the insertions are not: recovery ends that
        deaths += ["records:after:1", "records:before:2"]

    for number, point in enumerate(deaths):
        turn(world, f"{number}")  # so that the safety snapshot is a new one each time
        before = world.state()
        job = desk.restore(world.ask, scope, good.name)

        death = crasher.run(world, job.id, point)
        if in_batches and point == "records:after:1":
            assert world.state() not in (before, after), "nothing lies between the two batches"
        outcome = recovered(world, job)

        assert death.killed, point
        new = has_begun(death)
        assert outcome.status in ((DONE,) if new else (FAILED, CANCELLED)), point
        assert world.state() == (after if new else before), point
        assert world.done(desk.make(world.ask, scope)).status in (DONE, UNCHANGED), point
        require_clean(world, checked)
        if new:
            assert world.done(desk.undo(world.ask, scope)).status is DONE, point
            assert world.state() == before, point
    assert world.restore(good, scope).status is DONE
    assert world.state() == after

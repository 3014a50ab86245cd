"""A small machine of making, restoring, undoing, crashing, recovering and turning back; a state is a value.

What is modelled: the live state as files and records that change one after the other, snapshots with their marks, the
intent, the wish to turn back, the lease with its fence, the lock of the scope on disk, the gate. Around it a writer, a
person who orders, deletes and turns back, processes that die, and such that are stopped, lose their job to another one,
and wake up. A process goes through the named steps of the code (`steps.py`) one by one, and everybody else may act
between any two of them. Steps between which nothing happens that anybody else could see stand in one move.

`explore` goes through all interleavings within the bounds, by breadth, and calls `check` with each two states that
follow each other; what must hold is in `promises.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

Value = tuple[int, int]  # what the files are, and what the records are; the same number in both is a whole state


class Snap(NamedTuple):
    value: Value
    in_trash: bool = False
    marks: tuple[tuple[int, str], ...] = ()  # a job, and whether its restore is begun, done or undone


class Intent(NamedTuple):
    job: int
    target: int
    safety: int
    before: Value  # the live state when it was written; nothing in the code knows that


class Job(NamedTuple):
    kind: str
    target: int = -1
    undoes: int = -1  # the job whose restore this one takes back
    state: str = "queued"
    outcome: str = ""
    fence: int = 0


class Process(NamedTuple):
    job: int
    program: str
    at: int = 0
    fence: int = 0
    draft: tuple[int, ...] = ()
    safety: int = -1
    tries: int = 0
    back: bool = False
    stopped: bool = False


class Bounds(NamedTuple):
    """How often each of these may still happen."""

    jobs: int
    writes: int
    crashes: int
    stops: int = 0
    wishes: int = 0
    deletes: int = 0


class State(NamedTuple):
    live: Value
    snaps: tuple[Snap, ...]
    jobs: tuple[Job, ...]
    processes: tuple[Process | None, ...]
    intent: Intent | None = None
    wish: bool = False
    lease: tuple[int, int] | None = None  # job and fence
    fence: int = 0
    gate: int = -1  # the process that keeps it closed
    disk: int = -1  # the process that has the lock of the scope on disk
    bounds: Bounds = Bounds(0, 0, 0)


Do = Callable[[State, int], State | None]  # None: it has to wait


class Move(NamedTuple):
    """Steps of the code, and what they come to for others."""

    steps: tuple[str, ...]
    do: Do


TRIES = 2  # the last one holds the gate from its safety snapshot on


# --- what steps do


def now(state: State, who: int) -> Process:
    process = state.processes[who]
    assert process is not None
    return process


def become(state: State, who: int, process: Process | None) -> State:
    return state._replace(processes=(*state.processes[:who], process, *state.processes[who + 1 :]))


def change(state: State, who: int, **values: object) -> State:
    return become(state, who, now(state, who)._replace(**values))  # type: ignore[arg-type]


def job_is(now: State, number: int, **values: object) -> State:
    job = now.jobs[number]._replace(**values)  # type: ignore[arg-type]
    return now._replace(jobs=(*now.jobs[:number], job, *now.jobs[number + 1 :]))


def snap_is(state: State, number: int, **values: object) -> State:
    snap = state.snaps[number]._replace(**values)  # type: ignore[arg-type]
    return state._replace(snaps=(*state.snaps[:number], snap, *state.snaps[number + 1 :]))


def marked(state: State, number: int, job: int, word: str) -> State:
    others = tuple(one for one in state.snaps[number].marks if one[0] != job)
    return snap_is(state, number, marks=(*others, (job, word)) if word else others)


def nothing(state: State, who: int) -> State:
    return state


def gone(state: State, who: int) -> State:
    """A process is no more; what it held on this machine is free."""
    gate, disk = (-1 if held == who else held for held in (state.gate, state.disk))
    return become(state, who, None)._replace(gate=gate, disk=disk)


def ended(state: State, who: int, outcome: str) -> State:
    """`end` and `release`: both ask for the fence, so that whoever lost the job changes nothing."""
    me = now(state, who)
    if state.jobs[me.job].fence == me.fence and state.jobs[me.job].state == "running":
        state = job_is(state, me.job, state="ended", outcome=outcome)
    if state.lease == (me.job, me.fence):
        state = state._replace(lease=None)
    return gone(state, who)


def take(state: State, who: int) -> State | None:
    if state.lease is not None:
        return None
    fence = state.fence + 1
    return change(state._replace(fence=fence, lease=(now(state, who).job, fence)), who, fence=fence)


def start(state: State, who: int) -> State:
    me = now(state, who)
    if state.intent is not None:  # an unfinished restore comes first
        return ended(job_is(state, me.job, state="running", fence=me.fence), who, "failed")
    return job_is(state, me.job, state="running", fence=me.fence)


def close(state: State, who: int) -> State | None:
    if state.gate == who:
        return state
    return None if state.gate != -1 else state._replace(gate=who)


def close_for_the_last_try(state: State, who: int) -> State | None:
    return close(state, who) if now(state, who).tries == TRIES - 1 else state


def copy(state: State, who: int) -> State:
    return change(state, who, draft=(state.live[0],))


def pin(state: State, who: int) -> State:
    """The second pass and the pin, with the gate closed; then it opens, but for the last try of a restore."""
    state = change(state, who, draft=state.live)
    me = now(state, who)
    keeps = me.program in ("restore", "undo") and me.tries == TRIES - 1
    return state if keeps else state._replace(gate=-1)


def has_lost(state: State, who: int) -> bool:
    me = now(state, who)
    return state.jobs[me.job].fence != me.fence


def lock(state: State, who: int) -> State | None:
    if state.disk == who:
        return state
    holder = None if state.disk == -1 else state.processes[state.disk]
    if holder is not None and not holder.stopped:
        return None
    if holder is not None:  # a stopped one would keep it for ever: it is killed
        state = gone(state, state.disk)
    return state._replace(disk=who)


def confirm(state: State, who: int) -> State:
    return ended(state, who, "failed") if has_lost(state, who) else state


def commit(state: State, who: int) -> State:
    """The one rename: the draft is a snapshot now. Where the newest holds the same, that one serves."""
    me = now(state, who)
    listed = [number for number, snap in enumerate(state.snaps) if not snap.in_trash]
    files, records = me.draft
    if listed and state.snaps[listed[-1]].value == me.draft:
        number = listed[-1]
    else:
        number = len(state.snaps)
        state = state._replace(snaps=(*state.snaps, Snap((files, records))))
    return change(state, who, draft=(), safety=number)._replace(disk=-1)


def recheck(state: State, who: int) -> State:
    """The last look, with the gate closed: was anything changed since? Then begin again."""
    me = now(state, who)
    if state.live == state.snaps[me.safety].value:
        return state
    state = state._replace(gate=-1)
    if me.tries + 1 == TRIES:
        return ended(state, who, "failed")
    if not state.snaps[me.safety].marks and me.safety == len(state.snaps) - 1:
        state = snap_is(state, me.safety, in_trash=True)
    return change(state, who, tries=me.tries + 1, safety=-1, at=AGAIN - 1)


def mark(state: State, who: int) -> State:
    return marked(state, now(state, who).safety, now(state, who).job, "begun")


def intend(state: State, who: int) -> State:
    me = now(state, who)
    intent = Intent(me.job, state.jobs[me.job].target, me.safety, state.live)
    return state._replace(intent=intent, wish=False)


def wanted(state: State, who: int) -> Value:
    intent = state.intent
    assert intent is not None
    return state.snaps[intent.safety if now(state, who).back else intent.target].value


def records(state: State, who: int) -> State:
    """One transaction, bound to the fence of the job."""
    if has_lost(state, who):
        return gone(state, who)
    return state._replace(live=(state.live[0], wanted(state, who)[1]))


def files(state: State, who: int) -> State:
    return state._replace(live=(wanted(state, who)[0], state.live[1]))


def conclude(state: State, who: int) -> State:
    me, intent = now(state, who), state.intent
    assert intent is not None
    return marked(state, intent.safety, intent.job, "undone" if me.back else "done")


def undone(state: State, who: int) -> State:
    me = now(state, who)
    job = state.jobs[me.job]
    if job.undoes == -1 or me.back:
        return state
    for number, snap in enumerate(state.snaps):
        if any(one == job.undoes for one, _ in snap.marks):
            state = marked(state, number, job.undoes, "undone")
    return state


def unlock(state: State, who: int) -> State:
    return state._replace(intent=None)


def forget_wish(state: State, who: int) -> State:
    """After that the gate opens and the lock is free."""
    gate, disk = (-1 if held == who else held for held in (state.gate, state.disk))
    return state._replace(wish=False, gate=gate, disk=disk)


def end(state: State, who: int) -> State:
    return ended(state, who, "cancelled" if now(state, who).back else "done")


def seize(state: State, who: int) -> State | None:
    """The lease of a process that is dead, or stopped and lapsed, under a new fence."""
    me = now(state, who)
    if state.lease is None or state.lease[0] != me.job or state.jobs[me.job].state != "running":
        return gone(state, who)
    fence = state.fence + 1
    return change(state._replace(fence=fence, lease=(me.job, fence)), who, fence=fence)


def refence(state: State, who: int) -> State:
    me = now(state, who)
    return job_is(state, me.job, fence=me.fence)


def found(state: State, who: int) -> State:
    """What recovery finds, with the lock held: an intent of this job is finished; else the marks tell."""
    me = now(state, who)
    if state.intent is not None and state.intent.job == me.job:
        return change(state, who, back=state.wish)
    words = {word for snap in state.snaps for job, word in snap.marks if job == me.job}
    if words & {"done", "undone"} and state.jobs[me.job].kind != "make":
        return ended(state, who, "done" if "done" in words else "cancelled")
    for number, snap in enumerate(state.snaps):
        if (me.job, "begun") in snap.marks:
            state = marked(state, number, me.job, "")
    return ended(state, who, "failed")


BEGIN = [Move(("take scope",), take), Move(("start job",), start)]
MAKE = [
    Move(("draft", "copy", "share", "dress stored", "add link"), copy),
    Move(("close gate",), close),
    Move(("second pass", "pin"), pin),
    Move(("dump", "manifest", "finish", "flush draft"), nothing),
    Move(("lock files",), lock),
    Move(("confirm",), confirm),
    Move(("commit", "sync", "committed"), commit),
]
END = [Move(("end", "release"), end)]
LIVE = [
    Move(("drop", "create", "fill collection", "modify", "drop index"), nothing),
    Move(("records", "fence", "body", "commit records", "create index"), records),
    Move(("remove", "mkdir", "rename", "keep", "dress", "flush live"), files),
]
LAST = [
    Move(("conclude",), conclude),
    Move(("mark undone",), undone),
    Move(("unlock",), unlock),
    Move(("forget wish",), forget_wish),
]
RESTORE = [
    *BEGIN,
    Move(("safety",), close_for_the_last_try),
    *MAKE,
    Move(("compare", "plan", "require whole", "fill", "stage"), nothing),
    Move(("close gate",), close),
    Move(("recheck",), recheck),
    Move(("lock files",), lock),
    Move(("confirm",), confirm),
    Move(("mark",), mark),
    Move(("json", "intent"), intend),
    *LIVE,
    Move(("touched",), nothing),
    *LAST,
    Move(("forget kept", "compare again"), nothing),
    *END,
]
AGAIN = len(BEGIN)
RECOVER = [
    Move(("seize",), seize),
    Move(("refence",), refence),
    Move(("lock files",), lock),
    Move(("finish once",), found),
    *LIVE,
    Move(("verify",), nothing),
    *LAST,
    Move(("forget kept",), nothing),
    *END,
]
PROGRAMS = {"make": [*BEGIN, *MAKE, *END], "restore": RESTORE, "undo": RESTORE, "recover": RECOVER}
BY_PEOPLE = ("turn back", "delete", "undelete", "move", "relabel")  # in one move each


# --- everybody else


def one_less(state: State, what: str) -> State:
    return state._replace(bounds=state.bounds._replace(**{what: getattr(state.bounds, what) - 1}))


def of_people(state: State) -> Iterator[State]:
    """What the writer and whoever orders, deletes, undeletes and turns back may do."""
    left = state.bounds
    if left.writes and state.gate == -1 and state.intent is None:  # a request takes the gate shared for both
        yield one_less(state, "writes")._replace(live=(left.writes + 100, left.writes + 100))
    if left.wishes and state.intent is not None:
        yield one_less(state, "wishes")._replace(wish=True)
    if left.deletes and state.lease is None:
        for number, snap in enumerate(state.snaps):
            yield one_less(snap_is(state, number, in_trash=not snap.in_trash), "deletes")
    if left.jobs and all(job.state == "ended" for job in state.jobs):
        yield from ((one_less(state, "jobs")._replace(jobs=(*state.jobs, job))) for job in orders(state))


def orders(state: State) -> Iterator[Job]:
    yield Job("make")
    for number, snap in enumerate(state.snaps):
        if snap.in_trash:
            continue
        yield Job("restore", number)
        yield from (Job("undo", number, job) for job, word in snap.marks if word == "done")


def of_processes(state: State) -> Iterator[State]:
    """A process begins, dies, is stopped or wakes up, or makes its next move."""
    left = state.bounds
    for who, process in enumerate(state.processes):
        if process is None:
            yield from begun(state, who)
            continue
        if process.stopped:
            yield change(state, who, stopped=False)
            continue
        if left.crashes:
            yield one_less(gone(state, who), "crashes")
        if left.stops:
            yield one_less(change(state, who, stopped=True), "stops")
        moved = PROGRAMS[process.program][process.at].do(state, who)
        if moved is not None:
            after = moved.processes[who]
            yield moved if after is None else change(moved, who, at=after.at + 1)


def begun(state: State, who: int) -> Iterator[State]:
    others = [one for number, one in enumerate(state.processes) if number != who and one is not None]
    for number, job in enumerate(state.jobs):
        at_it = [one for one in others if one.job == number]
        if job.state == "queued" and not at_it and (state.lease is None or state.lease[0] == number):
            # A lease that a dead process took before it began the job is freed by the next one.
            yield become(state._replace(lease=None), who, Process(number, job.kind))
        if job.state == "running" and all(one.stopped for one in at_it):
            yield become(state, who, Process(number, "recover"))


def explore(first: State, check: Callable[[State, State], None], most: int) -> int:
    """Go through all states that can be reached, by breadth; how many there are."""
    seen, waiting = {first}, deque([first])
    while waiting:
        state = waiting.popleft()
        for after in (*of_people(state), *of_processes(state)):
            check(state, after)
            if after not in seen:
                seen.add(after)
                waiting.append(after)
                assert len(seen) <= most, "more states than were thought of"
    return len(seen)

"""What must hold in every state of the machine, and between any two that follow each other; DESIGN's promises."""

from __future__ import annotations

from machine import State


def is_whole(value: tuple[int, ...]) -> bool:
    return len(value) == 2 and value[0] == value[1]


def require(before: State, after: State) -> None:
    """All of it."""
    for promise in (whole_snapshots, nothing_lost, wholly_old_or_new, one_at_a_time, outcomes, only_with_an_intent):
        promise(before, after)


def whole_snapshots(_: State, after: State) -> None:
    """Whatever is listed holds one moment; a draft is in no list, and no snapshot goes but into the trash."""
    assert all(is_whole(snap.value) for snap in after.snaps), "a snapshot of two moments"


def nothing_lost(before: State, after: State) -> None:
    """The state before a restore is in a snapshot as long as an intent lies, and afterwards too."""
    assert len(after.snaps) >= len(before.snaps)
    assert all(one.value == was.value for was, one in zip(before.snaps, after.snaps, strict=False)), "one was changed"
    if after.intent is not None:
        safety = after.snaps[after.intent.safety]
        assert safety.value == after.intent.before, "the state before is in no snapshot"
        assert not safety.in_trash
        assert any(job == after.intent.job for job, _ in safety.marks), "no undo would find it"


def wholly_old_or_new(before: State, after: State) -> None:
    """Where no intent lies the live state is whole; when one goes it is the wanted one, or the one before."""
    if after.intent is None:
        assert is_whole(after.live), "a mixture"
    if before.intent is not None and after.intent is None:
        wanted = {before.intent.before, before.snaps[before.intent.target].value}
        assert after.live == before.live and after.live in wanted


def only_with_an_intent(before: State, after: State) -> None:
    """Nobody but a writer changes anything live without an intent; while one lies, no writer does."""
    if before.live == after.live:
        return
    wrote = before.bounds.writes != after.bounds.writes
    assert wrote == (before.intent is None), "changed without an intent, or by a writer under one"
    if not wrote:
        assert before.disk != -1, "without the lock of the scope"


def one_at_a_time(_: State, after: State) -> None:
    """One job runs at a time, an intent is that of the running one, and nobody who is gone has the lock."""
    assert sum(job.state == "running" for job in after.jobs) <= 1
    assert after.intent is None or after.jobs[after.intent.job].state == "running", "nobody would finish it"
    assert after.disk == -1 or after.processes[after.disk] is not None


def outcomes(before: State, after: State) -> None:
    """The job says which: done is the wanted state, anything else the one before; an undo is exact."""
    for number, (was, job) in enumerate(zip(before.jobs, after.jobs, strict=False)):
        if was.state == "ended" or job.state != "ended" or job.kind == "make":
            continue
        marks = {word for snap in after.snaps for one, word in snap.marks if one == number}
        assert marks == {"done": {"done"}, "cancelled": {"undone"}, "failed": set()}[job.outcome], (job, marks)
        assert after.intent is None or after.intent.job != number
        if job.kind == "undo" and job.outcome == "done":
            words = {word for snap in after.snaps for one, word in snap.marks if one == job.undoes}
            assert words == {"undone"}, "it could be undone twice"

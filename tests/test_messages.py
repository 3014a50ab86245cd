"""Words for people: sizes, times, plans, outcomes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from keyframe.doors.pages_frame import timed
from keyframe.errors import Problem
from keyframe.messages import NOTHING, Messages
from keyframe.model import (
    ABSENT,
    Action,
    Actor,
    Change,
    Counts,
    Job,
    JobState,
    Order,
    Outcome,
    OutcomeStatus,
    Plan,
    PlanChange,
    PlanChanges,
    Progress,
    Reason,
    RestoreMark,
    Scope,
    Selection,
    Snapshot,
    Status,
    Undos,
)
from keyframe.phrases import listed, moment_of

NOW = datetime(2026, 11, 21, 13, 30, tzinfo=UTC)  # 14:30 in Amsterdam
NAME = "2026-11-21T13-02-07Z"
PROJECT = Scope.project("65a1b2c3d4e5f60718293a4b")
NONE = Counts()
FOLDER, INDEXES = (("directory", 1),), (("index", 3),)
MANY = (("collection", 1), ("directory", 1), ("index", 2))
UNDONE = "2026-11-21T12-02-07Z"
CONFLICT = Problem("conflict", "now belongs to another project; it is left there.", "edition The Oil Mill")


@pytest.fixture
def words() -> Messages:
    return Messages(ZoneInfo("Europe/Amsterdam"))


def plan(creates: Counts = NONE, replaces: Counts = NONE, deletes: Counts = NONE) -> Plan:
    return Plan(
        PROJECT, PROJECT, NAME, Selection(), False, False, creates, replaces, deletes, Counts(37), 0, (), "ab" * 32
    )  # fmt: skip


def job(act: Action, status: OutcomeStatus | None, code: str = "", report: Plan | None = None, safety: str = "") -> Job:
    problems = (Problem(code, "needs 4.2 GB, the data disk has 1.1 GB free.", "the restore"),) if code else ()
    outcome = None
    if status:
        outcome = Outcome(status, NAME, safety or None, problems, report.as_dict() if report else None)
    order = Order(act, PROJECT, Actor("anna", "Anna", "user", "page"), source=PROJECT, snapshot=NAME)
    if act is Action.MAKE:
        order = Order(act, PROJECT, order.actor)
    state = JobState.ENDED if status else JobState.RUNNING
    ended = NOW if status else None
    return Job("1", order, state, Progress(), outcome, NOW, NOW - timedelta(seconds=6), ended)


def snapshot(made_at: datetime, status: Status = Status.DONE) -> Snapshot:
    name = f"{made_at:%Y-%m-%dT%H-%M-%SZ}"
    return Snapshot(PROJECT, name, made_at, "anna", Reason.MANUAL, "", False, None, 1, 41, 3, status, 1, "")


def safety(made_at: datetime, *marks: RestoreMark) -> Snapshot:
    return replace(snapshot(made_at), reason=Reason.SAFETY, restores=marks)


def mark(state: str, name: str = NAME, job: str = "7", **more: Any) -> RestoreMark:
    return RestoreMark(job, name, PROJECT, Selection(), False, "ab" * 32, NOW, state, **more)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (2100, "2.1 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (412_000, "412 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (212_000_000, "212 MB"),
        (1_100_000_000, "1.1 GB"),
        (4_000_000_000_000_000_000, "4000 PB"),
    ],
)
def test_a_size_is_said_in_powers_of_ten(words: Messages, size: int, said: str) -> None:
    assert words.size(size) == said


def test_a_count_has_its_plural_and_readable_thousands(words: Messages) -> None:
    assert [words.count(1, "file"), words.count(0, "file"), words.count(2, "index")] == [
        "1 file",
        "0 files",
        "2 indexes",
    ]
    assert words.count(12_000, "file") == "12\u202f000 files"


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2026, 11, 21, 13, 2, tzinfo=UTC), "today 14:02"),
        (datetime(2026, 11, 20, 23, 30, tzinfo=UTC), "today 00:30"),  # the day is that of the zone, not of UTC
        (datetime(2026, 11, 20, 8, 10, tzinfo=UTC), "yesterday 09:10"),
        (datetime(2026, 11, 17, 13, 2, tzinfo=UTC), "Tuesday 17 November 14:02"),
        (datetime(2025, 7, 1, 12, 0, tzinfo=UTC), "Tuesday 1 July 2025 14:00"),  # summer time, another year
        (datetime(2026, 11, 22, 13, 2, tzinfo=UTC), "Sunday 22 November 14:02"),
    ],
)
def test_a_time_is_said_as_people_say_it(words: Messages, moment: datetime, said: str) -> None:
    assert words.when(moment, NOW) == said


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(seconds=-30), "just now"),  # the clocks of two machines differ
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=2, minutes=59), "2 hours ago"),
        (timedelta(hours=13), "today 01:30"),
        (timedelta(hours=15), "yesterday 23:30"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=40), "Monday 12 October 15:30"),
    ],
)
def test_an_age_is_said_as_people_say_it(words: Messages, before: timedelta, said: str) -> None:
    assert words.ago(NOW - before, NOW) == said


def test_the_exact_time_is_utc(words: Messages) -> None:
    assert (
        words.exact(datetime(2026, 11, 21, 14, 2, 7, tzinfo=ZoneInfo("Europe/Amsterdam"))) == "2026-11-21 13:02:07 UTC"
    )


def test_the_name_of_a_snapshot_says_its_moment() -> None:
    assert moment_of(NAME) == datetime(2026, 11, 21, 13, 2, 7, tzinfo=UTC)
    assert [moment_of(one) for one in ("", "latest", "2026-02-31T13-02-07Z")] == [None, None, None]


def test_the_time_of_a_title_has_its_seconds(words: Messages) -> None:
    moment = datetime(2026, 11, 20, 13, 2, 7, tzinfo=UTC)

    assert (words.second(moment), words.exactly(moment, NOW)) == ("14:02:07", "yesterday 14:02:07")


def test_names_that_cannot_be_shown_are_made_showable(words: Messages) -> None:
    assert words.plain("a\udcffb\nc\u202ed") == "a\ufffdb\ufffdc\ufffdd"
    assert words.plain("9.41\u202fAM") == "9.41\u202fAM"
    words.plain("\udcff").encode("utf-8")


@pytest.mark.parametrize(
    ("creates", "replaces", "deletes", "button"),
    [
        (Counts(1), Counts(3, 1), Counts(2), "Bring back 4 files and 1 record, remove 2"),
        (Counts(1), NONE, NONE, "Bring back 1 file"),
        (NONE, Counts(0, 2), NONE, "Bring back 2 records"),
        (NONE, NONE, Counts(1), "Remove 1 file"),
        (NONE, NONE, Counts(2, 1), "Remove 2 files and 1 record"),
        (Counts(0, 1), NONE, Counts(2), "Bring back 1 record, remove 2 files"),
        (Counts(1), NONE, Counts(0, 2), "Bring back 1 file, remove 2 records"),
        (Counts(1), NONE, Counts(2, 2), "Bring back 1 file, remove 2 files and 2 records"),
        (Counts(2, other=1, kinds=FOLDER), NONE, Counts(other=1, kinds=FOLDER), "Bring back 2 files, remove 1 folder"),
        (Counts(1, 2, other=4, kinds=MANY), NONE, NONE, "Bring back 1 file, 2 records, 1 collection and 2 indexes"),
        (Counts(other=2), NONE, NONE, "Bring back 2 other things"),
        (Counts(1), NONE, Counts(2, other=3, kinds=INDEXES), "Bring back 1 file, remove 2 files and 3 indexes"),
        (NONE, NONE, NONE, "Nothing to do"),
    ],
)
def test_the_button_of_a_plan_says_what_it_does(
    words: Messages, creates: Counts, replaces: Counts, deletes: Counts, button: str
) -> None:
    assert words.plan_button(plan(creates, replaces, deletes)) == button


def test_what_is_replaced_and_what_is_made_anew_are_counted_together(words: Messages) -> None:
    index, setting, folder = (Counts(other=1, kinds=((kind, 1),)) for kind in ("index", "options", "directory"))

    assert words.plan_button(plan(index, setting, folder)) == "Bring back 1 index and 1 setting, remove 1 folder"
    assert words.plan_button(plan(index, index, NONE)) == "Bring back 2 indexes"


def test_the_button_of_an_undo_says_what_it_takes_back(words: Messages) -> None:
    made = plan(Counts(1), NONE, Counts(2))

    assert words.plan_button(made, "restore") == "Undo the restore: bring back 1 file, remove 2"
    assert words.plan_button(made, "undo") == "Undo the undo: bring back 1 file, remove 2"
    assert words.plan_button(plan(), "restore") == "Nothing to do"
    assert words.plan_verdict(plan(), "restore").text == "Everything is as it was before the restore."
    assert words.plan_verdict(made, "undo").title == "All that the undo was about will be as it was before."


def test_every_plan_has_words_with_correct_numbers(words: Messages) -> None:
    numbers = (0, 1, 2)
    for files, records, other, gone in itertools.product(numbers, repeat=4):
        made = plan(Counts(files, records, 0, other, (("index", other),) if other else ()), NONE, Counts(gone))
        said = words.plan_button(made) + words.plan_done(made)
        for wrong in (
            "1 files",
            "1 records",
            "1 indexes",
            "2 file ",
            "2 record ",
            "2 index ",
            "2 files was",
            "1 file were",
        ):
            assert wrong not in said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            plan(Counts(1), Counts(3, 1), Counts(2)),
            "1 file came back, 3 files and 1 record were replaced, 2 files were removed",
        ),
        (plan(Counts(2, 1)), "2 files and 1 record came back"),
        (plan(NONE, Counts(1), Counts(0, 1)), "1 file was replaced, 1 record was removed"),
        (plan(), ""),
    ],
)
def test_what_was_done_is_said_in_the_words_of_the_plan(words: Messages, made: Plan, said: str) -> None:
    assert words.plan_done(made) == said


def test_a_restore_that_is_done_says_what_is_back_and_what_happened(words: Messages) -> None:
    said = words.outcome(job(Action.RESTORE, OutcomeStatus.DONE, report=plan(Counts(1), Counts(3, 1), Counts(2))), NOW)

    assert said.title == "Done: the snapshot of today 14:02 is back"
    assert said.text.startswith("1 file came back, 3 files and 1 record were replaced, 2 files were removed;")
    assert (said.tone, said.problems) == ("good", ())


def test_what_a_restore_took_along_is_named(words: Messages) -> None:
    changes = PlanChanges(
        (
            PlanChange("file", "new.txt", "", None, Change.DELETE),
            PlanChange("file", "again.txt", "", Change.REPLACE, Change.REPLACE),
            PlanChange("record", "edition/roses", "Roses", Change.DELETE, None),
        ),
        5,
    )
    ended = job(Action.RESTORE, OutcomeStatus.DONE, report=plan(Counts(1)))
    assert ended.outcome is not None and ended.outcome.report is not None
    report = {**ended.outcome.report, **changes.as_dict()}

    said = words.outcome(replace(ended, outcome=replace(ended.outcome, report=report)))

    assert (said.title, said.tone, said.problems) == ("Done: the snapshot of today 14:02 is back", "good", ())
    assert [words.problem(one) for one in said.along] == [
        "5 things had become different since the plan was looked at, and were taken along.",
        "new.txt was removed.",
        "again.txt had changed since; it was replaced.",
        "Record edition Roses was as in the snapshot by then: nothing happened to it.",
        "2 more things became different.",
    ]
    assert words.outcome(ended).along == ()


def test_a_restore_of_what_is_there_already_says_that_nothing_was_changed(words: Messages) -> None:
    done = words.outcome(job(Action.RESTORE, OutcomeStatus.DONE, report=plan()), NOW)
    unchanged = words.outcome(job(Action.RESTORE, OutcomeStatus.UNCHANGED), NOW)

    assert NOTHING in done.text
    assert NOTHING in unchanged.text


@pytest.mark.parametrize("status", [OutcomeStatus.UNCHANGED, OutcomeStatus.PARTIAL])
@pytest.mark.parametrize("act", [Action.RESTORE, Action.UNDO])
def test_a_restore_that_only_left_something_aside_names_it(words: Messages, act: Action, status: OutcomeStatus) -> None:
    report = replace(plan(), warnings=(CONFLICT, Problem("people", "People and roles change.")))
    problems = (CONFLICT,) if status is OutcomeStatus.PARTIAL else ()
    ended = replace(
        job(act, status, "x" * len(problems)), outcome=Outcome(status, NAME, None, problems, report.as_dict())
    )

    said = words.outcome(ended, NOW)

    assert (said.title, said.tone) == ("Nothing was changed: 1 thing is left as it is", "warn")
    assert said.text.startswith("Nothing else differs from the snapshot.")
    assert said.problems == (CONFLICT,)


def test_a_plan_that_only_leaves_something_aside_does_not_say_that_everything_is_as_in_the_snapshot(
    words: Messages,
) -> None:
    one, two = (words.plan_verdict(replace(plan(), warnings=(CONFLICT,) * number)) for number in (1, 2))

    assert one.title == "Nothing else differs, but 1 thing is left as it is."
    assert two.title == "Nothing else differs, but 2 things are left as they are."
    assert (one.tone, "Everything" in one.text) == ("warn", False)


def test_the_title_of_a_job_s_page_follows_its_state(words: Messages) -> None:
    running, ended = job(Action.RESTORE, None), job(Action.RESTORE, OutcomeStatus.DONE, report=plan(Counts(1)))

    assert words.headline(running, NOW).title == "Bringing back the snapshot of today 14:02"
    assert words.headline(ended, NOW).title == "Done: the snapshot of today 14:02 is back"


def test_a_partial_restore_is_no_success_and_names_each_problem(words: Messages) -> None:
    said = words.outcome(job(Action.RESTORE, OutcomeStatus.PARTIAL, "changed", plan(Counts(1))), NOW)

    assert said.tone == "warn"
    assert not said.title.startswith("Done")
    assert [one.code for one in said.problems] == ["changed"]
    assert NOTHING not in said.text


@pytest.mark.parametrize("status", [OutcomeStatus.DONE, OutcomeStatus.PARTIAL, OutcomeStatus.FAILED])
def test_a_hook_that_failed_is_named_and_not_as_something_that_stayed(words: Messages, status: OutcomeStatus) -> None:
    code = "" if status is OutcomeStatus.DONE else "left"
    restored = job(Action.RESTORE, status, code, plan(Counts(1)), safety=NAME)
    assert restored.outcome is not None
    failed = Problem("hook", "has failed (ValueError).", "the hook blog:forget")

    said = words.outcome(replace(restored, outcome=replace(restored.outcome, warnings=(failed,))), NOW)

    assert failed in said.problems
    assert "stayed as it was" not in said.text
    assert said.title.startswith("Done") == (status is OutcomeStatus.DONE)


def test_that_nothing_was_changed_is_said_once(words: Messages) -> None:
    hints = (
        "Restore another; nothing was changed.",
        "Mend it. Nothing was changed.",
        "Keep it, and nothing was changed.",
    )
    problems = tuple(Problem("damaged.file-bytes", "is damaged.", "a.txt", one) for one in hints)
    ended = job(Action.RESTORE, OutcomeStatus.FAILED, "x")
    assert ended.outcome is not None

    said = words.outcome(replace(ended, outcome=replace(ended.outcome, problems=problems)), NOW)

    whole = " ".join([said.title, said.text, *(words.problem(one) for one in said.problems)])
    assert whole.lower().count("othing was changed") == 1
    assert [one.hint for one in said.problems] == ["Mend it.", "Keep it."]


def test_a_look_that_changed_nothing_does_not_say_so_twice(words: Messages) -> None:
    looked = Problem("unavailable", "cannot be read.", "the comparison", "Look at the disk; looking changed nothing.")
    ended = job(Action.PREVIEW, OutcomeStatus.FAILED, "x")
    assert ended.outcome is not None

    said = words.outcome(replace(ended, outcome=replace(ended.outcome, problems=(looked,))), NOW)

    assert NOTHING not in said.text


@pytest.mark.parametrize(
    ("act", "code", "more", "offered"),
    [
        (Action.RESTORE, "damaged.file-bytes", {}, True),
        (Action.PREVIEW, "damaged.collection-cut", {}, True),
        (Action.RESTORE, "damaged.file-bytes", {"only_intact": True}, False),
        (Action.PREVIEW, "damaged.collection-cut", {"mark_job": "1"}, False),
        (Action.RESTORE, "damaged.manifest-bytes", {}, False),
        (Action.RESTORE, "damaged.header-missing", {}, False),
        (Action.VERIFY, "damaged.file-bytes", {}, False),
        (Action.RESTORE, "no-room", {}, False),
    ],
)
def test_what_is_intact_is_offered_where_there_is_anything_to_be_told_of_it(
    words: Messages, act: Action, code: str, more: dict[str, Any], offered: bool
) -> None:
    ended = job(act, OutcomeStatus.FAILED, code)

    assert words.may_leave_damage(replace(ended, order=replace(ended.order, **more))) is offered


def test_a_make_without_change_names_the_snapshot_that_holds_everything(words: Messages) -> None:
    said = words.outcome(job(Action.MAKE, OutcomeStatus.UNCHANGED), NOW)

    assert said.title == "Nothing has changed since the last snapshot"
    assert "today 14:02" in said.text
    assert said.tone == "good"


def test_a_partial_snapshot_is_no_success(words: Messages) -> None:
    said = words.outcome(job(Action.MAKE, OutcomeStatus.PARTIAL, "changed"), NOW)

    assert (said.title, said.tone) == ("The snapshot is made, but not whole", "warn")
    assert len(said.problems) == 1


def test_an_overtaken_plan_asks_to_look_again_and_says_that_nothing_was_changed(words: Messages) -> None:
    said = words.outcome(job(Action.RESTORE, OutcomeStatus.FAILED, "stale", plan(Counts(1)), safety=NAME), NOW)

    assert said.title == "Not done: something changed since you looked"
    assert (said.tone, NOTHING in said.text) == ("warn", True)


def test_a_full_disk_is_said_with_its_numbers(words: Messages) -> None:
    said = words.outcome(job(Action.RESTORE, OutcomeStatus.FAILED, "no-room"), NOW)

    assert said.title == "Not done: the disk has no room"
    assert said.text == f"The restore needs 4.2 GB, the data disk has 1.1 GB free. {NOTHING}"
    assert said.tone == "bad"


def test_a_restore_that_failed_while_it_changed_things_does_not_say_that_nothing_was_changed(words: Messages) -> None:
    begun = job(Action.RESTORE, OutcomeStatus.FAILED, "unavailable", plan(Counts(1)), safety=NAME)

    assert NOTHING not in words.outcome(begun, NOW).text


@pytest.mark.parametrize("act", [Action.MAKE, Action.PREVIEW, Action.RESTORE, Action.UNDO])
@pytest.mark.parametrize("status", list(OutcomeStatus))
def test_every_act_has_words_for_every_outcome(words: Messages, act: Action, status: OutcomeStatus) -> None:
    clean = status in (OutcomeStatus.DONE, OutcomeStatus.UNCHANGED)

    said = words.outcome(job(act, status, "" if clean else "internal", plan(Counts(1)) if clean else None), NOW)

    assert said.title
    assert said.tone == ("good" if clean else "bad" if status is OutcomeStatus.FAILED else "warn")
    assert clean or status is OutcomeStatus.PARTIAL or NOTHING in said.text


def test_a_state_that_the_problem_says_itself_is_not_said_twice(words: Messages) -> None:
    one = Problem("no-room", "is full.", "the disk", "Nothing was written.")
    ended = job(Action.MAKE, OutcomeStatus.FAILED, "no-room")
    object.__setattr__(ended, "outcome", Outcome(OutcomeStatus.FAILED, problems=(one,)))

    assert words.outcome(ended, NOW).text == "The disk is full. Nothing was written."


@pytest.mark.parametrize(
    ("progress", "said", "percent"),
    [
        (Progress(), "Starting.", 0),
        (Progress("preparing files", 3, 5, 26, 41, "files"), "Step 3 of 5: preparing files · 26 of 41 files", 52),
        (Progress("preparing files", 3, 5, 131_000_000, 212_000_000, "bytes"),
         "Step 3 of 5: preparing files · 131 of 212 MB", 52),
        (Progress("copying files", 1, 4, 26, 0, "files"), "Step 1 of 4: copying files · 26 files", 0),
        (Progress("copying files", 1, 4, 1, 0, "files"), "Step 1 of 4: copying files · 1 file", 0),
        (Progress("comparing", 2, 5, 1, 0, "differences"), "Step 2 of 5: comparing · 1 difference", 20),
        (Progress("comparing", 2, 5, 61, 100, "%", "edition"), "Step 2 of 5: comparing · 61 %", 32),
        (Progress("trying", 1, 5, 1, 1, "tries"), "Step 1 of 5: trying · 1 of 1 try", 20),
        (Progress("reading", 1, 4, 131_000_000, 0, "bytes"), "Step 1 of 4: reading · 131 MB", 0),
        (Progress("committing", 4, 4, 1, 1, ""), "Step 4 of 4: committing · 1 of 1", 99),
        (Progress("waiting", 0, 0), "waiting", 0),
    ],
)  # fmt: skip
def test_progress_says_step_and_amount(words: Messages, progress: Progress, said: str, percent: int) -> None:
    assert words.progress(progress) == said
    assert words.percent(progress) == percent


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (Problem("changed", "changed while it was read.", "media/a.glb", "Try again."),
         "media/a.glb changed while it was read. Try again."),
        (Problem("no-room", "needs 4 GB", "snapshot of project 3"), "Snapshot of project 3 needs 4 GB."),
        (Problem("not-found", "There is no such snapshot.", NAME), f"There is no such snapshot ({NAME})."),
        (Problem("not-found", "There is no such path.", "a"), "There is no such path (a)."),
        (Problem("internal", "Something went wrong."), "Something went wrong."),
        (Problem("unavailable", "MongoDB does not answer (operation cancelled).", "session", "Start it."),
         "MongoDB does not answer. Start it."),
        (Problem("no-room", "the snapshot needs 4 GB.", "/data/backups/.drafts/site-7"), "The snapshot needs 4 GB."),
        (Problem("no-room", "the disk is full.", "the snapshot's draft"), "The snapshot's draft: the disk is full."),
    ],
)  # fmt: skip
def test_a_problem_is_said_in_sentences(words: Messages, problem: Problem, said: str) -> None:
    assert words.problem(problem) == said


@pytest.mark.parametrize(
    ("found", "title", "tone"),
    [
        ([], "No snapshot yet.", "warn"),
        ([snapshot(NOW - timedelta(hours=2))], "Last snapshot 2 hours ago.", "good"),
        ([snapshot(NOW - timedelta(days=8))], "Last snapshot 8 days ago.", "warn"),
        ([safety(NOW)], "Only safety snapshots.", "warn"),
        ([safety(NOW), snapshot(NOW - timedelta(hours=2))], "Last snapshot 2 hours ago.", "good"),
        ([safety(NOW), snapshot(NOW, Status.PARTIAL)], "This project has no whole snapshot.", "warn"),
        # who makes a snapshot with a note while nothing has changed gives the note to the newest one
        ([replace(safety(NOW - timedelta(hours=1)), note="mine")], "Last snapshot 1 hour ago.", "good"),
        ([snapshot(NOW, Status.PARTIAL), snapshot(NOW - timedelta(days=1))], "The newest snapshot is partial.", "warn"),
        ([snapshot(NOW, Status.DAMAGED), snapshot(NOW - timedelta(days=1))], "The newest snapshot is damaged.", "bad"),
        ([snapshot(NOW, Status.PARTIAL)], "This project has no whole snapshot.", "warn"),
        ([snapshot(NOW, Status.DAMAGED)], "This project has no whole snapshot.", "bad"),
    ],
)
def test_the_verdict_is_good_for_a_whole_recent_snapshot_that_somebody_wanted_only(
    words: Messages, found: list[Snapshot], title: str, tone: str
) -> None:
    said = words.verdict(found, PROJECT, True, NOW)

    assert (said.title, said.tone) == (title, tone)


def test_the_verdict_does_not_claim_what_nobody_looked_at(words: Messages) -> None:
    said = words.verdict([snapshot(NOW - timedelta(hours=2))], PROJECT, True, NOW)

    assert said.text == "What was done since is not in it."


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (safety(NOW), "made before a restore that changed nothing"),
        (safety(NOW, mark("done")), "made before bringing back the snapshot of today 14:02"),
        (safety(NOW, mark("undone")), "made before bringing back the snapshot of today 14:02; that was undone since"),
        (safety(NOW, mark("done", UNDONE, act="undo")), "made before undoing a restore"),
        (
            safety(NOW, mark("undone", UNDONE, act="undo")),
            "made before undoing a restore; that was undone since",
        ),
        (safety(NOW, mark("done", UNDONE, act="redo")), "made before undoing an undo"),
        (
            safety(NOW, mark("undone", turned_back=True)),
            "made before bringing back the snapshot of today 14:02; that was turned back",
        ),
        (safety(NOW, mark("done", by="anna")), "made before bringing back the snapshot of today 14:02"),
        (
            safety(NOW, mark("undone"), replace(mark("done", act="undo", by="bram"), at=NOW + timedelta(seconds=1))),
            "made before bringing back the snapshot of today 14:02; served again before undoing a restore, by bram",
        ),
        (
            safety(NOW, mark("done"), replace(mark("undone", UNDONE, turned_back=True), at=NOW + timedelta(seconds=1))),
            "made before bringing back the snapshot of today 14:02",  # that is what an undo takes back
        ),
        (
            replace(snapshot(NOW), restores=(mark("done"),)),
            "made by hand; served as safety snapshot before bringing back the snapshot of today 14:02",
        ),
        (snapshot(NOW), "made by hand"),
        (snapshot(NOW, Status.DAMAGED), "made by hand"),
        (replace(snapshot(NOW), reason=Reason.API), "made by a script (REST)"),
        (replace(snapshot(NOW, Status.DAMAGED), reason=Reason.UNKNOWN), ""),
    ],
)
def test_it_is_said_why_a_snapshot_was_made(words: Messages, made: Snapshot, said: str) -> None:
    assert words.why(made, NOW, Undos.of([made, snapshot(NOW)])) == said


def test_words_and_rest_speak_of_the_restore_that_an_undo_takes_back(words: Messages) -> None:
    later = replace(mark("undone", UNDONE, turned_back=True, job="2"), at=NOW + timedelta(seconds=1))
    made = replace(safety(NOW, mark("done", job="1"), later), reason=Reason.MANUAL)
    assert made.undoable is not None and made.undoable.job == "1"

    assert words.why(made, NOW).endswith("before bringing back the snapshot of today 14:02")
    assert words.served(made) == moment_of(made.undoable.snapshot)
    assert made.as_dict()["safety_of"] == made.undoable.as_shown()


def chain(*marks: RestoreMark) -> list[Snapshot]:
    """Restored, undone, restored again, and so on: each mark takes back the one before; on a snapshot of its own."""
    acts = ["restore", "undo", "redo", "undo"]
    return [
        safety(NOW, replace(one, job=str(number), act=acts[number], undoes=str(number - 1) if number else ""))
        for number, one in enumerate(marks)
    ]


def test_the_undo_of_an_undo_is_told_from_an_undo(words: Messages) -> None:
    def said(found: list[Snapshot]) -> list[str]:
        undos = Undos.of(found)
        return [words.why(one, NOW, undos).removeprefix("made before ") for one in found]

    restored = "bringing back the snapshot of today 14:02"
    undone, done = mark("undone"), mark("done")
    assert said(chain(undone, undone, undone, done)) == [
        f"{restored}; that was undone since",  # restored, undone, restored again, undone again
        "undoing a restore; that was undone, and done again",
        "undoing an undo; that was undone since",
        "undoing a restore",
    ]
    assert said(chain(undone, undone, done)) == [
        f"{restored}; that was undone, and done again",
        "undoing a restore; that was undone since",
        "undoing an undo",
    ]


def test_an_undo_that_was_turned_back_undid_nothing(words: Messages) -> None:
    """A restore, an undo of it that was turned back, and one that was completed."""
    restored, turned = chain(mark("undone"), mark("undone", turned_back=True))
    undo = safety(NOW, mark("done", job="2", act="undo", undoes="0"))
    undos = Undos.of([undo, turned, restored])

    assert words.why(restored, NOW, undos).endswith("14:02; that was undone since")
    assert words.why(turned, NOW, undos) == "made before undoing a restore; that was turned back"
    assert words.why(undo, NOW, undos) == "made before undoing a restore"


def test_marks_that_name_each_other_end(words: Messages) -> None:
    """Nothing writes such labels; a list does not hang for them."""
    found = [safety(NOW, mark("undone", job=one, undoes=other)) for one, other in ("ab", "ba")]

    assert all("that was undone" in words.why(one, NOW, Undos.of(found)) for one in found)


def test_a_snapshot_that_served_is_marked_as_one_that_was_made_for_it(words: Messages) -> None:
    made = replace(snapshot(NOW), restores=(mark("done"),))

    assert words.badges(made, PROJECT) == words.badges(safety(NOW), PROJECT) == (("safety", "note"),)
    assert words.is_kept(made)


def test_a_restore_says_which_snapshot_served_it(words: Messages) -> None:
    ended = job(Action.RESTORE, OutcomeStatus.DONE, report=plan(Counts(1)))
    assert ended.outcome is not None
    served = replace(ended, outcome=replace(ended.outcome, safety=NAME, safety_is_new=False))
    made = replace(ended, outcome=replace(ended.outcome, safety=NAME))

    said = "The snapshot of today 14:02 served as safety snapshot, because everything was still as in it."
    assert words.outcome(served, NOW).text.endswith(said)
    assert "safety snapshot" not in words.outcome(made, NOW).text
    assert Outcome.from_dict(served.outcome.as_dict() if served.outcome else {}) == served.outcome


def test_two_snapshots_of_one_minute_are_told_apart_by_their_seconds(words: Messages) -> None:
    ended = job(Action.RESTORE, OutcomeStatus.DONE, report=plan(Counts(1)))
    assert ended.outcome is not None
    served = replace(ended, outcome=replace(ended.outcome, safety="2026-11-21T13-02-30Z", safety_is_new=False))
    made = replace(served, outcome=replace(ended.outcome, safety="2026-11-21T13-02-30Z"))

    said = words.outcome(served, NOW)

    assert said.title == "Done: the snapshot of today 14:02:07 is back"
    assert "The snapshot of today 14:02:30 served as safety snapshot" in said.text
    assert words.outcome(made, NOW).title == "Done: the snapshot of today 14:02 is back"  # one only is spoken of
    shown = timed(words, said.title, said.moment, NOW, "when")
    assert 'data-time="exactly">today 14:02:07</time> is back' in shown


def test_who_deletes_a_safety_snapshot_is_told_what_goes_with_it(words: Messages) -> None:
    assert "With it goes the undo" in words.moved(NAME, True, NOW, undo=True).text
    assert words.moved(NAME, True, NOW).text == "It can be put back."
    assert "can be undone again" in words.moved(NAME, False, NOW, undo=True).text


def test_an_undo_of_an_undo_says_that_the_restore_holds_again(words: Messages) -> None:
    ended = job(Action.UNDO, OutcomeStatus.DONE, report=plan(Counts(1)))
    redone = replace(ended, order=replace(ended.order, redo=True))

    titles = [words.outcome(one, NOW).title for one in (ended, redone)]
    assert titles == ["Done: the restore is undone", "Done: the undo is undone, the restore holds again"]
    assert words.job_title(redone, NOW).title == "Undoing an undo"
    assert Order.from_dict(redone.order.as_dict()).redo


def test_a_whole_snapshot_that_a_make_found_current_is_good_though_a_newer_one_is_damaged(words: Messages) -> None:
    bad, good = snapshot(NOW - timedelta(hours=1), Status.DAMAGED), snapshot(NOW - timedelta(hours=2))
    looked = job(Action.MAKE, OutcomeStatus.UNCHANGED)
    assert looked.outcome is not None
    found = replace(looked, outcome=replace(looked.outcome, snapshot=good.name))

    said = words.verdict([bad, good], PROJECT, True, NOW, [found])

    assert (said.title, said.tone) == ("Last whole snapshot 2 hours ago.", "good")
    assert said.text == "Just now it held everything. The snapshot of today 13:30 is damaged: delete it."
    assert words.verdict([bad, good], PROJECT, True, NOW, [looked]).tone == "bad"  # it was of another snapshot
    old = snapshot(NOW - timedelta(days=9))
    kept = replace(looked, outcome=replace(looked.outcome, snapshot=old.name))
    assert words.verdict([old], PROJECT, True, NOW, [kept]).tone == "good"


def test_what_took_less_than_a_second_is_not_said_to_take_one(words: Messages) -> None:
    spans = [words.span(NOW, NOW + timedelta(seconds=one)) for one in (0.0, 0.99, 1, 6.4, 125)]

    assert spans == ["under 1 s", "under 1 s", "1 s", "6 s", "2 min 5 s"]


def test_a_deleted_project_is_said_to_be_deleted(words: Messages) -> None:
    assert words.verdict([snapshot(NOW)], PROJECT, False, NOW).title == "This project was deleted."


def test_lists_of_words_are_joined_as_people_do() -> None:
    assert [listed(()), listed(("a",)), listed(("a", "b")), listed(("a", "b", "c"))] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (ABSENT, "(not there)"),
        (None, "null"),
        (True, "true"),
        ("", "(empty)"),
        ("A title", "A title"),
        ("two\nlines", "two\ufffdlines"),
        ({"$numberInt": "7"}, "7"),
        ({"$numberDouble": "NaN"}, "NaN"),
        ({"$oid": "5" * 24}, "5" * 24),
        ({"$date": {"$numberLong": "1795266127000"}}, "2026-11-21 13:02:07 UTC"),
        ({"$date": {"$numberLong": str(2**62)}}, f"{2**62} ms"),
        ({"$date": 5}, '{"$date": 5}'),
        (["a", {"b": None}], '["a", {"b": null}]'),
    ],
)
def test_the_value_of_a_field_is_said_as_people_know_it(words: Messages, value: object, said: str) -> None:
    assert words.value(value) == said


@pytest.mark.parametrize(
    ("selection", "is_site", "said"),
    [
        (Selection(), True, "the whole site"),
        (Selection(only="files"), False, "the whole project, files only"),
        (Selection(editions=("a", "b")), False, "2 editions of this project"),
        (Selection(editions=("a",), paths=("b/\udcff",)), False, '1 edition and "b/\\udcff" of this project'),
        (Selection(paths=("a", "b"), collections=("c",)), True, "2 paths and collection c of the site"),
        (Selection(records=(("c", '"d"'),), only="records"), True, "record c/d of the site, records only"),
    ],
)
def test_what_a_plan_is_about_is_said_in_few_words(
    words: Messages, selection: Selection, is_site: bool, said: str
) -> None:
    assert words.chosen(selection, is_site) == said

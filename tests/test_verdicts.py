"""Verdicts as values, and the words for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from keyframe.errors import Problem
from keyframe.messages import NOTHING, Messages
from keyframe.model import Action, Job, OutcomeStatus, Verdict, Weight, decisive
from test_messages import NOW, PROJECT, job, snapshot

MISSING = Problem("damaged.file-missing", "is not there, or cannot be read.", "files/a.txt", "Others may have it.")
PARTIAL = Problem("noted.partial", "says that the snapshot is partial.", "snapshot.json", "It names the rest.")
MINE, OTHER = "p1", "p2"


@pytest.fixture
def words() -> Messages:
    return Messages(ZoneInfo("Europe/Amsterdam"))


def verdict(*problems: Problem, hours: int = 1, quick: bool = False, **counts: int) -> Verdict:
    counted = {one.code: 0 for one in problems}
    for one in problems:
        counted[one.code] += 1
    return Verdict(NOW - timedelta(hours=hours), quick, problems, counted | counts, 41, 3, 212_000_000)


def verified(found: Verdict) -> Job:
    status = OutcomeStatus.FAILED if found.is_bad else OutcomeStatus.DONE
    ended = job(Action.VERIFY, OutcomeStatus.DONE)
    assert ended.outcome is not None
    outcome = replace(ended.outcome, status=status, problems=found.damages, report=found.as_dict())
    return replace(ended, outcome=outcome)


# --- values


def test_damage_weighs_more_than_what_is_only_to_know_of() -> None:
    assert verdict().status is Weight.GOOD
    assert verdict(PARTIAL).status is Weight.WARN
    assert verdict(PARTIAL, MISSING).status is Weight.BAD
    assert verdict(PARTIAL, MISSING).damages == (MISSING,)


def test_a_finding_that_is_not_counted_cannot_be() -> None:
    with pytest.raises(ValueError, match="not counted"):
        Verdict(NOW, False, (MISSING,), {})


def test_a_verdict_comes_back_from_its_document() -> None:
    found = verdict(MISSING, PARTIAL, hours=3, quick=True)

    assert Verdict.from_dict(found.as_dict()) == found


@pytest.mark.parametrize(
    ("verdicts", "counts"),
    [
        ([], None),
        ([verdict(quick=True)], 0),
        ([verdict(hours=2), verdict(quick=True)], 0),  # nothing to take back
        ([verdict(MISSING, hours=2), verdict(quick=True)], 0),  # a quick look takes no damage back
        ([verdict(hours=2), verdict(MISSING, quick=True)], 1),
        ([verdict(MISSING, quick=True, hours=2), verdict()], 1),  # all of it was read since
        ([verdict(), verdict(MISSING, hours=2)], 0),
    ],
)
def test_which_of_several_verdicts_counts(verdicts: list[Verdict], counts: int | None) -> None:
    assert decisive(verdicts) == (None if counts is None else verdicts[counts])
    assert decisive(reversed(verdicts)) == decisive(verdicts)


def test_a_project_is_told_of_its_own_files_and_of_what_all_share() -> None:
    problems = [
        replace(MISSING, subject=f"files/project/{MINE}/a"),
        replace(MISSING, subject=f"files/project/{OTHER}/b"),
        replace(MISSING, subject=f"files/project/{MINE}0/c"),
        replace(MISSING, subject="files/about.txt"),
        replace(MISSING, code="damaged.collection-bytes", subject="db/bson/edition.bson"),
    ]

    part = verdict(*problems).part_of(MINE)

    assert [one.subject for one in part.problems] == [f"files/project/{MINE}/a", "db/bson/edition.bson"]
    assert dict(part.counts) == {"damaged.file-missing": 1, "damaged.collection-bytes": 1}
    assert verdict(*problems[1:4]).part_of(MINE).status is Weight.GOOD


def test_what_is_counted_and_not_named_may_be_anybodys() -> None:
    found = Verdict(NOW, False, (replace(MISSING, subject=f"files/project/{OTHER}/b"),), {MISSING.code: 30})

    assert found.part_of(MINE).is_bad
    assert found.part_of(MINE).unnamed == 29


# --- words


def test_a_good_snapshot_is_said_to_be_as_it_was_written(words: Messages) -> None:
    said = words.outcome(verified(verdict()), NOW)

    assert (said.title, said.tone) == ("Done: the snapshot of today 14:02 is as it was written", "good")
    assert said.text == "41 files and 3 records, 212 MB, were read and compared."


def test_a_quick_look_is_not_said_to_have_read_anything(words: Messages) -> None:
    said = words.outcome(verified(verdict(quick=True)), NOW)

    assert said.title == "Done: names and sizes of the snapshot of today 14:02 are right"
    assert said.text == "41 files and 3 records, 212 MB; the bytes were not read."
    assert "the bytes were not read" in words.verified(verdict(quick=True), NOW).title


def test_damage_is_said_with_its_number_and_that_nothing_was_changed(words: Messages) -> None:
    found = Verdict(NOW, False, (MISSING,), {MISSING.code: 30})

    said = words.outcome(verified(found), NOW)

    assert (said.title, said.tone) == ("Damaged: the snapshot of today 14:02 is not as it was written", "bad")
    assert said.text.startswith(f"30 things are not as written. {NOTHING.removesuffix('.')}")
    assert said.text.endswith("29 more are not named.")
    assert said.problems == (MISSING,)
    assert words.state(verified(found)) == "damaged"
    assert words.verified(found, NOW).title == "Verified today 14:30: 30 things are not as written."


def test_what_is_only_to_know_of_is_named_and_not_called_damage(words: Messages) -> None:
    said = words.outcome(verified(verdict(PARTIAL)), NOW)

    assert said.title.startswith("Done: ") and said.tone == "warn"
    assert said.problems == (PARTIAL,)


@pytest.mark.parametrize(
    ("status", "code"), [(OutcomeStatus.CANCELLED, "cancelled"), (OutcomeStatus.FAILED, "unavailable")]
)
def test_a_verification_that_came_to_no_end_says_nothing_of_the_snapshot(
    words: Messages, status: OutcomeStatus, code: str
) -> None:
    said = words.outcome(job(Action.VERIFY, status, code), NOW)

    assert said.title.startswith("Not done: ") and NOTHING in said.text
    assert words.job_title(job(Action.VERIFY, None), NOW).title == "Verifying the snapshot of today 14:02"


def test_a_damaged_snapshot_is_not_counted_as_a_good_one(words: Messages) -> None:
    good = snapshot(NOW - timedelta(days=2))
    newest = replace(snapshot(NOW - timedelta(hours=1)), verified=verdict(MISSING))

    said = words.verdict([newest, good], PROJECT, exists=True, now=NOW)

    assert (said.title, said.tone) == ("The newest snapshot is damaged.", "bad")
    assert said.moment == good.made_at
    assert words.badges(newest, PROJECT) == (("damaged", "bad"),)
    assert words.badges(replace(newest, verified=verdict()), PROJECT) == (("verified", "good"),)
    assert words.badges(replace(newest, verified=verdict(quick=True)), PROJECT) == ()

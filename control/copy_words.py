"""Words for what is put beside the present: a copy elsewhere, a project restored as a new one.

>>> copied(phrases, job, "the snapshot of today 14:02").title       # doctest: +SKIP
'Done: the copy of the snapshot of today 14:02 is made'
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .model import Counts, Job, OutcomeStatus
from .phrases import Phrases, Words, listed


def copied(phrases: Phrases, job: Job, called: str, moment: datetime | None = None) -> Words:
    """How a copy that was made came out."""
    outcome = job.outcome
    if outcome is None:
        raise RuntimeError("the words of a job that has not ended")
    partial = outcome.status is OutcomeStatus.PARTIAL
    what = f"the copy of {called} is made"
    title = f"Not all of it: {what}, with exceptions" if partial else f"Done: {what}"
    places = _places(phrases, outcome.report or {})
    text = f"{listed(places)}; all of it was compared with the snapshot afterwards." if places else ""
    text += " Nothing of the site was changed."
    text += " What is named here is not in it:" if partial else " Worth a look:" if outcome.warnings else ""
    return Words(title, phrases.plain(text).strip(), "good", moment=moment)


def duplicated(phrases: Phrases, job: Job, moment: datetime | None = None) -> Words:
    """How a project that was restored as a new one came out."""
    outcome = job.outcome
    if outcome is None:
        raise RuntimeError("the words of a job that has not ended")
    partial, report = outcome.status is OutcomeStatus.PARTIAL, outcome.report or {}
    title = "Not all of it: the project is there as a new one, with exceptions"
    title = title if partial else "Done: the project is there as a new one"
    name = report.get("title") or f"Project {job.order.new_id}"
    held = [phrases.count(int(report.get(key, 0)), noun) for key, noun in (("files", "file"), ("records", "record"))]
    text = f"It is called “{name}”, its id is {job.order.new_id}; it has {listed(held)}. "
    text += "The project that it was made of is as it was. To take it back, delete it as any other project."
    text += " What is named here is not in it:" if partial else " Worth a look:" if outcome.warnings else ""
    return Words(title, phrases.plain(text), "good", moment=moment)


def _places(phrases: Phrases, report: Mapping[str, Any]) -> list[str]:
    """`12 files in /mnt/old`, `30 records in the database old_site`."""
    if "creates" not in report:
        return []
    counts = Counts.from_dict(report["creates"])
    found = []
    if report.get("into"):
        found.append(f"{phrases.count(counts.files, 'file')} in {report['into']}")
    if report.get("database"):
        found.append(f"{phrases.count(counts.records, 'record')} in the database {report['database']}")
    return found

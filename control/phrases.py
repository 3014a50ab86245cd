"""Phrases: numbers, sizes, times, progress and problems as people say them; what `messages.py` makes sentences from.

Rules:

- Pure: the moment of reading comes in as `now`, the zone with the constructor. Nothing depends on the locale.
- Sizes in powers of ten; times in the zone of the site, the exact UTC beside them.

>>> Phrases(ZoneInfo("UTC")).size(2_100)
'2.1 kB'
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from .errors import Problem
from .model import Counts, Excluded, Progress, Selection, is_seen, is_snapshot_name, spelled

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# What the driver says is for the log and for `what`; which question was not answered is no matter to people.
_DRIVER = re.compile(r"\A(MongoDB does not answer) \(.*\)\.\Z", re.DOTALL)
_LONGEST_NAME = 160
_TOP = "the top folder"
_ARTICLES = ("a ", "an ", "the ")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_NOUNS = {"directory": "folder", "options": "setting"}
_REASONS = {
    "internal": "something unforeseen happened",
    "invalid": "the request does not fit",
    "settings": "the settings are wrong",
    "sign-in": "you are not signed in",
    "refused": "this is not allowed",
    "not-found": "it is not there",
    "expired": "the preview has expired",
    "busy": "something else is running",
    "stale": "something changed since you looked",
    "unsafe": "the state of now cannot be kept as a whole",
    "damaged": "the snapshot is damaged",
    "no-room": "the disk has no room",
    "unavailable": "the database or a disk did not answer",
    "changed": "something would not hold still",
    "cancelled": "it was stopped",
    "shrunk": "much of it is gone",
    "method": "this address does not answer to that",
    "too-large": "it is too large",
}


@dataclass(frozen=True, slots=True)
class Words:
    """What is said to a person: one sentence, more if needed, a tone (good, warn, bad, note), the problems by name.

    `moment` is the time that `title` or `text` speak of, so that a page can show it in the reader's zone. `along` names
    what a restore took along, since it became different after the plan was looked at; the first sentence introduces it.
    """

    title: str
    text: str = ""
    tone: str = "note"
    problems: tuple[Problem, ...] = ()
    moment: datetime | None = None
    along: tuple[Problem, ...] = ()


class Phrases:
    """Words in English, times in `zone`."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone

    def size(self, size: int) -> str:
        """`412 kB`, `2.1 kB`, `1.1 GB`: powers of ten, a decimal below ten."""
        unit = _unit(size)
        return f"{_scaled(size, unit)} {'byte' if size == 1 else _UNITS[unit]}"

    def number(self, number: int) -> str:
        """`41`, `12 000` (thin spaces that do not break)."""
        return f"{number:,}".replace(",", "\u202f")

    def count(self, number: int, noun: str) -> str:
        """`1 file`, `3 files`, `2 indexes`."""
        plural = "" if number == 1 else "es" if noun.endswith("x") else "s"
        return f"{self.number(number)} {noun}{plural}"

    def amount(self, number: int, unit: str) -> str:
        """`123 files`, `1 file`, `131 MB`; `unit` is given in the plural."""
        return self.size(number) if unit == "bytes" else f"{self.number(number)} {_unit_of(number, unit)}"

    def share(self, done: int, total: int, unit: str) -> str:
        """`26 of 41 files`, `1 of 1 file`, `131 of 212 MB`, `61 %`; `unit` is given in the plural."""
        if unit == "%":
            return f"{100 * done // total} %"
        if unit != "bytes":
            return f"{self.number(done)} of {self.number(total)} {_unit_of(total, unit)}".rstrip()
        shown = _unit(total)
        return f"{_scaled(done, shown)} of {_scaled(total, shown)} {_UNITS[shown]}"

    def plain(self, text: str) -> str:
        """A text as it can be shown: undecodable bytes and control characters become the replacement character."""
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return "".join(one if is_seen(one) else "\ufffd" for one in text)

    def path(self, name: str) -> str:
        """A path as it can be shown, and pasted back; `.` is the folder that all others lie in."""
        return _TOP if name == "." else spelled(name)

    def clock(self, moment: datetime) -> str:
        """`14:02`."""
        return f"{moment.astimezone(self.zone):%H:%M}"

    def second(self, moment: datetime) -> str:
        """`14:02:07`."""
        return f"{moment.astimezone(self.zone):%H:%M:%S}"

    def day(self, moment: datetime, now: datetime) -> str:
        """`today`, `yesterday`, `Tuesday 18 November`, with the year if it is another one."""
        then, today = moment.astimezone(self.zone), now.astimezone(self.zone)
        distance = (today.date() - then.date()).days
        if distance in (0, 1):
            return ("today", "yesterday")[distance]
        year = "" if then.year == today.year else f" {then.year}"
        return f"{_DAYS[then.weekday()]} {then.day} {_MONTHS[then.month - 1]}{year}"

    def when(self, moment: datetime, now: datetime) -> str:
        """`today 14:02`, `yesterday 09:10`, `Tuesday 18 November 14:02`."""
        return f"{self.day(moment, now)} {self.clock(moment)}"

    def exactly(self, moment: datetime, now: datetime) -> str:
        """`today 14:02:07`: for titles, since two snapshots may be of the same minute."""
        return f"{self.day(moment, now)} {self.second(moment)}"

    def ago(self, moment: datetime, now: datetime) -> str:
        """`just now`, `5 minutes ago`, `2 hours ago`, `yesterday 09:10`, `3 days ago`; after a month the day itself."""
        seconds = (now - moment).total_seconds()
        if seconds < 60:
            return "just now"
        if seconds < 3600:
            return f"{self.count(int(seconds // 60), 'minute')} ago"
        if seconds < 12 * 3600:
            return f"{self.count(int(seconds // 3600), 'hour')} ago"
        days = (now.astimezone(self.zone).date() - moment.astimezone(self.zone).date()).days
        if days < 2 or days > 30:
            return self.when(moment, now)
        return f"{self.count(days, 'day')} ago"

    def span(self, start: datetime, end: datetime) -> str:
        """How long something took: `under 1 s`, `6 s`, `2 min 5 s`."""
        if end - start < timedelta(seconds=1):
            return "under 1 s"
        minutes, seconds = divmod(round((end - start).total_seconds()), 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    def exact(self, moment: datetime) -> str:
        """`2026-11-21 13:02:07 UTC`."""
        return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

    # What a plan is about, what goes on, and what went wrong

    def kind(self, kind: str) -> str:
        """What people call a kind of item: `folder`, `setting`, `index`."""
        return _NOUNS.get(kind, kind)

    def tally(self, counts: Counts) -> tuple[str, ...]:
        """`("3 files", "1 record", "2 folders")`; what a plan of an older version does not name is `other things`."""
        found = [self.count(counts.files, "file")] if counts.files else []
        found += [self.count(counts.records, "record")] if counts.records else []
        found += [self.count(number, self.kind(kind)) for kind, number in counts.kinds]
        unnamed = counts.other - sum(number for _, number in counts.kinds)
        return (*found, self.count(unnamed, "other thing")) if unnamed > 0 else tuple(found)

    def chosen(self, selection: Selection, is_site: bool) -> str:
        """`2 editions of this project`, `edition/1/a.txt and 3 records of the site`, `the whole site, files only`."""
        found = [self.count(len(selection.editions), "edition")] if selection.editions else []
        found += [self.count(len(selection.projects), "project")] if selection.projects else []
        for names, noun in (
            (tuple(map(self.path, selection.paths)), "path"),
            (tuple(f"collection {spelled(one)}" for one in selection.collections), "collection"),
            (tuple(f"record {one}" for one in _records(selection)), "record"),
        ):
            if names:
                found.append(cut(names[0]) if len(names) == 1 else self.count(len(names), noun))
        scope = "site" if is_site else "project"
        whole = f"{listed(found)} of {'the' if is_site else 'this'} {scope}" if found else f"the whole {scope}"
        return f"{whole}, {selection.only} only" if selection.only else whole

    def progress(self, progress: Progress) -> str:
        """`Step 3 of 5: preparing files · 131 of 212 MB`; without a step: `Starting.`; a total of 0 is unknown."""
        if not progress.stage:
            return "Starting."
        head = f"Step {progress.step} of {progress.steps}: {progress.stage}" if progress.steps else progress.stage
        if progress.total:
            return f"{head} · {self.share(progress.done, progress.total, progress.unit)}"
        return f"{head} · {self.amount(progress.done, progress.unit)}" if progress.done and progress.unit else head

    def percent(self, progress: Progress) -> int:
        """How far a job is as a whole, all steps counting the same."""
        if not progress.steps:
            return 0
        inside = min(1.0, progress.done / progress.total) if progress.total else 0.0
        return min(99, int(100 * (max(0, progress.step - 1) + inside) / progress.steps))

    def problem(self, problem: Problem) -> str:
        """A problem as sentences: `Snapshot of project 3 needs 4.2 GB, …`, `There is no such snapshot (2026-…).`"""
        what, subject = self.plain(problem.what).strip(), self.path(problem.subject)
        if _DRIVER.match(what):
            what = _DRIVER.sub(r"\1.", what)
        elif subject and what.startswith(_ARTICLES):
            # It has a subject of its own. A folder that only we know says nothing to people.
            said = "" if "/.drafts/" in subject else f"{subject[0].upper()}{subject[1:]}: "
            what = f"{said}{what}" if said else f"{what[0].upper()}{what[1:]}"
        elif subject and what[:1].islower():
            # A path or a name keeps its letters; words begin a sentence.
            what = f"{subject[0].upper()}{subject[1:]} {what}" if " " in subject else f"{subject} {what}"
        elif subject and not re.search(rf"(?<!\w){re.escape(subject)}(?!\w)", what):
            what = f"{what.removesuffix('.')} ({subject})."
        stop = "" if what.endswith((".", "!", "?")) else "."
        return f"{what}{stop} {self.plain(problem.hint)}".strip()

    def excluded(self, left: Excluded) -> tuple[str, ...]:
        """What the settings left out of a snapshot, a sentence each; empty where they leave out nothing."""
        inside, elsewhere = (", ".join(one) for one in (left.patterns.project, left.patterns.site))
        if elsewhere:
            found = [f"In the folders of projects: {inside}."] * bool(inside) + [f"Elsewhere: {elsewhere}."]
        else:
            found = [f"{inside}."] * bool(inside)
        if found and left.count:
            more = left.count - len(left.paths)
            names = [*left.paths, *([f"{self.number(more)} more"] if more else [])]
            was = "One file or folder was" if left.count == 1 else f"{self.number(left.count)} files and folders were"
            found.append(
                f"{was} left out{f': {listed(names)}' if left.paths else ''}. A restore leaves such files alone."
            )
        elif found:
            found.append("Nothing like that was there.")
        return tuple(map(self.plain, found))

    def reason(self, code: str) -> str:
        """A code in a few words, to follow a colon: `the disk has no room`."""
        return _REASONS.get(code.partition(".")[0], _REASONS["internal"])


def moment_of(name: str) -> datetime | None:
    """The moment that a snapshot's name says, for words only (order and retention use `made_at`)."""
    if not is_snapshot_name(name):
        return None
    try:
        return datetime.strptime(name, "%Y-%m-%dT%H-%M-%SZ").replace(tzinfo=UTC)
    except ValueError:  # the form is right, the day does not exist
        return None


def cut(name: str) -> str:
    """A name that is very long without its middle: where it begins and how it ends tell it from others."""
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 :]}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _records(selection: Selection) -> tuple[str, ...]:
    """The records of a selection as people name them."""
    if not selection.records:
        return ()
    from .stores.idents import shown_record  # it knows bson, which most calls do without

    return tuple(shown_record(*one) for one in selection.records)


def _unit_of(number: int, plural: str) -> str:
    """A unit for a number: `files`, `file`; `tries`, `try`; `indexes`, `index`."""
    if number != 1:
        return plural
    for ending, single in (("ies", "y"), ("xes", "x"), ("s", "")):
        if plural.endswith(ending):
            return plural.removesuffix(ending) + single
    return plural


def _unit(size: int) -> int:
    unit = 0
    # 999 500 bytes would read `1000 kB`: what rounds up to a thousand takes the next unit.
    while size >= (1000 if unit == 0 else 999.5 * 1000**unit) and unit < len(_UNITS) - 1:
        unit += 1
    return unit


def _scaled(size: int, unit: int) -> str:
    value = size / 1000**unit
    return f"{value:.1f}" if unit and value < 9.95 else f"{value:.0f}"

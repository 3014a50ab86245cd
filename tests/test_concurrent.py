"""People work, and several ask for something at once, while a restore runs: real gunicorn, worker, HTTP and mongod.

Every change has a number. The snapshot that is restored holds none of them, so each acknowledged one has to be in
exactly one place afterwards: in the live state, or in the safety snapshot.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from keyframe.errors import BusyError
from keyframe.model import Actor, Job, JobState, OutcomeStatus, Scope
from keyframe.settings import Settings
from numbered_host import TOP
from pymongo import MongoClient
from running import Running, ask, fill_people, until

SITE = Scope.site()
RATE = 100.0  # changes a second
CLIENTS = 8


@pytest.fixture
def site(mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    name = f"numbered_{secrets.token_hex(6)}"
    settings = Settings(
        var=tmp_path / "var",
        run_mode="test",
        mongo={"uri": mongo_uri, "database": name},  # type: ignore[arg-type]
        web={"workers": 2, "threads": 8},  # type: ignore[arg-type]
        gate={"wait": 1, "close_within": 5},  # type: ignore[arg-type]
    )
    (settings.working / TOP).mkdir(parents=True)
    (settings.working / TOP / "first.txt").write_text("there from the first")
    fill_people(settings)
    try:
        with Running(settings, application="numbered_host:create_app()") as running:
            yield running
    finally:
        with MongoClient[Any](mongo_uri) as client:
            client.drop_database(name)
            client.drop_database(f"{name}_control")


class Writers:
    """Threads that send numbered changes at a rate; `answers` says what each came to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = itertools.count(1)
        self._stop = threading.Event()
        self.answers: dict[int, int] = {}
        self._threads = [threading.Thread(target=self._write) for _ in range(CLIENTS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + CLIENTS / RATE, time.monotonic() - 0.5)
            number = next(self._numbers)
            self.answers[number] = ask(self._port, "POST", f"/number/{number}").status

    def came_to(self, status: int) -> set[int]:
        return {number for number, answer in self.answers.items() if answer == status}


def in_both(records: set[int], files: set[int]) -> set[int]:
    """The changes of a state; none is there by half."""
    assert records == files, f"mixed: {records ^ files}"
    return records


def numbers_in(folder: Path) -> set[int]:
    found = {path for path in folder.iterdir() if path.stem.isdecimal()}
    assert all(path.read_text() == f"change {path.stem}\n" for path in found)
    return {int(path.stem) for path in found}


def live(site: Running) -> set[int]:
    with MongoClient[Any](site.settings.mongo.uri) as client:
        records = {one["_id"] for one in client[site.settings.mongo.database][TOP].find()}
    return in_both(records, numbers_in(site.settings.working / TOP))


def stored(site: Running, job: Job) -> set[int]:
    """The changes in the safety snapshot of a restore."""
    assert job.outcome is not None and job.outcome.safety is not None, job.outcome
    folder = SITE.stored_folder(site.settings.repository) / job.outcome.safety
    dump = folder / f"db/bson/{TOP}.bson"
    records = {one["_id"] for one in bson.decode_all(dump.read_bytes())} if dump.exists() else set()
    return in_both(records, numbers_in(folder / "files" / TOP))


def root(site: Running) -> Actor:
    return site.office.login.shell_actor()


def test_no_change_is_lost_or_mixed_while_people_write_during_a_restore_and_its_undo(site: Running) -> None:
    made = site.make().outcome
    assert made is not None and made.snapshot is not None
    desk = site.office.desk

    with Writers(site.port) as writers:
        until(lambda: len(writers.came_to(200)) > 50, 30, "some changes")
        restored = site.ended(desk.restore(root(site), SITE, made.snapshot).id)
        seen = len(writers.came_to(200))
        until(lambda: len(writers.came_to(200)) > seen + 50, 60, "changes after the restore")
    before, after = stored(site, restored), live(site)

    assert restored.outcome is not None and restored.outcome.status is OutcomeStatus.DONE, restored.outcome
    assert set(writers.answers.values()) <= {200, 503}
    assert before | after == writers.came_to(200), "an acknowledged change is lost, or a refused one was made"
    assert not before & after
    assert len(before) > 50 and len(after) > 50
    assert min(after) > min(before)

    undone = site.ended(desk.undo(root(site), SITE).id)

    assert undone.outcome is not None and undone.outcome.status is OutcomeStatus.DONE, undone.outcome
    assert live(site) == before
    assert stored(site, undone) == after


def test_what_is_asked_for_during_a_restore_waits_or_is_refused_with_a_sentence(site: Running) -> None:
    made = site.make().outcome
    assert made is not None and made.snapshot is not None
    desk, actor = site.office.desk, root(site)
    assert ask(site.port, "POST", "/number/1").status == 200

    with site.office.gate.shared(5):  # the restore cannot change over meanwhile
        first = desk.restore(actor, SITE, made.snapshot).id
        until(lambda: site.office.jobs.get(first).state is JobState.RUNNING, 30, "the first restore")
        second, make = desk.restore(actor, SITE, made.snapshot).id, desk.make(actor, SITE).id
        with pytest.raises(BusyError, match="restore of the site") as refused:
            desk.delete(actor, SITE, made.snapshot)
        waiting = [site.office.jobs.get(job).state for job in (second, make)]
    ended = [site.ended(job) for job in (first, second, make)]

    assert refused.value.hint
    assert waiting == [JobState.QUEUED] * 2
    statuses = [one.outcome.status for one in ended if one.outcome is not None]
    assert statuses == [OutcomeStatus.DONE, OutcomeStatus.UNCHANGED, OutcomeStatus.DONE]
    times = [(one.started_at, one.ended_at) for one in ended]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))  # type: ignore[operator]
    assert live(site) == set()
    assert stored(site, ended[0]) == {1}
    desk.delete(actor, SITE, made.snapshot)

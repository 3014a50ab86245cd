"""One instant for files and records, between real processes: gunicorn, the worker, and clients that change the site.

`benchmarks/run.py --only instant` does the same at full size.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import bson
import pytest
from host import TOP
from instant import Clients, holes, prove, torn
from keyframe.errors import UnavailableError
from keyframe.settings import Settings
from pymongo import MongoClient
from running import Answer, Running, ask, fill_people, until

THREADS = 4  # of each of gunicorn's two workers


@contextmanager
def running(mongo_uri: str, folder: Path, w: str = "1", threads: int = THREADS) -> Iterator[Running]:
    name = f"instant_{secrets.token_hex(6)}"
    settings = Settings(
        var=folder / "var",
        run_mode="test",
        mongo={"uri": mongo_uri, "database": name},  # type: ignore[arg-type]
        web={"workers": 2, "threads": threads},  # type: ignore[arg-type]
        gate={"wait": 20, "close_within": 5},  # type: ignore[arg-type]
    )
    (settings.working / TOP).mkdir(parents=True)
    fill_people(settings)
    try:
        with Running(settings, w=w) as site:
            yield site
    finally:
        with MongoClient(mongo_uri) as client:
            client.drop_database(name)
            client.drop_database(f"{name}_control")


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The running site of the tests that leave it as it was."""
    with running(mongo_uri, tmp_path_factory.mktemp("instant")) as found:
        yield found


@pytest.fixture
def own(mongo_uri: str, tmp_path: Path) -> Iterator[Running]:
    """A running site for a test that kills parts of it."""
    with running(mongo_uri, tmp_path) as found:
        yield found


# --- the proof


@pytest.mark.parametrize("w", ["1", "majority"])
def test_each_snapshot_under_load_shows_one_instant(mongo_uri: str, tmp_path: Path, w: str) -> None:
    with running(mongo_uri, tmp_path, w, threads=16) as site:  # half of them may wait: nobody is turned away
        proof = prove(site, snapshots=5)

    assert proof.wrong == []
    assert proof.refused == []
    assert proof.changes > 30
    assert proof.processes == 2, "both of gunicorn's workers were to write"
    for header in proof.headers:
        assert set(header["instant"]) == {"cluster_time", "utc"}
        assert 0 < header["gate"]["closed_seconds"] < 5


@pytest.fixture(scope="module")
def held(site: Running) -> Path:
    """A snapshot in which there are changes of some clients."""
    with Clients(site.port, clients=2, rate=40) as changing:
        until(lambda: len(changing.sent()) >= 24, 30, "some changes")
    return site.folder(site.make())


@pytest.fixture
def copy(held: Path, tmp_path: Path) -> Path:
    """A copy of that snapshot, to be spoilt."""
    return Path(shutil.copytree(held, tmp_path / held.name))


def test_the_proof_finds_nothing_wrong_with_a_good_snapshot(copy: Path) -> None:
    heads, wrong = torn(copy)

    assert wrong == []
    assert len(heads) == 2
    assert all(last > 4 for last in heads.values())


@pytest.mark.parametrize("file", ["files/{TOP}/0/7.txt", "files/{TOP}/1/last"])
def test_the_proof_finds_a_file_that_lacks(copy: Path, file: str) -> None:
    (copy / file.format(TOP=TOP)).unlink()

    assert len(torn(copy)[1]) == 1


def test_the_proof_finds_a_file_of_another_moment(copy: Path) -> None:
    (copy / "files" / TOP / "0" / "last").write_text("3")
    (copy / "files" / TOP / "1" / "1000.txt").write_text("change 1000\n")

    assert len(torn(copy)[1]) == 2


def test_the_proof_finds_a_record_that_lacks(copy: Path) -> None:
    dump = copy / f"db/bson/{TOP}.bson"
    documents = bson.decode_all(dump.read_bytes())
    dump.write_bytes(b"".join(bson.encode(one) for one in documents if one["_id"] != "1-7"))

    assert torn(copy)[1] == [f"client 1 at {torn(copy)[0][1]}: records lack [7], have too many []"]


def test_the_proof_finds_a_hole_in_the_order(site: Running) -> None:
    with Clients(site.port, clients=2, rate=40, first=30) as changing:
        until(lambda: len(changing.sent()) >= 8, 30, "some changes")
    sent = changing.sent()
    last = {one.client: one.number for one in sent}

    assert holes(sent, last, 0.0, time.monotonic()) == []
    assert holes(sent, {**last, 30: last[30] - 3}, 0.0, time.monotonic()) != []
    assert holes(sent, last, 0.0, sent[0].began) != []


# --- who does not hold up whom


def test_a_slow_upload_holds_up_neither_a_snapshot_nor_anybody_else(site: Running) -> None:
    with socket.create_connection(("127.0.0.1", site.port), 60) as upload:
        upload.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10000\r\n\r\n")
        waits = []
        for number in range(3):
            (site.settings.working / "round.txt").write_text(str(number))
            job = site.order()

            def trickled_until_made(job: str = job) -> bool:
                upload.sendall(b"x")
                return site.office.jobs.get(job).outcome is not None

            until(trickled_until_made, 30, "a snapshot")
            waits.append(ask(site.port, "POST", f"/change/50/{number}"))
            header = site.header(site.ended(job))
            assert (header["status"], header["gate"]["tries"]) == ("done", 1)

    assert [one.status for one in waits] == [200] * 3
    assert max(one.seconds for one in waits) < 5


def test_readers_are_answered_while_more_writers_wait_than_there_are_threads(site: Running) -> None:
    threads = 2 * THREADS
    with ThreadPoolExecutor(3 * threads) as pool:
        with site.office.gate.closed():
            writers = [pool.submit(ask, site.port, "POST", f"/change/{60 + one}/0") for one in range(2 * threads)]
            until(lambda: sum(one.done() for one in writers) >= len(writers) - threads // 2, 30, "who may not wait")
            readers = [ask(site.port, "GET", f"/read/{one}", seconds=10) for one in range(20)]
            waiting = [one for one in writers if not one.done()]

        answers: list[Answer] = [one.result() for one in writers]

    assert waiting, "somebody was to wait"
    assert [one.status for one in readers] == [200] * 20
    assert max(one.seconds for one in readers) < 3
    assert {one.status for one in answers} == {200, 503}
    assert all(one.result().status == 200 for one in waiting), "who waited writes when the gate opens"


# --- who is killed leaves no lock


def test_a_killed_web_worker_leaves_no_lock(own: Running) -> None:
    with ThreadPoolExecutor() as pool:
        hanging = pool.submit(ask, own.port, "POST", "/hang")
        note = own.settings.working / "hangs"
        until(lambda: note.exists() and note.read_text() != "", 30, "a request that holds the gate")
        with pytest.raises(UnavailableError), own.office.gate.closed():
            pass
        pid = int(note.read_text())
        assert pid in own.web_workers()
        os.kill(pid, signal.SIGKILL)
        assert hanging.result().status == 0

    header = own.header(own.make())
    assert (header["status"], header["gate"]["tries"]) == ("done", 1)
    until(lambda: len(own.web_workers()) == 2, 30, "a new worker in its place")
    assert ask(own.port, "POST", "/change/0/0").status == 200


def test_a_killed_snapshot_worker_leaves_no_lock(own: Running) -> None:
    for number in range(4000):  # so that the gate is closed for a while
        folder = own.settings.working / "many" / str(number % 40)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(str(number))
    assert own.worker is not None
    job = own.order()
    until_closed(own)
    own.worker.send_signal(signal.SIGKILL)
    own.worker.wait()
    assert own.office.jobs.get(job).outcome is None, "it was to be killed before its end"

    assert ask(own.port, "POST", "/change/0/0", seconds=5).status == 200
    own.start_worker()
    assert own.ended(job).outcome is not None
    again = own.header(own.make())
    assert (again["status"], again["gate"]["tries"]) == ("done", 1)
    assert torn(own.folder(own.make()))[1] == []


def until_closed(site: Running) -> None:
    """Wait for the moment in which somebody has the gate closed."""

    def closed() -> bool:
        try:
            with site.office.gate.shared(0):
                return False
        except UnavailableError:
            return True

    deadline = time.monotonic() + 30
    while not closed():
        assert time.monotonic() < deadline, "the gate was not closed"
        time.sleep(0.001)

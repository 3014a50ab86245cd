"""The benchmarks of what people notice: requests while a snapshot is made, making by REST, listing, the instant."""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from host import TOP
from instant import Clients, Proof, prove
from making import Bench, filled
from measure import Measured, settle
from report import Goal, Part
from running import SITE, Running, ask, fill_people
from workloads import WORKLOADS, Workload


class Readers:
    """Threads that read pages, each at a steady pace, and note how long they waited."""

    def __init__(self, port: int, threads: int = 2, rate: float = 40.0) -> None:
        self._port, self._pause = port, threads / rate
        self._stop = threading.Event()
        self._seconds: list[float] = []
        self.failed = 0
        self._threads = [threading.Thread(target=self._read, args=(one,)) for one in range(threads)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self, client: int) -> None:
        while not self._stop.wait(self._pause):
            answer = ask(self._port, "GET", f"/read/{client}")
            self._seconds.append(answer.seconds)
            self.failed += answer.status != 200

    @property
    def percentile(self) -> float:
        """The 95th, in seconds."""
        return statistics.quantiles(self._seconds, n=20)[-1]


def requests_meanwhile(bench: Bench, workload: Workload, part: Part) -> None:
    """Reading and writing requests while a first snapshot of the workload is made, and while nothing is."""
    settings = bench.settings(workload.name, "data-requests")
    ratios, waits, answers, closed, idles = [], [], [], [], []
    with Running(settings) as site:
        for number in range(bench.runs):
            settle()
            with Readers(site.port) as idle, Clients(site.port, clients=2, rate=10, first=10 * number):
                time.sleep(max(1.0, 10 * min(1.0, bench.share)))
            with Readers(site.port) as busy, Clients(site.port, clients=2, rate=10, first=10 * number + 5) as writing:
                job = site.make(f"run {number}")
                time.sleep(0.5)
            if idle.failed or busy.failed or any(one.answer.status != 200 for one in writing.sent()):
                raise SystemExit("requests failed")
            ratios.append(busy.percentile / idle.percentile)
            idles.append(idle.percentile)
            waits.append(max(one.waited for one in writing.sent()))
            answers.append(max(one.answer.seconds for one in writing.sent()))
            closed.append(float(site.header(job)["gate"]["closed_seconds"]))
    part.most("reading requests, 95th percentile while one is made, of the idle one", statistics.median(ratios), 2, "x")
    beyond = max(wait - shut for wait, shut in zip(waits, closed, strict=True))
    part.most("writing requests, longest wait beyond the time the gate was closed", beyond * 1000, 100, "ms")
    part.remarks.append(
        f"Requests: 40 reading and 10 writing ones a second, to gunicorn with 2 workers on the same machine; idle, the "
        f"95th percentile of reading was {_ms(statistics.median(idles))}. The first of these snapshots stores "
        f"everything, the others what has changed. A writing request waited at the gate for {_ms(max(waits))} at most, "
        f"its answer took {_ms(max(answers))} at most; the gate was closed for {_ms(max(closed))} at most."
    )


def make_by_rest(bench: Bench) -> Part:
    """S: a snapshot ordered by REST, until the list shows it."""
    workload = WORKLOADS["S"]
    part = Part(workload.name, workload.what)
    database = filled(bench, workload)
    for number in range(bench.runs):
        settings = bench.settings(workload.name, f"data-{number}")
        with Running(settings, application="keyframe.site:create_app()") as site:
            _ = site.token()
            for kind in ("first", "nothing changed", "1 % changed"):
                if kind == "1 % changed":
                    workload.change(settings, database, number)
                    time.sleep(2.5)
                settle()
                began = time.monotonic()
                made = json.loads(site.rest("POST", "/site/snapshots").text)["snapshot"]["name"]
                listed = json.loads(site.rest("GET", "/site/snapshots").text)
                seconds = time.monotonic() - began
                if made not in json.dumps(listed):
                    raise SystemExit("it was not listed")
                part.add(f"Keyframe by REST, {kind}", Measured(seconds, 0, 0, 0, 0))
    for kind in ("first", "nothing changed", "1 % changed"):
        part.most(f"{kind}, until it is listed", part.median(f"Keyframe by REST, {kind}") or 0.0, 0.5, "s")
    part.remarks.append("Only the time is measured: ordering, waiting for the job, reading the list.")
    return part


def list_many(bench: Bench) -> Part:
    """The newest 50 of 10,000 snapshots, asked at the desk."""
    count = max(100, int(10_000 * bench.share))
    part = Part("list", f"the newest 50 of {count:,} snapshots: small real folders, made by code")
    settings = bench.settings("list", "data")
    (settings.working / TOP).mkdir(parents=True)
    (settings.working / "about.txt").write_text("A small site.")
    fill_people(settings)
    with Running(settings, web=False) as site:
        _multiply(site.folder(site.make()), count)
        desk, actor = site.office.desk, site.office.login.shell_actor()
        for number in range(10 * bench.runs):
            began = time.monotonic()
            page = desk.snapshots(actor, SITE, limit=50)
            seconds = time.monotonic() - began
            if len(page.items) != 50 or any(one.status.value != "done" for one in page.items):
                raise SystemExit("the list is wrong")
            part.add("desk, first time" if number == 0 else "desk, again", Measured(seconds, 0, 0, 0, 0))
    for name in part.runs:
        part.most(f"{name}, newest 50", (part.median(name) or 0.0) * 1000, 50, "ms")
    return part


def _multiply(one: Path, count: int) -> None:
    """Copies of a snapshot, a minute apart."""
    header = json.loads((one / "snapshot.json").read_text(encoding="utf-8"))
    for number in range(1, count):
        at = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        folder = one.with_name(at.strftime("%Y-%m-%dT%H-%M-%SZ"))
        shutil.copytree(one, folder)
        (folder / "snapshot.json").write_text(json.dumps(header | {"made_at": at.strftime("%Y-%m-%dT%H:%M:%S.000Z")}))


def instants(bench: Bench) -> Part:
    """The proof of the instant, 30 snapshots at each write concern, with a slow upload all the time."""
    snapshots = max(3, int(30 * bench.share))
    part = Part(
        "instant",
        f"8 clients change a record and a file per request, 100 changes a second, during {snapshots} snapshots, with "
        "an upload trickling in",
    )
    for w in ("1", "majority"):
        settings = bench.settings(f"instant-{w}", "data")
        (settings.working / TOP).mkdir(parents=True)
        fill_people(settings)
        with Running(settings, w=w) as site, _trickling(site.port):
            proof = prove(site, snapshots)
        _tell(part, w, snapshots, proof)
    return part


@contextmanager
def _trickling(port: int) -> Iterator[None]:
    """An upload of which a byte arrives every 200 ms, for as long as the `with` lasts."""
    stop = threading.Event()

    def trickle() -> None:
        with socket.create_connection(("127.0.0.1", port), 60) as upload:
            upload.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n")
            while not stop.wait(0.2):
                upload.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tell(part: Part, w: str, snapshots: int, proof: Proof) -> None:
    what = f"`w: {w}`"
    wrong = len(proof.wrong)
    part.goals += [
        Goal(f"{what}: snapshots that show more than one instant", "0", f"{wrong} of {snapshots}", not wrong),
        Goal(f"{what}: requests that failed", "0", f"{len(proof.refused)} of {proof.changes}", not proof.refused),
    ]
    if proof.headers:
        beyond = (proof.longest_wait - proof.longest_closed) * 1000
        part.most(f"{what}: longest wait beyond the longest time the gate was closed", beyond, 100, "ms")
    tries = max((header["gate"]["tries"] for header in proof.headers), default=0)
    part.remarks += [
        f"{what}: {proof.changes / proof.seconds:.0f} changes a second; the longest wait at the gate was "
        f"{_ms(proof.longest_wait)}, the longest answer took {_ms(proof.longest_answer)}; the gate was closed for "
        f"{_ms(proof.longest_closed)} at most, and tried {tries} times at most.",
        *proof.wrong[:3],
        *proof.refused[:3],
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"

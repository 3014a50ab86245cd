"""The parts of a site that proofs and benchmarks look at: gunicorn with the host, and the worker, as real processes.

>>> with Running(settings, w="majority") as site:       # doctest: +SKIP
...     site.make()
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyframe.doors.office import Office
from keyframe.model import EVERYTHING, Job, JobState, Scope, Snapshot
from keyframe.processes import spawn
from keyframe.settings import Settings
from keyframe.wiring import build
from pymongo import MongoClient

HERE = Path(__file__).parent
SITE = Scope.site()
_LONG = 3600.0  # seconds that one job may take


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP request came to; status 0: the connection was refused or broke off."""

    status: int
    text: str
    seconds: float


def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for the condition; AssertionError with `what` when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def ask(port: int, method: str, path: str, headers: Mapping[str, str] | None = None, seconds: float = 60.0) -> Answer:
    """One HTTP request over a connection of its own."""
    began = time.monotonic()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, error.read().decode()
    except OSError as error:
        status, text = 0, str(error)
    return Answer(status, text, time.monotonic() - began)


class Running:
    """One site: its processes, and an office of this process to order and look."""

    def __init__(self, settings: Settings, *, w: str = "1", web: bool = True, application: str = "host:create_app()"):
        self.settings = settings
        self.office: Office = build(settings)
        self.port = _free_port()
        self._application = application
        self._web = web
        self._w = w
        self.gunicorn: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self._token = ""

    def __enter__(self) -> Running:
        try:
            self.start_worker()
            if self._web:
                self._start_web()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- processes

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        assert settings.mongo.uri is not None
        return {
            "KEYFRAME_VAR": str(settings.var),
            "KEYFRAME_WORKING_DIR": str(settings.working),
            "KEYFRAME_DATA_DIR": str(settings.data),
            "KEYFRAME_RUN_MODE": settings.run_mode,
            "KEYFRAME_MONGO__URI": settings.mongo.uri,
            "KEYFRAME_MONGO__DATABASE": settings.mongo.database,
            "KEYFRAME_MONGO__TIMEOUT": str(settings.mongo.timeout),
            "KEYFRAME_GATE__WAIT": str(settings.gate.wait),
            "KEYFRAME_GATE__CLOSE_WITHIN": str(settings.gate.close_within),
            "KEYFRAME_WEB__THREADS": str(settings.web.threads),
            "HOST_W": self._w,
        }

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        self.settings.var.mkdir(parents=True, exist_ok=True)
        return spawn([sys.executable, "-m", *words], self.settings.var / "said", env=self._environment())

    def start_worker(self) -> None:
        """Start the worker that makes the snapshots, and wait for its first beat."""
        self.worker = self._spawn("keyframe.main", "worker")
        until(self.office.jobs.worker_alive, 60, "the worker's beat")

    def _start_web(self) -> None:
        web = self.settings.web
        size = ("--workers", str(web.workers), "--threads", str(web.threads), "--pythonpath", str(HERE))
        bind = ("--bind", f"127.0.0.1:{self.port}", "--config", "python:keyframe.web")
        self.gunicorn = self._spawn("gunicorn", *bind, *size, self._application)
        until(lambda: ask(self.port, "GET", "/healthz", seconds=5).status == 200, 60, "gunicorn's health")

    def web_workers(self) -> list[int]:
        """The process ids of gunicorn's workers."""
        assert self.gunicorn is not None
        return children(self.gunicorn.pid)

    def stop(self) -> None:
        """End all that was started here; nothing is asked twice."""
        for process in (self.gunicorn, self.worker):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in (self.gunicorn, self.worker):
            if process is not None:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        self.office.database.client.close()

    # --- ordering

    def order(self, note: str = "") -> str:
        """Order a snapshot of the site; the job's id."""
        return self.office.desk.make(self.office.login.shell_actor(), SITE, note).id

    def ended(self, job: str) -> Job:
        """The job, once it has ended."""
        found = self.office.jobs.wait(job, _LONG)
        assert found.state is JobState.ENDED, "the job does not end"
        return found

    def make(self, note: str = "") -> Job:
        return self.ended(self.order(note))

    def preview(self, name: str) -> Job:
        """What restoring the site to a snapshot would do."""
        return self.ended(self.office.desk.preview(self.office.login.shell_actor(), SITE, name, EVERYTHING, None).id)

    def restore(self, name: str) -> Job:
        """Restore the site to a snapshot."""
        return self.ended(self.office.desk.restore(self.office.login.shell_actor(), SITE, name).id)

    def snapshots(self) -> Sequence[Snapshot]:
        """Those of the site, the newest first."""
        return self.office.desk.snapshots(self.office.login.shell_actor(), SITE).items

    def folder(self, job: Job) -> Path:
        """Where the snapshot of a job lies."""
        assert job.outcome is not None, "it has not ended"
        assert job.outcome.snapshot is not None, job.outcome
        return SITE.stored_folder(self.settings.repository) / job.outcome.snapshot

    def header(self, job: Job) -> dict[str, Any]:
        """`snapshot.json` of the snapshot of a job."""
        found: dict[str, Any] = json.loads((self.folder(job) / "snapshot.json").read_text(encoding="utf-8"))
        return found

    def token(self) -> str:
        """A bearer token of root, who must be among the site's people."""
        if not self._token:
            self._token = self.office.desk.create_token(self.office.login.shell_actor(), "root", "benchmark")
        return self._token

    def rest(self, method: str, path: str, wait: int = 60) -> Answer:
        """Ask REST as root."""
        headers = {"Authorization": f"Bearer {self.token()}", "Prefer": f"wait={wait}"}
        return ask(self.port, method, f"/api/v1{path}", headers)


def fill_people(settings: Settings) -> None:
    """Root, who may do everything."""
    client: MongoClient[Any] = MongoClient(settings.mongo.uri)
    with client:
        client[settings.mongo.database]["user"].insert_one({"user": "root", "name": "Root", "role": "root"})


def children(pid: int) -> list[int]:
    """The processes that `pid` has started and that are still there."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    return [pid, *(below for one in children(pid) for below in family(one))]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

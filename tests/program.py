"""`keyframe` as a real process: started, asked, ended, and all its processes found."""

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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEYFRAME = Path(sys.executable).parent / "keyframe"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(var: Path, **more: str) -> dict[str, str]:
    """That of this process, without settings of whoever runs the tests, and with these."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("KEYFRAME_")}
    return {**clean, "KEYFRAME_VAR": str(var), **more}


def call(var: Path, *words: str, stdin: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, from a folder without settings."""
    return subprocess.run(
        [str(KEYFRAME), *words],
        cwd=var.parent,
        env=environment(var, **more),
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=120,
    )


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for the condition; returns how long it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


class Up:
    """One `keyframe up` on a folder `var` of its own."""

    def __init__(self, var: Path, argv: tuple[str, ...] = (str(KEYFRAME), "up"), cwd: Path | None = None) -> None:
        self.var = var
        self.port = free_port()
        self.argv = argv
        self.cwd = cwd or var.parent
        self.env: Mapping[str, str] = {}
        self.process: subprocess.Popen[str] | None = None

    def start(self, **more: str) -> Up:
        """Start it; `wait_until_healthy` is another step."""
        self.env = environment(self.var, KEYFRAME_PORT=str(self.port), **more)
        self.var.mkdir(parents=True, exist_ok=True)
        with (self.var / "said").open("a") as said:
            self.process = subprocess.Popen(
                self.argv,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def said(self) -> str:
        return (self.var / "said").read_text(encoding="utf-8")

    @property
    def run(self) -> dict[str, Any]:
        found = json.loads((self.var / "run.json").read_text(encoding="utf-8"))
        assert isinstance(found, dict)
        return found

    def health(self) -> int:
        """The status of /healthz; 0 if nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def wait_until_healthy(self, seconds: float = 60) -> float:
        def healthy() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.said
            return self.health() == 200

        return until(healthy, seconds, "healthy")

    def wait(self, seconds: float = 30) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> tuple[int, float]:
        """Ask for the end; returns exit code and seconds."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        return code, time.monotonic() - began

    def parts(self) -> dict[str, int]:
        """The process ids of database, worker, web, and the workers of web (web.0, web.1)."""
        found: dict[str, int] = {}
        webs = []
        for pid in self.processes():
            words = _words(pid)
            if "mongod" in words[0]:
                found["database"] = pid
            elif words[-1:] == ["worker"]:
                found["worker"] = pid
            elif "gunicorn" in words:
                webs.append(pid)
        masters = [pid for pid in webs if _parent(pid) not in webs]
        found.update([("web", pid) for pid in masters])
        found.update({f"web.{number}": pid for number, pid in enumerate(sorted(set(webs) - set(masters)))})
        return found

    def processes(self) -> list[int]:
        """All that work on this `var`, whoever started them."""
        marks = (f"KEYFRAME_VAR={self.var}".encode(), str(self.var / "mongo").encode())
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) not in (os.getpid(), self.process and self.process.pid):
                with contextlib.suppress(OSError):
                    told = [*(folder / "environ").read_bytes().split(b"\0"), (folder / "cmdline").read_bytes()]
                    if marks[0] in told or marks[1] in told[-1]:
                        found.append(int(folder.name))
        return found

    def kill(self) -> None:
        """End whatever is left; for the end of a test."""
        for pid in [*([self.pid] if self.process and self.process.poll() is None else []), *self.processes()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(10)


@contextlib.contextmanager
def up(var: Path) -> Iterator[Up]:
    """One to be started by the test; nothing of it is left afterwards."""
    one = Up(var)
    try:
        yield one
    finally:
        one.kill()


def _words(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        return words or [""]
    return [""]


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0

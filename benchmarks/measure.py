"""Measuring processes: time, CPU, memory of a whole family of them, what a folder takes on the disk, the machine.

Rules:

- Memory is PSS, summed over a process and its descendants, sampled; CPU is user and system time of all of them.
- What a folder takes is counted in blocks, each inode once, without those that an older folder has as well.

>>> with Sampler([worker.pid]) as sampler:       # doctest: +SKIP
...     work()
>>> sampler.peak, sampler.cpu                    # doctest: +SKIP
(81_000_000, 2.4)
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from running import family

_EVERY = 0.1  # seconds between two samples; reading the PSS of a process stops it for a moment
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of something; `cpu` and `server_cpu` (MongoDB's) in seconds, `peak` and `disk` in bytes."""

    seconds: float
    cpu: float
    server_cpu: float
    peak: int
    disk: int


class Sampler:
    """Watches families of processes while something runs inside the `with`."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak = 0
        self.cpu = 0.0

    def __enter__(self) -> Sampler:
        self._began = sum(map(cpu_seconds, self._pids))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.cpu = sum(map(cpu_seconds, self._pids)) - self._began

    def _run(self) -> None:
        while True:
            self.peak = max(self.peak, sum(map(pss, self._pids)))
            if self._stop.wait(_EVERY):
                return


def pss(pid: int) -> int:
    """The proportional memory of a process and its descendants, in bytes; 0 for who has ended."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, its descendants, and those of them that have ended."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text(errors="replace").rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return total / _TICKS


def run_measured(argv: Sequence[str], server: int, new: Path | None, older: Path | None = None) -> Measured:
    """Run a command to its end; `server` is MongoDB's process id, `new` the folder that it makes."""
    began, server_began = time.monotonic(), cpu_seconds(server)
    process = subprocess.Popen(list(argv), start_new_session=True)
    with Sampler([process.pid]) as sampler:
        # Not reaped before its CPU time has been read.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(argv))
    cpu = usage.ru_utime + usage.ru_stime
    disk = 0 if new is None else disk_bytes(new, older)
    return Measured(seconds, cpu, cpu_seconds(server) - server_began, sampler.peak, disk)


def disk_bytes(folder: Path, older: Path | None = None) -> int:
    """What a folder takes on the disk beyond what it shares with an older one."""
    known = set() if older is None else {inode for inode, _ in _inodes(older)}
    return sum(size for inode, size in set(_inodes(folder)) if inode not in known)


def _inodes(folder: Path) -> list[tuple[int, int]]:
    found = []
    for top, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            stat = os.lstat(os.path.join(top, name))
            found.append((stat.st_ino, stat.st_blocks * 512))
    return found


def settle() -> None:
    """Bring what others have written to the disk, so that nobody pays for it."""
    os.sync()


def use_memory(folder: Path) -> None:
    """Fill the page cache once: in a virtual machine the first use of a page of memory costs the host's time, seconds
    for each GB, which whoever runs first would pay for all."""
    free = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemFree" in line)
    path, piece = folder / "nothing", bytearray(1 << 20)
    with path.open("wb") as file:
        file.truncate(free << 10)
    with path.open("rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def machine(folder: Path) -> str:
    """The machine in a sentence or two."""
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1e6
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GB of memory, {file_system(folder)}, "
        f"Linux {platform.release()}, Python {platform.python_version()}, load {load:.1f} at the start"
    )


def file_system(folder: Path) -> str:
    """The kind of the file system that holds a folder."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        point = left.split()[4]
        if (folder.resolve() == Path(point) or Path(point) in folder.resolve().parents) and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind

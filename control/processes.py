"""Programs that this one starts, and the locks that say who runs where.

Rules:

- A program is started from the main thread, in a session of its own (Ctrl-C in the terminal reaches its parent only),
  and the kernel kills it when its parent dies, however that happens: no orphans.
- A lock is an `flock` on a file that is never deleted; who holds it stands in the file. The kernel frees it with its
  holder, so a lock is never stale.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
# Loaded here, not after the fork: a forked child must not import.
_LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, signal_number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send `signal_number` to this process when the parent, process `parent`, is gone.

    The kernel watches the parent's *thread* that started this process; hence the rule to start from the main thread.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal_number))
    if os.getppid() != parent:  # it died between fork and prctl: nobody would ever send the signal
        os._exit(1)


def spawn(
    argv: Sequence[str], out: Path, *, env: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start `argv` in a session of its own, to die with this process; what it prints is added to the file `out`.

    Raises
    ------
    OSError: the program is not there, or not one for this machine.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("ab") as log:
        return subprocess.Popen(  # noqa: S603  (argv is ours, no shell)
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(os.environ, **(env or {})),
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            preexec_fn=_before_exec(os.getpid()),
        )


def _before_exec(parent: int) -> Callable[[], None]:
    def prepare() -> None:
        die_with_parent(parent)
        # mongod and many connections want more open files than the soft limit of most shells.
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    return prepare


def end(process: subprocess.Popen[bytes], within: float) -> bool:
    """Ask `process` to end (SIGTERM), kill it after `within` seconds; whether it ended when asked."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(within)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def is_alive(pid: int) -> bool:
    """Whether process `pid` runs on this machine; one that has ended and was not waited for does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    # The name in brackets may hold anything; the state follows the last bracket.
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: its process and what it does; pid 0 where it does not say (yet)."""

    pid: int
    what: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.what})" if self.pid else "another process"


class Held(Exception):  # noqa: N818  (a state of affairs for the caller to put into words)
    """Somebody else holds the lock."""

    def __init__(self, holder: Holder) -> None:
        super().__init__(str(holder))
        self.holder = holder


@contextlib.contextmanager
def lock(path: Path, what: str, wait: float = 0.5) -> Iterator[None]:
    """Hold the lock `path`, saying in it that this process does `what`.

    Parameters
    ----------
    wait: seconds to try; `holder_of` takes the lock for a moment, so that a single try would not do.

    Raises
    ------
    Held: another process held it all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        until = time.monotonic() + wait
        while not _locked(file.fileno(), fcntl.LOCK_EX):
            if time.monotonic() >= until:
                raise Held(_written(path))
            time.sleep(0.02)
        file.truncate(0)
        file.write(f"{os.getpid()} {what}\n")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock `path` now, None if nobody does."""
    try:
        with path.open("r", encoding="utf-8") as file:
            return None if _locked(file.fileno(), fcntl.LOCK_SH) else _written(path)
    except FileNotFoundError:
        return None


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _written(path: Path) -> Holder:
    pid, _, what = path.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
    return Holder(int(pid), what) if pid.isdigit() else Holder(0, "")

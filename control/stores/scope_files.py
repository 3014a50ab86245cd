"""The lock of a scope on disk: whoever changes live files or gives a snapshot its name holds it.

The lease in the control database says who works on a scope; but a process that was stopped may wake up after its lease
has gone to another. What it was about to do it must not do then. Rules:

- A lock file for each scope, created once and never deleted. The site takes its own exclusively; a project takes that
  of the site shared and its own exclusively.
- Who finds it locked waits. A holder that is stopped on this machine is killed: it would keep the lock for ever. One on
  another machine cannot be seen, and is waited for.
- Who holds it has written himself into the file; that counts for nothing without the lock.

>>> with scope_files.held(Scope.site(), watch.check): commit()          # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog

from ..model import Scope
from .disk import names_in, translate
from .locks import Holder

log = structlog.get_logger(__name__)

_POLL = 0.02  # seconds
_SITE = Scope.site().key


class ScopeFiles:
    """The folder of these lock files; made without touching the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def held(self, scope: Scope, check: Callable[[], None]) -> Iterator[None]:
        """Hold the lock of a scope.

        Parameters
        ----------
        check: asked while somebody else holds it; may raise to stop waiting.

        Raises
        ------
        UnavailableError: the folder cannot be used.
        """
        with contextlib.ExitStack() as held:
            if not scope.is_site:
                self._lock(held, _SITE, fcntl.LOCK_SH, check)
            own = self._lock(held, scope.key, fcntl.LOCK_EX, check)
            self._sign(own)
            yield

    def _lock(self, held: contextlib.ExitStack, key: str, kind: int, check: Callable[[], None]) -> int:
        path = self._path(key)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise translate(error, str(path), "nothing was changed") from error
        held.callback(os.close, descriptor)
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                check()
                self._kill_stopped(key)
                time.sleep(_POLL)
            except OSError as error:
                raise translate(error, str(path), "nothing was changed") from error
            else:
                # Explicitly: to close is not enough when a child that was started meanwhile has inherited the file.
                held.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
                return descriptor

    def _sign(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # a full disk; the lock holds all the same
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(Holder.here().as_dict()).encode(), 0)

    def _kill_stopped(self, key: str) -> None:
        """Kill whoever may hold a lock and is stopped on this machine; of the site's any scope may be the holder."""
        names = names_in(self._folder) if key == _SITE else [self._path(key).name]
        for name in names:
            holder = self._holder(self._folder / name)
            if holder is not None and holder.is_stopped():
                log.warning("lock.kills-stopped", scope=name, pid=holder.pid)
                with contextlib.suppress(OSError):
                    os.kill(holder.pid, signal.SIGKILL)

    @staticmethod
    def _holder(path: Path) -> Holder | None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Holder(**json.loads(path.read_bytes()))
        return None

    def _path(self, key: str) -> Path:
        return self._folder / key.replace(":", ".")

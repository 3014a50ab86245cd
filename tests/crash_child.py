"""A process that does a job and kills itself at a named step.

Started as a program it waits for requests, one JSON document a line, and forks a process for each: so that a test pays
for the imports once. The forked process builds an office of its own, around whose real stores every step leaves a line
in the trace file, `<step>:before:<n>` and `<step>:after:<n>`; at the line that the request names it ends by SIGKILL.

>>> crasher.run(world, job.id, "intent:after:1")        # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from steps import STEPS, places, wrapped


@dataclass(frozen=True)
class Death:
    """How a process ended: whether by its own SIGKILL, its exit code, and the steps it had passed."""

    killed: bool
    code: int
    trace: tuple[str, ...]


class Crasher:
    """The waiting program, seen from a test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0
        self._program = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, world: Any, job: str, kill: str = "", *, one_by_one: bool = False) -> Death:
        """Do a job in a process of its own, up to `kill`; `one_by_one`: no two files are copied at once, as always
        where it dies in such a copy."""
        alone = one_by_one or kill.startswith("copy:")
        return self.all(world, [{"act": "run", "name": job, "kill": kill, "one by one": alone}])[0]

    def recover(self, world: Any, kill: str = "") -> Death:
        """Recover as a starting worker does, in a process of its own, up to `kill`."""
        return self.ask(world, "recover", kill=kill)

    def ask(self, world: Any, act: str, scope: str = "", name: str = "", kill: str = "") -> Death:
        """Delete, undelete, turn back or recover in a process of its own, up to `kill`."""
        return self.all(world, [{"act": act, "scope": scope, "name": name, "kill": kill}])[0]

    def all(self, world: Any, requests: list[dict[str, Any]]) -> list[Death]:
        """Several processes at the same time."""
        settings = world.settings
        for request in requests:
            self._number += 1
            request |= {
                "trace": str(self._folder / f"trace-{self._number}"),
                "var": str(settings.var),
                "uri": settings.mongo.uri,
                "database": settings.mongo.database,
                "restore": settings.restore.model_dump(),
                "hooks": settings.hooks.model_dump(),
            }
        assert self._program.stdin is not None and self._program.stdout is not None
        self._program.stdin.write(json.dumps(requests) + "\n")
        states = json.loads(self._program.stdout.readline())
        return [
            Death(
                os.WIFSIGNALED(state) and os.WTERMSIG(state) == signal.SIGKILL,
                os.waitstatus_to_exitcode(state),
                tuple(Path(request["trace"]).read_text().splitlines()),
            )
            for request, state in zip(requests, states, strict=True)
        ]

    def close(self) -> None:
        assert self._program.stdin is not None and self._program.stdout is not None
        self._program.stdin.close()
        self._program.wait(20)
        self._program.stdout.close()


def _wrap(trace: int, kill: str) -> None:
    counts: Counter[str] = Counter()

    def passing(step: str, when: str, number: int) -> int:
        if when == "before":
            counts[step] = number = counts[step] + 1  # threads take turns
        line = f"{step}:{when}:{number}"
        os.write(trace, line.encode() + b"\n")
        if line == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    for step in STEPS:
        outer = wrapped(step, partial(passing, step))
        for place, name in places(step):
            setattr(place, name, outer)


def _carry_out(request: dict[str, Any]) -> None:
    from keyframe.model import Actor, Scope
    from keyframe.settings import Settings
    from keyframe.wiring import build

    trace = os.open(request["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _wrap(trace, request["kill"])
    if request.get("one by one"):  # counted in this process only
        importlib.import_module("keyframe.backup.copying").WORTH_COPYING = 1 << 60  # type: ignore[attr-defined]
        files: Any = importlib.import_module("keyframe.stores.draft_files")
        files.DraftFiles.way = lambda *_: None  # each file by itself
    mongo = {"uri": request["uri"], "database": request["database"]}
    told = {key: request[key] for key in ("restore", "hooks")}
    settings = Settings(var=Path(request["var"]), run_mode="test", mongo=mongo, **told)  # type: ignore[arg-type]
    office, root = build(settings), Actor("root", "Root", "root", "cli")
    if request["act"] == "run":
        office.work.run_job(request["name"])
    elif request["act"] == "delete":
        office.desk.delete(root, Scope.from_key(request["scope"]), request["name"])
    elif request["act"] == "undelete":
        office.desk.undelete(root, Scope.from_key(request["scope"]), request["name"])
    else:
        if request["act"] == "turn back":
            office.desk.turn_back(root, Scope.from_key(request["scope"]))
        office.work.recover()


def main() -> None:
    """Wait for requests until the input ends."""
    import keyframe.wiring  # noqa: F401  (imported before the first fork)

    for line in sys.stdin:
        children = []
        for request in json.loads(line):
            child = os.fork()
            if child == 0:
                os.dup2(2, 1)  # the answers go to standard output, what a job says does not
                code = 1
                try:
                    _carry_out(request)
                    code = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(code)
            children.append(child)
        print(json.dumps([os.waitpid(child, 0)[1] for child in children]), flush=True)


if __name__ == "__main__":
    main()

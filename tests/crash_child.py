"""A process that does a job and kills itself at a named step.

Started as a program it waits for requests, one JSON document a line, and forks a process for each: so that a test pays
for the imports once. The forked process builds an office of its own, around whose real stores every step leaves a line
in the trace file, `<step>:before:<n>` and `<step>:after:<n>`; at the line that the request names it ends by SIGKILL.

>>> crasher.run(world, job.id, "intent:after:1")        # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What is wrapped: the name of a step, the module, the class in it (or none), the function.
STEPS = {
    "draft": ("backup.make", "Draft", "__init__", "stores.draft"),
    "copy": ("stores.draft_files", "DraftFiles", "copy", ""),
    "dress stored": ("stores.draft_files", "DraftFiles", "dress", ""),
    "share": ("stores.draft_files", "DraftFiles", "share", ""),
    "add link": ("stores.draft_files", "DraftFiles", "add_link", ""),
    "second pass": ("backup.copying", "Copying", "second_pass", ""),
    "pin": ("stores.mongo", "Mongo", "pinned", ""),
    "dump": ("stores.dump", "CollectionWriter", "close", ""),
    "manifest": ("stores.manifest", "ManifestWriter", "close", ""),
    "finish": ("stores.draft", "Draft", "finish", ""),
    "flush draft": ("stores.draft", "", "flush_open", ""),
    "commit": ("stores.repository", "", "_rename_new", ""),
    "sync": ("stores.repository", "", "sync_folder", ""),
    "plan": ("stores.plans", "PlanWriter", "save", ""),
    "stage": ("backup.staging", "Staging", "_stage", ""),
    "mark": ("stores.repository", "Repository", "mark", ""),
    "json": ("stores.headers", "", "write_json", ""),
    "intent": ("stores.intents", "Intents", "write", ""),
    "create": ("stores.mongo_write", "MongoWriter", "create", ""),
    "drop": ("stores.mongo_write", "MongoWriter", "drop", ""),
    "modify": ("stores.mongo_write", "MongoWriter", "modify", ""),
    "drop index": ("stores.mongo_write", "MongoWriter", "drop_index", ""),
    "create index": ("stores.mongo_write", "MongoWriter", "create_index", ""),
    "records": ("stores.mongo_write", "MongoWriter", "write", ""),
    "transaction": ("stores.mongo_write", "MongoWriter", "_write", ""),
    "remove": ("backup.staging", "Staging", "_remove", ""),
    "mkdir": ("backup.staging", "Staging", "_make_folder", ""),
    "rename": ("backup.staging", "Staging", "_place", ""),
    "dress": ("backup.staging", "Staging", "_dress_live", ""),
    "flush live": ("backup.staging", "", "flush_open", ""),
    "verify": ("backup.finishing", "Finishing", "_verify", ""),
    "unlock": ("stores.intents", "Intents", "remove", ""),
    "end": ("claims", "Claim", "end", ""),
    "add files": ("backup.duplicating", "", "rename_new", ""),
    "compared": ("stores.new_project", "NewProject", "differing", ""),
    "stage records": ("backup.new_ids", "NewRecords", "write", ""),
    "note": ("stores.begun", "BegunCopies", "write", ""),
    "mark database": ("stores.other_database", "OtherDatabase", "begin", ""),
    "place": ("backup.placing", "Placing", "add", ""),
    "fill": ("stores.mongo_write", "MongoWriter", "fill", ""),
    "check": ("backup.elsewhere", "Elsewhere", "_check", ""),
    "name": ("backup.elsewhere", "", "rename_new", ""),
    "unmark": ("stores.other_database", "OtherDatabase", "finish", ""),
    "unnote": ("stores.begun", "BegunCopies", "remove", ""),
    "release": ("claims", "Lease", "release", ""),
}
MANAGERS = {"pin"}  # functions whose result is a context manager: after means inside


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

    def run(self, world: Any, job: str, kill: str = "") -> Death:
        """Do a job in a process of its own, up to `kill`."""
        return self.all(world, [{"job": job, "kill": kill}])[0]

    def recover(self, world: Any, kill: str = "") -> Death:
        """Recover as a starting worker does, in a process of its own, up to `kill`."""
        return self.all(world, [{"job": "", "kill": kill}])[0]

    def all(self, world: Any, requests: list[dict[str, str]]) -> list[Death]:
        """Several processes at the same time."""
        settings = world.settings
        for request in requests:
            self._number += 1
            request |= {
                "trace": str(self._folder / f"trace-{self._number}"),
                "var": str(settings.var),
                "uri": settings.mongo.uri,
                "database": settings.mongo.database,
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

    def passing(step: str, when: str, number: int) -> None:
        line = f"{step}:{when}:{number}"
        os.write(trace, line.encode() + b"\n")
        if line == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(step: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        def outer(*args: Any, **kwargs: Any) -> Any:
            counts[step] = number = counts[step] + 1  # threads take turns
            passing(step, "before", number)
            result = inner(*args, **kwargs)
            passing(step, "after", number)
            return result

        @contextlib.contextmanager
        def managed(*args: Any, **kwargs: Any) -> Iterator[Any]:
            counts[step] = number = counts[step] + 1  # threads take turns
            passing(step, "before", number)
            with inner(*args, **kwargs) as value:
                passing(step, "after", number)
                yield value

        return managed if step in MANAGERS else outer

    for step, (module, owner, name, other) in STEPS.items():
        room: Any = importlib.import_module(f"keyframe.{other or module}")
        place = getattr(room, owner) if owner else room
        inner = getattr(place, name)
        outer = around(step, inner)
        setattr(place, name, outer)
        if step == "json":  # imported by name elsewhere
            for user in ("draft", "intents", "plans", "repository"):
                setattr(importlib.import_module(f"keyframe.stores.{user}"), name, outer)


def _carry_out(request: dict[str, str]) -> None:
    from keyframe.settings import Settings
    from keyframe.wiring import build

    trace = os.open(request["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _wrap(trace, request["kill"])
    if request["kill"].startswith("copy:"):  # counted in this process only
        importlib.import_module("keyframe.backup.copying").WORTH_COPYING = 1 << 60  # type: ignore[attr-defined]
        files: Any = importlib.import_module("keyframe.stores.draft_files")
        files.DraftFiles.way = lambda *_: None  # each file by itself
    mongo = {"uri": request["uri"], "database": request["database"]}
    office = build(Settings(var=Path(request["var"]), run_mode="test", mongo=mongo))  # type: ignore[arg-type]
    if request["job"]:
        office.work.run_job(request["job"])
    else:
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

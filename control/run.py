"""`var/run.json`: what `keyframe up` runs on this `var`, for other programs of the same machine.

Rules:

- It is written, by rename, when everything is in, and removed first when the end begins. It may hold the password of a
  database: mode 0600.
- It counts only while `var/run.lock` is held: what a killed run left behind says nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .processes import holder_of, is_alive
from .settings import Settings

RUN_ID = "KEYFRAME_RUN_ID"  # tells the parts which run they belong to


@dataclass(frozen=True, slots=True)
class Run:
    """Who runs, where it answers, and what it works on."""

    pid: int
    run_id: str
    address: str
    mongo_uri: str
    database: str
    control_database: str
    working_dir: str
    data_dir: str
    run_mode: str

    @classmethod
    def of(cls, settings: Settings, run_id: str) -> Run:
        """The run of this process; `settings` hold the address of the database it uses."""
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return cls(
            pid=os.getpid(),
            run_id=run_id,
            address=f"http://{host}:{settings.port}",
            mongo_uri=settings.mongo.uri or "",
            database=settings.mongo.database,
            control_database=settings.control_database,
            working_dir=str(settings.working),
            data_dir=str(settings.data),
            run_mode=settings.run_mode,
        )

    def write(self, var: Path) -> None:
        draft = var / f".run-{self.run_id}.json"
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        draft.replace(run_file(var))

    def settings(self, own: Settings) -> Settings:
        """`own`, made to work on what this run works on."""
        mongo = own.mongo.model_copy(
            update={"uri": self.mongo_uri, "database": self.database, "control_database": self.control_database}
        )
        folders = {"working_dir": Path(self.working_dir), "data_dir": Path(self.data_dir)}
        return own.model_copy(update={"mongo": mongo, "run_mode": self.run_mode, **folders})


def run_file(var: Path) -> Path:
    return var / "run.json"


def run_lock(var: Path) -> Path:
    """The lock that a `keyframe up` on this `var` holds as long as it lives."""
    return var / "run.lock"


def running(var: Path) -> Run | None:
    """The run that is up on `var` now, None if there is none, or it is still starting or already ending."""
    if holder_of(run_lock(var)) is None:
        return None
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(run_file(var).read_text(encoding="utf-8"))
        run = Run(**{field.name: found[field.name] for field in fields(Run)})
        return run if is_alive(run.pid) else None
    return None

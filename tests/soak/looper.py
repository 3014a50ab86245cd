"""A process that makes, restores and undoes at random, without end; it is there to be killed."""

from __future__ import annotations

import random
from pathlib import Path

from keyframe.doors.office import Office
from keyframe.errors import KeyframeError
from keyframe.model import Actor, Scope
from keyframe.settings import Settings
from keyframe.wiring import build

SITE = Scope.site()


def loop(var: str, uri: str, database: str, snapshots: tuple[str, str], seed: int) -> None:
    """`snapshots` are the two between which it goes back and forth."""
    office = build(Settings(var=Path(var), run_mode="test", mongo={"uri": uri, "database": database}))  # type: ignore[arg-type]
    root, chance = Actor("root", "Root", "root", "cli"), random.Random(seed)
    while True:
        try:
            office.work.run_job(_order(office, root, snapshots, chance))
        except KeyframeError as error:  # there may be nothing to undo
            print(error)


def _order(office: Office, root: Actor, snapshots: tuple[str, str], chance: random.Random) -> str:
    what = chance.choice(["make", "restore", "restore", "restore", "undo"])
    if what == "make":
        return office.desk.make(root, SITE).id
    if what == "undo":
        return office.desk.undo(root, SITE).id
    return office.desk.restore(root, SITE, chance.choice(snapshots)).id

"""What must hold of a copy beside the live site, and of a project restored as a new one, whatever happened meanwhile.

>>> look = Copied(world, snapshot, good); job = look.ordered(); …; look.require(job, is_there=True)  # doctest: +SKIP
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from bson import ObjectId
from keyframe.model import Job, Scope, Snapshot
from world import EDITION, ONE, PROJECT, Files, Records, World

State = tuple[Files, Records]


class Copied:
    """A copy of the project into a folder and a database that are not there yet; `good` was live when it was stored."""

    def __init__(self, world: World, snapshot: Snapshot, good: State) -> None:
        self._world, self._snapshot = world, snapshot
        self._good = good
        self._before = world.state()
        self._beside = world.settings.var.parent / "beside"
        self._beside.mkdir(exist_ok=True)

    def ordered(self) -> Job:
        """To a place of its own."""
        name = f"old_{secrets.token_hex(4)}"
        return self._world.office.desk.copy(
            self._world.ask, PROJECT, self._snapshot.name, into=str(self._beside / name), database=name
        )

    def require(self, job: Job, *, is_there: bool) -> None:
        """Folder and database are there as an undisturbed copy has them, or neither is; then they are removed."""
        world, folder, name = self._world, Path(job.order.into), job.order.database
        try:
            assert world.state() == self._before
            assert os.listdir(self._beside) == [folder.name] * is_there
            assert (name in world.client.list_database_names()) == is_there
            assert not list((world.settings.data / ".keyframe/copies").glob("*"))
            if is_there:
                assert self._content(job) == self._stored()
        finally:
            self._remove(job)

    def _stored(self) -> State:
        """What of the good state is the project's."""
        top, files, records = f"project/{ONE}/", *self._good
        names = {"project": {repr(ONE)}, "edition": {repr(one) for one in EDITION[:2]}}
        mine = {name: {key: records[name][key] for key in keys} for name, keys in names.items()}
        mine |= {name: one for name, one in records.items() if name.partition(" ")[0] in names and " " in name}
        return {path.removeprefix(top): one for path, one in files.items() if path.startswith(top)}, mine

    def _content(self, job: Job) -> State:
        settings = self._world.settings
        settings = settings.model_copy(
            update={
                "working_dir": Path(job.order.into),
                "mongo": settings.mongo.model_copy(update={"database": job.order.database}),
            }
        )
        there = World(settings, self._world.client)
        try:
            return there.state()
        finally:
            there.office.database.client.close()

    def _remove(self, job: Job) -> None:
        shutil.rmtree(job.order.into, ignore_errors=True)
        self._world.client.drop_database(job.order.database)


class Duplicated:
    """A project of a snapshot, under a new id."""

    def __init__(self, world: World, snapshot: Snapshot) -> None:
        self._world, self._snapshot = world, snapshot
        self._files, self._records = world.state()

    def ordered(self) -> Job:
        return self._world.office.desk.duplicate(self._world.ask, PROJECT, self._snapshot.name)

    def require(self, job: Job, *, is_there: bool) -> None:
        """The project is wholly there or not at all, everything else as it was; then it is removed."""
        world, new = self._world, ObjectId(job.order.new_id)
        folder = world.folder(Scope.project(str(new)))
        try:
            there = list(world.db.edition.find({"projectId": new}))
            mine = {repr(one) for one in (new, *(one["_id"] for one in there))}
            files, records = world.state()
            top = f"project/{new}"
            assert {path: one for path, one in files.items() if not (f"{path}/").startswith(f"{top}/")} == self._files
            for name, one in self._records.items():
                assert {key: raw for key, raw in records[name].items() if key not in mine} == one, name
            assert folder.exists() == (world.db.project.find_one({"_id": new}) is not None) == is_there
            assert sorted(one["title"] for one in there) == ["Edition 0", "Edition 1"] * is_there
            assert self._below(folder, there) == (self._stored() if is_there else [])
            assert not list((world.settings.data / ".keyframe/copies").glob("*"))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            world.db.edition.delete_many({"projectId": new})
            world.db.project.delete_one({"_id": new})

    def _below(self, folder: Path, editions: list[dict[str, Any]]) -> list[str]:
        """The paths in the new project, with the numbers of its editions instead of their ids."""
        found = [str(path.relative_to(folder)) for path in folder.rglob("*")]
        for one in editions:
            found = [path.replace(str(one["_id"]), one["title"]) for path in found]
        return sorted(found)

    def _stored(self) -> list[str]:
        """The same of the snapshot."""
        top = self._world.stored(self._snapshot) / "files"
        titles = {f"{number}" + "e" * 23: f"Edition {number}" for number in range(2)}
        found = [str(path.relative_to(top)) for path in top.rglob("*")]
        for ident, title in titles.items():
            found = [path.replace(ident, title) for path in found]
        return sorted(found)

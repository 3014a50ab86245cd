"""A small site to break: two projects, three editions, people; changed and looked at in one line each.

The live state is read past the product: files from the disk, records as bytes from the server.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bson import ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from keyframe.backup.stores import server_now
from keyframe.doors.office import Office
from keyframe.model import EVERYTHING, Actor, Job, Outcome, Plan, Scope, Selection, Snapshot
from keyframe.settings import Settings
from keyframe.wiring import build
from pymongo import MongoClient

SITE = Scope.site()
ONE, TWO = ObjectId("6" * 24), ObjectId("7" * 24)
PROJECT, OTHER = Scope.project(str(ONE)), Scope.project(str(TWO))
EDITION = [ObjectId(f"{number}" + "e" * 23) for number in range(3)]

Files = dict[str, tuple[Any, ...]]
Records = dict[str, dict[str, bytes]]


class World:
    """The site, and the desk before it; `ask` is who asks."""

    def __init__(
        self, settings: Settings, client: MongoClient[dict[str, Any]], now: Callable[[], datetime] = server_now
    ) -> None:
        self.settings = settings
        self.client = client
        self.db = client[settings.mongo.database]
        self.office: Office = build(settings, now=now)
        self.ask = Actor("root", "Root", "root", "cli")

    # --- the live state

    def folder(self, scope: Scope = SITE) -> Path:
        return scope.live_folder(self.settings.working)

    def files(self, scope: Scope = SITE) -> Files:
        """Every path below the scope's folder: content, mode and time of files, target of links, mode of folders."""
        top = os.fsencode(self.folder(scope))
        found: Files = {}
        for folder, folders, names in os.walk(top):
            if folder == top:
                folders[:] = [one for one in folders if one != b".keyframe"]
            for name in [*names, *folders]:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                key = os.fsdecode(os.path.relpath(path, top))
                mode = stat.S_IMODE(status.st_mode)
                if stat.S_ISLNK(status.st_mode):
                    found[key] = ("link", os.readlink(path), status.st_mtime_ns)
                elif stat.S_ISREG(status.st_mode):
                    digest = hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
                    found[key] = ("file", digest, mode, status.st_mtime_ns)
                else:
                    found[key] = ("other", mode)
        return found

    def records(self) -> Records:
        """Every document of every collection as bytes, and what describes the collection."""
        found: Records = {}
        for info in self.db.list_collections():
            name = info["name"]
            if name.startswith("system."):
                continue
            raw = self.db.get_collection(name, codec_options=CodecOptions(document_class=RawBSONDocument))
            found[name] = {repr(one["_id"]): bytes(one.raw) for one in raw.find()} if info["type"] != "view" else {}
            found[f"{name} options"] = {"": repr(info["options"]).encode()}
            if info["type"] == "collection":
                found[f"{name} indexes"] = {key: repr(sorted(value.items())).encode() for key, value in
                                            self.db[name].index_information().items()}  # fmt: skip
        return found

    def state(self) -> tuple[Files, Records]:
        return self.files(), self.records()

    # --- changing it past the product

    def write(self, path: str, text: str = "", scope: Scope = PROJECT) -> Path:
        target = self.folder(scope) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text or secrets.token_hex(8))
        return target

    def spoil(self) -> None:
        """Change, remove and add files and records of the first project, as people do."""
        top = self.folder(PROJECT) / "edition" / str(EDITION[0])
        (top / "model.glb").write_bytes(b"spoilt")
        (top / "articles" / "a.html").unlink()
        self.write(f"edition/{EDITION[0]}/new dir/ü\n.txt", "new")
        self.db.edition.update_one({"_id": EDITION[0]}, {"$set": {"title": "spoilt"}})
        self.db.edition.delete_one({"_id": EDITION[1]})
        self.db.edition.insert_one({"_id": "stray", "projectId": ONE, "title": "stray"})

    # --- asking

    def done(self, job: Job) -> Outcome:
        """The outcome of a job, done here."""
        outcome = self.office.work.run_job(job.id).outcome
        assert outcome is not None
        return outcome

    def make(self, scope: Scope = PROJECT, note: str = "") -> Snapshot:
        outcome = self.done(self.office.desk.make(self.ask, scope, note))
        assert outcome.snapshot is not None, outcome
        return self.office.desk.snapshot(self.ask, scope, outcome.snapshot)

    def preview(
        self, snapshot: Snapshot, scope: Scope = PROJECT, selection: Selection = EVERYTHING, people: bool | None = None
    ) -> Plan:
        job = self.office.desk.preview(self.ask, scope, snapshot.name, selection, people)
        outcome = self.done(job)
        assert outcome.report is not None, outcome
        return Plan.from_dict(outcome.report)

    def restore(
        self,
        snapshot: Snapshot,
        scope: Scope = PROJECT,
        selection: Selection | None = None,
        people: bool | None = None,
        plan: str = "",
        **more: Any,
    ) -> Outcome:
        return self.done(self.office.desk.restore(self.ask, scope, snapshot.name, selection, people, plan, **more))

    def restore_anyway(self, snapshot: Snapshot, scope: Scope = PROJECT, **more: Any) -> Outcome:
        """Where the state before cannot be kept as a whole: who confirms what the refusal says goes on."""
        refused = self.restore(snapshot, scope, **more)
        assert (refused.status, refused.problems[0].code) == ("refused", "unsafe"), refused
        return self.restore(snapshot, scope, confirm=refused.confirm, **more)

    def stored(self, snapshot: Snapshot) -> Path:
        return snapshot.scope.stored_folder(self.settings.repository) / snapshot.name


def fill(world: World) -> None:
    """The content: the first project has two editions, the second one has one."""
    db = world.db
    db.create_collection("site").insert_one({"_id": 1, "title": "The site"})
    db.create_collection("empty")
    db.project.insert_many([{"_id": ONE, "title": "First"}, {"_id": TWO, "title": "Second"}])
    owners = [ONE, ONE, TWO]
    # Before there is a document: building an index over some takes the server a tenth of a second.
    db.edition.create_index([("projectId", 1), ("title", -1)], name="by_title", unique=True)
    db.edition.insert_many(
        [{"_id": one, "projectId": owner, "title": f"Edition {number}", "weights": [1.5, {"a": None}]}
         for number, (one, owner) in enumerate(zip(EDITION, owners, strict=True))]
    )  # fmt: skip
    db.user.insert_many(
        [{"user": "root", "name": "Root", "role": "root"}, {"user": "admin", "name": "Admin", "role": "admin"},
         {"user": "anna", "name": "Anna", "role": "user"}, {"user": "bram", "name": "Bram", "role": "user"}]
    )  # fmt: skip
    db.projectUser.insert_many(
        [
            {"user": "anna", "projectId": ONE, "role": "organiser"},
            {"user": "bram", "projectId": TWO, "role": "organiser"},
        ]
    )
    for one, owner in zip(EDITION, owners, strict=True):
        top, scope = f"edition/{one}", Scope.project(str(owner))
        world.write(f"{top}/model.glb", "glTF" * 1000, scope)
        world.write(f"{top}/articles/a.html", "<p>A</p>", scope)
        world.write(f"{top}/scene.svx.json", "{}", scope).chmod(0o640)
        (world.folder(scope) / top / "empty").mkdir()
        (world.folder(scope) / top / "latest").symlink_to("articles/a.html")
    world.write("about.txt", "the site's own", SITE)


@contextlib.contextmanager
def new_world(
    mongo_uri: str, folder: Path, now: Callable[[], datetime] = server_now, **settings: Any
) -> Iterator[World]:
    """A fresh site in fresh databases."""
    name = f"world_{secrets.token_hex(6)}"
    chosen = Settings(var=folder / "var", run_mode="test", mongo={"uri": mongo_uri, "database": name}, **settings)  # type: ignore[arg-type]
    client = MongoClient[dict[str, Any]](mongo_uri)
    world = World(chosen, client, now)
    try:
        fill(world)
        yield world
    finally:
        world.office.database.client.close()
        client.drop_database(name)
        client.drop_database(f"{name}_control")
        client.close()

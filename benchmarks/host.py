"""A small application of a stranger with Keyframe mounted, for proofs and benchmarks: each request writes twice.

Rules:

- A change writes a record and a file, and notes its number in a record and a file of its client: so a snapshot that
  holds one without the other, or a later change without an earlier one, can be told.
- It answers a change with its process id and the seconds that the request waited at the gate.
- It makes it hard: between record and file it waits a little, either may come first, files are replaced as well as
  written in place, and every fifth change removes an older one.

>>> create_app()        # for gunicorn; settings come from the environment     # doctest: +SKIP
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, request
from keyframe.settings import Settings, load
from keyframe.wiring import Keyframe
from pymongo import MongoClient, WriteConcern
from pymongo.database import Database

TOP = "changes"  # the folder in the working directory, and the collection
_ARRIVED = "host.arrived"  # in the request's WSGI environment
_BETWEEN = 0.002  # seconds
_REMOVES = 5  # every such change removes the one that came four before it


def expected(last: int) -> set[int]:
    """The numbers of one client's changes that are there once change `last` has been made."""
    return {number for number in range(last + 1) if number % _REMOVES or number + _REMOVES - 1 > last}


class Writing:
    """Carries out one change."""

    def __init__(self, folder: Path, database: Database[Any]) -> None:
        self._folder = folder
        self._changes, self._heads = database[TOP], database["heads"]

    def change(self, client: int, number: int) -> None:
        steps: list[Callable[[int, int], None]] = [self._records, self._files]
        for step in steps if number % 2 else reversed(steps):
            step(client, number)
            time.sleep(_BETWEEN)

    def _records(self, client: int, number: int) -> None:
        self._changes.insert_one({"_id": f"{client}-{number}", "client": client, "number": number})
        self._heads.update_one({"_id": client}, {"$set": {"last": number}}, upsert=True)
        if number % _REMOVES == _REMOVES - 1:
            self._changes.delete_one({"_id": f"{client}-{number - _REMOVES + 1}"})

    def _files(self, client: int, number: int) -> None:
        folder = self._folder / str(client)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_text(f"change {number}\n" * (1 + number % 7))
        head = folder / "last"
        if number % 3:
            head.write_text(str(number))
        else:
            draft = folder / "last.draft"
            draft.write_text(str(number))
            draft.replace(head)
        if number % _REMOVES == _REMOVES - 1:
            (folder / f"{number - _REMOVES + 1}.txt").unlink()


def _arrived() -> None:
    request.environ[_ARRIVED] = time.monotonic()


def create_app(settings: Settings | None = None) -> Flask:
    """The application; `HOST_W` in the environment is the write concern, 1 or majority."""
    settings = settings or load()
    concern = os.environ.get("HOST_W", "1")
    client: MongoClient[Any] = MongoClient(settings.mongo.uri, connect=False)
    app = Flask("host")
    app.secret_key = "only for proofs"
    database = Database(
        client, settings.mongo.database, write_concern=WriteConcern(w=int(concern) if concern.isdigit() else concern)
    )
    writing = Writing(settings.working / TOP, database)

    app.before_request(_arrived)  # before Keyframe's own, which waits for the gate

    @app.post("/change/<int:one>/<int:number>")
    def change(one: int, number: int) -> str:
        waited = time.monotonic() - request.environ[_ARRIVED]
        writing.change(one, number)
        return f"{os.getpid()} {waited:.6f}"

    @app.get("/read/<int:one>")
    def read(one: int) -> str:
        found = database["heads"].find_one({"_id": one})
        return f"{os.getpid()} {found}"

    @app.post("/upload")
    def upload() -> str:
        return str(len(request.get_data()))

    @app.post("/hang")
    def hang() -> str:
        """Hold the gate until this process is killed."""
        (settings.working / "hangs").write_text(str(os.getpid()))
        threading.Event().wait(60)
        return "at last"

    Keyframe(settings).init_app(app)
    return app

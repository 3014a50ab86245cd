"""The records of D1: seven collections of a site of editions, with the types that such records have.

>>> fill_records(database, share=1.0, seed=4)       # doctest: +SKIP
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Decimal128, Int64, ObjectId
from bson.binary import Binary, UuidRepresentation
from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.database import Database

_BATCH = 5000
_BEGAN = datetime(2021, 3, 1, tzinfo=UTC)
_TEXT = """vase krater αμφορέας figure käfer relief Ω scan édition 模型 light stone clay handle rim base foot lip neck
shoulder glaze ochre incised painted moulded fragment restored century BC provenance"""
_WORDS = tuple(_TEXT.split())


Document = dict[str, Any]


def _id(kind: int, number: int) -> ObjectId:
    return ObjectId(f"{kind:08x}{number:016x}")


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_WORDS, k=words))


def _project(chance: random.Random, number: int) -> Document:
    return {"_id": _id(1, number), "title": f"Project {number}", "visible": True, "text": _text(chance, 60)}


def _edition(chance: random.Random, number: int) -> Document:
    return {
        "_id": _id(2, number),
        "projectId": _id(1, number % 20),
        "title": _text(chance, 4),
        "dc": {"creator": [_text(chance, 2)], "date": _moment(chance), "abstract": _text(chance, 150)},
        "weights": [chance.random() for _ in range(12)],
        "price": Decimal128(f"{chance.randrange(10**7)}.25"),
    }


def _annotation(chance: random.Random, number: int) -> Document:
    return {
        "_id": _id(3, number),
        "editionId": _id(2, number % 2000),
        "at": _moment(chance),
        "by": Binary.from_uuid(uuid.UUID(int=chance.getrandbits(128)), UuidRepresentation.STANDARD),
        "position": {"x": chance.uniform(-9, 9), "y": chance.uniform(-9, 9), "z": chance.uniform(-9, 9)},
        "text": _text(chance, 11),
        "tags": chance.choices(_WORDS, k=2),
        "views": chance.randrange(10**6),
        "parent": _id(3, number // 2) if number % 3 else None,
        "visible": number % 7 != 0,
    }


def _article(chance: random.Random, number: int) -> Document:
    return {"_id": _id(4, number), "editionId": _id(2, number % 2000), "html": f"<p>{_text(chance, 170)}</p>"}


def _event(chance: random.Random, number: int) -> Document:
    return {
        "_id": Int64(number),
        "at": _moment(chance),
        "what": chance.choice(["view", "edit", "sign in", "download"]),
        "bytes": Int64(chance.getrandbits(40)),
        "seconds": chance.expovariate(1.0),
        "agent": _text(chance, 22),
    }


def _media(chance: random.Random, number: int) -> Document:
    return {
        "_id": f"media/{number:06}.jpg",
        "size": [chance.randrange(8000), chance.randrange(8000)],
        "thumbnail": chance.randbytes(380),
        "exif": {"camera": _text(chance, 3), "iso": 100 << chance.randrange(6), "taken": _moment(chance)},
    }


def _user(chance: random.Random, number: int) -> Document:
    return {"_id": _id(5, number), "user": f"user{number}", "name": _text(chance, 2), "role": "user"}


def _moment(chance: random.Random) -> datetime:
    return _BEGAN + timedelta(milliseconds=chance.randrange(150_000_000_000))


COLLECTIONS: dict[str, tuple[int, Callable[[random.Random, int], Document]]] = {
    "project": (20, _project),
    "edition": (2000, _edition),
    "annotation": (1_000_000, _annotation),
    "article": (30_000, _article),
    "event": (120_000, _event),
    "media": (40_000, _media),
    "user": (7_980, _user),
}


def fill_records(database: Database[Any], share: float, seed: int) -> None:
    """All seven collections, with an index or two."""
    for name, (count, make) in COLLECTIONS.items():
        chance = random.Random(f"{name} {seed}")
        total = max(1, int(count * share))
        for begin in range(0, total, _BATCH):
            rows = [make(chance, number) for number in range(begin, min(total, begin + _BATCH))]
            database[name].insert_many(rows, ordered=False)
    database["edition"].create_index("projectId")
    database["annotation"].create_index([("editionId", 1), ("at", -1)])


def change_records(database: Database[Any], chance: random.Random, round: int) -> None:
    """One percent of each collection: most are changed, some added, some removed."""
    for name, (_, make) in COLLECTIONS.items():
        total = database[name].estimated_document_count()
        chosen = max(1, total // 100)
        changed = (row["_id"] for row in database[name].aggregate([{"$sample": {"size": chosen}}]))
        acts: list[InsertOne[Document] | UpdateOne | DeleteOne] = []
        for number, one in enumerate(changed):
            if number % 10 == 8:
                acts.append(InsertOne(make(chance, 10**9 + round * 10**6 + number)))
            elif number % 10 == 9:
                acts.append(DeleteOne({"_id": one}))
            else:
                acts.append(UpdateOne({"_id": one}, {"$set": {"round": round}}))
        for begin in range(0, len(acts), _BATCH):
            database[name].bulk_write(acts[begin : begin + _BATCH], ordered=False)

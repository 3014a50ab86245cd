"""What the benchmarks work on, made by code from a seed: files, records, and one percent of change in both.

Rules:

- The same seed makes the same content; `share` scales the number of things, not their size (but for `F1`, whose models
  shrink with it).
- Every workload is a site: files below `project/<id>/edition/<id>/`, and records of these projects and editions.
- A change touches one percent of each kind: eight in ten of it are written anew, one is added, one removed.

>>> WORKLOADS["F2"].fill(settings, database, share=1.0)      # doctest: +SKIP
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bson import ObjectId
from keyframe.sample import make_sample
from keyframe.settings import Settings
from pymongo.database import Database
from records import change_records, fill_records

_SEED = 4


@dataclass(frozen=True, slots=True)
class Workload:
    """`fill` makes it in an empty site, `change` changes one percent of it; `times` as much is made as of others."""

    name: str
    what: str
    fill: Callable[[Settings, Database[Any], float], None]
    change: Callable[[Settings, Database[Any], int], None]
    times: int = 1


def identity(kind: int, number: int) -> ObjectId:
    """The id of the project, edition or other thing of that number."""
    return ObjectId(f"{kind:08x}{number:016x}")


def _editions(settings: Settings, database: Database[Any], count: int, per_project: int) -> Iterator[Path]:
    """Projects and editions in the database, and the folder of each edition, made."""
    projects = -(-count // per_project)
    database["project"].insert_many(
        [{"_id": identity(1, one), "title": f"Project {one}", "visible": True} for one in range(projects)]
    )
    rows = [
        {"_id": identity(2, one), "projectId": identity(1, one // per_project), "title": f"Edition {one}"}
        for one in range(count)
    ]
    database["edition"].insert_many(rows)
    database["edition"].create_index("projectId")
    for row in rows:
        folder = settings.working / "project" / str(row["projectId"]) / "edition" / str(row["_id"])
        folder.mkdir(parents=True)
        yield folder


class _Bytes:
    """Content that does not compress, quickly: stretches of one random buffer behind a few fresh bytes."""

    def __init__(self, seed: str) -> None:
        self.chance = random.Random(seed)
        self._buffer = self.chance.randbytes(1 << 22)

    def some(self, size: int) -> bytes:
        parts = [self.chance.randbytes(min(size, 16))]
        left = size - len(parts[0])
        while left > 0:
            begin = self.chance.randrange(1 << 21)
            parts.append(self._buffer[begin : begin + min(left, 1 << 21)])
            left -= len(parts[-1])
        return b"".join(parts)


# --- F1: few large files


def _fill_large(settings: Settings, database: Database[Any], share: float) -> None:
    content = _Bytes(f"F1 {_SEED}")
    chance, shrink = content.chance, min(1.0, share * 4)
    for folder in _editions(settings, database, max(4, int(200 * share)), 10):
        (folder / "model.glb").write_bytes(content.some(int(chance.uniform(5e6, 12e6) * shrink)))
        for image in range(chance.randint(2, 5)):
            (folder / f"image-{image}.jpg").write_bytes(content.some(int(chance.uniform(1e5, 5e5) * shrink)))
        _small_ones(folder, chance)


def _small_ones(folder: Path, chance: random.Random) -> None:
    (folder / "scene.svx.json").write_text('{"nodes":[' + ",".join(str(chance.random()) for _ in range(80)) + "]}")
    (folder / "articles").mkdir()
    for number in range(4):
        text = " ".join(f"word{chance.randrange(5000)}" for _ in range(300))
        (folder / "articles" / f"{number}.html").write_text(f"<p>{text}</p>")


# --- F2: many small files


def _fill_small(settings: Settings, database: Database[Any], share: float) -> None:
    _many(
        settings, database, max(20, int(2000 * share)), lambda chance: 200 + min(60_000, int(chance.expovariate(1e-4)))
    )


def _fill_tiny(settings: Settings, database: Database[Any], share: float) -> None:
    _many(settings, database, max(20, int(20_000 * share)), lambda chance: 1 + chance.randrange(200))


def _many(settings: Settings, database: Database[Any], folders: int, size: Callable[[random.Random], int]) -> None:
    content = _Bytes(f"F2 {_SEED}")
    for folder in _editions(settings, database, folders, 100):
        for number in range(50):
            (folder / f"{number:03}.json").write_bytes(content.some(size(content.chance)))


def _change_files(settings: Settings, database: Database[Any], round: int) -> None:
    """One percent of the files of each kind, told by the end of the name; and of the editions' records."""
    content = _Bytes(f"change {_SEED} {round}")
    kinds: dict[str, list[Path]] = {}
    for path in sorted((settings.working / "project").rglob("*.*")):
        kinds.setdefault(path.suffix, []).append(path)
    for paths in kinds.values():
        chosen = content.chance.sample(paths, max(1, len(paths) // 100))
        for number, path in enumerate(chosen):
            size = path.stat().st_size
            if number % 10 == 8:
                path.with_name(f"added-{round}-{path.name}").write_bytes(content.some(size))
            elif number % 10 == 9:
                path.unlink()
            elif number % 2:
                path.write_bytes(content.some(size))
            else:
                draft = path.with_name(f".draft-{path.name}")
                draft.write_bytes(content.some(size + 1))
                draft.replace(path)
    ids = [row["_id"] for row in database["edition"].find({}, {"_id": 1})]
    changed = content.chance.sample(ids, max(1, len(ids) // 100))
    database["edition"].update_many({"_id": {"$in": changed}}, {"$set": {"title": f"Changed in round {round}"}})


# --- D1: records; S: the sample


def _fill_database(settings: Settings, database: Database[Any], share: float) -> None:
    settings.working.mkdir(parents=True)
    (settings.working / "about.txt").write_text("A site of records.")
    fill_records(database, share, _SEED)


def _change_database(_: Settings, database: Database[Any], round: int) -> None:
    change_records(database, random.Random(f"D1 {_SEED} {round}"), round)


def _fill_both(settings: Settings, database: Database[Any], share: float) -> None:
    _fill_large(settings, database, share)
    for name in ("project", "edition"):  # there are more of them among the records, with the same ids
        database[name].drop()
    fill_records(database, share, _SEED)


def _change_both(settings: Settings, database: Database[Any], round: int) -> None:
    _change_files(settings, database, round)
    _change_database(settings, database, round)


def _fill_sample(settings: Settings, database: Database[Any], _: float) -> None:
    make_sample(settings, database)


def _change_sample(settings: Settings, database: Database[Any], round: int) -> None:
    path = next(iter(sorted((settings.working / "project").rglob("*.html"))))
    path.write_text(f"<p>Round {round}</p>")
    database["edition"].update_one({}, {"$set": {"round": round}})


WORKLOADS = {
    one.name: one
    for one in (
        Workload(
            "F1",
            "200 editions, 1.9 GB: a model of 5 to 12 MB, images of 100 to 500 kB, small JSON and HTML in each",
            _fill_large,
            _change_files,
        ),
        Workload("F2", "100,000 small files in 2,000 folders, 1 GB", _fill_small, _change_files),
        Workload("F2x10", "1,000,000 tiny files in 20,000 folders", _fill_tiny, _change_files),
        Workload(
            "D1",
            "1.2 million records, 380 MB BSON in 7 collections, one of them of 1 million",
            _fill_database,
            _change_database,
        ),
        Workload("D1x10", "the same with ten times the records", _fill_database, _change_database, times=10),
        Workload("F1D1", "F1 and D1 as one site: 1.9 GB of files, 1.2 million records", _fill_both, _change_both),
        Workload("S", "the sample site", _fill_sample, _change_sample),
    )
}

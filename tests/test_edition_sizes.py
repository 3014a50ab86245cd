"""How many files a project has: counted once, and anew when somebody changed them or a restore did."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from editions_site import MILLS, OIL_MILL, TABLE, World, address, sample_world
from keyframe.editions import sizes
from keyframe.editions.nouns import Project
from keyframe.editions.sizes import Sizes, forget_sizes
from keyframe.model import Counts, Scope
from keyframe.stores.done_plans import DonePlan
from keyframe.stores.plans import Plans
from pymongo import MongoClient

NONE = Counts()


@pytest.fixture
def world(tmp_path: Path, mongo_client: MongoClient[dict[str, Any]], mongo_uri: str) -> Iterator[World]:
    with sample_world(tmp_path, mongo_client, mongo_uri) as made:
        yield made


def named(project: str) -> Project:
    return Project(project, "", True, {})


def test_files_are_counted_once_until_somebody_changes_them_through_the_site(world: World) -> None:
    admin = world.browser("root")

    def shown() -> int:
        found = re.search(r"editions · (\d+) files", admin.get(address(MILLS)).text)
        assert found is not None
        return int(found.group(1))

    before = shown()
    (world.folder(MILLS, OIL_MILL) / "by a script.txt").touch()
    assert shown() == before

    assert admin.upload(f"{address(MILLS, OIL_MILL)}/upload", "uploaded.txt", b"x").status_code == 303

    assert shown() == before + 2
    assert world.database.cache.index_information()["until_1"]["expireAfterSeconds"] == 0


def test_what_was_forgotten_while_it_was_counted_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Sizes(world.database, world.settings.working)
    inner = sizes.project_sizes

    def counted(working: Path, project: Project) -> list[int]:
        counts = inner(working, project)
        (world.folder(MILLS, OIL_MILL) / "meanwhile.txt").touch()
        found.forget([project.id])
        return counts

    monkeypatch.setattr(sizes, "project_sizes", counted)
    before = found.of(named(MILLS))
    monkeypatch.undo()

    assert found.of(named(MILLS)).files == before.files + 1


def test_where_a_restore_does_not_name_its_paths_all_of_its_scope_is_forgotten(world: World) -> None:
    found = Sizes(world.database, world.settings.working)
    world.database.cache.insert_one({"_id": "of somebody else"})

    def known() -> set[str]:
        return {one["_id"].rpartition(" ")[2] for one in world.database.cache.find({"kind": {"$exists": True}})}

    for project in (MILLS, TABLE):
        found.of(named(project))
    of_site = Scope.site()
    plan = DonePlan(
        "", "", NONE, NONE, NONE, False, False, world.database, of_site, Plans(world.settings.data / ".keyframe/plans")
    )

    forget_sizes(Scope.project(MILLS), replace(plan, _scope=Scope.project(MILLS)))
    assert known() == {TABLE}
    forget_sizes(of_site, plan)
    assert known() == set()
    assert world.database.cache.count_documents({}) == 1

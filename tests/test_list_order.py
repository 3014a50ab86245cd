"""The list of many snapshots: newest first, whatever their names, and the first page without reading all of them."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from keyframe.catalogue import Catalogue
from keyframe.model import Snapshot, Status, utc_text
from keyframe.stores import repository as room
from keyframe.stores.repository import Repository
from world import SITE, World

_NAME = "%Y-%m-%dT%H-%M-%SZ"
_BEGAN = datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.fixture
def one(world: World) -> Path:
    """A real snapshot, to make others from."""
    return world.stored(world.make(SITE))


def store(one: Path, top: Path, made_at: list[float]) -> list[tuple[str, str]]:
    """A snapshot for each moment (seconds), named as the repository does; moments and names, newest first."""
    header = json.loads((one / "snapshot.json").read_text(encoding="utf-8"))
    names: set[str] = set()
    kept = []
    for seconds in made_at:
        moment = named = _BEGAN + timedelta(seconds=seconds)
        while named.strftime(_NAME) in names:
            named += timedelta(seconds=1)
        name = named.strftime(_NAME)
        names.add(name)
        kept.append((utc_text(moment), name))
        (top / name).mkdir(parents=True)
        (top / name / "snapshot.json").write_text(json.dumps(header | {"made_at": utc_text(moment)}))
        (top / name / "manifest.jsonl").hardlink_to(one / "manifest.jsonl")
    return sorted(kept, reverse=True)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    made_at=some.lists(some.floats(0, 12).map(lambda seconds: round(seconds, 3)), max_size=14),
    limit=some.integers(1, 6),
)
def test_snapshots_are_listed_newest_first_though_some_names_were_taken(
    one: Path, tmp_path: Path, made_at: list[float], limit: int
) -> None:
    root = tmp_path / "many"
    shutil.rmtree(root, ignore_errors=True)
    wanted = store(one, SITE.stored_folder(root), made_at)
    repository = Repository(root)
    catalogue = Catalogue(repository)

    listed = [(utc_text(found.made_at), found.name) for found in repository.snapshots(SITE)]
    paged: list[Snapshot] = []
    cursor = ""
    while not paged or cursor:
        page = catalogue.page(SITE, trash=False, cursor=cursor, limit=limit)
        paged += page.items
        cursor = page.next or ""
        if not page.items:
            break

    assert listed == wanted
    assert [(utc_text(found.made_at), found.name) for found in paged] == wanted


def test_damaged_ones_stand_where_their_names_say(one: Path, tmp_path: Path) -> None:
    top = SITE.stored_folder(tmp_path / "many")
    names = [name for _, name in store(one, top, [0.0, 10.0, 20.0])]
    (top / names[1] / "snapshot.json").unlink()
    (top / "2026-99-99T10-00-00Z").mkdir()

    found = Repository(tmp_path / "many").snapshots(SITE)

    assert [one.name for one in found] == [*names, "2026-99-99T10-00-00Z"]
    assert [one.status is Status.DAMAGED for one in found] == [False, True, False, True]


def test_the_first_page_and_the_latest_do_not_read_all_headers(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = store(one, SITE.stored_folder(tmp_path / "many"), [10.0 * number for number in range(300)])
    read, inner = [], room.read_header
    monkeypatch.setattr(room, "read_header", lambda *args: read.append(args) or inner(*args))
    catalogue = Catalogue(Repository(tmp_path / "many"))

    page = catalogue.page(SITE, trash=False, cursor="", limit=50)
    assert [one.name for one in page.items] == [name for _, name in wanted[:50]]
    assert len(read) == 51

    read.clear()
    assert catalogue.find(SITE, "latest").name == wanted[0][1]
    assert len(read) == 1


def test_nor_does_a_later_page(one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = SITE.stored_folder(tmp_path / "many")
    wanted = [name for _, name in store(one, top, [60.0 * number for number in range(300)])]
    (top / "2026-99-99T10-00-00Z").mkdir()
    catalogue = Catalogue(Repository(tmp_path / "many"))
    first = catalogue.page(SITE, trash=False, cursor="", limit=200)
    read, inner = [], room.read_header
    monkeypatch.setattr(room, "read_header", lambda *args: read.append(args) or inner(*args))

    page = catalogue.page(SITE, trash=False, cursor=first.next or "", limit=20)
    assert [one.name for one in page.items] == wanted[200:220]
    # One more than is shown, the last one of the page before, those of ten minutes, the one without a date.
    assert len(read) <= 20 + 1 + 1 + 10 + 1

    last = catalogue.page(SITE, trash=False, cursor=page.next or "", limit=200)
    assert [one.name for one in last.items] == [*wanted[220:], "2026-99-99T10-00-00Z"]

"""An edition's folder that is a link, or lies behind one: nothing is seen, served, written or deleted through it."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from editions_site import LOCK_HOUSE, MILLS, OIL_MILL, World, address, sample_world
from keyframe.editions.folder import EditionFolder, project_sizes, remove_project
from keyframe.editions.nouns import Edition, Project
from keyframe.errors import InvalidError, NotFoundError
from pymongo import MongoClient

Client = MongoClient[dict[str, Any]]
EDITION = Edition("e" * 24, "f" * 24, "An edition", True, {})
PROJECT = Project("f" * 24, "A project", True, {})
# What is a link, below the working directory: the edition's folder, or one above it.
PLACES = {
    "edition": f"project/{PROJECT.id}/edition/{EDITION.id}",
    "editions": f"project/{PROJECT.id}/edition",
    "project": f"project/{PROJECT.id}",
    "projects": "project",
}


@pytest.fixture
def world(tmp_path: Path, mongo_client: Client, mongo_uri: str) -> Iterator[World]:
    with sample_world(tmp_path, mongo_client, mongo_uri) as made:
        yield made


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is nobody's edition, with a secret wherever a link could lead to."""
    top = tmp_path / "outside"
    for below in ("", EDITION.id, f"edition/{EDITION.id}", f"{PROJECT.id}/edition/{EDITION.id}"):
        (top / below).mkdir(parents=True, exist_ok=True)
        (top / below / "secret.txt").write_text("secret")
        (top / below / "empty").mkdir()
    return top


@pytest.fixture(params=PLACES)
def linked(request: pytest.FixtureRequest, tmp_path: Path, outside: Path) -> tuple[EditionFolder, Path]:
    """An edition's folder with a link on the way to it, and the link."""
    working = tmp_path / "working"
    link = working / PLACES[request.param]
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    return EditionFolder(working, EDITION), link


def everything(top: Path) -> dict[str, bytes]:
    return {str(one.relative_to(top)): one.read_bytes() if one.is_file() else b"" for one in top.rglob("*")}


def test_behind_a_link_there_are_no_files(linked: tuple[EditionFolder, Path], tmp_path: Path) -> None:
    folder, link = linked

    assert folder.files() == ()
    assert not folder.holds("secret.txt")
    for ask in (folder.find, folder.open):
        with pytest.raises(NotFoundError):
            ask("secret.txt")
    # a project's folder may be a real one, with a link for an edition in it
    assert project_sizes(tmp_path / "working", PROJECT) == []
    assert link.is_symlink()


def test_nothing_is_written_or_deleted_behind_a_link(linked: tuple[EditionFolder, Path], outside: Path) -> None:
    (folder, link), before = linked, everything(outside)

    for below, name, replace in (("", "new.txt", False), ("", "secret.txt", True), ("new/folder", "x.txt", False)):
        with pytest.raises(InvalidError):
            folder.save(io.BytesIO(b"new"), below, name, replace=replace)
    with pytest.raises(InvalidError):
        folder.create()
    with pytest.raises(NotFoundError):
        folder.delete("secret.txt")

    assert everything(outside) == before and link.is_symlink()


def test_deleting_takes_a_link_away_and_leaves_what_it_leads_to(
    linked: tuple[EditionFolder, Path], outside: Path, tmp_path: Path
) -> None:
    (folder, link), before = linked, everything(outside)

    folder.remove()

    assert everything(outside) == before
    assert link.is_symlink() == (link.name != EDITION.id), "a link above is not the edition's"
    remove_project(tmp_path / "working", PROJECT)
    assert everything(outside) == before
    assert link.is_symlink() == (link.name == "project")


def test_the_working_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "working").symlink_to(tmp_path / "disk")
    folder = EditionFolder(tmp_path / "working", EDITION)

    folder.create()
    folder.save(io.BytesIO(b"text"), "a/b", "c.txt", replace=False)

    assert [one.path for one in folder.files()] == ["a/b/c.txt"]
    with folder.open("a/b/c.txt") as file:
        assert file.read() == b"text"
    folder.delete("a/b/c.txt")
    assert list((tmp_path / "disk" / PLACES["edition"]).iterdir()) == []


def test_an_upload_stays_where_it_began_though_its_folder_is_swapped_for_a_link(tmp_path: Path, outside: Path) -> None:
    folder, before = EditionFolder(tmp_path / "working", EDITION), everything(outside)
    folder.save(io.BytesIO(b"old"), "articles", "secret.txt", replace=False)
    here = tmp_path / "working" / PLACES["edition"] / "articles"

    class Swapping(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if not here.is_symlink():
                here.rename(tmp_path / "moved")
                here.symlink_to(outside)
            return super().read(size)

    folder.save(Swapping(b"new"), "articles", "secret.txt", replace=True)

    assert everything(outside) == before
    assert {one.name: one.read_text() for one in (tmp_path / "moved").iterdir()} == {"secret.txt": "new"}


def test_a_link_that_comes_between_looking_and_opening_is_not_followed(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = EditionFolder(tmp_path / "working", EDITION)
    folder.save(io.BytesIO(b"open to all"), "", "secret.txt", replace=False)
    file, real = tmp_path / "working" / PLACES["edition"] / "secret.txt", os.open

    def swapping(path: Any, *arguments: Any, **more: Any) -> int:
        if path == "secret.txt" and not file.is_symlink():
            file.unlink()
            file.symlink_to(outside / "secret.txt")
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, "open", swapping)
    with pytest.raises(NotFoundError):
        folder.open("secret.txt")
    assert file.is_symlink(), "it was swapped"


@pytest.mark.parametrize("edition_id", ["..", ".", "", "../../../outside", "a/b", "/etc"])
def test_an_id_that_is_no_name_has_no_folder(tmp_path: Path, outside: Path, edition_id: str) -> None:
    (tmp_path / "working" / "project" / PROJECT.id / "edition").mkdir(parents=True)
    before = everything(outside)
    folder = EditionFolder(tmp_path / "working", Edition(edition_id, PROJECT.id, "Odd", True, {}))

    assert folder.files() == () and not folder.holds("secret.txt")
    with pytest.raises(InvalidError):
        folder.save(io.BytesIO(b"x"), "", "x.txt", replace=False)
    with pytest.raises(InvalidError):
        folder.remove()

    assert everything(outside) == before
    assert (tmp_path / "working" / "project" / PROJECT.id / "edition").is_dir()


def test_pages_of_an_edition_that_is_a_link_show_no_files_and_serve_none(world: World, outside: Path) -> None:
    browser, place = world.browser("organiser"), world.folder(MILLS, OIL_MILL)
    place.rename(place.with_name("away"))
    place.symlink_to(outside)
    (outside / "icon.png").write_bytes(b"picture")
    before = everything(outside)

    page = browser.get(address(MILLS, OIL_MILL))
    assert page.status_code == 200 and "secret.txt" not in page.text
    assert f"{OIL_MILL}/files/icon.png" not in browser.get(address(MILLS)).text
    assert browser.get(address(MILLS, OIL_MILL, "files", "secret.txt")).status_code == 404
    assert browser.get(address(MILLS, OIL_MILL, "model?path=secret.txt")).status_code == 404
    assert browser.post(address(MILLS, OIL_MILL, "file/delete"), {"path": "secret.txt"}).status_code == 404
    answer = browser.upload(address(MILLS, OIL_MILL, "upload"), "secret.txt", b"x", folder="", replace="on")
    assert answer.status_code == 422 and "elsewhere" in answer.text
    assert everything(outside) == before

    assert browser.post(address(MILLS, OIL_MILL, "delete")).status_code == 303
    assert everything(outside) == before and not place.is_symlink()
    assert world.edition(OIL_MILL) is None


def test_an_edition_that_cannot_have_a_folder_is_not_made(world: World, outside: Path) -> None:
    browser, editions = world.browser("organiser"), world.folder(MILLS, OIL_MILL).parent
    editions.rename(editions.with_name("away"))
    editions.symlink_to(outside)
    before = world.records(), everything(outside)

    answer = browser.post(address(MILLS, "", "edition/new"), {"title": "New"})

    assert answer.status_code == 422
    assert (world.records(), everything(outside)) == before


def test_a_part_of_a_file_is_served_and_an_unchanged_one_not_again(world: World) -> None:
    browser, url = world.browser("reader"), address(MILLS, LOCK_HOUSE, "files", "icon.png")
    content = (world.folder(MILLS, LOCK_HOUSE) / "icon.png").read_bytes()

    whole = browser.get(url)
    part = browser.get(url, headers={"Range": "bytes=2-5"})
    beyond = browser.get(url, headers={"Range": f"bytes={len(content)}-"})
    again = browser.get(url, headers={"If-None-Match": whole.headers["ETag"]})
    since = browser.get(url, headers={"If-Modified-Since": whole.headers["Last-Modified"]})

    assert (whole.status_code, whole.data, whole.content_length) == (200, content, len(content))
    assert (part.status_code, part.data) == (206, content[2:6])
    assert beyond.status_code == 416
    assert (again.status_code, again.data, since.status_code) == (304, b"", 304)
    (world.folder(MILLS, LOCK_HOUSE) / "icon.png").write_bytes(b"x" * len(content))
    assert browser.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 200


def test_an_edition_whose_id_is_a_path_is_shown_without_a_picture(world: World) -> None:
    browser = world.browser("organiser")
    pictures = browser.get(address(MILLS)).text.count("<img")
    odd = {"_id": f"../edition/{OIL_MILL}", "projectId": ObjectId(MILLS), "title": "Odd", "isPublished": True}
    world.database["edition"].insert_one(odd)

    page = browser.get(address(MILLS))

    assert page.status_code == 200 and page.text.count("<img") == pictures > 0

"""The sample site: made by code, always the same; put only where nothing else is."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from click.testing import CliRunner
from keyframe.doors.office import Office
from keyframe.errors import InvalidError, UnavailableError
from keyframe.sample import (
    fill_empty,
    filling,
    holds_only_sample,
    is_empty,
    load_real,
    made_content,
    make_sample,
    real_content,
    sample_command,
)
from keyframe.settings import Settings
from keyframe.wiring import build
from pymongo.database import Database
from real_data import real_data

Site = Database[dict[str, Any]]
CONTENT = made_content()
MODELS = sorted(path for path in CONTENT.files if path.endswith(".glb"))
PICTURES = sorted(path for path in CONTENT.files if path.endswith(".png"))
SCENES = sorted(path for path in CONTENT.files if path.endswith("scene.svx.json"))


@pytest.fixture
def settings(tmp_path: Path, mongo_uri: str, database: Site) -> Settings:
    made = Settings(run_mode="test", var=tmp_path, mongo={"uri": mongo_uri, "database": database.name})
    made.working.mkdir(parents=True)
    return made


def live_files(settings: Settings) -> dict[str, bytes]:
    top = settings.working
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def live_records(database: Site) -> dict[str, list[dict[str, Any]]]:
    return {name: list(database[name].find().sort("_id")) for name in sorted(database.list_collection_names())}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_pictures() -> None:
    again, other = made_content(), made_content("another")

    assert again.files == CONTENT.files and again.records == CONTENT.records
    assert other.records == CONTENT.records
    assert {path for path in other.files if other.files[path] != CONTENT.files[path]} == set(PICTURES)


def test_the_sample_has_three_projects_six_editions_and_seven_people() -> None:
    records = CONTENT.records

    assert (len(records["project"]), len(records["edition"]), len(records["user"])) == (3, 6, 7)
    assert [record["user"] for record in records["user"]] == [
        "root", "admin", "organiser", "organiser2", "editor", "reader", "user",
    ]  # fmt: skip
    assert all(record["sample"] is True and "password" not in record for record in records["user"])
    first, second = (record["_id"] for record in records["project"][:2])
    assert [(one["user"], one["projectId"]) for one in records["projectUser"]] == [
        ("organiser", first),
        ("organiser2", second),
    ]
    of_first = {record["_id"] for record in records["edition"] if record["projectId"] == first}
    assert {one["user"] for one in records["editionUser"] if one["editionId"] in of_first} == {"editor", "reader"}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.rpartition("/")[2])
def test_a_model_is_a_valid_binary_gltf(path: str) -> None:
    document, binary = read_glb(CONTENT.files[path])

    assert document["asset"]["version"] == "2.0"
    assert document["buffers"] == [{"byteLength": len(binary)}]
    for view in document["bufferViews"]:
        assert view["byteOffset"] % 4 == 0 and view["byteOffset"] + view["byteLength"] <= len(binary)
    for mesh in document["meshes"]:
        primitive = mesh["primitives"][0]
        accessor = document["accessors"][primitive["attributes"]["POSITION"]]
        points = floats(document, binary, primitive["attributes"]["POSITION"])
        normals = floats(document, binary, primitive["attributes"]["NORMAL"])
        corners = indices(document, binary, primitive["indices"])
        assert accessor["min"] == [min(axis) for axis in zip(*points, strict=True)]
        assert accessor["max"] == [max(axis) for axis in zip(*points, strict=True)]
        assert len(points) == len(normals) and max(corners) < len(points) and len(corners) % 3 == 0
        assert all(abs(math.hypot(*normal) - 1) < 1e-4 for normal in normals)
        assert document["materials"][primitive["material"]]["pbrMetallicRoughness"]["baseColorFactor"][3] == 1


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.rpartition("/")[2])
def test_a_models_triangles_face_outwards(path: str) -> None:
    document, binary = read_glb(CONTENT.files[path])

    for mesh in document["meshes"]:
        primitive = mesh["primitives"][0]
        points = floats(document, binary, primitive["attributes"]["POSITION"])
        normals = floats(document, binary, primitive["attributes"]["NORMAL"])
        corners = indices(document, binary, primitive["indices"])
        for a, b, c in zip(*[iter(corners)] * 3, strict=True):
            face = cross(points[a], points[b], points[c])
            assert math.hypot(*face) > 0, "a triangle without area"
            assert sum(x * y for x, y in zip(face, normals[a], strict=True)) > 0


@pytest.mark.parametrize("path", PICTURES[:4])
def test_a_picture_is_a_valid_png(path: str) -> None:
    data = CONTENT.files[path]
    assert isinstance(data, bytes) and data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, position = {}, 8
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        assert struct.unpack(">I", data[position + 8 + length : position + 12 + length])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        position += 12 + length

    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    rows = zlib.decompress(chunks[b"IDAT"])

    assert (depth, colour) == (8, 3)
    assert len(rows) == height * (width + 1)
    assert len(set(rows)) > 8, "one can see something"


@pytest.mark.parametrize("path", SCENES)
def test_a_scene_names_only_files_that_are_there(path: str) -> None:
    scene, folder = json.loads(CONTENT.files[path]), path.rpartition("/")[0]  # type: ignore[arg-type]

    model = scene["models"][0]["derivatives"][0]["assets"][0]
    articles = scene["metas"][1]["articles"]

    assert scene["asset"]["type"] == "application/si-dpo-3d.document+json"
    assert len(CONTENT.files[f"{folder}/{model['uri']}"]) == model["byteSize"]  # type: ignore[arg-type]
    assert all(f"{folder}/{article['uris']['EN']}" in CONTENT.files for article in articles)
    assert scene["models"][0]["annotations"][0]["articleId"] in {article["id"] for article in articles}
    for node in scene["nodes"]:
        for kind in ("camera", "light", "model", "meta"):
            assert kind not in node or node[kind] < len(scene[f"{kind}s"])


def test_an_empty_site_is_filled_once(settings: Settings, database: Site) -> None:
    assert is_empty(database, settings.working)

    assert fill_empty(settings, database) is True
    first = live_files(settings), live_records(database)
    assert fill_empty(settings, database) is False

    assert (live_files(settings), live_records(database)) == first
    assert first[0] == CONTENT.files
    assert not is_empty(database, settings.working) and holds_only_sample(database, settings.working)
    assert database["user"].index_information()["user_1"]["unique"] is True


def test_files_without_records_are_not_an_empty_site(settings: Settings, database: Site) -> None:
    (settings.working / "left.txt").write_text("left")

    assert fill_empty(settings, database) is False
    with pytest.raises(InvalidError, match=r"left\.txt"):
        make_sample(settings, database)


def test_the_reserved_folder_does_not_count(settings: Settings, database: Site) -> None:
    (settings.working / ".keyframe" / "staging").mkdir(parents=True)
    (settings.working / ".keyframe" / "staging" / "half").write_text("half")

    assert fill_empty(settings, database) is True
    assert (settings.working / ".keyframe" / "staging" / "half").exists()


@pytest.mark.parametrize("step", ["_remove_files", "_write_files"])
def test_a_filling_that_was_cut_short_is_redone(
    settings: Settings, database: Site, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(filling, step)

    def half(*arguments: Any) -> None:
        real(*arguments)
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(filling, step, half)
        with pytest.raises(UnavailableError):
            make_sample(settings, database)
    assert holds_only_sample(database, settings.working)

    assert fill_empty(settings, database) is True
    assert live_files(settings) == CONTENT.files


@pytest.mark.parametrize("addition", ["project", "edition", "person", "file", "file in an edition", "collection"])
def test_a_site_that_holds_anything_else_is_refused(settings: Settings, database: Site, addition: str) -> None:
    make_sample(settings, database)
    edition = database["edition"].find_one()
    assert edition
    match addition:
        case "project":
            database["project"].insert_one({"_id": ObjectId(), "title": "Mine"})
        case "edition":
            database["edition"].insert_one({"_id": ObjectId(), "projectId": edition["projectId"], "title": "Mine"})
        case "person":
            database["user"].insert_one({"user": "me", "role": "user"})
        case "file":
            (settings.working / "mine.txt").write_text("mine")
        case "file in an edition":
            below = settings.working / "project" / str(edition["projectId"]) / "edition" / str(edition["_id"])
            (below / "mine.txt").write_text("mine")
        case "collection":
            database["article"].insert_one({"title": "Mine"})
    before = live_files(settings), live_records(database)

    assert not holds_only_sample(database, settings.working)
    with pytest.raises(InvalidError, match=r"(?i)mine|me|article"):
        make_sample(settings, database)
    assert fill_empty(settings, database) is False

    assert (live_files(settings), live_records(database)) == before


def test_a_sample_that_was_edited_is_still_the_sample(settings: Settings, database: Site) -> None:
    make_sample(settings, database)
    database["edition"].update_one({}, {"$set": {"title": "Changed"}})
    database["project"].delete_one({})
    database["user"].update_one({"user": "root"}, {"$set": {"password": "hash"}})
    next(settings.working.rglob("*.glb")).write_bytes(b"changed")
    next(settings.working.rglob("icon.png")).unlink()

    make_sample(settings, database)

    assert live_files(settings) == CONTENT.files
    assert database["project"].count_documents({}) == 3
    assert database["user"].count_documents({"password": {"$exists": True}}) == 0


# Real data


@pytest.fixture
def real_folder() -> Path:
    folder = real_data()
    if folder is None:
        pytest.skip("no real data")
    return folder


def test_real_data_replaces_the_sample(settings: Settings, database: Site, real_folder: Path) -> None:
    make_sample(settings, database)

    content = load_real(real_folder, settings, database)

    projects = {record["_id"]: record for record in database["project"].find()}
    editions = list(database["edition"].find())
    assert (len(projects), len(editions), database["user"].count_documents({})) == (3, 5, 21)
    assert "Contested Memories: The Battle of Mount Street Bridge" in {one["title"] for one in projects.values()}
    files = live_files(settings)
    assert set(files) == set(content.files)
    for edition in editions:
        assert edition["dc"]["title"].strip() == edition["title"]
        assert f"project/{edition['projectId']}/edition/{edition['_id']}/scene.svx.json" in files
    sources = [path for path in real_folder.rglob("*") if path.is_file() and "workflow" not in path.parts]
    assert sorted(path.read_bytes() for path in sources) == sorted(files.values())
    organiser = database["projectUser"].find_one({"user": "historian"})
    assert organiser and projects[organiser["projectId"]]["title"].startswith("Contested Memories")
    tried = database["projectUser"].find_one({"user": "organiser"})  # of the sample; goes on with the first project
    assert tried and tried["projectId"] == organiser["projectId"]
    assert database["edition"].count_documents({"isPublished": True}) == 2
    assert holds_only_sample(database, settings.working)


def test_real_data_is_loaded_twice_with_the_same_ids(settings: Settings, database: Site, real_folder: Path) -> None:
    load_real(real_folder, settings, database)
    first = live_files(settings), live_records(database)

    load_real(real_folder, settings, database)

    assert (live_files(settings), live_records(database)) == first


def test_the_sample_replaces_real_data(settings: Settings, database: Site, real_folder: Path) -> None:
    load_real(real_folder, settings, database)
    assert fill_empty(settings, database) is False

    make_sample(settings, database)

    assert live_files(settings) == CONTENT.files


def test_all_mistakes_of_a_folder_are_told_at_once(tmp_path: Path) -> None:
    edition = tmp_path / "project" / "1" / "edition" / "1"
    (edition / "meta").mkdir(parents=True)
    (edition / "meta" / "dc.yml").write_text("title: [unclosed")
    (edition / "away").symlink_to("/etc/passwd")
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "init.yml").write_text(
        "userRole: {site: {ann: king}, project: {'7': {ann: organiser}}, edition: {'1': {'1': {bob: owner}}}}"
    )

    with pytest.raises(InvalidError) as caught:
        real_content(tmp_path)

    told = "\n".join(caught.value.mistakes)
    for expected in ("dc.yml", "away", "king", "names 7", "owner", "bob"):
        assert expected in told


# The command


@pytest.fixture
def office(settings: Settings) -> Iterator[Office]:
    built = build(settings)
    yield built
    built.database.client.close()


def run_sample(office: Office, *arguments: str) -> Any:
    @contextmanager
    def opener(database: bool = True) -> Iterator[Office]:
        yield office

    return CliRunner().invoke(sample_command, list(arguments), obj=opener)


def test_the_command_fills_the_site_and_says_what_is_in_it(office: Office, settings: Settings) -> None:
    result = run_sample(office, "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {"kind": "made", "projects": 3, "editions": 6, "people": 7, "files": 53}
    assert live_files(settings) == CONTENT.files


def test_the_command_refuses_a_folder_of_another_layout(office: Office, tmp_path: Path, database: Site) -> None:
    folder = tmp_path / "other"
    folder.mkdir()

    result = run_sample(office, "--from", str(folder))

    assert isinstance(result.exception, InvalidError)
    assert database.list_collection_names() == []


def read_glb(data: Any) -> tuple[dict[str, Any], bytes]:
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack("<I4s", data[12:20])
    assert kind == b"JSON" and size % 4 == 0
    text, rest = data[20 : 20 + size], data[20 + size :]
    binary_size, kind = struct.unpack("<I4s", rest[:8])
    assert kind == b"BIN\0" and binary_size % 4 == 0 and len(rest) == 8 + binary_size
    document = json.loads(text)
    assert text.rstrip(b" ") == text.rstrip()
    return document, rest[8 : 8 + document["buffers"][0]["byteLength"]]


def values(document: dict[str, Any], binary: bytes, accessor: int, letter: str) -> tuple[Any, ...]:
    view = document["bufferViews"][document["accessors"][accessor]["bufferView"]]
    data = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    return struct.unpack(f"<{len(data) // 4}{letter}", data)


def floats(document: dict[str, Any], binary: bytes, accessor: int) -> list[tuple[float, ...]]:
    assert document["accessors"][accessor]["componentType"] == 5126
    return list(zip(*[iter(values(document, binary, accessor, "f"))] * 3, strict=True))


def indices(document: dict[str, Any], binary: bytes, accessor: int) -> tuple[int, ...]:
    assert document["accessors"][accessor]["componentType"] == 5125
    return values(document, binary, accessor, "I")


def cross(a: Any, b: Any, c: Any) -> tuple[float, float, float]:
    (ux, uy, uz), (vx, vy, vz) = ([p[i] - a[i] for i in range(3)] for p in (b, c))
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx

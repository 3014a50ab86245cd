"""A snapshot's `db/bson` is what mongorestore reads, field by field; and the README's commands bring the records back.

mongorestore itself may not be on the machine: `restored` does what its documentation and its source say it does.

Source: mongo-tools, mongorestore/metadata.go (fields of the metadata), common/util (names of files), and
https://www.mongodb.com/docs/database-tools/mongorestore/.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bson
import pytest
from bson import ObjectId, json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from keyframe.model import Scope
from keyframe.stores.readme import readme_text
from pymongo.database import Database
from pymongo.errors import BulkWriteError
from world import PROJECT, SITE, World

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
LONGEST = 238  # bytes of the name of a file, beyond which its end is a checksum and the metadata has the whole name
DUPLICATE = 11000


def collection_of(stem: str, metadata: dict[str, Any]) -> str:
    """The collection that a file is restored to, told by its name as mongorestore does."""
    return str(metadata["collectionName"]) if len(stem) == LONGEST and "%24" in stem else unquote(stem)


def metadata_of(folder: Path, stem: str) -> dict[str, Any]:
    """The metadata, read as extended JSON in canonical mode."""
    text = (folder / f"{stem}.metadata.json").read_text(encoding="utf-8")
    options = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, document_class=bson.SON)
    found: dict[str, Any] = json_util.loads(text, json_options=options)
    return found


def restored(db: Database[Any], folder: Path, *, drop: bool = False) -> None:
    """What `mongorestore --db … [--drop] <folder>` does: make the collections, add documents, then make indexes.

    Documents whose _id is there are left as they are.
    """
    for path in sorted(folder.glob("*.bson")):
        metadata = metadata_of(folder, path.stem)
        name = collection_of(path.stem, metadata)
        assert name == metadata["collectionName"]
        if drop:
            db.drop_collection(name)
        if name not in db.list_collection_names():
            db.command(bson.SON([("create", name), *metadata["options"].items()]))
        documents = list(bson.decode_iter(path.read_bytes(), RAW))
        assert b"".join(one.raw for one in documents) == path.read_bytes()
        try:
            if documents:
                db.get_collection(name, codec_options=RAW).insert_many(documents, ordered=False)
        except BulkWriteError as error:
            assert {one["code"] for one in (error.details or {})["writeErrors"]} == {DUPLICATE}
        indexes = [one for one in metadata["indexes"] if one["name"] != "_id_"]
        if indexes:
            db.command(bson.SON([("createIndexes", name), ("indexes", indexes)]))


@pytest.fixture
def names(world: World) -> list[str]:
    """Collections with names, options and indexes that are hard to write down."""
    long = "n" * 180 + "ü" * 20
    for name in ("dots.and/slash ü", "per%cent", "c:d@e", long):
        world.db[name].insert_one({"_id": name})
    world.db.create_collection(
        "strict",
        collation={"locale": "nl"},
        validator={"n": {"$type": "long"}},
        validationLevel="moderate",
        clusteredIndex={"key": {"_id": 1}, "unique": True},
    )
    world.db.strict.insert_one({"n": bson.Int64(5)})
    world.db.create_collection("titles", viewOn="edition", pipeline=[{"$project": {"title": 1}}])
    world.db.places.create_index([("at", "2dsphere"), ("n", -1)], name="near", sparse=True)
    world.db.places.create_index("seen", name="old", expireAfterSeconds=3600, partialFilterExpression={"n": {"$gt": 1}})
    return ["dots.and/slash ü", "per%cent", "c:d@e", long, "strict", "titles", "places"]


def test_metadata_have_the_fields_of_mongodump_each_of_its_type(world: World, names: list[str]) -> None:
    folder = world.stored(world.make(SITE)) / "db/bson"
    found = {path.name.removesuffix(".metadata.json") for path in folder.glob("*.metadata.json")}

    assert found == {path.stem for path in folder.glob("*.bson")}
    metadata = [metadata_of(folder, stem) for stem in found]
    assert set(names) <= {one["collectionName"] for one in metadata}
    for one in metadata:
        assert {key: type(value) for key, value in one.items()} == {
            "options": bson.SON,
            "indexes": list,
            "uuid": str,
            "collectionName": str,
            "type": str,
        }
        is_view = one["type"] == "view"
        assert re.fullmatch("" if is_view else "[0-9a-f]{32}", one["uuid"])
        assert ("viewOn" in one["options"]) == is_view
        for index in one["indexes"]:
            assert isinstance(index["name"], str) and isinstance(index["key"], bson.SON) and index["key"]
            assert "ns" not in index
        live = next(world.db.list_collections(filter={"name": one["collectionName"]}))
        assert live["type"] == one["type"]
        if not is_view:
            assert live["info"]["uuid"].hex() == one["uuid"]


def test_the_names_of_the_files_are_those_of_mongodump(world: World, names: list[str]) -> None:
    folder = world.stored(world.make(SITE)) / "db/bson"

    stems = {metadata_of(folder, path.stem)["collectionName"]: path.stem for path in folder.glob("*.bson")}
    assert stems["dots.and/slash ü"] == "dots.and%2Fslash%20%C3%BC"
    assert stems["per%cent"] == "per%25cent"
    assert all(collection_of(stem, {"collectionName": name}) == name for name, stem in stems.items())
    assert [len(stem) for name, stem in stems.items() if len(name.encode()) > 200] == [LONGEST]


def test_mongorestore_with_drop_brings_a_site_back_exactly(world: World, names: list[str]) -> None:
    before = world.records()
    folder = world.stored(world.make(SITE))
    command = 'mongorestore --uri "$MONGO_URI" --db "$DATABASE" --drop --bypassDocumentValidation'
    readme = (folder / "README.txt").read_text()
    assert command in readme and f"    DATABASE={world.db.name}\n" in readme
    assert readme.index("mongodump") < readme.index(command)
    world.spoil()
    world.db.drop_collection("places")
    world.db.edition.drop_index("by_title")
    world.db.user.delete_many({})

    restored(world.db, folder / "db/bson", drop=True)

    assert world.records() == before


def deleted_by_hand(db: Database[Any], readme: str) -> list[str]:
    """Runs the commands of a project's README; the lines that they stand in."""
    pattern = r" +db_\.getCollection\('(.+?)'\)\.deleteMany\(\{'(.+?)': (?:ObjectId\('(\w+)'\)|'(.+?)'|(\d+))\}\);"
    project = re.findall(r"^    PROJECT=(\S+)$", readme, re.MULTILINE)[0]
    lines = [line for line in readme.splitlines() if re.fullmatch(pattern, line.replace("$PROJECT", project))]
    for line in lines:
        found = re.fullmatch(pattern, line.replace("$PROJECT", project))
        assert found is not None
        name, field, oid, text, number = found.groups()
        db[name].delete_many({field: ObjectId(oid) if oid else int(number) if number else text})
    return lines


def test_the_commands_of_a_projects_readme_bring_its_records_back_and_leave_the_others(world: World) -> None:
    before = world.records()
    folder = world.stored(world.make(PROJECT))
    readme = (folder / "README.txt").read_text()
    world.spoil()

    commands = deleted_by_hand(world.db, readme)
    restored(world.db, folder / "db/bson")

    assert len(commands) == 2
    mongorestore = next(line for line in readme.splitlines() if line.strip().startswith("mongorestore --"))
    assert "--drop" not in readme
    assert readme.index(mongorestore) > max(readme.index(line) for line in commands)
    assert world.records() == before


HEADER: dict[str, Any] = {
    "scope": Scope("my-blog").as_dict(),
    "problems": [],
    "made_at": "",
    "made_by": "",
    "format": 1,
    "files": 0,
    "documents": 0,
    "left_out": {"collections": []},
    "excluded": {"patterns": {"site": [], "project": []}, "count": 0, "paths": []},
    "database": "blogs",
}


@pytest.mark.parametrize(("kind", "project_id"), [("string", "my-blog"), ("int", "7")])
def test_ids_of_other_kinds_stand_in_the_commands_as_mongosh_reads_them(kind: str, project_id: str) -> None:
    header = {**HEADER, "scope": Scope(project_id).as_dict(), "project_id_kind": kind}
    header["project_fields"] = {"blog": "_id"}
    expected = "$PROJECT" if kind == "int" else "'$PROJECT'"
    readme = readme_text(header)
    assert f"db_.getCollection('blog').deleteMany({{'_id': {expected}}});\n" in readme
    assert f"    PROJECT={project_id}\n" in readme


def test_names_of_collections_stand_in_the_commands_so_that_no_shell_takes_them_for_its_own() -> None:
    names = ["it's", 'a"b', "$HOME", "`id`", "back\\slash", "line\nfeed", "\u202e", "\U0001f600", "a!b", "ü"]
    header = {**HEADER, "project_id_kind": "string", "project_fields": dict.fromkeys(names, "_id")}
    readme = readme_text(header)
    command = readme[readme.index('mongosh "') : readme.index("    mongorestore")].replace("mongosh", "printf %s", 1)

    told = subprocess.run(["bash", "-euc", command], env={"MONGO_URI": "", "DATABASE": "d", "PROJECT": "p"},
                          capture_output=True, text=True, check=True).stdout  # fmt: skip

    found = re.findall(r"getCollection\('(.*?)'\)\.", told)
    assert [json.loads(f'"{one}"') for one in found] == names

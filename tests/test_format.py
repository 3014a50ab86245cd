"""docs/snapshot-format.md says what is written: every field, both ways; and a stranger can work from it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, json_util
from keyframe.model import OutcomeStatus, Scope, Snapshot, Status
from keyframe.stores.dump import stem_of
from keyframe.stores.findings import texts
from keyframe.stores.header_fields import names_of
from keyframe.wiring import build
from world import EDITION, ONE, PROJECT, SITE, TWO, World

DOCUMENT = (Path(__file__).parents[1] / "docs/snapshot-format.md").read_text(encoding="utf-8")
CODE = Path(__file__).parents[1] / "control"
BY_KEY = ("projects", "project_fields")  # objects whose keys are ids and names
UNDECODABLE = "bad\udcff\nname\\x"


def table(heading: str, column: str = "field") -> dict[str, dict[str, str]]:
    """The table with that first column in the section of that heading, a row by the name that stands in it."""
    section = re.split(rf"^#+ {re.escape(heading)}$", DOCUMENT, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    assert rows[0][0] == column
    return {row[0].strip("`"): dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def fields(value: Any, path: str = "") -> Iterator[str]:
    """The names of all values in a document, as the tables write them."""
    if isinstance(value, dict):
        for key, one in value.items():
            name = f"<{'id' if path == 'projects' else 'collection'}>" if path in BY_KEY else key
            yield from fields(one, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for one in value:
            yield from fields(one, f"{path}[]")
    else:
        yield path


def header(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "snapshot.json").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def path_of(line: dict[str, Any]) -> bytes:
    """The bytes of a line's path, as lines are sorted by them."""
    raw = line["path"].encode() if "path" in line else base64.b64decode(line["path_b64"])
    return b"" if raw == b"." else raw


def disturb(world: World) -> None:
    """Names and kinds that are hard to write down."""
    top = os.fsencode(world.folder(PROJECT))
    raw = os.fsencode(UNDECODABLE)
    with open(os.path.join(top, raw), "wb") as file:
        file.write(b"x")
    os.symlink(b"to\xff", os.path.join(top, b"link\xff"))
    for name in (b"user.author", b"user.\xff"):
        os.setxattr(os.path.join(top, raw), name, b"Anna")
    os.mkfifo(os.path.join(top, b"pipe\xff"))
    world.db.create_collection("log", capped=True, size=10_000)
    world.db.create_collection("series", timeseries={"timeField": "at"})
    world.db.log.insert_one({"_id": 1, "at": Decimal128("sNaN")})
    world.db.create_collection("titles", viewOn="edition", pipeline=[{"$project": {"title": 1}}])
    world.db["dots.and/slash ü"].insert_one({"_id": 1})


@pytest.fixture
def stored(world: World) -> list[Path]:
    """Folders of snapshots of every kind: whole and partial, of site and project, one that served a restore, a deleted
    one."""
    for number in range(40):
        world.write(f"many/{number}")
    whole, of_project = world.make(SITE, "a note"), world.make(PROJECT)
    disturb(world)
    world.write(".cache/excluded")
    os.utime(world.stored(whole) / f"files/project/{PROJECT.project_id}/edition/{EDITION[1]}/scene.svx.json", ns=(1, 1))
    partial = world.make(SITE)
    world.spoil()
    outcome = world.restore_anyway(of_project)
    assert [problem.code for problem in outcome.problems] == ["left"]  # the pipe
    world.office.desk.delete(world.ask, SITE, partial.name)
    shutil.rmtree(world.folder(PROJECT) / "many")
    confirmed = world.done(world.office.desk.make(world.ask, PROJECT, "", ("shrunk",)))
    top = world.settings.repository
    folders = [
        PROJECT.stored_folder(top) / str(confirmed.snapshot),
        world.stored(whole),
        world.stored(of_project),
        top / ".trash/site" / partial.name,
    ]
    world.office.database.client.close()
    world.office = build(world.settings.model_copy(update={"application_version": "2.4.1"}))
    world.db.edition.drop()
    world.db.create_collection("edition", capped=True, size=10_000)  # a project's snapshot does not keep it
    return [*folders, PROJECT.stored_folder(top) / str(outcome.safety), world.stored(world.make(PROJECT))]


# --- the tables


def test_the_header_has_the_documented_fields_and_no_others(stored: list[Path]) -> None:
    written = {field for folder in stored for field in fields(header(folder))}

    assert written == set(table("snapshot.json"))


def test_the_labels_have_the_documented_fields_and_no_others(stored: list[Path]) -> None:
    labels = [
        json.loads((folder / "labels.json").read_text()) for folder in stored if (folder / "labels.json").exists()
    ]
    for mark in (mark for one in labels for mark in one["restores"]):
        for chosen in ("projects", "editions", "paths", "collections", "records"):  # empty lists show no field
            assert mark["selection"].pop(chosen) == []
            mark["selection"][chosen] = [{"collection": "a", "id": "1"}] if chosen == "records" else ["one"]
        mark["selection"]["paths_b64"] = ["/w=="]

    assert {field for one in labels for field in fields(one)} == set(table("labels.json"))


def test_the_lines_of_the_manifest_have_the_documented_fields_and_no_others(stored: list[Path]) -> None:
    rows = table("Lines of files, directories and links")
    of_files = [line for folder in stored for line in lines(folder) if "collection" not in line]
    of_collections = [line for folder in stored for line in lines(folder) if "collection" in line]

    assert {key for line in of_files for key in line} == set(rows)
    for line in of_files:
        needed = {name for name, row in rows.items() if row["of"] == "all" or line["type"] in row["of"].split(", ")}
        given = {key.removesuffix("_b64") for key in line if not rows[key]["of"].endswith("if any")}
        assert given == {name.removesuffix("_b64") for name in needed}, line
        assert [name for name in rows if name in line] == list(line), "the order of the keys"
    for line in of_collections:
        assert list(line) == list(table("Lines of collections"))
    assert {line["type"] for line in of_files} == {"file", "directory", "link"}
    assert {line["type"] for line in of_collections} == {"collection", "timeseries", "view"}


def test_metadata_has_what_mongorestore_reads_and_the_documented_fields(stored: list[Path]) -> None:
    for folder in stored:
        by_stem = {line["stem"]: line for line in lines(folder) if "collection" in line}
        for path in (folder / "db/bson").glob("*.metadata.json"):
            metadata, line = json.loads(path.read_text()), by_stem[path.name.removesuffix(".metadata.json")]

            assert list(metadata) == list(table("db/"))
            assert {"options", "indexes", "uuid", "collectionName", "type"} <= set(metadata)
            assert metadata["collectionName"] == line["collection"]
            assert metadata["options"] == json.loads(line["options"])
            assert metadata["indexes"] == json.loads(line["indexes"])
            assert re.fullmatch("[0-9a-f]{32}" if line["type"] == "collection" else "", metadata["uuid"])


def test_the_folder_holds_the_documented_files_and_no_others(stored: list[Path]) -> None:
    rows = table("What lies in a snapshot", "path")

    for folder in stored:
        expected = set(rows) - {"files/", "labels.json"}
        expected -= {name for name in rows if "<stem>" in name}
        for line in (one for one in lines(folder) if "collection" in one):
            metadata, dump = line["stem"], "system.buckets." * (line["type"] == "timeseries") + line["stem"]
            expected |= {
                name.replace("<stem>", metadata if "metadata" in name else dump) for name in rows if "<stem>" in name
            }
        found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        assert {path for path in found if not path.startswith("files/")} - {"labels.json"} == expected
        assert (folder / "files").is_dir()


def test_the_header_has_the_fields_that_the_validator_asks_for() -> None:
    assert set(names_of()) == set(table("snapshot.json"))


def test_the_types_of_the_tables_are_explained() -> None:
    explained = set(table("Types", "type")) | {"null", "true", "false", "object", "list", ""}
    headings = ("snapshot.json", "Lines of files, directories and links", "Lines of collections", "db/", "labels.json")

    for heading in headings:
        for name, row in table(heading).items():
            assert set(row["type"].split(" or ")) <= explained, (heading, name)


def test_the_kinds_of_damage_are_those_of_the_code() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in CODE.rglob("*.py"))
    raised = set(re.findall(r'(?:DamagedError|\._damage)\(\s*"([a-z-]+)"', source))
    stopping, found = set(table("What must make a reader stop", "damage")), set(table("Verifying one", "finding"))

    assert stopping == {f"damaged.{kind}" for kind in raised}
    assert stopping | found == set(texts())
    assert not stopping & found


# --- what the text says


def test_lines_of_the_manifest_are_in_order(stored: list[Path]) -> None:
    for folder in stored:
        found = lines(folder)
        paths = [path_of(line) for line in found if "collection" not in line]
        names = [line["collection"] for line in found if "collection" in line]

        assert paths == sorted(set(paths))
        assert names == sorted(set(names))
        assert ["collection" in line for line in found] == [False] * len(paths) + [True] * len(names)
        assert (folder / "manifest.jsonl").read_bytes() == b"".join(
            json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for line in found
        )


def test_counts_and_digests_of_the_header_are_those_of_the_manifest(stored: list[Path]) -> None:
    for folder in stored:
        head, found = header(folder), lines(folder)
        files = [line for line in found if line["type"] in ("file", "link")]
        collections = [line for line in found if "collection" in line]
        manifest = (folder / "manifest.jsonl").read_bytes()

        assert head["files"] == len(files)
        assert head["documents"] == sum(line["documents"] for line in collections)
        assert head["bytes"] == sum(line.get("size", 0) for line in files) + sum(line["bytes"] for line in collections)
        assert head["manifest"] == {"bytes": len(manifest), "sha256": hashlib.sha256(manifest).hexdigest()}
        assert (head["status"] == "done") == (head["problems"] == [])


def test_the_sums_are_in_the_documented_order_and_leave_out_what_they_must(stored: list[Path]) -> None:
    for folder in stored:
        found = lines(folder)
        expected = [b"files/" + path_of(line) for line in found if line["type"] == "file"]
        for line in found:
            if "collection" in line:
                of_buckets = "system.buckets." * (line["type"] == "timeseries")
                kinds = (f"bson/{of_buckets}{{}}.bson", "bson/{}.metadata.json", f"json/{of_buckets}{{}}.json")
                expected += [f"db/{kind.format(line['stem'])}".encode() for kind in kinds]
        expected += [b"README.txt", b"snapshot.json", b"manifest.jsonl"]

        sums = (folder / "manifest-sha256.txt").read_bytes().splitlines()
        names = [line.partition(b"  ")[2] for line in sums]
        unescaped = [
            re.sub(rb"\\(.)", lambda m: {b"n": b"\n", b"r": b"\r"}.get(m[1], m[1]), name) if line[:1] == b"\\" else name
            for line, name in zip(sums, names, strict=True)
        ]
        assert unescaped == expected


def test_json_lines_are_the_documents_and_documents_are_those_of_the_database(world: World) -> None:
    world.db.project.insert_one({"_id": "broken", "title": bson.Binary(b"\xff", 0), "when": bson.Timestamp(1, 2)})
    folder = world.stored(world.make(SITE))
    live = world.records()

    for line in (line for line in lines(folder) if line.get("type") == "collection" and "collection" in line):
        raw = (folder / f"db/bson/{line['stem']}.bson").read_bytes()
        documents = [bson.encode(one) for one in bson.decode_iter(raw)]
        texts = (folder / f"db/json/{line['stem']}.json").read_text(encoding="utf-8").splitlines()
        assert b"".join(documents) == raw
        assert {repr(bson.decode(one)["_id"]): one for one in documents} == live[line["collection"]]
        options = json_util.CANONICAL_JSON_OPTIONS
        assert [bson.encode(json_util.loads(text, json_options=options)) for text in texts] == documents
        assert line["json_inexact"] == 0


def test_the_same_state_has_the_same_manifest(world: World) -> None:
    first = world.make(SITE)
    world.spoil()
    world.make(SITE)
    world.restore(first, SITE)
    again = world.make(SITE)

    assert again.name != first.name
    assert again.manifest_sha256 == first.manifest_sha256


def test_long_names_of_collections_are_shortened_as_documented() -> None:
    rule = r"A stem longer than (\d+) bytes is its first (\d+) bytes, `%24`"
    found = re.search(rule, " ".join(DOCUMENT.split()))
    assert found is not None
    longest, cut = (int(number) for number in found.groups())

    assert stem_of("c" * longest) == "c" * longest
    shortened = stem_of("c" * (longest + 1))
    assert re.fullmatch(rf"c{{{cut}}}%24[A-Za-z0-9_-]{{27}}", shortened)
    assert len(f".{shortened}.metadata.json") <= 255


# --- the commands of README.txt


def commands(folder: Path, *programs: str) -> list[str]:
    """The lines of README.txt that call one of these programs."""
    text = (folder / "README.txt").read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.startswith("    ") and line.split()[0] in programs]


def run(folder: Path, command: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, check=False, **more)


def test_the_check_of_the_readme_passes_and_notices_one_changed_byte(stored: list[Path]) -> None:
    for folder in stored:
        (check,) = commands(folder, "sha256sum")
        assert run(folder, check).returncode == 0

        copied = next(path for path in (folder / "files").rglob("model.glb"))
        content = copied.read_bytes()
        copied.unlink()  # its inode may be that of another snapshot, too
        copied.write_bytes(content[:-1] + b"?")
        assert run(folder, check).returncode == 1
        copied.write_bytes(content)


@pytest.mark.parametrize("scope", [SITE, PROJECT], ids=["site", "project"])
def test_the_commands_of_the_readme_bring_the_files_back_exactly(world: World, scope: Scope) -> None:
    disturb(world)
    os.unlink(os.path.join(os.fsencode(world.folder(PROJECT)), b"pipe\xff"))
    before = world.files()
    folder = world.stored(world.make(scope))
    world.spoil()
    names = f"SNAPSHOT=$PWD WORKING={world.settings.working} KEPT={world.settings.var}/kept PROJECT={ONE}; "

    done = run(folder, f"set -eu; {names}{'; '.join(commands(folder, 'mkdir', 'cp', 'if', 'mv'))}")

    assert done.returncode == 0, done.stderr
    assert world.files() == before
    assert commands(folder, "mongorestore") and commands(folder, "mongodump")


def test_the_readme_of_a_project_never_drops_what_is_shared(world: World) -> None:
    folder = world.stored(world.make(PROJECT))
    text = (folder / "README.txt").read_text()
    dropping = [line for line in commands(folder, "mongorestore") if "--drop" in line]

    assert dropping == []
    assert f"    PROJECT={ONE}\n" in text
    assert "db_.getCollection('project').deleteMany({'_id': ObjectId('$PROJECT')});" in text
    assert "db_.getCollection('edition').deleteMany({'projectId': ObjectId('$PROJECT')});" in text


# --- what readers ignore, and what stops them


def rewrite_manifest(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Another manifest, and a header that fits it."""
    manifest = change((folder / "manifest.jsonl").read_bytes())
    (folder / "manifest.jsonl").write_bytes(manifest)
    head = header(folder)
    head["manifest"] = {"bytes": len(manifest), "sha256": hashlib.sha256(manifest).hexdigest()}
    (folder / "snapshot.json").write_text(json.dumps(head), encoding="utf-8")


def test_unknown_fields_and_files_are_ignored(world: World) -> None:
    before = world.state()
    snapshot = world.make(PROJECT, "kept")
    folder = world.stored(snapshot)
    rewrite_manifest(folder, lambda manifest: manifest.replace(b'{"', b'{"of a later version":{"a":1},"'))
    head = header(folder) | {"of a later version": [1]}
    (folder / "snapshot.json").write_text(json.dumps(head), encoding="utf-8")
    (folder / "labels.json").write_text("not even JSON")
    (folder / "extra.txt").write_text("extra")
    (folder.parent / "notes.txt").write_text("no snapshot")
    world.spoil()

    outcome = world.restore(snapshot)

    assert outcome.status is OutcomeStatus.DONE
    assert world.state() == before
    assert world.office.desk.snapshot(world.ask, PROJECT, snapshot.name).note == "kept"


def _header_with(**values: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / "snapshot.json").write_text(json.dumps(header(folder) | values)) and None


def _manifest_with(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: rewrite_manifest(folder, change)


def _written(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes())) and None


FILE = f"files/edition/{EDITION[0]}/articles/a.html"
DAMAGES: list[tuple[str, Callable[[Path], None]]] = [
    ("header-missing", lambda folder: (folder / "snapshot.json").unlink()),
    ("header-invalid", _written("snapshot.json", lambda text: text[:-20])),
    ("header-invalid", _header_with(scope={"project_id": None})),
    ("header-invalid", _header_with(reason="another")),
    ("format-newer", _header_with(format=2)),
    ("manifest-missing", lambda folder: (folder / "manifest.jsonl").unlink()),
    ("manifest-size", _written("manifest.jsonl", lambda text: text[:-1])),
    ("manifest-bytes", _written("manifest.jsonl", lambda text: text.replace(b'"0644"', b'"0666"'))),
    ("manifest-invalid", _manifest_with(lambda text: text[:-1])),
    ("manifest-invalid", _manifest_with(lambda text: text.replace(b'"path":"edition/', b'"path":"../', 1))),
    ("manifest-invalid", _manifest_with(lambda text: text.replace(b'"type":"link"', b'"type":"pipe"'))),
    ("manifest-invalid", _manifest_with(lambda text: b"".join(reversed(text.splitlines(keepends=True))))),
    ("manifest-invalid", _manifest_with(lambda text: b"".join(2 * [text.splitlines(keepends=True)[0]]) + text)),
    ("collection-missing", lambda folder: (folder / "db/bson/edition.bson").unlink()),
    ("collection-cut", _written("db/bson/edition.bson", lambda raw: raw[:-3])),
    ("collection-cut", _written("db/bson/edition.bson", lambda raw: b"\xff\xff\xff\xff" + raw[4:])),
    ("collection-bytes", _written("db/bson/edition.bson", lambda raw: raw.replace(b"Edition 1", b"Edition 7"))),
    ("foreign-record", _written("db/bson/edition.bson", lambda raw: raw.replace(ONE.binary, TWO.binary))),
    ("file-missing", lambda folder: (folder / FILE).unlink()),
    ("file-bytes", _written(FILE, lambda text: text.replace(b"A", b"B"))),
]


@pytest.mark.parametrize(("damage", "break_it"), DAMAGES, ids=[f"{n}-{code}" for n, (code, _) in enumerate(DAMAGES)])
def test_damage_is_named_by_its_code_and_changes_nothing(
    world: World, damage: str, break_it: Callable[[Path], None]
) -> None:
    snapshot = world.make(PROJECT)
    break_it(world.stored(snapshot))
    world.spoil()
    before = world.state()

    seen_in_list = "in the list" in table("What must make a reader stop", "damage")[f"damaged.{damage}"]["seen"]
    listed: Snapshot = world.office.desk.snapshot(world.ask, PROJECT, snapshot.name)
    outcome = world.restore(snapshot)

    assert (listed.status is Status.DAMAGED) == seen_in_list
    assert [problem.code for problem in outcome.problems] == [f"damaged.{damage}"]
    assert outcome.status is OutcomeStatus.FAILED
    assert world.state() == before


def test_every_kind_of_damage_was_tried() -> None:
    assert {f"damaged.{damage}" for damage, _ in DAMAGES} == set(table("What must make a reader stop", "damage"))

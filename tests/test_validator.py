"""The validator judges a folder by exactly the code of what is wrong with it, and never takes damage for good."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import make_fixtures
import pytest
from keyframe.errors import CancelledError, NotFoundError
from keyframe.model import Scope, Verdict, Weight
from keyframe.stores import readings
from keyframe.stores.findings import NAMED, Findings, texts
from keyframe.stores.validator import Validator
from world import PROJECT, SITE, World

FIXTURES = Path(__file__).parent / "fixtures"
NOW = datetime(2026, 11, 21, 11, tzinfo=UTC)
SMALL = sorted(path.relative_to(FIXTURES) for path in FIXTURES.glob("*/*"))
# What a look at names and sizes cannot see; the small files are read by it, too.
NEEDS_BYTES = {"damaged.file-bytes", "damaged.collection-bytes", "damaged.collection-count", "damaged.foreign-record"}
NEEDS_BYTES |= {"damaged.json-bytes", "damaged.json-count"}


def judge(folder: Path, **more: Any) -> Verdict:
    return Validator(folder, **more).run(NOW)


def copied(fixture: Path, folder: Path) -> Path:
    """A fixture with the modes and times that Git does not keep."""
    shutil.copytree(FIXTURES / fixture, folder, symlinks=True)
    make_fixtures.dress(folder, make_fixtures.UNDRESSED.get(fixture.name, ""))
    return folder


def contents(top: Path) -> dict[str, tuple[str, bytes]]:
    """Every file and link below a folder."""
    found = {}
    for path in sorted(top.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(top))] = ("link", os.fsencode(path.readlink()))
        elif path.is_file():
            found[str(path.relative_to(top))] = (f"{path.stat().st_mode & 0o100:o}", path.read_bytes())
    return found


# --- the fixtures


@pytest.mark.parametrize("fixture", SMALL, ids=str)
def test_each_fixture_is_judged_by_exactly_its_code(fixture: Path, tmp_path: Path) -> None:
    folder = copied(fixture, tmp_path / "snapshot")
    before = contents(folder)

    verdict = judge(folder)

    assert verdict.status == fixture.parts[0]
    assert set(verdict.counts) == (set() if fixture.parts[0] == "good" else {fixture.name})
    assert [one.code for one in verdict.problems] == [fixture.name] * sum(verdict.counts.values())
    assert all(one.subject and one.hint and "{" not in one.what for one in verdict.problems)
    assert contents(folder) == before


@pytest.mark.parametrize("fixture", SMALL, ids=str)
def test_a_quick_look_sees_all_but_bytes(fixture: Path, tmp_path: Path) -> None:
    verdict = judge(copied(fixture, tmp_path / "snapshot"), quick=True)

    code = fixture.name.replace("collection-cut", "collection-size")
    assert set(verdict.counts) == ({code} if fixture.parts[0] != "good" and code not in NEEDS_BYTES else set())
    assert verdict.quick


def test_there_is_a_fixture_for_each_code_and_a_weight_for_each_fixture() -> None:
    found = {path.name: path.parts[0] for path in SMALL if path.parts[0] != "good"}

    assert set(found) == set(texts())
    assert all(Weight.of_code(code) == weight for code, weight in found.items())


def test_the_fixtures_are_those_that_the_script_makes(tmp_path: Path) -> None:
    make_fixtures.make(tmp_path / "made")

    assert contents(tmp_path / "made") == contents(FIXTURES)


@pytest.mark.parametrize("fixture", ["site", "project", "labelled"])
def test_coreutils_agree_about_the_good_ones(fixture: str) -> None:
    ended = subprocess.run(
        ["sha256sum", "--strict", "-c", "manifest-sha256.txt"], cwd=FIXTURES / "good" / fixture, capture_output=True
    )

    assert ended.returncode == 0, ended.stderr


def test_a_manifest_that_is_wrong_further_down_is_all_that_is_named(tmp_path: Path) -> None:
    one = make_fixtures.Fixture(tmp_path, None).write()
    one.resealed("manifest.jsonl", lambda text: text.replace(b'"type":"collection"', b'"type":"another"', 1))
    (tmp_path / "files" / "about.txt").unlink()
    (tmp_path / "files" / "stray").write_bytes(b"")

    verdict = judge(tmp_path)

    assert dict(verdict.counts) == {"damaged.manifest-invalid": 1}


def test_a_collection_that_belongs_to_no_project_is_foreign_to_the_snapshot_of_one(tmp_path: Path) -> None:
    one = make_fixtures.Fixture(tmp_path, make_fixtures.PROJECT).write()
    one.with_header(project_fields={"edition": "projectId"})

    assert dict(judge(tmp_path).counts)["damaged.foreign-record"] == 1


def test_a_newer_format_is_refused_with_its_version(tmp_path: Path) -> None:
    folder = copied(Path("good/project"), tmp_path / "snapshot")
    (folder / "snapshot.json").write_text('{"format": 12, "everything": "else"}')

    (problem,) = judge(folder).problems

    assert problem.code == "damaged.format-newer"
    assert "format 12" in problem.what


# --- what it judges


def test_every_kind_of_real_snapshot_is_good(world: World) -> None:
    for scope in (SITE, PROJECT):
        folder = world.stored(world.make(scope))
        for quick in (False, True):
            verdict = judge(folder, scope=scope, quick=quick)
            assert verdict.status is Weight.GOOD, verdict.problems
            header = json.loads((folder / "snapshot.json").read_text())
            assert (verdict.files, verdict.documents, verdict.bytes) == (
                header["files"],
                header["documents"],
                header["bytes"],
            )


def test_a_snapshot_of_another_scope_than_its_folders_is_refused() -> None:
    verdict = judge(FIXTURES / "good/project", scope=Scope.site())

    assert set(verdict.counts) == {"damaged.header-invalid"}


def test_a_project_judges_its_part_of_a_site_snapshot_and_hears_of_nobody_else(world: World) -> None:
    folder = world.stored(world.make(SITE))
    mine, other = str(make_fixtures.PROJECT), str(make_fixtures.OTHER)
    for project in (mine, other):
        path = next((folder / "files/project" / project).rglob("a.html"))
        path.unlink()
        path.write_text("<p>B</p>")
    (folder / f"files/project/{other}/stray").write_text("stray")

    of_project, of_site = judge(folder, part=mine), judge(folder)

    assert dict(of_project.counts) == {"damaged.file-bytes": of_project.counts["damaged.file-bytes"]}
    assert {one.subject.split("/")[2] for one in of_project.problems} == {mine}
    assert of_site.counts["damaged.file-extra"] == 1
    assert of_site.part_of(mine).problems == of_project.problems
    assert other not in str(of_site.part_of(mine).as_dict())


def test_what_is_no_snapshot_is_not_judged(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        judge(tmp_path)


def test_no_link_in_a_snapshot_is_followed(tmp_path: Path) -> None:
    folder = copied(Path("good/project"), tmp_path / "snapshot")
    outside = tmp_path / "outside"
    for name in ("files/edition", "db/json"):
        shutil.move(folder / name, outside / name)
        (folder / name).symlink_to(outside / name)
    shutil.move(folder / "README.txt", outside / "README.txt")
    (folder / "README.txt").symlink_to(outside / "README.txt")

    verdict = judge(folder)

    kinds = ("file-kind", "file-missing", "readme-missing", "json-missing")
    assert set(verdict.counts) == {f"damaged.{kind}" for kind in kinds}


def test_pipes_in_the_place_of_files_are_named_and_hold_nothing_up(tmp_path: Path) -> None:
    folder = copied(Path("good/project"), tmp_path / "snapshot")
    for name in ("files/a.txt", "db/bson/edition.bson", "db/json/edition.json", "README.txt"):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    assert set(judge(folder).counts) == {
        "damaged.file-kind",
        "damaged.collection-missing",
        "damaged.json-missing",
        "damaged.readme-missing",
    }


def test_a_bounded_number_is_named_and_all_are_counted(tmp_path: Path) -> None:
    folder = copied(Path("good/project"), tmp_path / "snapshot")
    for number in range(500):
        (folder / "files/edition" / f"{number:03}").touch()

    verdict = judge(folder)

    assert dict(verdict.counts) == {"damaged.file-extra": 500}
    assert len(verdict.problems) == NAMED
    assert verdict.unnamed == 500 - NAMED
    assert Verdict.from_dict(verdict.as_dict()) == verdict


def test_damage_is_named_before_what_is_only_to_know_of() -> None:
    findings = Findings()
    findings.add("noted.folder-extra", "notes.txt")
    findings.add("damaged.file-extra", "files/stray")

    assert [one.code for one in findings.problems] == ["damaged.file-extra", "noted.folder-extra"]


def test_it_can_be_stopped_and_leaves_no_file_open(world: World) -> None:
    folder = world.stored(world.make(SITE))
    before = len(os.listdir("/proc/self/fd"))

    def stop(_done: int, _total: int) -> None:
        raise CancelledError("Somebody stopped it.")

    with pytest.raises(CancelledError):
        judge(folder, told=stop)

    assert len(os.listdir("/proc/self/fd")) == before


def test_files_are_read_in_several_threads_and_a_bounded_number_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    make = Fixture_with_many(tmp_path / "snapshot", 1500)
    inner = readings.Readings._read

    def counting(self: readings.Readings, *given: Any) -> Any:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return inner(self, *given)

    monkeypatch.setattr(readings.Readings, "_read", counting)
    before = len(os.listdir("/proc/self/fd"))

    verdict = judge(make)

    assert verdict.status is Weight.GOOD, verdict.problems
    assert verdict.files == 1503
    assert most - before <= readings._TASKS * readings._BATCH_FILES + 64


def Fixture_with_many(folder: Path, number: int) -> Path:  # noqa: N802  (made of a Fixture)
    folder.mkdir()
    one = make_fixtures.Fixture(folder)
    one.files |= {f"many/{index // 100}/{index}": os.urandom(index % 50) for index in range(number)}
    one.write()
    make_fixtures.dress(folder)
    return folder


# --- names


def test_names_of_any_bytes_are_checked_by_coreutils_and_by_us(world: World) -> None:
    top = os.fsencode(world.folder(PROJECT))
    names = [b"-n", b"a\nb", b"a\\nb", b"a\rb", b"\\", b" x ", b"bad\xff", "é".encode(), "e\u0301".encode()]
    names += [b"snapshot.json", b"*", b"x" * 255]
    for name in names:
        with open(os.path.join(top, name), "wb") as file:
            file.write(name)
    folder = world.stored(world.make(PROJECT))

    checked = subprocess.run(["sha256sum", "--strict", "-c", "manifest-sha256.txt"], cwd=folder, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")
    assert judge(folder).status is Weight.GOOD
    for name in names:
        path = os.path.join(os.fsencode(folder), b"files", name)
        os.unlink(path)
        with open(path, "wb") as file:
            file.write(name[::-1] + b"?")
    assert judge(folder).counts == {"damaged.file-size": len(names)}


def test_a_file_too_deep_for_coreutils_is_named_by_the_readme_and_checked_by_us(world: World) -> None:
    here = os.open(world.folder(PROJECT), os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    with open(os.open("deep.txt", os.O_WRONLY | os.O_CREAT, dir_fd=here), "w") as file:
        file.write("deep")
    os.close(here)

    folder = world.stored(world.make(PROJECT))

    readme = (folder / "README.txt").read_text()
    assert "/deep.txt\n" in readme and hashlib.sha256(b"deep").hexdigest() in readme
    checked = subprocess.run(["sha256sum", "--strict", "-c", "manifest-sha256.txt"], cwd=folder, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, b"")
    assert judge(folder).status is Weight.GOOD
    found = [
        "find",
        "files",
        "-name",
        "deep.txt",
        "-execdir",
        "sh",
        "-c",
        "cp deep.txt x; mv x deep.txt; echo x >>deep.txt",
        ";",
    ]
    subprocess.run(found, cwd=folder, check=True)
    (problem,) = judge(folder).problems
    assert problem.code == "damaged.file-size" and problem.subject.endswith("/deep.txt")


# --- damage of any kind


def _flip(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if not content:
        path.write_bytes(b"\0")
        return
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)
    path.write_bytes(bytes(content))


def _cut(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))] if content else b"x")


def _add(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    at = chance.randrange(len(content) + 1)
    path.write_bytes(content[:at] + chance.randbytes(chance.randint(1, 9)) + content[at:])


def _scramble(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(chance.randint(0, 300)) + b"!")


def _remove(path: Path, _chance: random.Random) -> None:
    path.unlink()


def _stray(path: Path, chance: random.Random) -> None:
    path.with_name(f"{path.name}.{chance.randrange(1000)}").write_bytes(b"stray")


DAMAGES: list[Callable[[Path, random.Random], None]] = [_flip, _flip, _flip, _cut, _add, _scramble, _remove, _stray]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_done_to_a_snapshot_is_found(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    fixture = FIXTURES / "good" / ("site", "project", "labelled")[seed % 3]
    for number in range(20):
        folder = tmp_path / str(number)
        shutil.copytree(fixture, folder, symlinks=True)
        make_fixtures.dress(folder)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
        victim, damage = chance.choice(files), chance.choice(DAMAGES)
        before = hashlib.sha256(victim.read_bytes()).digest()
        damage(victim, chance)

        verdict = judge(folder)

        same = victim.exists() and hashlib.sha256(victim.read_bytes()).digest() == before and damage is not _stray
        beside = victim.parent == folder and damage is _stray  # no part of what is brought back
        harmless = same or victim.name == "labels.json" or beside
        assert verdict.is_bad != harmless, (victim, damage.__name__, dict(verdict.counts))


@pytest.mark.parametrize("seed", range(6))
def test_an_edited_snapshot_with_right_sums_never_makes_it_fail(seed: int, tmp_path: Path) -> None:
    """Header and manifest of any content, with digests that fit: judged, and nothing else."""
    chance = random.Random(seed)
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        one = make_fixtures.Fixture(folder, chance.choice([None, make_fixtures.PROJECT])).write()
        if chance.random() < 0.5:
            one.change("manifest.jsonl", lambda text: _edited(text, chance))
            one.seal()
        else:
            one.change("snapshot.json", lambda text: _edited(text, chance))

        assert judge(folder, quick=chance.random() < 0.5).status in Weight


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("snapshot.json", "damaged.header-missing"),
        ("README.txt", "damaged.readme-missing"),
        ("labels.json", "noted.labels-invalid"),
        ("db/bson/edition.metadata.json", "damaged.metadata-missing"),
    ],
)
def test_a_small_file_that_is_larger_than_memory_is_not_read(name: str, code: str, tmp_path: Path) -> None:
    make_fixtures.Fixture(tmp_path).write()
    make_fixtures.dress(tmp_path)
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 1 << 40)

    assert dict(judge(tmp_path).counts) == {code: 1}


def test_half_of_a_surrogate_pair_in_the_name_of_a_field_is_shown(tmp_path: Path) -> None:
    one = make_fixtures.Fixture(tmp_path).write()
    one.with_header(**{"\ud800x": 1})
    make_fixtures.dress(tmp_path)

    verdict = judge(tmp_path)

    assert dict(verdict.counts) == {"noted.header-unknown": 1}
    assert "`?x`" in verdict.problems[0].what


WORDS = [
    b"null",
    b"1e999",
    b"-1",
    b"[]",
    b"{}",
    b'""',
    b"1",
    b"true",
    b'"\\ud800"',
    b'"../x"',
    b"9" * 30,
    b'"a\\u0000"',
]


def _edited(text: bytes, chance: random.Random) -> bytes:
    """One value of a JSON document, or a line of several, replaced by another one."""
    at = [index for index in range(len(text)) if text[index : index + 1] == b":"]
    start = chance.choice(at) + 1
    end = min(one for one in (text.find(mark, start + 1) for mark in (b",", b"}", b"\n")) if one > 0)
    return text[:start] + chance.choice(WORDS) + text[end:]

"""Settings: every mistake at once, the environment before the file, secrets never in the file."""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from keyframe.errors import SettingsError
from keyframe.model import Action
from keyframe.settings import Settings, load
from pydantic import BaseModel

CONFIG = Path(__file__).parents[1] / "config.yaml"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for key in [key for key in os.environ if key.startswith("KEYFRAME_")]:
        monkeypatch.delenv(key)
    monkeypatch.chdir(tmp_path)
    yield


def written(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(text: str, folder: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(written(folder, text))
    return caught.value.mistakes


def keys(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield above + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{above}{name}.")


def given(node: yaml.Node, above: str = "") -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield above + key.value
            yield from given(value, f"{above}{key.value}.")


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load()

    assert settings.run_mode == "pilot"
    assert settings.working == tmp_path / "var" / "working"
    assert settings.repository == tmp_path / "var" / "data" / "backups" / "pilot"
    assert settings.control_database == "keyframe_control"


def test_the_file_of_the_project_says_nothing_but_the_defaults() -> None:
    found = load(CONFIG).model_dump()

    defaults = Settings().model_dump()
    defaults["var"] = CONFIG.parent / "var"
    assert found == defaults


def test_the_file_of_the_project_has_every_key_with_a_comment() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    commented = {"working_dir", "data_dir", "mongo.uri", "mongo.control_database"}

    present = set(given(yaml.compose(text)))

    assert set(keys(Settings)) - present == commented
    for key in commented:
        assert re.search(rf"^ *# {key.rpartition('.')[2]}: ", text, re.MULTILINE), key
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if re.match(r" *\w+:", line) and not lines[number - 1].strip().startswith("#"):
            # an explained group, or the second of two that are explained together
            assert line.rstrip().endswith(":") or re.match(r" *\w+:", lines[number - 1]), line


def test_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "port: 8001\nmongo: {database: one, timeout: 5}\n")
    monkeypatch.setenv("KEYFRAME_PORT", "8002")
    monkeypatch.setenv("KEYFRAME_MONGO__URI", "mongodb://db.example/?replicaSet=rs")

    settings = load(path)

    assert (settings.port, settings.mongo.database, settings.mongo.timeout) == (8002, "one", 5)
    assert settings.mongo.uri == "mongodb://db.example/?replicaSet=rs"


def test_collections_of_the_file_replace_the_defaults(tmp_path: Path) -> None:
    text = "scopes: {project: {collections: {blog: {field: _id}, article: {field: blogId}}}}\n"

    project = load(written(tmp_path, text)).scopes.project

    assert list(project.collections) == ["blog", "article"]
    assert (project.own_collection, project.title) == ("blog", "title")


def test_acts_can_be_switched_off_for_a_run_mode(tmp_path: Path) -> None:
    settings = load(written(tmp_path, "rights: {off: {prod: [make]}}\n"))

    assert settings.rights.off == {"prod": (Action.MAKE,)}


def test_relative_folders_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    path = written(tmp_path / "etc", "working_dir: live\n")
    monkeypatch.setenv("KEYFRAME_CONFIG", str(path))

    settings = load()

    assert settings.working == tmp_path / "etc" / "live"
    assert settings.data == tmp_path / "etc" / "var" / "data"


def test_all_mistakes_are_told_at_once_with_key_found_and_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFRAME_PROT", "8001")
    monkeypatch.setenv("KEYFRAME_WEB__THREADS", "many")

    found = mistakes("port: 99999\nrun_mode: fast\nmongo: {urii: x}\nsurprise: 1\ntime_zone: Mars/Phobos\n", tmp_path)

    told = "\n".join(found)
    assert len(found) == 7
    for part in ("KEYFRAME_PROT", "port: found 99999, expected:", "run_mode: found 'fast'", "mongo.urii: unknown key"):
        assert part in told
    for part in ("surprise: unknown key", "time_zone: found 'Mars/Phobos'", "web.threads: found 'many'"):
        assert part in told


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("working_dir: live\ndata_dir: live/data\n", "data_dir"),
        ("working_dir: live\ndata_dir: live\n", "data_dir"),
        ("working_dir: data/live\ndata_dir: data\n", "working_dir"),
        ("mongo: {database: one, control_database: one}\n", "mongo.control_database"),
        ("scopes: {project: {collections: {edition: {field: projectId}}}}\n", "scopes.project.collections"),
    ],
)
def test_values_that_do_not_fit_each_other_are_refused(text: str, key: str, tmp_path: Path) -> None:
    (found,) = mistakes(text, tmp_path)

    assert found.startswith(f"{key}: ")


def test_a_data_folder_that_a_link_leads_below_the_live_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "live" / "data").mkdir(parents=True)
    (tmp_path / "data").symlink_to(tmp_path / "live" / "data")

    (found,) = mistakes("working_dir: live\ndata_dir: data\n", tmp_path)

    assert found.startswith("data_dir: ")


@pytest.mark.parametrize("text", ["port: [", "just words", "- a\n- b\n", "\x00"])
def test_a_file_that_is_no_settings_file_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)

    with pytest.raises(SettingsError) as caught:
        load(path)

    assert caught.value.subject == str(path)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "absent.yaml")


def test_an_empty_file_is_a_file_without_changes(tmp_path: Path) -> None:
    assert load(written(tmp_path, "# nothing\n")).port == 8000


def test_a_password_in_an_address_is_not_repeated_in_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFRAME_MONGO__URI", "mongodb://u:hunter2@db.example/")
    monkeypatch.setenv("KEYFRAME_MONGO__TIMEOUT", "soon")
    monkeypatch.setenv("KEYFRAME_SECRET", "hunter3")

    told = "\n".join(mistakes("surprise: 1\n", tmp_path))

    assert "hunter" not in told


def test_the_secret_is_made_once_for_all_processes_and_for_the_owner_only(tmp_path: Path) -> None:
    settings = Settings(var=tmp_path / "var")
    found: list[str] = []

    threads = [threading.Thread(target=lambda: found.append(settings.secret_key())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 8
    assert len(set(found)) == 1
    assert len(found[0]) == 64
    assert stat.S_IMODE(settings.secret_file.stat().st_mode) == 0o600


def test_a_secret_of_the_environment_is_used_and_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFRAME_SECRET", "given")
    settings = Settings(var=tmp_path / "var")

    assert settings.secret_key() == "given"
    assert not settings.secret_file.exists()

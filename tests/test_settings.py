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
from keyframe.config import config_file
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
        name = field.alias or name
        yield above + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{above}{name}.")


def given(node: yaml.Node, above: str = "") -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield above + key.value
            yield from given(value, f"{above}{key.value}.")


def test_from_any_folder_the_checkouts_file_is_used_and_its_var() -> None:
    settings = load()

    assert config_file() == CONFIG
    assert settings.run_mode == "pilot"
    assert settings.working == CONFIG.parent / "var" / "working"
    assert settings.repository == CONFIG.parent / "var" / "data" / "backups" / "pilot"
    assert settings.control_database == "keyframe_control"


def test_a_file_in_the_current_folder_goes_before_the_checkouts(tmp_path: Path) -> None:
    written(tmp_path, "port: 8003\n")

    assert (load().port, load().var) == (8003, tmp_path / "var")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as a wheel installs it: no checkout around it."""
    monkeypatch.setattr("keyframe.config.__file__", str(tmp_path / "site-packages" / "keyframe" / "config.py"))


@pytest.mark.usefixtures("installed")
def test_where_there_is_no_file_somebody_must_say_where_the_data_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config_file() is None
    with pytest.raises(SettingsError) as caught:
        load()
    assert "KEYFRAME_VAR" in caught.value.hint
    assert list(tmp_path.iterdir()) == []

    monkeypatch.setenv("KEYFRAME_WORKING_DIR", str(tmp_path / "live"))
    monkeypatch.setenv("KEYFRAME_DATA_DIR", str(tmp_path / "data"))
    assert load().var == tmp_path / "data" / ".keyframe"
    monkeypatch.setenv("KEYFRAME_VAR", "own")
    assert load().var == tmp_path / "own"


@pytest.mark.usefixtures("installed")
def test_where_there_is_no_file_a_mistake_does_not_speak_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYFRAME_PORT", "many")

    with pytest.raises(SettingsError) as caught:
        load()

    assert caught.value.subject == "the environment"
    assert "config.yaml" not in str(caught.value)


def test_the_file_of_the_project_says_nothing_but_the_defaults() -> None:
    found = load(CONFIG).model_dump()

    defaults = Settings().model_dump()
    defaults["var"] = CONFIG.parent / "var"
    assert found == defaults


def test_the_file_of_the_project_has_every_key_with_a_comment() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    commented = {"working_dir", "data_dir", "mongo.uri", "mongo.control_database", "application_version"}

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
    path = written(tmp_path / "etc", "working_dir: live\nrestore: {beside: old}\n")
    monkeypatch.setenv("KEYFRAME_CONFIG", str(path))

    settings = load()

    assert settings.working == tmp_path / "etc" / "live"
    assert settings.data == tmp_path / "etc" / "var" / "data"
    assert settings.restore.beside == tmp_path / "etc" / "old"


def test_all_mistakes_are_told_at_once_with_key_found_and_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFRAME_PROT", "8001")
    monkeypatch.setenv("KEYFRAME_WEB__THREADS", "many")

    found = mistakes("port: 99999\nrun_mode: fast\nmongo: {urii: x}\nsurprise: 1\ntime_zone: Mars/Phobos\n", tmp_path)

    told = "\n".join(found)
    assert len(found) == 7
    for part in ("KEYFRAME_PROT", "port: found 99999, expected: a whole number from 1 to 65535"):
        assert part in told
    for part in ("run_mode: found 'fast', expected: one of pilot, test, prod, custom", "mongo.urii: unknown key"):
        assert part in told
    for part in ("surprise: unknown key", "time_zone: found 'Mars/Phobos'"):
        assert part in told
    assert "web.threads (from KEYFRAME_WEB__THREADS): found 'many', expected: a whole number from 4 to 256" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs: {lease: soon}", "a number from 2 to 600"),
        ("mongo: {timeout: 0}", "a number above 0 and at most 60"),
        ("mongo: {database: a/b}", "a name of letters, digits, _ and -, at most 38 characters"),
        ("mongo: {uri: nonsense}", "an address that begins with mongodb:// or mongodb+srv://"),
        ("sample: {sign_in: maybe}", "true or false"),
        ("var: 5", "a folder"),
        ("host: [a]", "a text"),
        ("web: 5", "keys of its own below it"),
        ("scopes: {site: {people: all}}", "a list"),
        ("scopes: {project: {title: ''}}", "a text of 1 to 120 characters"),
        ("shell: {role: god}", "one of root, admin, user"),
        ("rights: {off: {prod: [fly]}}", "one of see, make"),
        ("hooks: {after_restore: [forget]}", "the name of a function, like package.module:function"),
        ("hooks: {after_restore: 'blog_hooks:forget'}", "a list"),
        ("hooks: {seconds: 0}", "a number above 0 and at most 600"),
    ],
)
def test_what_is_expected_is_said_in_our_words(text: str, expected: str, tmp_path: Path) -> None:
    (found,) = mistakes(text, tmp_path)

    assert f"expected: {expected}" in found
    assert "input" not in found


def test_an_address_that_is_none_is_refused_without_its_password(tmp_path: Path) -> None:
    (found,) = mistakes("mongo: {uri: 'mongo://u:hunter2@db.example'}", tmp_path)

    assert found.startswith("mongo.uri: found a value that is not repeated here, expected: an address")


def test_a_mistake_out_of_a_variable_with_json_names_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYFRAME_WEB", '{"threads": "many"}')

    told = "\n".join(mistakes("web: {workers: none}\n", tmp_path))

    assert "web.threads (from KEYFRAME_WEB): found 'many'" in told
    assert "web.workers: found 'none'" in told


def test_broken_yaml_is_told_in_one_sentence_with_its_place(tmp_path: Path) -> None:
    path = written(tmp_path, "port: 1\na: [1\n")

    with pytest.raises(SettingsError) as caught:
        load(path)

    assert caught.value.what == (
        "is not valid YAML. Line 3, column 1: expected ',' or ']', but got the end of the file, "
        "while parsing a flow sequence that began in line 2."
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("working_dir: live\ndata_dir: live/data\n", "data_dir"),
        ("working_dir: live\ndata_dir: live\n", "data_dir"),
        ("working_dir: data/live\ndata_dir: data\n", "working_dir"),
        ("mongo: {database: one, control_database: one}\n", "mongo.control_database"),
        ("data_dir: data\nrestore: {beside: data/old}\n", "restore.beside"),
        ("working_dir: live\nrestore: {beside: live}\n", "restore.beside"),
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

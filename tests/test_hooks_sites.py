"""Hooks in real processes: the editions site forgets what it has counted, the host of the documents its pages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from keyframe.model import Scope
from keyframe.settings import Settings
from keyframe.wiring import build
from program import Up, call, until, up
from pymongo import MongoClient
from pymongo.database import Database
from test_architecture import WAIT, Blog, quiet_blog, token_of
from test_architecture import block as block_of_host

__all__ = ["quiet_blog"]  # a fixture

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/hooks.md").read_text(encoding="utf-8")


# --- the editions site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Up]:
    """Web server and worker, with a hook that fails besides the site's own."""
    with up(tmp_path / "var") as found:
        hooks = {"KEYFRAME_HOOKS__AFTER_RESTORE": '["hooked:failing"]', "PYTHONPATH": str(ROOT / "tests")}
        found.start(KEYFRAME_SAMPLE__SIGN_IN="true", **hooks).wait_until_healthy()
        yield found


class Reader:
    """The site's admin, with a browser."""

    def __init__(self, one: Up) -> None:
        self._address = f"http://127.0.0.1:{one.port}"
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar())).open
        form = {"csrf_token": token_of(self.page("/sign-in")), "user": "root"}
        self._open(f"{self._address}/sign-in/sample", urlencode(form).encode()).close()

    def page(self, path: str) -> str:
        with self._open(f"{self._address}{path}") as answer:
            return str(answer.read().decode())

    def files(self, project: str) -> int:
        """How many the page of a project speaks of."""
        found = re.search(r"editions? · (\d+) files?", self.page(f"/project/{project}"))
        assert found is not None
        return int(found.group(1))


def asked(site: Up, *words: str) -> dict[str, Any]:
    done = call(site.var, *words, "--json")
    assert done.returncode == 0, done.stderr + done.stdout
    found = json.loads(done.stdout)["job"]
    assert isinstance(found, dict)
    return found


def restored_without_the_hook(site: Up, database: str, uri: str, project: str, snapshot: str) -> str:
    """As the site would without it; its worker must not be quicker."""
    settings = Settings(var=site.var, mongo={"uri": uri, "database": database})  # type: ignore[arg-type]
    office, worker = build(settings), site.parts()["worker"]
    os.kill(worker, signal.SIGSTOP)
    try:
        job = office.desk.restore(office.login.shell_actor(), Scope.project(project), snapshot)
        outcome = office.work.run_job(job.id).outcome
    finally:
        os.kill(worker, signal.SIGCONT)
        office.database.client.close()
    assert outcome is not None
    return outcome.status.value


def test_the_editions_site_shows_what_was_restored_and_not_what_it_had_counted(site: Up) -> None:
    run, reader = site.run, Reader(site)
    uri, database = run["mongo_uri"], run["database"]
    with MongoClient[dict[str, Any]](uri) as client:
        project = str(next(iter(client[database].project.find()))["_id"])
        cache = client[database].cache
        before = reader.files(project)
        snapshot = asked(site, "make", "--project", project)["outcome"]["snapshot"]
        for number in range(7):
            (site.var / f"working/project/{project}/added-{number}").touch()
        assert reader.files(project) == before  # a script is not noticed at once
        cache.delete_many({})
        assert reader.files(project) == before + 7

        assert restored_without_the_hook(site, database, uri, project, snapshot) == "done"
        assert not (site.var / f"working/project/{project}/added-0").exists()
        assert reader.files(project) == before + 7, "the page of before is served without the hook"
        asked(site, "undo", "--project", project, "--yes")
        assert reader.files(project) == before + 7
        job = asked(site, "restore", snapshot, "--project", project, "--yes")

        assert reader.files(project) == before
    # The other hook has failed, and holds up nothing.
    assert job["outcome"]["status"] == "done"
    assert [one["code"] for one in job["outcome"]["warnings"]] == ["hook"]
    assert "The hook hooked:failing has failed (ValueError)" in reader.page(f"/snapshots/jobs/{job['id']}")
    said = call(site.var, "undo", "--project", project, "--yes")
    assert (said.returncode, "The hook hooked:failing has failed (ValueError)" in said.stdout + said.stderr) == (
        0,
        True,
    )
    assert "a reason that is for the log" in (site.var / "log/worker.log").read_text(encoding="utf-8")


def test_a_hook_that_is_not_there_is_told_before_anything_is_started(tmp_path: Path) -> None:
    told = call(tmp_path / "var", "up", KEYFRAME_HOOKS__AFTER_RESTORE='["nowhere:x"]')

    assert told.returncode == 2
    assert "hooks.after_restore.0 (from KEYFRAME_HOOKS__AFTER_RESTORE): found 'nowhere:x'" in told.stderr
    assert not (tmp_path / "var/mongo").exists()


# --- the host of the documents


def block(language: str, number: int = 0) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found[number])


@pytest.fixture(params=["settings", "code"])
def worked_blog(
    quiet_blog: Blog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Blog]:
    """The host with its own worker, in which the hook of the page is named in the settings, or given by code."""
    (tmp_path / "blog_hooks.py").write_text(block("python"))
    config, more = yaml.safe_load(block_of_host("yaml")), yaml.safe_load(block("yaml"))
    config["scopes"]["site"] |= more["scopes"]["site"]
    if request.param == "settings":
        config["hooks"] = more["hooks"]
    else:
        given = re.search(r"after_restore=\(forget_pages, ", block("python", 1))
        assert given is not None
        code = block_of_host("python").replace("layout=", f"{given.group()}), layout=", 1)
        (tmp_path / "blog.py").write_text(code.replace("\n\n", "\nfrom blog_hooks import forget_pages\n\n", 1))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    argv = [sys.executable, "-m", "flask", "--app", "blog", "keyframe-worker"]
    with (tmp_path / "worker.out").open("wb") as out:
        worker = subprocess.Popen(argv, cwd=tmp_path, stdout=out, stderr=out)
    until(quiet_blog.office.jobs.worker_alive, 30, (tmp_path / "worker.out").read_text())
    yield quiet_blog
    worker.terminate()
    assert worker.wait(30) == 0


def test_the_host_of_the_page_forgets_the_pages_of_what_was_restored(
    worked_blog: Blog, database: Database[dict[str, Any]]
) -> None:
    blog = worked_blog
    assert blog.write("roses", "as it was") == 200
    secret = blog.office.desk.create_token(blog.office.login.shell_actor(), "ann")
    headers = {**WAIT, "Authorization": f"Bearer {secret}"}
    client = blog.app.test_client()
    made = client.post("/api/v1/projects/gardens/snapshots", headers=headers)
    assert made.status_code in (200, 201), made.get_data(as_text=True)
    assert blog.write("roses", "spoilt by mistake") == 200
    database.page.insert_many([{"_id": "gardens", "html": "spoilt"}, {"_id": "rain", "html": "of another blog"}])

    answer = client.post("/api/v1/projects/gardens/snapshots/latest/restore", headers=headers)

    outcome = answer.get_json()["job"]["outcome"]
    assert (outcome["status"], outcome["warnings"]) == ("done", [])
    assert blog.text("roses") == "as it was"
    assert [one["_id"] for one in database.page.find()] == ["rain"]

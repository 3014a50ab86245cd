"""The command line as a person or a script uses it: real processes, exit codes, what is printed where."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import pty
import re
import secrets
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest
from bson import ObjectId
from click.testing import CliRunner, Result
from keyframe import errors
from keyframe.doors.cli_frame import EXIT_CODES, exit_code
from keyframe.doors.login import Login
from keyframe.doors.office import Office
from keyframe.main import cli
from keyframe.model import JobState, OutcomeStatus, Scope
from keyframe.settings import Settings, ShellSettings
from keyframe.wiring import build
from program import KEYFRAME, ROOT, Up, call, environment, free_port, until
from pymongo import MongoClient
from sampled import fill_sample
from structlog.testing import capture_logs

ACTS = {"make", "list", "show", "preview", "restore", "undo", "delete", "undelete", "verify"}


class Opening:
    """The opener of commands that run inside this process: one office for all of them, with this role of the shell."""

    def __init__(self, office: Office, role: str = "root") -> None:
        self.settings = office.settings
        self.config = None
        shell = Login(office.login._people, office.login._tokens, ShellSettings(role=role))  # type: ignore[arg-type]
        self._office = replace(office, login=shell)

    @contextlib.contextmanager
    def __call__(self, database: bool = True) -> Iterator[Office]:
        yield self._office


@dataclass
class Site:
    """A site with the sample, no worker and no web server; commands do their jobs themselves."""

    var: Path
    uri: str
    database: str
    office: Office
    project: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def kf(self, *words: str, role: str = "root") -> Result:
        """Run a command inside this process, which saves the second that a new one takes to load."""
        with capture_logs():  # a program has its log in a file; here it would go to standard output
            return CliRunner().invoke(cli, list(words), obj=lambda _: Opening(self.office, role), prog_name="keyframe")

    def program(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a program."""
        return call(self.var, *words, **{**self.variables, **more})

    @property
    def variables(self) -> dict[str, str]:
        return {"KEYFRAME_MONGO__URI": self.uri, "KEYFRAME_MONGO__DATABASE": self.database}

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        """The one document on standard output."""
        ended = self.kf(*words, "--json")
        assert ended.exit_code == code, ended.output
        found = json.loads(ended.stdout)
        assert isinstance(found, dict)
        return found

    def make(self, *where: str) -> str:
        """A new snapshot's name."""
        self.touch()
        name = self.json("make", *(where or ("--site",)))["snapshot"]["name"]
        assert isinstance(name, str)
        return name

    @property
    def folder(self) -> Path:
        return self.var / "working" / "project" / self.project

    def touch(self) -> Path:
        path = self.folder / "touched.txt"
        path.write_text(secrets.token_hex(4))
        return path

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(KEYFRAME), *words],
            env=environment(self.var, **self.variables),
            cwd=self.var.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End what a test that failed left running."""
        for process in self.started:
            with process:
                process.kill()


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(
        var=tmp_path_factory.mktemp("cli") / "var",
        mongo={"uri": mongo_uri, "database": f"cli_{secrets.token_hex(6)}"},  # type: ignore[arg-type]
    )
    settings.var.mkdir()
    office = build(settings)
    fill_sample(settings, office.database)
    project = sorted(path.name for path in (settings.working / "project").iterdir())[0]
    found = Site(settings.var, mongo_uri, settings.mongo.database, office, project)
    yield found
    found.end()
    office.database.client.close()
    with MongoClient(mongo_uri) as client:
        client.drop_database(settings.mongo.database)
        client.drop_database(settings.control_database)


def commands(group: click.Group, above: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, f"{above}{name} ")
        else:
            yield f"{above}{name}", found


# What there is


def test_the_commands_are_those_and_no_others() -> None:
    top = set(cli.list_commands(click.Context(cli)))

    assert top == ACTS | {"sample", "people", "token", "worker", "up", "recover"}


def test_every_help_text_has_the_exit_codes() -> None:
    for name, command in commands(cli):
        assert "Exit codes" in command.get_help(click.Context(command, info_name=name)), name


def test_every_error_has_an_exit_code() -> None:
    kinds = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.KeyframeError)]

    assert {kind.kind for kind in kinds} - set(EXIT_CODES) == set()
    assert exit_code("damaged.manifest") == EXIT_CODES["damaged"] == 6


def test_the_version_and_the_list_of_commands_need_no_settings(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()

    assert call(tmp_path / "var", "--version", KEYFRAME_PORT="x").stdout.startswith("keyframe, version ")
    assert "undelete" in call(tmp_path / "var", "--help", KEYFRAME_PORT="x").stdout


# The acts


def test_a_snapshot_is_made_listed_and_shown_with_its_note(site: Site) -> None:
    site.touch()
    made = site.program("make", "--site", "--note", "before the update")

    assert made.returncode == 0, made.stderr
    name = made.stdout.split()[-1]
    listed = site.json("list", "--site")
    assert listed["snapshots"][0]["name"] == name
    assert listed["snapshots"][0]["note"] == "before the update"
    assert listed["snapshots"][0]["scope"] == {"project_id": None}
    assert site.json("show", "--site", "latest") == listed["snapshots"][0]
    assert "before the update" in site.kf("list", "--site").stdout
    assert name in site.kf("show", "--site", name).stdout


def test_what_is_missing_is_confirmed_by_an_option(site: Site) -> None:
    scope = ("--project", site.project)
    many = site.folder / "many"
    many.mkdir()
    for number in range(200):
        (many / f"{number}.txt").write_text("x")
    site.make(*scope)
    shutil.rmtree(many)

    shrunk, unknown = site.kf("make", *scope), site.json("make", *scope, "--confirm", "changed", code=2)
    confirmed = site.json("make", *scope, "--confirm", "shrunk")["snapshot"]
    again = site.json("make", *scope, "--confirm", "shrunk")["job"]

    assert shrunk.exit_code == 11
    assert re.search(r"200 of \d+ files have gone since ", shrunk.output)
    assert unknown["code"] == "invalid"
    assert "What can be: shrunk." in unknown["hint"]
    assert confirmed["status"] == "done"
    assert re.search(r"confirmed 200 of \d+ files have gone", site.kf("show", *scope, "latest").output)
    assert again["outcome"]["status"] == "unchanged"


def test_nothing_changed_is_exit_0_and_told_apart_in_the_document(site: Site) -> None:
    name = site.make("--project", site.project)

    again = site.json("make", "--project", site.project)

    assert again["job"]["outcome"]["status"] == "unchanged"
    assert again["snapshot"]["name"] == name


def test_with_json_standard_output_is_one_document(site: Site) -> None:
    site.touch()

    ended = site.program("make", "--site", "--json")

    document = json.loads(ended.stdout)
    assert document["job"]["state"] == "ended"
    assert document["job"]["outcome"]["status"] == "done"


def test_what_was_lost_comes_back_and_the_restore_is_undone(site: Site) -> None:
    scope = ("--project", site.project)
    touched = site.touch()
    text = touched.read_text()
    name = site.make(*scope)
    kept = touched.read_text()
    assert kept != text
    touched.unlink()
    (site.folder / "new.txt").write_text("new")

    plan = site.json("preview", *scope, name)
    assert (plan["creates"]["files"], plan["deletes"]["files"]) == (1, 1)
    assert "touched.txt" in site.kf("preview", *scope, name).stdout
    assert not touched.exists()

    restored = site.json("restore", *scope, name, "--yes", "--plan", plan["digest"])
    assert restored["job"]["outcome"]["status"] == "done"
    assert restored["job"]["outcome"]["report"]["digest"] == plan["digest"]
    assert touched.read_text() == kept
    assert not (site.folder / "new.txt").exists()

    undone = site.kf("undo", *scope, "--yes")
    assert undone.exit_code == 0, undone.stderr
    assert not touched.exists()
    assert (site.folder / "new.txt").read_text() == "new"
    (site.folder / "new.txt").unlink()


def test_restore_and_undo_say_how_they_are_taken_back(site: Site) -> None:
    scope = ("--project", site.project)
    touched = site.touch()
    name = site.make(*scope)
    kept = touched.read_text()
    touched.unlink()

    for words in (("restore", *scope, name, "--yes"), ("undo", *scope, "--yes")):
        is_there = touched.exists()
        said = site.kf(*words).stdout
        (line,) = [one for one in said.splitlines() if one.startswith("To take it back: ")]
        assert touched.exists() is not is_there

        back = site.kf(*line.removeprefix("To take it back: keyframe ").split(), "--yes")
        assert back.exit_code == 0, back.stderr
        assert touched.exists() is is_there
        assert site.kf("undo", *scope, "--yes").exit_code == 0  # the undo of it, to go on from there

    assert site.kf("restore", *scope, name, "--yes").exit_code == 0
    assert touched.read_text() == kept
    nothing = site.kf("restore", *scope, name, "--yes")
    assert "Nothing to do" in nothing.stdout and "To take it back" not in nothing.stdout
    assert "To take it back" not in site.kf("preview", *scope, name).stdout


def test_one_project_comes_back_out_of_a_snapshot_of_the_site(site: Site) -> None:
    touched = site.touch()
    name = site.make()
    kept = touched.read_text()
    other = next(one for one in (site.var / "working" / "project").iterdir() if one.name != site.project)
    touched.unlink()
    (other / "new.txt").write_text("stays")

    site.json("restore", "--site", name, "--only-project", site.project, "--yes")

    assert touched.read_text() == kept
    assert (other / "new.txt").read_text() == "stays"
    (other / "new.txt").unlink()


def test_a_plan_that_was_overtaken_is_exit_5_with_the_new_one(site: Site) -> None:
    scope = ("--project", site.project)
    name = site.make(*scope)
    digest = site.json("preview", *scope, name)["digest"]
    changed = site.touch().read_text()

    ended = site.json("restore", *scope, name, "--yes", "--plan", digest, code=5)

    assert ended["code"] == "stale"
    assert ended["plan"]["digest"] != digest
    assert "touched.txt" in [one["name"] for one in ended["changed"]]
    said = site.kf("restore", *scope, name, "--yes", "--plan", digest)
    assert "touched.txt" in said.stderr
    assert (site.folder / "touched.txt").read_text() == changed


def test_a_restore_that_nobody_can_be_asked_about_is_refused(site: Site) -> None:
    name = site.make()
    changed = site.touch().read_text()

    ended = site.kf("restore", "--site", name)

    assert ended.exit_code == 2
    assert "--yes" in ended.stderr
    assert site.json("restore", "--site", name, code=2)["code"] == "invalid"
    assert (site.folder / "touched.txt").read_text() == changed


@pytest.mark.parametrize("answer", ["n", "y"])
def test_on_a_terminal_a_restore_shows_its_plan_and_asks(site: Site, answer: str) -> None:
    name = site.make()
    kept = (site.folder / "touched.txt").read_text()
    changed = site.touch().read_text()

    code, said = on_terminal(site, answer, "restore", "--site", name)

    assert code == 0, said
    assert "touched.txt" in said
    assert "Bring back 1 file?" in said
    assert (site.folder / "touched.txt").read_text() == (kept if answer == "y" else changed)
    assert ("Nothing was changed" in said) == (answer == "n")


@pytest.mark.parametrize("answer", ["n", "y"])
def test_on_a_terminal_an_undo_shows_its_plan_and_asks(site: Site, answer: str) -> None:
    scope = ("--project", site.project)
    name = site.make(*scope)
    kept = (site.folder / "touched.txt").read_text()
    changed = site.touch().read_text()
    site.json("restore", *scope, name, "--yes")

    code, said = on_terminal(site, answer, "undo", *scope)

    assert code == 0, said
    assert "touched.txt" in said
    assert "undo of the restore of the snapshot of today" in said
    assert "Undo the restore: bring back 1 file?" in said
    assert (site.folder / "touched.txt").read_text() == (changed if answer == "y" else kept)


def test_an_undo_is_not_asked_about_with_yes(site: Site) -> None:
    scope = ("--project", site.project)
    name = site.make(*scope)
    changed = site.touch().read_text()
    site.json("restore", *scope, name, "--yes")

    code, said = on_terminal(site, "", "undo", *scope, "--yes")

    assert code == 0, said
    assert "[y/N]" not in said
    assert (site.folder / "touched.txt").read_text() == changed


def test_a_preview_names_the_fields_that_differ_where_that_is_asked_for(site: Site) -> None:
    name = site.make("--project", site.project)
    size = len(site.touch().read_bytes())

    plain = site.kf("preview", "--project", site.project, name).stdout
    told = site.kf("preview", "--project", site.project, name, "--fields").stdout

    line = next(one for one in told.splitlines() if one.startswith("      size: ") or "sha256: " in one)
    assert " → " in line and line not in plain
    assert f"size: {size} → " in told or "size:" not in told
    assert [one for one in told.splitlines() if not one.startswith("      ")] == plain.splitlines()


def test_a_preview_says_first_what_it_amounts_to_and_names_fifty_items(site: Site) -> None:
    name = site.make("--project", site.project)
    new = [site.folder / f"new{number}.txt" for number in range(60)]
    for path in new:
        path.write_text("new")
    try:
        few = site.kf("preview", "--project", site.project, name).stdout.splitlines()
        whole = site.kf("preview", "--project", site.project, name, "--all").stdout.splitlines()
    finally:
        for path in new:
            path.unlink()

    assert "60 files" in "".join(few[:3])
    assert sum("new" in line and ".txt" in line for line in few) == 50
    assert few[-1] == "  … and 10 more; keyframe preview --all names them"
    assert sum("new" in line and ".txt" in line for line in whole) == 60


def test_who_is_not_there_is_not_asked_for_a_password(site: Site) -> None:
    code, said = on_terminal(site, "", "people", "password", "nobody")

    assert code == 4
    assert "Nobody is called nobody." in said
    assert "Password" not in said


def test_a_selection_that_means_nothing_is_said_of_the_options(site: Site) -> None:
    name = site.make()
    other = "0" * 24
    for words, option in (
        (("--project", site.project, "--only-project", other), "--only-project"),
        (("--site", "--edition", other), "--edition"),
        (("--site", "--only-project", site.project, "--people"), "--people"),
        (("--project", site.project, "--people"), "--people"),
        (("--site", "--only-project", "../x"), "--only-project"),
        (("--site", "--path", "../x"), "--path"),
        (("--site", "--path", "/x"), "--path"),
        (("--site", "--collection", ""), "--collection"),
        (("--site", "--record", "edition"), "--record"),
        (("--site", "--record", "/1"), "--record"),
        (("--site", "--record", 'edition/{"$oid": "x"}'), "--record"),
        (("--site", "--files-only", "--records-only"), "--files-only"),
        (("--site", "--files-only", "--collection", "edition"), "--files-only"),
        (("--site", "--records-only", "--path", "a"), "--records-only"),
        (("--site", "--records-only", "--people"), "--people"),
    ):
        ended = site.kf("preview", *words, name)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert option in ended.stderr
        assert "`" not in ended.stderr


def test_paths_and_records_are_selected_by_options(site: Site) -> None:
    name = site.make("--project", site.project)
    edition = site.office.database["edition"].find_one({"projectId": ObjectId(site.project)})
    assert edition is not None
    top = Scope.project(site.project).live_folder(site.office.settings.working)
    (top / "new folder").mkdir()
    (top / "new folder/a.txt").write_text("new")
    (top / "touched.txt").write_text("changed")
    site.office.database["edition"].update_one({"_id": edition["_id"]}, {"$set": {"title": "changed"}})
    where = ("--project", site.project, name)

    files = site.json("preview", *where, "--path", "./new folder/", "--files-only")
    one = site.json("preview", *where, "--record", f"edition/{edition['_id']}")
    same = site.json("preview", *where, "--record", f'edition/{{"$oid": "{edition["_id"]}"}}')
    whole = site.json("preview", *where, "--collection", "edition", "--records-only")
    words = site.kf("preview", *where, "--path", "new folder").stdout
    done = site.json("restore", *where, "--path", "new folder", "--yes")

    assert files["deletes"] == {"files": 1, "records": 0, "bytes": 3, "other": 1, "kinds": {"directory": 1}}
    assert one["digest"] == same["digest"]
    assert (one["replaces"]["records"], one["replaces"]["files"]) == (1, 0)
    assert whole["replaces"] == one["replaces"]
    assert "  only new folder of this project\n" in words
    assert done["job"]["outcome"]["status"] == "done"
    assert not (top / "new folder").exists()
    assert (top / "touched.txt").read_text() == "changed"
    missing = site.json("preview", *where, "--path", "nowhere", code=4)
    assert missing["code"] == "not-found"


def on_terminal(site: Site, answer: str, *words: str) -> tuple[int, str]:
    """Exit code and screen of a command on a terminal where somebody answers its question."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(site.var.parent)
        os.execve(KEYFRAME, [str(KEYFRAME), *words], environment(site.var, **site.variables, COLUMNS="200"))
    said = b""
    asked = False
    while True:
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break
        if not asked and b"[y/N]" in said:
            asked = True
            os.write(terminal, f"{answer}\n".encode())
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode(errors="replace")


def test_a_snapshot_goes_to_the_trash_and_comes_back(site: Site) -> None:
    name = site.make()

    assert site.json("delete", "--site", name, "--yes")["name"] == name
    assert name not in [one["name"] for one in site.json("list", "--site")["snapshots"]]
    (trashed,) = [one for one in site.json("list", "--site", "--trash")["snapshots"] if one["name"] == name]
    assert trashed["deleted_by"]
    assert site.kf("undelete", "--site", name).exit_code == 0
    assert name in [one["name"] for one in site.json("list", "--site")["snapshots"]]


def test_a_stored_snapshot_is_verified_and_the_list_says_so(site: Site) -> None:
    name = site.make()

    found = site.json("verify", "--site", "latest")
    said = site.kf("verify", "--site", name)

    assert found["verdict"]["status"] == "good" and found["job"]["snapshot"] == name
    assert said.exit_code == 0 and f"Done: {name} is as it was written." in said.stdout
    assert "[verified]" in next(line for line in site.kf("list", "--site").stdout.splitlines() if name in line)
    assert "every byte is as it was written" in site.kf("show", "--site", name).stdout
    assert site.json("show", "--site", name)["verified"]["status"] == "good"


def test_damage_is_exit_6_by_name_and_by_folder(site: Site) -> None:
    name = site.make("--project", site.project)
    folder = site.office.settings.repository / "project" / site.project / name
    (folder / "files/touched.txt").unlink()

    for words in (("--project", site.project, name), (str(folder),)):
        said = site.kf("verify", *words)
        document = site.json("verify", *words, code=6)

        assert said.exit_code == 6 and "damaged.file-missing: files/touched.txt is not there" in said.stderr
        assert document["code"] == "damaged.file-missing"
        assert document["verdict"]["counts"] == {"damaged.file-missing": 1}
    assert site.kf("verify", "--project", site.project, name, "--quick").exit_code == 6
    assert site.kf("delete", "--project", site.project, name).exit_code == 0


def test_a_folder_is_verified_without_settings_and_database(site: Site, tmp_path: Path) -> None:
    folder = site.office.settings.repository / "site" / site.make()
    env = {"PATH": os.environ["PATH"], "KEYFRAME_PORT": "no number", "KEYFRAME_VAR": str(tmp_path / "none")}

    ended = subprocess.run([KEYFRAME, "verify", "."], cwd=folder, env=env, capture_output=True, text=True)

    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    assert ended.stdout.startswith("Done: . is as it was written.")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("2026-11-21T10-53-15Z",), 4),
        (("--site", "/tmp"), 4),
        (("/tmp",), 4),
        (("--site", "--project", "a", "latest"), 2),
        (("--project", "a..b", "latest"), 4),
        (("--site", "2001-01-01T00-00-00Z"), 4),
    ],
)
def test_what_cannot_be_verified_is_said(site: Site, words: tuple[str, ...], code: int) -> None:
    assert site.kf("verify", *words).exit_code == code


def test_tokens_are_made_listed_and_revoked(site: Site) -> None:
    made = site.json("token", "create", "--user", "organiser", "--label", "nightly")
    assert set(made) == {"token"}
    assert made["token"].startswith("kf_")

    plain = site.kf("token", "create", "--user", "organiser")
    assert plain.stdout.startswith("kf_")
    assert len(plain.stdout.split()) == 1

    (listed, _) = site.json("token", "list", "--user", "organiser")["tokens"]
    assert listed["label"] == "nightly"
    assert made["token"] not in site.kf("token", "list", "--user", "organiser").stdout
    assert site.kf("token", "revoke", listed["id"], "--user", "organiser").exit_code == 0
    assert site.kf("token", "revoke", listed["id"], "--user", "organiser").exit_code == 4
    assert len(site.json("token", "list", "--user", "organiser")["tokens"]) == 1
    assert site.kf("token", "create", "--user", "nobody").exit_code == 4


# What goes wrong


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("make",), 2),
        (("make", "--site", "--project", "x"), 2),
        (("make", "--site", "--colour"), 2),
        (("list", "--site", "--limit", "0"), 2),
        (("make", "--site", "--note", "x" * 501), 2),
        (("show", "--site", "2020-01-01T00-00-00Z"), 4),
        (("show", "--site", "../../etc"), 4),
        (("list", "--project", "../.."), 4),
        (("list", "--project", "0" * 24), 4),
        (("show", "--project", "0" * 24, "latest"), 4),
        (("list", "--project", "x" * 10_000), 4),
        (("restore", "--site", "2020-01-01T00-00-00Z", "--yes"), 4),
        (("undo", "--project", "0" * 24, "--yes"), 4),
        (("undo", "--site"), 2),
    ],
)
def test_what_is_wrong_is_said_in_words_or_in_a_document_with_its_exit_code(
    site: Site, words: tuple[str, ...], code: int
) -> None:
    ended = site.kf(*words)
    assert ended.exit_code == code, ended.stderr
    assert ended.stdout == ""
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr

    problem = site.json(*words, code=code)
    assert exit_code(problem["code"]) == code
    assert problem["type"].startswith("urn:keyframe:problem:")
    assert problem["what"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("make", "--project", "zzz"), "There is no such project. Its id is the name of its folder"),
        (("list", "--project", "zzz"), "There is no such project. Its id is the name of its folder"),
        (("list", "--project", "../.."), "There is no such project. Its id is the name of its folder"),
        (("make", "--site", "--project", "x"), "--site and --project were both given; say which one is meant."),
        (("show", "--site", "2020-01-01T00-00-00Z"), "There is no such snapshot (2020-01-01T00-00-00Z)."),
        (("show", "--site", "nonsense"), "There is no such snapshot (nonsense)."),
        (("restore", "--site", "latest"), "Keyframe restore asks before it restores, and nobody can be asked here."),
        (("undo", "--site"), "Keyframe undo asks before it undoes, and nobody can be asked here."),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_one_good_sentence(site: Site, words: tuple[str, ...], said: str) -> None:
    ended = site.kf(*words)
    document = site.json(*words, code=ended.exit_code)

    assert said in ended.stderr
    assert said in document["detail"]
    if document["code"] == "invalid":
        assert document["mistakes"] == [said]


def test_a_preview_names_the_snapshot_that_latest_became(site: Site) -> None:
    name = site.make()

    looked = site.kf("preview", "--site", "latest")
    restored = site.kf("restore", "--site", "latest", "--yes")

    assert looked.stdout.startswith(f"snapshot {name}\nNothing to do.")
    assert f"latest is {name}\n" in restored.stderr


def test_mistakes_of_the_settings_are_told_all_at_once(site: Site) -> None:
    wrong = {"KEYFRAME_PORT": "0", "KEYFRAME_RUN_MODE": "fast"}

    ended = site.program("list", "--site", **wrong)

    assert ended.returncode == 2
    assert "port (from KEYFRAME_PORT): found '0'" in ended.stderr
    assert "run_mode (from KEYFRAME_RUN_MODE): found 'fast'" in ended.stderr
    assert len(json.loads(site.program("list", "--site", "--json", **wrong).stdout)["mistakes"]) == 2


def test_a_settings_file_can_be_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("port: none\n")

    ended = site.program("--config", str(tmp_path / "own.yaml"), "list", "--site")
    assert "own.yaml" in ended.stderr
    assert "port: found 'none', expected: a whole number from 1 to 65535" in ended.stderr
    assert site.program("--config", str(tmp_path / "absent.yaml"), "list", "--site").returncode == 2


def test_a_role_that_may_not_learns_nothing(site: Site) -> None:
    assert site.kf("make", "--site", role="user").exit_code == 4
    assert site.kf("list", "--project", site.project, role="user").exit_code == 4
    assert site.kf("make", "--site", role="root").exit_code == 0


def test_a_busy_scope_is_exit_5_and_says_who_holds_it(site: Site) -> None:
    name = site.make()

    with site.office.jobs.hold(Scope.site(), "a test of the locks"):
        ended = site.kf("delete", "--site", name)

    assert ended.exit_code == 5
    assert "a test of the locks" in ended.stderr.lower()


def test_a_file_that_cannot_be_kept_makes_it_partial_exit_11(site: Site) -> None:
    site.touch()
    pipe = site.folder / "pipe"
    os.mkfifo(pipe)
    try:
        ended = site.kf("make", "--project", site.project)
    finally:
        pipe.unlink()

    assert ended.exit_code == 11, ended.output
    assert "pipe" in ended.stdout


def test_without_a_database_list_and_show_work_and_make_is_exit_8(site: Site) -> None:
    name = site.make()
    away = {
        "KEYFRAME_MONGO__URI": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs",
        "KEYFRAME_MONGO__TIMEOUT": "0.3",
    }
    variables = {**site.variables, **away}

    assert name in call(site.var, "list", "--site", **variables).stdout
    assert name in call(site.var, "show", "--site", name, **variables).stdout
    made = call(site.var, "make", "--site", **variables)
    assert made.returncode == 8
    assert "does not answer" in made.stderr


def test_without_a_database_a_snapshot_is_verified_and_not_remembered(site: Site) -> None:
    name = site.make()
    away = {
        "KEYFRAME_MONGO__URI": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=none",
        "KEYFRAME_MONGO__TIMEOUT": "1",
    }

    ended = site.program("verify", "--site", name, **away)

    assert ended.returncode == 0, ended.stderr
    assert f"Done: {name} is as it was written." in ended.stdout
    assert "not remembered" in ended.stderr
    assert site.json("show", "--site", name)["verified"] is None


def test_a_folder_that_cannot_be_written_is_exit_8_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file")

    for act in ("list", "make"):
        ended = call(tmp_path / "var", act, "--site")

        assert ended.returncode == 8
        assert str(tmp_path / "var") in ended.stderr
        assert "KEYFRAME_VAR" in ended.stderr


def test_looking_says_where_and_leaves_nothing_behind(tmp_path: Path) -> None:
    var = tmp_path / "var"

    listed = call(var, "list", "--site")
    shown = call(var, "show", "--site", "latest")

    assert (listed.returncode, shown.returncode) == (0, 4)
    assert f"No snapshot yet in {var}/data/backups/pilot." in listed.stdout
    assert "keyframe make --site" in listed.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_call_from_any_folder_works_on_the_checkouts_data(tmp_path: Path) -> None:
    env = {key: value for key, value in environment(tmp_path).items() if key != "KEYFRAME_VAR"}
    argv = [str(KEYFRAME.with_name("python")), "-c", "import keyframe.main as m; print(m.Program(None).config)"]

    found = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)

    assert found.stdout == f"{ROOT / 'config.yaml'}\n"


@pytest.mark.parametrize("uri", ["nonsense", "mongodb://u:hunter2@127.0.0.1:port/"])
@pytest.mark.parametrize("act", ["list", "make"])
def test_an_address_that_cannot_be_one_is_a_mistake_of_the_settings(tmp_path: Path, act: str, uri: str) -> None:
    ended = call(tmp_path / "var", act, "--site", KEYFRAME_MONGO__URI=uri)

    assert ended.returncode == 2
    assert "mongo.uri" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_what_nobody_foresaw_is_one_sentence_and_the_log_has_the_rest(site: Site) -> None:
    script = (
        "import keyframe.wiring, keyframe.main\n"
        "def broken(*_, **__): raise RuntimeError('made for a test')\n"
        "keyframe.wiring.build = broken\n"
        "keyframe.main.main()\n"
    )
    argv = [str(KEYFRAME.with_name("python")), "-c", script, "list", "--site"]

    ended = subprocess.run(
        argv, env=environment(site.var, **site.variables), cwd=site.var.parent, capture_output=True, text=True
    )

    log = site.var / "log" / "keyframe.log"
    assert ended.returncode == 1
    assert str(log) in ended.stderr
    assert "Traceback" not in ended.stderr
    last = json.loads(log.read_text().splitlines()[-1])
    assert "made for a test" in last["exception"]
    assert "Traceback" in last["exception"]


# Ctrl-C


def test_ctrl_c_while_a_job_waits_withdraws_it(site: Site) -> None:
    office = site.office
    with office.jobs.hold(Scope.site(), "a test"):
        process = site.start("make", "--site")
        before = office.jobs.of_scope(Scope.site(), 1)
        until(lambda: office.jobs.of_scope(Scope.site(), 1) != before, 20, "the order")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "nothing was changed" in said
    (job,) = office.jobs.of_scope(Scope.site(), 1)
    assert job.state is JobState.ENDED
    assert job.outcome is not None
    assert job.outcome.status is OutcomeStatus.CANCELLED


def test_ctrl_c_while_a_job_is_done_brings_it_to_a_safe_point(site: Site) -> None:
    office = site.office
    big = site.folder / "big.bin"
    with big.open("wb") as file:
        file.truncate(800_000_000)
    try:
        process = site.start("make", "--project", site.project)
        scope = Scope.project(site.project)

        def running() -> bool:
            jobs = office.jobs.of_scope(scope, 1)
            return bool(jobs) and jobs[0].state is JobState.RUNNING and jobs[0].progress.done > 0

        until(running, 20, "the job")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    finally:
        big.unlink()

    assert process.returncode == 130, said
    (job,) = office.jobs.of_scope(scope, 1)
    assert job.outcome is not None
    assert job.outcome.status is OutcomeStatus.CANCELLED
    with office.jobs.hold(scope, "a test: the scope is free"):
        pass


# With a worker, and with nothing at all


def test_a_worker_does_the_job_and_ends_when_asked(site: Site) -> None:
    office = site.office
    process = site.start("worker")
    try:
        until(office.jobs.worker_alive, 20, "the worker's beat")
        name = site.make()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert process.returncode == 0
    assert not office.jobs.worker_alive(), "a worker that ended in order is not waited for"
    log = (site.var / "log" / "worker.log").read_text()
    assert '"job.ended"' in log
    assert name in [one["name"] for one in site.json("list", "--site")["snapshots"]]


def test_with_nothing_running_a_call_starts_the_database_for_itself_and_ends_it(tmp_path: Path) -> None:
    var = tmp_path / "var"
    var.mkdir()
    assert call(var, "sample").returncode == 0

    ended: list[int] = []
    both = [threading.Thread(target=lambda: ended.append(call(var, "make", "--site").returncode)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()

    assert ended == [0, 0]
    assert Up(var).processes() == []
    listed = json.loads(call(var, "list", "--site", "--json").stdout)
    assert len(listed["snapshots"]) == 1, "the second found nothing changed"

"""A restore that has room for a reduced safety snapshot only, by page, REST and command line, on a small disk."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_site import WAIT, ApiSite, api_site
from pages_site import PagesSite, pages_site, text_of
from program import call
from small_disk import mounted

MB = 1_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The parent of a data directory that is a file system of 40 MB."""
    data = tmp_path / "var/data"
    if not mounted("tmpfs", data, 40):
        pytest.skip("no tmpfs can be mounted here")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", str(data)], check=True)


def spoil(site: ApiSite | PagesSite, project: str) -> tuple[str, Path, Path]:
    """Spoil a file of one edition, and put one beside them for which there is no room; the edition and both."""
    top = site.folder(project)
    edition = sorted(path.name for path in (top / "edition").iterdir())[0]
    spoilt = next(path for path in sorted((top / "edition" / edition).rglob("*")) if path.is_file())
    spoilt.write_bytes(b"spoilt")
    big = top / "big.bin"
    big.write_bytes(bytes(60 * MB))
    return edition, spoilt, big


def test_by_rest_the_same_post_goes_on_with_what_the_refusal_says(mongo_uri: str, disk: Path) -> None:
    with api_site(mongo_uri, disk) as site:
        project = site.project("organiser")
        below = f"/projects/{project}/snapshots"
        name = site.make(f"projects/{project}", "organiser")
        edition, spoilt, big = spoil(site, project)
        body = {"selection": {"editions": [edition]}}

        refused = site.call("POST", f"{below}/{name}/restore", "organiser", headers=WAIT, json=body)
        answer = refused.get_json()
        outcome = answer["job"]["outcome"]

        assert (refused.status_code, answer["code"]) == (409, "unsafe")
        assert "MB free" in answer["what"] and "--into" in answer["hint"]
        assert answer["plan"]["replaces"]["files"] == 1
        assert outcome["status"] == "refused"
        assert [(one["code"], one["subject"]) for one in outcome["problems"]] == [
            ("unsafe", "safety snapshot"),
            ("no-room", "big.bin"),
        ]
        assert spoilt.read_bytes() == b"spoilt"
        body["confirm"] = outcome["confirm"]
        done = site.call("POST", f"{below}/{name}/restore", "organiser", headers=WAIT, json=body)
        assert (done.status_code, done.get_json()["job"]["outcome"]["status"]) == (200, "done")
        assert spoilt.read_bytes() != b"spoilt" and big.stat().st_size == 60 * MB
        job = done.get_json()["job"]["id"]
        again = site.call("POST", f"/jobs/{job}/undo", "organiser", headers=WAIT).get_json()
        confirm = {"confirm": again["job"]["outcome"]["confirm"]}
        undone = site.call("POST", f"/jobs/{job}/undo", "organiser", headers=WAIT, json=confirm)
        assert undone.status_code == 200
        assert spoilt.read_bytes() == b"spoilt"


def test_by_command_line_the_refusal_says_what_to_say_again(mongo_uri: str, disk: Path) -> None:
    with api_site(mongo_uri, disk) as site:
        project = site.project("organiser")
        name = site.make(f"projects/{project}")
        edition, spoilt, _ = spoil(site, project)
        mongo = {"KEYFRAME_MONGO__URI": mongo_uri, "KEYFRAME_MONGO__DATABASE": site.database.name}
        words = ["restore", name, "--project", project, "--edition", edition, "--yes"]
        variables = {**mongo, "KEYFRAME_RUN_MODE": "test"}

        refused = call(site.settings.var, *words, **variables)

        assert refused.returncode == 13, refused.stderr
        assert "big.bin is not kept: there is no room for it (1 file, 60.0 MB)." in refused.stderr
        assert spoilt.read_bytes() == b"spoilt"
        confirm = refused.stderr.rpartition("--confirm ")[2].split()[0]
        done = call(site.settings.var, *words, "--confirm", confirm, "--json", **variables)
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["job"]["outcome"]["status"] == "done"
        assert spoilt.read_bytes() != b"spoilt"


def test_by_page_there_is_a_box_and_a_button_to_go_on(mongo_uri: str, disk: Path) -> None:
    with pages_site(mongo_uri, disk) as site:
        project = site.project()
        person = site.person("organiser")
        url = f"/snapshots/project/{project}"
        person.follow(person.press(person.page(url), "Make a snapshot"))
        name = site.newest(project)
        edition, spoilt, _ = spoil(site, project)

        def ended(location: str) -> str:
            site.office.jobs.wait(location.rsplit("/", 1)[1], 60)
            return person.page(location)

        plan = person.follow(person.post(f"{url}/{name}/preview", editions=edition))
        refused = ended(person.press(plan, "Bring back 1 file").headers["Location"])

        assert "Not done: the state of now cannot be kept as a whole" in text_of(refused)
        assert "there is no room for it (1 file, 60.0 MB)" in text_of(refused)
        assert "Nothing was changed." in text_of(refused) or "nothing was changed" in text_of(refused)
        unconfirmed = person.press(refused, "Restore all the same")
        assert "Not done" in text_of(ended(unconfirmed.headers["Location"]))
        assert spoilt.read_bytes() == b"spoilt"
        confirm = refused.split('name="confirm" value="')[1].split('"')[0]
        done = ended(person.press(refused, "Restore all the same", confirm=confirm).headers["Location"])
        assert "Done: the snapshot" in text_of(done)
        assert spoilt.read_bytes() != b"spoilt"
        plan = person.follow(person.press(done, "Undo this restore…"))
        undo = ended(person.press(plan, "Undo the restore: bring back 1 file").headers["Location"])
        confirm = undo.split('name="confirm" value="')[1].split('"')[0]
        undone = ended(person.press(undo, "Undo all the same", confirm=confirm).headers["Location"])
        assert "the restore is undone" in text_of(undone)
        assert spoilt.read_bytes() == b"spoilt"

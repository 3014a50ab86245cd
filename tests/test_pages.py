"""The pages: what they show, what they do, whom they let, and what they say when things go wrong."""

from __future__ import annotations

import html
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bson import ObjectId
from keyframe.model import Scope
from keyframe.settings import Settings
from mongod import Mongod, free_port
from pages_site import PagesSite, Person, application, pages_site, text_of

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; form-action 'self'"
)
NOWHERE = "2026-01-01T00-00-00Z"


@pytest.fixture
def site(mongo_uri: str, tmp_path: Path) -> Iterator[PagesSite]:
    with pages_site(mongo_uri, tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def still(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesSite]:
    """A site with a snapshot of the site and one of the first project, for tests that change nothing."""
    with pages_site(mongo_uri, tmp_path_factory.mktemp("still")) as running:
        running.make(Scope.site(), "all of it")
        (running.folder(running.project()) / "touched.txt").write_text("new")
        running.make(Scope.project(running.project()), "this one")
        yield running


def change(site: PagesSite, project: str) -> tuple[Path, Path]:
    """Delete a file of the project and add another one; both paths."""
    gone = next(iter(sorted(site.folder(project).rglob("*.html"))))
    gone.unlink()
    new = site.folder(project) / "new.txt"
    new.write_text("new since")
    return gone, new


def ended_page(site: PagesSite, person: Person, answer_location: str) -> str:
    """The page of a job, when it has ended."""
    site.office.jobs.wait(answer_location.rsplit("/", 1)[1], 60)
    return person.page(answer_location)


# Making and listing


def test_an_empty_list_teaches_what_a_snapshot_is(site: PagesSite) -> None:
    page = site.person("organiser").page(f"/snapshots/project/{site.project()}")

    assert "No snapshot yet." in text_of(page)
    assert "before each restore the state of that moment is kept too" in text_of(page)


def test_a_snapshot_is_made_by_a_button_and_listed_with_its_note(site: PagesSite) -> None:
    person, url = site.person("organiser"), f"/snapshots/project/{site.project()}"

    page = person.follow(person.press(person.page(url), "Make a snapshot", note="before <b>lunch</b>"))

    assert "Last snapshot just now . What was done since is not in it." in text_of(page)
    assert "before <b>lunch</b>" in text_of(page)
    assert "<b>lunch" not in page
    assert "by organiser" in text_of(page)


def test_a_snapshot_made_in_the_host_s_page_leads_back_to_it(site: PagesSite) -> None:
    person, url = site.person("organiser"), f"/project/{site.project()}"

    answer = person.press(person.page(url), "Make a snapshot")

    assert answer.headers["Location"] == f"{url}#outcome"
    assert "Done: the snapshot is made" in text_of(person.page(url))


def test_a_snapshot_of_what_has_not_changed_says_so(site: PagesSite) -> None:
    person, url = site.person("organiser"), f"/snapshots/project/{site.project()}"
    site.make(Scope.project(site.project()))

    page = person.follow(person.press(person.page(url), "Make a snapshot"))

    assert "Nothing has changed since the last snapshot" in text_of(page)


def test_what_is_missing_is_asked_about_with_the_numbers_until_it_is_confirmed(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    url = f"/snapshots/project/{project}"
    shutil.copytree(site.folder(project), site.folder(project) / "twice")
    for number in range(200):
        (site.folder(project) / f"twice/{number}.txt").write_text("x")
    site.make(Scope.project(project))
    assert 'name="confirm"' not in person.page(url)
    shutil.rmtree(site.folder(project) / "twice")

    shrunk = ended_page(site, person, person.press(person.page(url), "Make a snapshot").headers["Location"])
    asking = person.page(url)
    unasked = ended_page(site, person, person.press(asking, "Make a snapshot").headers["Location"])
    partial = person.page(f"{url}/{site.newest(project)}")
    done = person.follow(person.press(unasked, "Make another snapshot", confirm="shrunk"))

    numbers = re.compile(r"\d+ of \d+ files have gone since \d{4}-")
    for page in (shrunk, unasked, asking):
        assert numbers.search(text_of(page))
        assert re.search(r'<input type="checkbox" name="confirm" value="shrunk"[^>]*>', page)
    form = re.search(r'name="confirm" value="shrunk" form="([^"]+)"', asking)
    assert form is not None and f'id="{form.group(1)}"' in asking
    assert "Much was missing when it was made." in text_of(partial)
    assert 'name="confirm"' not in done and "Done: the snapshot is made" in text_of(done)
    newest = text_of(person.page(f"{url}/{site.newest(project)}"))
    assert re.search(r"Confirmed as right \d+ of \d+ files have gone since", newest)


def test_what_is_worth_a_look_is_told_at_the_end_in_the_list_and_on_the_page(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    url = f"/snapshots/project/{project}"
    name = site.make(Scope.project(project))
    stored = site.settings.repository / "project" / project / name / "files"
    spoilt = sorted(one for one in stored.rglob("*.html") if one.is_file())[:2]
    for one in spoilt:
        os.utime(one, ns=(1, 1))
    said = f"The stored copy is not as it was written; it was copied anew ({spoilt[0].relative_to(stored)})."

    end = ended_page(site, person, person.press(person.page(url), "Make a snapshot").headers["Location"])
    listed, shown = person.page(url), person.page(f"{url}/{site.newest(project)}")

    assert "Done: the snapshot is made" in text_of(end) and "Worth a look:" in text_of(end)
    for page in (end, listed, shown):
        assert said in text_of(page)
    assert "worth a look" in text_of(listed) and "1 more" in text_of(listed)
    assert str(spoilt[1].relative_to(stored)) in text_of(shown)
    assert "This snapshot is whole." in text_of(shown)


def test_a_project_s_list_shows_the_site_s_snapshots_but_only_what_may_be_done_with_them(still: PagesSite) -> None:
    person, url = still.person("organiser"), f"/snapshots/project/{still.project()}"

    rows = re.findall(r"<li>.*?</li>", person.page(url), re.DOTALL)
    of_site = next(one for one in rows if "site snapshot" in one)
    own = next(one for one in rows if "this one" in one)

    assert "Restore…" in of_site and "Restore…" in own
    assert [("Delete" in one, "note</a>" in one) for one in (of_site, own)] == [(False, False), (True, True)]


def test_a_long_list_has_pages(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    names = []
    for number in range(3):
        (site.folder(project) / "touched.txt").write_text(str(number))
        names.append(site.make(Scope.project(project), f"number {number}"))
    first = site.office.desk.snapshots(site.office.login._actor("organiser", "page"), Scope.project(project), limit=2)

    page = person.page(f"/snapshots/project/{project}?cursor={first.next}")

    assert "number 0" in page and "number 2" not in page
    assert "Back to the newest" in page


# Restoring


def test_preview_restore_and_undo_by_buttons(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    url = f"/snapshots/project/{project}"
    before = site.files(project)
    site.make(Scope.project(project), "good state")
    gone, new = change(site, project)
    changed = site.files(project)

    plan = person.follow(person.press(person.page(url), "Restore…"))
    assert "“good state”" in text_of(plan)
    assert str(gone.relative_to(site.folder(project))) in plan and "new.txt" in plan
    assert site.files(project) == changed

    done = ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])
    assert "1 file came back, 1 file was removed" in text_of(done)
    assert re.search(r"<h1>Done: .* is back</h1>", done)
    assert re.search(r"<title>Done: the snapshot of today \d\d:\d\d is back · The Drowned Mills", done)
    assert site.files(project) == before

    undo = person.follow(person.press(done, "Undo this restore…"))
    assert site.files(project) == before
    pressed = person.press(undo, "Undo the restore: bring back 1 file, remove 1")
    undone = ended_page(site, person, pressed.headers["Location"])
    assert "Done: the restore is undone" in text_of(undone)
    assert site.files(project) == changed
    assert gone.exists() is False and new.exists()


def test_what_was_done_can_be_looked_at_afterwards_without_a_button_to_do_it_again(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))
    change(site, project)
    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))
    done = ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])

    link = re.search(r'href="([^"]+)">See what was done', done)
    assert link is not None
    page = person.page(html.unescape(link.group(1)))

    assert "came back" in page and "new.txt" in page
    assert "Bring back 1 file" not in page


def test_a_safety_snapshot_leads_to_a_page_that_undoes_its_restore(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    url = f"/snapshots/project/{project}"
    site.make(Scope.project(project))
    _, new = change(site, project)
    plan = person.follow(person.press(person.page(url), "Restore…"))
    ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])

    link = re.search(r'href="([^"]+)#undo"[^>]*>Undo that restore…', person.page(url))
    assert link is not None
    undo = person.follow(person.press(person.page(link.group(1)), "Undo that restore…"))
    answer = person.press(undo, "Undo the restore: bring back 1 file, remove 1")
    ended_page(site, person, answer.headers["Location"])

    assert new.exists()
    assert f'href="{link.group(1)}#undo"' not in person.page(url)  # undone already


def test_safety_snapshots_are_told_apart_by_what_they_say_and_by_seconds(site: PagesSite) -> None:
    person, scope = site.person("organiser"), Scope.project(site.project())
    url = f"/snapshots/project/{site.project()}"
    site.make(scope)
    change(site, site.project())
    plan = person.follow(person.press(person.page(url), "Restore…"))
    done = ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])
    undo = person.follow(person.press(done, "Undo this restore…"))
    pressed = person.press(undo, "Undo the restore: bring back 1 file, remove 1")
    ended_page(site, person, pressed.headers["Location"])

    page = person.page(url)
    rows = [text_of(one) for one in re.findall(r"<li>.*?</li>", page, re.DOTALL) if "before" in one]

    assert re.search(r"made before bringing back the snapshot of today \d\d:\d\d ; that was undone since", rows[0])
    assert "made by hand; served as safety snapshot before undoing a restore, by organiser safety" in rows[1]
    times = [one.removesuffix("Z")[11:].split("-") for one in re.findall(r'id="at-([^"]+)"', page)]
    minutes = [tuple(one[:2]) for one in times]
    clocks = re.findall(r'data-time="(clock|second)"', page)
    assert clocks == ["second" if minutes.count(one) > 1 else "clock" for one in minutes]
    assert "Last snapshot " in text_of(page)


def test_a_list_of_safety_snapshots_only_is_no_good_news(site: PagesSite) -> None:
    person, url = site.person("organiser"), f"/snapshots/project/{site.project()}"
    name = site.make(Scope.project(site.project()))
    change(site, site.project())
    plan = person.follow(person.press(person.page(url), "Restore…"))
    ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])
    person.post(f"{url}/{name}/delete")

    page = person.page(url)

    assert "Only safety snapshots." in text_of(page)
    assert "kf-verdict kf-warn" in page


def test_latest_leads_to_the_snapshot_that_it_means(site: PagesSite) -> None:
    person, url = site.person("organiser"), f"/snapshots/project/{site.project()}"
    assert person.look(f"{url}/latest").status_code == 404
    site.make(Scope.site())

    name = site.make(Scope.project(site.project()))

    assert person.look(f"{url}/latest").headers["Location"] == f"{url}/{name}"
    assert person.look("/snapshots/site/latest").status_code == 404  # of the site he may see nothing


def test_a_plan_that_was_overtaken_changes_nothing_and_offers_the_new_one(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))
    change(site, project)
    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))
    (site.folder(project) / "newer.txt").write_text("meanwhile")
    live = site.files(project)

    page = ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])

    assert "Not done: something changed since you looked" in text_of(page)
    assert "othing was changed" in text_of(page)
    assert "newer.txt would be removed now." in text_of(page)
    assert site.files(project) == live
    link = re.search(r'href="([^"]+)">Look at the new plan', page)
    assert link is not None
    assert "remove 2" in text_of(person.page(link.group(1)))


def test_a_plan_without_changes_has_no_button(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))

    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))

    assert "Everything is as in this snapshot." in text_of(plan)
    assert "/restore" not in "".join(re.findall(r"<button.*?</form>", plan, re.DOTALL))


def test_a_plan_shows_below_an_item_the_fields_that_differ(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))
    record = next(one for one in site.database["edition"].find() if str(one["projectId"]) == project)
    change = {"title": "<b>new</b>", "passwordHash": "argon2"}
    site.database["edition"].update_one({"_id": record["_id"]}, {"$set": change})
    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))

    done = ended_page(site, person, person.press(plan, "Bring back 1 record").headers["Location"])
    link = re.search(r'href="([^"]+)">See what was done', done)
    assert link is not None
    afterwards = person.page(html.unescape(link.group(1)))

    assert "<summary>2 fields differ</summary>" in plan
    assert f"Field Now In the snapshot title <b>new</b> {record['title']} passwordHash (hidden) (not there)" in text_of(
        plan
    )
    assert f"Field Before Since then title <b>new</b> {record['title']}" in text_of(afterwards)
    assert "<b>new</b>" not in plan and "argon2" not in plan


def test_a_plan_with_conflicts_has_a_button_for_admins_only(site: PagesSite) -> None:
    project = site.project()
    editions = site.database["edition"]
    mine = next(one for one in editions.find() if str(one["projectId"]) == project)
    other = next(one for one in editions.find() if str(one["projectId"]) != project)
    editions.create_index("doi", unique=True, sparse=True)
    editions.update_one({"_id": mine["_id"]}, {"$set": {"doi": "10/1"}})
    site.make(Scope.project(project))
    editions.update_one({"_id": mine["_id"]}, {"$unset": {"doi": ""}})
    editions.update_one({"_id": other["_id"]}, {"$set": {"doi": "10/1"}})
    change(site, project)

    plans = []
    for user in ("organiser", "admin"):
        person = site.person(user)
        plans.append(person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…")))

    assert all("has its unique value (doi: 10/1)" in text_of(plan) for plan in plans)
    assert ["Bring back 1 file" in text_of(plan) for plan in plans] == [False, True]
    assert ["only an admin may bring back the rest" in text_of(plan) for plan in plans] == [True, False]
    editions.drop_index("doi_1")


def test_one_edition_is_chosen_among_those_that_differ(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))
    editions = sorted((site.folder(project) / "edition").iterdir())
    for edition in editions:
        (edition / "new.txt").write_text("new since")
    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))

    titles = {str(one["_id"]): one["title"] for one in site.database["edition"].find()}
    for edition in editions:  # beside the path, and beside the box to choose it
        assert f'<small class="kf-of">{titles[edition.name]}</small>' in plan
        assert f"{titles[edition.name]} {edition.name} · 1 change" in text_of(plan)

    part = person.follow(person.press(plan, "Look again, with these only…", editions=editions[0].name))
    assert "1 edition of this project" in text_of(part)
    ended_page(site, person, person.press(part, "Remove 1 file").headers["Location"])

    assert [(edition / "new.txt").exists() for edition in editions] == [False, True]


def test_a_plan_can_be_narrowed_to_paths_and_records(site: PagesSite) -> None:
    project = site.project()
    person = site.person("organiser")
    site.make(Scope.project(project))
    gone, new = change(site, project)
    edition = site.database["edition"].find_one({"projectId": ObjectId(project)})
    assert edition is not None
    site.database["edition"].update_one({"_id": edition["_id"]}, {"$set": {"title": "changed"}})
    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))
    path = str(gone.relative_to(site.folder(project)))
    again = "Look again, with this only…"

    files = person.follow(person.press(plan, again, paths=f"{path}\r\n\r\n ./new.txt \r\n"))
    record = person.follow(person.press(plan, again, records=f"edition/{edition['_id']}"))
    only = person.follow(person.press(plan, again, only="records", collections="edition"))

    assert "2 paths of this project" in text_of(files)
    assert "Bring back 1 file, remove 1" in text_of(files)
    assert f">\n{path}\nnew.txt</textarea>" in files
    digest = re.search(r'name="plan" value="([0-9a-f]{64})"', files)
    assert digest is not None
    assert f"--path {path} --path new.txt --plan {digest.group(1)} --yes" in text_of(files)
    assert f"record edition/{edition['_id']} of this project" in text_of(record)
    assert "Bring back 1 record" in text_of(record)
    assert "collection edition of this project, records only" in text_of(only)
    done = person.press(files, "Bring back 1 file, remove 1")
    assert "Done" in text_of(ended_page(site, person, done.headers["Location"]))
    assert gone.exists()
    assert not new.exists()
    assert site.database["edition"].find_one({"_id": edition["_id"]})["title"] == "changed"  # type: ignore[index]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"paths": "../secret"}, "not a path below the folder"),
        ({"records": "edition"}, "a record is named by its collection, a slash and its id"),
        ({"only": "files", "collections": "edition"}, "together they mean nothing"),
        ({"collections": "user"}, "Not done: it is not there"),
        ({"paths": "nowhere"}, "There is no such path"),
    ],
)
def test_what_cannot_be_chosen_is_said(still: PagesSite, chosen: dict[str, str], said: str) -> None:
    person = still.person("organiser")
    scope = Scope.project(still.project())
    name = still.office.desk.snapshot(still.office.login.shell_actor(), scope, "latest").name

    answer = person.post(f"/snapshots/project/{scope.project_id}/{name}/preview", **chosen)

    if answer.status_code == 303:
        answer = person.look(answer.headers["Location"])
    assert said in text_of(answer)


def test_files_of_an_edition_that_is_gone_have_its_title_in_the_plan(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))
    edition = next(iter(sorted((site.folder(project) / "edition").iterdir())))
    record = site.database["edition"].find_one_and_delete({"_id": ObjectId(edition.name)})
    assert record is not None
    shutil.rmtree(edition)

    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))

    assert f'<small class="kf-of">{record["title"]}</small>' in plan


def test_what_a_restore_leaves_aside_is_named_before_and_after(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    name = site.make(Scope.project(project))
    url = f"/snapshots/project/{project}/{name}"
    edition = site.database["edition"].find_one({"projectId": ObjectId(project)})
    assert edition is not None
    other = ObjectId(site.project("organiser2"))
    site.database["edition"].update_one({"_id": edition["_id"]}, {"$set": {"projectId": other}})

    answer = person.post(f"{url}/preview")
    plan = person.follow(answer)
    digest = answer.headers["Location"].rsplit("/", 1)[1]
    done = ended_page(site, person, person.post(f"{url}/restore", plan=digest).headers["Location"])

    assert "Nothing else differs, but 1 thing is left as it is." in text_of(plan)
    assert "Nothing was changed: 1 thing is left as it is" in text_of(done)
    for page in (plan, done):
        assert "Everything is" not in text_of(page)
        assert f"dition {edition['title']} now belongs to another project" in text_of(page)


def test_a_long_plan_has_pages(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))
    for number in range(60):
        (site.folder(project) / f"new-{number:02}.txt").write_text("x")

    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))
    link = re.search(r'href="([^"]+)">Next 50', plan)
    assert link is not None
    rest = person.page(html.unescape(link.group(1)))

    names = [re.findall(r"new-\d\d\.txt", page) for page in (plan, rest)]
    assert [len(found) for found in names] == [50, 10]
    assert len({*names[0], *names[1]}) == 60
    assert "Remove 60 files" in text_of(rest)


def test_names_that_are_not_text_are_shown_all_the_same(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project))
    (site.folder(project) / b"caf\xe9<script>.txt".decode("utf-8", "surrogateescape")).write_text("x")

    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))

    assert "&#34;caf\\udce9&lt;script&gt;.txt&#34;" in plan


def test_one_project_is_restored_out_of_a_site_snapshot_by_its_organiser(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    other = site.folder(site.project("organiser2")) / "new.txt"
    site.make(Scope.site())
    _, new = change(site, project)
    other.write_text("of somebody else")

    plan = person.follow(person.press(person.page(f"/snapshots/project/{project}"), "Restore…"))
    assert "out of a snapshot of the site" in text_of(plan)
    ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])

    assert not new.exists()
    assert other.exists()


def test_the_page_of_a_snapshot_says_what_was_left_out_of_it_and_names_nothing_of_others(site: PagesSite) -> None:
    project, other = site.project(), site.project("organiser2")
    (site.folder(project) / "Thumbs.db").write_text("x")
    (site.folder(other) / ".DS_Store").write_text("x")
    name = site.make(Scope.site())

    whole = text_of(site.person("admin").page(f"/snapshots/site/{name}"))
    part = text_of(site.person("organiser").page(f"/snapshots/project/{project}/{name}"))

    assert "2 files and folders were left out: " in whole and "lost+found/" in whole
    assert f"project/{project}/Thumbs.db" in whole and f"project/{other}/.DS_Store" in whole
    assert f"One file or folder was left out: project/{project}/Thumbs.db." in part
    assert other not in part and "lost+found/" not in part
    assert "Nor the program's code, its settings and secrets." in whole and "settings and secrets" in part


def test_one_project_is_chosen_on_the_page_of_a_site_snapshot(site: PagesSite) -> None:
    person, project = site.person("admin"), site.project()
    name = site.make(Scope.site())
    _, new = change(site, project)

    page = person.page(f"/snapshots/site/{name}")
    assert "only The Drowned Mills of Oudewaarde" in text_of(page)
    plan = person.follow(person.press(page, "Restore…", projects=project))
    ended_page(site, person, person.press(plan, "Bring back 1 file, remove 1").headers["Location"])

    assert not new.exists()


def test_only_root_is_asked_whether_people_come_back_too(site: PagesSite) -> None:
    name = site.make(Scope.site())
    site.database["user"].update_one({"user": "reader"}, {"$set": {"name": "Another name"}})
    people = {user: site.person(user) for user in ("admin", "root")}
    plans = {
        user: person.follow(person.press(person.page(f"/snapshots/site/{name}"), "Restore…"))
        for user, person in people.items()
    }

    assert "Bring back people" in plans["root"]
    assert "Bring back people" not in plans["admin"]
    again = people["root"].follow(people["root"].press(plans["root"], "Look again…", people=["no", "yes"]))
    assert "people and their roles too" in text_of(again)
    assert "Bring back 1 record" in text_of(again)


# Labels and the trash


def test_a_note_is_changed_on_the_page_of_the_snapshot(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    name = site.make(Scope.project(project), "old words")
    url = f"/snapshots/project/{project}/{name}"

    page = person.follow(person.press(person.page(url), "Save the note", note="new words"))

    assert "The note is kept" in text_of(page)
    assert "“new words”" in text_of(page)
    too_long = person.press(page, "Save the note", note="x" * 501)
    assert (too_long.status_code, "at most 500" in text_of(too_long)) == (422, True)


def test_a_deleted_snapshot_is_put_back_from_the_notice_or_from_the_trash(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    url = f"/snapshots/project/{project}"
    site.make(Scope.project(project), "precious")

    page = person.follow(person.press(person.page(url), "Delete"))
    assert page.count('id="outcome"') == 1 and "autofocus" not in page  # the address names it
    assert "is in the trash" in text_of(page) and "No snapshot yet." in text_of(page)
    page = person.follow(person.press(page, "Put it back"))
    assert "is back in the list" in text_of(page) and "precious" in page

    person.press(page, "Delete")
    trash = person.page(f"{url}/trash")
    assert "precious" in trash and "by organiser" in text_of(trash)
    assert "precious" in person.follow(person.press(trash, "Put it back"))
    assert "The trash is empty." in text_of(person.page(f"{url}/trash"))


def test_a_snapshot_deleted_on_the_project_s_page_is_put_back_there(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    site.make(Scope.project(project), "precious")

    gone = person.press(person.page(f"/project/{project}"), "Delete")
    assert gone.headers["Location"].startswith(f"/project/{project}?done=deleted&of=")
    page = person.follow(gone)
    assert "is in the trash" in text_of(page) and page.count('id="outcome"') == 1
    page = person.follow(person.press(page, "Put it back"))

    assert "The Drowned Mills" in page
    assert "is back in the list" in text_of(page) and "precious" in page


def test_a_restore_whose_safety_snapshot_lies_in_the_trash_has_its_undo_disabled_with_the_reason(
    site: PagesSite,
) -> None:
    person, scope = site.person("organiser"), Scope.project(site.project())
    url = f"/snapshots/project/{site.project()}"
    site.make(scope)
    change(site, site.project())
    plan = person.follow(person.press(person.page(url), "Restore…"))
    job = person.press(plan, "Bring back 1 file, remove 1").headers["Location"]
    done = ended_page(site, person, job)
    found = re.search(rf'href="{url}/([^"]+)">safety snapshot', done)
    assert found is not None
    person.post(f"{url}/{found.group(1)}/delete")

    page = person.page(job)

    assert "Its safety snapshot is in the trash : put it back, then undo." in text_of(page)
    assert "disabled>Undo this restore…</button>" in page and "The state before is kept" not in page
    person.post(f"{url}/{found.group(1)}/undelete")
    assert "disabled>" not in person.page(job)


def test_the_project_s_page_tells_that_the_whole_site_was_restored_since(site: PagesSite) -> None:
    organiser, root, project = site.person("organiser"), site.person("root"), site.project()
    site.make(Scope.site())
    change(site, project)
    plan = root.follow(root.press(root.page("/snapshots/site"), "Restore…"))
    ended_page(site, root, root.press(plan, "Bring back 1 file, remove 1").headers["Location"])

    page = organiser.page(f"/project/{project}")

    assert "The whole site was restored just now , which may have changed this project too." in text_of(page)


def test_the_words_of_the_notice_cannot_be_put_into_an_address(still: PagesSite) -> None:
    page = still.person("organiser").page(
        f"/snapshots/project/{still.project()}?done=deleted&of=<script>alert(1)</script>"
    )

    assert "alert" not in page


def test_a_damaged_snapshot_is_listed_and_offers_no_restore(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    name = site.make(Scope.project(project))
    stored = Scope.project(project).stored_folder(site.settings.repository) / name
    (stored / "manifest.jsonl").unlink()
    (stored / "snapshot.json").write_bytes(b"{")

    page = person.page(f"/snapshots/project/{project}")
    row = next(one for one in re.findall(r"<li>.*?</li>", page, re.DOTALL) if name in one)
    assert row.count(">damaged<") == 1 and "Restore…" not in page
    assert "made by" not in row and ">by " not in row  # its header cannot be trusted
    assert "This snapshot is damaged and cannot be restored." in text_of(
        person.page(f"/snapshots/project/{project}/{name}")
    )
    refused = person.post(f"/snapshots/project/{project}/{name}/preview")
    ended = text_of(ended_page(site, person, refused.headers["Location"]))
    assert "Not done: the snapshot is damaged" in ended and "othing was changed" in ended


def test_a_snapshot_is_verified_by_a_button_and_its_page_says_when(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    (site.folder(project) / "new.txt").write_text("new")
    name = site.make(Scope.project(project))
    here = f"/snapshots/project/{project}/{name}"
    assert "It was not verified yet." in text_of(person.page(here))

    ended = text_of(ended_page(site, person, person.post(f"{here}/verify").headers["Location"]))

    assert "is as it was written" in ended and "were read and compared" in ended
    assert "every byte is as it was written" in text_of(person.page(here))
    row = next(
        one for one in re.findall(r"<li>.*?</li>", person.page(here.rsplit("/", 1)[0]), re.DOTALL) if name in one
    )
    assert ">verified<" in row


def test_a_quick_look_is_no_verification(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    (site.folder(project) / "newer.txt").write_text("newer")
    name = site.make(Scope.project(project))
    here = f"/snapshots/project/{project}/{name}"

    ended = text_of(ended_page(site, person, person.post(f"{here}/verify", quick="yes").headers["Location"]))

    assert "the bytes were not read" in ended
    assert "names and sizes are right; the bytes were not read" in text_of(person.page(here))
    row = next(
        one for one in re.findall(r"<li>.*?</li>", person.page(here.rsplit("/", 1)[0]), re.DOTALL) if name in one
    )
    assert ">verified<" not in row


def test_damage_that_was_found_is_never_silently_good(site: PagesSite) -> None:
    person, project = site.person("organiser"), site.project()
    (site.folder(project) / "newest.txt").write_text("newest")
    name = site.make(Scope.project(project))
    list_url = f"/snapshots/project/{project}"
    (Scope.project(project).stored_folder(site.settings.repository) / name / "files" / "newest.txt").unlink()

    ended = text_of(ended_page(site, person, person.post(f"{list_url}/{name}/verify").headers["Location"]))
    page = person.page(list_url)
    row = next(one for one in re.findall(r"<li>.*?</li>", page, re.DOTALL) if name in one)

    assert "Damaged:" in ended and "files/newest.txt is not there" in ended and "Nothing was changed" in ended
    assert row.count(">damaged<") == 1 and "files/newest.txt" in row
    assert "This project has no whole snapshot." in text_of(page)
    assert "This snapshot is damaged." in text_of(person.page(f"{list_url}/{name}"))
    person.post(f"{list_url}/{name}/delete")


# Progress


def test_a_running_job_asks_for_itself_once_a_second_and_reloads_without_javascript(
    mongo_uri: str, tmp_path: Path
) -> None:
    with pages_site(mongo_uri, tmp_path) as site:
        person, scope = site.person("organiser"), Scope.project(site.project())
        with site.office.jobs.hold(scope, "a test"):  # so that the job waits
            job = site.office.desk.make(site.office.login._actor("organiser", "page"), scope)
            page = person.page(f"/snapshots/jobs/{job.id}")
            part = person.look(f"/snapshots/jobs/{job.id}", headers={"HX-Request": "true"})
            listed = person.page(f"/snapshots/project/{site.project()}")
        site.ended(job)
        over = person.look(f"/snapshots/jobs/{job.id}?part=page", headers={"HX-Request": "true"})

    assert 'hx-trigger="every 1s"' in page
    assert "<title>Making a snapshot · The Drowned Mills of Oudewaarde</title>" in page
    assert page.count("<h1>Making a snapshot</h1>") == part.get_data(as_text=True).count("<h1>") == 1
    assert "<h1>" not in over.get_data(as_text=True)
    assert '<noscript><meta http-equiv="refresh"' in page
    assert "You may close this page; it goes on." in text_of(page)
    assert "<html" not in part.get_data(as_text=True) and "HX-Request" in part.headers["Vary"]
    assert "Possible again when the job above has ended." in text_of(listed)
    assert 'hx-trigger="load"' in over.get_data(as_text=True)  # the list around it is fetched anew


# Who may


def test_who_is_not_signed_in_is_sent_to_sign_in_and_comes_back(still: PagesSite) -> None:
    stranger, url = still.person(None), f"/snapshots/project/{still.project()}"

    answer = stranger.look(f"{url}?cursor=x")
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/sign-in?next=")
    assert still.project() in answer.headers["Location"]
    assert stranger.client.post(f"{url}/make").status_code == 303
    fragment = stranger.look(url, headers={"HX-Request": "true"})
    assert fragment.headers["HX-Redirect"].startswith("/sign-in")
    dead = stranger.look(url, headers={"Authorization": "Bearer kf_nonsense"})
    assert (dead.status_code, "Location" in dead.headers) == (401, False)


@pytest.mark.parametrize("user", ["organiser2", "editor", "reader", "user"])
def test_who_may_not_see_a_project_gets_the_page_of_a_project_that_never_was(still: PagesSite, user: str) -> None:
    person, project = still.person(user), still.project()
    name = still.office.desk.snapshots(still.office.login._actor("root", "page"), Scope.project(project)).items[0].name
    never = "65a1b2c3d4e5f60718293a4b"

    for path in ("", f"/{name}", "/trash"):
        hidden, absent = person.look(f"/snapshots/project/{project}{path}"), person.look(f"/snapshots/project/{never}")
        assert (hidden.status_code, absent.status_code) == (404, 404)
        assert text_of(hidden) == text_of(absent)
    for act in ("make", f"{name}/restore", f"{name}/preview", f"{name}/delete", f"{name}/note", f"{name}/undo"):
        assert person.post(f"/snapshots/project/{project}/{act}", plan="ab" * 32).status_code == 404
    assert person.look("/snapshots/site").status_code == 404
    assert person.look(f"/project/{project}").get_data(as_text=True).count("keyframe-section") == 0


def test_an_organiser_cannot_change_the_labels_of_a_site_snapshot_below_his_project(still: PagesSite) -> None:
    person, project = still.person("organiser"), still.project()
    name = still.office.desk.snapshots(still.office.login._actor("root", "page"), Scope.site()).items[0].name

    for act in ("note", "delete", "undelete", "undo"):
        answer = person.post(f"/snapshots/project/{project}/{name}/{act}", note="mine", plan="ab" * 32)
        assert (answer.status_code, "Nothing was changed." in text_of(answer)) == (403, True), act


def test_an_act_that_is_switched_off_has_no_button_and_is_refused(mongo_uri: str, tmp_path: Path) -> None:
    with pages_site(mongo_uri, tmp_path, rights={"off": {"test": ["make"]}}) as site:
        person, url = site.person("admin"), f"/snapshots/project/{site.project()}"

        assert "Make a snapshot" not in text_of(person.page(url)).replace("Make a snapshot curl", "")
        assert person.post(f"{url}/make").status_code == 403


def test_a_change_without_the_token_of_a_form_is_refused_and_does_nothing(still: PagesSite) -> None:
    person, url = still.person("organiser"), f"/snapshots/project/{still.project()}"
    before = person.page(url).count("kf-clock")

    for form in ({}, {"csrf_token": "forged"}):
        answer = person.client.post(f"{url}/make", data=form)
        assert (answer.status_code, "Nothing was changed." in text_of(answer)) == (403, True)
    assert person.page(url).count("kf-clock") == before


def test_state_is_never_changed_by_a_link(still: PagesSite) -> None:
    person = still.person("organiser")
    adapter = still.app.url_map.bind("localhost")
    posts = [
        one for one in still.app.url_map.iter_rules() if one.endpoint.startswith("keyframe.") and "POST" in one.methods
    ]
    assert len(posts) >= 14

    for rule in posts:
        assert "GET" not in rule.methods
        values = {"project_id": still.project(), "name": NOWHERE, "job_id": "a" * 24, "token_id": "a" * 24}
        path = adapter.build(rule.endpoint, {key: values[key] for key in rule.arguments})
        assert person.look(path).status_code == 405, path


# Bad input and bad days


@pytest.mark.parametrize(
    "path",
    [
        "/project/..",
        "/project/a%00b",
        "/project/%2e%2e%2fetc",
        "/project/" + "a" * 10_000,
        "/project/{id}/..",
        "/project/{id}/2026-02-31T99-00-00Z",
        f"/project/{{id}}/{NOWHERE}",
        "/site/nothing",
        "/jobs/..",
        "/jobs/" + "a" * 24,
        "/plans/" + "ab" * 32,
        "/plans/%00",
    ],
)
def test_what_is_not_there_says_so_in_the_same_words(still: PagesSite, path: str) -> None:
    answer = still.person("root").look("/snapshots" + path.format(id=still.project()))

    assert answer.status_code == 404
    assert "There is nothing at this address, or it is not for you to see." in text_of(answer)


def test_a_wrong_cursor_and_a_wrong_choice_are_said_to_be_wrong(still: PagesSite) -> None:
    person, url = still.person("organiser"), f"/snapshots/project/{still.project()}"
    name = (
        still.office.desk.snapshots(still.office.login._actor("root", "page"), Scope.project(still.project()))
        .items[0]
        .name
    )

    assert person.look(f"{url}?cursor=../../x").status_code == 422
    answer = person.post(f"{url}/{name}/preview", editions="../../etc")
    assert (answer.status_code, "Choose again." in text_of(answer)) == (422, True)
    assert person.post(f"{url}/{name}/restore").status_code == 422
    assert person.post(f"{url}/{name}/restore", plan="ab" * 32).status_code == 404


def test_an_unforeseen_error_shows_a_number_and_no_trace(still: PagesSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret words")

    monkeypatch.setattr(still.office.desk, "snapshots", broken)
    person = still.person("organiser")

    answer = person.look(f"/snapshots/project/{still.project()}")

    assert answer.status_code == 500
    assert "secret words" not in answer.get_data(as_text=True) and "Traceback" not in answer.get_data(as_text=True)
    assert "under the number" in text_of(answer)
    host = person.page(f"/project/{still.project()}")
    assert "The snapshots cannot be shown at the moment." in text_of(host)


def test_without_a_database_the_pages_say_so_with_503(tmp_path: Path) -> None:
    settings = Settings(
        var=tmp_path,
        run_mode="test",
        mongo={"uri": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs", "timeout": 0.3},  # type: ignore[arg-type]
    )
    with application(settings) as app:
        client = app.test_client()
        with client.session_transaction() as session:
            session["_user_id"], session["editions_session"] = "root", "any"

        for url in ("/snapshots/site", "/snapshots/jobs/" + "a" * 24, "/snapshots/me"):
            answer = client.get(url)
            assert answer.status_code == 503, url
            assert "did not answer" in text_of(answer)
            assert answer.headers["Retry-After"]
            assert answer.headers["Content-Security-Policy"] == POLICY


# Tokens


def test_a_token_is_shown_once_works_and_can_be_revoked(still: PagesSite) -> None:
    person, url = still.person("organiser"), "/snapshots/me"

    page = person.press(person.page(url), "Make a token", label="nightly <script>").get_data(as_text=True)
    found = re.search(r"kf_[\w-]{20,}", page)
    assert found is not None
    secret = {"Authorization": f"Bearer {found.group()}"}

    assert found.group() not in person.page(url)
    assert "nightly &lt;script&gt;" in page
    api = still.app.test_client()
    assert api.get("/api/v1/scopes", headers=secret).status_code == 200
    assert "No token yet." in text_of(person.follow(person.press(person.page(url), "Revoke")))
    assert api.get("/api/v1/scopes", headers=secret).status_code == 401


# All pages


def pages_of(site: PagesSite, user: str) -> dict[str, str]:
    """Every page that can be reached by links from the list of scopes and the project page."""
    person, found, waiting = site.person(user), {}, ["/snapshots/", "/snapshots/me", f"/project/{site.project()}"]
    while waiting:
        url = waiting.pop()
        if url in found:
            continue
        answer = person.client.get(url, follow_redirects=True)
        assert answer.status_code == 200, (url, answer.status_code)
        found[url] = answer.get_data(as_text=True)
        links = [html.unescape(one).partition("#")[0] for one in re.findall(r'<a [^>]*href="([^"]+)"', found[url])]
        waiting += [one for one in links if one.startswith("/snapshots")]
    return found


@pytest.mark.parametrize("user", ["organiser", "admin", "root", "user"])
def test_every_link_leads_somewhere_and_no_page_needs_what_the_policy_forbids(still: PagesSite, user: str) -> None:
    project = still.project()
    for page in pages_of(still, user).values():
        assert not re.search(r"<[^>]+\sstyle=", page)
        assert "<style" not in page
        assert not re.search(r"<script(?![^>]*\ssrc=)", page)
        assert not re.search(r"<[^>]+\son\w+=", page)
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page)
        assert page.count("<h1") == 1
        for form in re.findall(r'<form[^>]*method="post".*?</form>', page, re.DOTALL):
            assert 'name="csrf_token"' in form
    if user == "organiser":
        assert f"/snapshots/project/{project}/trash" in pages_of(still, user)


def test_every_answer_has_the_headers_that_keep_it_safe(still: PagesSite) -> None:
    person, project = still.person("organiser"), still.project()
    answers = [
        person.look(f"/snapshots/project/{project}"),
        person.look("/snapshots/me"),
        person.look("/snapshots/project/.."),
        person.post(f"/snapshots/project/{project}/{NOWHERE}/delete"),
        person.client.post(f"/snapshots/project/{project}/make"),
        still.person(None).look("/snapshots/site"),
        person.look("/snapshots/static/keyframe.css"),
    ]

    for answer in answers:
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
    assert all(one.headers["Cache-Control"] == "no-store" for one in answers[:-1])
    answers[-1].close()


def test_every_act_is_shown_by_rest_and_by_command_line(still: PagesSite) -> None:
    person, project = still.person("organiser"), still.project()
    name = still.office.desk.snapshots(still.office.login._actor("root", "page"), Scope.project(project)).items[0].name

    page = text_of(person.page(f"/snapshots/project/{project}/{name}"))

    for act in ("show", "preview", "restore", "verify", "delete"):
        assert f"keyframe {act} --project {project} {name}" in page
    assert f"/api/v1/projects/{project}/snapshots/{name}/restore" in page
    assert "curl -X PATCH" in page


def test_a_database_that_is_silent_is_waited_for_once(tmp_path: Path) -> None:
    server = Mongod(tmp_path / "mongod").start()
    try:
        with pages_site(server.uri, tmp_path) as site:
            person, url = site.person("organiser"), f"/snapshots/project/{site.project()}"
            token = site.office.desk.create_token(site.office.login.shell_actor(), "organiser", "test")
            api = f"/api/v1/projects/{site.project()}/snapshots"
            bearer = {"Authorization": f"Bearer {token}"}
            assert [person.look(one).status_code for one in (url, "/healthz")] == [200, 200]
            assert person.look(api, headers=bearer).status_code == 200
            server.freeze()
            try:
                seconds = []
                for one, headers in ((api, bearer), ("/healthz", {}), (url, {})):
                    started = time.monotonic()
                    answer = person.look(one, headers=headers)
                    seconds.append(time.monotonic() - started)
                    assert answer.status_code == 503
                said = text_of(answer)
            finally:
                server.thaw()
            assert all(took < most for took, most in zip(seconds, (4.5, 2.5, 4.5), strict=True)), seconds
            assert "MongoDB does not answer. Start it or wait, then try again." in said
    finally:
        server.stop()

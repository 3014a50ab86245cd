"""The road in a real browser, against a real `keyframe up`: with JavaScript and without it.

Each test fails on any report of the content security policy, and on any request that leaves the site.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from keyframe.model import Scope
from pages_site import pages_site
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from program import Up, up
from werkzeug.serving import make_server

CHROMIUM = shutil.which("chromium")
PROJECT, EDITION = "The Drowned Mills of Oudewaarde", "The Oil Mill of Sint-Odulf"
ARTICLE = "articles/introduction.html"
PATIENCE = 60_000  # milliseconds; other tests run at the same time

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is missing; apt-get install chromium"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("browser") / "var") as one:
        one.start(KEYFRAME_SAMPLE__SIGN_IN="true")
        one.wait_until_healthy()
        yield one
        one.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None, "chromium is missing, and CI must not skip the browser tests"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


class Reader:
    """Somebody in front of a browser; `complaints` has what the policy and the browser reported, and what was asked of
    others."""

    def __init__(self, context: BrowserContext, site: str) -> None:
        self.site = site
        self.complaints: list[str] = []
        context.set_default_timeout(PATIENCE)
        context.on("request", lambda request: self._watch(request.url))
        context.on("console", lambda message: self._listen(message.text))
        self.page: Page = context.new_page()

    def _watch(self, url: str) -> None:
        if not url.startswith((self.site, "data:", "blob:")):
            self.complaints.append(f"asked outside: {url}")

    def _listen(self, text: str) -> None:
        if re.search(r"content.security.policy|autofocus", text, re.IGNORECASE):
            self.complaints.append(text)

    def sign_in(self, user: str) -> None:
        self.page.goto(f"{self.site}/sign-in")
        self.page.get_by_role("button", name=user, exact=True).click()
        expect(self.page.get_by_role("heading", level=1)).to_be_visible()

    def open_project(self) -> None:
        self.page.goto(self.site)
        self.page.get_by_role("link", name=PROJECT).first.click()
        expect(self.page.get_by_role("heading", level=1, name=PROJECT)).to_be_visible()

    def open_edition(self, title: str) -> None:
        self.open_project()
        self.page.get_by_role("link", name=title).first.click()
        expect(self.page.get_by_role("heading", level=1, name=title)).to_be_visible()

    def ends(self, words: str) -> None:
        """The job's page says these words at last, by itself, and its title how the job ended."""
        expect(self.page.locator("#outcome")).to_contain_text(words, timeout=PATIENCE)
        heading = self.page.get_by_role("heading", level=1)
        expect(self.page).to_have_title(f"{heading.text_content()} · {PROJECT}")

    def is_at_the_outcome(self) -> None:
        """The focus is there, so that it is read out, and the next Tab goes on from it."""
        expect(self.page.locator("#outcome")).to_be_focused()


@pytest.fixture(params=[True, False], ids=["with_javascript", "without_javascript"])
def reader(request: pytest.FixtureRequest, browser: Browser, running: Up) -> Iterator[Reader]:
    context = browser.new_context(java_script_enabled=request.param)
    one = Reader(context, running.run["address"])
    yield one
    context.close()
    assert one.complaints == []


def test_an_organiser_makes_a_snapshot_restores_it_undoes_that_deletes_and_undeletes_it(
    reader: Reader, request: pytest.FixtureRequest
) -> None:
    page, note = reader.page, f"before the edits, {request.node.callspec.id}"
    javascript = "without" not in request.node.callspec.id
    reader.sign_in("organiser")

    # make
    reader.open_project()
    page.get_by_label("Note (optional)").fill(note)
    page.get_by_role("button", name="Make a snapshot").click()
    mine = page.locator(".kf-timeline > li", has_text=note)
    expect(mine).to_have_count(1)
    expect(page.locator("#outcome")).to_contain_text("Done: the snapshot is made")
    reader.is_at_the_outcome()

    # edit a title, delete a file
    reader.open_edition(EDITION)
    page.get_by_label("Title", exact=True).fill("The New Mill")
    page.get_by_role("button", name="Save title and metadata").click()
    expect(page.get_by_role("heading", level=1, name="The New Mill")).to_be_visible()
    page.get_by_role("link", name=f"Replace or delete {ARTICLE}").click()
    page.get_by_role("button", name="Delete introduction.html").click()
    expect(page.get_by_role("link", name=ARTICLE, exact=True)).to_have_count(0)

    # preview, restore
    reader.open_project()
    mine.get_by_role("button", name="Restore…").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Bring back the snapshot of today")
    plan = page.locator("table.kf-plan")
    expect(plan).to_contain_text(ARTICLE)
    expect(plan).to_contain_text(EDITION)
    page.get_by_role("button", name="Bring back 1 file and 1 record", exact=True).click()
    reader.ends("1 file came back, 1 record was replaced")
    if javascript:  # without it the page is loaded again and again, and nobody's focus is taken
        reader.is_at_the_outcome()
    job = page.url

    # both are back
    reader.open_edition(EDITION)
    expect(page.get_by_role("link", name=ARTICLE, exact=True)).to_have_count(1)

    # undo: the edits are there again
    page.goto(job)
    page.get_by_role("button", name="Undo this restore…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Undo the restore")
    expect(page.locator(".kf-lead").first).to_contain_text("was brought back by organiser, just now")
    expect(plan).to_contain_text(ARTICLE)
    page.get_by_role("button", name="Undo the restore: bring back 1 record, remove 1 file", exact=True).click()
    reader.ends("Done: the restore is undone")
    reader.open_edition("The New Mill")
    expect(page.get_by_role("link", name=ARTICLE, exact=True)).to_have_count(0)

    # delete, undelete
    reader.open_project()
    mine.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("is in the trash.")).to_be_visible()
    reader.is_at_the_outcome()
    expect(mine).to_have_count(0)
    page.get_by_role("button", name="Put it back").click()
    expect(mine).to_have_count(1)

    # leave the edition as it was, for whoever comes next
    mine.get_by_role("button", name="Restore…").click()
    page.get_by_role("button", name=re.compile("^Bring back 1 file and 1 record")).click()
    reader.ends("Done: ")


@contextlib.contextmanager
def served(app: Flask) -> Iterator[str]:
    """The address at which the application answers, in threads of this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_section_of_a_project_is_fetched_anew_as_a_whole_when_its_job_ends(
    browser: Browser, mongo_uri: str, tmp_path: Path
) -> None:
    context = browser.new_context()
    sign_in = {"sign_in": True}
    with pages_site(mongo_uri, tmp_path, sample=sign_in) as site, served(site.app) as address:
        reader, scope = Reader(context, address), Scope.project(site.project())
        page, actor = reader.page, site.office.login._actor("organiser", "page")
        old = site.make(scope)
        (site.folder(site.project()) / "new.txt").write_text("new since")
        reader.sign_in("organiser")
        with site.office.jobs.hold(scope, "a test"):  # so that the job waits
            job = site.office.desk.make(actor, scope)
            page.goto(f"{address}/project/{site.project()}")
            expect(page.get_by_text("Possible again when the job above has ended.")).to_be_visible()
            title = page.title()
        outcome = site.ended(job).outcome

        assert outcome is not None and outcome.snapshot not in (None, old)
        expect(page.locator("#outcome")).to_contain_text("Done: the snapshot is made")
        expect(page.locator(".kf-timeline > li")).to_have_count(2)
        moment = page.locator(".kf-verdict time").get_attribute("datetime") or ""
        assert moment[:19].replace(":", "-") == str(outcome.snapshot).removesuffix("Z")
        expect(page.get_by_role("button", name="Make a snapshot")).to_be_enabled()
        assert page.title() == title  # of the host's page
        context.close()
    assert reader.complaints == []


@pytest.mark.parametrize("height", [800, 480])
def test_the_bar_of_a_plan_covers_nothing_that_is_gone_to(
    browser: Browser, mongo_uri: str, tmp_path: Path, height: int
) -> None:
    context = browser.new_context(viewport={"width": 1100, "height": height})
    with pages_site(mongo_uri, tmp_path, sample={"sign_in": True}) as site, served(site.app) as address:
        reader, scope = Reader(context, address), Scope.project(site.project())
        page = reader.page
        site.make(scope)
        for number in range(40):
            (site.folder(site.project()) / f"{number}.txt").write_text("new since")
        reader.sign_in("organiser")
        page.goto(f"{address}/snapshots/project/{scope.project_id}")
        page.get_by_role("button", name="Restore…").click()
        expect(page.get_by_role("button", name="Remove 40 files")).to_be_visible()

        covered = page.evaluate(
            """() => [...document.querySelectorAll(".kf-plan tbody tr, .keyframe summary")].filter(one => {
                 one.scrollIntoView({block: "nearest"});
                 const row = one.getBoundingClientRect(), bar = document.querySelector(".kf-confirm");
                 return row.bottom > bar.getBoundingClientRect().top + 1;
               }).map(one => one.textContent.trim())"""
        )

        assert page.locator(".kf-plan tbody tr").count() == 40
        assert covered == []
        context.close()
    assert reader.complaints == []


def test_a_person_makes_and_revokes_a_token(reader: Reader) -> None:
    page = reader.page
    reader.sign_in("organiser2")

    page.goto(f"{reader.site}/snapshots/me")
    page.get_by_role("textbox").fill("nightly")
    page.get_by_role("button", name="Make a token").click()
    expect(page.locator("#secret")).to_have_text(re.compile(r"^kf_[\w-]{20,}$"))
    page.goto(f"{reader.site}/snapshots/me")
    expect(page.locator("#secret")).to_have_count(0)
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No token yet.")).to_be_visible()


def test_what_can_be_done_with_a_row_is_in_sight_on_a_small_screen(browser: Browser, running: Up) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    reader = Reader(context, running.run["address"])
    page = reader.page
    reader.sign_in("organiser")
    page.goto(f"{reader.site}/snapshots/me")
    page.get_by_label("What it is for").fill("the script that copies everything each night")
    page.get_by_role("button", name="Make a token").click()
    boxes = [page.get_by_role("button", name="Revoke").bounding_box()]
    page.goto(f"{reader.site}/snapshots/me")
    page.get_by_role("button", name="Revoke").click()
    page.goto(reader.site)
    page.get_by_role("link", name=PROJECT).click()
    page.get_by_role("link", name=EDITION).first.click()
    boxes += [one.bounding_box() for one in page.get_by_text("Replace or delete…").all()]
    context.close()

    assert len(boxes) > 2
    assert all(box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390 for box in boxes)
    assert not reader.complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_scrolls_sideways_on_a_small_screen(browser: Browser, running: Up, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 700}, color_scheme=scheme)  # type: ignore[arg-type]
    reader = Reader(context, running.run["address"])
    page = reader.page
    reader.sign_in("admin")
    page.goto(f"{reader.site}/snapshots/site")
    page.get_by_role("button", name="Make a snapshot").click()
    expect(page.locator("#outcome")).to_be_visible()
    seen = []

    def look() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, page.url
        seen.append(page.url)

    look()
    for path in (
        "/snapshots/",
        "/snapshots/me",
        "/snapshots/site/trash",
        "/snapshots/nothing",
        "/snapshots/site/nothing",
    ):
        page.goto(reader.site + path)
        look()
    page.goto(f"{reader.site}/snapshots/site")
    page.locator(".kf-timeline a.kf-clock").first.click()
    expect(page.get_by_role("heading", name="About it")).to_be_visible()
    page.locator("details.kf-same summary").click()
    look()
    page.get_by_role("button", name="Restore…").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Bring back")
    look()
    reader.open_project()
    look()

    context.close()
    assert len(seen) == 9
    assert reader.complaints == []


def test_times_are_shown_in_the_zone_of_the_reader(browser: Browser, running: Up) -> None:
    zone = ZoneInfo("Pacific/Auckland")  # never the day of UTC in the evening there
    context = browser.new_context(timezone_id=zone.key)
    reader = Reader(context, running.run["address"])
    page = reader.page
    reader.sign_in("admin")
    page.goto(f"{reader.site}/snapshots/site")
    page.get_by_role("button", name="Make a snapshot").click()

    times = page.locator(".kf-timeline .kf-clock time")
    expect(times.first).to_be_visible()
    for time in times.all():
        moment = datetime.fromisoformat(time.get_attribute("datetime") or "").astimezone(zone)
        expect(time).to_have_text(f"{moment:%H:%M}")
        assert "UTC" in (time.get_attribute("title") or "")

    context.close()
    assert reader.complaints == []


def test_what_is_missing_is_confirmed_by_a_box_beside_the_button(
    browser: Browser, mongo_uri: str, tmp_path: Path
) -> None:
    context = browser.new_context()
    with pages_site(mongo_uri, tmp_path, sample={"sign_in": True}) as site, served(site.app) as address:
        reader, scope = Reader(context, address), Scope.project(site.project())
        page, many = reader.page, site.folder(site.project()) / "many"
        many.mkdir()
        for number in range(200):
            (many / f"{number}.txt").write_text("x")
        site.make(scope)
        shutil.rmtree(many)
        site.make(scope)
        reader.sign_in("organiser")

        page.goto(f"{address}/snapshots/project/{scope.project_id}")
        said = page.locator(".kf-verdict strong").bounding_box()
        page.get_by_label("This is right").check()
        page.get_by_role("button", name="Make a snapshot").click()

        expect(page.locator("#outcome")).to_contain_text("Done: the snapshot is made")
        expect(page.get_by_label("This is right")).to_have_count(0)
        assert said is not None and said["height"] < 100  # what is asked squeezes nothing
        context.close()
    assert reader.complaints == []


def test_a_name_that_nobody_can_type_is_chosen_again_from_what_the_plan_shows(
    browser: Browser, mongo_uri: str, tmp_path: Path
) -> None:
    context = browser.new_context()
    with pages_site(mongo_uri, tmp_path, sample={"sign_in": True}) as site, served(site.app) as address:
        reader, names = Reader(context, address), ("Screenshot 9.41\u202fAM.png", "two\nlines", "two  spaces")
        page = reader.page
        site.database["odd"].insert_one({"_id": "kept"})
        site.make(Scope.site())
        for name in names:
            (site.settings.working / name).write_text("new since")
        site.database["odd"].insert_many([{"_id": "a  b"}, {"_id": "a\u00a0b"}])
        reader.sign_in("root")
        page.goto(f"{address}/snapshots/site")
        page.get_by_role("button", name="Restore…").click()
        expect(page.get_by_role("button", name="Remove 3 files and 2 records")).to_be_visible()

        shown = page.locator(".kf-plan tbody td:nth-child(2) code").all_inner_texts()  # as it is copied from the screen
        files, records = ([one for one in shown if ("a" in one and "b" in one) is is_id] for is_id in (False, True))
        page.get_by_text("Only some of it").click()
        page.get_by_label("Only these files and folders").fill("\n".join(files))
        page.get_by_label("Only these records").fill("\n".join(f"odd/{one}" for one in records))
        for _ in range(2):  # the second time with what the page itself has written there
            page.get_by_role("button", name="Look again, with this only…").click()
            expect(page.get_by_role("button", name="Remove 3 files and 2 records")).to_be_visible()

        assert "a  b" in records and "two  spaces" in files and names[0] in files and len(shown) == 5
        context.close()
    assert reader.complaints == []

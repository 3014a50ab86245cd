"""The model of an edition in a real browser: it is drawn, and nothing it does is against the page's policy."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from editions_site import MILLS, OIL_MILL, address, sample_world
from playwright.sync_api import Page, sync_playwright
from pymongo import MongoClient
from werkzeug.serving import make_server

CHROMIUM = shutil.which("chromium")

#: Waits by an event: the browser's policy refuses the eval by which Playwright's own waiting looks again.
DRAWN = """() => new Promise((tell) => {
    const model = document.querySelector("model-viewer");
    for (const name of ["load", "error"]) model.addEventListener(name, () => tell(name));
    setTimeout(() => tell("nothing in a minute"), 60000);
    if (model.loaded) tell("load");
})"""

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is missing; apt-get install chromium"
)


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, mongo_client: MongoClient[dict[str, Any]], mongo_uri: str
) -> Iterator[str]:
    with sample_world(tmp_path_factory.mktemp("model"), mongo_client, mongo_uri) as world:
        server = make_server("127.0.0.1", 0, world.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def page() -> Iterator[Page]:
    assert CHROMIUM is not None, "chromium is missing, and CI must not skip the browser tests"
    with sync_playwright() as playwright:
        # The software renderer draws where there is no graphics card.
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
        )
        yield browser.new_page()
        browser.close()


def test_the_model_is_drawn_and_nothing_is_against_the_policy(site: str, page: Page, tmp_path: Path) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((site, "blob:", "data:")) else complaints.append(request.url),
    )

    page.goto(site + address(MILLS, OIL_MILL))
    frame = page.frame(url=lambda url: "/model?" in url)
    assert frame is not None
    frame.wait_for_selector("model-viewer", state="attached")
    assert frame.evaluate(DRAWN) == "load"

    size = frame.evaluate("document.querySelector('model-viewer').getDimensions().toString()")
    assert [round(float(one), 1) for one in size.removesuffix("m").replace("m", "").split()] == [16.0, 8.8, 8.5]
    assert complaints == []


def test_without_javascript_the_model_can_be_downloaded(site: str, page: Page) -> None:
    browser = page.context.browser
    assert browser is not None
    plain = browser.new_context(java_script_enabled=False).new_page()

    plain.goto(site + address(MILLS, OIL_MILL, "model?path=oil-mill-of-sint-odulf.glb"))

    assert "Download oil-mill-of-sint-odulf.glb" in plain.inner_text("body")

"""The editions site: who sees and changes what, what a form does, what is served and how."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from editions_site import (
    BOWL,
    EDITIONS,
    HIDDEN,
    HOST,
    LOCK_HOUSE,
    MILLS,
    OIL_MILL,
    TABLE,
    World,
    address,
    running_app,
    sample_world,
    settings_for,
)
from keyframe.editions import EXEMPT
from keyframe.editions.context import safe_next
from keyframe.editions.folder import safe_folder, safe_name
from keyframe.editions.passwords import password_hash
from keyframe.errors import InvalidError
from keyframe.resources import resource_folder
from pymongo import MongoClient

Client = MongoClient[dict[str, Any]]

HIDDEN_EDITION = EDITIONS["The Brass Armillary Sphere"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, mongo_client: Client, mongo_uri: str) -> Iterator[World]:
    """A site that no test changes."""
    with sample_world(tmp_path_factory.mktemp("shared"), mongo_client, mongo_uri) as world:
        yield world


@pytest.fixture
def world(tmp_path: Path, mongo_client: Client, mongo_uri: str) -> Iterator[World]:
    """A site of the test's own."""
    with sample_world(tmp_path, mongo_client, mongo_uri) as made:
        yield made


# Who sees what


@pytest.mark.parametrize(
    ("user", "seen"),
    [
        (None, {MILLS, TABLE}),
        ("user", {MILLS, TABLE}),
        ("reader", {MILLS, TABLE}),
        ("organiser", {MILLS, TABLE}),
        ("admin", {MILLS, TABLE, HIDDEN}),
        ("root", {MILLS, TABLE, HIDDEN}),
    ],
)
def test_the_list_shows_visible_projects_and_those_one_is_coupled_to(
    shared: World, user: str | None, seen: set[str]
) -> None:
    page = shared.browser(user).get("/")

    assert set(re.findall(r'href="/project/([0-9a-f]{24})"', page.text)) == seen


@pytest.mark.parametrize(
    ("path", "users"),
    [
        (address(MILLS), {None, "user", "reader", "editor", "organiser2", "organiser", "admin"}),
        (address(HIDDEN), {"admin"}),
        (address(MILLS, OIL_MILL), {None, "user", "reader", "editor", "organiser2", "organiser", "admin"}),
        (address(MILLS, LOCK_HOUSE), {"reader", "editor", "organiser", "admin"}),
        (address(MILLS, LOCK_HOUSE, "files", "scene.svx.json"), {"reader", "editor", "organiser", "admin"}),
        (address(MILLS, LOCK_HOUSE, "model?path=lock-keepers-house.glb"), {"reader", "editor", "organiser", "admin"}),
        (address(HIDDEN, HIDDEN_EDITION), {"admin"}),
    ],
)
def test_what_one_may_not_see_is_not_there(shared: World, path: str, users: set[str | None]) -> None:
    for user in (None, "user", "reader", "editor", "organiser2", "organiser", "admin"):
        page = shared.browser(user).get(path)
        assert page.status_code == (200 if user in users else 404), user


@pytest.mark.parametrize(
    "path",
    [
        address("0" * 24),
        address(MILLS.upper()),
        address("..%2f..%2fetc"),
        address("%00"),
        address("x" * 10_000),
        address(TABLE, OIL_MILL),
        address(MILLS, "0" * 24),
        "/nothing",
    ],
)
def test_absent_and_hidden_look_the_same(shared: World, path: str) -> None:
    browser = shared.browser("organiser")

    absent, hidden = browser.get(path), browser.get(address(HIDDEN))

    assert (absent.status_code, hidden.status_code) == (404, 404)
    assert "Nothing here" in absent.text and "Nothing here" in hidden.text


def test_somebody_who_was_removed_is_nobody(world: World) -> None:
    browser = world.browser("organiser")
    world.database["user"].delete_one({"user": "organiser"})

    assert browser.get(address(MILLS, "", "edit")).status_code == 303
    assert browser.get(address(MILLS, LOCK_HOUSE)).status_code == 404


# Who may do what


@pytest.mark.parametrize(
    ("path", "users"),
    [
        ("/project/new", {"admin", "root"}),
        (address(MILLS, "", "delete"), {"admin", "root"}),
        (address(MILLS, "", "edit"), {"organiser", "admin", "root"}),
        (address(MILLS, "", "edition/new"), {"organiser", "admin", "root"}),
        (address(MILLS, LOCK_HOUSE, "delete"), {"organiser", "admin", "root"}),
        (address(MILLS, LOCK_HOUSE, "file?path=scene.svx.json"), {"editor", "organiser", "admin", "root"}),
    ],
)
def test_a_page_that_changes_something_is_for_those_who_may(shared: World, path: str, users: set[str]) -> None:
    for user in ("user", "reader", "editor", "organiser2", "organiser", "admin", "root"):
        page = shared.browser(user).get(path)
        expected = {200} if user in users else {403, 404}
        assert page.status_code in expected, user
    assert shared.browser().get(path).status_code in (303, 404)


POSTS = [
    ("/project/new", {"title": "T"}),
    (address(MILLS, "", "edit"), {"title": "T"}),
    (address(MILLS, "", "delete"), {}),
    (address(MILLS, "", "edition/new"), {"title": "T"}),
    (address(MILLS, LOCK_HOUSE), {"title": "T"}),
    (address(MILLS, LOCK_HOUSE, "delete"), {}),
    (address(MILLS, LOCK_HOUSE, "upload"), {"folder": ""}),
    (address(MILLS, LOCK_HOUSE, "file/replace"), {"path": "icon.png"}),
    (address(MILLS, LOCK_HOUSE, "file/delete"), {"path": "icon.png"}),
]


@pytest.mark.parametrize(("path", "form"), POSTS)
@pytest.mark.parametrize("user", [None, "user", "reader", "organiser2"])
def test_who_may_not_changes_nothing(shared: World, user: str | None, path: str, form: dict[str, str]) -> None:
    before = shared.records(), shared.files()

    answer = shared.browser(user).post(path, form)

    assert answer.status_code in (303, 403, 404)
    assert (shared.records(), shared.files()) == before


@pytest.mark.parametrize(("path", "form"), [*POSTS, ("/sign-in/sample", {"user": "root"}), ("/sign-out", {})])
@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_change_without_the_token_of_our_form_is_refused(
    shared: World, path: str, form: dict[str, str], token: str
) -> None:
    browser = shared.browser("admin")
    before = shared.records(), shared.files()

    answer = browser.post(path, {**form, **({"csrf_token": token} if token else {})}, token=False)

    assert answer.status_code == 403 and "Traceback" not in answer.text
    assert (shared.records(), shared.files()) == before
    assert "Adriaan" in browser.get("/").text, "still signed in as before"


def test_looking_changes_nothing(shared: World) -> None:
    before = shared.records(), shared.files()
    browser = shared.browser("root")

    for rule in shared.app.url_map.iter_rules():
        if rule.endpoint.startswith("editions.") and "GET" in (rule.methods or ()):
            path = rule.rule.replace("<project_id>", MILLS).replace("<edition_id>", OIL_MILL)
            browser.get(path.replace("<path:path>", "scene.svx.json"), query_string={"path": "icon.png"})
    for path in ("/sign-out", "/sign-in/sample", address(MILLS, OIL_MILL, "file/delete")):
        assert browser.get(path).status_code == 405

    assert (shared.records(), shared.files()) == before


def test_an_editor_changes_his_edition_but_does_not_publish_it(world: World) -> None:
    answer = world.browser("editor").post(address(MILLS, LOCK_HOUSE), {"title": "New", "published": "on"})

    record = world.edition(LOCK_HOUSE)
    assert answer.status_code == 303
    assert record and (record["title"], record["isPublished"]) == ("New", False)


# What a form does


def test_a_form_changes_what_it_shows_and_nothing_else(world: World) -> None:
    before = world.edition(OIL_MILL)
    assert before
    form = {
        "title": "  The   Mill ",
        "abstract": "One\r\ntwo",
        "description": before["dc"]["description"].replace("\n", "\r\n"),
        "creator": "Ann\r\n\r\n Bob ",
        "subject": "",
        "published": "on",
    }

    world.browser("organiser").post(address(MILLS, OIL_MILL), form)

    after = world.edition(OIL_MILL)
    dc = {**before["dc"], "title": "The Mill", "abstract": "One\ntwo", "creator": ["Ann", "Bob"]}
    del dc["subject"]
    assert after == {**before, "title": "The Mill", "dc": dc}


def test_a_form_that_comes_back_as_it_was_writes_nothing(world: World) -> None:
    browser = world.browser("organiser")
    before = world.records()
    page = browser.get(address(MILLS, OIL_MILL)).text
    texts = re.findall(r'<textarea id="(\w+)"[^>]*>\n(.*?)</textarea>', page, re.S)
    form = {name: text.replace("\n", "\r\n") for name, text in texts}

    answer = browser.post(address(MILLS, OIL_MILL), {**form, "title": "The Oil Mill of Sint-Odulf", "published": "on"})

    assert len(form) == 5 and answer.status_code == 303
    assert world.records() == before
    assert "Nothing was changed" in browser.get(address(MILLS, OIL_MILL)).text


@pytest.mark.parametrize("title", ["", "   ", "x" * 201])
def test_a_title_that_cannot_be_kept_comes_back_with_what_was_typed(shared: World, title: str) -> None:
    answer = shared.browser("organiser").post(address(MILLS, OIL_MILL), {"title": title, "abstract": "kept & typed"})

    assert answer.status_code == 422
    assert "The title" in answer.text and "kept &amp; typed" in answer.text


def test_what_people_type_is_never_markup(world: World) -> None:
    browser = world.browser("organiser")

    browser.post(address(MILLS, OIL_MILL), {"title": "<script>alert(1)</script>", "abstract": "<b>x</b>"})

    for path in (address(MILLS), address(MILLS, OIL_MILL), address(MILLS, OIL_MILL, "model?path=icon.png")):
        page = browser.get(path).text
        assert "<script>alert" not in page and "<b>x</b>" not in page


def test_an_admin_makes_a_project_for_an_organiser_who_makes_an_edition(world: World) -> None:
    made = world.browser("admin").post("/project/new", {"title": "Bridges", "abstract": "Two.", "organiser": "user"})
    project = made.location.rpartition("/")[2]
    organiser = world.browser("user")

    made = organiser.post(address(project, "", "edition/new"), {"title": "The Stone Bridge"})
    edition = made.location.rpartition("/")[2]

    page = organiser.get(address(project, edition)).text
    assert "The Stone Bridge" in page and "not published" in page and "No model yet" in page
    assert world.folder(project, edition).is_dir()
    assert "not visible to visitors" in organiser.get(address(project)).text
    assert world.browser().get(address(project)).status_code == 404
    organiser.post(address(project, "", "edit"), {"title": "Bridges", "abstract": "Two.", "visible": "on"})
    assert world.browser().get(address(project)).status_code == 200


def test_a_project_needs_a_title_and_a_known_organiser(shared: World) -> None:
    before = shared.records()
    browser = shared.browser("admin")

    assert browser.post("/project/new", {"title": "", "organiser": ""}).status_code == 422
    assert browser.post("/project/new", {"title": "T", "organiser": "stranger"}).status_code == 422

    assert shared.records() == before


def test_deleting_an_edition_takes_its_record_its_files_and_its_couplings_only(world: World) -> None:
    before, files = world.records(), world.files()

    world.browser("organiser").post(address(MILLS, LOCK_HOUSE, "delete"))

    after = world.records()
    assert world.edition(LOCK_HOUSE) is None and len(after["edition"]) == 5
    assert after["editionUser"] == []
    assert {name: after[name] for name in ("project", "user", "projectUser")} == {
        name: before[name] for name in ("project", "user", "projectUser")
    }
    assert world.files() == {path: data for path, data in files.items() if f"/edition/{LOCK_HOUSE}/" not in path}


def test_deleting_a_project_takes_its_editions_files_and_couplings_only(world: World) -> None:
    files = world.files()

    world.browser("admin").post(address(MILLS, "", "delete"))

    after = world.records()
    assert MILLS not in {str(one["_id"]) for one in after["project"]} and len(after["project"]) == 2
    assert len(after["edition"]) == 4 and after["editionUser"] == []
    assert [one["user"] for one in after["projectUser"]] == ["organiser2"]
    assert world.files() == {path: data for path, data in files.items() if not path.startswith(f"project/{MILLS}/")}


# Files


def test_a_file_is_uploaded_into_a_folder_under_its_own_name(world: World) -> None:
    browser, folder = world.browser("editor"), world.folder(MILLS, LOCK_HOUSE)
    path = address(MILLS, LOCK_HOUSE, "upload")

    answer = browser.upload(path, "Tür & Öffnung <1>.txt", b"door", folder="articles/neue Texte/")

    assert answer.status_code == 303
    assert (folder / "articles" / "neue Texte" / "Tür & Öffnung <1>.txt").read_bytes() == b"door"
    assert not list(folder.rglob(".upload-*"))
    page = browser.get(address(MILLS, LOCK_HOUSE)).text
    assert "Tür &amp; Öffnung &lt;1&gt;.txt was uploaded" in page
    link = re.search(r'href="([^"]*/files/[^"]*%C3%96ffnung[^"]*)"', page)
    assert link and browser.get(link[1].replace("&amp;", "&")).data == b"door"


def test_a_file_of_the_same_name_is_replaced_only_when_asked_for(world: World) -> None:
    browser, path = world.browser("editor"), address(MILLS, LOCK_HOUSE, "upload")
    icon = world.folder(MILLS, LOCK_HOUSE) / "icon.png"
    before = icon.read_bytes()

    refused = browser.upload(path, "icon.png", b"new")
    assert refused.status_code == 422 and "There is a file of this name" in refused.text
    assert icon.read_bytes() == before

    assert browser.upload(path, "icon.png", b"new", replace="on").status_code == 303
    assert icon.read_bytes() == b"new"


def test_several_files_come_at_once_and_no_file_is_a_mistake(world: World) -> None:
    browser, path = world.browser("editor"), address(MILLS, LOCK_HOUSE, "upload")
    files = [(io.BytesIO(b"1"), "one.txt"), (io.BytesIO(b"2"), "two.txt")]

    assert browser.post(path, {"file": files}, content_type="multipart/form-data").status_code == 303
    assert browser.post(path, {"folder": ""}).status_code == 422

    assert {"one.txt", "two.txt"} <= {one.name for one in world.folder(MILLS, LOCK_HOUSE).iterdir()}


def test_a_file_is_replaced_and_deleted_from_its_page(world: World) -> None:
    browser, folder = world.browser("editor"), world.folder(MILLS, LOCK_HOUSE)
    picture = "articles/media/view.png"
    assert picture in browser.get(address(MILLS, LOCK_HOUSE, f"file?path={picture}")).text

    browser.upload(address(MILLS, LOCK_HOUSE, "file/replace"), "anything.png", b"new", path=picture)
    assert (folder / picture).read_bytes() == b"new" and not (folder / "articles/media/anything.png").exists()

    browser.post(address(MILLS, LOCK_HOUSE, "file/delete"), {"path": picture})
    assert not (folder / "articles" / "media").exists(), "the folder was empty then"
    assert (folder / "articles" / "introduction.html").exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("détail.png", "détail.png"),
        ("détail.png", "détail.png"),
        ("../../up.txt", "up.txt"),
        ("C:\\scans\\up.txt", "up.txt"),
        ("/etc/passwd", "passwd"),
        ("a\0b\n.txt", "ab.txt"),
        (" spaced .txt ", "spaced .txt"),
        ("日本.glb", "日本.glb"),
    ],
)
def test_an_uploaded_name_is_made_safe(text: str, name: str) -> None:
    assert safe_name(text) == name


@pytest.mark.parametrize("text", ["", ".", "..", "a/..", "\0", ".upload-x", "x" * 256, "é" * 128])
def test_a_name_that_cannot_be_made_safe_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        safe_name(text)


@pytest.mark.parametrize("text", ["..", "a/../b", "a//b", "a\\b", "./a", "a/\0", "/".join("abcdefghi")])
def test_a_folder_that_leads_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        safe_folder(text)


@pytest.mark.parametrize("folder", ["../..", "a/../../..", "articles/introduction.html", "x" * 300])
def test_an_upload_never_leaves_its_edition(shared: World, folder: str) -> None:
    before = shared.files()

    answer = shared.browser("organiser").upload(address(MILLS, OIL_MILL, "upload"), "x.txt", b"x", folder=folder)

    assert answer.status_code == 422 and shared.files() == before


def test_a_link_out_of_the_edition_is_neither_listed_nor_served_nor_written_through(world: World) -> None:
    browser, folder = world.browser("organiser"), world.folder(MILLS, OIL_MILL)
    outside = world.settings.var / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (folder / "away").symlink_to(outside)
    (folder / "link.txt").symlink_to(outside / "secret.txt")

    for path in ("away/secret.txt", "link.txt"):
        assert browser.get(address(MILLS, OIL_MILL, "files", path)).status_code == 404
    assert "link.txt" not in browser.get(address(MILLS, OIL_MILL)).text
    answer = browser.upload(address(MILLS, OIL_MILL, "upload"), "x.txt", b"x", folder="away")
    assert answer.status_code == 422 and [one.name for one in outside.iterdir()] == ["secret.txt"]


@pytest.mark.parametrize(
    "path", ["../icon.png", "..%2f..%2fmeta%2fdc.yml", "meta/../../x", "meta", "%00", "//etc/passwd"]
)
def test_a_path_never_leaves_its_edition(shared: World, path: str) -> None:
    browser = shared.browser("organiser")

    assert browser.get(address(MILLS, OIL_MILL, "files", path)).status_code in (308, 404)
    assert browser.get(address(MILLS, OIL_MILL, "file"), query_string={"path": path}).status_code == 404
    assert browser.post(address(MILLS, OIL_MILL, "file/delete"), {"path": path}).status_code == 404


def test_odd_names_on_the_disk_do_not_break_the_page(world: World) -> None:
    folder = world.folder(MILLS, OIL_MILL)
    for name in (b"bad-\xff.txt", b"line\nbreak.txt", b"quote\"'<b>.txt", b"100%.txt"):
        (folder / name.decode(errors="surrogateescape")).write_bytes(b"x")

    page = world.browser("organiser").get(address(MILLS, OIL_MILL))

    assert page.status_code == 200 and "13 files" in page.text and "<b>.txt" not in page.text


@pytest.mark.parametrize(
    ("path", "kind", "sandboxed"),
    [
        ("articles/introduction.html", "text/html; charset=utf-8", True),
        ("articles/media/view.png", "image/png", False),
        ("oil-mill-of-sint-odulf.glb", "model/gltf-binary", False),
        ("scene.svx.json", "application/json", False),
        ("meta/dc.yml", "text/plain; charset=utf-8", False),
    ],
)
def test_files_are_served_as_what_they_are(shared: World, path: str, kind: str, sandboxed: bool) -> None:
    answer = shared.browser().get(address(MILLS, OIL_MILL, "files", path))

    policy = answer.headers["Content-Security-Policy"]
    assert answer.status_code == 200 and answer.headers["Content-Type"] == kind
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert ("sandbox" in policy) == sandboxed and "allow-scripts" not in policy
    assert answer.data == (shared.folder(MILLS, OIL_MILL) / path).read_bytes()


@pytest.mark.parametrize("name", ["evil.svg", "evil.HTML", "evil.xml"])
def test_whatever_could_hold_a_script_is_served_in_a_sandbox(world: World, name: str) -> None:
    (world.folder(MILLS, OIL_MILL) / name).write_text("<svg><script>alert(1)</script></svg>")

    answer = world.browser().get(address(MILLS, OIL_MILL, "files", name))

    assert answer.headers["Content-Security-Policy"].startswith("sandbox ")


def test_a_kind_nobody_knows_is_only_downloaded(world: World) -> None:
    (world.folder(MILLS, OIL_MILL) / "model.xyz").write_text("<script>alert(1)</script>")

    answer = world.browser().get(address(MILLS, OIL_MILL, "files", "model.xyz"))

    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_a_body_that_is_too_large_gets_a_page(world: World) -> None:
    browser = world.browser("organiser")
    token, before = browser.token(), world.files()
    world.app.config["MAX_CONTENT_LENGTH"] = 10_000

    answer = browser.upload(address(MILLS, OIL_MILL, "upload"), "x.bin", b"x" * 20_000, csrf_token=token)

    assert answer.status_code == 413 and "larger than this site takes" in answer.text
    assert world.files() == before


# Signing in


def test_a_person_signs_in_with_a_password_and_out_again(world: World) -> None:
    world.database["user"].update_one({"user": "organiser"}, {"$set": {"password": password_hash("tulip mania")}})
    browser = world.browser()

    answer = browser.post("/sign-in", {"user": "organiser", "password": "tulip mania", "next": address(MILLS)})
    assert (answer.status_code, answer.location) == (303, address(MILLS))
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert "Olivia Ganzevoort · organiser" in browser.get("/").text

    browser.post("/sign-out")
    assert "Olivia" not in browser.get("/").text


def test_a_wrong_password_and_an_unknown_person_get_the_same_answer(world: World) -> None:
    world.database["user"].update_one({"user": "organiser"}, {"$set": {"password": password_hash("tulip mania")}})
    browser = world.browser()

    answers = [
        browser.post("/sign-in", {"user": user, "password": password})
        for user, password in (("organiser", "tulips"), ("nobody", "tulip mania"), ("admin", ""), ("admin", "x"))
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert all("do not belong together" in answer.text for answer in answers)


def test_sample_people_have_a_button_each_on_this_machine(shared: World) -> None:
    for host in ("http://localhost:8000", "http://127.0.0.1:8000", "http://localhost"):
        page = shared.app.test_client().get("/sign-in", base_url=host).text
        assert len(re.findall(r'name="user" value="\w+">', page)) == 7


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "editions.example"},
        {"Host": "localhost.example"},
        {"Host": "localhost:80@evil.example"},
        {"Host": "[::1]:8000"},
        {"Forwarded": "for=10.0.0.1"},
        {"X-Forwarded-For": "10.0.0.1"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Host": "localhost"},
    ],
)
def test_no_buttons_where_a_stranger_could_be(shared: World, headers: dict[str, str]) -> None:
    browser = shared.browser()
    token = browser.token()

    page = browser.get("/sign-in", headers=headers)
    pressed = browser.post("/sign-in/sample", {"user": "root", "csrf_token": token}, token=False, headers=headers)

    assert "Sample people" not in page.text
    assert pressed.status_code in (400, 403)
    assert "Ruth" not in browser.get("/").text


@pytest.mark.parametrize(
    "more",
    [
        {"run_mode": "prod"},
        {"run_mode": "custom"},
        {"host": "0.0.0.0"},
        {"host": "192.168.1.4"},
        {"sample": {"sign_in": False}},
    ],
)
def test_no_buttons_where_the_settings_do_not_allow_them(
    tmp_path: Path, mongo_client: Client, mongo_uri: str, more: dict[str, Any]
) -> None:
    with sample_world(tmp_path, mongo_client, mongo_uri, **more) as world:
        browser = world.browser()

        assert "Sample people" not in browser.get("/sign-in").text
        assert browser.post("/sign-in/sample", {"user": "root"}).status_code == 403


def test_only_people_made_by_the_sample_have_a_button(world: World) -> None:
    world.database["user"].update_one({"user": "root"}, {"$unset": {"sample": ""}})
    browser = world.browser()

    assert 'value="root"' not in browser.get("/sign-in").text
    assert browser.post("/sign-in/sample", {"user": "root"}).status_code == 403
    assert browser.post("/sign-in/sample", {"user": "nobody"}).status_code == 403


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
        "evil", "/\t/evil.example", "/ /evil.example", "", None, "///evil.example",
    ],
)  # fmt: skip
def test_nobody_is_led_elsewhere_after_signing_in(text: str | None) -> None:
    assert safe_next(text, "/") == "/"


def test_who_must_sign_in_comes_back_to_where_he_was(shared: World) -> None:
    browser = shared.browser()
    answer = browser.get(address(MILLS, "", "edit"))
    assert answer.status_code == 303

    page = browser.get(answer.location).text
    after = browser.post("/sign-in/sample", {"user": "organiser", "next": address(MILLS, "", "edit")})

    assert f'name="next" value="{address(MILLS, "", "edit")}"' in page
    assert after.location == address(MILLS, "", "edit")


def test_signing_in_and_out_is_exempt_from_the_gate(shared: World) -> None:
    assert set(shared.app.view_functions) >= EXEMPT
    assert {name.removeprefix("editions.") for name in EXEMPT} == {"sign_in", "sign_in_sample", "sign_out"}


# What every page has


def test_every_answer_has_the_policy_and_no_page_has_inline_code(shared: World) -> None:
    browser = shared.browser("admin")
    paths = (
        "/", "/sign-in", "/project/new", address(MILLS), address(MILLS, "", "edit"), address(MILLS, "", "delete"),
        address(MILLS, "", "edition/new"), address(MILLS, OIL_MILL), address(MILLS, OIL_MILL, "delete"),
        address(MILLS, OIL_MILL, "file?path=icon.png"), "/nothing", "/static/editions.css",
        address(MILLS, OIL_MILL, "model?path=oil-mill-of-sint-odulf.glb"),
    )  # fmt: skip

    for path in paths:
        answer = browser.get(path)
        policy = answer.headers["Content-Security-Policy"]
        scripts = re.search(r"script-src ([^;]*)", policy)
        assert scripts is None or "unsafe-inline" not in scripts[1]
        assert "frame-ancestors 'self'" in policy and "object-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if answer.mimetype == "text/html":
            assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.text), path
            assert answer.text.count("<h1") == (0 if "/model" in path else 1)


def test_no_page_asks_for_anything_outside() -> None:
    for template in (resource_folder("templates") / "editions").glob("*.html"):
        assert not re.search(r"""(src|href|action)=["'](https?:)?//""", template.read_text()), template


def test_snapshots_are_in_the_page_of_who_may_see_them(shared: World) -> None:
    assert "Make a snapshot" in shared.browser("organiser").get(address(MILLS)).text
    for user in (None, "user", "reader", "organiser2"):
        assert "Make a snapshot" not in shared.browser(user).get(address(MILLS)).text, user
    assert 'href="/snapshots/site"' in shared.browser("admin").get("/").text
    assert 'href="/snapshots/"' in shared.browser("organiser").get("/").text
    assert ">Snapshots<" not in shared.browser("reader").get("/").text


def test_without_its_database_the_site_says_so_on_every_page(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100", "away")
    settings = settings.model_copy(update={"mongo": settings.mongo.model_copy(update={"timeout": 0.1})})

    with running_app(settings) as app:
        client = app.test_client()
        for path in ("/", address(MILLS), address(MILLS, OIL_MILL), address(MILLS, OIL_MILL, "files", "x")):
            answer = client.get(path, base_url=HOST)
            assert answer.status_code == 503 and answer.headers["Retry-After"]
            assert "The database or the disk does not answer" in answer.text
            assert "Traceback" not in answer.text and "127.0.0.1" not in answer.text
        with client.session_transaction(base_url=HOST) as session:
            session["_user_id"], session["editions_session"] = "organiser", "any"
        assert client.get("/", base_url=HOST).status_code == 503


def test_a_project_of_another_is_not_mixed_into_an_address(shared: World) -> None:
    browser = shared.browser("organiser")

    assert browser.get(address(MILLS, BOWL)).status_code == 404
    assert browser.post(address(MILLS, BOWL), {"title": "Mine"}).status_code == 404

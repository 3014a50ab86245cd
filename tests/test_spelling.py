"""Names that cannot be typed: what lists, forms and commands show of them is read back as that very name."""

from __future__ import annotations

import html
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import bson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from keyframe.doors.cli_selection import _path, _record
from keyframe.doors.pages_selection import fields_of, options_of, selection_of_form
from keyframe.errors import InvalidError
from keyframe.messages import Messages
from keyframe.model import Scope, Selection, is_seen, name_of, spelled
from keyframe.stores.idents import canonical_text
from keyframe.stores.raw import id_bytes
from pages_site import PagesSite, pages_site
from test_serving_doors import run
from werkzeug.datastructures import MultiDict
from world import SITE, World

FREE = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SCREENSHOT = "Screenshot 9.41\u202fAM.png"
SPACES = "a  b"
ODD_IDS = ("a\u00a0b", "a\u200bb", SPACES)
ODD_NAMES = (SCREENSHOT, "two\nlines.txt", "\u200bhidden.txt", b"caf\xe9.txt".decode("utf-8", "surrogateescape"),
             " in front", '"a\\u0062"', SPACES)  # fmt: skip
PARTS = st.one_of(
    st.binary(min_size=1, max_size=8).map(os.fsdecode),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    st.sampled_from(ODD_NAMES),
).filter(lambda part: "/" not in part and "\0" not in part and part not in (".", ".."))


@FREE
@given(name=PARTS)
@example(name='"')
@example(name='"\\"')
@example(name="\u2028")
@example(name="\U000e0001")
def test_what_is_written_of_a_name_is_read_back_as_that_name(name: str) -> None:
    written = spelled(name)

    assert name_of(written) == name
    assert all(map(is_seen, written)) and written == written.strip() and len(written.splitlines()) == 1
    written.encode()


@FREE
@given(paths=st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=3), ident=PARTS)
def test_a_form_and_a_command_mean_the_very_selection_they_were_made_of(paths: list[str], ident: str) -> None:
    text = ident.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    record = ("odd", canonical_text(id_bytes(bson.encode({"_id": text}))))
    chosen = Selection(paths=tuple(paths), records=(record,))
    sent = MultiDict({field: "\r\n".join(lines) for field, lines in fields_of(chosen).items()})

    words = shlex.split(options_of(chosen))
    given = list(zip(words[::2], words[1::2], strict=True))

    assert selection_of_form(sent) == chosen
    assert tuple(_path(value) for option, value in given if option == "--path") == chosen.paths
    assert tuple(_record(value) for option, value in given if option == "--record") == chosen.records


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (SCREENSHOT, SCREENSHOT),
        ("\u65e5\u672c\u3000\u8a9e", "\u65e5\u672c\u3000\u8a9e"),
        ("\U0001f468\u200d\U0001f469.png", "\U0001f468\u200d\U0001f469.png"),
        ("a\u200bb", '"a\\u200bb"'),
        ("two\nlines", '"two\\nlines"'),
        ("caf\udce9", '"caf\\udce9"'),
        ("end ", '"end\\u0020"'),
        ('"quoted"', '"quoted"'),
        ('"back\\slash"', '"\\"back\\\\slash\\""'),
    ],
)
def test_a_name_is_written_as_it_is_where_it_can_be_seen(name: str, written: str) -> None:
    assert spelled(name) == written
    assert Messages.path(None, name) == written  # type: ignore[arg-type]  # it asks nothing of itself


@pytest.mark.parametrize("text", ['"\\udce9', '"a\\"', '"\\q"', '"a"', "", '"'])
def test_what_only_looks_like_it_is_the_name_itself(text: str) -> None:
    assert name_of(text) == text


def test_a_written_name_that_no_file_can_have_is_refused() -> None:
    for text in ('"\\u0000"', '"\\ud800"', '"..\\/a"'):
        with pytest.raises(InvalidError):
            _path(text)
        with pytest.raises(InvalidError):
            selection_of_form(MultiDict({"paths": text}))


# --- by command line and by page


def test_what_a_preview_prints_can_be_given_to_the_next_one(world: World) -> None:
    snapshot = world.make(SITE)
    for name in ODD_NAMES:
        (world.settings.working / name).write_text("new since")
    world.db.odd.insert_many([{"_id": ident} for ident in ODD_IDS])

    code, said = run(world.office, "preview", snapshot.name, "--site", "--all")
    lines = [re.match(r"  removed +(file|record) +(.*)", line) for line in said.splitlines()]
    found = [line.groups() for line in lines if line]

    assert code == 0 and "\ufffd" not in said
    assert len(found) == len(ODD_NAMES) + len(ODD_IDS)
    for kind, name in found:
        code, again = run(world.office, "preview", snapshot.name, "--site", f"--{kind.replace('file', 'path')}", name)
        assert code == 0, again
        assert [line for line in again.splitlines() if line.startswith("  removed ")] == [
            f"  removed     {kind:<10} {name}"
        ]


@pytest.fixture
def site(mongo_uri: str, tmp_path: Path) -> Iterator[PagesSite]:
    with pages_site(mongo_uri, tmp_path) as one:
        yield one


def test_what_a_plan_shows_can_be_chosen_again_and_its_command_means_the_same(site: PagesSite) -> None:
    person, scope = site.person("root"), Scope.site()
    site.make(scope)
    for name in ODD_NAMES:
        (site.settings.working / name).write_text("new since")
    site.database["odd"].insert_many([{"_id": ident} for ident in ODD_IDS])
    wanted = {
        "paths": "\r\n".join(map(spelled, ODD_NAMES)),
        "records": 'odd/"a\\u00a0b"\r\nodd/"a\\u200bb"\r\nodd/a  b',
    }
    whole = person.follow(person.press(person.page("/snapshots/site"), "Restore…"))

    first = person.follow(person.press(whole, "Look again, with this only…", **wanted))
    fields = dict(re.findall(r'<textarea name="(\w+)"[^>]*>\n?(.*?)</textarea>', first, re.DOTALL))
    again = {field: html.unescape(text) for field, text in fields.items()}
    second = person.follow(person.press(first, "Look again, with this only…", **again))

    assert "\ufffd" not in whole and "\ufffd" not in second
    assert "<b>10</b>removed" in first and "<b>10</b>removed" in second
    assert sorted(again["records"].split("\n")) == sorted(wanted["records"].split("\r\n"))
    assert sorted(again["paths"].split("\n")) == sorted(wanted["paths"].split("\r\n"))
    assert fields == dict(re.findall(r'<textarea name="(\w+)"[^>]*>\n?(.*?)</textarea>', second, re.DOTALL))
    command = re.search(r"^keyframe (restore .*?)</code>", html.unescape(second), re.MULTILINE)
    assert command is not None
    code, said = run(site.office, *shlex.split(command.group(1)))
    assert code == 0, said
    assert not [name for name in ODD_NAMES if (site.settings.working / name).exists()]
    assert site.database["odd"].count_documents({}) == 0

"""What pages call things: the top folder, long names, commands; and that a restore was interrupted."""

from __future__ import annotations

import html
from collections.abc import Iterator

import pytest
from keyframe.doors.pages_frame import coded, sentence
from keyframe.errors import Problem
from keyframe.model import Action, Order, Scope, Selection
from keyframe.stores.intents import Intent, Intents
from pages_site import PagesSite, pages_site, text_of
from world import PROJECT, SITE, World

LONG = "/".join(letter * 250 for letter in "abc") + "/end.txt"


@pytest.fixture(scope="module")
def site(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PagesSite]:
    with pages_site(mongo_uri, tmp_path_factory.mktemp("words")) as running:
        yield running


def plan_page(site: PagesSite) -> str:
    """The plan of the newest snapshot of the project."""
    project = site.project()
    person = site.person("organiser")
    return person.follow(person.post(f"/snapshots/project/{project}/{site.newest(project)}/preview"))


def test_the_top_folder_has_a_name(site: PagesSite) -> None:
    project = site.project()
    site.make(Scope.project(project))
    folder = site.folder(project)
    mode = folder.stat().st_mode
    folder.chmod(0o700 if mode & 0o777 != 0o700 else 0o755)

    page = plan_page(site)

    assert "replaced the top folder" in text_of(page)
    assert "<code>.</code>" not in page
    folder.chmod(mode)
    words = site.office.messages
    assert words.problem(Problem("left", "is left as it is: it could not be read.", ".")).startswith(
        "The top folder is"
    )
    assert words.chosen(Selection(paths=(".",)), is_site=False) == "the top folder of this project"


def test_a_very_long_path_is_cut_in_the_middle_and_whole_for_who_points_at_it(site: PagesSite) -> None:
    project = site.project()
    site.make(Scope.project(project))
    path = site.folder(project) / LONG
    path.parent.mkdir(parents=True)
    path.write_text("new")

    page = plan_page(site)

    assert f'<code title="{LONG}">aaa' in page
    assert "…" in text_of(page)
    assert LONG not in text_of(page)
    assert LONG not in site.office.messages.chosen(Selection(paths=(LONG,)), is_site=False)
    told = sentence(site.office.messages, Problem("left", "is left as it is.", f"<b>{LONG}", "Look."))
    assert LONG not in text_of(str(told))
    assert f'title="{html.escape(f"<b>{LONG}")}"' in told


def test_a_command_in_a_sentence_is_code(site: PagesSite) -> None:
    page = site.person("organiser").look(f"/snapshots/project/{site.project()}?cursor=nonsense")

    assert "<code>next</code>" in page.get_data(as_text=True)
    assert coded("say `keyframe <x>` or `y") == "say <code>keyframe &lt;x&gt;</code> or `y"


def test_each_page_says_that_a_restore_was_interrupted(mongo_uri: str, site: PagesSite) -> None:
    project = site.project()
    scope = Scope.project(project)
    name = site.make(scope)
    person, at = site.person("organiser"), f"/snapshots/project/{project}"
    job = person.post(f"{at}/{name}/preview").headers["Location"]
    plan = next(one for one in (job,) if "plan" in one)
    jobs = site.office.desk.jobs(site.office.login._actor("organiser", "page"), scope)
    urls = [at, f"{at}/{name}", f"{at}/trash", plan, f"/snapshots/jobs/{jobs[0].id}"]
    before = [text_of(person.page(url)) for url in urls]
    order = Order(Action.RESTORE, scope, site.office.login._actor("organiser", "page"), source=scope, snapshot=name)
    for _ in range(5):  # a worker looks every three seconds for what it may finish
        site.office.intents.write(Intent("6" * 24, order, name, "", (), (), {}))
        during = [text_of(person.page(url)) for url in urls]
        if scope in site.office.intents.open():
            break
    site.office.intents.remove(scope)

    assert not any("interrupted" in text for text in before)
    assert all("A restore was interrupted, and nobody can write until it is finished." in text for text in during)


def test_a_restore_that_somebody_is_at_is_not_interrupted(world: World) -> None:
    snapshot = world.make()
    job = world.office.desk.restore(world.ask, PROJECT, snapshot.name)
    claim = world.office.jobs.claim()
    assert claim is not None
    intents: Intents = world.office.intents
    intents.write(Intent(job.id, job.order, snapshot.name, "", (), (), {}))

    at_work = [world.office.desk.scope(world.ask, scope).interrupted for scope in (PROJECT, SITE)]
    world.client[f"{world.db.name}_control"]["locks"].delete_many({})
    alone = [world.office.desk.scope(world.ask, scope).interrupted for scope in (PROJECT, SITE)]

    assert (at_work, alone) == ([False, False], [True, True])
    intents.remove(PROJECT)
    assert not world.office.desk.scope(world.ask, PROJECT).interrupted

"""Headers and labels that somebody edited: refused or passed over one by one, whatever they hold; lists go on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from keyframe.model import Scope
from keyframe.stores.repository import Repository
from keyframe.stores.validator import Validator

GOOD = Path(__file__).parent / "fixtures/good/site"
SITE, NOW = Scope.site(), datetime(2026, 11, 21, 11, tzinfo=UTC)
EDITED, OTHER = "2026-01-01T00-00-00Z", "2026-01-02T00-00-00Z"
LABELS = {"note": "seen", "pinned": False, "restores": [], "deleted_at": None, "deleted_by": ""}
MARK = {
    "job": "j",
    "snapshot": OTHER,
    "snapshot_scope": "site",
    "selection": {"projects": [], "editions": []},
    "people": False,
    "digest": "",
    "at": "2026-01-01T00:00:00Z",
    "state": "done",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Two snapshots of the site, one of them to be edited."""
    found = Repository(tmp_path)
    for name in (EDITED, OTHER):
        shutil.copytree(GOOD, SITE.stored_folder(tmp_path) / name, symlinks=True)
    return found


def edit(repository: Repository, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change the header; returns the folder."""
    folder = repository.folder(SITE, EDITED)
    header = json.loads((folder / "snapshot.json").read_bytes())
    change(header)
    (folder / "snapshot.json").write_text(json.dumps(header))
    return folder


NEVER: dict[str, list[Any]] = {
    "format": [True, 1.5, "1", 0, None],
    "made_at": ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00", 5],
    "made_by": ["\ud800", "\udc80", None, 5],
    "note": ["half of \ud83d", 5, None],
    "title": ["\ude00", ["x"]],
    "reason": ["unknown", "import", [], {}],
    "files": ["5", 1.5, True, -1, 1 << 63],
    "bytes": [-5, 10**30],
    "documents": [None],
    "instant": [
        {},
        {"cluster_time": {"t": "x", "i": 0}, "utc": "2026-01-01T00:00:00Z"},
        {"cluster_time": {"t": 1, "i": 0}, "utc": "0001-01-01T00:00:00+20:00"},
    ],
    "unknown": [{"paths": [5], "collections": []}, {"paths": ["\ud800"], "collections": []}],
    "excluded": [
        {"patterns": {"site": [5], "project": []}, "count": 0, "paths": []},
        {"patterns": {"site": [], "project": ["\udc80"]}, "count": 0, "paths": []},
        {"patterns": {"site": [], "project": []}, "count": -1, "paths": []},
        {"patterns": {"site": [], "project": []}, "count": 0, "paths": [None]},
    ],
    "projects": [
        5,
        {"a": 5},
        {"a": {"files": "x", "documents": 0, "bytes": 0, "title": "", "excluded": 0}},
        {"a": {"files": 0, "documents": 0, "bytes": 0, "title": "\ud800", "excluded": 0}},
        {"a": {"files": 0, "documents": 0, "bytes": 0, "title": ""}},
    ],
    "manifest": [{"bytes": 1, "sha256": "x"}],
    "warnings": [[5]],
    "problems": [[{"code": 5, "what": None, "subject": [], "hint": {}}]],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(key, one) for key, values in NEVER.items() for one in values], ids=repr)
def test_a_header_with_what_cannot_be_is_damaged_in_the_list_as_in_a_verification(
    repository: Repository, field: str, value: Any
) -> None:
    folder = edit(repository, lambda header: header.update({field: value}))

    other, edited = repository.snapshots(SITE)

    assert set(Validator(folder).run(NOW).counts) == {"damaged.header-invalid"}
    assert (edited.status, edited.problems[0].code) == ("damaged", "damaged.header-invalid")
    assert other.status == "done"


@pytest.mark.parametrize("coding", ["utf-16", "utf-8-sig", "utf-32-le"])
def test_a_header_is_utf_8(repository: Repository, coding: str) -> None:
    folder = repository.folder(SITE, EDITED)
    (folder / "snapshot.json").write_bytes((folder / "snapshot.json").read_text("utf-8").encode(coding))

    assert set(Validator(folder).run(NOW).counts) == {"damaged.header-invalid"}
    assert repository.get(SITE, EDITED).problems[0].code == "damaged.header-invalid"


def test_paths_that_are_no_text_stand_in_a_header(repository: Repository) -> None:
    paths = ["a\udc80", "ü"]
    edit(repository, lambda header: header["unknown"].update(paths=paths) or header["excluded"].update(paths=paths))

    found = repository.get(SITE, EDITED)

    assert found.status == "done"
    assert (found.unknown_paths, found.excluded.paths) == (tuple(paths), tuple(paths))


def test_unknown_fields_are_ignored_also_in_the_part_of_a_project(repository: Repository) -> None:
    part = {"files": 1, "documents": 2, "bytes": 3, "title": "A", "excluded": 0, "pages": 4}
    edit(repository, lambda header: header.update(projects={"a": part}, more=[1]))

    found = repository.get(SITE, EDITED)

    assert (found.status, found.projects["a"].documents) == ("done", 2)


NO_LABELS: list[Any] = [
    [],
    {**LABELS, "note": 5},
    {**LABELS, "note": "\ud800"},
    {**LABELS, "pinned": "x"},
    {**LABELS, "deleted_by": None},
    {**LABELS, "deleted_at": 5},
    {**LABELS, "deleted_at": "9999-12-31T23:59:59-23:59"},
    {**LABELS, "restores": [{**MARK, "job": 5}]},
    {**LABELS, "restores": [{**MARK, "people": "x"}]},
    {**LABELS, "restores": [{**MARK, "selection": {"projects": [5], "editions": []}}]},
    {**LABELS, "restores": [{**MARK, "snapshot_scope": "nothing:x"}]},
]


@pytest.mark.parametrize("labels", NO_LABELS, ids=str)
def test_labels_with_what_cannot_be_are_as_none(repository: Repository, labels: Any) -> None:
    folder = repository.folder(SITE, EDITED)
    (folder / "labels.json").write_text(json.dumps(labels))

    found = repository.get(SITE, EDITED)

    assert (found.status, found.note, found.restores) == (
        "done",
        json.loads(GOOD.joinpath("snapshot.json").read_bytes())["note"],
        (),
    )
    assert "noted.labels-invalid" in Validator(folder).run(NOW).counts


def test_labels_are_read(repository: Repository) -> None:
    (repository.folder(SITE, EDITED) / "labels.json").write_text(json.dumps({**LABELS, "restores": [MARK], "more": 1}))

    found = repository.get(SITE, EDITED)

    assert (found.note, found.restores[0].job) == ("seen", "j")

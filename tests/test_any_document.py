"""Documents and names, whatever they are: made up by hypothesis."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson
import bsonjs
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyframe.stores.dump import stem_of
from keyframe.stores.json_lines import lines_of
from structlog.testing import capture_logs
from test_dump import dump, files, older_of
from world import ONE, PROJECT, SITE, World

quick = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(), TEXT, st.binary(min_size=12, max_size=12).map(ObjectId), st.binary(max_size=20),
    st.builds(Binary, st.binary(max_size=9), st.sampled_from([0, 1, 5, 128])),
    st.integers(-62 * 10**9, 253 * 10**9).map(lambda seconds: EPOCH + timedelta(seconds=seconds)),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)), st.just(MinKey()), st.just(MaxKey()),
    st.binary(min_size=16, max_size=16).map(Decimal128.from_bid), TEXT.map(Code),
    st.builds(Regex, st.sampled_from(["a/b", "^x\\.", ""]), st.sampled_from(["", "i", "imx"])),
)  # fmt: skip
KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=9,
)
IDS = st.one_of(SCALARS, st.dictionaries(KEYS, SCALARS, max_size=2)).filter(lambda one: not isinstance(one, Regex))
DOCUMENTS = st.builds(lambda ident, rest: bson.encode({"_id": ident, **rest}), IDS, st.dictionaries(KEYS, VALUES))


@quick
@given(st.lists(DOCUMENTS, max_size=6))
def test_each_line_is_exact_or_is_named(raws: list[bytes]) -> None:
    made = lines_of(b"".join(raws))

    lines = made.text.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == len(raws)
    named = {line for line, _, _ in made.inexact}
    for number, (line, raw) in enumerate(zip(lines, raws, strict=True), 1):
        json.loads(line)
        if number not in named:
            assert bsonjs.loads(line.decode()) == raw


@quick
@given(st.lists(DOCUMENTS, max_size=12), st.data())
def test_any_dump_after_any_other_is_as_one_made_anew(raws: list[bytes], data: Any) -> None:
    first = data.draw(st.lists(st.sampled_from(raws), max_size=12)) if raws else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = dump(folder / "first", first, size=3)
        if before.json_inexact > len(before.json_named):
            return

        after = dump(folder / "second", raws, older_of(folder / "first", before), size=2)

        assert after == dump(folder / "anew", raws, size=5)
        assert files(folder / "second") == files(folder / "anew")
        assert files(folder / "second")[0] == b"".join(raws)


@quick
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), unique=True))
def test_any_name_has_a_file_of_its_own_in_the_folder(names: list[str]) -> None:
    stems = [stem_of(name) for name in names]

    assert len(set(stems)) == len(names)
    for stem in stems:
        path = Path("/top") / f"system.buckets.{stem}.bson"
        assert path.parent == Path("/top")
        assert len(f"{stem}.metadata.json".encode()) <= 255
        assert stem.isascii()


# --- the index on a project's field


@pytest.mark.parametrize("index", [None, "projectId", "partial"])
def test_an_index_on_the_field_of_a_project_is_used_and_a_missing_one_is_named(world: World, index: str | None) -> None:
    world.db.edition.drop_indexes()
    world.db.edition.insert_many([{"projectId": ObjectId(), "title": str(number)} for number in range(3000)])
    if index == "projectId":
        world.db.edition.create_index([("projectId", 1), ("title", 1)])
    elif index == "partial":
        world.db.edition.create_index("projectId", partialFilterExpression={"title": "x"})

    with capture_logs() as logs:
        snapshot = world.make(PROJECT)
        world.make(SITE)

    hints = [one for one in logs if one["event"] == "dump.no-index"]
    assert [one["collection"] for one in hints] == ([] if index == "projectId" else ["edition"])
    assert snapshot.status == "done"
    plan = world.db.command("explain", {"find": "edition", "filter": {"projectId": {"$in": [ONE]}}, "sort": {"_id": 1},
                                        "collation": {"locale": "simple"}}, verbosity="executionStats")  # fmt: skip
    assert (plan["executionStats"]["totalDocsExamined"] < 10) == (index == "projectId")

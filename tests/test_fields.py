"""Field by field, what differs between two documents."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from keyframe.fields import HIDDEN, MOST, fields_of, traits_of
from keyframe.model import ABSENT, Field, Fields

JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=3), inside, max_size=4),
    max_leaves=12,
)


def between(old: Any, new: Any) -> Fields:
    return fields_of(json.dumps(old), json.dumps(new))


def told(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    return [(one.path, one.old, one.new) for one in between(old, new).named]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"title": "A"}, {"title": "B"}, [("title", "A", "B")]),
        ({"a": 1}, {"a": 1, "b": None}, [("b", ABSENT, None)]),
        ({"a": 1, "b": None}, {"a": 1}, [("b", None, ABSENT)]),
        ({"a": {"$numberInt": "1"}}, {"a": {"$numberDouble": "1.0"}},
         [("a", {"$numberInt": "1"}, {"$numberDouble": "1.0"})]),
        ({"a": 1}, {"a": True}, [("a", 1, True)]),
        ({"m": {"authors": [{"name": "x"}, {"name": "y"}]}}, {"m": {"authors": [{"name": "x"}, {"name": "z"}]}},
         [("m.authors[1].name", "y", "z")]),
        ({"a": [1, 2, 3]}, {"a": [2, 3]}, [("a[0]", 1, ABSENT)]),
        ({"a": [1]}, {"a": {"b": 1}}, [("a", [1], {"b": 1})]),
        ({"a.b": 1, "": 2, "c": {"x y": 3}}, {"a.b": 2, "": 3, "c": {"x y": 4}},
         [('["a.b"]', 1, 2), ('[""]', 2, 3), ('c["x y"]', 3, 4)]),
        ({"text": "one\ntwo"}, {"text": "one\nthree"}, [("text", "one\ntwo", "one\nthree")]),
    ],
)  # fmt: skip
def test_each_field_is_named_with_its_old_and_new_value(old: Any, new: Any, expected: list[Any]) -> None:
    assert told(old, new) == expected


@given(JSON, JSON)
def test_fields_are_named_exactly_where_something_differs(old: Any, new: Any) -> None:
    found = between({"same": 1, "a": old}, {"same": 1, "a": new})

    assert bool(found.number) == (json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True))
    assert all(one.path.startswith("a") and one.path != "same" for one in found.named)


@pytest.mark.parametrize("name", ["password", "passwordHash", "reset_token", "clientSecret", "apiKey"])
def test_what_is_secret_is_told_to_differ_and_not_shown(name: str) -> None:
    direct = told({name: "old-one"}, {name: "new-one"})
    inside = told({"sign_in": {name: "old-one"}}, {"sign_in": {name: "new-one"}})
    added = told({}, {"sign_in": {name: "new-one", "by": "mail"}})
    below = told({name: {"salted": "old-one"}}, {name: {"salted": "new-one"}})

    assert direct == [(name, HIDDEN, HIDDEN)]
    assert inside == [(f"sign_in.{name}", HIDDEN, HIDDEN)]
    assert added == [("sign_in", ABSENT, {name: HIDDEN, "by": "mail"})]
    assert below == [(f"{name}.salted", HIDDEN, HIDDEN)]


def test_of_many_fields_the_first_are_named_and_all_are_counted() -> None:
    few = between({f"f{number}": 1 for number in range(60)}, {f"f{number}": 2 for number in range(60)})
    many = between({f"f{number}": 1 for number in range(30_000)}, {f"f{number}": 2 for number in range(30_000)})

    assert (few.number, len(few.named), few.named[0].path) == (60, MOST, "f0")
    assert (many.number, len(many.named), many.named[-1].path) == (30_000, MOST, f"f{MOST - 1}")


def test_long_values_are_cut_and_say_so() -> None:
    (one,) = between({"text": "a" * 10_000}, {"text": "b"}).named

    assert one == Field("text", "a" * 500 + "…", "b", is_cut=True)
    assert one.as_dict() == {"path": "text", "old": "a" * 500 + "…", "new": "b", "cut": True}


def test_large_documents_take_no_long_time() -> None:
    rows = [{"k": str(number), "v": number} for number in range(20_000)]
    deep: dict[str, Any] = {"end": 1}
    for _ in range(95):
        deep = {"d": [deep]}
    began = time.process_time()

    long = between({"rows": rows}, {"rows": [{**one, "v": 0} for one in rows]})
    wide = between({"a": {str(n): [n] for n in range(9_000)}}, {"a": {str(n): [n, n] for n in range(9_000)}})
    down = between({"a": deep}, {"a": {"d": deep}})

    assert [one.path for one in (*long.named, *wide.named)] == ["rows", "a"]
    assert down.number >= 1
    assert time.process_time() - began < 3


def test_traits_are_compared_as_whole_values() -> None:
    found = traits_of({"size": 1, "mode": "0644", "target": "a"}, {"size": 2, "mode": "0644"})

    assert [(one.path, one.old, one.new) for one in found.named] == [("size", 1, 2), ("target", "a", ABSENT)]

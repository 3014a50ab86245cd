"""Dublin Core metadata as a form shows it, and what a form that came back changes of it.

Rules:

- Only texts and lists of texts are shown; what is nested (coverage, rights) stays as it is.
- What came back as it was shown is no change, so that looking at a form and saving it writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST_TITLE = 200
_LONGEST_TEXT = 100_000


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the form: its name in `dc`, its label, and how it is typed: `line`, `text`, or `list` (one a line)."""

    name: str
    label: str
    kind: str
    rows: int = 1


FIELDS = (
    Field("abstract", "Abstract", "text", 3),
    Field("description", "Description", "text", 6),
    Field("creator", "Creators, one a line", "list", 2),
    Field("subject", "Subjects, one a line", "list", 2),
    Field("provenance", "Provenance", "text", 2),
)


@dataclass(frozen=True, slots=True)
class FormField:
    """A field with the text that stands in it."""

    field: Field
    text: str


def form_fields(dc: Mapping[str, Any]) -> tuple[FormField, ...]:
    """The fields of `FIELDS` that can be shown as text, with what is in them now."""
    return tuple(FormField(one, _shown(dc.get(one.name))) for one in FIELDS if _is_text(dc.get(one.name)))


def title_of(form: Mapping[str, str]) -> tuple[str, str]:
    """The title in a form, and what is wrong with it (empty: nothing)."""
    title = " ".join(form.get("title", "").split())
    if not title:
        return title, "The title is empty."
    if len(title) > _LONGEST_TITLE:
        return title, f"The title has {len(title)} characters; at most {_LONGEST_TITLE} are kept."
    return title, ""


def too_long(form: Mapping[str, str]) -> str:
    """What is wrong with the texts of a form (empty: nothing)."""
    for field in FIELDS:
        size = len(form.get(field.name, ""))
        if size > _LONGEST_TEXT:
            return f"{field.label.partition(',')[0]} has {size} characters; at most {_LONGEST_TEXT} are kept."
    return ""


def changes(title: str, dc: Mapping[str, Any], form: Mapping[str, str]) -> dict[str, Any]:
    """What the form changes of a record, as field -> new value; None: the field goes.

    `title` is the record's title now; a new one is written both as the record's and as the metadata's title.
    """
    new_title, _ = title_of(form)
    changed: dict[str, Any] = {}
    if new_title != title:
        changed |= {"title": new_title, "dc.title": new_title}
    for one in form_fields(dc):
        name = one.field.name
        if name not in form:
            continue
        text = _plain(form[name])
        if text == _plain(one.text):
            continue
        as_list = one.field.kind == "list"
        value: Any = [line.strip() for line in text.split("\n") if line.strip()] if as_list else text
        changed[f"dc.{name}"] = value or None
    return changed


def shown_metadata(dc: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Everything in `dc` but the title, for reading: a label and its values."""
    for name, value in dc.items():
        values = tuple(_values(value))
        if name != "title" and values:
            yield _label(name), values


def paragraphs(text: Any) -> tuple[str, ...]:
    """A text of metadata as paragraphs; anything else as none."""
    blocks = _plain(text).split("\n\n") if isinstance(text, str) else []
    return tuple(" ".join(block.split()) for block in blocks if block.strip())


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from (f"{_label(name)}: {text}" for text in _values(one))
    elif isinstance(value, list):
        for one in value:
            yield from _values(one)
    elif value is not None and str(value).strip():
        yield from paragraphs(str(value))


def _label(name: str) -> str:
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name)
    return spaced[:1].upper() + spaced[1:]


def _is_text(value: Any) -> bool:
    return (
        value is None or isinstance(value, str) or (isinstance(value, list) and all(type(one) is str for one in value))
    )


def _shown(value: Any) -> str:
    return "\n".join(value) if isinstance(value, list) else value or ""


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n").strip()

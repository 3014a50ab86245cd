"""The shapes of what the REST API is asked: bodies and queries, which are checked by them.

Unknown keys are refused; every mistake of a request is reported at once.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

from ..model import CONFIRMABLE
from .api_selection import SelectionSchema, Strict

NOTE_LENGTH = 500
PAGE_SIZE = 50
LARGEST_PAGE = 200


class Text(fields.String):
    """A text without control characters, line separators and lone surrogates."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in text):
            raise ValidationError("Must not hold control characters.")
        return text


class Truth(fields.Boolean):
    """true or false; not the words that could mean it."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


# --- what comes in


class NothingSchema(Strict):
    """An empty body, or none."""


class MakeSchema(Strict):
    """`confirm` says of problems that would make the snapshot partial that they are right."""

    note = Text(load_default="", validate=validate.Length(max=NOTE_LENGTH))
    confirm = fields.List(
        fields.String(
            validate=validate.OneOf(CONFIRMABLE, error="Cannot be confirmed; what can be: {choices}."),
            metadata={"description": "shrunk: that most files or records are gone"},
        ),
        load_default=list,
        validate=validate.Length(max=len(CONFIRMABLE)),
    )


class NoteSchema(Strict):
    note = Text(required=True, validate=validate.Length(max=NOTE_LENGTH))


class PreviewSchema(Strict):
    """Without `people` they stay as they are, but where there are none at all; `only_intact` leaves out what is damaged
    in the snapshot."""

    selection = fields.Nested(SelectionSchema, load_default=dict, allow_none=True)
    people = Truth(load_default=None, allow_none=True)
    only_intact = Truth(load_default=False)


class AgreedSchema(Strict):
    """What an undo may be given: the plan that was agreed to, and more. Without a plan, whatever it comes to is.

    `confirm` gives back what a refused one named: the gaps of its safety snapshot do not matter.
    """

    plan = Text(load_default="", allow_none=True, validate=validate.Length(max=NOTE_LENGTH))
    accept = fields.String(
        load_default=None,
        allow_none=True,
        validate=validate.OneOf(("newer",)),
        metadata={"description": "newer: what changes until it begins is agreed to as well"},
    )
    confirm = Text(load_default="", allow_none=True, validate=validate.Length(max=NOTE_LENGTH))


class RestoreSchema(AgreedSchema):
    """Without `selection` and `people` those of the plan count; without a plan, as in a preview."""

    selection = fields.Nested(SelectionSchema, load_default=None, allow_none=True)
    people = Truth(load_default=None, allow_none=True)
    only_intact = Truth(load_default=False)


class CopySchema(Strict):
    """At least one of `into` and `database`; neither may be there yet."""

    into = Text(
        load_default="",
        validate=validate.Length(max=NOTE_LENGTH),
        metadata={"description": "the name of a new folder below the setting restore.beside, for the files"},
    )
    database = Text(
        load_default="",
        validate=validate.Length(max=63),
        metadata={"description": "the name of a new database on the server, for the records"},
    )
    selection = fields.Nested(SelectionSchema, load_default=dict, allow_none=True)


class DuplicateSchema(Strict):
    """Of a snapshot of the site, `selection` names the one project that is meant."""

    new_id = fields.String(
        load_default="",
        validate=validate.Length(max=100),
        metadata={"description": "the id that the new project shall have; without it one is chosen"},
    )
    selection = fields.Nested(SelectionSchema, load_default=dict, allow_none=True)


class VerifySchema(Strict):
    """Without `quick` every byte is read; with it, names and sizes are compared."""

    quick = Truth(load_default=False)


class PageQuery(Strict):
    cursor = Text(load_default="", validate=validate.Length(max=NOTE_LENGTH))
    limit = fields.Integer(load_default=PAGE_SIZE, validate=validate.Range(1, LARGEST_PAGE))


class SnapshotsQuery(PageQuery):
    trash = fields.Boolean(load_default=False, truthy={"true", "1"}, falsy={"false", "0"})


class PlanQuery(PageQuery):
    """With `fields`, each item that is replaced says in which fields it differs."""

    fields = fields.Boolean(  # type: ignore[assignment]  # the name counts inside of this class only
        load_default=False, truthy={"true", "1"}, falsy={"false", "0"}
    )

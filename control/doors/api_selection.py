"""The shape of a selection in the REST API: what comes in with previews and restores, and goes out with plans.

Rule: what is checked are the nouns' own rules (`model/selections.py`), each field with its own mistake.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from ..model import Selection, is_id, path_of_base64, require_collection, require_path
from ..stores.idents import canonical_of

MOST_IDS = 10_000


def _known_id(text: str) -> None:
    if not is_id(text):
        raise ValidationError("Not an id of a project or edition.")


class Strict(Schema):
    class Meta:
        unknown = RAISE


def _ids() -> fields.List[str]:
    return fields.List(fields.String(validate=_known_id), validate=validate.Length(max=MOST_IDS))


class Checked(fields.String):
    """A text that one of the nouns' own checks lets through."""

    def __init__(self, checked: Callable[[str], object], **more: Any) -> None:
        super().__init__(**more)
        self._checked = checked

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs))
        try:
            self._checked(text)
        except UnicodeError as error:
            raise ValidationError("Holds half of a character.") from error
        except ValueError as error:
            raise ValidationError(f"{error}.") from error
        return text


class Ident(fields.Raw):
    """The id of a record, as text or as a value in extended JSON; it comes out as canonical extended JSON."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        try:
            return canonical_of(value if isinstance(value, str) else json.dumps(value))
        except ValueError as error:
            raise ValidationError("Not the id of a record.") from error


class RecordSchema(Strict):
    collection = Checked(require_collection, required=True)
    id = Ident(
        required=True,
        metadata={
            "type": "string",
            "description": "extended JSON, as text or as it is; or what pages show: the digits of an ObjectId, a text",
        },
    )


def _several(field: fields.Field[Any], words: str) -> fields.List[Any]:
    return fields.List(field, validate=validate.Length(max=MOST_IDS), metadata={"description": words})


class SelectionSchema(Strict):
    """What of a snapshot is meant; empty means all of it.

    Who names paths means these files and no records; who names collections or records means these and no files.
    """

    projects = _ids()
    editions = _ids()
    paths = _several(Checked(require_path), "below the folder of the scope, each with all that is in it")
    paths_b64 = _several(Checked(path_of_base64), "those that are no UTF-8, in base64; left out where there are none")
    collections = _several(Checked(require_collection), "all of their records that belong to the scope")
    records = _several(fields.Nested(RecordSchema), "single records")
    only = fields.String(  # type: ignore[assignment]  # marshmallow takes fields out of the class
        validate=validate.OneOf(("", "files", "records"), error="Must be files or records."),
        metadata={"description": "files or records; empty: both"},
    )

    @validates_schema
    def _means_something(self, given: dict[str, Any], **_: Any) -> None:
        try:
            selection_of(given)
        except ValueError as error:
            raise ValidationError(f"{error}.") from error


def selection_of(given: Mapping[str, Any]) -> Selection:
    """The noun for what `SelectionSchema` let through."""
    return Selection.from_dict(given)

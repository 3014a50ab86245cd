"""What of a snapshot a form chooses: ids by checkbox or in a line of text; paths, collections and records one a line.

>>> selection_of_form(MultiDict({"paths": "edition/1\r\nedition/2/a.txt"})).paths
('edition/1', 'edition/2/a.txt')
"""

from __future__ import annotations

from werkzeug.datastructures import MultiDict

from ..errors import InvalidError
from ..model import Selection, record_of_name, tidy_path
from ..stores.idents import canonical_of


def selection_of_form(form: MultiDict[str, str]) -> Selection:
    """The selection of a form's fields, all of which may be missing; InvalidError for what cannot be."""

    def words(field: str) -> tuple[str, ...]:
        return tuple(" ".join(form.getlist(field)).replace(",", " ").split())

    def lines(field: str) -> list[str]:
        found = (line.strip() for text in form.getlist(field) for line in text.splitlines())
        return [line for line in found if line]

    try:
        Selection(words("projects"), words("editions"))
    except ValueError as error:
        raise InvalidError("What was chosen is not the id of a project or edition.", hint="Choose again.") from error
    try:
        return Selection(
            words("projects"),
            words("editions"),
            tuple(map(tidy_path, lines("paths"))),
            tuple(lines("collections")),
            tuple(map(_record, lines("records"))),
            form.get("only", ""),
        )
    except ValueError as error:
        what = str(error) if not isinstance(error, UnicodeError) else "that is no text"
        hint = "Go back and write it as the list of the plan does; nothing was changed."
        raise InvalidError(f"What was chosen cannot be: {what.replace('`', '')}.", hint=hint) from error


def _record(line: str) -> tuple[str, str]:
    collection, ident = record_of_name(line)
    return collection, canonical_of(ident)

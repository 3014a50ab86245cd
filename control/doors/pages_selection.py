"""What of a snapshot a form chooses: ids by checkbox or in a line of text; paths, collections and records one a line.

Rule: what a page writes into a form, or into the command beside it, is read back as the very same selection.

>>> selection_of_form(MultiDict({"paths": "edition/1\r\nedition/2/a.txt"})).paths
('edition/1', 'edition/2/a.txt')
"""

from __future__ import annotations

import shlex

from werkzeug.datastructures import MultiDict

from ..errors import InvalidError
from ..model import Selection, name_of, record_of_name, spelled, tidy_path
from ..stores.idents import canonical_of, shown_record


def selection_of_form(form: MultiDict[str, str]) -> Selection:
    """The selection of a form's fields, all of which may be missing; InvalidError for what cannot be."""

    def words(field: str) -> tuple[str, ...]:
        return tuple(" ".join(form.getlist(field)).replace(",", " ").split())

    def lines(field: str) -> list[str]:
        found = (line.strip() for text in form.getlist(field) for line in text.splitlines())
        return [name_of(line) for line in found if line]

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


def fields_of(selection: Selection) -> dict[str, tuple[str, ...]]:
    """The fields of a form that mean a selection, but for `only`; the way back of `selection_of_form`."""
    return {
        "projects": selection.projects,
        "editions": selection.editions,
        "paths": tuple(map(spelled, selection.paths)),
        "collections": tuple(map(spelled, selection.collections)),
        "records": tuple(shown_record(*one) for one in selection.records),
    }


def options_of(selection: Selection) -> str:
    """The options of the command line for a selection, as a shell takes them."""
    options = ("--only-project", "--edition", "--path", "--collection", "--record")
    words = [
        f"{option} {shlex.quote(one)}"
        for option, values in zip(options, fields_of(selection).values(), strict=True)
        for one in values
    ]
    return " ".join(words + ([f"--{selection.only}-only"] if selection.only else []))


def _record(line: str) -> tuple[str, str]:
    collection, ident = record_of_name(line)
    return collection, canonical_of(ident)

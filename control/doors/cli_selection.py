"""The options of `preview` and `restore` that say what of a snapshot is meant.

>>> keyframe preview --site latest --path about.txt --record site/1      # doctest: +SKIP
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypedDict, TypeVar, Unpack

import click

from ..errors import InvalidError
from ..model import Scope, Selection, name_of, record_of_name, require_collection, require_path, tidy_path

_Command = TypeVar("_Command", bound=Callable[..., Any])


class _Given(TypedDict):
    """What the options hold."""

    projects: tuple[str, ...]
    editions: tuple[str, ...]
    paths: tuple[str, ...]
    collections: tuple[str, ...]
    records: tuple[str, ...]
    files_only: bool
    records_only: bool


def selecting(command: _Command) -> _Command:
    """Gives a command `selection`, `people` and `only_intact`; needs its `scope`."""

    @functools.wraps(command)
    def checked(*args: Any, scope: Scope, people: bool, **given: Any) -> Any:
        options = _Given(**{key: given.pop(key) for key in _Given.__annotations__})  # type: ignore[typeddict-item]
        selection = _selection(scope, people, **options)
        return command(*args, scope=scope, selection=selection, people=people, **given)

    for option in (
        click.option("--only-intact", is_flag=True, help="Leave out what is damaged in the snapshot."),
        click.option("--people", is_flag=True, help="People and their roles too (site only, root only)."),
        click.option("--records-only", is_flag=True, help="No files."),
        click.option("--files-only", is_flag=True, help="No records."),
        click.option(
            "--record",
            "records",
            multiple=True,
            metavar="COLLECTION/ID",
            help="Only this record, as pages show it, or ID as extended JSON. May be repeated.",
        ),
        click.option(
            "--collection", "collections", multiple=True, metavar="C", help="Only this collection; may be repeated."
        ),
        click.option(
            "--path",
            "paths",
            multiple=True,
            metavar="P",
            help="Only this file or folder, relative to that of the scope; may be repeated.",
        ),
        click.option("--edition", "editions", multiple=True, metavar="ID", help="Only this edition; may be repeated."),
        click.option(
            "--only-project", "projects", multiple=True, metavar="ID", help="Only this project of a site snapshot."
        ),
    ):
        checked = option(checked)
    return checked  # type: ignore[return-value]  # what click calls is the same but for its options


def _selection(scope: Scope, people: bool, **given: Unpack[_Given]) -> Selection:
    """What the options select; what makes no sense together is said of the options."""
    paths = tuple(_path(one) for one in given["paths"])
    records = tuple(_record(one) for one in given["records"])
    collections = tuple(map(name_of, given["collections"]))
    for name in collections:
        _require(require_collection, name, "--collection")
    if given["files_only"] and (given["records_only"] or collections or records):
        raise _wrong("leaves nothing.", "--files-only", "Leave it out, or what names records.")
    if given["records_only"] and paths:
        raise _wrong("leaves nothing.", "--records-only", "Leave it out, or --path.")
    only = "files" if given["files_only"] else "records" if given["records_only"] else ""
    try:
        selection = Selection(given["projects"], given["editions"], paths, collections, records, only)
    except ValueError as error:
        raise _wrong(
            "found what cannot be an id.", "--edition or --only-project", "Give ids as the pages show."
        ) from error
    if scope.project_id is not None and set(selection.projects) - {scope.project_id}:
        raise _wrong("names another project than --project.", "--only-project", "Leave --only-project out.")
    if scope.is_site and selection.editions and len(selection.projects) != 1:
        raise _wrong("needs its project.", "--edition", "Name exactly one with --only-project, or use --project.")
    if people and (scope.project_id is not None or not selection.is_empty):
        raise _wrong(
            "means the people of the whole site.", "--people", "Leave it out, or use --site without a selection."
        )
    return selection


def _path(text: str) -> str:
    path = tidy_path(name_of(text))
    _require(require_path, path, "--path")
    return path


def _record(text: str) -> tuple[str, str]:
    """`COLLECTION/ID` as a selection has it."""
    try:
        collection, ident = record_of_name(name_of(text))
    except ValueError as error:
        what = "needs a collection and an id, with %2F for a slash in the collection's name and %25 for a percent sign."
        raise _wrong(what, "--record", "Give it as COLLECTION/ID, as in edition/roses.") from error
    _require(require_collection, collection, "--record")
    from ..stores.idents import canonical_of  # it knows bson, which most calls do without

    try:
        return collection, canonical_of(ident)
    except ValueError as error:
        raise _wrong("found what cannot be an id.", "--record", "Give it as pages show it, or as extended JSON.") from (
            error
        )


def _require(check: Callable[[str], object], text: str, option: str) -> None:
    try:
        check(text)
    except ValueError as error:
        what = "that it is no text" if isinstance(error, UnicodeError) else f"what is {error}"
        raise _wrong(f"found {what}.".replace("`", "'"), option, "Give it as the pages show.") from error


def _wrong(what: str, option: str, hint: str) -> InvalidError:
    return InvalidError(what, subject=option, hint=f"{hint} Nothing was changed.")

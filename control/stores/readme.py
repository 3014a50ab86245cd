"""README.txt of a snapshot: how a stranger checks it and brings it back without Keyframe."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .sums import LONGEST_PATH

_HEAD = """\
A snapshot of {scope}
made {made_at} (UTC) by {made_by}, format {format}

It holds {files} files and {documents} database documents as they were at one instant.{partial}

What is in this folder
----------------------
files/              the files, as they were: `cp -a` brings them back
db/bson/            the documents as mongorestore reads them, with options and indexes of each collection
db/json/            the same documents as extended JSON, a line each, to read and to search (unless switched off)
snapshot.json       what this snapshot is; counts, instant, problems
manifest.jsonl      a line for each file, directory, link and collection
manifest-sha256.txt checksums of all of this
labels.json         notes that may have changed since; not covered by the checksums

It does not hold: the program's code, its settings and secrets, and collections that are nobody's content: {left_out}.
{excluded}
To check it
-----------
Go into this folder, then:

    sha256sum --quiet -c manifest-sha256.txt

No output means that every byte is as it was written{but}. Files and folders that somebody added are
found by Keyframe only, which needs no settings and no database for it:

    keyframe verify .

"""

_UNSUMMED = """\
Paths that are too long
-----------------------
No program can open a path of more than {longest} bytes as a whole: sha256sum does not check such a file, and cp does
not copy it. Keyframe checks and restores all of them. By hand, go down to it a few folders at a time (`cd`), compare
what `sha256sum` says of it with its digest, and copy it to a place that was made in the same way. Here that is needed
for {number}:

{names}

"""

_NAMED = 10
_SPECIAL = "\\'\"$`!"  # to the shell, or in JavaScript

# The commands are those of docs/restore-by-hand.md, line by line: tests hold the one against the other, and run them.
_NAMES = """\
Stop the application and Keyframe's worker. Go into this folder, and set these to your own:

    SNAPSHOT=$PWD
    DATA=/path/to/data_dir
    WORKING=/path/to/working_dir
    export MONGO_URI="mongodb://127.0.0.1:27017/?replicaSet=rs0"
    DATABASE={database}
{project}    KEPT=/path/to/kept    # for what is there now; on a disk with room

Look whether a restore was interrupted:

    ls "$DATA/.keyframe/intents"

A file there means that the next start of the worker finishes that restore: start it, and you may be done. If you
restore by hand instead, move the file away first, or the worker changes what you have brought back. No file, or no
such folder: none was interrupted.

Keep what is there now; where the database is gone already, leave the second command out:

    mkdir -p "$KEPT"
    mongodump --uri "$MONGO_URI" --db "$DATABASE" --out "$KEPT/db"

Then the files:

"""

_SITE = """\
To bring back the whole site by hand
------------------------------------
{names}\
    cp -a --no-preserve=links "$SNAPSHOT/files" "$WORKING.new"
    if [ -e "$WORKING" ]; then mv "$WORKING" "$KEPT/working"; fi
    mv "$WORKING.new" "$WORKING"

Then the documents:

    mongorestore --uri "$MONGO_URI" --db "$DATABASE" --drop --bypassDocumentValidation --maintainInsertionOrder \
"$SNAPSHOT/db/bson"

`--drop` replaces each collection that is in this snapshot, people included; collections that are not in it stay.
"""

_PROJECT = """\
To bring back this project by hand
----------------------------------
{names}\
    mkdir -p "$WORKING/project"
    cp -a --no-preserve=links "$SNAPSHOT/files" "$WORKING/project/$PROJECT.new"
    if [ -e "$WORKING/project/$PROJECT" ]; then mv "$WORKING/project/$PROJECT" "$KEPT/project"; fi
    mv "$WORKING/project/$PROJECT.new" "$WORKING/project/$PROJECT"

The collections are shared with other projects: remove this project's documents first, then add those of the snapshot.

    mongosh "$MONGO_URI" --quiet --eval "
      const db_ = db.getSiblingDB('$DATABASE');
{commands}
    "
    mongorestore --uri "$MONGO_URI" --db "$DATABASE" --bypassDocumentValidation "$SNAPSHOT/db/bson"

mongorestore adds documents and leaves those of other projects alone.
"""


@dataclass(slots=True)
class Unsummed:
    """The files that manifest-sha256.txt leaves out, since sha256sum could not open them; the first ones by name."""

    number: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, name: bytes, sha256: str) -> None:
        self.number += 1
        if self.number <= _NAMED:
            # Both ends of a name tell more than 4,096 bytes of it; line feeds would look like commands.
            text = _printable(name.decode("utf-8", "replace"))
            self.names.append(f"{text[:100]} ... {text[-100:]}\n  SHA-256 {sha256}")


def readme_text(header: Mapping[str, Any], unsummed: Unsummed | None = None) -> str:
    """The text for the snapshot with this `snapshot.json`."""
    left = unsummed if unsummed is not None and unsummed.number else None
    project_id = header["scope"]["project_id"]
    problems = header["problems"]
    head = _HEAD.format(
        scope="the whole site" if project_id is None else f"project {project_id}",
        made_at=header["made_at"],
        made_by=header["made_by"],
        format=header["format"],
        files=header["files"],
        documents=header["documents"],
        partial=f"\nIt is PARTIAL: {_problems(len(problems))} named in snapshot.json." if problems else "",
        left_out=", ".join(header["left_out"]["collections"]) or "none",
        excluded=_excluded_text(header["excluded"], is_site=project_id is None),
        but=", but for the files that are named below" if left else "",
    )
    if left:
        more = [f"... and {left.number - _NAMED} more; manifest.jsonl has all of them"] if left.number > _NAMED else []
        head += _UNSUMMED.format(number=left.number, longest=LONGEST_PATH, names="\n".join([*left.names, *more]))
    project = "" if project_id is None else f"    PROJECT={project_id}\n"
    names = _NAMES.format(database=header["database"], project=project)
    if project_id is None:
        return head + _SITE.format(names=names)
    commands = "\n".join(
        f"      db_.getCollection({_quoted(name)}).deleteMany({{{_quoted(field)}: {_shell_id(header)}}});"
        for name, field in header["project_fields"].items()
    )
    return head + _PROJECT.format(names=names, commands=commands)


def _quoted(text: str) -> str:
    """A text for JavaScript that stands between the double quotes of a shell."""
    return f"'{''.join(char if char.isprintable() and char not in _SPECIAL else _escaped(char) for char in text)}'"


def _escaped(char: str) -> str:
    raw = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{raw[at : at + 2].hex()}" for at in range(0, len(raw), 2))


def _excluded_text(excluded: Mapping[str, Any], *, is_site: bool) -> str:
    """What was left out, and by which patterns; empty where no pattern was set."""
    patterns = excluded["patterns"]
    places = [("in the folder of a project" if is_site else "", patterns["project"])]
    if is_site:
        places.append(("anywhere else", patterns["site"]))
    named = [
        textwrap.fill(
            _printable(f"{place}: {', '.join(chosen)}" if place else ", ".join(chosen)),
            112,
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for place, chosen in places
        if chosen
    ]
    if not named:
        return ""
    count = excluded["count"]
    left = "Nothing like that was there." if not count else f"{count} files and folders were left out:"
    first = [f"    {_printable(path)}" for path in excluded["paths"]]
    more = [f"    and {count - len(first)} more"] if count > len(first) else []
    lines = [
        "Nor files that these patterns name, as in .gitignore (setting files.exclude):",
        *named,
        left,
        *first,
        *more,
    ]
    return "\n".join(lines) + "\n"


def _printable(text: str) -> str:
    """On one line, whatever a name holds: a line feed in it would look like a line of ours."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _shell_id(header: Mapping[str, Any]) -> str:
    kind = header["project_id_kind"]
    if kind == "objectid":
        return "ObjectId('$PROJECT')"
    return "$PROJECT" if kind == "int" else "'$PROJECT'"


def _problems(count: int) -> str:
    return "1 problem is" if count == 1 else f"{count} problems are"

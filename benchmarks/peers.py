"""What a user would pick instead: shell commands for files, a straightforward pymongo program for records.

Rules: nothing here is slower than it must be, and nothing is ours.

>>> copy_first(live, target)[:2]            # doctest: +SKIP
['bash', '-c']

As a program it works on a database: `python peers.py dump|read|bson|insert URI DATABASE [FOLDER]`.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path

import bson
from bson import json_util
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

_BATCH = 1000  # documents an insertion

FIRST = (
    'set -e; cp -a "$1" "$2"; sync -f "$2"; cd "$2"; '
    'find . -type f -print0 | xargs -0 -P 2 -n 500 sha256sum > "$2.sums"'
)
CHANGED = (
    'set -e; cp -al "$2" "$3"; rsync -a --delete --out-format=%n "$1/" "$3/" > "$3.changed"; cd "$3"; '
    'grep -v "^deleting " "$3.changed" | grep -v "/$" | tr "\\n" "\\0" | xargs -0 -r -P 2 -n 500 sha256sum > "$3.sums"'
)


def copy_first(live: Path, target: Path) -> list[str]:
    """`cp -a`, `sync -f`, then `sha256sum` of all in 2 processes."""
    return ["bash", "-c", FIRST, "peer", str(live), str(target)]


def copy_changed(live: Path, older: Path, target: Path) -> list[str]:
    """`cp -al`, then `rsync -a --delete`, then `sha256sum` of what changed."""
    return ["bash", "-c", CHANGED, "peer", str(live), str(older), str(target)]


def dump_straight(uri: str, database: str, target: Path) -> list[str]:
    """Both BSON and JSON of every collection, with pymongo's own means."""
    return [sys.executable, __file__, "dump", uri, database, str(target)]


def dump_tools(uri: str, database: str, collections: list[str], target: Path) -> list[str]:
    """`mongodump`, then `mongoexport` of each collection; empty where they are not on the PATH."""
    if not (shutil.which("mongodump") and shutil.which("mongoexport")):
        return []
    script = 'set -e; mongodump --quiet --uri="$1" --db="$2" --out="$3"; u="$1"; d="$2"; t="$3"; shift 3; '
    script += 'for c in "$@"; do mongoexport --quiet --uri="$u" --db="$d" --collection="$c" --out="$t/$c.json"; done'
    return ["bash", "-c", script, "peer", uri, database, str(target), *collections]


def look_at_files(stored: Path, live: Path) -> list[str]:
    """What `rsync` would change of the live files to have them as they are stored; it goes by size and time."""
    return ["bash", "-c", 'rsync -ani --delete "$1/" "$2/" > /dev/null', "peer", str(stored), str(live)]


def read_records(uri: str, database: str) -> list[str]:
    """Every collection of a database once, in raw batches, which are thrown away."""
    return [sys.executable, __file__, "read", uri, database]


def copy_plainly(live: Path, target: Path) -> list[str]:
    """`cp -a`."""
    return ["cp", "-a", str(live), str(target)]


def dump_bson(uri: str, database: str, target: Path) -> list[str]:
    """Each collection as BSON, its indexes beside it."""
    return [sys.executable, __file__, "bson", uri, database, str(target)]


def restore(uri: str, database: str, copies: Path, live: Path) -> list[str]:
    """`rsync -a --delete`, then each collection dropped and inserted anew in raw batches, then its indexes."""
    script = 'set -e; rsync -a --delete "$1/files/" "$2/"; "$3" "$4" insert "$5" "$6" "$1/records"'
    return ["bash", "-c", script, "peer", str(copies), str(live), sys.executable, __file__, uri, database]


def rebuild(uri: str, database: str, copies: Path, live: Path) -> list[str]:
    """`cp -a`, then each collection inserted in raw batches, then its indexes."""
    script = 'set -e; cp -a "$1/files" "$2"; "$3" "$4" insert "$5" "$6" "$1/records"'
    return ["bash", "-c", script, "peer", str(copies), str(live), sys.executable, __file__, uri, database]


def read(uri: str, name: str) -> None:
    """Read a database."""
    client: MongoClient[dict[str, object]] = MongoClient(uri)
    with client:
        for collection in sorted(client[name].list_collection_names()):
            for _ in client[name][collection].find_raw_batches(sort=[("_id", 1)]):
                pass


def keep(uri: str, name: str, folder: Path) -> None:
    """Write a database as BSON."""
    folder.mkdir(parents=True)
    with MongoClient[dict[str, object]](uri) as client:
        for collection in sorted(client[name].list_collection_names()):
            with (folder / f"{collection}.bson").open("wb") as raw:
                raw.writelines(client[name][collection].find_raw_batches(sort=[("_id", 1)]))
            indexes = [one for one in client[name][collection].list_indexes() if one["name"] != "_id_"]
            (folder / f"{collection}.indexes").write_text(json_util.dumps(indexes))


def insert(uri: str, name: str, folder: Path) -> None:
    """Drop and insert each collection of a folder, as fast as pymongo can: nothing is decoded."""
    raw = CodecOptions(document_class=RawBSONDocument)
    with MongoClient[dict[str, object]](uri) as client:
        for path in sorted(folder.glob("*.bson")):
            collection = client[name].get_collection(path.stem, codec_options=raw)  # type: ignore[var-annotated]
            collection.drop()
            with path.open("rb") as file:
                rows = bson.decode_file_iter(file, raw)
                while batch := list(itertools.islice(rows, _BATCH)):
                    collection.insert_many(batch, ordered=False)
            indexes = json_util.loads(path.with_suffix(".indexes").read_text())
            if indexes:
                client[name].command("createIndexes", path.stem, indexes=indexes)


def dump(uri: str, name: str, folder: Path) -> None:
    """Find, encode, json_util."""
    folder.mkdir(parents=True)
    client: MongoClient[dict[str, object]] = MongoClient(uri)
    with client:
        for collection in sorted(client[name].list_collection_names()):
            with (folder / f"{collection}.bson").open("wb") as raw, (folder / f"{collection}.json").open("w") as text:
                for document in client[name][collection].find().sort("_id", 1):
                    raw.write(bson.encode(document))
                    text.write(json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS) + "\n")


def main() -> None:
    """Do what the first word says."""
    what, uri, name, *more = sys.argv[1:]
    if what == "read":
        read(uri, name)
        return
    {"dump": dump, "bson": keep, "insert": insert}[what](uri, name, Path(more[0]))


if __name__ == "__main__":
    main()

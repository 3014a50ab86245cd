"""Judging snapshots and databases past the product: as a stranger with coreutils would."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from keyframe.model import Snapshot
from pymongo.database import Database

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


def require_whole(folder: Path, snapshot: Snapshot) -> None:
    """The sums are right, nothing is missing, left over or miscounted."""
    sums = ["sha256sum", "--quiet", "--strict", "-c", "manifest-sha256.txt"]
    checked = subprocess.run(sums, cwd=folder, capture_output=True)
    assert (checked.returncode, checked.stdout) == (0, b""), checked.stderr
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]
    paths = [line for line in lines if "type" in line and "collection" not in line]
    collections = [line for line in lines if "collection" in line]
    stored = [name for _, folders, names in os.walk(os.fsencode(folder / "files")) for name in [*folders, *names]]
    stems = {one["stem"]: _dump_stem(one) for one in collections}
    dumps = {f"{stem}.bson" for stem in stems.values()} | {f"{stem}.metadata.json" for stem in stems}
    assert len(paths) - (paths[:1] != [] and paths[0].get("path") == ".") == len(stored)
    assert {one.name for one in (folder / "db/bson").iterdir()} == dumps
    is_safety = snapshot.reason.value == "safety"  # where there is little room, it has no JSON of what is new
    told = [one for one in collections if one["json_sha256"] or not is_safety]
    assert {one.name for one in (folder / "db/json").iterdir()} == {f"{stems[one['stem']]}.json" for one in told}
    for one in told:
        assert (folder / "db/json" / f"{stems[one['stem']]}.json").read_bytes().count(b"\n") == one["documents"]
    assert snapshot.files == sum(line["type"] != "directory" for line in paths)
    assert snapshot.documents == sum(one["documents"] for one in collections)
    sums_lines = (folder / "manifest-sha256.txt").read_bytes().count(b"\n")
    assert sums_lines == sum(line["type"] == "file" for line in paths) + 2 * len(collections) + len(told) + 3


def _dump_stem(line: dict[str, Any]) -> str:
    """As docs/snapshot-format.md says it."""
    if line["type"] != "timeseries":
        return str(line["stem"])
    stem = f"system.buckets.{line['stem']}"
    if len(stem) <= 238:
        return stem
    digest = hashlib.sha1(f"system.buckets.{line['collection']}".encode()).digest()
    return f"{stem[:208]}%24{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def documents(database: Database[Any], collection: str) -> list[bytes]:
    """The documents of a collection as the server has them, sorted by their bytes; nothing is decoded."""
    found = database.get_collection(collection, codec_options=RAW).find()
    return sorted(bytes(one.raw) for one in found)


def put(database: Database[Any], collection: str, *raws: bytes) -> None:
    """Insert documents byte for byte."""
    database.get_collection(collection, codec_options=RAW).insert_many([RawBSONDocument(raw) for raw in raws])

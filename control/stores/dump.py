"""The dump of one collection: BSON and metadata as mongorestore reads them, extended JSON as mongoexport writes it.

Rules:

- BSON is what a restore reads; JSON is for people and other programs. What JSON cannot hold exactly is counted.
- What is written is hashed as it is written.

>>> stem_of("plain.name/with slash")
'plain.name%2Fwith%20slash'
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

import bsonjs
import msgspec
from bson import decode, json_util

from ..model import CollectionEntry
from .mongo import CollectionInfo
from .raw import LENIENT

# mongorestore takes the full name from the metadata where a stem has exactly 238 bytes: 208 of the name, `%24`, 27 of
# the checksum.
_LONGEST_STEM = 238
_CUT_STEM = 208


@dataclass(frozen=True, slots=True)
class Sum:
    """One line of manifest-sha256.txt that is not of a file below files/."""

    path: str
    sha256: str


class CollectionWriter:
    """Writes one collection twice: BSON as mongorestore reads it, and extended JSON, a line per document."""

    def __init__(self, folder: Path, info: CollectionInfo) -> None:
        self.info = info
        self.stem = stem_of(info.name)
        self.documents = 0
        self.bytes = 0
        self._inexact = 0
        self.sums: list[Sum] = []
        self._bson = _Hashed(folder / "bson" / f"{self.stem}.bson")
        self._json = _Hashed(folder / "json" / f"{self.stem}.json")
        self._metadata = folder / "bson" / f"{self.stem}.metadata.json"

    def add(self, raw: bytes) -> None:
        """Write one document."""
        self._bson.write(raw)
        self._json.write(self._line(raw).encode("utf-8", "surrogatepass") + b"\n")
        self.documents += 1
        self.bytes += len(raw)

    def close(self) -> CollectionEntry:
        """End both files and write what describes the collection."""
        bson_sum, json_sum = self._bson.close(), self._json.close()
        metadata = metadata_json(self.info)
        self._metadata.write_bytes(metadata)
        self.sums = [
            Sum(f"db/bson/{self.stem}.bson", bson_sum),
            Sum(f"db/bson/{self.stem}.metadata.json", hashlib.sha256(metadata).hexdigest()),
            Sum(f"db/json/{self.stem}.json", json_sum),
        ]
        return CollectionEntry(
            name=self.info.name,
            stem=self.stem,
            kind=self.info.kind,
            documents=self.documents,
            bytes=self.bytes,
            sha256=bson_sum,
            options=self.info.options,
            indexes=self.info.indexes,
            json_inexact=self._inexact,
        )

    def abandon(self) -> None:
        """Close both files, half as they are."""
        with contextlib.suppress(OSError):
            self._bson.close()
        self._json.close()

    def _line(self, raw: bytes) -> str:
        # bsonjs raises on invalid UTF-8 and alters a few values: each line is read back and compared.
        try:
            line: str = bsonjs.dumps(raw, mode=bsonjs.CANONICAL)
            if bsonjs.loads(line) == raw:
                return line
        except (ValueError, UnicodeError):
            pass
        document = decode(raw, LENIENT)
        self._inexact += 1
        return json_util.dumps(document, json_options=json_util.CANONICAL_JSON_OPTIONS)


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = open(path, "wb", buffering=1 << 20)  # noqa: SIM115  (closed by close)
        self._digest = hashlib.sha256()

    def write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)

    def close(self) -> str:
        self._file.close()
        return self._digest.hexdigest()


def metadata_json(info: CollectionInfo) -> bytes:
    """`<collection>.metadata.json` as mongorestore reads it: options, indexes, uuid, name and type."""
    document = {
        "options": msgspec.Raw(info.options.encode()),
        "indexes": msgspec.Raw(info.indexes.encode()),
        "uuid": info.uuid,
        "collectionName": info.name,
        "type": info.kind,
    }
    return msgspec.json.encode(document)


def stem_of(collection: str) -> str:
    """The name of a collection's files: escaped, and shortened where it is long, as mongodump does.

    Source: mongo-tools, common/util, EscapeCollectionName: percent-escapes; longer names are cut and end in `%24` and
    the SHA-1 of the whole name in URL-safe base64.
    """
    stem = quote(collection, safe="$&+=:@")
    if len(stem) <= _LONGEST_STEM:
        return stem
    checksum = hashlib.sha1(collection.encode(), usedforsecurity=False).digest()
    return f"{stem[:_CUT_STEM]}%24{base64.urlsafe_b64encode(checksum).decode('ascii').rstrip('=')}"

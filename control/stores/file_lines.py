"""The line of a manifest for one file, directory or link.

Rules:

- Fields stand in the order of `FileLine`, absent ones are left out: equal content is equal bytes.
- A path that is not UTF-8 stands in base64 under `path_b64`; so do the target of a link and the name of an attribute.

>>> encode_line(FileLine(path="a.txt", type="file", size=0, sha256="e3b0…", mode="0644", uid=0, gid=0, mtime_ns=1))
b'{"path":"a.txt","type":"file","size":0,"sha256":"e3b0…","mode":"0644","uid":0,"gid":0,"mtime_ns":1}\n'
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import msgspec

from ..model import Attributes, FileEntry


class FileLine(msgspec.Struct, omit_defaults=True, gc=False):
    """One line, as it stands there; nothing of it is checked."""

    path: str | None = None
    path_b64: str | None = None
    type: str = ""
    size: int | None = None
    sha256: str | None = None
    mode: str = ""
    uid: int = -1
    gid: int = -1
    mtime_ns: int | None = None
    target: str | None = None
    target_b64: str | None = None
    attributes: dict[str, str] | None = None
    attributes_b64: dict[str, str] | None = None

    def key(self) -> bytes:
        """The bytes of the path, as inventories are sorted by; `.` goes before everything."""
        if self.path is not None:
            return b"" if self.path == "." else self.path.encode()
        return base64.b64decode(self.path_b64 or "")


_encode = msgspec.json.Encoder().encode


def encode_line(line: FileLine) -> bytes:
    """Its bytes, with the end of the line."""
    return _encode(line) + b"\n"


def read_lines(path: Path) -> Iterator[FileLine]:
    """The lines of the files of a manifest that is known to be as it was written.

    Raises
    ------
    msgspec.MsgspecError, OSError: it is not.
    """
    return map(msgspec.json.Decoder(FileLine).decode, read_raw_lines(path))


def read_raw_lines(path: Path) -> Iterator[bytes]:
    """The same lines as bytes."""
    with open(path, "rb", buffering=1 << 18) as file:
        for line in file:
            if line.startswith(b'{"collection"'):
                return
            yield line


@lru_cache(maxsize=1024)
def mode_text(mode: int) -> str:
    """The permission bits of a mode, as four octal digits."""
    return f"{mode & 0o7777:04o}"


def file_line(entry: FileEntry) -> FileLine:
    """The line of a file, directory or link."""
    is_file, is_link = entry.kind == "file", entry.kind == "link"
    line = FileLine(
        type=entry.kind,
        size=entry.size if is_file else None,
        sha256=entry.sha256 if is_file else None,
        mode=mode_text(entry.mode),
        uid=entry.uid,
        gid=entry.gid,
        mtime_ns=None if entry.kind == "directory" else entry.mtime_ns,
    )
    line.path, line.path_b64 = texts(os.fsencode(entry.path))
    if is_link:
        line.target, line.target_b64 = texts(os.fsencode(entry.target))
    line.attributes, line.attributes_b64 = attribute_texts(entry.attributes)
    return line


def attribute_texts(attributes: Attributes) -> tuple[dict[str, str] | None, dict[str, str] | None]:
    """Values in base64 by name, and by name in base64 where that is no UTF-8; None instead of nothing."""
    if not attributes:
        return None, None
    found: tuple[dict[str, str], dict[str, str]] = {}, {}
    for name, value in attributes:
        text, coded = texts(name)
        by, key = (found[0], text) if text is not None else (found[1], coded)
        by[str(key)] = base64.b64encode(value).decode("ascii")
    return found[0] or None, found[1] or None


def attributes_of(by_text: dict[str, str] | None, by_code: dict[str, str] | None) -> Attributes:
    """The way back.

    Raises
    ------
    ValueError, TypeError: what is no such thing.
    """
    if not by_text and not by_code:
        return ()
    names = [(name.encode(), value) for name, value in (by_text or {}).items()]
    names += [(base64.b64decode(name, validate=True), value) for name, value in (by_code or {}).items()]
    return tuple(sorted((name, base64.b64decode(value, validate=True)) for name, value in names))


def texts(name: bytes) -> tuple[str | None, str | None]:
    """A name as text, or, where it is not UTF-8, in base64."""
    try:
        return name.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(name).decode("ascii")

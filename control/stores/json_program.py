"""The helper program that makes JSON: blocks of documents come in, lines go out. Started by `json_pool.py`.

Rules:

- It lives as long as the pipe from its parent: when that ends, however its parent ended, it ends.
- It is nicer than those who wait for an answer of the site.

>>> # python -m keyframe.stores.json_program < requests > replies
"""

from __future__ import annotations

import struct
import sys
from typing import BinaryIO

from .json_lines import Lines, lines_of
from .programs import be_nice

_NICE = 10
_SIZE = struct.Struct("<Q")
_SIZES = struct.Struct("<QQ")
_PART = "\x1f"  # stands in no line of JSON


def ask(sink: BinaryIO, raw: bytes) -> None:
    """Send a block to a helper."""
    sink.write(_SIZE.pack(len(raw)))
    sink.write(raw)
    sink.flush()


def answer(source: BinaryIO) -> Lines:
    """Read what a helper made of a block. Raises EOFError where it is gone."""
    size, rest = _SIZES.unpack(_exactly(source, _SIZES.size))
    text = _exactly(source, size)
    notes = _exactly(source, rest).decode()
    inexact = [line.split(_PART) for line in notes.split("\n") if line]
    return Lines(text, tuple((int(number), ident, reason) for number, ident, reason in inexact))


def _exactly(source: BinaryIO, size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise EOFError("the helper is gone")
    return content


def main() -> None:
    """Answer blocks until the pipe ends."""
    be_nice(_NICE)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(_SIZE.size)) == _SIZE.size:
        size = _SIZE.unpack(head)[0]
        raw = source.read(size)
        if len(raw) < size:
            return
        made = lines_of(raw)
        notes = "\n".join(_PART.join(map(str, one)) for one in made.inexact).encode()
        sink.write(_SIZES.pack(len(made.text), len(notes)))
        sink.write(made.text)
        sink.write(notes)
        sink.flush()


if __name__ == "__main__":
    main()

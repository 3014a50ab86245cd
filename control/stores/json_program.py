"""The helper program that makes JSON: blocks of documents come in, lines go out. Started by `json_pool.py`.

Rule: it is nicer than those who wait for an answer of the site.

>>> # python -m keyframe.stores.json_program < requests > replies
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .json_lines import Lines, lines_of
from .programs import answers, be_nice

_NICE = 10
_SIZE = struct.Struct("<Q")
_PART = "\x1f"  # stands in no line of JSON


def answer(raw: bytes) -> Iterator[bytes]:
    """The lines of a block, in one frame: the size of what is noted about them, that, and the lines."""
    made = lines_of(raw)
    notes = "\n".join(_PART.join(map(str, one)) for one in made.inexact).encode()
    yield b"".join((_SIZE.pack(len(notes)), notes, made.text))


def lines_in(frame: bytes) -> Lines:
    """What such a frame says."""
    end = _SIZE.size + _SIZE.unpack_from(frame)[0]
    notes = frame[_SIZE.size : end].decode()
    inexact = [line.split(_PART) for line in notes.split("\n") if line]
    return Lines(frame[end:], tuple((int(number), ident, reason) for number, ident, reason in inexact))


if __name__ == "__main__":
    be_nice(_NICE)
    answers(answer)

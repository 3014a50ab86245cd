"""The helper program for files: it copies, links, and walks. Started by `helpers.py`.

Rule: what it is asked is a letter and a message; the answer is messages.

>>> # python -m keyframe.stores.file_program < requests > answers
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..errors import Problem
from ..model import Patterns, Scope
from ..patterns import Exclusion
from .copies import TargetError
from .draft_files import DraftFiles
from .files import Descent
from .keeping import Keeping
from .programs import answers, be_nice
from .sheets import Sheet
from .taking import Taken, Work, take_all
from .trees import Tree
from .walking import Stored, branch_beside

NICE = "KEYFRAME_HELPER_NICE"
TAKE, LINK, WALK = b"T", b"L", b"W"
_FRAME_PATHS = 1000  # of a walk, in one message

Told = tuple[bytes, str, str, str, str]  # the path of a problem, its code, what, subject, hint


class Links(msgspec.Struct, array_like=True, gc=False):
    """Files of one directory of an older snapshot that are to be linked under the same names."""

    older: str
    draft: str
    prefix: bytes
    names: list[bytes]


class Walk(msgspec.Struct, array_like=True, gc=False):
    """Directories of one tree to be walked below, one after the other."""

    root: str
    reserved: str
    scope: str
    patterns: list[tuple[tuple[str, ...], tuple[str, ...]]]
    prefixes: list[bytes]
    stored: tuple[str, int, tuple[bool, bool, int]] | None = None  # as of `Stored` and `Keeping`
    since: int = 0
    bare: bool = False


class Seen(msgspec.Struct, array_like=True, gc=False):
    """A part of what was found below the directory of that number, `is_last`: its last; `left_out` are paths."""

    number: int
    sheets: list[Sheet]
    problems: list[Told]
    left_out: list[bytes]
    is_last: bool


_encode = msgspec.msgpack.Encoder().encode


def answer(request: bytes) -> Iterator[bytes]:
    """Do what is asked."""
    kind, content = request[:1], request[1:]
    if kind == TAKE:
        yield _encode(_take(msgspec.msgpack.decode(content, type=Work)))
    elif kind == LINK:
        yield _encode(list(map(_link, msgspec.msgpack.decode(content, type=list[Links]))))
    else:
        yield from map(_encode, _walk(msgspec.msgpack.decode(content, type=Walk)))


def _take(work: Work) -> Taken:
    try:
        return take_all(work)
    except TargetError as error:
        return Taken(fault=(error.errno or 0, error.strerror or str(error)))


def _link(work: Links) -> list[bytes]:
    """Make the links; the names of those that could not be made."""
    failed: list[bytes] = []
    with Descent(Path(work.older)) as older, DraftFiles(Path(work.draft)) as files:
        try:
            source = older.parent(os.fsdecode(work.prefix + work.names[0]))[0]
            target = files.parent(os.fsdecode(work.prefix + work.names[0]))[0]
        except OSError:
            return work.names
        for name in work.names:
            try:
                os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
            except OSError:
                failed.append(name)
    return failed


def _walk(work: Walk) -> Iterator[Seen]:
    problems: list[Told] = []
    left_out: list[bytes] = []

    def note(path: str, one: Problem) -> None:
        problems.append((os.fsencode(path), one.code, one.what, one.subject, one.hint))

    patterns = [Patterns(*one) for one in work.patterns]
    excluded = Exclusion(Scope.from_key(work.scope), *patterns)
    told = left_out.append
    tree = Tree(
        Path(work.root), work.reserved, excluded, lambda path: told(os.fsencode(path)), bare=work.bare, since=work.since
    )
    stored = None if work.stored is None else Stored(Path(work.stored[0]), work.stored[1], Keeping(*work.stored[2]))
    for number, prefix in enumerate(work.prefixes):
        sheets: list[Sheet] = []
        paths = 0
        for sheet in branch_beside(tree, stored, os.fsdecode(prefix), note):
            sheets.append(sheet)
            paths += len(sheet)
            if paths >= _FRAME_PATHS:
                yield Seen(number, sheets, problems[:], left_out[:], is_last=False)
                paths = 0
                for one in (sheets, problems, left_out):
                    one.clear()
        yield Seen(number, sheets, problems[:], left_out[:], is_last=True)
        problems.clear()
        left_out.clear()


if __name__ == "__main__":
    be_nice(int(os.environ.get(NICE, "0")))
    gc.disable()  # nothing here goes round in circles
    answers(answer)

"""`manifest-sha256.txt`: the lines that `sha256sum -c` reads, written and read.

Rules:

- A path with a backslash, a line feed or a carriage return is escaped as GNU coreutils does it, and its line begins
  with a backslash.
- A path that the system does not open as a whole (more than 4,095 bytes) has no line: the manifest has its digest.

>>> sum_line(b"a.txt", 64 * "0")[-8:]
b'0  a.txt\\n'
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from .stored_tree import open_file

LONGEST_PATH = 4095  # bytes of a path that the system opens: PATH_MAX without the closing NUL
_LONGEST_LINE = 3 * 4096
_UNESCAPED = {ord("\\"): b"\\", ord("n"): b"\n", ord("r"): b"\r"}


def has_sum(name: bytes) -> bool:
    """Whether sha256sum can open the file of this path, relative to the snapshot's folder."""
    return len(name) <= LONGEST_PATH


def sum_line(name: bytes, sha256: str) -> bytes:
    r"""A line that `sha256sum -c` reads; names with backslash, newline or carriage return are escaped its way."""
    if b"\\" not in name and b"\n" not in name and b"\r" not in name:
        return b"%s  %s\n" % (sha256.encode("ascii"), name)
    escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"\\%s  %s\n" % (sha256.encode("ascii"), escaped)


def sum_lines(prefix: bytes, names: list[bytes], shas: list[bytes]) -> bytes | None:
    """The lines of files of one directory; None where one of them has to be escaped, or has none."""
    joined = b"\0".join(names)
    if any(sign in prefix or sign in joined for sign in (b"\\", b"\n", b"\r")):
        return None
    if len(prefix) + max(map(len, names), default=0) > LONGEST_PATH:
        return None
    return b"".join([b"%s  %s%s\n" % (sha, prefix, name) for sha, name in zip(shas, names, strict=True)])


class Sums:
    """Reads the list beside a manifest: the lines of files one by one, those of the rest at once.

    `wrong` is the number of the first line that is not the one that was expected; 0: none.
    """

    def __init__(self, path: Path) -> None:
        descriptor, _ = open_file(path.parent, path.name)
        self._file: IO[bytes] = open(descriptor, "rb")  # noqa: SIM115  (closed by close)
        self._number = 0
        self.wrong = 0
        self._lines: dict[str, int] = {}  # of the rest, by path

    def close(self) -> None:
        self._file.close()

    def expect(self, name: bytes, sha256: str) -> None:
        """The next line has to be that of this path."""
        if self.wrong:
            return
        if self._next() != sum_line(name, sha256):
            self.wrong = self._number

    def expect_all(self, prefix: bytes, names: list[bytes], shas: list[bytes]) -> None:
        """The next lines have to be those of files of one directory, as `sum_lines` has them."""
        lines = sum_lines(prefix, names, shas)
        if lines is None:
            for name, sha256 in zip(names, shas, strict=True):
                if has_sum(prefix + name):
                    self.expect(prefix + name, sha256.decode("ascii"))
        elif not self.wrong:
            if self._file.read(len(lines)) != lines:
                self.wrong = self._number + 1
            self._number += len(names)

    def rest(self, paths: list[str]) -> dict[str, str]:
        """The digests of the lines that remain, which have to be of these paths, in this order."""
        found: dict[str, str] = {}
        if self.wrong:  # what follows may be lines of files still: take what is wanted out of them
            wanted = set(paths)
            while line := self._next():
                path, sha256 = _parsed(line)
                if path in wanted:
                    found[path] = sha256
                    self._lines[path] = self._number
            return found
        for path in paths:
            given, sha256 = _parsed(self._next())
            if given != path or given in found:
                self.wrong = self.wrong or self._number
            if given:
                found[given] = sha256
                self._lines[given] = self._number
        if self._next() and not self.wrong:
            self.wrong = self._number
        return found

    def line_of(self, path: str) -> int:
        """The number of the line that `rest` found for this path."""
        return self._lines[path]

    def _next(self) -> bytes:
        self._number += 1
        return self._file.readline(_LONGEST_LINE)


def _parsed(line: bytes) -> tuple[str, str]:
    """Path and digest of a line; two empty texts where it is none."""
    escaped = line.startswith(b"\\")
    sha256, gap, name = line[1:].partition(b"  ") if escaped else line.partition(b"  ")
    if not gap or len(sha256) != 64 or set(sha256) - set(b"0123456789abcdef") or not name.endswith(b"\n"):
        return "", ""
    return os.fsdecode(_unescaped(name[:-1]) if escaped else name[:-1]), sha256.decode("ascii")


def _unescaped(name: bytes) -> bytes:
    parts, at = [], 0
    while (slash := name.find(b"\\", at)) >= 0:
        parts += [name[at:slash], _UNESCAPED.get(name[slash + 1] if slash + 1 < len(name) else 0, b"")]
        at = slash + 2
    return b"".join([*parts, name[at:]])

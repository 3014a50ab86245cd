"""What a process asked the disk to do, recorded with strace, and what a power cut may leave of it.

Rules of the simulated disk, harder than any real file system:

- What was asked for may be on the disk at once or not at all, in any choice, until a flush that began after it has
  ended: `syncfs` for everything, `fsync` of a file for its bytes, of a directory for its names.
- A file whose bytes are not there has none, half of them, or zeros.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,sendfile,copy_file_range,ftruncate,truncate,fallocate,ioctl,"
    "rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync,syncfs"
)
_LINE = re.compile(r"(?P<pid>\d+)\s+(?P<name>\w+)\((?P<args>.*)\)\s+=\s+(?P<result>-?\d+)(?:<(?P<opened>[^>]*)>)?")
_UNFINISHED = re.compile(r"(?P<pid>\d+)\s+(?P<begin>\w+\(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"(?P<pid>\d+)\s+<\.\.\. \w+ resumed>(?P<rest>.*)$")
_DESCRIPTOR = re.compile(r"(?:\d+|AT_FDCWD)<([^>]*)>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WRITES = ("write", "pwrite64", "writev", "pwritev", "ftruncate", "truncate", "fallocate")


@dataclass(frozen=True)
class Event:
    """One thing asked of the disk: `kind` is folder, file, link, symlink, gone, rename, bytes, flush or flush all.

    `begun` and `ended` are line numbers of the record; `other` is the source of a link or rename.
    """

    kind: str
    path: str
    other: str
    begun: int
    ended: int


def recorded(argv: Sequence[str], out: Path) -> list[Event]:
    """Run a program to its end and tell what it, its threads and children asked of the disk."""
    trace = ["strace", "-f", "-y", "-qq", "-s", "0", "-e", f"trace={CALLS}", "-o", str(out)]
    subprocess.run([*trace, sys.executable, *argv], check=True, timeout=120)
    return list(_events(out.read_text(errors="surrogateescape").splitlines()))


def _events(lines: list[str]) -> Iterator[Event]:
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        whole, first = line, number
        if unfinished := _UNFINISHED.match(line):
            begun[unfinished["pid"]] = (number, unfinished["begin"])
            continue
        if resumed := _RESUMED.match(line):
            first, begin = begun.pop(resumed["pid"])
            whole = f"{resumed['pid']} {begin}{resumed['rest']}"
        call = _LINE.match(whole)
        if call is not None and int(call["result"]) >= 0:
            yield from _of_call(call, first, number)


def _of_call(call: re.Match[str], begun: int, ended: int) -> Iterator[Event]:
    name, args = call["name"], call["args"]
    folders, texts = _DESCRIPTOR.findall(args), _TEXT.findall(args)
    named = [_joined(folder, text) for folder, text in zip(folders, texts, strict=False)] or texts

    def event(kind: str, path: str, other: str = "") -> Event:
        return Event(kind, os.path.normpath(path), os.path.normpath(other) if other else "", begun, ended)

    if name in ("open", "openat", "creat"):
        if "O_CREAT" in args or name == "creat":
            yield event("file", call["opened"])
        if "O_TRUNC" in args or name == "creat":
            yield event("bytes", call["opened"])
    elif name in _WRITES:
        yield event("bytes", folders[0] if folders else texts[0])
    elif name in ("sendfile", "copy_file_range"):
        yield event("bytes", folders[0] if name == "sendfile" else folders[1])
    elif name == "ioctl" and "FICLONE" in args:
        yield event("bytes", folders[0])
    elif name in ("fsync", "fdatasync", "syncfs"):
        yield event("flush all" if name == "syncfs" else "flush", folders[0])
    elif name.startswith("rename"):
        yield event("rename", named[1], named[0])
    elif name.startswith("link"):
        yield event("link", named[1], named[0])
    elif name.startswith("symlink"):
        yield event("symlink", _joined(folders[0], texts[1]) if folders else texts[1])
    elif name.startswith("unlink") or name == "rmdir":
        yield event("gone", named[0])
    elif name.startswith("mkdir"):
        yield event("folder", named[0])


def _joined(folder: str, name: str) -> str:
    return os.path.join(folder, name.encode().decode("unicode_escape"))


# --- the simulated disk


@dataclass
class Disk:
    """Names and what they lead to: "folder", "symlink", or the number of a file; and which files lack bytes."""

    names: dict[str, str | int] = field(default_factory=dict)
    torn: dict[int, str] = field(default_factory=dict)
    files: int = 0

    @classmethod
    def of(cls, root: Path) -> Disk:
        """As a real folder is now."""
        disk = cls({str(root): "folder"})
        for folder, folders, names in os.walk(root):
            for name in [*folders, *names]:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    disk.names[path] = "symlink"
                elif os.path.isdir(path):
                    disk.names[path] = "folder"
                else:
                    disk._make(path)
        return disk

    def copy(self) -> Disk:
        return Disk(dict(self.names), dict(self.torn), self.files)

    def _make(self, path: str) -> None:
        self.files += 1
        self.names[path] = self.files

    def do(self, event: Event, lost: str = "") -> None:
        """Let an event have happened; `lost` says how the bytes that it wrote are missing."""
        path, names = event.path, self.names
        if event.kind == "bytes":
            number = names.get(path)
            if lost and isinstance(number, int):
                self.torn[number] = lost
        elif names.get(os.path.dirname(path)) != "folder":
            return
        elif event.kind in ("folder", "symlink"):
            names[path] = event.kind
        elif event.kind == "file" and path not in names:
            self._make(path)
        elif event.kind == "link" and event.other in names:
            names[path] = names[event.other]
        elif event.kind == "gone":
            names.pop(path, None)
        elif event.kind == "rename" and event.other in names:
            for name in [one for one in names if one == event.other or one.startswith(event.other + "/")]:
                names[path + name[len(event.other) :]] = names.pop(name)


# How likely it is that names, bytes and renames which were not flushed are there all the same.
_CHOICES = [
    (0, 0, 0),
    (0, 0, 1),
    (1, 1, 1),
    (1, 0, 1),
    (1, 0.9, 1),
    (1, 0.7, 1),
    (0.5, 0.5, 0.5),
    (0.5, 0.5, 1),
    (0.9, 0, 1),
]


@dataclass
class Recording:
    """What was asked of the disk below `root`, which was as `before` says and is as it is now."""

    root: Path
    before: Disk
    events: list[Event]

    def inside(self) -> list[Event]:
        """The events that concern `root`; a flush of everything counts wherever it was asked for."""
        top = str(self.root)
        return [one for one in self.events if one.path.startswith(top) or one.kind == "flush all"]

    def states(self, chance: random.Random) -> Iterator[tuple[int, Disk]]:
        """What a power cut after each event may leave: each time some of the many possible choices."""
        events = self.inside()
        for count in range(len(events) + 1):
            asked = events[:count]
            sure = [_is_flushed(one, asked) for one in asked]
            for names, content, renames in _CHOICES:
                disk = self.before.copy()
                for event, is_sure in zip(asked, sure, strict=True):
                    likely = renames if event.kind == "rename" else names
                    happens = is_sure or chance.random() < likely
                    if event.kind == "bytes":
                        whole = is_sure or chance.random() < content
                        disk.do(event, "" if whole else chance.choice(["none", "half", "zeros"]))
                    elif happens:
                        disk.do(event)
                yield count, disk

    def build(self, disk: Disk, target: Path) -> None:
        """Make a simulated state real below `target`, with the bytes that the files have now."""
        if target.exists():
            shutil.rmtree(target)
        now = self.before.copy()
        for event in self.inside():
            now.do(event)
        place = {number: name for name, number in now.names.items() if isinstance(number, int)}
        for name in sorted(disk.names):
            what, path = disk.names[name], target / os.path.relpath(name, self.root)
            if what == "folder":
                path.mkdir(parents=True, exist_ok=True)
            elif what == "symlink":
                path.symlink_to(os.readlink(name) if os.path.islink(name) else "lost")
            elif isinstance(what, int):
                content = Path(place[what]).read_bytes() if what in place else b"?"
                path.write_bytes(_torn(content, disk.torn.get(what, "")))


def _is_flushed(event: Event, asked: list[Event]) -> bool:
    for flush in asked:
        if flush.begun > event.ended and (
            flush.kind == "flush all"
            or (flush.kind == "flush" and event.kind == "bytes" and flush.path == event.path)
            or (flush.kind == "flush" and event.kind != "bytes" and flush.path == os.path.dirname(event.path))
        ):
            return True
    return False


def _torn(content: bytes, how: str) -> bytes:
    return {"": content, "none": b"", "half": content[: len(content) // 2], "zeros": bytes(len(content))}[how]

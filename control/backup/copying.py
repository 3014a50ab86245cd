"""The directory copy of a snapshot: a bulk pass, and a second one over the stats with the gate closed.

Rules:

- The bulk pass leaves a line per path with the stat it saw; the second pass walks again, side by side with those
  lines, and takes again only what is no longer as it was seen. Neither holds a list of the tree.
- A file that is as it was seen and is in the newest snapshot is linked to the stored copy there, never to the live one.
- Problems are those of the second pass: what could not be read at first gets a second chance.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from ..errors import ChangedError, Problem
from ..model import FileEntry, Progress, Scope, Snapshot
from ..stores.copies import TargetError, is_as_written
from ..stores.draft import Draft
from ..stores.files import Look, Tree, path_key, with_digest
from ..stores.manifest import ManifestWriter, file_line, file_of_line
from ..stores.seen import RACY_NS
from .stores import Stores
from .watches import Watch

_ANOTHER_KIND = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO)  # than when it was listed

_encode = msgspec.json.Encoder().encode


class Copying:
    """Fills the `files` folder of a draft."""

    def __init__(
        self, stores: Stores, scope: Scope, draft: Draft, newest: Snapshot | None, watch: Watch, *, may_be_absent: bool
    ) -> None:
        self._stores = stores
        self._live = stores.live_tree(scope)
        self._draft = draft
        self._newest = newest
        self._older = None if newest is None else Tree(stores.repository.folder(scope, newest.name) / "files")
        self._watch = watch
        self._may_be_absent = may_be_absent
        self._seen_lines = draft.scratch
        self._is_site = scope.is_site
        self._touched: set[str] = set()  # what the draft no longer has as the first pass left it
        self.is_newest_whole = True
        self._reset()

    def _reset(self) -> None:
        self.problems: list[Problem] = []
        self.unknown: set[str] = set()
        self.files = 0
        self.bytes = 0
        self.project_files: Counter[str] = Counter()
        self.project_bytes: Counter[str] = Counter()

    def _problem(self, path: str, code: str, what: str, hint: str) -> None:
        self.problems.append(Problem(code, what, path, hint))
        self.unknown.add(path)

    def _walk(self) -> Iterator[Look]:
        def note(path: str, problem: Problem) -> None:
            self._problem(path, problem.code, problem.what, problem.hint)

        return self._live.walk(note)

    def bytes_needed(self) -> int:
        """About how many bytes of files are not in the newest snapshot as they are now; told by their stats."""
        older = self._older_entries()
        needed = 0
        for look in self._walk():
            before = older.find(look.entry.path)
            if look.entry.kind == "file" and (before is None or with_digest(look.entry, before.sha256) != before):
                needed += look.entry.size
        self._reset()
        return needed

    # --- first pass

    def bulk(self) -> None:
        """Copy or link everything; nobody is kept from writing meanwhile."""
        older = self._older_entries()
        # How many there will be is known from the newest snapshot, about; without one the total is left open.
        done, known = 0, self._newest.files if self._newest is not None else 0
        with open(self._seen_lines, "wb", buffering=1 << 18) as lines:  # noqa: PTH123
            for look in self._walk():
                self._watch.check()
                entry = self._take(look, older)
                if entry is None:
                    continue
                lines.write(_encode({**file_line(entry), "seen": _stat(look), "at": look.at_ns}) + b"\n")
                done += 1
                total = max(done, known) if known else 0
                self._watch.progress(Progress("copying files", 1, 4, done, total, "files", entry.path))
        self._stores.seen.flush()

    def _older_entries(self) -> _Merge:
        if self._newest is None:
            return _Merge(iter(()))
        entries = self._stores.repository.manifest(self._newest)
        return _Merge(entry for entry in entries if isinstance(entry, FileEntry))

    # --- second pass

    def second_pass(self, manifest: ManifestWriter) -> None:
        """Bring the copy to the state now and write the manifest's lines; the gate is closed meanwhile."""
        self._reset()
        if not self._live.exists() and not self._may_be_absent:
            self._problem(
                ".",
                "unavailable",
                "the folder of the files is missing; only records were kept.",
                "Is its disk mounted?",
            )
        first = self._first_lines()
        before = next(first, None)
        gone = set(self._touched)  # of an earlier second pass, whose dump was given up
        older = self._older_entries()
        for look in self._walk():
            path = look.entry.path
            gone.discard(path)
            while before is not None and path_key(before[0].path) < path_key(path):
                gone.add(before[0].path)
                before = next(first, None)
            if before is not None and before[0].path == path:
                entry = before[0] if self._is_still(*before, look) else self._take_again(look, older)
                before = next(first, None)
            else:
                entry = self._take_again(look, older)
            if entry is not None:
                manifest.file(entry)
                self._count(entry)
        gone |= {before[0].path} if before is not None else set()
        gone |= {entry.path for entry, _, _ in first}
        for path in sorted(gone, key=path_key, reverse=True):
            self._draft.remove(path)
        self._touched |= gone
        self._stores.seen.flush()

    def _is_still(self, entry: FileEntry, seen: list[int], at_ns: int, look: Look) -> bool:
        """Whether a path is as the first pass saw it. A stamp too young to be trusted is settled by the bytes."""
        if seen != _stat(look) or entry.path in self._touched:
            return False
        if entry.kind != "file" or at_ns - look.stat.st_ctime_ns >= RACY_NS:
            return True
        try:
            return self._live.digest(entry.path)[1] == entry.sha256
        except (ChangedError, OSError):
            return False

    def _first_lines(self) -> Iterator[tuple[FileEntry, list[int], int]]:
        with open(self._seen_lines, "rb") as lines:  # noqa: PTH123
            for line in lines:
                document: dict[str, Any] = msgspec.json.decode(line)
                yield file_of_line(document), document["seen"], document["at"]

    def _take_again(self, look: Look, older: _Merge) -> FileEntry | None:
        self._touched.add(look.entry.path)
        self._draft.make_way(look.entry)
        entry = self._take(look, older)
        if entry is None:  # what the first pass stored is not what is there now
            self._draft.remove(look.entry.path)
        return entry

    def _count(self, entry: FileEntry) -> None:
        if entry.kind == "directory":
            return
        self.files += 1
        self.bytes += entry.size
        if self._is_site and entry.path.startswith("project/") and entry.path.count("/") > 1:
            project_id = entry.path.split("/")[1]
            self.project_files[project_id] += 1
            self.project_bytes[project_id] += entry.size

    # --- one path

    def _take(self, look: Look, older: _Merge) -> FileEntry | None:
        """Put one path into the draft; None where it vanished or was named as a problem."""
        entry = look.entry
        before = older.find(entry.path)
        try:
            if entry.kind == "directory":
                self._draft.add_folder(entry)
                return entry
            if entry.kind == "link":
                self._draft.add_link(entry)
                return entry
            return self._take_file(look, before)
        except TargetError:
            raise
        except ChangedError as error:
            self._problem(entry.path, error.code, error.what, error.hint)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            if error.errno in _ANOTHER_KIND:
                self._problem(entry.path, "changed", "became something else while it was read.", "Make another one.")
                return None
            if entry.kind != "file":
                raise
            self._problem(entry.path, "unavailable", f"cannot be read ({error.strerror}).", "Look at its rights.")
        return None

    def _take_file(self, look: Look, before: FileEntry | None) -> FileEntry:
        entry, stat = look.entry, look.stat
        if before is not None and self._older is not None and before == with_digest(entry, before.sha256):
            # Everything but the bytes is known to be equal: look at the bytes only if their stat was not seen.
            sha256 = self._stores.seen.digest(stat)
            if sha256 is None:
                stat, sha256 = self._live.digest(entry.path)
                self._stores.seen.remember(stat, sha256)
            if sha256 == before.sha256:
                if not is_as_written(self._older, before):
                    self.is_newest_whole = False
                elif self._draft.link_file(before, self._older):
                    return before
        copied, stat = self._draft.add_file(entry, self._live)
        self._stores.seen.remember(stat, copied.sha256)
        return copied


class _Merge:
    """Looks up paths that are asked for in ascending order, in a stream of that order."""

    def __init__(self, entries: Iterator[FileEntry]) -> None:
        self._entries = entries
        self._head = next(entries, None)

    def find(self, path: str) -> FileEntry | None:
        key = path_key(path)
        while self._head is not None and path_key(self._head.path) < key:
            self._head = next(self._entries, None)
        return self._head if self._head is not None and self._head.path == path else None


def _stat(look: Look) -> list[int]:
    """What tells a changed path from an unchanged one. A directory's times say only that its names changed."""
    stat = look.stat
    if look.entry.kind == "directory":
        return [stat.st_mode, stat.st_uid, stat.st_gid]
    return [stat.st_mode, stat.st_uid, stat.st_gid, stat.st_ino, stat.st_ctime_ns, stat.st_mtime_ns, stat.st_size]

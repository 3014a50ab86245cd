"""Files of a restore: staged beside the live ones, then moved into place.

Rules:

- Staged on the file system of the live files, copied (never linked) from the stored ones, hashed after the manifest.
- Nothing live is touched while staging. Moving is by rename below open directories; no link is ever followed.
- Live files that are replaced or removed are kept beside the staged ones until the end is verified (`leftovers.py`).
- Every step can be repeated: what is there already, or gone already, is fine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat as modes
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ChangedError, DamagedError
from ..model import Change, FileEntry, Plan, PlanItem, Progress
from ..plan import entry_of
from ..stores.attributes import give, place_of
from ..stores.copies import TargetError, copy_file, copy_link
from ..stores.disk import (
    flush_open,
    free_bytes,
    opened,
    remove_tree,
    require_room,
    scratch_name,
    sweep_scratch,
    translate,
)
from ..stores.files import RESERVED, Descent
from ..stores.keeping import WHOLE, keeping_of
from ..stores.seen import Copy, seen_key
from ..stores.sparse import room_of
from ..stores.trees import Tree
from .edited import is_as_planned
from .inventory import StoredInventory
from .leftovers import kept_folder
from .stores import Stores
from .target import Target
from .watches import Watch

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)  # as where the disk knows no second names
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_KINDS = {modes.S_IFREG: "file", modes.S_IFLNK: "link", modes.S_IFDIR: "directory"}
_FILE_KINDS = ("file", "link", "directory")


class Staging:
    """The staged files of one restore; use it with `with`, it is cleared away at the end. `key` is the job's id."""

    def __init__(self, stores: Stores, target: Target, key: str) -> None:
        self._stores = stores
        self._target = target
        self._live = stores.live_tree(target.scope)
        self._folder = stores.settings.working / RESERVED / scratch_name(target.scope, key)
        self._kept = kept_folder(stores, target.scope, key)
        self._take = secrets.token_hex(4)  # a restore that was interrupted has kept some, too
        self._keeping = WHOLE
        self._open = -1  # before anything is written: else another's flush may be told of what is lost

    def __enter__(self) -> Staging:
        try:
            sweep_scratch(self._folder.parent, self._target.scope, but=self._kept.name)
            self._folder.mkdir(parents=True, mode=0o700)
            self._kept.mkdir(exist_ok=True, mode=0o700)
            self._keeping = keeping_of(self._stores.settings.working)
            self._open = opened(self._stores.settings.working)
        except OSError as error:
            raise translate(error, str(self._folder), "nothing was changed") from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._open)
        remove_tree(self._folder)
        with contextlib.suppress(OSError):  # what is kept in it goes when the end is verified
            self._kept.rmdir()

    def flush(self) -> None:
        """Bring what was staged and moved to the disk."""
        flush_open(self._open)

    def fill(self, plan: Plan, watch: Watch, step: tuple[int, int]) -> None:
        """Copy what the plan brings into the staging folder.

        Raises
        ------
        DamagedError: `file-missing`, `file-bytes`. NoRoomError: too little room, both numbers named.
        """
        stored = StoredInventory(self._stores, self._target.snapshot, self._target.scope, watch)
        prefix = stored.prefix(self._target.scope)
        with Tree(stored.folder / "files").descent() as source:
            needed = plan.bytes_needed
            if needed > free_bytes(self._folder):
                needed -= self._holes(plan, prefix, source)
            require_room(self._folder, needed, "the restore")
            self._stage_all(plan, prefix, source, watch, step)
        try:
            self.flush()  # so that there is less to be flushed while the gate is closed
        except OSError as error:
            raise translate(error, str(self._folder), "nothing was changed") from error

    def _holes(self, plan: Plan, prefix: str, source: Descent) -> int:
        """The bytes that sparse files among those to be staged do not take."""
        found = 0
        for _, item in self._items(plan):
            if _is_staged(item) and item.kind == "file":
                with contextlib.suppress(OSError):
                    folder, name = source.parent(f"{prefix}/{item.name}" if prefix else item.name)
                    stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
                    found += stat.st_size - room_of(stat)
        return found

    def _stage_all(self, plan: Plan, prefix: str, source: Descent, watch: Watch, step: tuple[int, int]) -> None:
        total = plan.creates.files + plan.replaces.files
        done = 0
        for number, item in self._items(plan):
            watch.check()
            if not _is_staged(item):
                continue
            entry = entry_of(item)
            try:
                self._stage(source, f"{prefix}/{entry.path}" if prefix else entry.path, entry, self._staged(number))
            except ChangedError as error:
                raise self._damage("file-bytes", entry, "is not as it was written.") from error
            except OSError as error:
                if error.errno in _MISSING and not isinstance(error, TargetError):
                    raise self._damage("file-missing", entry, "is missing in the snapshot.") from error
                raise translate(error, entry.path, "nothing was changed") from error
            done += 1
            watch.progress(Progress("preparing files", *step, done, total, "files", entry.path))

    def _stage(self, source: Descent, path: str, entry: FileEntry, target: Path) -> None:
        if entry.kind == "link":
            copy_link(entry, target)
            return
        copied, _ = copy_file(source, path, target)
        if copied.sha256 != entry.sha256:
            raise self._damage("file-bytes", entry, "is not as it was written.")
        self._dress(target, entry)

    def _damage(self, damage: str, entry: FileEntry, what: str) -> DamagedError:
        return DamagedError(
            damage, what, subject=entry.path, hint="Restore another snapshot or a part without it; nothing was changed."
        )

    def _staged(self, number: int) -> Path:
        return self._folder / str(number)

    def _items(self, plan: Plan) -> Iterator[tuple[int, PlanItem]]:
        return self._stores.plans.numbered(plan.digest, *_FILE_KINDS)

    # --- the change-over

    def move(self, plan: Plan, watch: Watch, step: tuple[int, int]) -> None:
        """Bring the live files to what the plan says: away first, then directories, then files, then modes."""
        for number, item in self._items(plan):
            if item.change is Change.DELETE and item.kind != "directory" and self._is_as_planned(item):
                self._remove(number, item.name, is_folder=False)
        for number, item in self._items(plan):
            have, want = item.detail["have"], item.detail["want"]
            goes = have is not None and (want is None or want[0] != have[0]) and (want or have[0] == "directory")
            if goes and self._is_as_planned(item):
                self._remove(number, item.name, is_folder=have[0] == "directory")
        folders = []
        for _, item in self._items(plan):
            if item.change is not Change.DELETE and item.kind == "directory":
                self._make_folder(item.name)
                folders.append(entry_of(item))
        stored = StoredInventory(self._stores, self._target.snapshot, self._target.scope, watch)
        prefix, place = stored.prefix(self._target.scope), self._place_in_seen()
        total = plan.creates.files + plan.replaces.files
        done = 0
        for number, item in self._items(plan):
            is_file = item.change is not Change.DELETE and item.kind != "directory"
            if is_file and self._is_as_planned(item, directory=False):
                self._place(number, item)
                self._remember(entry_of(item), prefix, place)
                done += 1
                watch.progress(Progress("changing over", *step, done, total, "files", item.name))
        for entry in reversed(folders):
            self._dress_live(entry)
        self._stores.seen.flush()

    def _place_in_seen(self) -> int | None:
        snapshot, repository = self._target.snapshot, self._stores.repository
        return self._stores.seen.place(repository.place_of(snapshot.scope, snapshot.name))

    def _remember(self, entry: FileEntry, prefix: str, place: int | None) -> None:
        """Where the stored copy of a file lies that was just brought back: the next snapshot shares it.

        Its stamp is too young to be trusted; who reads it later, as the verification does, makes it certain.
        """
        if entry.kind == "file":
            at_ns = time.time_ns()
            with self._live.parent(entry.path) as (folder, name):
                stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
            path = f"{prefix}/{entry.path}" if prefix else entry.path
            self._stores.seen.remember(seen_key(stat), entry.sha256, entry.attributes, at_ns, Copy(place, path))

    def _is_as_planned(self, item: PlanItem, *, directory: bool = True) -> bool:
        """Whether nobody changed a live path past the gate since the plan; what he changed is not ours to touch.

        Without `directory`, one is gone by now; where it is not, something is in it.
        """
        try:
            with self._live.parent(item.name) as (folder, name):
                stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return True
        kind = {modes.S_IFREG: "file", modes.S_IFLNK: "link", modes.S_IFDIR: "directory"}.get(
            modes.S_IFMT(stat.st_mode)
        )
        size = stat.st_size if kind == "file" else 0
        if kind is None or (kind == "directory" and not directory):
            return False
        return is_as_planned(item, (kind, size, stat.st_mtime_ns))

    def _kept_as(self, number: int) -> Path:
        return self._kept / f"{number}-{self._take}"

    def _remove(self, number: int, path: str, *, is_folder: bool) -> None:
        with contextlib.suppress(FileNotFoundError):
            if path == ".":
                self._remove_folder(str(self._live.root), None, path)
                return
            with self._live.parent(path) as (folder, name):
                if is_folder:
                    self._remove_folder(name, folder, path)
                else:
                    os.rename(name, self._kept_as(number), src_dir_fd=folder)

    def _remove_folder(self, name: str, folder: int | None, path: str) -> None:
        """Away with a folder, unless something excluded came into it since the plan was made."""
        try:
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not self._has_excluded(path):
                raise

    def _has_excluded(self, path: str) -> bool:
        """Whether something excluded lies anywhere below a folder that was to go."""
        scope, recorded = self._target.scope, self._target.snapshot.excluded.patterns
        excluded = self._stores.excluded(scope) | self._stores.excluded(scope, recorded)
        found: list[str] = []
        below = "" if path == "." else f"{path}/"
        for _ in self._stores.live_tree(scope, excluded, found.append).paths(lambda *_: None):
            pass
        return any(one.startswith(below) for one in found)

    def _make_folder(self, path: str) -> None:
        if path == ".":
            self._live.root.mkdir(parents=True, exist_ok=True)
            return
        with contextlib.suppress(FileExistsError), self._live.parent(path) as (folder, name):
            os.mkdir(name, 0o700, dir_fd=folder)

    def _place(self, number: int, item: PlanItem) -> None:
        entry = entry_of(item)
        if item.detail["same_bytes"]:
            self._dress_live(entry)
            return
        with self._live.parent(entry.path) as (folder, name):
            self._keep(number, folder, name)
            os.rename(self._staged(number), name, dst_dir_fd=folder)

    def _keep(self, number: int, folder: int, name: str) -> None:
        """Keep what a rename is about to replace; by a second name, so that at no moment there is nothing."""
        with contextlib.suppress(FileNotFoundError):
            try:
                os.link(name, self._kept_as(number), src_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                return
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                os.rename(name, self._kept_as(number), src_dir_fd=folder)

    def _dress_live(self, entry: FileEntry) -> None:
        """Give a live path owner (as root), attributes, mode and time of `entry`, below open directories."""
        if entry.path == ".":
            self._dress(self._live.root, entry)
            return
        with self._live.parent(entry.path) as (folder, name):
            if self._keeping.owners:
                os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
            if entry.kind == "link":
                give(place_of(folder, name), entry.attributes)
            else:
                descriptor = _opened(folder, name, entry)
                try:
                    give(descriptor, entry.attributes)
                    with self._bearing_modes():
                        os.fchmod(descriptor, entry.mode)
                finally:
                    os.close(descriptor)
            if entry.kind != "directory":
                os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), dir_fd=folder, follow_symlinks=False)

    def _dress(self, target: Path, entry: FileEntry) -> None:
        if self._keeping.owners:
            os.chown(target, entry.uid, entry.gid, follow_symlinks=False)
        elif entry.attributes:
            target.chmod(entry.mode | 0o600)
        give(str(target), entry.attributes)
        with self._bearing_modes():
            target.chmod(entry.mode)
        if entry.kind == "file":
            os.utime(target, ns=(entry.mtime_ns, entry.mtime_ns))

    @contextlib.contextmanager
    def _bearing_modes(self) -> Iterator[None]:
        """A disk that keeps no modes may refuse to be given some."""
        try:
            yield
        except OSError:
            if self._keeping.modes:
                raise


def _is_staged(item: PlanItem) -> bool:
    """Whether a plan brings a file or link that is not there with these bytes."""
    return item.change is not Change.DELETE and item.detail["want"][0] != "directory" and not item.detail["same_bytes"]


def _opened(folder: int, name: str, entry: FileEntry) -> int:
    """A descriptor of a file or directory that takes attributes: only who may write to it may give them."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
        os.chmod(name, entry.mode | 0o600, dir_fd=folder)  # unreadable, hence ours alone to give a mode
        descriptor = os.open(name, flags, dir_fd=folder)
    if entry.attributes and os.geteuid() != 0:
        os.fchmod(descriptor, entry.mode | 0o600)
    return descriptor

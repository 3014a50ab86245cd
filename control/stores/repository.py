"""The repository: where snapshots lie, one folder each; the catalogue is the storage itself.

Rules:

- A draft lies in `.drafts`, which no list shows; one that was left by an interrupted make stays until the next one of
  its scope has ended, which takes over what it holds. A draft that was left is never flushed, hence not trusted after
  the machine was started anew; one rename into the scope's folder commits it. The rename refuses an
  existing target (a snapshot's folder is never empty), so two snapshots of one second never share a folder.
- A name is taken in the scope, its trash and, between site and projects, on the other side too.
- Invariant "durable before visible": everything of a draft is flushed before the rename, its parent after it. One
  syncfs and one fsync are enough for that: the first also brings the folders to the disk that lead to the parent.
- Lists read `snapshot.json` and the size of the manifest only; what does not fit is listed as damaged, and the others
  stay usable.
- Delete is a rename into `.trash`; undelete the rename back. Only `labels.json` ever changes in a snapshot.

>>> repository.snapshots(Scope.site())[0].name      # doctest: +SKIP
'2026-11-21T10-53-15Z'
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..errors import BusyError, DamagedError, NoRoomError, NotFoundError
from ..model import CollectionEntry, FileEntry, RestoreMark, Scope, Snapshot, Verdict, is_snapshot_name
from .disk import FULL, names_in, sync_folder, translate
from .draft import Draft
from .drafts import Drafts
from .file_lines import FileLine, read_lines, read_raw_lines
from .headers import NO_DATE, Labels, damaged_header, labels_of, named_moment, read_header, read_labels, write_json
from .keeping import keeping_of
from .manifest import read_collections, read_manifest
from .validator import Told, Validator

_NAME = "%Y-%m-%dT%H-%M-%SZ"
# By so much a name can be later than `made_at`: it would take ten minutes of making more than one snapshot a second.
_DRIFT = timedelta(minutes=10)


class Repository:
    """All snapshots of one run mode, below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._trash = root / ".trash"
        self.drafts = Drafts(root)

    # --- looking

    def folder(self, scope: Scope, name: str, *, trash: bool = False) -> Path:
        """Where the snapshot of that name lies.

        Raises
        ------
        NotFoundError: no such snapshot, or not a name at all.
        """
        folder = scope.stored_folder(self._trash if trash else self.root) / name
        if not is_snapshot_name(name) or not folder.is_dir():
            raise NotFoundError("There is no such snapshot.", subject=name[:50], hint="Look at the list of snapshots.")
        return folder

    def folders(self, scope: Scope, name: str) -> list[Path]:
        """Where a snapshot of that name lies, among the others or in the trash; nowhere, it may be."""
        tops = (scope.stored_folder(self.root), scope.stored_folder(self._trash))
        return [top / name for top in tops if (top / name).is_dir()]

    def place_of(self, scope: Scope, name: str) -> str:
        """The folder of a snapshot, below `root`."""
        return str(scope.stored_folder(Path()) / name)

    def snapshots(self, scope: Scope, *, trash: bool = False) -> list[Snapshot]:
        """The headers of a scope's snapshots, newest first."""
        return list(self.newest_first(scope, trash=trash))

    def newest_first(self, scope: Scope, *, trash: bool = False, until: datetime | None = None) -> Iterator[Snapshot]:
        """The same, each header read when it is wanted: whoever wants the newest waits for no others.

        `until`: all that were made by then, and some that were made a little later.
        """
        top = scope.stored_folder(self._trash if trash else self.root)
        try:
            names = sorted(os.listdir(top))
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, str(top), "the snapshots are as they were") from error
        if until is not None:
            later = bisect.bisect_right(names, (until + _DRIFT).strftime(_NAME))
            names[later:] = [name for name in names[later:] if named_moment(name) == NO_DATE]  # they come last
        # A name is the second of `made_at`, or a later one that was free: no snapshot is newer than its name says. So
        # the newest of those that were read is the newest of all once the next name is of an earlier second.
        read: list[Snapshot] = []
        while names or read:
            if names and not is_snapshot_name(names[-1]):
                names.pop()
                continue
            newest = max(read, key=_age, default=None)
            if names and (newest is None or newest.made_at < named_moment(names[-1]) + timedelta(seconds=1)):
                read.append(self._header(scope, top / names.pop()))
            elif newest is not None:
                read.remove(newest)
                yield newest

    def get(self, scope: Scope, name: str, *, trash: bool = False) -> Snapshot:
        """One header; NotFoundError as `folder`."""
        return self._header(scope, self.folder(scope, name, trash=trash))

    def projects(self) -> list[str]:
        """The ids of all projects that have a folder of snapshots."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(self.root / "project"))
        return []

    def _header(self, scope: Scope, folder: Path) -> Snapshot:
        try:
            header = read_header(scope, folder)
        except DamagedError as error:
            header = damaged_header(scope, folder, error)
        labels = read_labels(folder)
        # Where a snapshot lies decides; on a full disk its labels could not be written.
        if not folder.is_relative_to(self._trash):
            labels = replace(labels, deleted_at=None, deleted_by="")
        elif labels.deleted_at is None:
            with contextlib.suppress(OSError):  # a rename is the last thing that happened to the folder
                labels = replace(labels, deleted_at=datetime.fromtimestamp(folder.stat().st_ctime, UTC))
        return labels_of(header, labels)

    # --- reading what is stored

    def manifest(self, snapshot: Snapshot) -> Iterator[FileEntry | CollectionEntry]:
        """The entries of a snapshot's manifest, after its digest was checked.

        Raises
        ------
        DamagedError: `manifest-missing`, `manifest-bytes`, `manifest-invalid`.
        """
        return read_manifest(self._checked_manifest(snapshot), is_site=snapshot.scope.is_site)

    def collections(self, snapshot: Snapshot) -> dict[str, CollectionEntry]:
        """The collections of a snapshot by name, without a look at its files; errors as `manifest`."""
        return {one.name: one for one in read_collections(self._checked_manifest(snapshot))}

    def file_lines(self, snapshot: Snapshot) -> Iterator[FileLine]:
        """The lines of the files of a manifest, quickly: after its digest was checked nothing else is.

        Raises
        ------
        DamagedError: as `manifest`.
        """
        return read_lines(self._checked_manifest(snapshot))

    def raw_lines(self, snapshot: Snapshot) -> Iterator[bytes]:
        """The same lines as bytes."""
        return read_raw_lines(self._checked_manifest(snapshot))

    def manifest_of(self, snapshot: Snapshot) -> Path:
        """Where a snapshot's manifest lies; nothing of it is checked."""
        return self.folder(snapshot.scope, snapshot.name) / "manifest.jsonl"

    def _checked_manifest(self, snapshot: Snapshot) -> Path:
        path = self.manifest_of(snapshot)
        digest = hashlib.sha256()
        try:
            with open(path, "rb") as file:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
        except OSError as error:
            raise DamagedError("manifest-missing", "has no readable manifest.", subject=snapshot.name) from error
        if digest.hexdigest() != snapshot.manifest_sha256:
            raise DamagedError(
                "manifest-bytes",
                "has a manifest that is not the one that was written.",
                subject=snapshot.name,
                hint="Restore another snapshot; this one is left as it is.",
            )
        return path

    def verify(self, snapshot: Snapshot, scope: Scope, now: datetime, *, quick: bool, told: Told) -> Verdict:
        """What a look at all of a snapshot finds; of one of the site, where `scope` is a project, at its part."""
        folder = self.folder(snapshot.scope, snapshot.name)
        part = scope.project_id if snapshot.scope != scope else None
        keeping = keeping_of(self.root)
        look = Validator(folder, quick=quick, scope=snapshot.scope, part=part or "", told=told, keeping=keeping)
        return look.run(now)

    # --- writing

    def commit(self, draft: Draft, scope: Scope, made_at: datetime) -> Snapshot:
        """Make a complete draft exist, under the first free name from `made_at` on; the one commit point."""
        top = scope.stored_folder(self.root)
        try:
            for folder in (top, scope.stored_folder(self._trash)):  # on a full disk there is no room for a folder
                folder.mkdir(parents=True, exist_ok=True)
            draft.flush()
            with self._naming():
                moment = made_at.astimezone(UTC)
                while True:
                    name = moment.strftime(_NAME)
                    if not self._is_taken(scope, name) and _rename_new(draft.folder, top / name):
                        break
                    moment += timedelta(seconds=1)
            sync_folder(top)
        except OSError as error:
            raise translate(error, str(top), "no snapshot was made") from error
        return self.get(scope, name)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        """Only one process at a time chooses a name."""
        descriptor = os.open(self.root / ".names", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _is_taken(self, scope: Scope, name: str) -> bool:
        tops = [scope.stored_folder(self.root), scope.stored_folder(self._trash)]
        for root in (self.root, self._trash):
            tops += [root / "project" / one for one in names_in(root / "project")] if scope.is_site else [root / "site"]
        return any((top / name).exists() for top in tops)

    def note(self, scope: Scope, name: str, note: str) -> Snapshot:
        """Replace the note of a snapshot."""
        return self._relabel(scope, name, lambda labels: replace(labels, note=note))

    def mark(self, scope: Scope, name: str, mark: RestoreMark) -> Snapshot:
        """Add that a snapshot serves a restore as its safety snapshot, or bring such a mark up to date (same job)."""

        def change(labels: Labels) -> Labels:
            others = tuple(one for one in labels.restores if one.job != mark.job)
            return replace(labels, restores=(*others, mark))

        return self._relabel(scope, name, change)

    def unmark(self, scope: Scope, name: str, job: str) -> None:
        """Take back a mark: the restore changed nothing."""
        self._relabel(
            scope, name, lambda labels: replace(labels, restores=tuple(m for m in labels.restores if m.job != job))
        )

    def _relabel(self, scope: Scope, name: str, change: Callable[[Labels], Labels]) -> Snapshot:
        folder = self.folder(scope, name)
        with self._naming_of(folder):
            labels = read_labels(folder)
            try:
                write_json(folder / "labels.json", change(labels).as_dict())
            except OSError as error:
                raise translate(error, f"labels of {name}", "the snapshot is as it was") from error
        return self.get(scope, name)

    @contextlib.contextmanager
    def _naming_of(self, folder: Path) -> Iterator[None]:
        """Only one process at a time changes the labels of a snapshot."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def delete(self, scope: Scope, name: str, user: str, now: datetime) -> Snapshot:
        """Move a snapshot into the trash of its scope."""
        folder = self.folder(scope, name)
        with self._naming_of(folder):
            try:
                write_json(
                    folder / "labels.json", replace(read_labels(folder), deleted_at=now, deleted_by=user).as_dict()
                )
            except OSError as error:
                # On a full disk the rename still works, and is what makes room in the end; who and when is lost then.
                if error.errno not in FULL:
                    raise translate(error, name, "the snapshot is where it was") from error
        self._move(folder, scope.stored_folder(self._trash) / name)
        return self.get(scope, name, trash=True)

    def remove_unused(self, scope: Scope, name: str) -> None:
        """Remove a snapshot for good, at once: for one that nobody has asked for, where room is scarce.

        Needs the scope's lock. It is a draft again for a moment, which the next make of the scope clears away.
        """
        folder = self.folder(scope, name)
        try:
            self.drafts.take_back(scope, folder)
            sync_folder(folder.parent)
        except OSError as error:
            raise translate(error, name, "the snapshot is where it was") from error

    def undelete(self, scope: Scope, name: str) -> Snapshot:
        """Bring a snapshot back out of the trash, under its name."""
        folder = self.folder(scope, name, trash=True)
        self._move(folder, scope.stored_folder(self.root) / name)
        with contextlib.suppress(NoRoomError):  # it is back; that the labels still say otherwise counts for nothing
            self._relabel(scope, name, lambda labels: replace(labels, deleted_at=None, deleted_by=""))
        return self.get(scope, name)

    def _move(self, source: Path, target: Path) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not _rename_new(source, target):
                raise BusyError("The name is taken.", subject=target.name, hint="Nothing was changed.")
            sync_folder(target.parent)
            sync_folder(source.parent)
        except OSError as error:
            raise translate(error, target.name, "the snapshot is where it was") from error

    def is_writable(self) -> bool:
        """Whether snapshots could be written, as far as rights and mount tell; writes nothing."""
        there = self.root
        while not there.exists() and there != there.parent:
            there = there.parent
        return os.access(there, os.W_OK)


def _age(snapshot: Snapshot) -> tuple[datetime, str]:
    return snapshot.made_at, snapshot.name


def _rename_new(source: Path, target: Path) -> bool:
    """Rename a folder; False where the target exists already."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True

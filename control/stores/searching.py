"""Snapshots found by what is in them or was done with them, without reading every header.

Rule: what is asked of each snapshot is one stat; a header is read only where that says that it may be one of them.

>>> next(with_manifest(repository, scope, 4711, "9f86…")).name      # doctest: +SKIP
'2026-11-21T10-53-15Z'
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..errors import NotFoundError
from ..model import Scope, Snapshot, is_snapshot_name
from .disk import names_in
from .repository import Repository


def with_manifest(repository: Repository, scope: Scope, size: int, sha256: str) -> Iterator[Snapshot]:
    """Those of a scope whose header says that their manifest is these bytes, newest first; not those in the trash."""
    for one in _with_file(repository, scope, "manifest.jsonl", size):
        if one.manifest_sha256 == sha256:
            yield one


def with_labels(repository: Repository, scope: Scope) -> Iterator[Snapshot]:
    """Those of a scope that have labels, as all have that served a restore, newest first; not those in the trash."""
    return _with_file(repository, scope, "labels.json")


def _with_file(repository: Repository, scope: Scope, file: str, size: int | None = None) -> Iterator[Snapshot]:
    top = scope.stored_folder(repository.root)
    for name in sorted(names_in(top), reverse=True):
        if not is_snapshot_name(name):
            continue
        try:
            found = (top / name / file).stat().st_size
        except OSError:
            continue
        if size in (None, found):
            with contextlib.suppress(NotFoundError):
                yield repository.get(scope, name)

"""What restores leave beside the live files: staged files, and those that they replaced; and drafts of intents.

Rules:

- A restore clears away after itself. What one left that was killed, or whose disk was away, goes when the next one of
  the scope begins, or a snapshot of it; and when a worker starts.
- Nothing goes that an unfinished restore or a job that has not ended may still need.

>>> sweep_staged(stores, scope)         # doctest: +SKIP
"""

from __future__ import annotations

from pathlib import Path

from ..model import Scope
from ..stores.disk import names_in, remove_tree, scratch_name, sweep_scratch
from ..stores.files import RESERVED
from .stores import Stores

_KEPT = ".kept"


def sweep_staged(stores: Stores, scope: Scope) -> None:
    """Remove what an interrupted restore of this scope staged; call it with the scope's lock held."""
    stores.intents.sweep(scope)
    sweep_scratch(stores.settings.working / RESERVED, scope)


def left_behind(stores: Stores) -> dict[Scope, frozenset[str]]:
    """The scopes of which something lies there, and the jobs that it is of."""
    found: dict[Scope, set[str]] = {scope: set() for scope in stores.intents.drafts()}
    for name in names_in(stores.settings.working / RESERVED):
        text, _, key = name.removesuffix(_KEPT).rpartition("-")
        try:
            scope = Scope.from_key(text.replace("project.", "project:", 1))
        except ValueError:
            continue
        if key.isalnum() and scratch_name(scope, key) == name.removesuffix(_KEPT):  # else it is none of ours
            found.setdefault(scope, set()).add(key)
    return {scope: frozenset(jobs) for scope, jobs in found.items()}


def sweep_jobs(stores: Stores, scope: Scope, jobs: frozenset[str]) -> None:
    """Remove what these jobs left there; call it with the scope's lock held."""
    stores.intents.sweep(scope)
    for job in jobs:
        remove_tree(stores.settings.working / RESERVED / scratch_name(scope, job))
        remove_tree(kept_folder(stores, scope, job))


def kept_folder(stores: Stores, scope: Scope, key: str) -> Path:
    """Where a restore keeps the live files that it replaces or removes."""
    return stores.settings.working / RESERVED / f"{scratch_name(scope, key)}{_KEPT}"


def forget_kept(stores: Stores, scope: Scope, key: str) -> None:
    """The end is verified, or their room is needed: they are in the safety snapshot."""
    remove_tree(kept_folder(stores, scope, key))

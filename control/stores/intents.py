"""Intents: what a restore is about to change, on disk before it changes anything.

Rules:

- While an intent lies here, its scope counts as closed to writers, and nothing but its completion may begin there.
- Written durably before the first live change, removed durably after the last was verified.
- Somebody may ask for the state before instead, as long as it is not finished (`turn_back`).
- It says what shall be (snapshot, selection), not the steps: whoever finds it computes the difference that is left and
  carries that out, as often as it takes.

>>> intents.open()          # doctest: +SKIP
(Scope(project_id=None),)
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import KeyframeError
from ..model import Order, Scope
from .disk import names_in, sync_folder, translate
from .headers import write_json

_DRAFT = re.compile(r"\.((?:site|project\..+)\.json)\.\d+\Z")  # as `write_json` names it


@dataclass(frozen=True, slots=True)
class Intent:
    """A restore that has begun to change its scope: the job, its order, the safety snapshot, the plan's digest."""

    job: str
    order: Order
    safety: str
    digest: str
    left_paths: tuple[str, ...]
    left_collections: tuple[str, ...]
    report: dict[str, Any]

    @property
    def scope(self) -> Scope:
        return self.order.changed


class Intents:
    """The folder of intents, one file per scope."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> tuple[Scope, ...]:
        """The scopes that a restore has begun to change and not finished."""
        try:
            names = sorted(name for name in os.listdir(self._folder) if not name.startswith("."))
        except FileNotFoundError:
            return ()
        return tuple(_scope_of(name) for name in names)

    def touching(self, scope: Scope) -> tuple[Scope, ...]:
        """Those of them that lie inside or around `scope`."""
        return tuple(one for one in self.open() if one.is_site or scope.is_site or one == scope)

    def read(self, scope: Scope) -> Intent | None:
        """The intent of a scope; None where there is none."""
        try:
            document = json.loads(self._path(scope).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise KeyframeError("The record of an unfinished restore cannot be read.", subject=scope.key) from error
        return Intent(
            job=document["job"],
            order=Order.from_dict(document["order"]),
            safety=document["safety"],
            digest=document["digest"],
            left_paths=tuple(os.fsdecode(bytes.fromhex(path)) for path in document["left_paths"]),
            left_collections=tuple(document["left_collections"]),
            report=document["report"],
        )

    def write(self, intent: Intent) -> None:
        """Make the intent durable; from now on the restore will be finished, whatever happens."""
        document = {
            "job": intent.job,
            "order": intent.order.as_dict(),
            "safety": intent.safety,
            "digest": intent.digest,
            "left_paths": [os.fsencode(path).hex() for path in intent.left_paths],
            "left_collections": list(intent.left_collections),
            "report": intent.report,
        }
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget_wish(intent.scope)  # one that an interrupted end of another restore has left
            write_json(self._path(intent.scope), document)
            sync_folder(self._folder)
        except OSError as error:
            # A rename that was made but not flushed may still stand: take it back, nothing has changed yet.
            with contextlib.suppress(OSError):
                self._path(intent.scope).unlink()
            raise translate(error, "the record of the restore", "nothing was changed") from error

    def turn_back(self, scope: Scope) -> None:
        """Ask whoever finishes the restore to bring back the state before instead; at his next try he does."""
        try:
            self._back(scope).touch()
        except OSError as error:
            raise translate(error, "the record of the restore", "it goes on as it was") from error

    def is_turned_back(self, scope: Scope) -> bool:
        return self._back(scope).exists()

    def remove(self, scope: Scope) -> None:
        """The restore is complete and verified."""
        try:
            with contextlib.suppress(FileNotFoundError):
                self._path(scope).unlink()
                sync_folder(self._folder)
            self._forget_wish(scope)
        except OSError as error:
            raise translate(error, "the record of the restore", "the restore is complete but for this") from error

    def drafts(self) -> tuple[Scope, ...]:
        """The scopes whose intents somebody writes, or was killed while writing."""
        return tuple({scope for scope, _ in self._drafts()})

    def sweep(self, scope: Scope) -> None:
        """Remove what writers of the scope's intent left that were killed; needs the scope's lock."""
        for one, name in self._drafts():
            if one == scope:
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()

    def _drafts(self) -> Iterator[tuple[Scope, str]]:
        for name in names_in(self._folder):
            found = _DRAFT.match(name)
            if found is not None:
                with contextlib.suppress(ValueError):
                    yield _scope_of(found[1]), name

    def _forget_wish(self, scope: Scope) -> None:
        """Nobody asks for the state before any more."""
        with contextlib.suppress(FileNotFoundError):
            self._back(scope).unlink()

    def _back(self, scope: Scope) -> Path:
        return self._folder / f".{scope.key.replace(':', '.')}.back"

    def _path(self, scope: Scope) -> Path:
        return self._folder / f"{scope.key.replace(':', '.')}.json"


def _scope_of(name: str) -> Scope:
    return Scope.from_key(name.removesuffix(".json").replace("project.", "project:", 1))

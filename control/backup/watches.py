"""Whom the parts of Backup tell how far they are, and who may stop them.

Rule: `check` and `progress` raise `CancelledError` when the work shall stop, unless it is past the point of no return.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from ..errors import CancelledError, KeyframeError
from ..model import Progress


class Watch(Protocol):
    """Told about progress; a running job's claim is one."""

    def progress(self, progress: Progress) -> None: ...

    def check(self) -> None: ...


class Quiet:
    """For a part of the work whose progress is not shown, but which may be stopped."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def progress(self, progress: Progress) -> None:  # noqa: ARG002  (not shown)
        self._watch.check()

    def check(self) -> None:
        self._watch.check()


class Within:
    """For a part of the work that is one step of the whole: its files are counted under the name of that step."""

    def __init__(self, watch: Watch, stage: str, step: int, steps: int) -> None:
        self._watch = watch
        self._stage, self._step, self._steps = stage, step, steps

    def progress(self, progress: Progress) -> None:
        if progress.unit == "files":
            self._watch.progress(replace(progress, stage=self._stage, step=self._step, steps=self._steps))
        else:
            self._watch.check()

    def check(self) -> None:
        self._watch.check()


class Unstoppable:
    """For what must be finished once it has begun: shown, but not asked whether to stop."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def progress(self, progress: Progress) -> None:
        with contextlib.suppress(KeyframeError):
            self._watch.progress(progress)

    def check(self) -> None:
        """Goes on."""


class Until:
    """For recovery: nobody looks, but the process may be ending."""

    def __init__(self, is_ending: Callable[[], bool]) -> None:
        self._is_ending = is_ending

    def progress(self, progress: Progress) -> None:  # noqa: ARG002  (not shown)
        self.check()

    def check(self) -> None:
        if self._is_ending():
            raise CancelledError("The program is ending.", hint="The next start goes on.")


class Silent:
    """Nobody looks, nobody stops."""

    def progress(self, progress: Progress) -> None:
        """Goes nowhere."""

    def check(self) -> None:
        """Goes on."""

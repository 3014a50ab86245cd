"""Whom the parts of Backup tell how far they are, and who may stop them.

Rules:

- `check` and `progress` raise `CancelledError` when the work shall stop, unless it is past the point of no return.
- `confirm` asks the server whether the job is still ours; whoever publishes something asks first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from ..errors import CancelledError, KeyframeError
from ..model import Fence, Progress

_FILE = 4096  # bytes of records are compared in about the time that looking at a file takes


class Watch(Protocol):
    """Told about progress; a running job's claim is one."""

    def progress(self, progress: Progress) -> None: ...

    def check(self) -> None: ...

    def confirm(self) -> None: ...

    @property
    def fence(self) -> Fence | None: ...


class Quiet:
    """For a part of the work whose progress is not shown, but which may be stopped."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def progress(self, progress: Progress) -> None:  # noqa: ARG002  (not shown)
        self._watch.check()

    def check(self) -> None:
        self._watch.check()

    def confirm(self) -> None:
        self._watch.confirm()

    @property
    def fence(self) -> Fence | None:
        return self._watch.fence


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

    def confirm(self) -> None:
        self._watch.confirm()

    @property
    def fence(self) -> Fence | None:
        return self._watch.fence


class Comparing:
    """Tells how far a comparison is, in percent of what there is to compare: records by their bytes in the snapshot.

    >>> comparing.expect({"edition": 4_000_000})        # doctest: +SKIP
    >>> comparing.begin("edition")                      # doctest: +SKIP
    >>> comparing.passed(1_000_000)                     # doctest: +SKIP
    """

    def __init__(self, watch: Watch, step: tuple[int, int], files: int) -> None:
        self._watch = watch
        self._step = step
        self._rest = self._total = files * _FILE
        self._starts: dict[str, tuple[int, int]] = {}  # of each collection: where it begins, and where it ends
        self._name, self._done = "", 0

    def expect(self, sizes: Mapping[str, int]) -> None:
        """The collections, in the order in which they will begin."""
        self._total = self._rest
        at = 0
        for name, size in sizes.items():
            self._starts[name] = (at, at + size)
            at += size
        self._total += at

    def begin(self, name: str) -> None:
        """All of those before it are through, also what was not passed of them."""
        self._name, self._done = name, self._starts.get(name, (self._done, 0))[0]
        self.tell(name)

    def passed(self, size: int) -> None:
        """So many bytes of this collection were compared."""
        self._done = min(self._done + size, self._starts.get(self._name, (0, self._done))[1])
        self.tell(self._name)

    def end(self) -> None:
        """All records are through."""
        self._done = self._total - self._rest

    def tell(self, item: str) -> None:
        """Tell it, with what is looked at now."""
        percent = 100 * self._done // self._total if self._total else 0
        self._watch.progress(Progress("comparing", *self._step, percent, 100, "%", item))


class Unstoppable:
    """For what must be finished once it has begun: shown, but not asked whether to stop."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def progress(self, progress: Progress) -> None:
        with contextlib.suppress(KeyframeError):
            self._watch.progress(progress)

    def check(self) -> None:
        """Goes on."""

    def confirm(self) -> None:
        self._watch.confirm()

    @property
    def fence(self) -> Fence | None:
        return self._watch.fence


class Until:
    """For recovery, which the end of the process stops: `job` is the claim of the lost job, `told` whoever looks on."""

    def __init__(
        self,
        is_ending: Callable[[], bool],
        job: Watch | None = None,
        told: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._is_ending = is_ending
        self._job = job
        self._told = told

    def progress(self, progress: Progress) -> None:
        self.check()
        self._told(progress)
        if self._job is not None:
            self._job.progress(progress)

    def check(self) -> None:
        if self._is_ending():
            raise CancelledError("The program is ending.", hint="The next start goes on.")
        if self._job is not None:
            self._job.check()

    def confirm(self) -> None:
        if self._job is not None:
            self._job.confirm()

    @property
    def fence(self) -> Fence | None:
        return None if self._job is None else self._job.fence


class Silent:
    """Nobody looks, nobody stops."""

    def progress(self, progress: Progress) -> None:
        """Goes nowhere."""

    def check(self) -> None:
        """Goes on."""

    def confirm(self) -> None:
        """There is no job that could be another's."""

    @property
    def fence(self) -> Fence | None:
        return None

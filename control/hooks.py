"""Hooks: functions of the host application that are called when a restore has changed something.

Rules:

- A hook is told, not asked: what it raises, or that it does not end in time, becomes a warning of the outcome and a
  line in the log. The restore is done all the same.
- It is called with the gate open and before the job ends. A job whose worker was lost between the change and its end is
  ended by the next one, who calls the hooks, too: so each is called at least once, and perhaps again.
- Nobody is told of what changed nothing live: a restore that found nothing to do, that was refused, or a copy beside
  the live site.
- Names in the settings are looked up when the office is built; all that cannot be found are told at once.

>>> hooks.after_restore(job.id, job.order, outcome).warnings        # doctest: +SKIP
()
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from .config import key_of
from .errors import Problem, SettingsError
from .model import Action, Order, Outcome, OutcomeStatus, Scope
from .settings import HookSettings
from .stores.done_plans import DonePlan, DonePlans

log = structlog.get_logger(__name__)

AfterRestore = Callable[[Scope, DonePlan], object]

_EMPTY_BY_HAND = "Look into the log, and empty what that hook keeps in step by hand; the data itself is as it shall be."


@dataclass(frozen=True, slots=True)
class Hook:
    """A function of the host, and what it is called in settings and log."""

    name: str
    call: AfterRestore


class Hooks:
    """What the host wants to be told.

    Parameters
    ----------
    after_restore: functions given by code, called after those that the settings name.

    Raises
    ------
    SettingsError: a name in the settings is none of a function that can be imported.
    """

    def __init__(self, settings: HookSettings, plans: DonePlans, after_restore: Sequence[AfterRestore] = ()) -> None:
        self._plans = plans
        self._seconds = settings.seconds
        self._after_restore = (*named_hooks(settings), *(Hook(_name_of(one), one) for one in after_restore))

    def after_restore(self, job: str, order: Order, outcome: Outcome) -> Outcome:
        """Tell the hooks what a job has changed, if it has; the outcome, with a warning for each hook that failed.

        Never raises for what a hook does.
        """
        if not self._after_restore or not _has_changed(order, outcome):
            return outcome
        warnings = []
        for hook in self._after_restore:
            plan = self._plans.of(order, outcome)
            found = self._called(hook, order.changed, plan, job)
            warnings += [found] if found else []
        return replace(outcome, warnings=(*outcome.warnings, *warnings))

    def _called(self, hook: Hook, scope: Scope, plan: DonePlan, job: str) -> Problem | None:
        """Call one hook in a thread of its own; the warning where it failed, or goes on after its time."""
        began = time.monotonic()
        failed: list[BaseException] = []
        is_late = threading.Event()

        def call() -> None:
            try:
                hook.call(scope, plan)
            except BaseException as error:  # also SystemExit: whatever it was, it is the host's
                failed.append(error)
                log.exception("hook.failed", hook=hook.name, job=job, scope=scope.key)
            if is_late.is_set():
                log.warning("hook.ended-late", hook=hook.name, job=job, seconds=round(time.monotonic() - began, 1))

        thread = threading.Thread(target=call, name=f"hook {hook.name}", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            is_late.set()
            log.warning("hook.slow", hook=hook.name, job=job, scope=scope.key, seconds=self._seconds)
            what = f"has not ended after {self._seconds:g} s and was left to itself: pages may show what was before."
            return Problem("hook", what, f"the hook {hook.name}", _EMPTY_BY_HAND)
        if failed:
            what = f"has failed ({type(failed[0]).__name__}): pages may show what was before."
            return Problem("hook", what, f"the hook {hook.name}", _EMPTY_BY_HAND)
        return None


def _has_changed(order: Order, outcome: Outcome) -> bool:
    """Whether the job has changed something live, also where it was turned back afterwards."""
    if order.act in (Action.RESTORE, Action.UNDO):
        return outcome.safety is not None  # told of a restore only that has written its intent
    return order.act is Action.DUPLICATE and outcome.status in (OutcomeStatus.DONE, OutcomeStatus.PARTIAL)


def named_hooks(settings: HookSettings) -> tuple[Hook, ...]:
    """Those that the settings name.

    Raises
    ------
    SettingsError: some cannot be imported; each is told.
    """
    found, mistakes = [], []
    for number, name in enumerate(settings.after_restore):
        try:
            found.append(Hook(name, _imported(name)))
        except Exception as error:  # whatever the host's module does when it is imported
            why = " ".join(str(error).split())
            key = key_of(("hooks", "after_restore", number), os.environ)
            mistakes.append(
                f"{key}: found {name!r}, expected: a function that can be imported ({type(error).__name__}: {why})"
            )
    if mistakes:
        count = f"{len(mistakes)} mistake{'s' if len(mistakes) > 1 else ''} in the settings"
        raise SettingsError(
            f"{count}: " + "; ".join(mistakes) + ".",
            subject="hooks.after_restore",
            hint="Correct the name, or install the module where Python finds it (PYTHONPATH); nothing was started.",
            mistakes=tuple(mistakes),
        )
    return tuple(found)


def _imported(name: str) -> AfterRestore:
    module, _, path = name.partition(":")
    found: object = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{path} is {type(found).__name__}, which cannot be called")
    return found


def _name_of(hook: AfterRestore) -> str:
    """As settings would name it."""
    named = hook if hasattr(hook, "__qualname__") else type(hook)
    return f"{named.__module__}:{getattr(named, '__qualname__', '')}"

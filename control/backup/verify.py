"""Verifying a stored snapshot: every hash, count, missing and extra file; the verdict is remembered.

Rules:

- Nothing of the snapshot is changed, whatever is found.
- Damage ends the job `failed`, with each finding named; what is only to know of does not.
- A project can verify its part of a snapshot of the site: its own files, and what all projects share.

>>> Verify(stores, watch).run(order).report["status"]       # doctest: +SKIP
'good'
"""

from __future__ import annotations

from ..model import Order, Outcome, OutcomeStatus, Progress
from .stores import Stores
from .watches import Watch


class Verify:
    """One verification of one snapshot."""

    def __init__(self, stores: Stores, watch: Watch) -> None:
        self._stores = stores
        self._watch = watch

    def run(self, order: Order) -> Outcome:
        """Look at all of it, and remember what was found.

        Raises
        ------
        NotFoundError: it is not there any more. CancelledError: nothing is remembered then.
        """
        repository, stage = self._stores.repository, "comparing names and sizes" if order.quick else "reading all of it"

        def told(done: int, total: int) -> None:
            self._watch.progress(Progress(stage, 1, 1, min(done, total), total, "bytes"))

        told(0, 0)
        snapshot = repository.get(order.source or order.scope, order.snapshot)
        verdict = repository.verify(snapshot, order.scope, self._stores.now(), quick=order.quick, told=told)
        self._stores.verdicts.remember(order.scope, snapshot.name, verdict)
        status = OutcomeStatus.FAILED if verdict.is_bad else OutcomeStatus.DONE
        return Outcome(status, snapshot.name, problems=verdict.damages, report=verdict.as_dict())

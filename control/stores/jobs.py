"""Jobs in the control database: the truth about long work, and its history.

Rules:

- States go `queued`, `running`, `ended`, one way; each step is one conditional update.
- Progress and end are written with the fence of the claim: who lost his scope writes nothing any more.
- Times are those of the server.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database

from ..errors import no_such_job
from ..model import Action, Fence, Job, JobState, Order, Outcome, OutcomeStatus, Progress, Scope
from .control import Document, answering, collection, storable

_JOB_ID = re.compile(r"[0-9a-f]{24}\Z")
_DAY = 24 * 3600


class JobStore:
    """The collections `jobs` and `workers`. Made without asking the server; the first write creates their indexes.

    Every method raises `UnavailableError` when the control database does not answer.
    """

    def __init__(self, database: Database[Document]) -> None:
        self._jobs = collection(database, "jobs")
        self._workers = collection(database, "workers")
        self._indexed = False

    def add(self, order: Order) -> Job:
        """A new job, queued."""
        doc = {
            "state": JobState.QUEUED.value,
            "order": storable(order.as_dict()),
            "progress": Progress().as_dict(),
            "outcome": None,
            "started_at": None,
            "ended_at": None,
            "fence": 0,
        }
        with answering():
            self._index()
            stored: Document = self._jobs.find_one_and_update(
                {"_id": str(ObjectId())},
                {"$setOnInsert": doc, "$currentDate": {"created_at": True}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )  # type: ignore[assignment]  # an upsert always finds one
        return _job(stored)

    def get(self, job_id: str) -> Job:
        """The job as it stands now.

        Raises
        ------
        NotFoundError: there is no such job; a text that is no id of a job is none.
        """
        job = self.find(job_id)
        if job is None:
            raise no_such_job()
        return job

    def find(self, job_id: str) -> Job | None:
        if not _JOB_ID.match(job_id):
            return None
        with answering():
            doc = self._jobs.find_one({"_id": job_id})
        return _job(doc) if doc else None

    def queued(self) -> tuple[Job, ...]:
        """All that wait, oldest first."""
        with answering():
            docs = list(self._jobs.find({"state": JobState.QUEUED.value}).sort([("created_at", 1), ("_id", 1)]))
        return tuple(_job(doc) for doc in docs)

    def running(self) -> tuple[Job, ...]:
        with answering():
            docs = list(self._jobs.find({"state": JobState.RUNNING.value}).sort([("created_at", 1), ("_id", 1)]))
        return tuple(_job(doc) for doc in docs)

    def of_scope(self, scope: Scope, limit: int) -> tuple[Job, ...]:
        """Newest first, in whatever state."""
        with answering():
            found = self._jobs.find({"order.scope": scope.key}).sort([("created_at", -1), ("_id", -1)]).limit(limit)
            docs = list(found)
        return tuple(_job(doc) for doc in docs)

    def latest_restore(self, scope: Scope) -> Job | None:
        """The restore or undo of the scope that ended last and carried something out."""
        wanted = {
            "order.scope": scope.key,
            "order.act": {"$in": [Action.RESTORE.value, Action.UNDO.value]},
            "state": JobState.ENDED.value,
            "outcome.status": {"$in": [OutcomeStatus.DONE.value, OutcomeStatus.PARTIAL.value]},
        }
        with answering():
            doc = self._jobs.find_one(wanted, sort=[("ended_at", -1), ("_id", -1)])
        return _job(doc) if doc else None

    def of_plan(self, digest: str) -> Job | None:
        """The job that computed this plan last."""
        with answering():
            doc = self._jobs.find_one({"outcome.report.digest": digest}, sort=[("ended_at", -1), ("_id", -1)])
        return _job(doc) if doc else None

    def start(self, job_id: str, fence: int) -> Job | None:
        """From queued to running under `fence`; None when it is not queued any more."""
        return self._step(
            {"_id": job_id, "state": JobState.QUEUED.value},
            {
                "$set": {"state": JobState.RUNNING.value, "fence": fence},
                "$currentDate": {"started_at": True},
            },
        )

    def withdraw(self, job_id: str, outcome: Outcome) -> Job | None:
        """From queued to ended; None when it is not queued any more."""
        return self._step(
            {"_id": job_id, "state": JobState.QUEUED.value},
            {
                "$set": {"state": JobState.ENDED.value, "outcome": storable(outcome.as_dict())},
                "$currentDate": {"ended_at": True},
            },
        )

    def refence(self, job_id: str, fence: int, new_fence: int) -> Job | None:
        """Put a running job under the fence of who took it over; None when it does not run under `fence` any more."""
        return self._step(_running(job_id, fence), {"$set": {"fence": new_fence}})

    def progress(self, job_id: str, fence: int, progress: Progress) -> bool:
        """Write how far it is; False when it does not run under this fence any more."""
        with answering():
            result = self._jobs.update_one(
                _running(job_id, fence), {"$set": {"progress": storable(progress.as_dict())}}
            )
        return result.matched_count == 1

    def end(self, job_id: str, fence: int, outcome: Outcome, progress: Progress) -> Job | None:
        """From running to ended; None when it does not run under this fence any more."""
        ended = {
            "state": JobState.ENDED.value,
            "outcome": storable(outcome.as_dict()),
            "progress": storable(progress.as_dict()),
        }
        return self._step(_running(job_id, fence), {"$set": ended, "$currentDate": {"ended_at": True}})

    def beat(self, worker: str) -> None:
        """Note that the worker lives, by the server's clock."""
        with answering():
            self._index()
            self._workers.update_one({"_id": worker}, {"$currentDate": {"beat_at": True}}, upsert=True)

    def leave(self, worker: str) -> None:
        """Forget the worker: it ended in order."""
        with answering():
            self._workers.delete_one({"_id": worker})

    def beats(self, seconds: float) -> bool:
        """Whether any worker has beaten within the last `seconds`."""
        since = {"$subtract": ["$$NOW", int(seconds * 1000)]}
        with answering():
            return self._workers.find_one({"$expr": {"$gt": ["$beat_at", since]}}, {"_id": 1}) is not None

    @staticmethod
    def touch(database: Database[Document], fence: Fence, session: ClientSession) -> bool:
        """Within a transaction: bind it to a job that runs under this fence; False when it does not any more.

        Whoever takes the job over writes the same document, so that only one of the two can commit.
        """
        jobs = database["jobs"]
        update = {"$inc": {"touched": 1}}
        return jobs.update_one(_running(fence.job, fence.number), update, session=session).matched_count == 1

    def _step(self, condition: Document, update: Document) -> Job | None:
        with answering():
            doc = self._jobs.find_one_and_update(condition, update, return_document=ReturnDocument.AFTER)
        return _job(doc) if doc else None

    def _index(self) -> None:
        if self._indexed:
            return
        self._jobs.create_indexes(
            [
                IndexModel([("state", ASCENDING), ("created_at", ASCENDING)]),
                IndexModel([("order.scope", ASCENDING), ("created_at", DESCENDING)]),
                IndexModel([("outcome.report.digest", ASCENDING)], sparse=True),
            ]
        )
        self._workers.create_indexes([IndexModel([("beat_at", ASCENDING)], expireAfterSeconds=_DAY)])
        self._indexed = True


def _running(job_id: str, fence: int) -> Document:
    return {"_id": job_id, "state": JobState.RUNNING.value, "fence": fence}


def _job(doc: Mapping[str, Any]) -> Job:
    return Job(
        id=doc["_id"],
        order=Order.from_dict(doc["order"]),
        state=JobState(doc["state"]),
        progress=Progress(**doc["progress"]),
        outcome=Outcome.from_dict(doc["outcome"]) if doc["outcome"] else None,
        created_at=doc["created_at"],
        started_at=doc["started_at"],
        ended_at=doc["ended_at"],
        fence=doc["fence"],
    )

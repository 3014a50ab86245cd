"""`Prefer: wait=N` (RFC 7240): a client may wait for a job, as long as not too many do.

Rules:

- At most a quarter of a process's threads wait; whoever comes then gets 202 at once.
- A job that was accepted stays accepted: if the wait itself fails, the answer is 202.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field

from flask import request

from ..desk import Desk
from ..errors import UnavailableError
from ..model import Actor, Job, JobState
from .patience import waiting

LONGEST = 60  # seconds
_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=[,;]|$)', re.IGNORECASE)


@dataclass(frozen=True)
class Waited:
    """The job as it was last seen, and the headers that say what became of the preference."""

    job: Job
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.job.state is JobState.ENDED


def preferred() -> int | None:
    """Seconds that the current request asks to wait, at most `LONGEST`; None: it does not say."""
    found = _WAIT.search(",".join(request.headers.getlist("Prefer")))
    return min(int(found.group(1)), LONGEST) if found else None


class Waits:
    """The waiting places of this process."""

    def __init__(self, threads: int) -> None:
        self._places = threading.BoundedSemaphore(max(1, threads // 4))

    def wait(self, desk: Desk, actor: Actor, job: Job, default: int = 0) -> Waited:
        """Wait for `job` as long as the request asks for; `default` seconds if it does not say."""
        asked = preferred()
        seconds = default if asked is None else asked
        if seconds == 0 or job.state is JobState.ENDED or not self._places.acquire(blocking=False):
            return Waited(job)
        try:
            job = waiting(desk.wait, actor, job.id, float(seconds))
        except UnavailableError:
            return Waited(job)
        finally:
            self._places.release()
        return Waited(job, {} if asked is None else {"Preference-Applied": f"wait={seconds}"})

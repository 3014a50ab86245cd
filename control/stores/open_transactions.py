"""Which transactions are open: whoever is killed in one leaves it to the server, which keeps it for a minute.

All that it has written stays locked so long, and whoever finishes the restore would wait, with the gate closed. Rules:

- A note for each open transaction, named after its session; its writer holds it locked. One that can be locked is that
  of a process that is gone: its session is ended, and the transaction with it.
- Notes are a help: where the disk does not take one, recovery takes a minute.

Source: MongoDB manual, `killSessions` (everybody may end sessions of his own) and `transactionLifetimeLimitSeconds`.

>>> with open_transactions.noted(session_id): session.with_transaction(…)        # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import structlog
from bson.binary import Binary
from pymongo.errors import PyMongoError

from .disk import names_in
from .mongo import Mongo

log = structlog.get_logger(__name__)


class OpenTransactions:
    """The folder of these notes; made without touching the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def noted(self, session: bytes) -> Iterator[None]:
        """Around a transaction: a note that says of which session it is (its id, 16 bytes)."""
        path, descriptor = self._folder / session.hex(), -1
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            yield
        finally:
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    path.unlink()
                os.close(descriptor)

    def end_lost(self, mongo: Mongo) -> int:
        """End the transactions whose processes are gone. Returns how many notes of such there were."""
        ended = 0
        for name in names_in(self._folder):
            with contextlib.suppress(OSError, ValueError), self._lost(name) as session:
                try:
                    mongo.client.admin.command("killSessions", [{"id": Binary.from_uuid(session)}])
                except PyMongoError as error:  # then the server ends it, later
                    log.info("transaction.left", session=name, why=str(error))
                    continue
                (self._folder / name).unlink()
                log.info("transaction.ended", session=name)
                ended += 1
        return ended

    @contextlib.contextmanager
    def _lost(self, name: str) -> Iterator[UUID]:
        """Holds a note; OSError where its writer still does or it is gone, ValueError where it is none."""
        session = UUID(hex=name)
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino != os.stat(self._folder / name).st_ino:
                raise FileNotFoundError(name)  # it was removed, and another transaction has its name
            yield session
        finally:
            os.close(descriptor)

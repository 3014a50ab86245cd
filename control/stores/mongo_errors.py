"""The driver's errors, turned into ours; and the two of them that a reading at one instant must tell apart.

>>> with translated("server"): ...      # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from ..errors import InvalidError, KeyframeError, UnavailableError
from .idents import shown_id
from .raw import id_bytes

_DUPLICATE = 11000
_OVERTAKEN = 239  # SnapshotTooOld
# SnapshotUnavailable: made, renamed or indexed after the instant. QueryPlanKilled: dropped or renamed while it was
# read. CappedPositionLost: overwritten while it was read.
_COLLECTION_CHANGED = (246, 175, 136)


class ReadAgainError(UnavailableError):
    """A collection is no longer what it was at the instant; at another one it can be read."""


@contextlib.contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except (ConnectionFailure, ExecutionTimeout, WTimeoutError, ConfigurationError, InvalidOperation) as error:
        raise _not_answering(error, subject) from error
    except BulkWriteError as error:
        failed = (error.details or {}).get("writeErrors")
        if not failed:  # every record was taken, but is not safe yet
            raise _not_answering(error, subject) from error
        raise _not_written(failed[0], subject) from error
    except OperationFailure as error:
        if error.code in _COLLECTION_CHANGED:
            raise ReadAgainError(
                "was changed by somebody while it was read.", subject=subject, hint="Try again when it is quiet."
            ) from error
        if error.code == _OVERTAKEN:
            raise UnavailableError(
                "took longer than the server keeps its history.",
                subject=subject,
                hint="Raise minSnapshotHistoryWindowInSeconds of the server, or try again when it is quiet.",
            ) from error
        if error.has_error_label("TransientTransactionError"):  # after two minutes of trying again
            raise UnavailableError(
                f"MongoDB could not carry it out now ({_short(error)}).", subject=subject, hint="Try again later."
            ) from error
        if error.has_error_label("RetryableWriteError"):  # it is being shut down, or another one takes over
            raise _not_answering(error, subject) from error
        raise KeyframeError(f"MongoDB refused ({_short(error)}).", subject=subject) from error
    except PyMongoError as error:
        raise KeyframeError(f"MongoDB failed ({_short(error)}).", subject=subject) from error


def _not_answering(error: Exception, subject: str) -> UnavailableError:
    return UnavailableError(
        f"MongoDB does not answer ({_short(error)}).", subject=subject, hint="Start it or wait, then try again."
    )


def _not_written(failed: Mapping[str, Any], subject: str) -> InvalidError:
    """What the server says about one record of many; without the values in it."""
    why, hint = "the server refuses it", "Look at that record in the snapshot, then try again."
    if failed.get("code") == _DUPLICATE:
        taken = ", ".join(failed.get("keyPattern", {}))
        why = f"another record has its unique value of {taken}" if taken else "another record has a unique value of it"
        hint = "A record outside the restore has that value; change it there, then try again."
    record = failed.get("op")
    name = f", record {shown_id(id_bytes(bytes(record.raw)))}" if isinstance(record, RawBSONDocument) else ""
    code = failed.get("code", 0)
    return InvalidError(f"could not be written: {why} (error {code} of MongoDB).", subject=subject + name, hint=hint)


def _short(error: Exception) -> str:
    """The first sentence of a driver's message; addresses of servers stay, documents and stack do not."""
    return str(error).split(", full error")[0].split(", Timeout:")[0].split(" (configured timeouts")[0][:200]

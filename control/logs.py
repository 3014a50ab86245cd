"""The log: one JSON line per event, appended to a file below `var/log`.

Rules:

- Ours and the libraries' events go to the same file in the same form; each process names its file once, at its start.
- No secret is ever logged: no address of a database, no token, no password.

>>> configure(Path("var/log/worker.log"))
>>> structlog.get_logger("keyframe.worker").info("job.ended", job="65a1", status="done")
"""

from __future__ import annotations

import contextlib
import logging
from logging.handlers import WatchedFileHandler
from pathlib import Path

import structlog

_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    structlog.processors.format_exc_info,
)


def configure(path: Path, *, make_folder: bool = True) -> None:
    """Send all events of this process, from level info on, to the end of the file `path`.

    Parameters
    ----------
    make_folder: False is for a process that only looks: where the folder is not there, or not to be written into, its
        events go nowhere.

    Raises
    ------
    OSError: the file cannot be written; not where `make_folder` is False.
    """
    handler: logging.Handler = logging.NullHandler()
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.nullcontext() if make_folder else contextlib.suppress(OSError):
        handler = WatchedFileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("event"),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def path() -> Path | None:
    """The file that this process logs to; None: none was named yet."""
    found = (one for one in logging.getLogger().handlers if isinstance(one, WatchedFileHandler))
    return next((Path(one.baseFilename) for one in found), None)

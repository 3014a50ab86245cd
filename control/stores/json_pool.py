"""JSON made in other processes, so that reading, hashing and writing go on meanwhile.

Rules:

- Helpers are spawned when the first large block comes; small ones are not worth it and are made here.
- How helpers live and die is told in `programs.py`.

>>> with JsonPool(2) as pool: pool.make(raw).result()        # doctest: +SKIP
Lines(text=b'{ "_id" : …
"""

from __future__ import annotations

import os
from concurrent.futures import Future

from . import json_program
from .json_lines import Lines, lines_of
from .programs import Programs

_SMALL = 100_000  # bytes that are made at once here
_MOST_HELPERS = 4
_LARGE = 4 << 20  # bytes from which on the helpers' memory goes back to the system at once


def helpers_here() -> int:
    """How many helpers of a kind this machine is good for."""
    return max(1, min(_MOST_HELPERS, len(os.sched_getaffinity(0))))


class JsonPool:
    """Helpers that make lines of JSON; use it as a context."""

    def __init__(self, helpers: int) -> None:
        self.programs = Programs(json_program.__name__, helpers, {"MALLOC_MMAP_THRESHOLD_": str(_LARGE)})

    def __enter__(self) -> JsonPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make(self, raw: bytes) -> Future[Lines]:
        """The lines of whole documents, in time; `result` raises UnavailableError where the helper was lost."""
        future: Future[Lines] = Future()
        if len(raw) <= _SMALL:
            future.set_result(lines_of(raw))
        else:
            self.programs.ask_one(raw, json_program.lines_in, future)
        return future

    def close(self) -> None:
        """End the helpers, whatever they are at."""
        self.programs.close()

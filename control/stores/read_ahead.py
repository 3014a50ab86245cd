"""Reading in a thread while what was read before is worked on.

Rules:

- What waits is bounded in bytes.
- Who waits for the next looks five times a second whether to stop.

>>> with ReadAhead(reader.blocks("edition", {}), watch.check) as blocks:       # doctest: +SKIP
...     for block in blocks: ...
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator

from .blocks import BLOCK, Block

_MOST_WAITING = 4 * BLOCK
_LOOK_UP = 0.2  # seconds
_END_SECONDS = 5.0


class ReadAhead:
    """Blocks, read in a thread of their own; use it as a context."""

    def __init__(self, source: Iterator[tuple[int, Block]], check: Callable[[], None]) -> None:
        self._source = source
        self._check = check
        self._queue: queue.SimpleQueue[tuple[int, Block] | BaseException | None] = queue.SimpleQueue()
        self._room = threading.Condition()
        self._waiting = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._read, name="read ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._room:
            self._stopped = True
            self._room.notify()
        self._thread.join(_END_SECONDS)  # a server that hangs is not waited for

    def __iter__(self) -> Iterator[tuple[int, Block]]:
        while True:
            try:
                found = self._queue.get(timeout=_LOOK_UP)
            except queue.Empty:
                self._check()
                continue
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            with self._room:
                self._waiting -= len(found[1].raw)
                self._room.notify()
            yield found

    def _read(self) -> None:
        try:
            for found in self._source:
                with self._room:
                    while self._waiting and self._waiting + len(found[1].raw) > _MOST_WAITING and not self._stopped:
                        self._room.wait()
                    if self._stopped:
                        return
                    self._waiting += len(found[1].raw)
                self._queue.put(found)
                del found
            self._queue.put(None)
        except BaseException as error:  # raised where the blocks are used
            self._queue.put(error)
        finally:
            if isinstance(self._source, Generator):
                with contextlib.suppress(Exception):
                    self._source.close()

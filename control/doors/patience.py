"""How long a request waits for a database that is silent: the doors' one deadline.

Rules:

- All that one request asks of the database shares `mongo.timeout`; a server that hangs does not hold a thread longer.
- Who waits for a job on purpose is outside of it.

>>> with bounded(3.0): desk.scopes(actor)       # doctest: +SKIP
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from typing import ParamSpec, TypeVar

from ..stores.control import within

_P = ParamSpec("_P")
_R = TypeVar("_R")


def bounded(seconds: float) -> AbstractContextManager[None]:
    """The database is asked for so many seconds inside, all questions together; then it is UnavailableError."""
    return within(seconds)


def bounded_view(seconds: float, view: Callable[_P, _R]) -> Callable[_P, _R]:
    """The view, with that deadline around each of its calls."""

    @functools.wraps(view)
    def asked(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with bounded(seconds):
            return view(*args, **kwargs)

    return asked


def waiting(wait: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """The answer of a call that may take longer than the deadline around it."""
    return Context().run(wait, *args, **kwargs)  # the driver keeps its deadline in a context variable

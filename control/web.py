"""Settings of gunicorn: `gunicorn --config python:keyframe.web 'keyframe.site:create_app()'`.

Rules:

- Names and functions here are gunicorn's (https://docs.gunicorn.org/en/stable/settings.html); words on its command
  line go before them. `keyframe up` adds address, numbers of workers and threads, and log files there.
- A worker dies with gunicorn, however that ends, so that no orphan holds the port.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import logs
from .processes import die_with_parent
from .settings import load

worker_class = "gthread"
workers = 2
threads = 32
# Seconds for requests that run when the end was asked for; longer ones wait for a job that goes on without them.
graceful_timeout = 3
timeout = 60
keepalive = 5
max_requests = 0
# It would be a socket below the home folder, shared by all that this user runs.
control_socket_disable = True
# Who asked is read from the connection; a proxy in front is the host's own affair.
forwarded_allow_ips = ""


def on_starting(server: Any) -> None:  # noqa: ARG001  (gunicorn's signature)
    """Before the workers are forked: load the application's code once for all of them; each then makes its own."""
    for name in ("site", "doors.api", "doors.health", "doors.pages", "doors.writes"):
        importlib.import_module(f"keyframe.{name}")


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001  (gunicorn's signature)
    """First thing in each worker: tie its life to gunicorn's, and open its log."""
    die_with_parent(server.pid)
    logs.configure(load().var / "log" / "web.log")

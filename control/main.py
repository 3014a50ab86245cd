"""The program `keyframe`: the command line, with the commands of the hosts around it.

Rules:

- Settings are read once, when the first command needs them.
- A call works on what `keyframe up` runs, else on the database that the settings name, else it starts the embedded
  database for as long as it lasts.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import click

from . import logs
from .config import config_file
from .doors.cli import cli
from .doors.cli_frame import Command, Opener, tell
from .doors.office import Office
from .errors import UnavailableError
from .processes import holder_of
from .run import run_lock, running
from .settings import HookSettings, Settings, load

# Everything else is loaded by the command that needs it: `keyframe up` starts three programs, and each second counts.

# Seconds that a call waits for a `keyframe up` that is starting or ending, or for another call to be done.
_PATIENCE = 30.0
# Seconds that a command which needs no database waits for one.
_SOON = 0.5
# Commands that write nothing, not even a log where none is.
_LOOKING = ("list", "show", "verify")
# An address where nothing answers, for the commands that need no database.
_NOWHERE = "mongodb://127.0.0.1:1/?replicaSet=none"


class Program:
    """The opener of the command line: what each command gets its office from."""

    def __init__(self, config: Path | None) -> None:
        self._named = config

    @cached_property
    def config(self) -> Path | None:
        """The file that the settings are read from; None: there is none."""
        return config_file(self._named)

    @cached_property
    def settings(self) -> Settings:
        """As loaded; the first reading opens this process's log."""
        settings = load(self._named)
        command = click.get_current_context().command.name
        name = "worker" if command == "worker" else "keyframe"
        try:
            if settings.var.exists() and not settings.var.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "it is no folder", str(settings.var))
            logs.configure(settings.var / "log" / f"{name}.log", make_folder=command not in _LOOKING)
        except OSError as error:
            raise UnavailableError(
                f"cannot be written ({error.strerror}).",
                subject=str(error.filename or settings.var),
                hint="Correct its rights, or set KEYFRAME_VAR or `var` in config.yaml to another folder.",
            ) from error
        return settings

    @contextlib.contextmanager
    def __call__(self, database: bool = True) -> Iterator[Office]:
        """The office for one command.

        Parameters
        ----------
        database: whether the command needs it; without, nothing is started and nothing is waited for.

        Raises
        ------
        SettingsError: they are wrong, or name a standalone server.
        BusyError: another process uses the embedded database.
        UnavailableError: the database is not to be had.
        """
        from .editions.sizes import forget_sizes
        from .embedded import address_checked
        from .wiring import build

        with contextlib.ExitStack() as stack:
            settings = self._reachable(stack) if database else self._known()
            if not database:  # what does no job need not load the host's code
                settings = settings.model_copy(update={"hooks": HookSettings()})
            with address_checked():
                office = build(settings, after_restore=(forget_sizes,))
            stack.callback(office.database.client.close)
            yield office

    def _known(self) -> Settings:
        if self.settings.mongo.uri is not None:
            # What the database adds to what is stored (the last verification) is not waited for long.
            soon = min(_SOON, self.settings.mongo.timeout)
            return _with_uri(self.settings, self.settings.mongo.uri, timeout=soon)
        run = running(self.settings.var)
        return run.settings(self.settings) if run else _with_uri(self.settings, _NOWHERE, timeout=0.05)

    def _reachable(self, stack: contextlib.ExitStack) -> Settings:
        from .embedded import EmbeddedMongo, require_replica_set

        settings = self.settings
        if settings.mongo.uri is not None:
            require_replica_set(settings.mongo.uri, settings.mongo.timeout)
            return settings
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            run = running(settings.var)
            if run is not None:
                return run.settings(settings)
            if holder_of(run_lock(settings.var)) is None:
                break
            time.sleep(0.1)
        mongo = EmbeddedMongo(settings.var, f"keyframe {click.get_current_context().command.name}")
        uri = mongo.start(wait=max(1.0, until - time.monotonic()))
        stack.callback(mongo.stop)
        return _with_uri(settings, uri, timeout=settings.mongo.timeout)


def _with_uri(settings: Settings, uri: str, timeout: float) -> Settings:
    return settings.model_copy(update={"mongo": settings.mongo.model_copy(update={"uri": uri, "timeout": timeout})})


@click.command("up", cls=Command, short_help="Start everything.")
@click.pass_obj
def up_command(opener: Opener) -> int:
    """Start everything: database, worker and web server; Ctrl-C ends it.

    Without mongo.uri in the settings it runs an embedded database of its own, and fills an empty site with sample data
    in run mode pilot or test.
    """
    from .hooks import named_hooks
    from .up import Up

    named_hooks(opener.settings.hooks)  # told here, and not by the parts that would end over it
    return Up(opener.settings, opener.config, click.echo, lambda error: tell(error, as_json=False)).run()


def _sample() -> click.Command:
    from .sample import sample_command

    return sample_command


def _people() -> click.Command:
    from .editions.commands import people_command

    return people_command


cli.add_command(up_command)
cli.add_later("sample", _sample)
cli.add_later("people", _people)


def main() -> None:
    """Entry of the program."""
    # A service manager's SIGTERM ends a call as Ctrl-C does; `up` and `worker` have their own ways.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli.main(prog_name="keyframe", obj=Program)


if __name__ == "__main__":
    main()

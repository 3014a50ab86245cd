"""Wiring: builds every part once, in reading order; and the extension, which puts them into a Flask application.

Rules:

- Nothing here asks the server or touches the disk: a program starts when both are away, and says so when used.
- What a room needs it gets through its constructor; no room looks for another one.

>>> Keyframe(settings).init_app(app)        # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from .auth import Auth
from .backroom import Backroom
from .backup import Backup, Stores
from .backup.differing import Differing
from .backup.stores import server_now
from .catalogue import Catalogue
from .desk import Desk
from .doors.login import Login
from .doors.office import Office
from .errors import SettingsError
from .hooks import AfterRestore, Hooks
from .jobs import Jobs
from .messages import Messages
from .reception import Reception
from .settings import Settings
from .stores.audit import Audit
from .stores.begun import BegunCopies
from .stores.done_plans import DonePlans
from .stores.gate import Gate
from .stores.intents import Intents
from .stores.jobs import JobStore
from .stores.locks import ScopeLocks
from .stores.mongo import Mongo, connect
from .stores.mongo_write import MongoWriter
from .stores.open_transactions import OpenTransactions
from .stores.people import People, StoredPeople
from .stores.plans import Plans
from .stores.repository import Repository
from .stores.scope_files import ScopeFiles
from .stores.seen import Seen
from .stores.tokens import Tokens
from .stores.verdicts import Verdicts
from .work import Work

if TYPE_CHECKING:
    from flask import Flask


def build(
    settings: Settings,
    people: People | None = None,
    now: Callable[[], datetime] = server_now,
    after_restore: Sequence[AfterRestore] = (),
) -> Office:
    """Every part, for one process.

    Parameters
    ----------
    people: the host's; None reads them from the application's database, as the editions site keeps them.
    now: the clock that snapshots are dated by.
    after_restore: functions of the host that are told of restores, besides those that the settings name.

    Raises
    ------
    SettingsError: no `mongo.uri`, since the embedded server is started by whoever calls this; or a hook that the
    settings name cannot be imported.
    """
    if settings.mongo.uri is None:
        raise SettingsError(
            "mongo.uri is not set.", subject="mongo.uri", hint="Name your server, or use `keyframe up`."
        )
    client = connect(settings.mongo)
    database, control = client[settings.mongo.database], client[settings.control_database]
    own = settings.data / ".keyframe"

    people = people or StoredPeople(database)
    repository = Repository(settings.repository)
    mongo = Mongo(client, settings.mongo.database, settings.control_database, settings.scopes)
    plans, intents, gate = Plans(own / "plans"), Intents(own / "intents"), Gate(own, settings.gate)
    verdicts = Verdicts(control, settings.run_mode)
    seen = Seen(own / "seen.sqlite")
    writer = MongoWriter(mongo, OpenTransactions(own / "transactions"))
    scope_files, begun = ScopeFiles(own / "scopes"), BegunCopies(own / "copies")
    stores = Stores(
        settings, repository, mongo, writer, plans, intents, gate, seen, people, verdicts, scope_files, begun, now
    )

    tokens, audit = Tokens(control), Audit(control)
    auth = Auth(people, mongo, settings.rights, settings.run_mode)
    reception = Reception(auth, people, audit)
    jobs = Jobs(JobStore(control), ScopeLocks(control), settings.jobs)
    backup = Backup(stores)
    hooks = Hooks(settings.hooks, DonePlans(plans, database), after_restore)

    catalogue = Catalogue(repository)
    differing, beside, project = Differing(stores), settings.restore.beside, settings.scopes.project
    desk = Desk(
        Backroom(
            auth,
            reception,
            catalogue,
            repository,
            plans,
            intents,
            mongo,
            jobs,
            tokens,
            verdicts,
            differing,
            beside,
            project,
        )
    )
    return Office(
        settings=settings,
        desk=desk,
        work=Work(auth, backup, jobs, reception, hooks),
        jobs=jobs,
        messages=Messages(ZoneInfo(settings.time_zone)),
        login=Login(people, tokens, settings.shell),
        gate=gate,
        intents=intents,
        database=database,
    )


class Keyframe:
    """The extension: snapshots for a Flask application.

    Parameters
    ----------
    people: how Auth learns about the host's people; see `stores/people.py`.
    layout: the template that the pages extend, with blocks `title` and `main`.
    exempt: endpoints of the host that must answer while the gate is closed, like signing in and out.
    project_page: the address of the host's own page of a project, for the way back.
    after_restore: functions that are told of restores which this process carries out (`work`), besides those that the
    settings name; see docs/hooks.md.
    """

    def __init__(
        self,
        settings: Settings,
        people: People | None = None,
        *,
        layout: str = "keyframe/base.html",
        exempt: frozenset[str] = frozenset(),
        project_page: Callable[[str], str] | None = None,
        after_restore: Sequence[AfterRestore] = (),
    ) -> None:
        self.office = build(settings, people, after_restore=after_restore)
        self._layout = layout
        self._exempt = exempt
        self._project_page = project_page

    def init_app(self, app: Flask) -> None:
        """Add pages at /snapshots, REST at /api/v1 and /healthz, and the command `flask keyframe-worker`; writing
        requests of the host pass the gate."""
        # Loaded here: the command line does without Flask, which takes longer to load than a list to print.
        from .doors.api import register_api
        from .doors.health import health
        from .doors.pages import pages
        from .doors.writes import gate_requests

        app.register_blueprint(pages(self.office, self._layout, self._project_page))
        register_api(app, self.office)
        app.register_blueprint(health(self.office))
        gate_requests(app, self.office, self._exempt)
        app.cli.command("keyframe-worker", short_help="Do Keyframe's jobs, until told to end.")(self.work)
        app.extensions["keyframe"] = self

    def work(self) -> None:
        """Do jobs until told to end (SIGTERM or Ctrl-C), with the people and the hooks of this application.

        `flask --app … keyframe-worker` calls it. `keyframe worker` knows what the settings say, and nothing else.
        """
        from .doors.worker import serve, stop_when_told

        serve(self.office, stop_when_told())

"""The named steps of making, restoring, undoing, deleting, undeleting, recovering and turning back.

Tests kill a process, or let an error happen, right before or right after a step; the state machine in `model/` has the
same names. A step is a function of the real code, which is wrapped where it stands.

>>> for place, name in places("intent"): ...        # doctest: +SKIP
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """A function of a module, or of a class in it; `users` are modules that import it by its name."""

    module: str
    owner: str
    name: str
    users: tuple[str, ...] = ()


STEPS = {
    # a job, and the locks that it needs
    "take scope": Step("stores.locks", "ScopeLocks", "take"),
    "start job": Step("stores.jobs", "JobStore", "start"),
    "confirm": Step("claims", "Claim", "confirm"),
    "lock files": Step("stores.scope_files", "ScopeFiles", "held"),
    "close gate": Step("stores.gate", "Gate", "closed"),
    "end": Step("stores.jobs", "JobStore", "end"),
    "release": Step("claims", "Lease", "release"),
    # making
    "draft": Step("stores.draft", "Draft", "__init__"),
    "copy": Step("stores.draft_files", "DraftFiles", "copy"),
    "dress stored": Step("stores.draft_files", "DraftFiles", "dress"),
    "share": Step("stores.draft_files", "DraftFiles", "share"),
    "add link": Step("stores.draft_files", "DraftFiles", "add_link"),
    "second pass": Step("backup.copying", "Copying", "second_pass"),
    "pin": Step("stores.mongo", "Mongo", "pinned"),
    "dump": Step("stores.dump", "CollectionWriter", "close"),
    "manifest": Step("stores.manifest", "ManifestWriter", "close"),
    "finish": Step("stores.draft", "Draft", "finish"),
    "flush draft": Step("stores.draft", "", "flush_open"),
    "commit": Step("stores.repository", "", "_rename_new"),
    "sync": Step("stores.repository", "", "sync_folder"),
    "committed": Step("backup.copying", "Copying", "committed"),
    # preparing a restore
    "safety": Step("backup.safety", "Safety", "_make"),
    "compare": Step("backup.compare", "Compare", "run"),
    "plan": Step("stores.plans", "PlanWriter", "save"),
    "require whole": Step("backup.safety", "Safety", "require_whole"),
    "fill": Step("backup.staging", "Staging", "fill"),
    "stage": Step("backup.staging", "Staging", "_stage"),
    "recheck": Step("backup.recheck", "Recheck", "is_still"),
    "mark": Step("stores.repository", "Repository", "mark"),
    "json": Step("stores.headers", "", "write_json", ("draft", "intents", "plans", "repository")),
    "forget wish": Step("stores.intents", "Intents", "_forget_wish"),
    "intent": Step("stores.intents", "Intents", "write"),
    # the database
    "create": Step("stores.mongo_write", "MongoWriter", "create"),
    "fill collection": Step("stores.mongo_write", "MongoWriter", "fill"),
    "drop": Step("stores.mongo_write", "MongoWriter", "drop"),
    "modify": Step("stores.mongo_write", "MongoWriter", "modify"),
    "drop index": Step("stores.mongo_write", "MongoWriter", "drop_index"),
    "create index": Step("stores.mongo_write", "MongoWriter", "create_index"),
    "records": Step("stores.mongo_write", "MongoWriter", "write"),
    "fence": Step("stores.jobs", "JobStore", "touch"),
    "body": Step("stores.mongo_write", "MongoWriter", "_write"),
    "commit records": Step("pymongo.client_session", "ClientSession", "commit_transaction"),
    # live files
    "remove": Step("backup.staging", "Staging", "_remove"),
    "mkdir": Step("backup.staging", "Staging", "_make_folder"),
    "rename": Step("backup.staging", "Staging", "_place"),
    "keep": Step("backup.staging", "Staging", "_keep"),
    "dress": Step("backup.staging", "Staging", "_dress_live"),
    "flush live": Step("backup.staging", "", "flush_open"),
    # the end of a restore
    "touched": Step("backup.touched", "Touched", "is_as_planned"),
    "conclude": Step("backup.finishing", "Finishing", "_conclude"),
    "mark undone": Step("backup.finishing", "Finishing", "_mark_undone"),
    "unlock": Step("stores.intents", "Intents", "remove"),
    "forget kept": Step("backup.leftovers", "", "forget_kept", ("restore", "finishing")),
    "compare again": Step("backup.finishing", "Finishing", "compared"),
    # recovery
    "seize": Step("stores.locks", "ScopeLocks", "seize"),
    "refence": Step("stores.jobs", "JobStore", "refence"),
    "finish once": Step("backup.finishing", "Finishing", "_finish_once"),
    "verify": Step("backup.finishing", "Finishing", "_verify"),
    "turn back": Step("stores.intents", "Intents", "turn_back"),
    # a copy beside the live site, a project as a new one
    "note": Step("stores.begun", "BegunCopies", "write"),
    "mark database": Step("stores.other_database", "OtherDatabase", "begin"),
    "place": Step("backup.placing", "Placing", "add"),
    "check": Step("backup.elsewhere", "Elsewhere", "_check"),
    "name": Step("backup.elsewhere", "", "rename_new"),
    "unmark": Step("stores.other_database", "OtherDatabase", "finish"),
    "unnote": Step("stores.begun", "BegunCopies", "remove"),
    "stage records": Step("backup.new_ids", "NewRecords", "write"),
    "add files": Step("backup.duplicating", "", "rename_new"),
    "compared": Step("stores.new_project", "NewProject", "differing"),
    # the trash
    "delete": Step("stores.repository", "Repository", "delete"),
    "undelete": Step("stores.repository", "Repository", "undelete"),
    "move": Step("stores.repository", "Repository", "_move"),
    "relabel": Step("stores.repository", "Repository", "_relabel"),
}
MANAGERS = {"pin", "lock files", "close gate"}  # their results are context managers: after means inside


def places(step: str) -> list[tuple[Any, str]]:
    """Where the function of a step stands: the objects whose attribute it is."""
    one = STEPS[step]
    module = importlib.import_module(one.module if one.module.startswith("pymongo.") else f"keyframe.{one.module}")
    room = one.module.partition(".")[0]
    users = [importlib.import_module(f"keyframe.{room}.{user}") for user in one.users]
    return [(place, one.name) for place in (getattr(module, one.owner) if one.owner else module, *users)]


def wrapped(step: str, passing: Callable[[str, int], int]) -> Any:
    """The function of a step with calls of `passing` around it: with "before" and 0, which gives the number of this
    call, then with "after" and that number."""
    place, name = places(step)[0]
    inner = getattr(place, name)

    def outer(*args: Any, **kwargs: Any) -> Any:
        number = passing("before", 0)
        result = inner(*args, **kwargs)
        passing("after", number)
        return result

    @contextlib.contextmanager
    def managed(*args: Any, **kwargs: Any) -> Iterator[Any]:
        number = passing("before", 0)
        with inner(*args, **kwargs) as value:
            passing("after", number)
            yield value

    made = managed if step in MANAGERS else outer
    return staticmethod(made) if isinstance(inspect.getattr_static(place, name), staticmethod) else made

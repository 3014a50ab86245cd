"""What verifying each snapshot came to: the collection `verdicts` of the control database.

Rules:

- A snapshot keeps its verdict in the trash and out of it again: it is known by scope and name.
- Of each the last verdict of both kinds is kept, the quick and the thorough one: a quick look that finds nothing takes
  nothing back (`decisive`).
- A project's part of a site snapshot has a verdict of its own. In the site's list it shows where it found damage.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from pymongo import ASCENDING, IndexModel
from pymongo.database import Database

from ..model import Scope, Snapshot, Verdict, Weight, decisive
from .control import Document, answering, collection, storable

_KINDS = ("thorough", "quick")


class Verdicts:
    """Those of one run mode. Made without asking the server; the first write creates the index.

    Every method raises `UnavailableError` when the control database does not answer.
    """

    def __init__(self, database: Database[Document], run_mode: str) -> None:
        self._verdicts = collection(database, "verdicts")
        self._run_mode = run_mode
        self._indexed = False

    def remember(self, scope: Scope, name: str, verdict: Verdict) -> None:
        """Keep what verifying `name` came to, for this scope: the snapshot's own, or a project that it holds."""
        known = {"run_mode": self._run_mode, "scope": scope.key, "name": name}
        kind = "quick" if verdict.quick else "thorough"
        with answering():
            if not self._indexed:
                self._verdicts.create_indexes([IndexModel([("run_mode", ASCENDING), ("name", ASCENDING)])])
                self._indexed = True
            self._verdicts.update_one(
                {"_id": f"{self._run_mode}/{scope.key}/{name}"},
                {"$set": {**known, kind: storable(verdict.as_dict())}},
                upsert=True,
            )

    def of(self, scope: Scope, snapshots: Iterable[Snapshot]) -> dict[str, Verdict]:
        """By name, the verdicts on these snapshots that count, as `scope` is shown them."""
        by_name = {one.name: one for one in snapshots}
        if not by_name:
            return {}
        with answering():
            docs = list(self._verdicts.find({"run_mode": self._run_mode, "name": {"$in": list(by_name)}}))
        found: dict[str, list[Verdict]] = {}
        for doc in docs:
            snapshot = by_name[doc["name"]]
            found.setdefault(snapshot.name, []).extend(_shown(doc, scope, snapshot))
        return {name: verdict for name, all_ in found.items() if (verdict := decisive(all_)) is not None}

    def damaged(self) -> Iterator[tuple[Scope, str, tuple[Verdict, ...]]]:
        """The snapshots in which damage was found: who was told so, the name, and the verdicts that found it.

        Raises `UnavailableError` at the first step. Whoever was told may be a project, of its part of one of the site.
        """
        bad = [{f"{kind}.status": Weight.BAD.value} for kind in _KINDS]
        with answering():
            docs = list(self._verdicts.find({"run_mode": self._run_mode, "$or": bad}))
        for doc in docs:
            verdicts = list(_of_doc(doc))
            counts = decisive(verdicts)
            if counts is not None and counts.is_bad:
                yield Scope.from_key(doc["scope"]), str(doc["name"]), tuple(one for one in verdicts if one.is_bad)


def _of_doc(doc: Document) -> Iterator[Verdict]:
    for kind in _KINDS:
        with suppress(KeyError, TypeError, ValueError):  # what another version wrote is no reason to show no list
            yield Verdict.from_dict(doc[kind])


def _shown(doc: Document, scope: Scope, snapshot: Snapshot) -> Iterator[Verdict]:
    """Of one document what `scope` is shown of this snapshot."""
    for verdict in _of_doc(doc):
        if doc["scope"] == scope.key:
            yield verdict
        elif scope.project_id is not None and doc["scope"] == snapshot.scope.key:
            yield verdict.part_of(scope.project_id)
        elif scope.is_site and snapshot.scope.is_site and verdict.is_bad:
            yield verdict

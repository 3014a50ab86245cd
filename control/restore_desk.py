"""The part of the desk where restores are asked for: preview, restore and undo.

Rules:

- A plan that was agreed to is carried out for what it was computed for, and for nothing else.
- One project out of a snapshot of the site is that project's matter, whichever route it was asked on.
- An undo brings back exactly what the restore was about.

>>> desk.restore(actor, scope, "latest", plan=plan.digest).state       # doctest: +SKIP
<JobState.QUEUED: 'queued'>
"""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from dataclasses import dataclass, replace

from .backroom import Backroom
from .catalogue import Wish, everything
from .errors import ExpiredError, InvalidError, NotFoundError, RefusedError, no_such_collection, no_such_job
from .model import (
    EVERYTHING,
    Action,
    Actor,
    Job,
    Order,
    OutcomeStatus,
    Page,
    Permit,
    Plan,
    PlanItem,
    RestoreMark,
    Scope,
    Selection,
    Snapshot,
)
from .stores.idents import ident_of


@dataclass(frozen=True, slots=True)
class _Consent:
    """What whoever orders a restore has said yes to: a plan, what is newer than it, gaps of the safety snapshot, that
    what is damaged does not come back."""

    plan: str = ""
    newer: bool = False
    gaps: str = ""
    only_intact: bool = False


_NONE = _Consent()
_DIGEST = re.compile(r"(?:[0-9a-f]{64})?\Z")


class RestoreDesk:
    """Every method's first argument is who asks; all raise the errors of `errors.py`."""

    def __init__(self, back: Backroom) -> None:
        self._back = back

    def preview(
        self,
        actor: Actor,
        scope: Scope,
        name: str,
        selection: Selection = EVERYTHING,
        people: bool | None = None,
        *,
        only_intact: bool = False,
    ) -> Job:
        """Order a plan; the job's `outcome.report` is it. `only_intact`: without what is damaged in the snapshot."""
        permit, wish = self._wish(actor, Action.PREVIEW, scope, name, selection)
        return self._submit(permit, wish, self._people(permit, wish, people), _Consent(only_intact=only_intact))

    def plan(self, actor: Actor, digest: str) -> Plan:
        """A plan that was computed within the last day.

        Raises
        ------
        ExpiredError: it is no longer kept. NotFoundError: there never was one, or none for this actor.
        """
        try:
            plan = self._back.plans.get(digest)
        except NotFoundError:
            self._refuse_expired(actor, digest)
            raise
        try:
            self._back.reception.permit(actor, Action.PREVIEW, plan.target)
        except (NotFoundError, RefusedError) as error:
            raise NotFoundError(
                "There is no such plan, or it is older than a day.", subject="plan", hint="Preview the restore again."
            ) from error
        return plan

    def _refuse_expired(self, actor: Actor, digest: str) -> None:
        """Raise `ExpiredError` where a job has computed this plan, and the actor may have it computed again."""
        job = self._back.jobs.of_plan(digest)
        if job is None or Action.PREVIEW not in self._back.auth.acts(actor, job.order.scope):
            return
        order = job.order
        raise ExpiredError(
            "This preview has expired: previews are kept for a day.",
            subject=f"preview of {order.snapshot}",
            hint="Preview it again, then decide; nothing was changed.",
            again={
                "scope": order.scope.as_dict(),
                "snapshot": order.snapshot,
                "selection": order.selection.as_dict(),
                "people": order.people,
                "only_intact": order.only_intact,
            },
        )

    def plan_items(
        self, actor: Actor, digest: str, *, cursor: str = "", limit: int = 50, fields: bool = False
    ) -> Page[PlanItem]:
        """A page of what a plan does, item by item; with `fields`, those in which what is replaced differs.

        Records are named as a selection takes them. Those of people are shown with their fields only to who may bring
        people back.
        """
        plan = self.plan(actor, digest)
        if cursor and not cursor.isdecimal():
            raise InvalidError("This cursor is none of this list.", subject="cursor", hint="Use the `next` of a page.")
        start = int(cursor[:12] or 0)
        items = tuple(itertools.islice(self._back.plans.items(plan.digest, start), limit + 1))
        fields = fields and (not plan.people or Action.PEOPLE in self._back.auth.acts(actor, plan.target))
        shown = self._back.differing.told(plan, start, items[:limit], fields=fields)
        return Page(shown, str(start + limit) if len(items) > limit else None)

    def restore(
        self,
        actor: Actor,
        scope: Scope,
        name: str,
        selection: Selection | None = None,
        people: bool | None = None,
        plan: str = "",
        *,
        newer: bool = False,
        confirm: str = "",
        only_intact: bool = False,
    ) -> Job:
        """Order a restore.

        Parameters
        ----------
        plan: the digest of the preview that was agreed to. newer: what changes until the restore begins is agreed to
        as well. confirm: the digest of the gaps that a safety snapshot may have, of the outcome that named them.
        only_intact: without what is damaged in the snapshot; a plan says it, too.

        Raises
        ------
        NotFoundError: no such snapshot or plan. InvalidError: plan and the rest do not fit each other.
        """
        consent = _Consent(plan, newer, _digest(confirm), only_intact)
        if not plan:
            if newer:
                what = "Nothing was agreed to, so nothing can be newer than it."
                raise InvalidError(what, subject="accept", hint="Give a plan, or leave it out; nothing was changed.")
            permit, wish = self._wish(actor, Action.RESTORE, scope, name, everything(selection))
            return self._submit(permit, wish, self._people(permit, wish, people), consent)
        agreed = self.plan(actor, plan)
        wanted = agreed.selection if selection is None else selection
        if agreed.target != scope and agreed.target.project_id and selection is None:
            wanted = agreed.selection.widened(agreed.target.project_id)
        permit, wish = self._wish(actor, Action.RESTORE, scope, name, wanted)
        asked = (wish.scope, wish.snapshot.scope, wish.snapshot.name, wish.selection)
        if asked != (agreed.target, agreed.source, agreed.snapshot, agreed.selection) or (
            (people is not None and people != agreed.people) or (only_intact and not agreed.only_intact)
        ):
            raise InvalidError(
                "The plan is for something else than what is asked for.",
                subject=f"plan {plan[:12]}",
                hint="Preview what you want to restore, and give the digest of that plan; nothing was changed.",
            )
        consent = replace(consent, only_intact=agreed.only_intact)
        return self._submit(permit, wish, self._people(permit, wish, agreed.people), consent)

    def undo(self, actor: Actor, scope: Scope, name: str = "", *, confirm: str = "") -> Job:
        """Order the undo of the restore that the snapshot `name` was made for; no name: of the scope's latest one.

        `confirm` as for a restore.
        """
        consent = _Consent(gaps=_digest(confirm))
        permit = self._back.reception.permit(actor, Action.UNDO, scope)
        if not name:
            snapshot, mark = self._back.catalogue.latest_mark(permit.scope)
            return self._submit_undo(permit, snapshot, mark, consent)
        snapshot = self._own(permit, name)
        if snapshot.undoable is None:
            raise InvalidError(
                "No restore that could be undone was made with this safety snapshot.",
                subject=snapshot.name,
                hint="Restore it instead, if its state is wanted.",
            )
        return self._submit_undo(permit, snapshot, snapshot.undoable, consent)

    def undo_job(self, actor: Actor, job_id: str, *, confirm: str = "") -> Job:
        """Order the undo of the restore that a job carried out; `confirm` as for a restore."""
        job = self.job(actor, job_id)
        permit = self._back.reception.permit(actor, Action.UNDO, job.order.scope)
        outcome = job.outcome
        undoable = (OutcomeStatus.DONE, OutcomeStatus.PARTIAL)
        if job.order.act not in (Action.RESTORE, Action.UNDO) or outcome is None or outcome.status not in undoable:
            raise InvalidError("This job restored nothing that could be undone.", subject=f"job {job_id}")
        snapshot, mark = self._back.catalogue.mark_of(permit.scope, job.id, outcome.safety or "")
        if mark.state != "done":
            raise InvalidError("This restore is undone already.", subject=f"job {job_id}", hint="Nothing was changed.")
        return self._submit_undo(permit, snapshot, mark, _Consent(gaps=_digest(confirm)))

    def turn_back(self, actor: Actor, scope: Scope) -> None:
        """Ask for the state before, where a restore has begun and cannot be finished; its job ends with it.

        Raises
        ------
        NotFoundError: no restore of this scope is unfinished.
        """
        permit = self._back.reception.permit(actor, Action.RESTORE, scope)
        if permit.scope not in self._back.intents.open():
            raise NotFoundError("No restore is unfinished here.", subject="restore", hint="Nothing was changed.")
        self._back.intents.turn_back(permit.scope)
        self._back.reception.note(actor, "turn back", permit.scope, "done")

    def turn_job_back(self, actor: Actor, job_id: str) -> Job:
        """The same for the restore that a job is at."""
        job = self.job(actor, job_id)
        intent = self._back.intents.read(job.order.scope)
        if intent is None or intent.job != job.id:
            raise NotFoundError("This job has no restore to be finished.", subject="job", hint="Nothing was changed.")
        self.turn_back(actor, job.order.scope)
        return job

    def job(self, actor: Actor, job_id: str) -> Job:
        """A job of a scope that the actor may see; the same NotFoundError where there is none."""
        job = self._back.jobs.get(job_id)
        if Action.SEE not in self._back.auth.acts(actor, job.order.scope):
            self._back.reception.note(actor, "job", job.order.scope, "not-found")
            raise no_such_job()
        return job

    # --- what the methods above share

    def _own(self, permit: Permit, name: str) -> Snapshot:
        """The scope's own snapshot of that name; one of the site is refused, and the refusal written down."""
        with self._back.reception.watching(permit):
            return self._back.catalogue.own(permit.scope, name)

    def _wish(self, actor: Actor, action: Action, scope: Scope, name: str, selection: Selection) -> tuple[Permit, Wish]:
        """The permit for what a restore would change, and what was asked for; one project out of a site snapshot is
        that project's matter, whichever route it was asked on."""
        narrow = Scope.project(selection.projects[0]) if scope.is_site and len(selection.projects) == 1 else scope
        permit = self._back.reception.permit(actor, action, narrow)
        wish = self._back.catalogue.wish(scope, name, selection)
        if permit.scope != wish.scope:
            raise RuntimeError("the permit is for another scope than the wish")
        self._require_possible(wish)
        return permit, wish

    def _require_possible(self, wish: Wish) -> None:
        """Refuse collections and records that no restore of this scope brings back; a project learns no other name."""
        mongo, chosen = self._back.mongo, wish.selection
        for name in chosen.named_collections:
            is_spared = mongo.is_of_people(name) or mongo.is_left_alone(name)
            if wish.scope.project_id is not None or chosen.projects:
                if is_spared or not mongo.is_of_projects(name):
                    raise no_such_collection(name)
            elif mongo.is_of_people(name):
                raise InvalidError(
                    "People are restored with the whole site only.",
                    subject=f"collection {name}",
                    hint="Leave it out; root may ask for `people` with the whole site.",
                )
            elif is_spared:
                raise InvalidError(
                    "is nobody's content, by the setting scopes.site.leave: no restore touches it.",
                    subject=f"collection {name}",
                    hint="Leave it out.",
                )
        for name, text in chosen.records:
            try:
                ident_of(text)
            except ValueError as error:
                raise InvalidError(
                    "is not the id of a record.",
                    subject=f"{name}/{text[:100]}",
                    hint='Give it as extended JSON, like {"$oid": "65a1b2c3d4e5f60718293a4b"} or "a text".',
                ) from error

    def _people(self, permit: Permit, wish: Wish, people: bool | None) -> bool:
        """Whether people come along: if root says so, or where there are none at all."""
        whole_site = wish.scope.is_site and wish.selection.is_empty
        if people and not whole_site:
            raise InvalidError("People are restored with the whole site only.", subject="people", hint="Leave it out.")
        if people is None:
            return whole_site and self._back.mongo.is_without_people()
        if people:
            self._back.reception.permit(permit.actor, Action.PEOPLE, permit.scope)
        return people

    def _submit(self, permit: Permit, wish: Wish, people: bool, consent: _Consent = _NONE) -> Job:
        return self._back.jobs.submit(
            Order(
                permit.action,
                permit.scope,
                permit.actor,
                source=wish.snapshot.scope,
                snapshot=wish.snapshot.name,
                selection=wish.selection,
                people=people,
                plan=consent.plan,
                takes_newer=consent.newer,
                accepted=consent.gaps,
                only_intact=consent.only_intact,
            )
        )

    def _submit_undo(self, permit: Permit, snapshot: Snapshot, mark: RestoreMark, consent: _Consent) -> Job:
        """An undo brings back exactly what the restore was about, nothing beside it."""
        redo = False
        with suppress(NotFoundError):  # the history of jobs may be lost; it only serves the words here
            undone = self._back.jobs.get(mark.job).order
            redo = undone.act is Action.UNDO and not undone.redo
        if mark.people:
            self._back.reception.permit(permit.actor, Action.PEOPLE, permit.scope)
        return self._back.jobs.submit(
            Order(
                Action.UNDO,
                permit.scope,
                permit.actor,
                source=snapshot.scope,
                snapshot=snapshot.name,
                selection=mark.selection,
                people=mark.people,
                mark_job=mark.job,
                redo=redo,
                accepted=consent.gaps,
            )
        )


def _digest(text: str) -> str:
    """What confirms gaps; empty: nothing does."""
    if not _DIGEST.match(text):
        what = "This confirms nothing: it is not the digest that the refusal named."
        raise InvalidError(what, subject="confirm", hint="Copy it from there; nothing was changed.")
    return text

"""The part of the desk where restores are asked for: preview and restore.

Rules:

- A plan that was agreed to is carried out for what it was computed for, and for nothing else.
- One project out of a snapshot of the site is that project's matter, whichever route it was asked on.

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
from .errors import (
    ExpiredError,
    InvalidError,
    KeyframeError,
    NotFoundError,
    RefusedError,
    no_such_collection,
    no_such_job,
)
from .model import (
    EVERYTHING,
    Action,
    Actor,
    Job,
    JobState,
    Order,
    Page,
    Permit,
    Plan,
    PlanItem,
    Scope,
    Selection,
    Snapshot,
    record_name,
)
from .stores.idents import ident_of

_DIGEST = re.compile(r"(?:[0-9a-f]{64})?\Z")


@dataclass(frozen=True, slots=True)
class Consent:
    """What whoever orders a restore or an undo has said yes to: a plan, what is newer than it, gaps of the safety
    snapshot, that what is damaged does not come back.

    Raises
    ------
    InvalidError: there is no plan that anything could be newer than, or `gaps` is no digest.
    """

    plan: str = ""
    newer: bool = False
    gaps: str = ""
    only_intact: bool = False

    def __post_init__(self) -> None:
        if not _DIGEST.match(self.gaps):
            what = "This confirms nothing: it is not the digest that the refusal named."
            raise InvalidError(what, subject="confirm", hint="Copy it from there; nothing was changed.")
        if self.newer and not self.plan:
            what = "Nothing was agreed to, so nothing can be newer than it."
            raise InvalidError(what, subject="accept", hint="Give a plan, or leave it out; nothing was changed.")


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
        return self._submit(permit, wish, self._people(permit, wish, people), Consent(only_intact=only_intact))

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
                "undo_of": order.mark_job or None,
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
        consent = Consent(plan, newer, confirm, only_intact)
        if not plan:
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
            raise other_plan(plan, "restore")
        consent = replace(consent, only_intact=agreed.only_intact)
        return self._submit(permit, wish, self._people(permit, wish, agreed.people), consent)

    def job(self, actor: Actor, job_id: str) -> Job:
        """A job of a scope that the actor may see; the same NotFoundError where there is none."""
        job = self._back.jobs.get(job_id)
        if Action.SEE not in self._back.auth.acts(actor, job.order.scope):
            self._back.reception.note(actor, "job", job.order.scope, "not-found")
            raise no_such_job()
        return self._as_it_stands(job)

    # --- what the methods above share

    def _as_it_stands(self, job: Job) -> Job:
        """With what stands on disk of a restore that runs: whether somebody is at it, and what was asked for."""
        if job.state is not JobState.RUNNING or not self._has_begun(job):
            return job
        # Asked again after nobody was found at it: it may have ended just now.
        interrupted = not self._back.jobs.is_held(job.id) and self._has_begun(job)
        return replace(job, interrupted=interrupted, turned_back=self._back.intents.is_turned_back(job.order.changed))

    def _has_begun(self, job: Job) -> bool:
        with suppress(KeyframeError):  # of one that cannot be read nobody knows whose it is
            intent = self._back.intents.read(job.order.changed)
            return intent is not None and intent.job == job.id
        return False

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
                    subject=record_name(name, text[:100]),
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

    def _submit(self, permit: Permit, wish: Wish, people: bool, consent: Consent) -> Job:
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


def other_plan(plan: str, what: str) -> InvalidError:
    """What is raised where a plan that was agreed to is that of something else."""
    return InvalidError(
        "The plan is for something else than what is asked for.",
        subject=f"plan {plan[:12]}",
        hint=f"Preview what you want to {what}, and give the digest of that plan; nothing was changed.",
    )

"""Notices are made here: of events that nobody was told of yet, and of ends that come near.

An event is marked as untold in the transaction that writes it, and no more in the one that makes its notices. So a
portal that is killed at any time loses none and makes none twice.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure_hub.hubapi import HubApi, HubPerson
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.notice_rows import Draft, make
from dure_hub.operations.notice_sources import OF_GROUPS, draft_of
from dure_hub.operations.notice_words import moment
from dure_hub.policies import notices as policy
from dure_hub.policies.idle import idle_end
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.models import Environment, Event, Lease, Notice

log = logging.getLogger(__name__)

_AT_ONCE = 200


@dataclass(frozen=True)
class Groups:
    """Who is in which team, and who is an administrator, as the hub has just said."""

    teams: Mapping[str, Collection[str]]
    admins: Collection[str]

    @classmethod
    def of(cls, people: Collection[HubPerson]) -> Groups:
        """From all of its people."""
        teams: dict[str, set[str]] = {}
        for one in people:
            for team in one.groups:
                teams.setdefault(team, set()).add(one.name)
        return cls(teams, {one.name for one in people if one.admin})


class NoticeMaking:
    """Makes notices; sends none."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, hub: HubApi) -> None:
        self._settings, self._store, self._clock, self._hub = settings, store, clock, hub

    async def of_events(self) -> None:
        """Tell of what has happened. What concerns teams waits for a hub that is away; the rest does not."""
        verbs = await self._store.read(_verbs)
        if not verbs:
            return
        groups = await self._groups() if verbs.intersection(OF_GROUPS) else None
        while await self._store.run(partial(self._tell, groups=groups)) == _AT_ONCE:
            continue

    async def of_ends(self) -> None:
        """Warn of ends that have come near."""
        found = await self._store.read(lambda session: bool(self._near(session)))
        if found:
            await self._store.run(self._warn)

    async def _groups(self) -> Groups | None:
        try:
            return Groups.of(await self._hub.people())
        except DureError as error:
            log.info("nobody can say now who is in which team, so notices for teams wait: %s", error)
            return None

    def _tell(self, session: Session, *, groups: Groups | None) -> int:
        """Make the notices of the next events; how many those were."""
        query = select(Event).where(Event.untold).order_by(Event.id).limit(_AT_ONCE)
        if groups is None:
            query = query.where(Event.verb.not_in(OF_GROUPS))
        events = session.scalars(query).all()
        for event in events:
            event.untold = False
            try:
                with session.begin_nested():
                    self._make(session, draft_of(session, event), groups)
            except Exception:  # one that cannot be read must not keep all others from being told
                log.exception("nobody is told of event %s (%s)", event.id, event.verb)
        return len(events)

    def _make(self, session: Session, draft: Draft | None, groups: Groups | None) -> None:
        if draft is None:
            return
        people = set(draft.people)
        for team in draft.teams:
            people.update(groups.teams.get(team, ()) if groups else ())
        if draft.admins and groups:
            people.update(groups.admins)
        for person in sorted(people):
            make(session, person, draft, self._clock(), self._settings.mails)

    def _warn(self, session: Session) -> None:
        for draft in self._near(session):
            self._make(session, draft, None)

    def _near(self, session: Session) -> list[Draft]:
        """The warnings that are due and were not made yet."""
        now = self._clock()
        query = (
            select(Environment, Lease)
            .join(Lease, Lease.id == Environment.lease_id)
            .where(
                Environment.phase.in_((rows.RUNNING, rows.HELD)),
                Lease.ended_at.is_(None),
                Lease.end_reason.is_(None),
            )
        )
        drafts = [draft for row, lease in session.execute(query) for draft in self._of(row, lease, now)]
        known = _known(session, drafts)
        return [one for one in drafts if (next(iter(one.people)), one.key) not in known]

    def _of(self, row: Environment, lease: Lease, now: datetime) -> Iterator[Draft]:
        if row.phase == rows.HELD:
            yield from self._of_turn(row, lease, now)
            return
        if lease.until is not None:
            # of an administrator's stop its owner was told when it was set
            whole = lease.until - lease.granted_at
            steps = policy.STEPS_MIN if row.stop_at is None else policy.STEPS_MIN[-1:]
            step = policy.step(lease.until - now, whole, steps)
            if step is not None:
                facts = {"minutes": step}
                yield _draft(
                    row, "ending", "ending", f"end/{lease.id}/{lease.until:%FT%T}/{step}", lease.until, facts
                )
        end = idle_end(row.active_at, self._settings.idle_timeout_s)
        if end is not None and (lease.until is None or end < lease.until):
            whole = timedelta(seconds=self._settings.idle_timeout_s)
            if policy.step(end - now, whole, (policy.IDLE_MIN,)) is not None:
                yield _draft(row, "ending", "ending_idle", f"idle/{lease.id}/{end:%FT%T}", end)

    def _of_turn(self, row: Environment, lease: Lease, now: datetime) -> Iterator[Draft]:
        if row.held_until is not None and policy.passing(row.held_until, row.held_until - lease.granted_at, now):
            yield _draft(row, "turn", "turn_passing", f"passing/{lease.id}", row.held_until)


def _draft(
    row: Environment, kind: str, code: str, key: str, until: datetime, facts: Mapping[str, object] | None = None
) -> Draft:
    told = {"name": row.name, "until": moment(until), **(facts or {})}
    return Draft(kind, code, rows.thing(row), key, told, (row.owner,), useful_until=until)


def _known(session: Session, drafts: Collection[Draft]) -> set[tuple[str, str]]:
    keys = [one.key for one in drafts]
    query = select(Notice.person, Notice.key).where(Notice.key.in_(keys))
    return {(person, key) for person, key in session.execute(query)} if keys else set()


def _verbs(session: Session) -> set[str]:
    """Of what happened that nobody was told of."""
    return set(session.scalars(select(Event.verb).where(Event.untold).distinct()))

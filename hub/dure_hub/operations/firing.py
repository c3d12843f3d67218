"""Makes an execution of each schedule that is due. A tick of its own, which begins once it is known what runs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure.wire.ids import new_id
from dure_hub.operations import admission
from dure_hub.operations.leading import lead
from dure_hub.operations.notes import note
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.operations.schedule_errors import OwnerLostProfile
from dure_hub.operations.schedule_rows import (
    attach,
    close,
    execution_object,
    next_number,
    open_executions,
    overlap,
    overlapped,
    pause,
    schedule_object,
    skipped_for,
)
from dure_hub.policies.cron import next_after
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Execution, Lease, Schedule

log = logging.getLogger(__name__)
Groups = frozenset[str]
_CHECK = timedelta(seconds=60)
"""How often the times that are to come are compared with the clock, and after which leap of it at once."""


class Firing:
    """Looks what is due. Of several portals only the one that leads acts, and each time is made once anyway."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, profiles: Profiles, kick: Callable[[], None]
    ) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._profiles, self._kick = profiles, kick
        self._holder = new_id()
        self._checked: datetime | None = None
        self.ready: Callable[[], bool] = _always
        """Whether what the store calls running does run. Before, one that ended with the last portal would look
        like one that goes on, and what was missed would be left out."""
        self.why_not: Callable[[str, str | None, Groups], Awaitable[str | None]] = _nothing_against
        """Why an owner's schedules that this team pays for, on a profile for these groups, run no more, as a code
        of `notes`; raises where that cannot be told now."""

    async def fire(self) -> None:
        """Make what is due now. What was missed while nobody looked is made once, however often it was due."""
        if self._settings.folder.closing.exists() or not self.ready():
            return
        await self._check_times()
        if not await self._store.read(self._due):
            return
        if not await self._store.run(lambda session: lead(session, self._holder, self._clock(), "schedules")):
            return
        fleet = await self._profiles.fleet()
        known: dict[tuple[str, str | None, Groups], str | None] = {}
        for schedule_id, owner, team, profile in await self._store.read(self._due):
            try:
                asked = owner, team, fleet.groups_of(profile)
                if asked not in known:
                    known[asked] = await self.why_not(*asked)
                fire = partial(self._fire, schedule_id=schedule_id, fleet=fleet, why_not=known[asked])
                await self._store.run(fire)
            except DureError as error:  # the hub is away: nothing is known of its owner, and it stays due
                log.warning("schedule %s: %s Tried again in the next look.", schedule_id, error)
            except Exception:  # a bug with one must not hold up the others
                log.exception("schedule %s; tried again in the next look", schedule_id)
        self._kick()

    def _due(self, session: Session) -> list[tuple[str, str, str | None, str]]:
        due = select(Schedule).where(Schedule.next_at <= self._clock(), Schedule.deleted_at.is_(None))
        return [
            (row.id, row.owner, row.team, row.profile)
            for row in session.scalars(due.order_by(Schedule.next_at)).all()
        ]

    async def _check_times(self) -> None:
        """Set back what a clock that was once far ahead has put off; that each minute is made once stays true."""
        now = self._clock()
        if self._checked is not None and abs(now - self._checked) < _CHECK:
            return
        if await self._store.read(lambda session: self._far(session, now)):
            await self._store.run(lambda session: self._set_back(session, now))
        self._checked = now

    def _far(self, session: Session, now: datetime) -> list[tuple[Schedule, datetime]]:
        found = []
        for schedule in session.scalars(select(Schedule).where(Schedule.next_at > now)).all():
            due = next_after(schedule.cron, schedule.timezone, now)
            if due is not None and schedule.next_at is not None and due < schedule.next_at:
                found.append((schedule, due))
        return found

    def _set_back(self, session: Session, now: datetime) -> None:
        for schedule, due in self._far(session, now):
            facts = {"from": str(schedule.next_at), "to": str(due)}
            schedule.next_at = due
            record(session, now, PORTAL, "schedule.set_back", schedule_object(schedule), facts, schedule.owner)

    def _fire(self, session: Session, schedule_id: str, fleet: Fleet, why_not: str | None) -> None:
        schedule = session.get_one(Schedule, schedule_id)
        now = self._clock()
        if schedule.next_at is None or schedule.next_at > now or schedule.deleted_at is not None:
            return  # somebody else was first
        due, schedule.next_at = schedule.next_at, next_after(schedule.cron, schedule.timezone, now)
        made_before = select(Execution.id).where(Execution.schedule_id == schedule.id, Execution.due_at == due)
        if session.scalar(made_before) is not None:
            return  # the clock was set back
        before = [one for one in open_executions(session, schedule) if one.due_at is not None]
        if before and why_not is None:
            _skip(session, schedule, before[0], now, due)
            return
        execution = made(session, schedule, new_id(), schedule.parameters, now, due)
        _record(session, schedule, execution, "execution.due", {}, now)
        if why_not is not None:
            detail = schedule.profile if why_not == OwnerLostProfile.code else schedule.team or ""
            close(session, execution, "failed", note(why_not, detail), now, code=why_not)
            pause(session, schedule, now, why_not)
            return
        try:
            admit(session, schedule, execution, fleet, now, PORTAL)
        except DureError as error:  # its profile is gone; waiting would hide that
            close(session, execution, "failed", note("start_failed", error.text()), now, code=error.code)


def made(
    session: Session,
    schedule: Schedule,
    execution_id: str,
    parameters: Mapping[str, Any],
    now: datetime,
    due: datetime | None,
) -> Execution:
    """A new execution's row; nothing is admitted yet."""
    execution = Execution(
        id=execution_id,
        schedule_id=schedule.id,
        owner=schedule.owner,
        number=next_number(session, schedule),
        parameters=dict(parameters),
        state="queued",
        failure={},
        due_at=due,
        created_at=now,
    )
    session.add(execution)
    session.flush()
    return execution


def admit(
    session: Session, schedule: Schedule, execution: Execution, fleet: Fleet, now: datetime, actor: str
) -> None:
    """Its lease or its ticket. The lease ends after the schedule's limit. Raises as `admission.admit` does."""
    granted = admission.admit(
        session,
        ticket_id=execution.id,
        owner=schedule.owner,
        purpose=admission.SCHEDULE,
        subject=execution.id,
        profile=schedule.profile,
        lifetime_s=schedule.limit_s,
        now=now,
        fleet=fleet,
        team=schedule.team,
        project=schedule.project,
        actor=None if actor == schedule.owner else actor,
    )
    execution.ticket_id = execution.id
    if isinstance(granted, Lease):
        attach(execution, granted, now)
    else:
        execution.reason = note("waiting", schedule.profile)


def _skip(session: Session, schedule: Schedule, blocking: Execution, now: datetime, due: datetime) -> None:
    """Leave out what was due at `due`. What one execution keeps from starting is one row, however often."""
    row = skipped_for(session, schedule, blocking)
    times = overlapped(row.reason)[1] + 1 if row is not None else 1
    if row is None:
        row = made(session, schedule, new_id(), schedule.parameters, now, due)
    row.state, row.ended_at, row.reason = "skipped", now, overlap(blocking.number, times, due)
    facts = {"code": "overlap", "facts": {"number": blocking.number, "times": times}}
    _record(session, schedule, row, "execution.skip", facts, now)


def _always() -> bool:
    return True


async def _nothing_against(_owner: str, _team: str | None, _groups: Groups) -> str | None:
    return None


def _record(
    session: Session, schedule: Schedule, execution: Execution, verb: str, facts: dict[str, Any], now: datetime
) -> None:
    record(session, now, PORTAL, verb, execution_object(schedule, execution), facts, schedule.owner)

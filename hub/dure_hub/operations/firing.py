"""Makes an execution of each schedule that is due. A tick of its own: it has nothing to do with what runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure.wire.ids import new_id
from dure_hub.operations import admission
from dure_hub.operations.notes import note
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.operations.reconcile import lead
from dure_hub.operations.schedule_rows import attach, execution_object, next_number, open_executions
from dure_hub.policies.cron import next_after
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Execution, Lease, Schedule
from dure_hub.store.session import lock_admission

log = logging.getLogger(__name__)


class Firing:
    """Looks what is due. Of several portals only the one that leads acts, and each time is made once anyway."""

    def __init__(
        self, settings: Settings, store: Store, clock: Clock, profiles: Profiles, kick: Callable[[], None]
    ) -> None:
        self._settings, self._store, self._clock = settings, store, clock
        self._profiles, self._kick = profiles, kick
        self._holder = new_id()

    async def fire(self) -> None:
        """Make what is due now. What was missed while nobody looked is made once, however often it was due."""
        if self._settings.folder.closing.exists() or not await self._store.read(self._due):
            return
        if not await self._store.run(lambda session: lead(session, self._holder, self._clock(), "schedules")):
            return
        fleet = await self._profiles.fleet()
        for schedule_id in await self._store.read(self._due):
            try:
                await self._store.run(partial(self._fire, schedule_id=schedule_id, fleet=fleet))
            except Exception:  # a bug with one must not hold up the others
                log.exception("schedule %s; tried again in the next look", schedule_id)
        self._kick()

    def _due(self, session: Session) -> list[str]:
        due = select(Schedule.id).where(Schedule.next_at <= self._clock(), Schedule.deleted_at.is_(None))
        return list(session.scalars(due.order_by(Schedule.next_at)).all())

    def _fire(self, session: Session, schedule_id: str, fleet: Fleet) -> None:
        lock_admission(session)
        schedule = session.get_one(Schedule, schedule_id)
        now = self._clock()
        if schedule.next_at is None or schedule.next_at > now or schedule.deleted_at is not None:
            return  # somebody else was first
        due, schedule.next_at = schedule.next_at, next_after(schedule.cron, schedule.timezone, now)
        made_before = select(Execution.id).where(Execution.schedule_id == schedule.id, Execution.due_at == due)
        if session.scalar(made_before) is not None:
            return  # the clock was set back
        before = [one for one in open_executions(session, schedule) if one.due_at is not None]
        execution = made(session, schedule, new_id(), schedule.parameters, now, due)
        if before:
            execution.state, execution.ended_at = "skipped", now
            execution.reason = note("overlap", before[0].number)
            facts = {"code": "overlap", "facts": {"number": before[0].number}}
            _record(session, schedule, execution, "execution.skip", facts, now)
            return
        _record(session, schedule, execution, "execution.due", {}, now)
        try:
            admit(session, schedule, execution, fleet, now, PORTAL)
        except DureError as error:  # its profile is gone; waiting would hide that
            execution.state, execution.ended_at = "failed", now
            execution.reason = note("start_failed", error.text())
            facts = {"state": "failed", "code": error.code}
            _record(session, schedule, execution, "execution.end", facts, now)


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
        actor=None if actor == schedule.owner else actor,
    )
    execution.ticket_id = execution.id
    if isinstance(granted, Lease):
        attach(execution, granted, now)
    else:
        execution.reason = note("waiting", schedule.profile)


def _record(
    session: Session, schedule: Schedule, execution: Execution, verb: str, facts: dict[str, Any], now: datetime
) -> None:
    record(session, now, PORTAL, verb, execution_object(schedule, execution), facts, schedule.owner)

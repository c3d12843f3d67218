"""What ends with an account, as far as it can be reached now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dure.errors import DureError
from dure_hub.hubapi import HubApi
from dure_hub.operations import admission
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.notes import note
from dure_hub.operations.notice_rows import forget_channels
from dure_hub.operations.schedule_rows import close, pause
from dure_hub.settings import Settings
from dure_hub.store import Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Execution, Job, Lease, Schedule, Ticket, Token
from dure_hub.store.session import database_url

T = TypeVar("T")


async def end_everything_of(settings: Settings, name: str) -> list[str]:
    """Revoke their own tokens, empty their places in the queue, pause their schedules, stop their servers.

    Scheduled notebooks that run are stopped too: their tokens may start more.

    Answers with a sentence for each part not reached: the reconciler stops what the hub could not be asked to.
    Jobs that run go on under the leases they were given, with the tokens of those leases, and so do endpoints:
    others use them, and an administrator can delete them.
    """
    await asyncio.to_thread(_write, settings, name, _end)
    missing = []
    hub = HubApi(settings)
    try:
        for server in await hub.servers():
            if server.user == name:
                await hub.stop_server(name, server.name)
    except DureError as error:
        missing.append(str(error))
    finally:
        await hub.close()
    return missing


def sign_out(settings: Settings, name: str) -> list[str]:
    """Revoke the person's own tokens, forget where notices are sent, pause their schedules; the names of those.

    Whoever held the account may have made or changed them. Tokens of what runs end with its lease.
    """
    return _write(settings, name, _sign_out) or []


def _write(settings: Settings, name: str, work: Callable[[Session, str, datetime], T]) -> T | None:
    if not settings.database_url and not (settings.folder.db / "dure.sqlite").exists():
        return None
    store = Store(database_url(settings))
    try:
        with store.transaction() as session:
            return work(session, name, datetime.now(UTC))
    finally:
        store.close()


def _revoke(session: Session, name: str, now: datetime) -> None:
    own = update(Token).where(Token.owner == name, Token.lease_id.is_(None), Token.revoked_at.is_(None))
    session.execute(own.values(revoked_at=now))
    forget_channels(session, name)
    record(session, now, PORTAL, "account.sign_out", f"user:{name}")


def _sign_out(session: Session, name: str, now: datetime) -> list[str]:
    _revoke(session, name, now)
    return _pause(session, name, now, "password_reset")


def _pause(session: Session, name: str, now: datetime, code: str) -> list[str]:
    due = select(Schedule).where(Schedule.owner == name, Schedule.next_at.is_not(None)).order_by(Schedule.name)
    schedules = session.scalars(due).all()
    for schedule in schedules:
        pause(session, schedule, now, code)
    return [schedule.name for schedule in schedules]


def _end(session: Session, name: str, now: datetime) -> None:
    _revoke(session, name, now)
    record(session, now, PORTAL, "account.disable", f"user:{name}")
    queued = select(Ticket).where(
        Ticket.owner == name, Ticket.state == "waiting", Ticket.purpose != admission.SERVING
    )
    for ticket in session.scalars(queued).all():
        admission.cancel(session, ticket.id, "cancelled", now)
        _settle(session, ticket, now)
    _pause(session, name, now, "owner_disabled")
    running = select(Execution).where(Execution.owner == name, Execution.ended_at.is_(None))
    for execution in session.scalars(running).all():
        execution.wanted = "stop"
    ends = (admission.NOTEBOOK, admission.SCHEDULE)
    held = select(Lease).where(Lease.owner == name, Lease.purpose.in_(ends), Lease.ended_at.is_(None))
    for lease in session.scalars(held).all():
        admission.ask_end(session, lease, "stopped", now)
        if row := rows.of_lease(session, lease):
            row.phase = rows.STOPPING


def _settle(session: Session, ticket: Ticket, now: datetime) -> None:
    """What waited with this ticket waits no more."""
    server, job = session.get(Environment, ticket.subject), session.get(Job, ticket.subject)
    if server is not None and server.ticket_id == ticket.id and server.phase == rows.WAITING:
        server.phase, server.reason = rows.STOPPED, "cancelled"
    if job is not None and job.state == "queued":
        job.wanted, job.state, job.reason, job.ended_at = "stop", "stopped", note("asked"), now
    execution = session.get(Execution, ticket.subject)
    if execution is not None and execution.state == "queued":
        close(session, execution, "stopped", note("asked"), now)

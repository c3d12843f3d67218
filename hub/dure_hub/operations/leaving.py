"""What ends with a person's right to be here. Each function runs in a transaction of its caller's."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dure_hub.operations import admission
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.granted import want_no_more
from dure_hub.operations.notes import note
from dure_hub.operations.notice_rows import forget_channels
from dure_hub.operations.schedule_rows import close, pause
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Execution, Job, Lease, Schedule, Ticket, Token

ENDING = (admission.NOTEBOOK, admission.SCHEDULE)
"""Whose leases end with their owner. Jobs go on under what they were given, and endpoints are used by others."""


def revoke_tokens(session: Session, name: str, now: datetime, actor: str = PORTAL) -> None:
    """End the person's own tokens and keys, and forget where their notices are sent. Tokens of what runs end with
    its lease."""
    own = update(Token).where(Token.owner == name, Token.lease_id.is_(None), Token.revoked_at.is_(None))
    session.execute(own.values(revoked_at=now))
    forget_channels(session, name)
    record(session, now, actor, "account.sign_out", f"user:{name}")


def revoke_tokens_of_administrator(session: Session, name: str, now: datetime) -> None:
    """End the person's tokens and keys that carry administrator's rights, which are theirs no more."""
    live = (Token.owner == name, Token.admin.is_(True), Token.lease_id.is_(None), Token.revoked_at.is_(None))
    found = session.scalars(select(Token).where(*live)).all()
    for token in found:
        token.revoked_at = now
    if found:
        record(session, now, PORTAL, "account.no_admin", f"user:{name}")


def pause_schedules(session: Session, name: str, now: datetime, code: str) -> list[str]:
    """Pause what would go on by itself; the names of those."""
    due = select(Schedule).where(Schedule.owner == name, Schedule.next_at.is_not(None)).order_by(Schedule.name)
    schedules = session.scalars(due).all()
    for schedule in schedules:
        pause(session, schedule, now, code)
    return [schedule.name for schedule in schedules]


def leave_queue(session: Session, name: str, now: datetime, but: frozenset[str] | None = None) -> None:
    """Cancel what waits; with `but`, only what other teams than these would pay for."""
    queued = select(Ticket).where(
        Ticket.owner == name, Ticket.state == "waiting", Ticket.purpose != admission.SERVING
    )
    for ticket in session.scalars(queued).all():
        if but is None or (ticket.team is not None and ticket.team not in but):
            admission.cancel(session, ticket.id, "cancelled", now)
            _settle(session, ticket, now)


def stop_executions(session: Session, name: str) -> None:
    """Ask scheduled notebooks that run to end: their tokens may start more."""
    running = select(Execution).where(Execution.owner == name, Execution.ended_at.is_(None))
    for execution in session.scalars(running).all():
        execution.wanted = "stop"


def end_leases(session: Session, name: str, now: datetime, reason: str) -> None:
    """Ask servers and executions to end now."""
    for lease in held(session, name, ENDING):
        want_no_more(lease)
        admission.ask_end(session, lease, reason, now)
        if row := rows.of_lease(session, lease):
            row.phase = rows.STOPPING


def held(session: Session, name: str, purposes: tuple[str, ...]) -> list[Lease]:
    """The person's active leases of these purposes."""
    query = select(Lease).where(Lease.owner == name, Lease.purpose.in_(purposes), Lease.ended_at.is_(None))
    return list(session.scalars(query))


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

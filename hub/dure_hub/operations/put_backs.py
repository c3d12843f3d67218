"""Servers that a cluster has not let in (Kueue, a quota, or no node): they end uncharged, and wait in their place.

Three steps, each in a transaction: `want` writes that it is to end and why, then whoever ends servers ends what
was begun of it, then `settle` has the request wait again. A portal or hub killed in between is followed by one
that goes on from there.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.backends.base import HeldBack, Seen
from dure_hub.operations import admission
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.granted import NOT_ADMITTED, ticket_of
from dure_hub.policies import refused
from dure_hub.policies.verdict import Verdict
from dure_hub.settings import Settings
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease, Login, Ticket


def want(session: Session, lease_id: str, refusal: Verdict, now: datetime) -> bool:
    """It is to end, and to wait again as `refusal` says. False where it is to end already, or has."""
    lease = session.get(Lease, lease_id)
    if lease is None or not admission.ask_end(session, lease, NOT_ADMITTED, now):
        return False
    ticket = ticket_of(session, lease)
    if ticket is not None:
        ticket.verdict = refusal.to_json()
    return True


def pause_s(settings: Settings, held: HeldBack) -> int:
    """How long it is not tried again: Kueue's own time for Kueue, another for all else."""
    return settings.kueue_pause_s if held.verdict == refused.QUEUE else settings.retry_pause_s


def settle(session: Session, lease: Lease, seen: Seen | None, now: datetime) -> None:
    """Its lease has ended: what was to wait again does, but for whom nothing new may begin, and but what is to be
    stopped; else `rows.settle`."""
    row, ticket = rows.of_lease(session, lease), ticket_of(session, lease)
    login = session.get(Login, lease.owner)
    gone = login is not None and login.gone_at is not None
    stopped = row is not None and row.stop_at is not None
    if lease.end_reason != NOT_ADMITTED or row is None or ticket is None or gone or stopped:
        rows.settle(session, lease, seen)
        return
    again = admission.requeue(session, lease, ticket.lifetime_s, now)
    rows.wait_again(row, again)
    facts = {"lease": lease.id, "ticket": again.id, **again.verdict.get("facts", {})}
    verdict = {"allowed": False, "code": again.verdict.get("code"), "facts": facts}
    record(session, now, PORTAL, "environment.put_back", rows.thing(row), verdict, row.owner)


def is_back(session: Session, ticket: Ticket) -> bool:
    """Whether this request was granted before and put back: who had taken a turn need not do so again."""
    query = select(Lease.id).where(
        Lease.owner == ticket.owner,
        Lease.subject == ticket.subject,
        Lease.end_reason == NOT_ADMITTED,
        Lease.granted_at >= ticket.asked_at,
    )
    return session.scalar(query.limit(1)) is not None

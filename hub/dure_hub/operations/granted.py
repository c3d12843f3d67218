"""The request that a lease was granted to, and whether the cluster let it in (Kueue, quotas, the scheduler)."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.policies import refused
from dure_hub.store.models import Lease, Ticket

NOT_ADMITTED = "not_admitted"
"""Why a lease ends whose server the cluster has not let in."""


def ticket_of(session: Session, lease: Lease) -> Ticket | None:
    """Its request; None where there is none any more."""
    return session.scalars(select(Ticket).where(Ticket.lease_id == lease.id)).first()


def was_refused(session: Session, lease: Lease) -> bool:
    """Whether the cluster had not let it in, whatever else it was then ended for."""
    if lease.end_reason == NOT_ADMITTED:
        return True
    ticket = ticket_of(session, lease)
    return ticket is not None and ticket.verdict.get("code") in refused.CODES


def want_no_more(lease: Lease) -> None:
    """What was to end and to wait again is to end alone; whoever wants that says why with `admission.ask_end`."""
    if lease.ended_at is None and lease.end_reason == NOT_ADMITTED:
        lease.end_reason = None

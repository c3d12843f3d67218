"""Tickets and leases as people see them, and what a request made now would come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from dure import wire
from dure_hub.operations import admission, line
from dure_hub.operations.budgets import Purse
from dure_hub.operations.profiles import Fleet
from dure_hub.policies import classes
from dure_hub.store.models import Lease, Ticket

_LAST = "~"
"""An id behind every ULID: of those who ask in the same instant, the one who only thinks of it is last."""


@dataclass(frozen=True)
class Start:
    """When a request made now would start: at once, else its place in the line and the latest time, if known."""

    now: bool
    position: int | None = None
    expected: datetime | None = None
    next_best: str | None = None


def foresee(
    session: Session,
    profile: str,
    fleet: Fleet,
    now: datetime,
    *,
    owner: str = "",
    team: str | None = None,
    project: str | None = None,
    lifetime_s: int | None = None,
    purpose: str = admission.NOTEBOOK,
    budgets: bool = True,
) -> Start:
    """What `admit` would do with this request, by the same rules; writes nothing. Raises what it would raise.

    `lifetime_s` is the one it would be asked with, None a lease without an end. Without `budgets` none is asked:
    what starts some other day meets that day's.
    """
    asked = thought_of(profile, now, owner, team, project, lifetime_s, purpose)
    queued = line.read(session, fleet, now)
    if not budgets:
        queued.purse = Purse(now, {})
    return start_of(session, asked, queued)


def thought_of(
    profile: str,
    now: datetime,
    owner: str,
    team: str | None,
    project: str | None,
    lifetime_s: int | None,
    purpose: str = admission.NOTEBOOK,
) -> Ticket:
    """A request that nobody has made yet; it is in no session."""
    return Ticket(
        id=_LAST,
        owner=owner,
        team=team,
        project=project,
        purpose=purpose,
        subject=_LAST,
        profile=profile,
        lifetime_s=lifetime_s,
        priority=0,
        queue_class=classes.class_of(purpose),
        reclaims=False,
        asked_at=now,
    )


def start_of(session: Session, asked: Ticket, queued: line.Line) -> Start:
    """When it would start behind this line, which it joins. Raises what `admit` would."""
    admission.check(session, asked, queued)
    queued.add(asked, session)
    if queued.turn(asked) is not None:
        return Start(now=True)
    wish = queued.wish(session, asked)
    return Start(
        now=False,
        position=queued.places().get(_LAST),
        expected=queued.expected().get(_LAST),
        next_best=queued.next_best(asked.profile, wish),
    )


def ticket_on_wire(session: Session, ticket: Ticket, fleet: Fleet, now: datetime) -> wire.Ticket:
    """The ticket with its place in the queue, its start at the latest, and what is free instead."""
    position, instead = None, None
    starts: Mapping[str, datetime | None] = {}
    if ticket.state == "waiting":
        queued = line.seen(session, fleet, now)
        position, starts = queued.places().get(ticket.id), queued.expected()
        wish = queued.wish(session, ticket)
        instead = queued.next_best(ticket.profile, wish)
    return wire.Ticket(
        id=ticket.id,
        state=ticket.state,
        purpose=ticket.purpose,
        profile=ticket.profile,
        position=position,
        expected_start=starts.get(ticket.id),
        asked_at=ticket.asked_at,
        verdict=ticket.verdict,
        next_best=instead,
    )


def lease_on_wire(lease: Lease) -> wire.Lease:
    """The lease as people see it."""
    return wire.Lease(
        id=lease.id,
        owner=lease.owner,
        team=lease.team,
        project=lease.project,
        purpose=lease.purpose,
        profile=lease.profile,
        slices=[wire.Slice(**piece) for piece in lease.slices],
        rate=lease.rate,
        granted_at=lease.granted_at,
        until=lease.until,
        ended_at=lease.ended_at,
        uncertain_s=lease.uncertain_s,
        end_reason=lease.end_reason,
    )

"""How a server is asked for: the row, the ticket, the lease; what every way of asking shares.

Every function here runs in a transaction that its caller began.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy.orm import Session

from dure.wire.ids import new_id
from dure_hub.operations import admission, lifetimes
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.errors import StillEnding, TooManyServers
from dure_hub.operations.profiles import Fleet
from dure_hub.store.events import record
from dure_hub.store.models import Environment, Lease, Ticket


@dataclass(frozen=True)
class Wanted:
    """A server as it is asked for; `seconds` is its lifetime."""

    profile: str
    seconds: int
    team: str | None = None
    project: str | None = None
    image: str | None = None


def ask(
    session: Session, row: Environment, ticket_id: str, wanted: Wanted, fleet: Fleet, now: datetime
) -> Lease | None:
    """Admit it, or leave a ticket (None). Raises what `admit` does, and then nothing stays."""
    got = admission.admit(
        session,
        ticket_id=ticket_id,
        owner=row.owner,
        purpose=admission.NOTEBOOK,
        subject=row.id,
        profile=wanted.profile,
        lifetime_s=wanted.seconds,
        now=now,
        fleet=fleet,
        team=wanted.team,
        project=wanted.project,
    )
    row.ticket_id = ticket_id
    if isinstance(got, Lease):
        rows.grant(row, got)
        return got
    row.phase, row.lease_id = rows.WAITING, None
    return None


def row_of(
    session: Session, row: Environment | None, owner: str, name: str, wanted: Wanted, now: datetime, most: int
) -> Environment:
    """The row of a new request: nothing of the last server's end or failure stays in it.

    Raises `TooManyServers` where the owner has `most` others already.
    """
    others = rows.alive(session, owner, name)
    if len(others) >= most:
        raise TooManyServers(most=most, names=", ".join(others))
    if row is None:
        row = Environment(id=new_id(), owner=owner, name=name, phase=rows.WAITING)
        session.add(row)
    row.profile, row.image, row.project, row.asked_at = wanted.profile, wanted.image, wanted.project, now
    row.active_at = row.reason = row.receipt = row.checks = row.log_end = row.dismissed_at = row.held_until = None
    row.stop_at = row.stop_reason = None
    record(session, now, owner, "environment.request", rows.thing(row))
    return row


def last(session: Session, row: Environment | None) -> Ticket | None:
    """The request that its last server came of."""
    return session.get(Ticket, row.ticket_id) if row is not None and row.ticket_id else None


def like(session: Session, wanted: Wanted, owner: str, ticket: Ticket | None, fleet: Fleet) -> Wanted:
    """The same with the last request's lifetime, as far as profile, owner and team allow it."""
    if ticket is None or ticket.lifetime_s is None:
        return wanted
    found = lifetimes.bounds_of(session, fleet.profile(wanted.profile), owner, wanted.team)
    return replace(wanted, seconds=min(ticket.lifetime_s, found.max_s))


def take(
    session: Session, row: Environment, held: Lease, offered: str | None, now: datetime
) -> Lease | StillEnding:
    """Claim the environment's active lease, whatever the caller offered.

    Claimed before, but with nothing started: the hub was killed in between, and its second start goes on.
    """
    again = held.claimed_at is not None and not held.handle and offered == held.id
    if held.end_reason is None and (held.claimed_at is None or again):
        held.claimed_at = held.claimed_at or now
        row.phase, row.held_until = rows.STARTING, None
        record(session, now, row.owner, "lease.claim", f"lease:{held.id}")
        return held
    # the hub starts what it holds for stopped, so whatever still runs there is out of its reach
    admission.ask_end(session, held, "replaced", now)
    row.phase = rows.STOPPING
    return StillEnding(name=row.name)

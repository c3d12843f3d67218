"""Who gets a slice: decided and written in one transaction, for environments, jobs and model servers alike.

Every function takes the session of a transaction that its caller began (`store.transaction()`), because the
caller's own row changes with it. A ticket becomes at most one lease. A lease counts until `end_lease`: who wants
it to end says so with `ask_end`, and the reconciler ends it once nothing of it runs any more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import Conflict
from dure.wire.ids import new_id
from dure_hub.operations.errors import NeverFits
from dure_hub.operations.profiles import Fleet, active_slices
from dure_hub.policies import queue
from dure_hub.policies.placement import Slice, next_best, place
from dure_hub.policies.queue import Held, Waiting
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease, Ticket, Token
from dure_hub.store.session import lock_admission

NOTEBOOK, TRAINING, SERVING, SCHEDULE = "notebook", "training", "serving", "schedule"
"""The purposes of leases."""
_LAST = "~"
"""An id behind every ULID: of those who ask in the same instant, the one who only thinks of it is last."""


def admit(
    session: Session,
    *,
    ticket_id: str,
    owner: str,
    purpose: str,
    subject: str,
    profile: str,
    lifetime_s: int | None,
    now: datetime,
    fleet: Fleet,
    priority: int = 0,
    actor: str | None = None,
) -> Lease | Ticket:
    """A lease if there is room and nobody is overtaken, else the ticket that waits.

    The same `ticket_id` sent twice is one request and answers with what became of it. `lifetime_s` None is a lease
    without an end. Raises `NoSuchProfile` or `NeverFits` and then writes nothing.
    """
    lock_admission(session)
    known = session.get(Ticket, ticket_id)
    if known is not None:
        if (known.owner, known.subject) != (owner, subject):
            raise Conflict(kind="id", name=ticket_id, rule="another request has it")
        lease = session.get(Lease, known.lease_id) if known.lease_id else None
        return lease or known
    spec = fleet.profile(profile)
    if not _fits_ever(spec.name, fleet):
        raise NeverFits(profile=profile)
    ticket = Ticket(
        id=ticket_id,
        owner=owner,
        purpose=purpose,
        subject=subject,
        profile=profile,
        lifetime_s=lifetime_s,
        priority=priority,
        state="waiting",
        verdict={},
        asked_at=now,
    )
    session.add(ticket)
    session.flush()
    record(
        session, now, actor or owner, "ticket.ask", f"ticket:{ticket_id}", on_behalf_of=owner if actor else None
    )
    others = [waiting for waiting in _waiting(session) if waiting.id != ticket_id]
    if queue.overtaken(profile, priority, others):
        ticket.verdict = {"allowed": False, "code": "others_wait_longer", "facts": {"profile": profile}}
        return ticket
    return _try(session, ticket, fleet, now) or ticket


def grant_waiting(session: Session, fleet: Fleet, now: datetime) -> list[tuple[Ticket, Lease]]:
    """Grant, in the queue's order, every ticket there is room for. The caller updates the subjects' rows.

    A ticket that finds no room holds back the later ones of its own profile, and no others: what differs in
    profile differs in what it waits for.
    """
    lock_admission(session)
    granted: list[tuple[Ticket, Lease]] = []
    blocked: set[str] = set()
    for waiting in queue.order(_waiting(session)):
        if waiting.profile in blocked:
            continue
        ticket = session.get_one(Ticket, waiting.id)
        lease = _try(session, ticket, fleet, now)
        if lease is None:
            blocked.add(waiting.profile)
        else:
            granted.append((ticket, lease))
    return granted


def ask_end(session: Session, lease: Lease, reason: str, now: datetime, actor: str = PORTAL) -> bool:
    """Want this lease to end, because of `reason`; the reconciler stops what runs and then ends it.

    False if it has ended or was already asked to.
    """
    if lease.ended_at is not None or lease.end_reason is not None:
        return False
    lease.end_reason = reason
    facts = {"code": reason}
    record(session, now, actor, "lease.stop", f"lease:{lease.id}", facts, _behalf(actor, lease.owner))
    return True


def end_lease(session: Session, lease_id: str, reason: str, now: datetime, actor: str = PORTAL) -> Lease | None:
    """Give its slices back and revoke its tokens, now. Only once nothing of it runs.

    None if it is unknown or had ended. Where somebody asked it to end before, that reason stays.
    """
    lease = session.get(Lease, lease_id)
    if lease is None or lease.ended_at is not None:
        return None
    lease.ended_at = now
    lease.end_reason = lease.end_reason or reason
    live = update(Token).where(Token.lease_id == lease.id, Token.revoked_at.is_(None))
    session.execute(live.values(revoked_at=now))
    facts = {"code": lease.end_reason}
    record(session, now, actor, "lease.end", f"lease:{lease.id}", facts, _behalf(actor, lease.owner))
    return lease


def cancel(session: Session, ticket_id: str, state: str, now: datetime, actor: str = PORTAL) -> Ticket | None:
    """End a waiting ticket as `cancelled`, `refused` or `expired`. None if it does not wait."""
    ticket = session.get(Ticket, ticket_id)
    if ticket is None or ticket.state != "waiting":
        return None
    ticket.state, ticket.decided_at = state, now
    record(session, now, actor, f"ticket.{state}", f"ticket:{ticket.id}", None, _behalf(actor, ticket.owner))
    return ticket


@dataclass(frozen=True)
class Start:
    """When a request made now would start: at once, else its place in the line and the latest time, if known."""

    now: bool
    position: int | None = None
    expected: datetime | None = None
    next_best: str | None = None


def foresee(session: Session, profile: str, fleet: Fleet, now: datetime) -> Start:
    """What `admit` would do with a request for this profile, by the same rules; writes nothing.

    Raises `NoSuchProfile` or `NeverFits`.
    """
    spec = fleet.profile(profile)
    if not _fits_ever(profile, fleet):
        raise NeverFits(profile=profile)
    waiting, slices = _waiting(session), active_slices(session)
    if not queue.overtaken(profile, 0, waiting) and place(spec, fleet.machine, slices).verdict.allowed:
        return Start(now=True)
    asked = Waiting(_LAST, profile, 0, now)
    line = [*waiting, asked]
    starts = queue.expected_starts(line, _held(session), fleet.profiles, fleet.machine, now)
    return Start(
        now=False,
        position=queue.position(asked.id, line),
        expected=starts[asked.id],
        next_best=next_best(profile, fleet.profiles, fleet.machine, slices),
    )


def ticket_on_wire(session: Session, ticket: Ticket, fleet: Fleet, now: datetime) -> wire.Ticket:
    """The ticket with its place in the queue, its start at the latest, and what is free instead."""
    waiting = _waiting(session)
    starts: Mapping[str, datetime | None] = {}
    instead = None
    if ticket.state == "waiting":
        starts = queue.expected_starts(waiting, _held(session), fleet.profiles, fleet.machine, now)
        instead = next_best(ticket.profile, fleet.profiles, fleet.machine, active_slices(session))
    return wire.Ticket(
        id=ticket.id,
        state=ticket.state,
        purpose=ticket.purpose,
        profile=ticket.profile,
        position=queue.position(ticket.id, waiting),
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
        purpose=lease.purpose,
        profile=lease.profile,
        slices=[wire.Slice(**piece) for piece in lease.slices],
        rate=lease.rate,
        granted_at=lease.granted_at,
        until=lease.until,
        ended_at=lease.ended_at,
        end_reason=lease.end_reason,
    )


def devices(lease: Lease) -> tuple[str, ...]:
    """The UUIDs of the GPUs a lease holds."""
    return tuple(str(piece["device"]) for piece in lease.slices if piece["device"] != "cpu")


def _try(session: Session, ticket: Ticket, fleet: Fleet, now: datetime) -> Lease | None:
    spec = fleet.profiles.get(ticket.profile)
    if spec is None:  # its GPU is not there at the moment; it may come back
        ticket.verdict = {"allowed": False, "code": "profile_away", "facts": {"profile": ticket.profile}}
        return None
    placed = place(spec, fleet.machine, active_slices(session))
    ticket.verdict = placed.verdict.to_json()
    if not placed.verdict.allowed:
        return None
    lease = Lease(
        id=new_id(),
        owner=ticket.owner,
        team=ticket.team,
        project=ticket.project,
        purpose=ticket.purpose,
        subject=ticket.subject,
        profile=ticket.profile,
        slices=[piece.to_json() for piece in placed.slices],
        rate=spec.rate,
        granted_at=now,
        until=None if ticket.lifetime_s is None else now + timedelta(seconds=ticket.lifetime_s),
        handle={},
    )
    session.add(lease)
    ticket.state, ticket.decided_at, ticket.lease_id = "granted", now, lease.id
    session.flush()  # the next placement in this transaction must count it
    record(session, now, PORTAL, "lease.grant", f"lease:{lease.id}", ticket.verdict, ticket.owner)
    return lease


def _fits_ever(profile: str, fleet: Fleet) -> bool:
    return place(fleet.profile(profile), fleet.machine, ()).verdict.allowed


def _waiting(session: Session) -> list[Waiting]:
    rows = session.scalars(select(Ticket).where(Ticket.state == "waiting")).all()
    return [Waiting(row.id, row.profile, row.priority, row.asked_at, row.lifetime_s) for row in rows]


def _held(session: Session) -> list[Held]:
    rows = session.scalars(select(Lease).where(Lease.ended_at.is_(None))).all()
    return [Held(tuple(Slice.from_json(piece) for piece in row.slices), row.until) for row in rows]


def _behalf(actor: str, owner: str) -> str | None:
    return None if actor == owner else owner

"""The row of an environment: finding it, what becomes of it when its lease ends, and how people see it."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.backends.base import Reason, Seen
from dure_hub.hubapi import DEFAULT
from dure_hub.operations import reasons, ticket_rows
from dure_hub.operations.profiles import Fleet
from dure_hub.policies.idle import idle_end
from dure_hub.policies.lifetime import latest_end
from dure_hub.store.models import Environment, Lease, Ticket

WAITING, STARTING, RUNNING, STOPPING, STOPPED, FAILED = (
    "waiting",
    "starting",
    "running",
    "stopping",
    "stopped",
    "failed",
)
ALIVE = (WAITING, STARTING, RUNNING, STOPPING)
_FAILURES = ("lost", "unclaimed", "start_failed", "waited_too_long")
_REASON_LENGTH = 250  # what the column holds


def find(session: Session, owner: str, name: str) -> Environment | None:
    """The environment of this owner and name."""
    return session.scalar(select(Environment).where(Environment.owner == owner, Environment.name == name))


def of_lease(session: Session, lease: Lease) -> Environment | None:
    """The environment that this lease holds now; None if it went on to another one."""
    row = session.get(Environment, lease.subject)
    return row if row is not None and row.lease_id == lease.id else None


def extendable(session: Session, row: Environment) -> Lease | None:
    """Its lease, if it is one whose end can be moved: it starts or runs, and nobody wants it to end."""
    lease = active_lease(session, row) if row.phase in (STARTING, RUNNING) else None
    return lease if lease is not None and lease.end_reason is None and lease.until is not None else None


def active_lease(session: Session, row: Environment) -> Lease | None:
    """Its lease, if that has not ended."""
    lease = session.get(Lease, row.lease_id) if row.lease_id else None
    return lease if lease is not None and lease.ended_at is None else None


def grant(row: Environment, lease: Lease) -> None:
    """It has a lease now, and is to start."""
    row.lease_id, row.profile, row.phase, row.reason = lease.id, lease.profile, STARTING, None
    row.activity = row.active_at = None  # of its last server


def settle(session: Session, lease: Lease, seen: Seen | None) -> None:
    """Its lease has ended: it has stopped, or failed where nobody wanted that. A reason it has already stays."""
    row = of_lease(session, lease)
    if row is None:
        return
    reason = lease.end_reason or "lost"
    failed = reason in _FAILURES or (reason == "exited" and seen is not None and _badly(seen))
    row.phase = FAILED if failed else STOPPED
    row.reason = row.reason or reason
    if reason == "exited" and seen is not None and seen.reason:
        row.reason = seen.reason[:_REASON_LENGTH]


def _badly(seen: Seen) -> bool:
    """Whether it ended otherwise than by itself or on request (`dure down` stops servers without the hub)."""
    return seen.exit_code != 0 and seen.reason not in (Reason.STOPPED, Reason.FINISHED)


def fail(row: Environment, why: str) -> None:
    """Keep why it did not start."""
    row.phase, row.reason = FAILED, why[:_REASON_LENGTH]


def wait_page(name: str) -> str:
    """The path of the waiting page."""
    return f"/services/dure/wait/{name}"


def url(owner: str, name: str) -> str:
    """The path on the front port that opens a server."""
    base = f"/user/{quote(owner, safe='@~')}/"
    return base if name == DEFAULT else f"{base}{name}/"


def on_wire(
    session: Session, row: Environment, fleet: Fleet, now: datetime, idle_timeout_s: int
) -> wire.Environment:
    """As people see it; `reason_text` has the reason in every language."""
    lease = active_lease(session, row)
    used_at = row.active_at if row.phase == RUNNING else None
    ticket = session.get(Ticket, row.ticket_id) if row.ticket_id and row.phase == WAITING else None
    return wire.Environment.model_validate(
        {
            "name": row.name,
            "owner": row.owner,
            "profile": row.profile,
            "phase": row.phase,
            "url": url(row.owner, row.name) if row.phase == RUNNING else None,
            "page": wait_page(row.name) if row.phase in (WAITING, STARTING) else None,
            "reason": reasons.sentence(row.reason),
            "reason_text": reasons.both(row.reason),
            "ticket": None if ticket is None else ticket_rows.ticket_on_wire(session, ticket, fleet, now),
            "lease": None if lease is None else ticket_rows.lease_on_wire(lease),
            "idle_since": used_at,
            "idle_end": idle_end(used_at, idle_timeout_s),
            "extendable_until": _extendable_until(extendable(session, row), fleet, now),
        }
    )


def _extendable_until(lease: Lease | None, fleet: Fleet, now: datetime) -> datetime | None:
    """None also where the profile is away at the moment: its bound is not known then."""
    spec = fleet.profiles.get(lease.profile) if lease is not None else None
    if lease is None or lease.until is None or spec is None:
        return None
    return latest_end(lease.until, max_s=spec.max_lifetime_s, now=now)

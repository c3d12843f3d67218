"""The row of an environment: finding it, what becomes of it when its lease ends, and how people see it."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.errors import NotFound
from dure_hub.backends.base import Reason, Seen
from dure_hub.hubapi import DEFAULT
from dure_hub.operations import checks, closures, extending, lifetimes, reasons, ticket_rows
from dure_hub.operations.granted import NOT_ADMITTED
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet
from dure_hub.operations.put_offs import put_off
from dure_hub.policies.idle import idle_end
from dure_hub.policies.lifetime import latest_end
from dure_hub.policies.naming import person_origin
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Environment, Lease, Ticket

WAITING, HELD, STARTING, RUNNING, STOPPING, STOPPED, FAILED = (
    "waiting",
    "held",
    "starting",
    "running",
    "stopping",
    "stopped",
    "failed",
)
ALIVE = (WAITING, HELD, STARTING, RUNNING, STOPPING)
_FAILURES = ("lost", "unclaimed", "start_failed", "waited_too_long")
REASON_LENGTH = 250  # what the column holds
TURN_PASSED = "turn_passed"


def find(session: Session, owner: str, name: str) -> Environment | None:
    """The environment of this owner and name."""
    return session.scalar(select(Environment).where(Environment.owner == owner, Environment.name == name))


def existing(session: Session, owner: str, name: str) -> Environment:
    """The same. Raises `NotFound`."""
    row = find(session, owner, name)
    if row is None:
        raise NotFound(kind="environment", name=name)
    return row


def team_of(session: Session, row: Environment) -> str | None:
    """The team that its last request is charged to."""
    ticket = session.get(Ticket, row.ticket_id) if row.ticket_id else None
    return None if ticket is None else ticket.team


def seen_by(session: Session, person: Person, owner: str | None, name: str) -> Environment:
    """One that this person may know of and end; whether it is there is told to nobody else. Raises `NotFound`."""
    whose = owner or person.name
    row = find(session, whose, name)
    person.need_sight(whose, None if row is None else team_of(session, row))
    return existing(session, whose, name)


def thing(row: Environment) -> str:
    """Its name in events."""
    return thing_of(row.owner, row.name)


def thing_of(owner: str, name: str) -> str:
    """The same of one whose row is not at hand."""
    return f"environment:{owner}/{name}"


def alive(session: Session, owner: str, but: str) -> list[str]:
    """The names of this owner's servers that wait, start, run or stop, without the one named `but`."""
    query = select(Environment.name).where(
        Environment.owner == owner, Environment.phase.in_(ALIVE), Environment.name != but
    )
    return sorted(session.scalars(query))


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
    row.activity = row.active_at = row.held_until = row.checks = None  # of its last server
    row.stop_at = row.stop_reason = None


def wait_again(row: Environment, ticket: Ticket) -> None:
    """Its lease has ended before anything of it ran, and its request waits."""
    row.ticket_id, row.lease_id, row.phase = ticket.id, None, WAITING
    row.reason = row.log_end = row.held_until = row.stop_at = row.stop_reason = None


def hold(row: Environment, lease: Lease, until: datetime) -> None:
    """Its turn has come: its place is kept for its owner, no longer than the lease itself lasts."""
    row.phase = HELD
    row.held_until = until if lease.until is None else min(until, lease.until)


def settle(session: Session, lease: Lease, seen: Seen | None) -> None:
    """Its lease has ended: it has stopped, or failed where nobody wanted that. A reason it has already stays."""
    row = of_lease(session, lease)
    if row is None:
        return
    reason = lease.end_reason or "lost"
    failed = reason in _FAILURES or (reason == "exited" and seen is not None and _badly(seen))
    row.phase = FAILED if failed else STOPPED
    if reason in ("expired", NOT_ADMITTED) and row.stop_at is not None:
        row.reason = row.reason or row.stop_reason
    exact = _exactly(seen) if reason == "exited" and seen is not None else reason
    row.reason = row.reason or (exact or reason)[:REASON_LENGTH]
    if lease.ended_at is not None:
        facts = {"lease": lease.id, "phase": row.phase, "code": reason, "reason": row.reason}
        record(session, lease.ended_at, PORTAL, "environment.end", thing(row), facts, row.owner)


def stop_time(row: Environment, lease: Lease | None) -> datetime | None:
    """When a stop that was set ends it, None without one: with its lease, which a gap or a drain may move."""
    if row.stop_at is None or row.phase not in (STARTING, RUNNING, STOPPING):
        return None
    return row.stop_at if lease is None or lease.until is None else lease.until


def _exactly(seen: Seen) -> str | None:
    """The backend's reason; of what was killed what the place says of it, where it says anything."""
    return reasons.by_cluster(seen.said) if seen.said and seen.reason == Reason.KILLED else seen.reason


def _badly(seen: Seen) -> bool:
    """Whether it ended otherwise than by itself or on request (`dure down` stops servers without the hub)."""
    return seen.exit_code != 0 and seen.reason not in (Reason.STOPPED, Reason.FINISHED)


def fail(row: Environment, why: str) -> None:
    """Keep why it did not start. What its spawner has said already is better than what the hub made of it."""
    row.phase, row.reason = FAILED, row.reason or why[:REASON_LENGTH]


def wait_page(name: str) -> str:
    """The path of the waiting page."""
    return f"/services/dure/wait/{name}"


def url(owner: str, name: str, subdomain_host: str = "") -> str:
    """What opens a server: the path on the front port, or an address where people have hosts of their own."""
    origin = person_origin(subdomain_host, owner) if subdomain_host else ""
    base = f"{origin}/user/{quote(owner, safe='@~')}/"
    return base if name == DEFAULT else f"{base}{name}/"


def on_wire(
    session: Session,
    row: Environment,
    fleet: Fleet,
    now: datetime,
    idle_timeout_s: int,
    subdomain_host: str = "",
    others_bind: bool = True,
) -> wire.Environment:
    """As people see it; `reason_text` has the reason in every language.

    Without `others_bind` its end may be moved past what others were promised, as administrators may.
    """
    lease = active_lease(session, row)
    used_at = row.active_at if row.phase == RUNNING else None
    ticket = session.get(Ticket, row.ticket_id) if row.ticket_id and row.phase == WAITING else None
    return wire.Environment.model_validate(
        {
            "name": row.name,
            "owner": row.owner,
            "profile": row.profile,
            "phase": row.phase,
            "url": url(row.owner, row.name, subdomain_host) if row.phase == RUNNING else None,
            "page": wait_page(row.name) if row.phase in (WAITING, HELD, STARTING) else None,
            "reason": reasons.sentence(row.reason),
            "reason_text": reasons.both(row.reason),
            "ticket": None if ticket is None else ticket_rows.ticket_on_wire(session, ticket, fleet, now),
            "lease": None if lease is None else ticket_rows.lease_on_wire(lease),
            "idle_since": used_at,
            "idle_end": idle_end(used_at, idle_timeout_s),
            "extendable_until": _extendable_until(session, row, fleet, now, others_bind),
            "image": row.image or own_image(fleet, row.profile),
            "project": row.project,
            "held_until": row.held_until if row.phase == HELD else None,
            "ran": row.active_at is not None,
            "ended_at": ended_at(session, row),
            "ended_by": ended_by(session, row),
            "stop_at": stop_time(row, lease),
            "stop_text": None if row.stop_at is None else reasons.to_be_stopped(row.stop_reason),
            "receipt": row.receipt if row.receipt and "saved" in row.receipt else None,
            "checks": checks.on_wire(session, row, lease, now) if row.phase == RUNNING and lease else [],
            "told": row.dismissed_at is not None,
            "put_off": None if lease is None else put_off(session, thing(row), lease, now),
            "notice": closures.notice(session, lease),
        }
    )


def own_image(fleet: Fleet, profile: str) -> str | None:
    """What servers of this profile are made from, whoever asks; None where they choose, or it is away."""
    return fleet.profiles[profile].image if profile in fleet.profiles else None


def told_to(person: Person, shown: wire.Environment) -> wire.Environment:
    """The same for this reader: names of files are for the owner, and for administrators."""
    return shown if person.admin or shown.owner == person.name else shown.model_copy(update={"receipt": None})


def ended_at(session: Session, row: Environment) -> datetime | None:
    """When it ended: its lease, or the request that never got one."""
    if row.phase not in (STOPPED, FAILED):
        return None
    lease = session.get(Lease, row.lease_id) if row.lease_id else None
    if lease is not None and lease.ended_at is not None:
        return lease.ended_at
    ticket = session.get(Ticket, row.ticket_id) if row.ticket_id else None
    return None if ticket is None else ticket.decided_at


def ended_by(session: Session, row: Environment) -> datetime | None:
    """When it ended at the latest, where nobody saw it."""
    lease = session.get(Lease, row.lease_id) if row.lease_id and row.phase in (STOPPED, FAILED) else None
    if lease is None or lease.ended_at is None or lease.uncertain_s <= 1:
        return None
    return lease.ended_at + timedelta(seconds=lease.uncertain_s)


def _extendable_until(
    session: Session, row: Environment, fleet: Fleet, now: datetime, others_bind: bool
) -> datetime | None:
    """None also where the profile is away at the moment: its bound is not known then. Nor is there a later end for
    its owner where a stop is set."""
    lease = extendable(session, row) if row.reason is None else None  # one that was warned of its end
    spec = fleet.profiles.get(lease.profile) if lease is not None else None
    if lease is None or lease.until is None or spec is None or (others_bind and row.stop_at is not None):
        return None
    longest_s = lifetimes.bounds_of(session, spec, row.owner, lease.team).max_s
    latest, drain = latest_end(lease.until, max_s=longest_s, now=now), closures.drain_of(session, lease)
    latest = latest if drain is None or drain.until is None else min(latest, max(drain.until, lease.until))
    return extending.latest(session, lease, latest, fleet, now)[0] if others_bind else latest

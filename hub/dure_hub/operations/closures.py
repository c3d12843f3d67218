"""What keeps GPUs from being granted, as rows. Every function takes the session of the transaction that decides.

A fault closes a GPU until an administrator takes it back into use. Use from outside closes it for as long as it is
seen. A cordon or drain is an administrator's. What is closed is granted to nobody from the transaction on that
closes it, whoever decides by which look; who was promised a start is told anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from dure_hub.operations import device_words, pauses
from dure_hub.operations.device_errors import DeviceDrains
from dure_hub.policies.devices import CORDON, DRAIN, FAULT, OUTSIDE
from dure_hub.store.events import record
from dure_hub.store.models import Closure, Lease, Ticket

FAULTY, DRAINED = "device_fault", "device_drained"
"""Why a lease ends with its GPU."""


def closed(session: Session) -> frozenset[str]:
    """The GPUs that nothing is granted of now, by UUID."""
    return frozenset(session.scalars(select(Closure.device)))


def of(session: Session, device: str) -> Sequence[Closure]:
    """Why this GPU is closed."""
    return session.scalars(select(Closure).where(Closure.device == device)).all()


def by_device(session: Session) -> dict[str, list[Closure]]:
    """All of them."""
    found: dict[str, list[Closure]] = {}
    for row in session.scalars(select(Closure).order_by(Closure.since)):
        found.setdefault(row.device, []).append(row)
    return found


def close(
    session: Session,
    device: str,
    kind: str,
    code: str,
    now: datetime,
    actor: str,
    *,
    facts: Mapping[str, Any] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    message: str | None = None,
) -> bool:
    """Grant nothing of it from now on, for this reason; False where that is so already, word for word.

    Of use from outside it is who they are that counts: what they take of the GPU changes at every look.
    """
    row, given = session.get(Closure, (device, kind)), dict(facts or {})
    if row is not None and kind == OUTSIDE and _who(row.facts) == _who(given):
        row.facts = given
        return False
    if row is not None and (row.code, row.facts, row.until, row.message) == (code, given, until, message):
        return False
    new = row is None
    row = row or Closure(device=device, kind=kind)
    row.since = since or now if new or row.code != code else row.since
    row.code, row.facts, row.until, row.message, row.by = code, given, until, message, actor
    session.add(row)
    if new:  # what was promised was promised with it
        session.execute(update(Ticket).where(Ticket.state == "waiting").values(promised_at=None))
    told = {**given, "until": until.isoformat() if until else None, "message": message}
    record(session, now, actor, f"device.{_VERBS[kind]}", f"device:{device}", {"code": code, "facts": told})
    session.flush()
    return True


def lift(session: Session, device: str, kinds: Iterable[str], now: datetime, actor: str) -> list[str]:
    """Take these reasons away; the codes of those that were there."""
    found = []
    for kind in kinds:
        row = session.get(Closure, (device, kind))
        if row is not None:
            found.append(row.code)
            session.delete(row)
    if found:
        record(session, now, actor, "device.open", f"device:{device}", {"codes": found})
        session.flush()
    return found


def holding(session: Session, device: str) -> list[Lease]:
    """The active leases that hold a part of it, the oldest first, with what runs on their slices."""
    rows = session.scalars(select(Lease).where(Lease.ended_at.is_(None)).order_by(Lease.granted_at, Lease.id))
    return [lease for lease in rows if any(piece["device"] == device for piece in lease.slices)]


def stop_charging(
    session: Session, device: str, code: str, facts: Mapping[str, Any], at: datetime, now: datetime
) -> list[Lease]:
    """Charge nobody who holds a GPU with a fault from then on; who holds it."""
    found = holding(session, device)
    for lease in found:
        if lease.parent is None:
            pauses.begin(session, lease, device, code, facts, at, now)
    return found


def end_by(session: Session, device: str, until: datetime, now: datetime, actor: str) -> None:
    """Have who holds it end by then at the latest; who ends sooner is left alone."""
    for lease in holding(session, device):
        if lease.until is None or lease.until > until:
            told = {"code": DRAIN, "facts": {"device": device, "until": until.isoformat()}}
            record(session, now, actor, "lease.shorten", f"lease:{lease.id}", told, lease.owner)
            lease.until = until


def drain_of(session: Session, lease: Lease) -> Closure | None:
    """The drain that bounds a lease, the earliest of several."""
    names = [str(piece["device"]) for piece in lease.slices if piece["device"] != "cpu"]
    if not names:
        return None
    query = select(Closure).where(Closure.device.in_(names), Closure.kind == CORDON, Closure.code == DRAIN)
    return min(session.scalars(query), key=lambda row: row.until or row.since, default=None)


def need_before_drain(session: Session, lease: Lease, until: datetime) -> None:
    """Refuse an end after the time by which its GPU is to be clear. Raises `DeviceDrains`."""
    drain = drain_of(session, lease)
    if drain is not None and drain.until is not None and until > drain.until:
        raise DeviceDrains(until=drain.until.isoformat())


def end_reason(session: Session, lease: Lease, now: datetime) -> str:
    """Why a lease ends whose time is over."""
    drain = drain_of(session, lease)
    return DRAINED if drain is not None and drain.until is not None and drain.until <= now else "expired"


def notice(session: Session, lease: Lease | None) -> dict[str, str] | None:
    """What who holds it should know of its GPUs: of a fault first."""
    names = [str(piece["device"]) for piece in lease.slices if piece["device"] != "cpu"] if lease else []
    if not names:
        return None
    rows = session.scalars(select(Closure).where(Closure.device.in_(names))).all()
    fault = next((row for row in rows if row.kind == FAULT), None)
    if fault is not None:
        return device_words.to_holder(fault.code, fault.facts)
    drain = next((row for row in rows if row.code == DRAIN), None)
    return None if drain is None else device_words.drains(drain.message)


def _who(facts: Mapping[str, Any]) -> set[tuple[Any, ...]]:
    return {(one["pid"], one["name"], one["user"]) for one in facts.get("processes", ())}


_VERBS = {FAULT: "fault", "outside": "outside", CORDON: "cordon"}

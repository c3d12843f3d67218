"""Time of leases that nobody is charged for, since a GPU of theirs has a fault.

A pause begins with the fault, or with the lease, and ends with the lease, or when the GPU is in use again. It
covers the whole lease, also where it holds other GPUs: what runs on several needs all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.wire.ids import new_id
from dure_hub.operations import device_words
from dure_hub.policies import cost
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease, Pause

TOLD = 200
"""Pauses that one answer lists at most, the latest first."""
_CHUNK = 500
"""Ids in one question: SQLite takes only so many."""
Spans = tuple[tuple[datetime, datetime], ...]


def begin(
    session: Session, lease: Lease, device: str, code: str, facts: Mapping[str, Any], at: datetime, now: datetime
) -> None:
    """Stop charging this lease from `at` on, at most back to its grant; once for each of its GPUs at a time."""
    running = select(Pause.id).where(Pause.lease_id == lease.id, Pause.device == device, Pause.until.is_(None))
    if session.scalar(running.limit(1)) is not None:
        return
    since = min(max(at, lease.granted_at), now)
    pause = Pause(id=new_id(), lease_id=lease.id, device=device, code=code, facts=dict(facts), since=since)
    session.add(pause)
    told = {"code": code, "facts": {**facts, "device": device, "since": since.isoformat()}}
    record(session, now, PORTAL, "lease.uncharged", f"lease:{lease.id}", told, lease.owner)


def end(session: Session, device: str, now: datetime) -> None:
    """The GPU is in use again: what still holds it is charged from now on."""
    for pause in session.scalars(select(Pause).where(Pause.device == device, Pause.until.is_(None))):
        lease = session.get(Lease, pause.lease_id)
        over = lease.ended_at if lease is not None else None
        pause.until = max(min(over or now, now), pause.since)
        if lease is not None and over is None:
            told = {"code": pause.code, "facts": {"device": device, "until": now.isoformat()}}
            record(session, now, PORTAL, "lease.charged", f"lease:{lease.id}", told, lease.owner)


def spans(session: Session, ends: Mapping[str, datetime]) -> dict[str, Spans]:
    """The time of these leases that is not charged, where there is any; `ends` is until when each counts."""
    found: dict[str, list[tuple[datetime, datetime]]] = {}
    for row in _of(session, list(ends)):
        over = ends[row.lease_id]
        found.setdefault(row.lease_id, []).append((row.since, min(row.until or over, over)))
    return {lease: apart for lease, pairs in found.items() if (apart := cost.apart(pairs))}


def told(session: Session, leases: Sequence[str], start: datetime, end: datetime) -> list[wire.Uncharged]:
    """The pauses of these leases that lie in a window, the latest first, at most `TOLD`."""
    rows = [row for row in _of(session, leases) if row.since < end and (row.until is None or row.until > start)]
    rows.sort(key=lambda row: (row.since, row.id), reverse=True)
    return [
        wire.Uncharged(
            lease=row.lease_id,
            device=row.device,
            code=row.code,
            since=row.since,
            until=row.until,
            why=device_words.fault(row.code, row.facts),
        )
        for row in rows[:TOLD]
    ]


def _of(session: Session, leases: Sequence[str]) -> Iterable[Pause]:
    if not leases or session.scalar(select(Pause.id).limit(1)) is None:  # the usual case
        return
    for begun in range(0, len(leases), _CHUNK):
        few = leases[begun : begun + _CHUNK]
        yield from session.scalars(select(Pause).where(Pause.lease_id.in_(few)))

"""How model servers and endpoints come to their end: first nothing is sent to them, then nothing of them runs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.operations import admission
from dure_hub.operations.serving_rows import GONE, View
from dure_hub.policies.canary import RETIRED
from dure_hub.store.events import record
from dure_hub.store.models import Lease, Replica, Rollout


def drop(session: Session, replica: Replica, now: datetime) -> None:
    """Want it ended: it gets no more requests, and ends once it has answered those it has."""
    replica.role, replica.percent, replica.phase, replica.retired_at = RETIRED, 0, "draining", now


def end(session: Session, replica_id: str, now: datetime) -> bool:
    """Ask for the end of a drained one's lease; without any it is gone at once. Whether that changed anything."""
    replica = session.get_one(Replica, replica_id)
    lease = session.get(Lease, replica.lease_id) if replica.lease_id else None
    if lease is not None and lease.ended_at is None:
        return admission.ask_end(session, lease, "asked", now)
    if replica.ticket_id:
        admission.cancel(session, replica.ticket_id, "cancelled", now)
    replica.phase = GONE
    return True


def finish(session: Session, found: View, reason: str, now: datetime, actor: str, verb: str) -> None:
    """Serve an endpoint no more, for this reason. Its name is free at once; its servers are dropped."""
    endpoint = found.endpoint
    endpoint.wanted, endpoint.state, endpoint.ended_at, endpoint.reason = "stop", "stopped", now, reason
    for replica in found.replicas:
        if replica.role != RETIRED:
            drop(session, replica, now)
    running = select(Rollout).where(Rollout.endpoint_id == endpoint.id, Rollout.state == "running")
    for rollout in session.scalars(running):
        rollout.state, rollout.ended_at = "rolled_back", now
    record(session, now, actor, verb, f"endpoint:{endpoint.name}", {"code": reason}, endpoint.owner)

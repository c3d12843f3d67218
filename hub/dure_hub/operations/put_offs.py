"""That an end was put off, as its owner is told for as long as that end stands."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure_hub.store.models import Event, Lease

VERB = "environment.put_off"
_LONGEST_NOTICE = timedelta(hours=1)  # the setting's own bound


def put_off(session: Session, thing: str, lease: Lease, now: datetime) -> dict[str, Any] | None:
    """Why this environment's lease ends when it does, where a gap has moved its end; None where none has."""
    if lease.until is None or lease.until - now > _LONGEST_NOTICE:
        return None
    query = select(Event).where(Event.object == thing, Event.verb == VERB).order_by(Event.at.desc()).limit(1)
    event = session.scalar(query)
    if event is None:
        return None
    facts = event.verdict["facts"]
    if datetime.fromisoformat(facts["until"]) != lease.until:
        return None  # of another lease, or extended since
    return {"code": event.verdict["code"], "since": facts["since"], "wake": event.at, "before": facts["before"]}

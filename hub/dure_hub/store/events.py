"""Every change writes its event in the same transaction; audit, receipts and notices read them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dure.wire.ids import new_id
from dure_hub.policies.notices import VERBS
from dure_hub.store.clock import Clock
from dure_hub.store.models import Event

PORTAL = "dure"
"""The actor of what nobody asked for: expiry, closing of lost things, stopping of orphans."""

_LAST = "dure_last_seq"
"""Where a session keeps the last number that its transaction has given."""


def record(
    session: Session,
    clock: Clock | datetime,
    actor: str,
    verb: str,
    thing: str,
    verdict: Mapping[str, Any] | None = None,
    on_behalf_of: str | None = None,
) -> Event:
    """Write that `actor` did `verb` (`lease.grant`) to `thing` (`environment:ann/default`).

    `clock` may be the time itself where one transaction has settled on a time.
    """
    event = Event(
        id=new_id(),
        seq=_next(session),
        actor=actor,
        on_behalf_of=on_behalf_of,
        verb=verb,
        object=thing,
        verdict=dict(verdict or {}),
        at=clock if isinstance(clock, datetime) else clock(),
        untold=verb in VERBS,
    )
    session.add(event)
    return event


def on_behalf(actor: str, owner: str) -> str | None:
    """Whose it is, where somebody else did it: what `record` tells beside the actor."""
    return None if actor == owner else owner


def _next(session: Session) -> int:
    """The next number. Whoever may write stands in line, so nobody else gives one before this commits."""
    if _LAST not in session.info:
        with session.no_autoflush:
            session.info[_LAST] = session.scalar(select(func.max(Event.seq))) or 0
    session.info[_LAST] += 1
    number: int = session.info[_LAST]
    return number

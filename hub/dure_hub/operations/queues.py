"""Everybody who waits, in order, as each may see it."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from dure.wire.queue import QueueEntry
from dure_hub.operations import line
from dure_hub.operations.people import Person
from dure_hub.operations.profiles import Fleet, Profiles
from dure_hub.policies import classes, order
from dure_hub.store import Clock, Store
from dure_hub.store.models import Ticket

_TOLD = frozenset({"profile", "total", "gpu_model", "free", "asked_mb", "free_mb", "asked", "mig", "share"})
"""Facts that are about the machines. Others (whose quota, how much of it) are the owner's own."""


class Queues:
    """Reads the line."""

    def __init__(self, store: Store, clock: Clock, profiles: Profiles) -> None:
        self._store, self._clock, self._profiles = store, clock, profiles

    async def list(self, person: Person) -> Sequence[QueueEntry]:
        """Every waiting ticket: those that have a place in line, in order; then the others."""
        fleet = await self._profiles.fleet()
        return await self._store.read(lambda session: self._read(session, person, fleet))

    def _read(self, session: Session, person: Person, fleet: Fleet) -> builtins.list[QueueEntry]:
        queued = line.read(session, fleet, self._clock())
        if not queued.tickets:
            return []
        starts, late = queued.expected(), queued.ahead().endangered
        places = queued.places()
        wishes = {one.id: one.wish for one in queued.everyone}
        entries = []
        inline = [one.id for one in order.order(queued.in_line(), late)]
        for ticket_id in [*inline, *sorted(queued.tickets.keys() - inline)]:
            ticket = queued.tickets[ticket_id]
            entry = _entry(ticket, person, places.get(ticket_id), starts.get(ticket_id))
            if entry.mine:
                instead = queued.next_best(ticket.profile, wishes[ticket_id])
                entry = entry.model_copy(update={"next_best": instead})
            entries.append(entry)
        return entries


def _entry(ticket: Ticket, person: Person, position: int | None, start: datetime | None) -> QueueEntry:
    mine = ticket.owner == person.name
    seen = person.may_see(ticket.owner, ticket.team)
    facts: Mapping[str, Any] = ticket.verdict.get("facts", {})
    return QueueEntry(
        ticket=ticket.id,
        mine=mine,
        owner=ticket.owner if seen else None,
        team=ticket.team if seen else None,
        queue_class=classes.NAMES[ticket.queue_class],
        purpose=ticket.purpose,
        profile=ticket.profile,
        position=position,
        expected_start=start,
        asked_at=ticket.asked_at,
        code=ticket.verdict.get("code"),
        facts={name: value for name, value in facts.items() if seen or name in _TOLD},
    )

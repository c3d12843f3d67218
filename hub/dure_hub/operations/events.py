"""What happened, for the audit page."""

from __future__ import annotations

import builtins

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.operations.people import Person
from dure_hub.operations.team_events import of_teams
from dure_hub.store import Store
from dure_hub.store.models import Event

LIMIT = 500


class Events:
    """Reads events; each was written in the transaction of its change."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(
        self, person: Person, *, limit: int = 100, before: str | None = None, thing: str | None = None
    ) -> builtins.list[wire.Event]:
        """The newest first; for leads those of what is charged to their teams, of all for administrators.

        `before` is the id of the last one already read.
        """
        if not person.leads:
            person.need_admin()

        def read(session: Session) -> builtins.list[wire.Event]:
            query = select(Event).order_by(Event.id.desc()).limit(max(1, min(limit, LIMIT)))
            if not person.admin:
                query = query.where(of_teams(session, person.leads))
            if before is not None:
                query = query.where(Event.id < before)
            if thing is not None:
                query = query.where(Event.object == thing)
            return [on_wire(row) for row in session.scalars(query).all()]

        return await self._store.read(read)


def on_wire(row: Event) -> wire.Event:
    """The event as the API shows it."""
    return wire.Event(
        id=row.id,
        actor=row.actor,
        on_behalf_of=row.on_behalf_of,
        verb=row.verb,
        object=row.object,
        verdict=row.verdict,
        at=row.at,
    )

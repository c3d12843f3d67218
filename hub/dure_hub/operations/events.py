"""What happened, for the audit page and for who keeps it elsewhere."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.operations.people import Person
from dure_hub.operations.team_events import of_teams
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Event

LIMIT = 500
PAGE = 1000


@dataclass(frozen=True)
class Wanted:
    """Which events: from `since` on, before `until`, by an actor, of a verb, after a number, at most so many."""

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    verb: str | None = None
    after: int = 0
    limit: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same for the database."""
        found = []
        if self.since is not None:
            found.append(Event.at >= self.since)
        if self.until is not None:
            found.append(Event.at < self.until)
        if self.actor is not None:
            found.append(Event.actor == self.actor)
        if self.verb is not None:
            found.append(Event.verb == self.verb)
        return found

    def facts(self) -> dict[str, str | int | None]:
        """The same for the event that tells of it."""
        return {
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "actor": self.actor,
            "verb": self.verb,
            "after": self.after,
        }


class Events:
    """Reads events; each was written in the transaction of its change."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

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

    async def tell(self, person: Person, verb: str, thing: str) -> None:
        """Write what somebody did where no row of ours changes with it."""
        await self._store.run(lambda session: record(session, self._clock, person.name, verb, thing))

    async def export(self, person: Person, wanted: Wanted) -> AsyncIterator[Sequence[wire.Event]]:
        """All that are wanted, page by page, the oldest first; for administrators.

        What is written meanwhile is left for the next time: nothing can come before it. That somebody reads all
        this is an event of its own.
        """
        person.need_admin()

        def begin(session: Session) -> int:
            last = session.scalar(select(func.max(Event.seq))) or 0
            verdict = {"code": "exported", "facts": wanted.facts()}
            record(session, self._clock, person.name, "events.export", "events", verdict)
            return last

        return self._pages(wanted, await self._store.run(begin))

    async def _pages(self, wanted: Wanted, last: int) -> AsyncIterator[Sequence[wire.Event]]:
        after, left = wanted.after, wanted.limit
        while left is None or left > 0:
            query = select(Event).where(Event.seq > after, Event.seq <= last, *wanted.conditions())
            found = await self._store.read(partial(_page, query, PAGE if left is None else min(PAGE, left)))
            if not found:
                return
            after, left = found[-1].seq or last, None if left is None else left - len(found)
            yield found


def _page(query: Select[Event], limit: int, session: Session) -> Sequence[wire.Event]:
    return [on_wire(row) for row in session.scalars(query.order_by(Event.seq).limit(limit)).all()]


def on_wire(row: Event) -> wire.Event:
    """The event as the API shows it."""
    return wire.Event(
        id=row.id,
        seq=row.seq,
        actor=row.actor,
        on_behalf_of=row.on_behalf_of,
        verb=row.verb,
        object=row.object,
        verdict=row.verdict,
        at=row.at,
    )

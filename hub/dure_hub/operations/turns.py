"""What people do about a server while it waits, or once it has ended: start it in its turn, take what is free
instead, ask for the same again, put away what was said of its end."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy.orm import Session

from dure import wire
from dure.errors import DureError, Text
from dure_hub.operations import admission, images, lifetimes
from dure_hub.operations import environment_asks as asks
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.environment_asks import Wanted
from dure_hub.operations.environments import Environments
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Profiles
from dure_hub.store import Clock, Store
from dure_hub.store.events import record
from dure_hub.store.models import Lease, Ticket


class NotYourTurn(DureError):
    """There is no place held for it: it still waits, or the time to take it up is over."""

    code, status = "not_your_turn", 409
    message: ClassVar[Text] = {
        "en": "No place is held for {name}: it is {phase}.",
        "ko": "{name}을(를) 위해 잡아 둔 자리가 없습니다. 현재 상태: {phase}.",
    }
    next_step: ClassVar[Text] = {
        "en": "Wait until its turn comes; if that has passed, ask for the server again.",
        "ko": "차례를 기다리세요. 차례가 지났다면 서버를 다시 요청하세요.",
    }


class Turns:
    """All of that, for the owner alone."""

    def __init__(self, environments: Environments, store: Store, clock: Clock, profiles: Profiles) -> None:
        self._environments, self._store, self._clock, self._profiles = environments, store, clock, profiles

    async def start(self, person: Person, name: str) -> wire.Environment:
        """Start what is held for its owner. What starts or runs already is answered as it is.

        Raises `NotYourTurn` where it waits, or where the place has gone to the next.
        """

        def write(session: Session) -> tuple[str, Lease | None]:
            row, now = rows.existing(session, person.name, name), self._clock()
            lease = rows.active_lease(session, row)
            if row.phase in (rows.STARTING, rows.RUNNING):
                return row.profile, None
            over = row.held_until is not None and now >= row.held_until
            if row.phase != rows.HELD or lease is None or over:
                raise NotYourTurn(name=name, phase=row.phase)
            row.phase, row.held_until = rows.STARTING, now
            record(session, now, person.name, "environment.take", rows.thing(row))
            return row.profile, lease

        profile, lease = await self._store.run(write)
        if lease is not None:
            self._environments.runs.start(person.name, name, profile, lease.id)
        return await self._environments.get(person, name)

    async def instead(self, person: Person, name: str, ask_id: str, profile: str) -> wire.Environment:
        """Leave the line and ask for `profile` under the same name, with what else was asked for.

        One transaction: what refuses the new request leaves the place in line as it was. What was granted
        meanwhile goes on. Raises what `Environments.request` does.
        """
        fleet = await self._profiles.fleet()
        spec = fleet.picked(profile, person)

        def write(session: Session) -> Lease | None:
            row, now = rows.existing(session, person.name, name), self._clock()
            # Sent twice, the form finds its own ticket: that stays, and what came of it afterwards, too.
            if row.phase != rows.WAITING or row.ticket_id is None or session.get(Ticket, ask_id) is not None:
                return None
            before = asks.last(session, row)
            admission.cancel(session, row.ticket_id, "cancelled", now, person.name)
            session.flush()
            team = charged(person, before.team if before is not None else None)
            usual_s = lifetimes.seconds_of(session, None, spec, person.name, team)
            image = images.kept(self._environments.runs.settings, spec, person.teams, row.image)
            wanted = Wanted(profile, usual_s, team, row.project, image)
            wanted = asks.like(session, wanted, person.name, before, fleet)
            most = self._environments.runs.settings.servers_per_person
            row = asks.row_of(session, row, person.name, name, wanted, now, most)
            return asks.ask(session, row, ask_id, wanted, fleet, now)

        lease = await self._store.run(write)
        if lease is not None:
            self._environments.runs.start(person.name, name, profile, lease.id)
        return await self._environments.get(person, name)

    async def again(self, person: Person, name: str, ask_id: str) -> wire.Environment:
        """Ask for an environment that has ended with the profile, image, lifetime, team and project it had."""
        fleet = await self._profiles.fleet()

        def read(session: Session) -> wire.EnvironmentRequest:
            row = rows.existing(session, person.name, name)
            before, spec = asks.last(session, row), fleet.profile(row.profile)
            team = charged(person, before.team if before is not None else None)
            usual_s = lifetimes.seconds_of(session, None, spec, person.name, team)
            wanted = asks.like(session, Wanted(row.profile, usual_s, team), person.name, before, fleet)
            return wire.EnvironmentRequest(
                id=ask_id,
                name=name,
                profile=row.profile,
                lifetime_s=wanted.seconds,
                team=before.team if before is not None else None,
                project=row.project,
                image=None if spec.image is not None else row.image,
            )

        return await self._environments.request(person, await self._store.read(read))

    async def dismiss(self, person: Person, name: str) -> None:
        """Put away what was said of its end. Twice is once."""

        def write(session: Session) -> None:
            row = rows.existing(session, person.name, name)
            if row.phase in (rows.STOPPED, rows.FAILED):
                row.dismissed_at = row.dismissed_at or self._clock()

        await self._store.run(write)

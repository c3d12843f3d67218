"""What a request would come to, told before it is made. Nothing is written, and nothing is promised by it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from dure import wire
from dure_hub.operations import admission, ticket_rows
from dure_hub.operations.people import Person, team_of
from dure_hub.operations.profiles import Profiles, active_slices, on_wire
from dure_hub.store import Clock, Store

_SHARED = frozenset(wire.Plan.model_fields) & frozenset(wire.Profile.model_fields)


class Plans:
    """Looks ahead for who is about to ask."""

    def __init__(self, store: Store, clock: Clock, profiles: Profiles) -> None:
        self._store, self._clock, self._profiles = store, clock, profiles

    async def get(self, person: Person, profile: str, purpose: str = admission.TRAINING) -> wire.Plan:
        """The plan for one holder of `profile`. Raises what `admit` would raise."""
        fleet = await self._profiles.fleet()

        def read(session: Session) -> wire.Plan:
            start = ticket_rows.foresee(
                session,
                profile,
                fleet,
                self._clock(),
                owner=person.name,
                team=team_of(person),
                purpose=purpose,
            )
            offered = on_wire(fleet.profile(profile), fleet, active_slices(session))
            return wire.Plan(
                **offered.model_dump(include=set(_SHARED)),
                profile=offered.name,
                starts_now=start.now,
                position=start.position,
                expected_start=start.expected,
                next_best=start.next_best,
            )

        return await self._store.read(read)

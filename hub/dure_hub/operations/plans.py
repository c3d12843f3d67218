"""What a request would come to, told before it is made. Nothing is written, and nothing is promised by it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from dure import wire
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import admission, lifetimes, ticket_rows
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Profiles, on_wire
from dure_hub.policies.lifetime import Bounds, bounds
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store

_SHARED = frozenset(wire.Plan.model_fields) & frozenset(wire.Profile.model_fields)


class Plans:
    """Looks ahead for who is about to ask."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, profiles: Profiles) -> None:
        self._settings, self._store, self._clock, self._profiles = settings, store, clock, profiles

    async def get(
        self,
        person: Person,
        profile: str,
        purpose: str = admission.TRAINING,
        *,
        team: str | None = None,
        project: str | None = None,
        lifetime_s: int | None = None,
    ) -> wire.Plan:
        """The plan for one holder of `profile`, for as long as the launch would hold it.

        That is `lifetime_s` where one may say so: for a server or an execution. Raises what `admit` would raise,
        `NotYourTeam` and `NameYourTeam`.
        """
        team = charged(person, team)
        fleet = await self._profiles.fleet()
        spec = fleet.picked(profile, person)

        def read(session: Session) -> wire.Plan:
            bounds = self._bounds(session, purpose, spec, person.name, team)
            seconds = _seconds(purpose, lifetime_s, bounds)
            start = ticket_rows.foresee(
                session,
                profile,
                fleet,
                self._clock(),
                owner=person.name,
                team=team,
                project=project,
                lifetime_s=seconds,
                purpose=purpose,
            )
            offered = on_wire(fleet.profile(profile), fleet, session)
            return wire.Plan(
                **offered.model_dump(include=set(_SHARED)) | {"max_lifetime_s": bounds.max_s},
                profile=offered.name,
                starts_now=start.now,
                position=start.position,
                expected_start=start.expected,
                next_best=start.next_best,
            )

        return await self._store.read(read)

    def _bounds(self, session: Session, purpose: str, spec: ProfileSpec, owner: str, team: str | None) -> Bounds:
        """Those of a server on this profile; an execution or job may run as long on any."""
        if purpose in (admission.NOTEBOOK, admission.SERVING):
            return lifetimes.bounds_of(session, spec, owner, team)
        return bounds(self._settings.execution_limit_s, self._settings.max_lifetime_s)


def _seconds(purpose: str, asked_s: int | None, found: Bounds) -> int | None:
    """As each kind of launch asks for it: in seconds, None without an end."""
    if purpose == admission.SERVING:
        return None
    return found.max_s if purpose == admission.TRAINING else lifetimes.within(asked_s, found)

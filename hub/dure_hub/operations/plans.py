"""What a request would come to, told before it is made. Nothing is written, and nothing is promised by it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from dure import wire
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations import admission, ticket_rows
from dure_hub.operations.errors import BadLifetime
from dure_hub.operations.people import Person, charged
from dure_hub.operations.profiles import Profiles, active_slices, on_wire
from dure_hub.policies.lifetime import SHORTEST_S, lifetime
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
        seconds = self._lifetime(purpose, lifetime_s, fleet.profile(profile))

        def read(session: Session) -> wire.Plan:
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

    def _lifetime(self, purpose: str, asked_s: int | None, spec: ProfileSpec) -> int | None:
        """As each kind of launch asks for it: in seconds, None without an end."""
        if purpose == admission.SERVING:
            return None
        if purpose == admission.TRAINING:
            return spec.max_lifetime_s
        usual_s = spec.default_lifetime_s if purpose == admission.NOTEBOOK else self._settings.execution_limit_s
        verdict, seconds = lifetime(
            asked_s, default_s=min(usual_s, spec.max_lifetime_s), max_s=spec.max_lifetime_s
        )
        if not verdict.allowed:
            raise BadLifetime(asked=asked_s, shortest=SHORTEST_S, longest=spec.max_lifetime_s)
        return seconds

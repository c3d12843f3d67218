"""What people can pick now: the catalogue's profiles for this machine, with what is free of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure.wire.organisation import ProfilesFile
from dure_hub.backends.base import Inventory, InventoryBackend
from dure_hub.catalogue import profilefile
from dure_hub.catalogue import profiles as catalogue
from dure_hub.catalogue.machine import Machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.catalogue.rates import GIVEN, RateCard
from dure_hub.operations.errors import NoSuchProfile, ProfileNotForYou
from dure_hub.operations.live_profiles import LiveProfiles
from dure_hub.operations.machines import Units, machines_of
from dure_hub.operations.people import Person
from dure_hub.operations.rates import RateCards
from dure_hub.operations.refusals import Refusals
from dure_hub.policies import placement
from dure_hub.policies.board import Board
from dure_hub.policies.classes import POOLS
from dure_hub.policies.placement import Capacity
from dure_hub.policies.slices import Slice, Wish
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease

_FRESH = timedelta(seconds=10)


@dataclass(frozen=True)
class Rules:
    """What the settings say about sharing: see there."""

    borrowing: bool = True
    share_across_teams: bool = False
    min_run_s: int = 1800
    notice_s: float = 30
    timeout_s: int = 24 * 3600
    longest_work_s: int = 24 * 3600
    """Of what is no server: a job, an execution."""


@dataclass(frozen=True)
class Fleet:
    """Everything a decision about slices needs to know of the place: profiles by name, the nodes, the rules.

    `instances` are the UUIDs of all MIG instances that there are.
    """

    profiles: Mapping[str, ProfileSpec]
    machines: tuple[Machine, ...]
    rules: Rules = Rules()
    instances: frozenset[str] = frozenset()
    made: Mapping[str, ProfileSpec] = field(default_factory=dict)
    """The profiles as the machine and the settings alone make them."""

    @cached_property
    def capacity(self) -> Capacity:
        """What ever finds room here. It is reckoned once for each look at the place."""
        return Capacity(self.machines)

    def profile(self, name: str) -> ProfileSpec:
        """One profile; raises `NoSuchProfile`."""
        if name not in self.profiles:
            raise NoSuchProfile(profile=name, offered=", ".join(self.open_to_all))
        return self.profiles[name]

    @cached_property
    def open_to_all(self) -> Mapping[str, ProfileSpec]:
        """Those that anybody may pick: what may be named to whoever asks."""
        return {name: spec for name, spec in self.profiles.items() if not spec.groups}

    def named(self, asked: str) -> Mapping[str, ProfileSpec]:
        """What may be named beside the one that was asked for: its own holders know of that."""
        own = {asked: self.profiles[asked]} if asked in self.profiles else {}
        return {**self.open_to_all, **own}

    def picked(self, name: str, person: Person) -> ProfileSpec:
        """One profile that this person picks. Raises `NoSuchProfile`, `ProfileNotForYou`."""
        spec = self.profile(name)
        if not is_for(spec, person):
            raise ProfileNotForYou(profile=name, groups=", ".join(sorted(spec.groups)))
        return spec


def is_for(spec: ProfileSpec, person: Person) -> bool:
    """Whether the person may pick it: a team of theirs, or everybody, may; administrators may pick any."""
    return person.admin or not spec.groups or not spec.groups.isdisjoint(person.teams)


def fleet_of(
    inventory: Inventory,
    settings: Settings,
    rates: RateCard = GIVEN,
    at: datetime | None = None,
    refused: Units | None = None,
    file: ProfilesFile | None = None,
) -> Fleet:
    """The fleet that an inventory makes under these settings, priced as of `at`; without it prices are unknown.

    The memory units of GPUs that are `refused` are given to nobody. `file` is what profiles.yaml says.
    """
    file = file or ProfilesFile()
    settings, pools = profilefile.settled(settings, file.devices), file.devices.pools
    machines = tuple(
        replace(one, pool=pools.get(one.name, one.pool)) for one in machines_of(inventory, settings, refused)
    )
    there = frozenset(one.uuid for device in inventory.devices for one in device.instances if one.uuid)
    rules = Rules(
        settings.team_borrowing,
        settings.share_across_teams,
        settings.reclaim_after_s,
        settings.job_grace_s,
        settings.ticket_timeout_s,
        settings.max_lifetime_s,
    )
    made = catalogue.profiles(machines, settings, rates, at)
    return Fleet(profilefile.edited(made, file.profiles), machines, rules, there, made)


def active_slices(session: Session) -> list[Slice]:
    """The slices of every lease that has not ended."""
    query = select(Lease).where(Lease.ended_at.is_(None), Lease.parent.is_(None))
    rows: Sequence[Lease] = session.scalars(query).all()
    return [piece for row in rows for piece in slices_of(row)]


def slices_of(lease: Lease) -> tuple[Slice, ...]:
    """What a lease holds, with whose it is."""
    return tuple(Slice.from_json(piece, lease.team or lease.owner) for piece in lease.slices)


class Profiles:
    """The profile provider."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, inventory: InventoryBackend) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._inventory = inventory
        self._rates = RateCards(settings.folder.rates)
        self._file = LiveProfiles(settings.folder)
        self._refusals = Refusals(settings, clock)
        self._known: tuple[datetime, object, Fleet] | None = None
        self._changes = 0
        self._looking = asyncio.Lock()

    async def fleet(self) -> Fleet:
        """The fleet as it was at most ten seconds ago."""
        async with self._looking:
            # before the look: what is said to have changed during it makes it an old one
            now, begun = self._clock(), (self._changes, self._refusals.mark())
            known = self._known
            if known is None or known[1] != begun or not timedelta(0) <= now - known[0] < _FRESH:
                seen, card, file = await asyncio.gather(
                    self._inventory.look(),
                    asyncio.to_thread(self._rates.card),
                    asyncio.to_thread(self._file.current),
                )
                refused = await asyncio.to_thread(self._refusals.units, seen.devices)
                known = self._known = now, begun, fleet_of(seen, self._settings, card, now, refused, file)
            return known[2]

    def forget(self) -> None:
        """A GPU was cut anew: who asks next gets a look that was begun after this."""
        self._changes += 1

    async def list(self, person: Person, purpose: str | None = None) -> Sequence[wire.Profile]:
        """Every profile that the person may pick with its free and total count; for a purpose, as far as nodes are
        for that."""
        fleet = await self.fleet()
        wish = Wish(pool=POOLS.get(purpose or "", ""), share_across_teams=True)
        held = Board(fleet.machines, await self._store.read(active_slices))
        empty = Board(fleet.machines)
        found = [one for one in fleet.profiles.values() if is_for(one, person)]
        return [_on_wire(one, held.count(one, wish), empty.count(one, wish)) for one in found]

    async def get(self, name: str) -> wire.Profile:
        """One profile; raises `NoSuchProfile`."""
        fleet = await self.fleet()
        return on_wire(fleet.profile(name), fleet, await self._store.read(active_slices))


def on_wire(profile: ProfileSpec, fleet: Fleet, held: Sequence[Slice]) -> wire.Profile:
    """A profile as people see it, with what is free of it beside what is held."""
    free, total = placement.count(profile, fleet.machines, held), placement.count(profile, fleet.machines, ())
    return _on_wire(profile, free, total)


def _on_wire(profile: ProfileSpec, free: int, total: int) -> wire.Profile:
    return wire.Profile(
        name=profile.name,
        title=dict(profile.title),
        description=dict(profile.description),
        cpu_cores=profile.cpu_cores,
        memory_mb=profile.memory_mb,
        gpus=profile.gpus,
        gpu_model=profile.gpu_model,
        gpu_memory_mb=profile.gpu_memory_mb,
        rate=profile.rate,
        default_lifetime_s=profile.default_lifetime_s,
        max_lifetime_s=profile.max_lifetime_s,
        mig=profile.mig,
        share=profile.share or None,
        enforced=profile.enforced,
        free=free,
        total=total,
    )

"""What people can pick now: the catalogue's profiles for this machine, with what is free of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure import wire
from dure_hub.backends.base import Inventory, InventoryBackend
from dure_hub.catalogue import profiles as catalogue
from dure_hub.catalogue.machine import Gpu, Machine, machine
from dure_hub.catalogue.profiles import ProfileSpec
from dure_hub.operations.errors import NoSuchProfile
from dure_hub.operations.people import Person
from dure_hub.policies import placement
from dure_hub.policies.placement import Slice
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease

_FRESH = timedelta(seconds=10)


@dataclass(frozen=True)
class Fleet:
    """Everything a decision about slices needs to know of the place: profiles by name, and the machine."""

    profiles: Mapping[str, ProfileSpec]
    machine: Machine

    def profile(self, name: str) -> ProfileSpec:
        """One profile; raises `NoSuchProfile`."""
        if name not in self.profiles:
            raise NoSuchProfile(profile=name, offered=", ".join(self.profiles))
        return self.profiles[name]


def fleet_of(inventory: Inventory, settings: Settings) -> Fleet:
    """The fleet that an inventory makes under these settings."""
    gpus = [Gpu(device.uuid, device.name, device.memory_mb) for device in inventory.devices]
    place = machine(
        real_cores=inventory.cpu_cores,
        overcommit=settings.cpu_overcommit,
        memory_mb=inventory.memory_mb,
        reserved_mb=settings.memory_reserved_mb,
        gpus=gpus,
    )
    return Fleet(catalogue.profiles(place, settings), place)


def active_slices(session: Session) -> list[Slice]:
    """The slices of every lease that has not ended."""
    rows: Sequence[Lease] = session.scalars(select(Lease).where(Lease.ended_at.is_(None))).all()
    return [Slice.from_json(piece) for row in rows for piece in row.slices]


class Profiles:
    """The profile provider."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, inventory: InventoryBackend) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock
        self._inventory = inventory
        self._known: tuple[datetime, Fleet] | None = None
        self._looking = asyncio.Lock()

    async def fleet(self) -> Fleet:
        """The fleet as it was at most ten seconds ago."""
        async with self._looking:
            now = self._clock()
            if self._known is None or not timedelta(0) <= now - self._known[0] < _FRESH:
                self._known = now, fleet_of(await self._inventory.look(), self._settings)
            return self._known[1]

    async def list(self, person: Person) -> Sequence[wire.Profile]:
        """Every profile with its free and total count."""
        fleet = await self.fleet()
        held = await self._store.read(active_slices)
        return [on_wire(profile, fleet, held) for profile in fleet.profiles.values()]

    async def get(self, name: str) -> wire.Profile:
        """One profile; raises `NoSuchProfile`."""
        fleet = await self.fleet()
        return on_wire(fleet.profile(name), fleet, await self._store.read(active_slices))


def on_wire(profile: ProfileSpec, fleet: Fleet, held: Sequence[Slice]) -> wire.Profile:
    """A profile as people see it, with what is free of it beside what is held."""
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
        free=placement.count(profile, fleet.machine, held),
        total=placement.count(profile, fleet.machine, ()),
    )

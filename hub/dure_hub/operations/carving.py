"""MIG instances for leases: made once the lease is recorded, before anything starts under it.

A grant may name a place of a GPU where no instance is yet. The lease holds that place from then on, so nobody else
is given it meanwhile; whatever of nobody's lies in the way is removed. All can be done again after a crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from dure.errors import NotReady
from dure_hub.backends.base import Device, InventoryBackend, MigRefused
from dure_hub.catalogue.machine import Gpu, MigInstance
from dure_hub.operations.gpu_errors import GpuGone
from dure_hub.operations.machines import gpu_of
from dure_hub.operations.profiles import active_slices
from dure_hub.operations.refusals import Refusals
from dure_hub.policies.mig import in_the_way
from dure_hub.policies.slices import CPU, Slice
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease

log = logging.getLogger(__name__)

Pieces = list[dict[str, Any]]
Carve = Callable[[str], Awaitable[Pieces | None]]
"""Makes ready what a lease holds, by its id; answers with its slices where they have changed."""


async def as_it_is(lease_id: str) -> Pieces | None:
    """Where nothing is ever cut."""
    return None


class Carver:
    """Makes what leases hold. One at a time: two could be in each other's way."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, inventory: InventoryBackend) -> None:
        self._settings, self._store, self._clock, self._inventory = settings, store, clock, inventory
        self._refusals = Refusals(settings, clock)
        self.cutting = asyncio.Lock()
        """Whoever makes or removes instances holds it meanwhile."""

    async def ready(self, lease_id: str) -> Pieces | None:
        """Make the MIG instances that this lease holds and that are not there; its slices, if they changed.

        Raises `MigRefused` where one cannot be made, `GpuGone` where a GPU that it holds is not there, and
        `NotReady` where no GPU is: its driver may come back. The lease stays as it is.
        """
        pieces = await self._store.read(lambda session: _pieces(session, lease_id))
        held = [str(piece["device"]) for piece in pieces if piece["device"] != CPU]
        if not any(piece.get("mig") for piece in pieces):
            if held:
                await self._devices(held)
            return None
        async with self.cutting:
            devices = await self._devices(held)
            made = [await self._made(piece, devices) for piece in pieces]
        if made == pieces:
            return None
        await self._store.run(lambda session: self._keep(session, lease_id, made))
        return made

    async def _devices(self, held: Sequence[str]) -> Mapping[str, Device]:
        """The GPUs as they are now. Without its GPU, work would start all the same, see none, and pay for one."""
        devices = {device.uuid: device for device in (await self._inventory.look()).devices}
        gone = next((uuid for uuid in held if uuid not in devices), None)
        if gone is not None:
            raise GpuGone(device=gone) if devices else NotReady(part=f"GPU {gone}")
        return devices

    async def _made(self, piece: dict[str, Any], devices: Mapping[str, Device]) -> dict[str, Any]:
        if not piece.get("mig"):
            return piece
        uuid = str(piece["device"])
        try:
            return await self._cut(piece, devices[uuid])
        except (
            MigRefused
        ) as error:  # hub and portal both cut, and neither waits for the other: perhaps it just did
            log.info("cutting GPU %s again after another look: %s", uuid, error)
            return await self._cut(piece, (await self._devices([uuid]))[uuid], last=True)

    async def _cut(self, piece: dict[str, Any], device: Device, *, last: bool = False) -> dict[str, Any]:
        if piece.get("visible") in {one.uuid for one in device.instances if one.uuid}:
            return piece  # a restart of the machine forgets all instances, so that it may well be missing
        mig, start, gpu = str(piece["mig"]), int(piece["start"]), gpu_of(device, self._settings)
        wanted = units = _units(gpu, mig, start)
        others = in_the_way(gpu, mig, start)
        held = [one for one in await self._store.read(active_slices) if one.device == device.uuid]
        if not gpu.blocked.isdisjoint(wanted) or any(_is_held(other, held) for other in others):
            others = ()  # it cannot be made: nothing else goes for it, and the making says why
        try:
            for other in others:
                units = _units(gpu, other.profile, other.start)
                await self._inventory.remove(device.uuid, other)
            units = wanted
            instance = await self._inventory.make(device.uuid, mig, start)
        except MigRefused:
            if last:
                await asyncio.to_thread(self._refusals.note, device, units)
            raise
        return {**piece, "visible": instance.uuid}

    def _keep(self, session: Session, lease_id: str, pieces: Pieces) -> None:
        lease = session.get_one(Lease, lease_id)
        if lease.ended_at is None:
            lease.slices = pieces
            facts = {"visible": [piece["visible"] for piece in pieces if piece.get("visible")]}
            record(session, self._clock, PORTAL, "lease.carve", f"lease:{lease_id}", facts, lease.owner)


def _pieces(session: Session, lease_id: str) -> Pieces:
    lease = session.get(Lease, lease_id)
    return [] if lease is None or lease.ended_at is not None else list(lease.slices)


def _units(gpu: Gpu, mig: str, start: int) -> range:
    """The memory units of an instance; of one that the grid does not know, the first."""
    profile = gpu.grid.named(mig) if gpu.grid is not None else None
    return range(start, start + 1) if profile is None else profile.units(start)


def _is_held(instance: MigInstance, held: Sequence[Slice]) -> bool:
    """Whether one of these slices is this instance: by its UUID, else by its place."""
    return any(
        one.visible == instance.uuid if one.visible and instance.uuid else (one.mig, one.start) == _place(instance)
        for one in held
    )


def _place(instance: MigInstance) -> Sequence[Any]:
    return instance.profile, instance.start

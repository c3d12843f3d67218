"""MIG instances for leases: made once the lease is recorded, before anything starts under it.

A grant may name a place of a GPU where no instance is yet. The lease holds that place from then on, so nobody else
is given it meanwhile; whatever of nobody's lies in the way is removed. All can be done again after a crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from dure_hub.backends.base import Device, InventoryBackend
from dure_hub.catalogue.machine import MigInstance
from dure_hub.operations.machines import gpu_of
from dure_hub.operations.profiles import active_slices
from dure_hub.policies.mig import in_the_way
from dure_hub.settings import Settings
from dure_hub.store import Clock, Store
from dure_hub.store.events import PORTAL, record
from dure_hub.store.models import Lease

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
        self.cutting = asyncio.Lock()
        """Whoever makes or removes instances holds it meanwhile."""

    async def ready(self, lease_id: str) -> Pieces | None:
        """Make the MIG instances that this lease holds and that are not there; its slices, if they changed.

        Raises `MigRefused` where one cannot be made; the lease stays as it is.
        """
        pieces = await self._store.read(lambda session: _pieces(session, lease_id))
        if not any(piece.get("mig") for piece in pieces):
            return None
        async with self.cutting:
            devices = {device.uuid: device for device in (await self._inventory.look()).devices}
            made = [await self._made(piece, devices) for piece in pieces]
        if made == pieces:
            return None
        await self._store.run(lambda session: self._keep(session, lease_id, made))
        return made

    async def _made(self, piece: dict[str, Any], devices: Mapping[str, Device]) -> dict[str, Any]:
        device = devices.get(str(piece["device"]))
        if not piece.get("mig") or device is None:
            return piece
        if piece.get("visible") in {one.uuid for one in device.instances if one.uuid}:
            return piece  # a restart of the machine forgets all instances, so that it may well be missing
        mig, start = str(piece["mig"]), int(piece["start"])
        held = await self._store.read(active_slices)
        for other in in_the_way(gpu_of(device, self._settings), mig, start):
            if not any((one.device, one.mig, one.start) == (device.uuid, *_place(other)) for one in held):
                await self._inventory.remove(device.uuid, other)
        instance = await self._inventory.make(device.uuid, mig, start)
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


def _place(instance: MigInstance) -> Sequence[Any]:
    return instance.profile, instance.start

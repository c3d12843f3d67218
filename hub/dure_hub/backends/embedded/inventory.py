"""What this machine has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

from dure_hub.backends.base import (
    Device,
    Feature,
    Health,
    Inventory,
    InventoryBackend,
    Measures,
    MigRefused,
    OwnUse,
)
from dure_hub.backends.embedded import gaps, limits, measuregpus, measures, nvml, nvmlhealth, nvmlmig
from dure_hub.backends.embedded.nvmlevents import XidWatch
from dure_hub.backends.embedded.simulated import SimulatedInventory
from dure_hub.catalogue import gpus
from dure_hub.catalogue.machine import MigInstance
from dure_hub.catalogue.mig import MigProfile
from dure_hub.settings import Settings

_OVERLAP = 1.25
"""Looks for idleness come a little later than they are due: nothing falls between two."""


class EmbeddedInventory(InventoryBackend):
    """GPUs from NVML; cores and memory as far as this process may use them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        found = nvml.look()
        self.unsupported = dict(gaps.SLICES) if settings.gpu_sharing == "none" else {}
        if not any(device.carves for device in found.devices):
            self.unsupported[Feature.MIG] = _why_no_mig(found.devices)
        if found.why_none:
            self.unsupported[Feature.GPU] = found.why_none
        self._xids = XidWatch()

    async def look(self) -> Inventory:
        """As it is now: a GPU that fell off the bus is missing from the next look."""
        return await asyncio.to_thread(look)

    async def health(self) -> Health:
        """By NVML; its events are listened to from the first call on."""
        return await asyncio.to_thread(nvmlhealth.look, self.settings, self._xids.found())

    def close(self) -> None:
        """As `InventoryBackend.close`."""
        self._xids.close()

    async def measure(self) -> Measures:
        """By two looks at our processes, a quarter of a second apart, and one at the GPUs.

        Who computed on them is asked for as far back as idleness is judged at a time.
        """
        over_s = self.settings.activity_interval_s * _OVERLAP
        (before, after), read = await asyncio.gather(self._processes(), asyncio.to_thread(nvml.read, over_s))
        leases, place = measures.compare(before, after), measures.place(before, after)
        own = await asyncio.to_thread(self._own, before.leases, read)
        return Measures(read.devices, leases, place, read.instances, own)

    def _own(self, leases: Mapping[int, str], read: nvml.Readings) -> dict[str, dict[str, OwnUse]]:
        sees_all, ours = measuregpus.sees_all(), set(leases.values())
        pids = measuregpus.numbers(read.processes.values())
        whose = measuregpus.owners(self.settings, leases, pids, sees_all)
        return {
            uuid: measuregpus.own(seen, read.devices[uuid], ours, whose, sees_all)
            for uuid, seen in read.processes.items()
        }

    async def _processes(self) -> tuple[measures.Look, measures.Look]:
        before = await asyncio.to_thread(measures.look, self.settings)
        await asyncio.sleep(measures.APART_S)
        return before, await asyncio.to_thread(measures.look_again, before)

    async def make(self, device: str, mig: str, start: int) -> MigInstance:
        """As `InventoryBackend.make`, by NVML."""
        profile = await asyncio.to_thread(_profile, device, mig, start)
        return MigInstance(mig, start, await asyncio.to_thread(nvmlmig.make, device, profile, start))

    async def remove(self, device: str, instance: MigInstance) -> None:
        """As `InventoryBackend.remove`, by NVML: in use is what the driver says is."""
        profile = await asyncio.to_thread(_profile, device, instance.profile, instance.start)
        await asyncio.to_thread(nvmlmig.remove, device, profile, instance.start)


def choose(settings: Settings, clock: Callable[[], datetime]) -> EmbeddedInventory | SimulatedInventory:
    """This machine, or the simulated fleet that the settings name. Raises `BadFleet`."""
    return SimulatedInventory(settings, clock) if settings.simulated_fleet else EmbeddedInventory(settings)


def look() -> Inventory:
    """The same, for who has no event loop."""
    found = nvml.look()
    return Inventory(limits.cores(), limits.memory_mb(), found.devices, found.why_none)


def _profile(device: str, mig: str, start: int) -> MigProfile:
    """The MIG profile of this GPU's grid. Raises `MigRefused` where it has none, or not at this start."""
    found = next((one for one in nvml.look().devices if one.uuid == device), None)
    model = gpus.by_key(found.key) if found and found.key else None
    if found is None or not found.mig_mode or model is None or model.grid is None:
        raise MigRefused(device=device, why=gaps.MIG_OFF)
    profile = model.grid.named(mig)
    if profile is None or start not in profile.starts:
        raise MigRefused(device=device, why=gaps.no_such_place(mig, start, model.grid))
    return profile


def _why_no_mig(devices: tuple[Device, ...]) -> dict[str, str]:
    return dict(gaps.MIG_NEEDS_RIGHT if any(device.mig_mode for device in devices) else gaps.NO_MIG_HERE)

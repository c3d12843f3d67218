"""What this machine has."""

from __future__ import annotations

import asyncio

from dure_hub.backends.base import Feature, Inventory, InventoryBackend, Measures
from dure_hub.backends.embedded import gaps, limits, measures, nvml
from dure_hub.settings import Settings


class EmbeddedInventory(InventoryBackend):
    """GPUs from NVML; cores and memory as far as this process may use them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        why = nvml.look().why_none
        self.unsupported = {**gaps.SLICES, **({Feature.GPU: why} if why else {})}

    async def look(self) -> Inventory:
        """As it is now: a GPU that fell off the bus is missing from the next look."""
        return await asyncio.to_thread(look)

    async def measure(self) -> Measures:
        """By two looks at our processes, a quarter of a second apart, and one at the GPUs."""
        before = await asyncio.to_thread(measures.look, self.settings.instance)
        await asyncio.sleep(measures.APART_S)
        after, devices = await asyncio.gather(
            asyncio.to_thread(measures.look_again, before), asyncio.to_thread(nvml.read)
        )
        return Measures(devices, measures.compare(before, after), measures.place(before, after))


def look() -> Inventory:
    """The same, for who has no event loop."""
    found = nvml.look()
    return Inventory(limits.cores(), limits.memory_mb(), found.devices, found.why_none)

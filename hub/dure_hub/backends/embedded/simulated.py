"""A fleet that is not there, to try every page with. Everything it says is marked as simulated.

What runs under a lease is a real process of this machine; it is shown the UUID of a GPU that does not exist, finds
none, and computes on the CPU. MIG instances can be made and removed: which there are is kept in the data folder,
so that every process of the portal sees the same, and a restart keeps them.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from dure_hub.backends.base import (
    Device,
    Health,
    Inventory,
    InventoryBackend,
    Measures,
    MigDevice,
    MigRefused,
    NodeInventory,
    Reading,
)
from dure_hub.backends.embedded import fleetfile, gaps, measures, simulatedfaults
from dure_hub.backends.embedded.fleetfile import GpuSpec
from dure_hub.backends.embedded.moving import Body, Lazy, instance_reading, own_uses, reading
from dure_hub.backends.embedded.runs import SIMULATED
from dure_hub.backends.embedded.simulatedfaults import Trouble
from dure_hub.catalogue.machine import MigInstance
from dure_hub.catalogue.mig import MigGrid, MigProfile
from dure_hub.settings import Settings

DRIVER = "simulated"
Cuts = Mapping[str, list[tuple[str, int]]]
"""The MIG instances of each GPU that was cut by us, as (profile, start)."""


@dataclass(frozen=True)
class _World:
    """What does not move: the inventory as it is now cut, and how to find things in it."""

    inventory: Inventory
    devices: Mapping[str, Device]
    instances: Mapping[str, tuple[MigDevice, str]]
    """A MIG instance by its UUID, with its GPU's key in the catalogue."""


class SimulatedInventory(InventoryBackend):
    """Nodes and GPUs from a preset or file; readings from the clock, and from which processes of ours run."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self.settings = settings
        self._clock = clock
        self._specs = fleetfile.load(settings.simulated_fleet)
        self._state = settings.folder.run / "simulated-mig.json"
        self._known: tuple[object, _World] | None = None
        self._trouble = Trouble()
        self.unsupported = dict(gaps.SLICES) if settings.gpu_sharing == "none" else {}

    async def look(self) -> Inventory:
        """The same objects again for as long as nobody cuts: ten thousand GPUs are looked at in no time."""
        return (await asyncio.to_thread(self._world)).inventory

    async def health(self) -> Health:
        """As the file of faults says; see `simulatedfaults`."""
        world = await asyncio.to_thread(self._world)
        return simulatedfaults.health(world.inventory.devices, self._trouble)

    async def measure(self) -> Measures:
        """What our processes use is real; GPUs move with the clock, and those that our processes see are busy."""
        before = await asyncio.to_thread(measures.look, self.settings)
        await asyncio.sleep(measures.APART_S)
        after = await asyncio.to_thread(measures.look_again, before)
        held = await asyncio.to_thread(seen_by, before.leases)
        world, now = await asyncio.to_thread(self._world), self._clock().timestamp()
        bodies, leases = self._bodies, set(before.leases.values())

        def whole(uuid: str) -> Reading:
            return reading(world.devices[uuid], bodies[world.devices[uuid].key or ""], now, held)

        return Measures(
            Lazy(world.devices, whole),
            measures.compare(before, after),
            measures.place(before, after),
            Lazy(
                world.instances,
                lambda uuid: instance_reading(
                    world.instances[uuid][0], bodies[world.instances[uuid][1]], now, held
                ),
            ),
            Lazy(world.devices, lambda uuid: own_uses(whole(uuid), held.get(uuid, ()), leases)),
        )

    async def make(self, device: str, mig: str, start: int) -> MigInstance:
        """As `InventoryBackend.make`."""
        return await asyncio.to_thread(self._make, device, mig, start)

    async def remove(self, device: str, instance: MigInstance) -> None:
        """As `InventoryBackend.remove`: in use is what a process of ours is shown."""
        await asyncio.to_thread(self._remove, device, instance)

    def _make(self, device: str, mig: str, start: int) -> MigInstance:
        with self._cutting() as cuts:
            grid, there = self._cut(device, cuts)
            profile = grid.named(mig)
            if profile is None or start not in profile.starts:
                raise MigRefused(device=device, why=gaps.no_such_place(mig, start, grid))
            if (profile, start) not in there:
                why = fleetfile.refusal(grid, there, profile, start)
                if why is not None:
                    raise MigRefused(device=device, why=why)
                there.append((profile, start))
            cuts[device] = [(one.name, at) for one, at in there]
        return MigInstance(mig, start, mig_uuid(device, mig, start))

    def _remove(self, device: str, instance: MigInstance) -> None:
        uuid = mig_uuid(device, instance.profile, instance.start)
        if uuid in seen_by(measures.look(self.settings).leases):
            raise MigRefused(device=device, why=gaps.IN_USE)
        with self._cutting() as cuts:
            _, there = self._cut(device, cuts)
            wanted = (instance.profile, instance.start)
            cuts[device] = [(one.name, at) for one, at in there if (one.name, at) != wanted]

    def _cut(self, device: str, cuts: Cuts) -> tuple[MigGrid, list[tuple[MigProfile, int]]]:
        """The grid of a GPU, and what it is cut into now. Raises `MigRefused` where MIG is off."""
        spec = self._spec_of.get(device)
        if spec is None or spec.model.grid is None or spec.mig is None:
            raise MigRefused(device=device, why=gaps.MIG_OFF)
        return spec.model.grid, _now(device, spec, cuts)

    @contextmanager
    def _cutting(self) -> Iterator[dict[str, list[tuple[str, int]]]]:
        """The cuts as they are, written when the block ends well; one process at a time."""
        lock = self._state.with_suffix(".lock")
        with lock.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            cuts = self._read()
            yield cuts
            temporary = self._state.with_suffix(".new")
            temporary.write_text(json.dumps(cuts))
            temporary.replace(self._state)

    def _read(self) -> dict[str, list[tuple[str, int]]]:
        try:
            rows = json.loads(self._state.read_text())
        except FileNotFoundError:
            return {}
        return {uuid: [(str(name), int(start)) for name, start in row] for uuid, row in rows.items()}

    def _world(self) -> _World:
        try:
            found = self._state.stat()
            stamp: object = (found.st_mtime_ns, found.st_ino)
        except FileNotFoundError:
            stamp = None
        place = self.settings.folder.run / simulatedfaults.FILE
        trouble = self._trouble = simulatedfaults.read(place, gpu_uuid, self._trouble)
        stamp = stamp, trouble.stamp
        if self._known is None or self._known[0] != stamp:
            self._known = stamp, self._build(self._read(), trouble.lost)
        return self._known[1]

    def _build(self, cuts: Cuts, lost: frozenset[str]) -> _World:
        nodes = []
        for spec in self._specs:
            cards = ((uuid, card) for uuid, card in _cards(spec) if uuid not in lost)
            devices = tuple(_device(uuid, spec.name, card, cuts) for uuid, card in cards)
            nodes.append(NodeInventory(spec.name, spec.cpu_cores, spec.memory_mb, devices, spec.pool))
        why = None if any(node.devices for node in nodes) else gaps.NO_GPU_IN_FILE
        inventory = Inventory.of(nodes, why_no_gpu=why, simulated=True)
        return _World(
            inventory,
            {device.uuid: device for device in inventory.devices},
            {
                one.uuid: (one, device.key or "")
                for device in inventory.devices
                for one in device.instances
                if one.uuid
            },
        )

    @cached_property
    def _spec_of(self) -> Mapping[str, GpuSpec]:
        return {uuid: card for spec in self._specs for uuid, card in _cards(spec)}

    @cached_property
    def _bodies(self) -> Mapping[str, Body]:
        return {card.model.key: _body(card) for spec in self._specs for card in spec.gpus}


def seen_by(leases: Mapping[int, str]) -> Mapping[str, set[str]]:
    """The UUIDs of GPUs and MIG instances that these processes are shown, each with the leases of who is."""
    found: dict[str, set[str]] = {}
    for pid, lease in leases.items():
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # gone
            continue
        for variable in variables:
            if variable.startswith(b"CUDA_VISIBLE_DEVICES="):
                for uuid in filter(None, os.fsdecode(variable.partition(b"=")[2]).split(",")):
                    found.setdefault(uuid, set()).add(lease)
    return found


def gpu_uuid(node: str, number: int) -> str:
    """The same for the same place in the same fleet, whoever asks and whenever."""
    return f"GPU{SIMULATED}{_digest(f'{node}/{number}')}"


def mig_uuid(device: str, profile: str, start: int) -> str:
    """The UUID of the MIG instance at this place of this GPU."""
    return f"MIG{SIMULATED}{_digest(f'{device}/{profile}@{start}')}"


def _digest(name: str) -> str:
    return blake2b(name.encode(), digest_size=8).hexdigest()


def _cards(spec: fleetfile.NodeSpec) -> Iterator[tuple[str, GpuSpec]]:
    number = 0
    for card in spec.gpus:
        for _ in range(card.count):
            yield gpu_uuid(spec.name, number), card
            number += 1


def _now(device: str, spec: GpuSpec, cuts: Cuts) -> list[tuple[MigProfile, int]]:
    """What a GPU is cut into: by us, else as its file says. What the grid no longer knows is left out."""
    row = cuts.get(device)
    if row is None or spec.model.grid is None:
        return list(spec.mig or ())
    named = [(spec.model.grid.named(name), start) for name, start in row]
    return [(profile, start) for profile, start in named if profile is not None and start in profile.starts]


def _device(uuid: str, node: str, card: GpuSpec, cuts: Cuts) -> Device:
    model, mig = card.model, card.mig is not None
    there = _now(uuid, card, cuts) if mig else []
    return Device(
        uuid=uuid,
        name=f"{model.name} (simulated)",
        memory_mb=model.memory_mb,
        driver=DRIVER,
        mig_mode=None if model.grid is None else mig,
        node=node,
        pci_device=min(model.pci_ids, default=None),
        key=model.key,
        instances=tuple(_instance(uuid, number, *one) for number, one in enumerate(there)),
        carves=mig,
        group=f"{node}/nvlink" if card.nvlink and not mig else "",
    )


def _instance(device: str, number: int, profile: MigProfile, start: int) -> MigDevice:
    return MigDevice(
        mig_uuid(device, profile.name, start),
        profile.name,
        start,
        profile.size,
        profile.memory_mb,
        number,
    )


def _body(card: GpuSpec) -> Body:
    grid = card.model.grid
    whole = max((profile.compute for profile in grid.profiles), default=1) if grid else 1
    shares = {profile.name: profile.compute / whole for profile in grid.profiles} if grid else {}
    return Body(float(card.model.tdp_w), card.model.measures_mig, shares)

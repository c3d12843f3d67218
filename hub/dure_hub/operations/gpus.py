"""The GPUs as `/gpu/…` shows them: counted all together, and page by page.

Everything is told from one picture: one look at the machines with the leases of that moment, at most two seconds
old, summed up once and off the event loop, however many ask. Only how a GPU is cut (`cutting`) is looked up anew.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from dure.wire.gpu import GpuDevice, GpuDevices, GpuOverview, MigInstance
from dure_hub.backends.base import Device, MigDevice, Reading
from dure_hub.catalogue import gpus as catalogue
from dure_hub.operations.fleet import Fleets, Look
from dure_hub.operations.gpu_errors import NoSuchGpu, NoSuchNode
from dure_hub.operations.people import Person
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease

PAGE, LARGEST_PAGE = 500, 2000
_NAMED = 20
"""So many names an error lists; the others are counted."""


@dataclass(frozen=True)
class Part:
    """What one lease holds of one GPU: the whole or a share, or a MIG instance by place and by its own UUID."""

    lease: str
    owner: str
    mig: str | None = None
    start: int | None = None
    visible: str | None = None


@dataclass(frozen=True)
class Picture:
    """One look with the leases of its moment: `parts` by GPU, `readings` by GPU, `place` of each in the order."""

    look: Look
    at: datetime
    parts: Mapping[str, Sequence[Part]]
    readings: Mapping[str, Reading]
    place: Mapping[str, int]
    by_node: Mapping[str, Sequence[Device]]
    overview: GpuOverview


class Gpus:
    """Looks at GPUs for everybody who may use the portal."""

    def __init__(self, store: Store, clock: Clock, fleets: Fleets) -> None:
        self._store, self._clock, self._fleets = store, clock, fleets
        self._picture: Picture | None = None
        self._drawing = asyncio.Lock()

    async def overview(self) -> GpuOverview:
        """All GPUs in a few numbers."""
        return (await self.picture()).overview

    async def page(
        self, person: Person, node: str | None = None, limit: int = PAGE, cursor: str | None = None
    ) -> GpuDevices:
        """The GPUs after `cursor` (the id of the last one already read), of one node where it is named.

        Raises `NoSuchNode`, and `NoSuchGpu` for a cursor that is no GPU any more.
        """
        picture = await self.picture()
        devices = picture.look.inventory.devices
        if node is not None:
            if node not in picture.by_node:
                raise NoSuchNode(node=node, nodes=listed(list(picture.by_node)))
            devices = picture.by_node[node]
        begin = 0
        if cursor is not None:
            if cursor not in picture.place:
                raise NoSuchGpu(device=cursor)
            # by place, so that a cursor from a list without a node leads on within one
            begin = sum(picture.place[device.uuid] <= picture.place[cursor] for device in devices)
        shown = devices[begin : begin + limit]
        return GpuDevices(
            at=picture.at,
            devices=[device_on_wire(device, picture, admin=person.admin) for device in shown],
            total=len(devices),
            next_cursor=shown[-1].uuid if begin + limit < len(devices) else None,
            simulated=picture.look.inventory.simulated,
        )

    async def get(self, person: Person, device: str) -> GpuDevice:
        """One GPU; raises `NoSuchGpu`."""
        picture = await self.picture()
        if device not in picture.place:
            raise NoSuchGpu(device=device)
        found = picture.look.inventory.devices[picture.place[device]]
        return device_on_wire(found, picture, admin=person.admin)

    async def picture(self) -> Picture:
        """What everything here is told from."""
        if self._picture is not None and self._fleets.is_fresh(self._picture.look):
            return self._picture
        return await self._draw(await self._fleets.seen())

    async def keep_fresh(self) -> None:
        """Draw the next one where somebody has asked lately, so that nobody waits for it."""
        look = await self._fleets.keep_fresh()
        if look is not None:
            await self._draw(look)

    async def _draw(self, look: Look) -> Picture:
        async with self._drawing:
            if self._picture is None or self._picture.look is not look:
                leases = await self._store.read(holding)
                self._picture = await asyncio.to_thread(draw, look, leases, self._clock())
            return self._picture


def holding(session: Session) -> list[tuple[str, Part]]:
    """What is held of GPUs now, each part with its GPU."""
    query = select(Lease.id, Lease.owner, Lease.slices).where(Lease.ended_at.is_(None), Lease.parent.is_(None))
    return [
        (
            str(piece["device"]),
            Part(lease, owner, piece.get("mig"), piece.get("start"), piece.get("visible")),
        )
        for lease, owner, slices in session.execute(query.order_by(Lease.granted_at, Lease.id))
        for piece in slices
        if piece["device"] != "cpu"
    ]


def draw(look: Look, held: Sequence[tuple[str, Part]], at: datetime) -> Picture:
    """Sum up one look."""
    place = look.inventory
    parts: dict[str, list[Part]] = {}
    for uuid, part in held:
        parts.setdefault(uuid, []).append(part)
    readings = {device.uuid: look.measures.devices.get(device.uuid, Reading()) for device in place.devices}
    busy = [reading.utilisation for reading in readings.values() if reading.utilisation is not None]
    overview = GpuOverview(
        at=at,
        total_gpu_devices=len(place.devices),
        active_allocations=len({part.lease for _, part in held}),
        total_mig_instances=sum(len(device.instances) for device in place.devices),
        overall_gpu_utilization=round(sum(busy) / len(busy), 4) if busy else None,
        measured_devices=len(busy),
        devices_by_model=dict(Counter(device.name for device in place.devices)),
        simulated=place.simulated,
    )
    return Picture(
        look,
        at,
        parts,
        readings,
        {device.uuid: number for number, device in enumerate(place.devices)},
        {node.name: node.devices for node in place.by_node()},
        overview,
    )


def device_on_wire(device: Device, picture: Picture, *, admin: bool) -> GpuDevice:
    """One GPU as people see it; who holds it only as an administrator does."""
    parts = picture.parts.get(device.uuid, ())
    reading = picture.readings.get(device.uuid, Reading())
    model = catalogue.by_key(device.key) if device.key else None
    return GpuDevice(
        id=device.uuid,
        node_name=device.node,
        model=device.name,
        architecture=model.architecture if model else None,
        compute_capability=model.compute_capability if model else None,
        sms=model.sms if model else None,
        lifecycle=model.lifecycle if model else None,
        memory_gb=None if device.memory_mb is None else round(device.memory_mb / 1024, 1),
        mig_enabled=device.mig_mode,
        mig_instances=[
            MigInstance(
                profile=one.profile,
                start=one.start,
                uuid=one.uuid,
                held=bool(one.barred) or is_held(one, parts),
            )
            for one in device.instances
        ],
        utilization=reading.utilisation,
        temperature=reading.temperature_c,
        power=reading.power_w,
        memory_used_mb=reading.memory_used_mb,
        health=None if device.health is None else dict(device.health),
        holders=len({part.lease for part in parts}),
        owners=sorted({part.owner for part in parts}) if admin else None,
    )


def is_held(instance: MigDevice, parts: Sequence[Part]) -> bool:
    """Whether one of these parts is this instance: by its UUID, or by its place before it was made."""
    return any(
        part.visible == instance.uuid
        if part.visible is not None
        else part.start is not None and (part.mig, part.start) == (instance.profile, instance.start)
        for part in parts
    )


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, the first twenty of them."""
    shown = ", ".join(name or "-" for name in names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown}, … ({len(names)})"

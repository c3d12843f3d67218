"""`/devices/…`: GPUs that are kept from being granted. `/disk`: room. `/leases/…/logs`: what a lease wrote."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from dure.wire.devices import CordonRequest, Device, Disk, DrainRequest
from dure.wire.training import LogPage
from dure_hub.operations import Operations
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.services.fields import TEXT_PATTERN, PathId, SignedOffset
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(tags=["trouble"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE)]
Administrator = Annotated[Person, needs(ADMIN)]
DeviceId = Annotated[str, Path(max_length=100, pattern=TEXT_PATTERN, description="The GPU's UUID.")]


@router.get("/devices")
async def list_devices(person: Administrator, ops: Ops) -> list[Device]:
    """Every GPU with its state, what closes it, and who holds it; those that were lost too."""
    return list(await ops.devices.list(person))


@router.post("/devices/{device}/cordon")
async def cordon_device(device: DeviceId, ask: CordonRequest, person: Administrator, ops: Ops) -> Device:
    """Grant nothing of it from now on; who holds it goes on. Date and message are shown to everybody."""
    return await ops.devices.cordon(person, device, ask)


@router.post("/devices/{device}/drain")
async def drain_device(device: DeviceId, ask: DrainRequest, person: Administrator, ops: Ops) -> Device:
    """The same, and who holds it ends by the date, ten minutes from now at the earliest."""
    return await ops.devices.drain(person, device, ask)


@router.post("/devices/{device}/uncordon", response_model=None)
async def uncordon_device(device: DeviceId, person: Administrator, ops: Ops) -> Device | Response:
    """Take it back into use, whatever closed it. One that is no longer there is forgotten: then 204."""
    found = await ops.devices.uncordon(person, device)
    return Response(status_code=204) if found is None else found


@router.get("/disk")
async def look_at_disk(person: Caller, ops: Ops) -> Disk:
    """How much room there is, and what takes it. All homes are told to administrators, one's own to oneself."""
    return await ops.disk.shown(person)


@router.get("/leases/{lease_id}/logs")
async def read_lease_log(lease_id: PathId, person: Caller, ops: Ops, offset: SignedOffset = 0) -> LogPage:
    """A piece of the log of a lease of yours, also after its end; go on from `next_offset` until `done`."""
    return await ops.lease_logs.read(person, lease_id, offset)

"""What a server uses of what it holds, for its owner: the fleet's own measures, one look for everybody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from dure.errors import NotRunning
from dure.wire.usage import OwnDevice, OwnUsage
from dure_hub.backends.base import Device, Measures, MigDevice, OwnUse, Reading, Usage
from dure_hub.operations import environment_rows as rows
from dure_hub.operations.fleet import Fleets, Look
from dure_hub.operations.people import Person
from dure_hub.store import Clock, Store
from dure_hub.store.models import Lease

_WHOLE = 1000


async def own_usage(
    store: Store, clock: Clock, fleets: Fleets, person: Person, name: str, owner: str | None = None
) -> OwnUsage:
    """One server that starts or runs, as of at most two seconds ago; of `owner`, for administrators.

    However many ask, the machines are looked at once. Raises `NotRunning`.
    """
    person.may_act_for(owner or person.name)

    def read(session: Session) -> Lease:
        row = rows.existing(session, owner or person.name, name)
        lease = rows.active_lease(session, row)
        if lease is None:
            raise NotRunning(name=name, phase=row.phase)
        return lease

    lease = await store.read(read)  # first, so that nobody makes us look at what is not there
    seen = await fleets.seen(watching=False)
    used = seen.measures.leases.get(lease.id, Usage())
    return OwnUsage(
        at=clock(),
        cpu_cores=sum(float(piece["cpu_cores"]) for piece in lease.slices),
        memory_mb=sum(int(piece["memory_mb"]) for piece in lease.slices),
        cpu_used=used.cpu_cores,
        memory_used_mb=used.memory_mb,
        devices=list(_devices(lease, seen)),
    )


def _devices(lease: Lease, seen: Look) -> Iterable[OwnDevice]:
    known = {device.uuid: device for device in seen.inventory.devices}
    for piece in lease.slices:
        uuid = str(piece["device"])
        if uuid != "cpu":
            yield _device(uuid, piece, lease.id, known.get(uuid), seen.measures)


def _device(
    uuid: str, piece: Mapping[str, Any], lease: str, device: Device | None, measures: Measures
) -> OwnDevice:
    """A part of a lease, or all unknown of a GPU that the driver does not show any more."""
    mig, share = piece.get("mig"), int(piece.get("share", _WHOLE))
    name = device.name if device is not None else "GPU"
    if mig is None:
        is_shared = share < _WHOLE  # the others' use is neither ours nor our business
        reading = measures.own_of(uuid, lease) if is_shared else measures.devices.get(uuid, Reading())
        memory_mb = device.memory_mb if device is not None else None
        return _shown(OwnDevice(uuid=uuid, name=name, share=share, memory_mb=memory_mb), reading)
    own = str(piece.get("visible") or "")  # none before the instance is made
    instance = next((one for one in device.instances if own and one.uuid == own), None) if device else None
    reading = measures.instances.get(own, Reading())
    return _shown(OwnDevice(uuid=own or uuid, name=name, mig=str(mig), memory_mb=_memory_mb(instance)), reading)


def _memory_mb(instance: MigDevice | None) -> int | None:
    return None if instance is None else instance.memory_mb


def _shown(device: OwnDevice, reading: Reading | OwnUse) -> OwnDevice:
    return device.model_copy(update={"memory_used_mb": reading.memory_used_mb, "utilisation": reading.utilisation})

"""GPUs that are kept from being granted, the disk's room, and logs of leases. The first is for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from dure import wire
from dure.client import ask, client, read, read_all
from dure.display import Table

COLUMNS = ("uuid", "name", "node", "state", "since", "until", "message", "holders")


def list() -> Table[wire.Device]:  # noqa: A001 - dure.devices.list() reads well
    """Every GPU with its state, those that were lost too."""
    return Table(read_all(wire.Device, client().get("/devices")), COLUMNS)


def cordon(device: str, until: datetime | None = None, message: str | None = None) -> wire.Device:
    """Grant nothing of it from now on; who holds it goes on. It ends with `uncordon`, whatever the date."""
    return _post(device, "cordon", ask(wire.CordonRequest, until=until, message=message))


def drain(
    device: str, until: datetime | None = None, message: str | None = None, now: bool = False
) -> wire.Device:
    """The same, and who holds it ends by the date; without one, in ten minutes. `now` needs a message."""
    return _post(device, "drain", ask(wire.DrainRequest, until=until, message=message, now=now))


def uncordon(device: str) -> wire.Device | None:
    """Take it back into use, whatever closed it; None for one that is no longer there, which is forgotten."""
    answer = client().post(f"/devices/{device}/uncordon", {}, repeatable=True)
    return None if answer is None else read(wire.Device, answer)


def disk() -> wire.Disk:
    """The portal's room, and what takes it."""
    return read(wire.Disk, client().get("/disk"))


def lease_log(lease: str, offset: int = 0) -> Iterator[str]:
    """The log of a lease in pieces, up to what there is now; below 0 an `offset` counts from the end."""
    while True:
        page = read(wire.LogPage, client().get(f"/leases/{lease}/logs", offset=offset))
        if page.text:
            yield page.text
        if page.done or page.next_offset == page.offset:
            return
        offset = page.next_offset


def _post(device: str, verb: str, request: wire.CordonRequest | wire.DrainRequest) -> wire.Device:
    answer = client().post(f"/devices/{device}/{verb}", request.model_dump(mode="json"), repeatable=True)
    return read(wire.Device, answer)

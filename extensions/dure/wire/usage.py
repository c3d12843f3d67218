"""What one server uses of what its lease holds. Null is unknown, never zero."""

from __future__ import annotations

from datetime import datetime

from dure.wire.base import Answer


class OwnDevice(Answer):
    """One GPU of a lease, or the lease's MIG instance `mig` of it. `utilisation` is a share from 0 to 1.

    Below 1000, `share` thousandths of the GPU are this lease's. `memory_mb` is that of the whole GPU all the same;
    what is used of it is by the lease's own processes alone, null where the driver does not tell them apart.
    """

    uuid: str
    name: str
    mig: str | None = None
    share: int = 1000
    memory_mb: int | None = None
    memory_used_mb: int | None = None
    utilisation: float | None = None


class OwnUsage(Answer):
    """One server at the portal's time `at`: what it was promised (`cpu_cores`, MiB of memory) and what it uses."""

    at: datetime
    cpu_cores: float = 0
    memory_mb: int = 0
    cpu_used: float | None = None
    memory_used_mb: int | None = None
    devices: list[OwnDevice] = []

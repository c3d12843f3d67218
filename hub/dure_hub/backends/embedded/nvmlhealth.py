"""What is wrong with this machine's GPUs, and what uses them that is none of ours, by NVML."""

from __future__ import annotations

import pwd
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dure_hub.backends.base import Fault, Health, Outsider
from dure_hub.backends.embedded import measuregpus, nvml
from dure_hub.backends.embedded.carriers import Carriers
from dure_hub.backends.embedded.driver import Driver, Mig, NoDriver, session
from dure_hub.settings import Settings

_COMM = 15
"""Linux keeps so much of a process's name."""


def look(settings: Settings, events: Sequence[Fault]) -> Health:
    """Ask now. A driver that does not answer is a health that nobody knows."""
    found = nvml.look()
    if found.why_none is not None and found.why_none is not nvml.NO_DEVICE:
        return Health(events=events)
    faults = [Fault(one.uuid, "rows") for one in found.devices if one.health is nvml.ROWS_FAILED]
    try:
        with session() as driver:
            faults += [Fault(uuid, "ecc") for uuid, gpu in driver.gpus() if _has_double_bit(driver, gpu)]
            used = {uuid: users for uuid, gpu in driver.gpus() if (users := _users(driver, gpu)) is not None}
    except NoDriver:
        return Health(events=events)
    return Health(found.devices, faults, events, _outsiders(settings, used))


def _has_double_bit(driver: Driver, gpu: Any) -> bool:
    """Whether it has counted uncorrected errors since its driver was loaded, and cannot put a spare row in place.

    A GPU that can says by its rows whether it could.
    """
    lib = driver.lib
    if driver.maybe(lib.nvmlDeviceGetRemappedRows, gpu) is not None:
        return False
    kinds = lib.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, lib.NVML_VOLATILE_ECC
    return bool(driver.maybe(lib.nvmlDeviceGetTotalEccErrors, gpu, *kinds))


def _users(driver: Driver, gpu: Any) -> Mapping[int, int | None] | None:
    """Bytes of its memory by process, of those that compute and those that draw; None is what it does not say."""
    lib, handles = driver.lib, [gpu]
    if driver.mig(gpu) is Mig.ON:
        handles = list(driver.mig_handles(gpu))
    found: dict[int, int | None] = {}
    for handle in handles:
        computing = driver.maybe(lib.nvmlDeviceGetComputeRunningProcesses, handle)
        if computing is None:
            return None
        for one in (*computing, *(driver.maybe(lib.nvmlDeviceGetGraphicsRunningProcesses, handle) or ())):
            before = found.get(int(one.pid))
            known = [size for size in (before, one.usedGpuMemory) if size is not None]
            found[int(one.pid)] = max(known, default=None)
    return found


def _outsiders(
    settings: Settings, used: Mapping[str, Mapping[int, int | None]]
) -> Mapping[str, tuple[Outsider, ...]]:
    """Those of whom it is certain that they are none of ours, above the size that a display needs."""
    pids = {pid for users in used.values() for pid in users}
    if not pids:
        return {}
    ours = {one.pid: one.lease for one in Carriers(settings).marked()}
    whose = measuregpus.owners(settings, ours, pids, measuregpus.sees_all())
    found = {
        uuid: tuple(
            outsider
            for pid, size in sorted(users.items())
            if whose.get(pid) == measuregpus.OUTSIDE and (outsider := _outsider(settings, pid, size)) is not None
        )
        for uuid, users in used.items()
    }
    return {uuid: others for uuid, others in found.items() if others}


def _outsider(settings: Settings, pid: int, size: int | None) -> Outsider | None:
    """None for what is allowed beside leases, is too small to count, or has ended meanwhile."""
    place = Path(f"/proc/{pid}")
    try:
        name, uid = (place / "comm").read_text().strip(), place.stat().st_uid
    except OSError:
        return None
    memory_mb = None if size is None else size >> 20
    if any(name == one[:_COMM] for one in settings.outside_allowed):
        return None
    if memory_mb is not None and memory_mb < settings.outside_memory_mb:
        return None
    try:
        user: str | None = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = None
    return Outsider(pid, name, user, memory_mb)

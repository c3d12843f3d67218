"""This machine's GPUs by NVML. What a GPU does not say is None; why there is no GPU is a sentence."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dure_hub.backends.base import Device, Reading
from dure_hub.backends.embedded import gaps, gpm, nvmlmig, nvmlprocesses
from dure_hub.backends.embedded.driver import NO_DRIVER as NO_DRIVER
from dure_hub.backends.embedded.driver import NO_LIBRARY as NO_LIBRARY
from dure_hub.backends.embedded.driver import NO_PERMISSION as NO_PERMISSION
from dure_hub.backends.embedded.driver import Driver, Mig, NoDriver, session
from dure_hub.backends.embedded.nvmlprocesses import OnGpu
from dure_hub.catalogue import gpus
from dure_hub.catalogue.gpus import GpuModel
from dure_hub.catalogue.mig import MigGrid

NO_DEVICE = {
    "en": "The NVIDIA driver works but shows no GPU.",
    "ko": "NVIDIA 드라이버는 작동하지만 GPU가 보이지 않습니다.",
}
ROWS_FAILED = {
    "en": "A memory error could not be repaired; NVIDIA's advice is to have the GPU replaced.",
    "ko": "메모리 오류를 복구하지 못했습니다. NVIDIA는 GPU 교체를 권합니다.",
}
ROWS_PENDING = {
    "en": "Memory rows wait to be replaced by spare ones; that needs a reset of the GPU.",
    "ko": "메모리 행 교체가 대기 중입니다. GPU를 재설정해야 합니다.",
}
APART_S = 0.2
"""Between two samples of MIG instances; NVIDIA's monitoring wants a tenth of a second at least."""


@dataclass(frozen=True)
class Found:
    """The GPUs, or why there are none."""

    devices: tuple[Device, ...] = ()
    why_none: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Readings:
    """GPUs and MIG instances, and who computes on each GPU; all by UUID."""

    devices: Mapping[str, Reading] = field(default_factory=dict)
    instances: Mapping[str, Reading] = field(default_factory=dict)
    processes: Mapping[str, OnGpu] = field(default_factory=dict)


def look() -> Found:
    """Ask NVML now. Never raises for what is missing or broken: that is a sentence."""
    try:
        with session() as driver:
            devices = _devices(driver)
    except NoDriver as error:
        return Found(why_none=error.why)
    return Found(devices, None if devices else NO_DEVICE)


def read(over_s: float) -> Readings:
    """How busy each GPU is now, and by whom in the last `over_s` seconds. Never raises: what one does not say is
    None, and no GPU is no entry.

    Takes `APART_S` where there are MIG instances that can be measured.
    """
    try:
        with session() as driver:
            return _read(driver, over_s)
    except NoDriver:
        return Readings()


def model_of(driver: Driver, gpu: Any) -> tuple[int | None, GpuModel | None]:
    """The device's half of its PCI id, and what the catalogue knows of it."""
    pci = driver.maybe(driver.lib.nvmlDeviceGetPciInfo, gpu)
    number = None if pci is None else int(pci.pciDeviceId) >> 16
    return number, None if number is None else gpus.by_pci(number)


def _devices(driver: Driver) -> tuple[Device, ...]:
    lib, maybe = driver.lib, driver.maybe
    version = maybe(lib.nvmlSystemGetDriverVersion)
    handles = list(driver.gpus())
    groups = _joined(driver, [gpu for _, gpu in handles])
    found = []
    for (uuid, gpu), group in zip(handles, groups, strict=True):
        memory, mig = maybe(lib.nvmlDeviceGetMemoryInfo, gpu), driver.mig(gpu)
        number, model = model_of(driver, gpu)
        grid, on = model.grid if model else None, mig is Mig.ON
        health, usable = _health(driver, gpu, mig, grid)
        found.append(
            Device(
                uuid=uuid,
                name=maybe(lib.nvmlDeviceGetName, gpu) or "GPU",
                memory_mb=int(memory.total) >> 20 if memory else None,
                driver=version,
                mig_mode={Mig.ON: True, Mig.OFF: False}.get(mig),
                pci_device=number,
                key=model.key if model else None,
                instances=nvmlmig.instances(driver, gpu, grid) if on else (),
                carves=on and nvmlmig.may_carve(driver, gpu, grid),
                group=group,
                health=health,
                usable=usable,
            )
        )
    return tuple(found)


def _joined(driver: Driver, handles: Sequence[Any]) -> list[str]:
    """The NVLink group of each GPU, "" for one that is joined to no other. With MIG on, a GPU is not."""
    lib = driver.lib
    groups = list(range(len(handles)))
    for first in range(len(handles)):
        for second in range(first):
            status = driver.maybe(
                lib.nvmlDeviceGetP2PStatus, handles[first], handles[second], lib.NVML_P2P_CAPS_INDEX_NVLINK
            )
            if status == lib.NVML_P2P_STATUS_OK:
                old, new = groups[first], groups[second]
                groups = [new if group == old else group for group in groups]
    return [f"nvlink-{group}" if groups.count(group) > 1 else "" for group in groups]


def _health(driver: Driver, gpu: Any, mig: Mig, grid: MigGrid | None) -> tuple[Mapping[str, str] | None, bool]:
    """What is wrong with a GPU, and whether it may be given to anybody all the same."""
    rows = driver.maybe(driver.lib.nvmlDeviceGetRemappedRows, gpu)
    pending, failed = (False, False) if rows is None else (bool(rows[2]), bool(rows[3]))
    if failed:
        return ROWS_FAILED, False
    if mig is Mig.UNKNOWN:
        return gaps.MODE_UNKNOWN, False
    if mig is Mig.ON and grid is None:
        return gaps.NO_GRID, False
    return (ROWS_PENDING if pending else None), True


def _read(driver: Driver, over_s: float) -> Readings:
    devices: dict[str, Reading] = {}
    users: dict[str, OnGpu] = {}
    cut: list[tuple[str, Any, list[tuple[Any, int | None]]]] = []
    for uuid, gpu in driver.gpus():
        devices[uuid] = _reading(driver, gpu)
        users[uuid] = nvmlprocesses.look(driver, gpu, over_s)
        if driver.mig(gpu) is Mig.ON:
            handles = driver.mig_handles(gpu)
            numbers = [(one, driver.maybe(driver.lib.nvmlDeviceGetGpuInstanceId, one)) for one in handles]
            cut.append((uuid, gpu, numbers))
    instances: dict[str, Reading] = {}
    with gpm.Sampler(driver) as sampler:
        for uuid, gpu, parts in cut:
            sampler.begin(uuid, gpu, {number for _, number in parts if number is not None})
        if sampler:
            time.sleep(APART_S)
        busy = sampler.busy()
        for uuid, gpu, parts in cut:
            mine = {number: share for (whose, number), share in busy.items() if whose == uuid}
            for handle, number in parts:
                own = driver.maybe(driver.lib.nvmlDeviceGetUUID, handle)
                if own is not None:
                    share = None if number is None else mine.get(number)
                    instances[own] = Reading(_memory_used_mb(driver, handle), share)
            devices[uuid] = replace(devices[uuid], utilisation=_together(driver, gpu, parts, mine))
    return Readings(devices, instances, users)


def _together(
    driver: Driver, gpu: Any, parts: Sequence[tuple[Any, int | None]], busy: Mapping[int, float]
) -> float | None:
    """How busy a GPU with MIG on is: its instances by their share of its processors. Unknown if one of them is."""
    _, model = model_of(driver, gpu)
    whole = max((one.compute for one in model.grid.profiles), default=0) if model and model.grid else 0
    sizes: dict[int, int] = {}
    for handle, number in parts:
        attributes = driver.maybe(driver.lib.nvmlDeviceGetAttributes_v2, handle)
        if attributes is None or number is None or number not in busy:
            return None
        sizes[number] = attributes.gpuInstanceSliceCount
    if not sizes or not whole:
        return None
    return round(min(sum(busy[number] * size for number, size in sizes.items()) / whole, 1.0), 3)


def _reading(driver: Driver, gpu: Any) -> Reading:
    lib, maybe = driver.lib, driver.maybe
    # With MIG on, the utilisation of the whole GPU is not measured; some drivers say 0 there instead of an error.
    measures = driver.mig(gpu) in (Mig.NONE, Mig.OFF)
    busy = maybe(lib.nvmlDeviceGetUtilizationRates, gpu) if measures else None
    heat = maybe(lib.nvmlDeviceGetTemperature, gpu, lib.NVML_TEMPERATURE_GPU)
    power_mw = maybe(lib.nvmlDeviceGetPowerUsage, gpu)
    return Reading(
        memory_used_mb=_memory_used_mb(driver, gpu),
        utilisation=busy.gpu / 100 if busy else None,
        temperature_c=None if heat is None else float(heat),
        power_w=None if power_mw is None else power_mw / 1000,
    )


def _memory_used_mb(driver: Driver, handle: Any) -> int | None:
    memory = driver.maybe(driver.lib.nvmlDeviceGetMemoryInfo, handle)
    return int(memory.used) >> 20 if memory and memory.total else None

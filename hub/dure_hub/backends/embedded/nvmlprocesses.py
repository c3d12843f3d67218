"""Who computes on a GPU, by NVML: processes by the driver's own numbers, whoever's they are.

The driver keeps samples of each process for a while, in a ring. It is asked for those since a moment, in
microseconds since the epoch. Asking takes nothing out of the ring: whoever looks has a stretch of their own, and
nobody has to remember when the last look was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dure_hub.backends.embedded.driver import Driver, Mig

_TRIES = 3
"""Somebody may begin to compute between the question of how many there are and that of who."""


@dataclass(frozen=True)
class Sample:
    """How busy process `pid` kept the GPU's processors, from 0 to 1, at `at` (seconds since the epoch).

    None where the driver gives a number that cannot be.
    """

    pid: int
    busy: float | None
    at: float


@dataclass(frozen=True)
class OnGpu:
    """Samples of a GPU up to `at`, and bytes of its memory by process.

    Without a sample nobody computed. None, of both and of a process's bytes, is what this GPU does not say.
    """

    at: float
    samples: tuple[Sample, ...] | None = None
    memory: Mapping[int, int | None] | None = None


def look(driver: Driver, gpu: Any, over_s: float) -> OnGpu:
    """The last `over_s` seconds of a GPU. With MIG on it says nothing: drivers measure no processes there."""
    at = time.time()
    if driver.mig(gpu) not in (Mig.NONE, Mig.OFF):
        return OnGpu(at)
    return OnGpu(at, _samples(driver, gpu, int((at - over_s) * 1e6)), _memory(driver, gpu))


def _samples(driver: Driver, gpu: Any, since_us: int) -> tuple[Sample, ...] | None:
    lib = driver.lib
    for _ in range(_TRIES):
        try:
            found = lib.nvmlDeviceGetProcessUtilization(gpu, since_us)
        except lib.NVMLError as error:
            # no sample since then; pynvml makes an error of a success that has none, too
            if error.value in (lib.NVML_ERROR_NOT_FOUND, lib.NVML_SUCCESS):
                return ()
            if error.value != lib.NVML_ERROR_INSUFFICIENT_SIZE:
                return None
        else:
            return tuple(_sample(one) for one in found)
    return None


def _sample(found: Any) -> Sample:
    share = found.smUtil / 100
    return Sample(int(found.pid), share if share <= 1 else None, found.timeStamp / 1e6)


def _memory(driver: Driver, gpu: Any) -> Mapping[int, int | None] | None:
    found = driver.maybe(driver.lib.nvmlDeviceGetComputeRunningProcesses, gpu)
    return None if found is None else {int(one.pid): one.usedGpuMemory for one in found}

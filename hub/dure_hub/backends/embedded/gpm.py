"""How busy MIG instances are, by NVIDIA's GPU performance monitoring: two samples and the difference.

The other counters of NVML say nothing about a GPU with MIG on. GPUs before Hopper have no such monitoring in NVML:
there the utilisation stays unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from dure_hub.backends.embedded.driver import Driver


class Sampler:
    """First samples, taken as they are asked for; `busy` takes the second ones. A context: it frees them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._first: dict[tuple[str, int], tuple[Any, Any]] = {}
        self._all: list[Any] = []

    def __enter__(self) -> Sampler:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sample in self._all:
            self._driver.maybe(self._driver.lib.nvmlGpmSampleFree, sample)

    def begin(self, uuid: str, gpu: Any, numbers: set[int]) -> None:
        """Take the first sample of these MIG instances of a GPU, if it is one that can."""
        support = self._driver.maybe(self._driver.lib.nvmlGpmQueryDeviceSupport, gpu)
        if support is None or not support.isSupportedDevice:
            return
        for number in sorted(numbers):
            sample = self._take(gpu, number)
            if sample is not None:
                self._first[uuid, number] = gpu, sample

    def __bool__(self) -> bool:
        """Whether anything was sampled, and so needs time to pass before `busy`."""
        return bool(self._first)

    def busy(self) -> Mapping[tuple[str, int], float]:
        """Utilisation (0 to 1) since `begin`, by GPU and number of the MIG instance; the unknown is missing."""
        found: dict[tuple[str, int], float] = {}
        for key, (gpu, first) in self._first.items():
            second = self._take(gpu, key[1])
            value = self._between(first, second) if second is not None else None
            if value is not None:
                found[key] = value
        return found

    def _take(self, gpu: Any, number: int) -> Any:
        lib, maybe = self._driver.lib, self._driver.maybe
        sample = maybe(lib.nvmlGpmSampleAlloc)
        if sample is None:
            return None
        self._all.append(sample)
        return maybe(lib.nvmlGpmMigSampleGet, gpu, number, sample)

    def _between(self, first: Any, second: Any) -> float | None:
        lib = self._driver.lib
        ask = lib.c_nvmlGpmMetricsGet_t()
        ask.version, ask.numMetrics = lib.NVML_GPM_METRICS_GET_VERSION, 1
        ask.sample1, ask.sample2 = first, second
        ask.metrics[0].metricId = lib.NVML_GPM_METRIC_GRAPHICS_UTIL
        answer = self._driver.maybe(lib.nvmlGpmMetricsGet, ask)
        # the call may go well, and still have no value for this one metric
        if answer is None or answer.metrics[0].nvmlReturn != lib.NVML_SUCCESS:
            return None
        share = float(answer.metrics[0].value) / 100
        return min(max(share, 0.0), 1.0) if math.isfinite(share) else None

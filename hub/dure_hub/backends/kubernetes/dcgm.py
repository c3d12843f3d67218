"""How busy a cluster's GPUs are, from what NVIDIA's DCGM exporter says of each: pure functions of samples.

An exporter names the pod that a GPU, or a MIG instance, was given to; Prometheus keeps that as `exported_pod`
where it has a `pod` of its own. By that a reading finds its lease: our numbers of GPUs are none of the driver's.

Of a MIG instance no `*_UTIL` is to be believed (it is not there, or 0); how long its engine was at work is.
Source: https://github.com/NVIDIA/dcgm-exporter, docs.nvidia.com/datacenter/dcgm, field identifiers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from dure_hub.backends.base import Device, Inventory, Measures, NodeInventory, OwnUse, Reading
from dure_hub.backends.kubernetes.marks import DEVICES, lease_of
from dure_hub.backends.kubernetes.requests import OVER

UTIL, ENGINE = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
USED, HEAT, POWER = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_POWER_USAGE"
METRICS = (UTIL, ENGINE, USED, HEAT, POWER)
MOST = {UTIL: 100.0, ENGINE: 1.0, USED: 10_000_000.0, HEAT: 200.0, POWER: 5000.0}
"""What is more than that is no reading: DCGM writes numbers of nineteen digits where it knows none."""
PERIODS = 2
"""A sample counts for as many scrapes as that; then nobody knows."""
USUAL_S = 30.0
"""How often Prometheus reads, where no series has two samples to tell."""

Labels = Mapping[str, str]
Pod = tuple[str, str]
"""Namespace and name."""
_Key = tuple[str, str, tuple[Pod, ...]]


@dataclass(frozen=True)
class Sample:
    """One GPU, or one MIG instance of it (`instance`, else ""), as it was at the last scrape; None is unknown."""

    uuid: str
    instance: str
    node: str
    pods: tuple[Pod, ...]
    reading: Reading

    @property
    def card(self) -> tuple[str, str]:
        """What it is of, whoever has it."""
        return self.uuid, self.instance


def read(series: Iterable[Mapping[str, Any]], at: float) -> list[Sample]:
    """From series of Prometheus's (`metric`, and `values` as pairs of time and text) and its own time.

    Two of the same GPU and pod, as where two jobs read one exporter, count as one: the younger.
    """
    known = [(one["metric"], one["values"]) for one in series if one.get("values")]
    period = _period(values for _, values in known)
    newest: dict[_Key, dict[str, tuple[float, float]]] = {}
    labels: dict[_Key, Labels] = {}
    for named, values in known:
        metric, (time, text) = named.get("__name__", ""), values[-1]
        value = _number(metric, text)
        if value is None or at - float(time) > PERIODS * (_gap(values) or period):
            continue
        key = (named.get("UUID", ""), named.get("GPU_I_ID", ""), _pods(named))
        found = newest.setdefault(key, {})
        if metric not in found or found[metric][0] < float(time):
            found[metric], labels[key] = (float(time), value), named
    ordered = sorted(newest.items(), key=lambda pair: _order(labels[pair[0]]))
    return [
        Sample(uuid, instance, _host(labels[uuid, instance, pods]), pods, _reading(instance, got))
        for (uuid, instance, pods), got in ordered
    ]


def measured(
    samples: Sequence[Sample], pods: Iterable[Mapping[str, Any]], inventory: Inventory, portal: str
) -> Measures:
    """What is known of the devices of this inventory. Where nothing was said, or too little, it is unknown."""
    of_pod: dict[Pod, list[Sample]] = {}
    for sample in samples:
        for pod in sample.pods:
            of_pod.setdefault(pod, []).append(sample)
    made = _Made(inventory)
    for one in pods:
        lease, metadata = lease_of(one, portal), one["metadata"]
        if lease is None or one["status"].get("phase") in OVER:
            continue
        held = [name for name in (metadata.get("annotations") or {}).get(DEVICES, "").split(",") if name]
        made.add(lease, held, of_pod.get((metadata["namespace"], metadata["name"]), []))
    for node in inventory.by_node():
        made.rest(node, samples)
    return Measures(devices=made.devices, instances=made.instances, own=made.own)


class _Made:
    """What is known so far."""

    def __init__(self, inventory: Inventory) -> None:
        self.devices: dict[str, Reading] = {}
        self.instances: dict[str, Reading] = {}
        self.own: dict[str, dict[str, OwnUse]] = {}
        self._cut = {one.uuid for device in inventory.devices for one in device.instances if one.uuid}
        self._shared = {device.uuid for device in inventory.devices if device.shared and device.shared[0]}
        self._held: set[str] = set()
        self._seen: set[tuple[str, str]] = set()

    def add(self, lease: str, held: Sequence[str], said: Sequence[Sample]) -> None:
        """What was said of one pod's GPUs. Which of several is which does not matter: they are one lease's."""
        self._held.update(held)
        self._seen.update(sample.card for sample in said)
        parts, whole = [one for one in said if one.instance], [one for one in said if not one.instance]
        for device, sample in zip([one for one in held if one in self._cut], parts, strict=False):
            self.instances[device] = sample.reading
        alone = [one for one in held if one not in self._cut and one not in self._shared]
        for device, sample in zip(alone, whole, strict=False):
            self.devices[device] = sample.reading
        common = [one for one in held if one in self._shared]
        for device in common:
            self.own.setdefault(device, {})[lease] = _of_shared(len(common), whole)

    def rest(self, node: NodeInventory, samples: Sequence[Sample]) -> None:
        """Whole GPUs that no pod of ours holds: all of a node are alike, so where each card of it was said, they
        are those that are left. Others hold the last ones."""
        whole = [one for one in node.devices if self._is_whole(one)]
        free = [one for one in whole if one.uuid not in self._held]
        cut = {one.uuid for one in samples if one.instance}
        cards: dict[str, Sample] = {}
        for one in sorted(samples, key=lambda sample: bool(sample.pods)):
            if one.node == node.name and one.uuid not in cut:
                cards.setdefault(one.uuid, one)
        left = [one for one in cards.values() if one.card not in self._seen]
        if len(cards) == len(whole) and len(left) == len(free):
            for device, sample in zip(sorted(free, key=lambda one: not one.usable), left, strict=True):
                self.devices[device.uuid] = sample.reading

    def _is_whole(self, device: Device) -> bool:
        return not device.instances and device.uuid not in self._shared


def _of_shared(count: int, said: Sequence[Sample]) -> OwnUse:
    """Of a GPU that several share only the whole is known: no part is busier than that."""
    found = [one.reading.utilisation for one in said]
    known = [one for one in found if one is not None]
    return OwnUse(most=max(known) if len(known) == len(found) >= count and known else 1.0)


def _reading(instance: str, got: Mapping[str, tuple[float, float]]) -> Reading:
    value = {metric: found for metric, (_, found) in got.items()}
    used = value.get(USED)
    busy = value[UTIL] / 100 if UTIL in value and not instance else value.get(ENGINE)
    return Reading(
        memory_used_mb=None if used is None else round(used),
        utilisation=busy,
        temperature_c=None if instance else value.get(HEAT),  # heat and power are of the whole card
        power_w=None if instance else value.get(POWER),
    )


def _pods(labels: Labels) -> tuple[Pod, ...]:
    """Whom it was given to. A `pod` that Prometheus adds is the exporter's own, and then nobody's of ours."""
    for before in ("exported_", ""):
        if labels.get(f"{before}pod"):
            return ((labels.get(f"{before}namespace", ""), labels[f"{before}pod"]),)
    return ()


def _host(labels: Labels) -> str:
    return labels.get("Hostname") or labels.get("hostname", "")


def _order(labels: Labels) -> tuple[str, int, str]:
    gpu = labels.get("gpu", "")
    return _host(labels), int(gpu) if gpu.isdigit() else 0, labels.get("UUID", "")


def _number(metric: str, text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= MOST.get(metric, -1.0) else None


def _gap(values: Sequence[Sequence[Any]]) -> float | None:
    """How long it is usually between two samples of a series; None where there is one alone."""
    times = [float(time) for time, _ in values]
    return median(after - before for before, after in pairwise(times)) if times[1:] else None


def _period(every: Iterable[Sequence[Sequence[Any]]]) -> float:
    gaps = [gap for values in every if (gap := _gap(values)) is not None]
    return median(gaps) if gaps else USUAL_S

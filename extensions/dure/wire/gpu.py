"""GPUs as `/gpu/…` tells of them, in camelCase: a façade over the same devices, tickets and leases.

Null is unknown, never zero. Memory in GiB (`…Gb`) or MiB (`…Mb`) as the driver counts it; times are UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from dure.wire.base import Answer, Ask, Name, TeamName

POD_PATTERN = r"^[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?$"
"""What Kubernetes calls namespaces and pods."""
PodName = Annotated[str, Field(pattern=POD_PATTERN, max_length=253)]
MIG_PATTERN = r"^[0-9]+[cg]?[.a-z0-9+-]*(?:@[0-9]{1,2})?$"
"""A MIG profile, and where it is to start if that matters: `1g.10gb`, `3g.40gb@4`."""
CutName = Annotated[str, Field(pattern=MIG_PATTERN, max_length=40)]
WorkloadType = Literal["notebook", "fine-tuning", "training", "inference", "urgent-inference"]
MOST_INSTANCES = 14
"""No GPU is cut into more instances than this."""


class CamelAnswer(Answer):
    """An answer whose fields are written in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class CamelAsk(Ask):
    """A request whose fields are written in camelCase."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class GpuOverview(CamelAnswer):
    """The whole fleet in one look, at most two seconds old.

    `active_allocations` counts the leases that hold a GPU or a part of one, whatever asked for them.
    `overall_gpu_utilization` is the mean, from 0 to 1, of the `measured_devices`: those whose driver says it.
    """

    at: datetime
    total_gpu_devices: int
    active_allocations: int
    total_mig_instances: int
    overall_gpu_utilization: float | None = None
    measured_devices: int = 0
    devices_by_model: dict[str, int] = {}
    simulated: bool = False


class MigInstance(CamelAnswer):
    """One MIG instance. `start` counts memory units; null where the driver does not let the portal see it."""

    profile: str | None = None
    start: int | None = None
    uuid: str | None = None
    held: bool = False


class GpuDevice(CamelAnswer):
    """One GPU. `holders` counts the leases on it; who they are (`owners`) is told to administrators alone.

    `utilization` is from 0 to 1, temperature in degrees Celsius, power in watts. `mig_enabled` is null where the
    GPU has no MIG. `health` says in each language what is wrong with it; null where nothing is known to be. What
    the catalogue knows of its model is null where it is not in there: `architecture`, CUDA's `compute_capability`,
    how many streaming multiprocessors it has (`sms`), its `lifecycle` (active, or eol: no longer sold or served).
    """

    id: str
    node_name: str
    model: str
    architecture: str | None = None
    compute_capability: str | None = None
    sms: int | None = None
    lifecycle: Literal["active", "eol"] | None = None
    memory_gb: float | None = None
    mig_enabled: bool | None = None
    mig_instances: list[MigInstance] = []
    utilization: float | None = None
    temperature: float | None = None
    power: float | None = None
    memory_used_mb: int | None = None
    health: dict[str, str] | None = None
    holders: int = 0
    owners: list[str] | None = None


class GpuDevices(CamelAnswer):
    """One page of GPUs, in the order of their nodes. `next_cursor` asks for the next one; null is the last."""

    at: datetime
    devices: list[GpuDevice]
    total: int
    next_cursor: str | None = None
    simulated: bool = False


class MigRequest(CamelAsk):
    """How a GPU is to be cut: all its MIG instances, each with its start (`3g.40gb@4`) where that matters.

    What is held stays where it is, and must be among them. An empty list leaves none.
    """

    profiles: list[CutName] = Field(max_length=MOST_INSTANCES)


class AllocationRequest(CamelAsk):
    """Ask for GPU memory for a pod that something else runs. While it waits or holds, asking again is the same.

    `required_memory_gb` counts 10^9 bytes, as the names of MIG profiles do (18 is a `1g.18gb`, though its driver
    shows a little less); null is any. It gets the cheapest profile with as much: a MIG instance with `use_mig`,
    else a whole GPU or a share of one. `lifetime` (seconds) is the profile's usual one where it is null; the
    allocation ends then, whatever the pod does. A notebook's may be as long as a server's, others as long as jobs.
    """

    namespace: Annotated[str, Field(pattern=r"^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$", max_length=63)]
    pod_name: PodName
    workload_type: WorkloadType = "notebook"
    use_mig: bool = False
    required_memory_gb: float | None = Field(default=None, gt=0, le=100_000, allow_inf_nan=False)
    lifetime: int | None = Field(default=None, ge=300, le=30 * 86400)
    team: TeamName | None = None
    project: Name | None = None


class Allocation(CamelAnswer):
    """A ticket, and the lease it became. `state`: waiting, preparing, active, ended, cancelled, refused, expired.

    `devices` are what the pod is to see (`NVIDIA_VISIBLE_DEVICES`): UUIDs of GPUs, or of its own MIG instances;
    none while those are being made (`preparing`), or made again after a restart of the machine. `position` and
    `expected_start` (at the latest) are of one that waits, `reason` says in each language why it ended. `rate` is
    in micro-units of money an hour.
    """

    id: str
    namespace: str
    pod_name: str
    owner: str
    team: str | None = None
    project: str | None = None
    state: str
    queue_class: str
    profile: str
    position: int | None = None
    expected_start: datetime | None = None
    next_best: str | None = None
    verdict: dict[str, Any] = {}
    reason: dict[str, str] | None = None
    lease: str | None = None
    devices: list[str] = []
    rate: int | None = None
    asked_at: datetime
    granted_at: datetime | None = None
    until: datetime | None = None
    ended_at: datetime | None = None

"""GPUs of the portal: all in a few numbers, one by one, allocations for pods elsewhere, and who waits."""

from __future__ import annotations

from collections.abc import Sequence

from dure import wire
from dure.client import ask, client, read, read_all
from dure.display import Table

COLUMNS = ("id", "node_name", "model", "memory_gb", "mig_enabled", "utilization", "holders")
ALLOCATIONS = ("id", "namespace", "pod_name", "state", "profile", "devices", "until")
LINE = ("position", "queue_class", "profile", "expected_start", "mine", "why")
_PAGE = 2000


def overview() -> wire.GpuOverview:
    """All GPUs in a few numbers, at most two seconds old; null is unknown."""
    return read(wire.GpuOverview, client().get("/gpu/overview"))


def list(node: str | None = None) -> Table[wire.GpuDevice]:  # noqa: A001 - dure.gpus.list() reads well
    """Every GPU, or those of one node. Who holds them (`owners`) is told to administrators."""
    found: Table[wire.GpuDevice] = Table([], COLUMNS)
    cursor: str | None = None
    while True:
        page = read(wire.GpuDevices, client().get("/gpu/devices", nodeName=node, limit=_PAGE, cursor=cursor))
        found.extend(page.devices)
        cursor = page.next_cursor
        if cursor is None:
            return found


def get(device: str) -> wire.GpuDevice:
    """One GPU by its UUID."""
    return read(wire.GpuDevice, client().get(f"/gpu/devices/{device}"))


def cut(device: str, profiles: Sequence[str]) -> wire.GpuDevice:
    """Cut a GPU into exactly these MIG instances (`3g.40gb`, or `3g.40gb@4` with its start); for administrators.

    What somebody holds must be among them and stays. Asking again goes on where it broke.
    """
    request = ask(wire.MigRequest, profiles=[*profiles])
    answer = client().post(
        f"/gpu/devices/{device}/mig", request.model_dump(mode="json", by_alias=True), repeatable=True
    )
    return read(wire.GpuDevice, answer)


def allocate(
    namespace: str,
    pod_name: str,
    workload_type: str = "notebook",
    use_mig: bool = False,
    required_memory_gb: float | None = None,
    lifetime: int | None = None,
    team: str | None = None,
    project: str | None = None,
) -> wire.Allocation:
    """Ask for GPU memory for a pod elsewhere; it ends after `lifetime` seconds, or by `release`.

    The same pod is one request for as long as it waits or holds: ask again to see what became of it.
    """
    request = ask(
        wire.AllocationRequest,
        namespace=namespace,
        pod_name=pod_name,
        workload_type=workload_type,
        use_mig=use_mig,
        required_memory_gb=required_memory_gb,
        lifetime=lifetime,
        team=team,
        project=project,
    )
    answer = client().post("/gpu/allocations", request.model_dump(mode="json", by_alias=True), repeatable=True)
    return read(wire.Allocation, answer)


def allocations(everyone: bool = False, active: bool = False) -> Table[wire.Allocation]:
    """Your allocations, the newest first; with `everyone`, all people's, for administrators."""
    answer = client().get(
        "/gpu/allocations", everyone="true" if everyone else None, active="true" if active else None
    )
    return Table(read_all(wire.Allocation, answer), ALLOCATIONS)


def allocation(id: str) -> wire.Allocation:  # noqa: A002 - what the portal calls it
    """One allocation."""
    return read(wire.Allocation, client().get(f"/gpu/allocations/{id}"))


def release(id: str) -> None:  # noqa: A002 - what the portal calls it
    """Give an allocation back, or leave the queue. The pod must be gone."""
    client().delete(f"/gpu/allocations/{id}", repeatable=True)


def queue() -> Table[wire.QueueEntry]:
    """Every request that waits, in order, with its start at the latest and why it waits."""
    return Table(read_all(wire.QueueEntry, client().get("/queue")), LINE)

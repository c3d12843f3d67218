"""`/gpu/…`: GPUs, allocations for pods outside, and how GPUs are cut. The one camelCase part of the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from dure.wire.gpu import Allocation, AllocationRequest, GpuDevice, GpuDevices, GpuOverview, MigRequest
from dure_hub.operations import Operations
from dure_hub.operations.allocations import LIMIT
from dure_hub.operations.gpus import LARGEST_PAGE, PAGE
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.fields import TEXT_PATTERN, OfTeam, PathId
from dure_hub.services.guard import needs, starts
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/gpu", tags=["gpu"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]
Starter = Annotated[Person, starts(USE, area=SEEN)]
Administrator = Annotated[Person, needs(ADMIN)]
GpuId = Annotated[str, Path(max_length=100, pattern=TEXT_PATTERN, description="The GPU's UUID.")]
NodeName = Annotated[
    str | None,
    Query(alias="nodeName", max_length=255, pattern=TEXT_PATTERN, description="GPUs of this node only."),
]
Cursor = Annotated[
    str | None, Query(max_length=100, pattern=TEXT_PATTERN, description="`nextCursor` of the page before.")
]
PageSize = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="GPUs on one page.")]


@router.get("/overview")
async def get_gpu_overview(person: Caller, ops: Ops) -> GpuOverview:
    """All GPUs in a few numbers, at most two seconds old. Null is unknown, never zero."""
    return await ops.gpus.overview()


@router.get("/devices")
async def list_gpu_devices(
    person: Caller, ops: Ops, node: NodeName = None, limit: PageSize = PAGE, cursor: Cursor = None
) -> GpuDevices:
    """GPUs in the order of their nodes, page by page. Who holds them is told to administrators alone."""
    return await ops.gpus.page(person, node, limit, cursor)


@router.get("/devices/{device}")
async def get_gpu_device(device: GpuId, person: Caller, ops: Ops) -> GpuDevice:
    """One GPU by its UUID."""
    return await ops.gpus.get(person, device)


@router.post("/devices/{device}/mig")
async def cut_gpu_device(device: GpuId, ask: MigRequest, person: Administrator, ops: Ops) -> GpuDevice:
    """Cut a GPU into exactly these MIG instances. What is held stays; what is there and wanted stays too."""
    return await ops.cuts.cut(person, device, ask)


@router.post("/allocations", status_code=202)
async def request_gpu_allocation(ask: AllocationRequest, person: Starter, ops: Ops) -> Allocation:
    """Ask for GPU memory for a pod. With room it is given at once, else it waits as a ticket like any other.

    The same pod is one request for as long as it waits or holds: send it again to see what became of it.
    """
    return await ops.allocations.request(person, ask)


@router.get("/allocations")
async def list_gpu_allocations(
    person: Caller,
    ops: Ops,
    everyone: bool = False,
    active: bool = False,
    limit: Annotated[int, Query(ge=1, le=LIMIT)] = 200,
    team: OfTeam = None,
) -> list[Allocation]:
    """Your pods' allocations, the newest first; with `everyone`, all, for administrators; with `team`, its, for
    its leads; `active`: none over."""
    return await ops.allocations.list(person, everyone=everyone, active=active, limit=limit, team=team)


@router.get("/allocations/{allocation_id}")
async def get_gpu_allocation(allocation_id: PathId, person: Caller, ops: Ops) -> Allocation:
    """One allocation of yours; anybody's, for administrators."""
    return await ops.allocations.get(person, allocation_id)


@router.delete("/allocations/{allocation_id}", status_code=204)
async def release_gpu_allocation(allocation_id: PathId, person: Caller, ops: Ops) -> Response:
    """Give it back, or leave the queue. The pod must be gone: its GPU goes to the next at once."""
    await ops.allocations.release(person, allocation_id)
    return Response(status_code=204)

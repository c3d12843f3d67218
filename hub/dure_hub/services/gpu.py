"""`/gpu/…`: GPUs, allocations for pods outside, and how GPUs are cut. The one camelCase part of the API."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query

from dure.wire.gpu import GpuDevice, GpuDevices, GpuOverview, MigRequest
from dure_hub.operations import Operations
from dure_hub.operations.gpus import LARGEST_PAGE, PAGE
from dure_hub.operations.people import ADMIN, USE, Person
from dure_hub.services.fields import TEXT_PATTERN
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/gpu", tags=["gpu"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE)]
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

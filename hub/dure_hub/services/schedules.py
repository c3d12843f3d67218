"""Notebooks that run on schedule. An administrator may name another `owner`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response

from dure.wire.schedules import Execution, RunRequest, Schedule, ScheduleRequest
from dure.wire.training import LogPage
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.fields import Offset, OfTeam, Owner, PathName, Why
from dure_hub.services.guard import needs, starts
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/schedules", tags=["schedules"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]
# What a schedule starts lives on: neither a job nor a scheduled notebook may make or change one.
Maker = Annotated[Person, starts(USE, area=SEEN)]
Number = Annotated[int, Path(ge=1, le=2**31 - 1)]
NOTEBOOK_TYPE = "application/x-ipynb+json"


@router.post("", status_code=201)
async def create_schedule(ask: ScheduleRequest, person: Maker, ops: Ops) -> Schedule:
    """Run a notebook on schedule. The snapshot it is in must have been uploaded."""
    return await ops.schedules.create(person, ask)


@router.get("")
async def list_schedules(person: Caller, ops: Ops, everyone: bool = False, team: OfTeam = None) -> list[Schedule]:
    """Your schedules; with `everyone`, all of them, for administrators; with `team`, its, for its leads."""
    return await ops.schedules.list(person, everyone=everyone, team=team)


@router.get("/{name}")
async def get_schedule(name: PathName, person: Caller, ops: Ops, owner: Owner = None) -> Schedule:
    """One schedule, with its newest execution."""
    return await ops.schedules.get(person, name, owner)


@router.post("/{name}/pause")
async def pause_schedule(name: PathName, person: Maker, ops: Ops, owner: Owner = None) -> Schedule:
    """Let it not be due until it is resumed; what runs goes on."""
    return await ops.schedules.pause(person, name, owner)


@router.post("/{name}/resume")
async def resume_schedule(name: PathName, person: Maker, ops: Ops, owner: Owner = None) -> Schedule:
    """Let it be due again from now on."""
    return await ops.schedules.resume(person, name, owner)


@router.post("/{name}/run", status_code=202)
async def run_schedule(name: PathName, ask: RunRequest, person: Maker, ops: Ops, owner: Owner = None) -> Execution:
    """Run its notebook once, now, whatever else of it runs."""
    return await ops.schedules.run_now(person, name, ask, owner)


@router.delete("/{name}", status_code=204)
async def delete_schedule(name: PathName, person: Maker, ops: Ops, owner: Owner = None) -> Response:
    """End what waits or runs of it, and free its name."""
    await ops.schedules.delete(person, name, owner)
    return Response(status_code=204)


@router.get("/{name}/executions")
async def list_executions(name: PathName, person: Caller, ops: Ops, owner: Owner = None) -> list[Execution]:
    """Its last hundred executions, the newest first."""
    return await ops.schedules.executions(person, name, owner)


@router.get("/{name}/executions/{number}")
async def get_execution(
    name: PathName, number: Number, person: Caller, ops: Ops, owner: Owner = None
) -> Execution:
    """One execution."""
    return await ops.schedules.execution(person, name, number, owner)


@router.delete("/{name}/executions/{number}", status_code=204)
async def stop_execution(
    name: PathName, number: Number, person: Maker, ops: Ops, owner: Owner = None, reason: Why = None
) -> Response:
    """Stop an execution, or leave the queue with it. What its notebook has done so far is kept."""
    await ops.schedules.stop(person, name, number, owner, (reason or "").strip() or None)
    return Response(status_code=204)


@router.get("/{name}/executions/{number}/logs")
async def read_execution_log(
    name: PathName, number: Number, person: Caller, ops: Ops, offset: Offset = 0, owner: Owner = None
) -> LogPage:
    """A piece of the log of an execution; go on from `next_offset` until `done`."""
    return await ops.schedules.logs(person, name, number, offset, owner)


@router.get(
    "/{name}/executions/{number}/notebook",
    response_class=Response,
    responses={200: {"content": {NOTEBOOK_TYPE: {"schema": {"type": "string", "format": "binary"}}}}},
)
async def download_notebook(
    name: PathName, number: Number, person: Caller, ops: Ops, owner: Owner = None
) -> Response:
    """The executed notebook, as far as it came."""
    content = await ops.schedules.notebook(person, name, number, owner)
    # People's code wrote it: it is to be kept as a file and never shown as a page of this origin.
    shown = {"Content-Disposition": f'attachment; filename="{name}-{number}.ipynb"'}
    return Response(content, media_type=NOTEBOOK_TYPE, headers=shown)

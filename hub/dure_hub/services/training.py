"""Training jobs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from dure.wire.training import Job, JobRequest, LogPage
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import JOBS
from dure_hub.services.fields import OfTeam, Owner, PathName, SignedOffset, Why
from dure_hub.services.guard import needs, starts
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/training/jobs", tags=["training"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=JOBS)]
Starter = Annotated[Person, starts(USE, executions=True, area=JOBS)]


@router.post("", status_code=202)
async def submit_job(ask: JobRequest, person: Starter, ops: Ops) -> Job:
    """Train. The snapshot it names must have been uploaded."""
    return await ops.jobs.submit(person, ask)


@router.get("")
async def list_jobs(person: Caller, ops: Ops, team: OfTeam = None) -> list[Job]:
    """Your jobs, the newest first; with `team`, those charged to it, for its leads."""
    return list(await ops.jobs.list(person, team=team))


@router.get("/{name}")
async def get_job(name: PathName, person: Caller, ops: Ops) -> Job:
    """One job of yours, with its attempts."""
    return await ops.jobs.get(person, name)


@router.delete("/{name}", status_code=204)
async def stop_job(name: PathName, person: Caller, ops: Ops, owner: Owner = None, reason: Why = None) -> Response:
    """Stop a job of yours; of `owner`, for administrators and leads. It may write a last checkpoint first."""
    await ops.jobs.stop(person, name, owner, (reason or "").strip() or None)
    return Response(status_code=204)


@router.get("/{name}/logs")
async def read_log(name: PathName, person: Caller, ops: Ops, offset: SignedOffset = 0) -> LogPage:
    """A piece of the log of a job of yours; go on from `next_offset` until `done`."""
    return await ops.jobs.logs(person, name, offset)

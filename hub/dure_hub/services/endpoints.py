"""Served models."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from dure.wire.endpoints import CanaryRequest, DeployRequest, Endpoint
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.fields import PathName, Why
from dure_hub.services.guard import needs, starts
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/endpoints", tags=["endpoints"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]
Starter = Annotated[Person, starts(USE, executions=True, area=SEEN)]


@router.post("", status_code=202)
async def deploy(ask: DeployRequest, person: Starter, ops: Ops) -> Endpoint:
    """Serve a model version under a name; it answers once its state is ready."""
    return await ops.endpoints.deploy(person, ask)


@router.get("")
async def list_endpoints(person: Caller, ops: Ops) -> list[Endpoint]:
    """Every endpoint that is served."""
    return list(await ops.endpoints.list(person))


@router.get("/{name}")
async def get_endpoint(name: PathName, person: Caller, ops: Ops) -> Endpoint:
    """One endpoint, with its champion and canary."""
    return await ops.endpoints.get(person, name)


@router.delete("/{name}", status_code=204)
async def delete_endpoint(name: PathName, person: Caller, ops: Ops, reason: Why = None) -> Response:
    """Stop serving an endpoint of yours; anybody's, for administrators and leads of the team that pays for it."""
    await ops.endpoints.delete(person, name, (reason or "").strip() or None)
    return Response(status_code=204)


@router.post("/{name}/canary", status_code=202)
async def start_canary(name: PathName, ask: CanaryRequest, person: Starter, ops: Ops) -> Endpoint:
    """Send a share of the requests to another version beside the champion."""
    return await ops.endpoints.canary(person, name, ask)


@router.post("/{name}/promote", status_code=202)
async def promote(name: PathName, person: Caller, ops: Ops) -> Endpoint:
    """Make the canary the champion; no request is lost."""
    return await ops.endpoints.promote(person, name)


@router.post("/{name}/rollback", status_code=202)
async def roll_back(name: PathName, person: Caller, ops: Ops) -> Endpoint:
    """Send everything to the champion again and end the canary."""
    return await ops.endpoints.rollback(person, name)

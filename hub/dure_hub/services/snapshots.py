"""Uploads of code and data for jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from dure.errors import NotFound
from dure_hub.operations import Operations
from dure_hub.operations.money_errors import over_quota
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import JOBS
from dure_hub.services.fields import PathDigest
from dure_hub.services.guard import needs
from dure_hub.services.portal import operations_of

router = APIRouter(prefix="/snapshots", tags=["training"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=JOBS)]


@router.put(
    "/{digest}",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_snapshot(digest: PathDigest, request: Request, person: Caller, ops: Ops) -> Response:
    """Upload a zip under its SHA-256. Sending what is there already costs nothing."""
    upload = ops.counters.upload(person)

    async def within_quota() -> AsyncIterator[bytes]:
        async for piece in request.stream():
            verdict = await upload.take(len(piece))
            if not verdict.allowed:
                raise over_quota(verdict)
            yield piece

    try:
        new = await ops.snapshots.put(digest, within_quota())
    except BaseException:  # also where the client has gone away
        upload.give_back()
        raise
    if new:
        await ops.events.tell(person, "snapshot.upload", f"snapshot:{digest}")
    return Response(status_code=204)


@router.head("/{digest}", status_code=204)
async def has_snapshot(digest: PathDigest, person: Caller, ops: Ops) -> Response:
    """204 if it is here, 404 if it must be uploaded."""
    if not ops.snapshots.has(digest):
        raise NotFound(kind="snapshot", name=digest[:12])
    return Response(status_code=204)

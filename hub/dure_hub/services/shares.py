"""Servers and notebooks that people share with colleagues."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from dure.wire.shares import NotebookShare, NotebookShareRequest, Share, ShareRequest
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.policies.keys import SEEN
from dure_hub.services.fields import TEXT_PATTERN, Owner, PathId, PathName
from dure_hub.services.guard import needs, starts
from dure_hub.services.portal import operations_of

router = APIRouter(tags=["shares"])
Ops = Annotated[Operations, Depends(operations_of)]
Caller = Annotated[Person, needs(USE, area=SEEN)]
Starter = Annotated[Person, starts(USE, area=SEEN)]
With = Annotated[
    str,
    Query(alias="with", min_length=1, max_length=255, pattern=TEXT_PATTERN, description="The colleague's name."),
]


@router.get("/environments/{name}/shares")
async def list_shares(name: PathName, person: Caller, ops: Ops, owner: Owner = None) -> list[Share]:
    """Who else may open a server of yours; of `owner`, for administrators."""
    return await ops.shares.list(person, name, owner)


@router.post("/environments/{name}/shares")
async def share_environment(
    name: PathName, ask: ShareRequest, person: Starter, ops: Ops, owner: Owner = None
) -> Share:
    """Let a colleague into a running server of yours, in which they can do what you can."""
    return await ops.shares.share(person, name, ask.person, owner)


@router.delete("/environments/{name}/shares", status_code=204)
async def unshare_environment(
    name: PathName, person: Caller, ops: Ops, colleague: With, owner: Owner = None
) -> Response:
    """Let a colleague in no more. What they have open there is closed within seconds."""
    await ops.shares.unshare(person, name, colleague, owner)
    return Response(status_code=204)


@router.get("/shares/notebooks")
async def list_notebook_shares(person: Caller, ops: Ops) -> list[NotebookShare]:
    """The copies of notebooks that you share, and those that are shared with you."""
    return await ops.shares.notebooks.list(person)


@router.post("/shares/notebooks", status_code=201)
async def share_notebook(ask: NotebookShareRequest, person: Starter, ops: Ops) -> NotebookShare:
    """Show a colleague a copy of a notebook of yours, as it is now. Nothing of it can be run by that."""
    return await ops.shares.notebooks.share(person, ask)


@router.delete("/shares/notebooks/{share}", status_code=204)
async def unshare_notebook(share: PathId, person: Caller, ops: Ops) -> Response:
    """Delete a copy that you shared; any, for administrators."""
    await ops.shares.notebooks.unshare(person, share)
    return Response(status_code=204)

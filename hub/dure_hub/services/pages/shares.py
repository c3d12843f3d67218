"""Sharing: who may open a server, which notebooks are shown to whom, and what others share with the reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ValidationError

from dure.wire.shares import NotebookShareRequest, ShareRequest
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.operations.share_errors import SharingOff
from dure_hub.services.fields import Owner, PathId, PathName
from dure_hub.services.guard import opens_for
from dure_hub.services.languages import language_of
from dure_hub.services.pages import notebooks
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import BASE
from dure_hub.services.portal import operations_of

ONE, ALL = f"{BASE}/share", f"{BASE}/shared"
router = APIRouter(include_in_schema=False)
Ops = Annotated[Operations, Depends(operations_of)]
Visitor = Annotated[Person, opens_for(USE)]
Framed = Annotated[Person, opens_for(USE, framed=True)]
M = TypeVar("M", bound=BaseModel)


@router.get(ONE + "/{name}")
async def show_server(
    name: PathName, request: Request, person: Visitor, ops: Ops, owner: Owner = None
) -> Response:
    """Who else may open a server; why nobody may, where servers are not shared."""
    server = await ops.environments.get(person, name, owner)
    try:
        shares, error = await ops.shares.list(person, name, owner), None
        unguarded = await ops.shares.why_not_shared(person, name, owner)
    except SharingOff as off:
        shares, error, unguarded = [], off.to_wire(language_of(request))["error"], None
    closed = None if unguarded is None else unguarded.to_wire(language_of(request))["error"]
    query = "" if owner in (None, person.name) else f"?{urlencode({'owner': owner})}"
    return page(request, "share.html", server=server, shares=shares, error=error, closed=closed, query=query)


@router.post(ONE + "/{name}/add")
async def add_person(name: PathName, request: Request, person: Visitor, ops: Ops, owner: Owner = None) -> Response:
    """Let a colleague in."""
    ask = _read(ShareRequest, await request.form(), "with")
    await ops.shares.share(person, name, ask.person, owner)
    return _back(ops, name, person, owner)


@router.post(ONE + "/{name}/remove")
async def remove_person(
    name: PathName, request: Request, person: Visitor, ops: Ops, owner: Owner = None
) -> Response:
    """Let a colleague in no more."""
    ask = _read(ShareRequest, await request.form(), "with")
    await ops.shares.unshare(person, name, ask.person, owner)
    return _back(ops, name, person, owner)


@router.get(ALL)
async def show_all(request: Request, person: Visitor, ops: Ops) -> Response:
    """What the reader shares and what is shared with them."""
    found = await ops.shares.notebooks.list(person)
    servers = await ops.environments.list(person)
    return page(
        request,
        "shared.html",
        servers=[server for server in servers if server.phase == "running"],
        known=[server.name for server in servers],
        mine=[one for one in found if one.owner == person.name],
        theirs=[one for one in found if one.owner != person.name],
        entrances=await ops.shares.entrances(person),
    )


@router.post(ALL + "/add")
async def add_notebook(request: Request, person: Visitor, ops: Ops) -> Response:
    """Show a colleague a copy of a notebook."""
    ask = _read(NotebookShareRequest, await request.form(), "environment", "path", "with")
    await ops.shares.notebooks.share(person, ask)
    return RedirectResponse(ops.settings.at(ALL), status_code=303)


@router.get(ALL + "/{share}")
async def show_copy(share: PathId, request: Request, person: Visitor, ops: Ops) -> Response:
    """One shared notebook, in a frame in which nothing of it runs."""
    return page(request, "shared_notebook.html", frames=True, share=await ops.shares.notebooks.get(person, share))


@router.get(ALL + "/{share}/notebook")
async def show_notebook(share: PathId, request: Request, person: Framed, ops: Ops) -> Response:
    """The copy for the frame."""
    return await notebooks.framed(request, ops.shares.notebooks.notebook(person, share))


@router.get(ALL + "/{share}/download")
async def download(share: PathId, person: Visitor, ops: Ops) -> Response:
    """The copy as a file."""
    about = await ops.shares.notebooks.get(person, share)
    content = await ops.shares.notebooks.notebook(person, share)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(PurePosixPath(about.path).name, safe='')}"
    }
    return Response(content, headers=headers, media_type="application/x-ipynb+json")


@router.post(ALL + "/{share}/remove")
async def remove_notebook(share: PathId, person: Visitor, ops: Ops) -> Response:
    """Show it no more."""
    await ops.shares.notebooks.unshare(person, share)
    return RedirectResponse(ops.settings.at(ALL), status_code=303)


def _read(kind: type[M], form: Mapping[str, Any], *fields: str) -> M:
    try:
        return kind.model_validate({field: str(form.get(field, "")).strip() for field in fields})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def _back(ops: Operations, name: str, person: Person, owner: str | None) -> Response:
    query = "" if owner in (None, person.name) else f"?{urlencode({'owner': owner})}"
    return RedirectResponse(ops.settings.at(f"{ONE}/{name}{query}"), status_code=303)

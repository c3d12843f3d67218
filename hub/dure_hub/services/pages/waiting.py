"""Follow a server until it runs: its place in line, its turn, its start; or take what is free instead."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from pydantic import TypeAdapter, ValidationError

from dure.wire.base import Ulid
from dure.wire.ids import new_id
from dure_hub.operations import Operations
from dure_hub.operations.people import USE, Person
from dure_hub.services.fields import PathName
from dure_hub.services.guard import opens_for
from dure_hub.services.pages.rendering import page
from dure_hub.services.places import BASE, HOME
from dure_hub.services.portal import operations_of
from dure_hub.services.why import told

router = APIRouter(prefix=f"{BASE}/wait", include_in_schema=False)
Ops = Annotated[Operations, Depends(operations_of)]
Visitor = Annotated[Person, opens_for(USE)]

_MOVING = frozenset({"waiting", "held", "starting", "stopping"})
_ID = TypeAdapter(Ulid)


@router.get("/{name}")
async def follow(name: PathName, request: Request, person: Visitor, ops: Ops) -> Response:
    """How far it is; straight on to the server if it runs."""
    server = told(await ops.environments.get(person, name))
    if server.phase == "running" and server.url:
        return RedirectResponse(ops.settings.at(server.url), status_code=303)
    ticket = server.ticket
    return page(
        request,
        "wait.html",
        server=server,
        moving=server.phase in _MOVING,
        instead=ticket.next_best if ticket is not None and ticket.next_best != server.profile else None,
        on_cluster=ops.settings.on_cluster,
        progress=await ops.environments.progress(person, name),
        hold_minutes=max(round(ops.settings.turn_wait_s / 60), 1) if ops.settings.turn == "hold" else None,
        id=new_id(),
    )


@router.post("/{name}/stop")
async def stop(name: PathName, person: Visitor, ops: Ops) -> Response:
    """Stop it, or leave the queue."""
    await ops.environments.stop(person, name)
    return RedirectResponse(ops.settings.at(HOME), status_code=303)


@router.post("/{name}/instead")
async def instead(name: PathName, request: Request, person: Visitor, ops: Ops) -> Response:
    """Leave the queue and ask for another profile under the same name; what was granted meanwhile goes on."""
    form = await request.form()
    await ops.turns.instead(person, name, await _id_of(request), str(form.get("profile", "")))
    return _back(ops, name)


@router.post("/{name}/start")
async def start(name: PathName, person: Visitor, ops: Ops) -> Response:
    """Take up the place that is held."""
    await ops.turns.start(person, name)
    return _back(ops, name)


@router.post("/{name}/again")
async def again(name: PathName, request: Request, person: Visitor, ops: Ops) -> Response:
    """Ask for the same once more: profile, image, lifetime, team and project."""
    await ops.turns.again(person, name, await _id_of(request))
    return _back(ops, name)


@router.post("/{name}/dismiss")
async def dismiss(name: PathName, person: Visitor, ops: Ops) -> Response:
    """Put away what is said of its end."""
    await ops.turns.dismiss(person, name)
    return RedirectResponse(ops.settings.at(HOME), status_code=303)


def _back(ops: Operations, name: str) -> Response:
    return RedirectResponse(ops.settings.at(f"{BASE}/wait/{name}"), status_code=303)


async def _id_of(request: Request) -> str:
    """The form's own id, so that it may be sent twice."""
    try:
        return _ID.validate_python(str((await request.form()).get("id", "")))
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
